/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * After an instruction that exits the guest goes on exactly behind it, whatever its prefixes and
 * wherever its page ends; and single steps, breakpoints and interrupt shadows come out as if it
 * had not exited.
 */
#include "tests/guest/lib/payload.h"

#include <stdio.h>
#include <string.h>

#define PAGE      4096U
#define APIC_PAGE 0xfee00000UL
#define DR6_BS    (1UL << 14)
#define DR6_B0    (1UL << 0)

/* RAX and RCX before it; the bytes run with RDX = 0x44. */
struct sample {
    const char *name;
    uint8_t length;
    uint8_t bytes[15];
    uint64_t rax, rcx;
};
#define SAMPLE(what, a, c, ...)                                                                    \
    {                                                                                              \
        .name = (what), .length = sizeof((uint8_t[]){__VA_ARGS__}), .bytes = {__VA_ARGS__},        \
        .rax = (a), .rcx = (c)                                                                     \
    }

static struct sample samples[] = {
    SAMPLE("cpuid", 0, 0, 0x0f, 0xa2),
    SAMPLE("66-cpuid", 0, 0, 0x66, 0x0f, 0xa2),
    SAMPLE("67-cpuid", 0, 0, 0x67, 0x0f, 0xa2),
    SAMPLE("f2-cpuid", 0, 0, 0xf2, 0x0f, 0xa2),
    SAMPLE("f3-cpuid", 0, 0, 0xf3, 0x0f, 0xa2),
    SAMPLE("es-cpuid", 0, 0, 0x26, 0x0f, 0xa2),
    SAMPLE("fs-cpuid", 0, 0, 0x64, 0x0f, 0xa2),
    SAMPLE("rex-cpuid", 0, 0, 0x40, 0x0f, 0xa2),
    SAMPLE("rexw-cpuid", 0, 0, 0x48, 0x0f, 0xa2),
    SAMPLE("66-rexw-cpuid", 0, 0, 0x66, 0x48, 0x0f, 0xa2),
    SAMPLE("rex-66-cpuid", 0, 0, 0x48, 0x66, 0x0f, 0xa2),
    SAMPLE("15-byte-cpuid", 0, 0, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66,
           0x66, 0x66, 0x0f, 0xa2),
    SAMPLE("rdmsr", 0, MSR_EFER, 0x0f, 0x32),
    SAMPLE("66-rdmsr", 0, MSR_EFER, 0x66, 0x0f, 0x32),
    SAMPLE("rexw-rdmsr", 0, MSR_EFER, 0x48, 0x0f, 0x32),
    SAMPLE("cs-ds-rdmsr", 0, MSR_EFER, 0x2e, 0x3e, 0x0f, 0x32),
    SAMPLE("in-al-imm", 0, 0, 0xe4, 0x44),
    SAMPLE("in-eax-imm", 0, 0, 0xe5, 0x44),
    SAMPLE("in-al-dx", 0, 0, 0xec),
    SAMPLE("66-in-ax-dx", 0, 0, 0x66, 0xed),
    SAMPLE("rexw-in-eax-dx", 0, 0, 0x48, 0xed),
    SAMPLE("67-f3-in-al-imm", 0, 0, 0x67, 0xf3, 0xe4, 0x44),
    SAMPLE("out-imm-al", 0, 0, 0xe6, 0x44),
    SAMPLE("66-out-dx-ax", 0, 0, 0x66, 0xef),
    SAMPLE("invd", 0, 0, 0x0f, 0x08),
    SAMPLE("rexw-invd", 0, 0, 0x48, 0x0f, 0x08),
    SAMPLE("hypercall", HYPERCALL_VERSION, 0, 0x0f, 0x01, 0xc1),
    SAMPLE("rexw-hypercall", HYPERCALL_VERSION, 0, 0x48, 0x0f, 0x01, 0xc1),
    SAMPLE("es-hypercall", HYPERCALL_VERSION, 0, 0x26, 0x0f, 0x01, 0xc1),
    SAMPLE("mov-rax-cr4", 0, 0, 0x0f, 0x20, 0xe0),
    SAMPLE("mov-cr4-rsi", 0, 0, 0x0f, 0x22, 0xe6),
    SAMPLE("rex-mov-cr4-rsi", 0, 0, 0x40, 0x0f, 0x22, 0xe6),
    SAMPLE("rex-mov-r8-cr4", 0, 0, 0x41, 0x0f, 0x20, 0xe0),
};
#define SAMPLES (sizeof(samples) / sizeof(samples[0]))

/* Behind each sample stand some INC R9 and a RET. Skipped or repeated bytes show in R9 or as a fault. */
#define INCREMENTS 4U
static uint8_t code[3 * PAGE] __attribute__((aligned(4096)));

static void place(uint8_t *at, const struct sample *sample)
{
    static const uint8_t increment[] = {0x49, 0xff, 0xc1};
    memcpy(at, sample->bytes, sample->length);
    at += sample->length;
    for (unsigned int i = 0; i < INCREMENTS; i++, at += sizeof(increment))
        memcpy(at, increment, sizeof(increment));
    *at = 0xc3;
}

struct run {
    const uint8_t *at;
    uint64_t rax, rcx, r9;
};

static void run_code(void *argument)
{
    struct run *run = argument;
    register uint64_t r9 __asm__("r9") = 0;
    uint64_t a = run->rax, c = run->rcx, d = 0x44, cr4 = read_cr4();
    __asm__ volatile("call *%[at]"
                     : "+a"(a), "+c"(c), "+d"(d), "+r"(r9)
                     : [at] "D"(run->at), "S"(cr4)
                     : "rbx", "r8", "r10", "memory", "cc");
    run->r9 = r9;
}

static void check_place(const struct sample *sample, unsigned int before_border)
{
    char name[64];
    uint8_t *at = code + PAGE - before_border;
    struct run run = {.at = at, .rax = sample->rax, .rcx = sample->rcx, .r9 = 0};
    memset(code, 0xcc, sizeof(code));
    place(at, sample);
    unsigned int vector = fault_of(run_code, &run, NULL, NULL);
    snprintf(name, sizeof(name), "length.%s.%u-before-border", sample->name, before_border);
    check(vector == NO_FAULT && run.r9 == INCREMENTS, name, "vector %u, %lu of %u increments",
          vector, run.r9, INCREMENTS);
}

static volatile unsigned int steps;
static volatile uint64_t step_rip, step_dr6;

static void on_debug(struct frame *frame)
{
    if (steps++ == 0) {
        step_rip = frame->rip;
        step_dr6 = read_dr6();
    }
    frame->rflags = (frame->rflags & ~RFLAGS_TF) | RFLAGS_RF;
    write_dr6(0xffff0ff0UL);
}

extern const char step_cpuid_end[], step_in_end[], step_rdmsr_end[], step_nmi_end[], shadow_end[];
extern const char breakpoint_at[], breakpoint_next[];

static void check_step(const char *name, const char *wanted_rip)
{
    char full[64];
    snprintf(full, sizeof(full), "length.step-%s.steps", name);
    check_equal(full, 1, steps);
    snprintf(full, sizeof(full), "length.step-%s.rip", name);
    check_equal(full, (uint64_t)wanted_rip, step_rip);
    snprintf(full, sizeof(full), "length.step-%s.dr6", name);
    check_equal(full, DR6_BS, step_dr6 & (DR6_BS | 0xfU));
    steps = 0;
}

#define SET_TF "pushfq; orl $0x100, (%%rsp); popfq\n\t"

static void step_cpuid(void)
{
    uint64_t a = 0, b, c = 0, d;
    __asm__ volatile(SET_TF "cpuid\nstep_cpuid_end: nop\n\tnop"
                     : "+a"(a), "=b"(b), "+c"(c), "=d"(d)
                     :
                     : "memory", "cc");
}

static void step_in(void)
{
    uint64_t a = 0;
    __asm__ volatile(SET_TF "inb $0x44, %%al\nstep_in_end: nop\n\tnop"
                     : "+a"(a)
                     :
                     : "memory", "cc");
}

static void step_rdmsr(void)
{
    uint64_t a = 0, d = 0;
    __asm__ volatile(SET_TF "rdmsr\nstep_rdmsr_end: nop\n\tnop"
                     : "+a"(a), "+d"(d)
                     : "c"(MSR_EFER)
                     : "memory", "cc");
}

/* The trap comes before the NMI (SDM vol. 3 §6.9), which the write itself has sent. */
static void step_nmi(void)
{
    volatile uint32_t *const icr = (volatile uint32_t *)(APIC_PAGE + APIC_ICR);
    const unsigned int before = this_processor()->nmis;
    apic_write(APIC_ICR + 0x10U, this_processor()->apic_id << 24);
    __asm__ volatile(SET_TF "movl %1, %0\nstep_nmi_end: nop\n\tnop"
                     : "=m"(*icr)
                     : "r"(ICR_NMI)
                     : "memory", "cc");
    check_step("nmi", step_nmi_end);
    check_equal("length.step-nmi.nmis", before + 1, this_processor()->nmis);
}

static void check_single_steps(void)
{
    set_handler(VECTOR_DB, on_debug);
    step_cpuid();
    check_step("cpuid", step_cpuid_end);
    step_in();
    check_step("in", step_in_end);
    step_rdmsr();
    check_step("rdmsr", step_rdmsr_end);
    step_nmi();
}

/* A breakpoint on CPUID itself, and one on what follows it (SDM vol. 3 §18.3.1.1). */
static void run_to(const char *address)
{
    uint64_t a = 0, b, c = 0, d;
    __asm__ volatile("mov %0, %%dr0" : : "r"(address));
    write_dr7(0x402);
    __asm__ volatile("breakpoint_at: cpuid\nbreakpoint_next: nop"
                     : "+a"(a), "=b"(b), "+c"(c), "=d"(d)
                     :
                     : "memory");
    write_dr7(0x400);
}

static void check_breakpoint(const char *name, const char *address)
{
    char full[64];
    run_to(address);
    snprintf(full, sizeof(full), "length.%s.hits", name);
    check_equal(full, 1, steps);
    snprintf(full, sizeof(full), "length.%s.rip", name);
    check_equal(full, (uint64_t)address, step_rip);
    snprintf(full, sizeof(full), "length.%s.dr6", name);
    check_equal(full, DR6_B0, step_dr6 & (DR6_BS | 0xfU));
    steps = 0;
}

static volatile uint64_t interrupted_at;

static void on_interrupt(struct frame *frame)
{
    interrupted_at = frame->rip;
    apic_write(APIC_EOI, 0);
}

/* STI holds interrupts back for one instruction, here one that exits (SDM vol. 2B, STI). */
static void check_sti_shadow(void)
{
    uint64_t a = 0, b, c = 0, d;
    set_handler(VECTOR_TEST, on_interrupt);
    __asm__ volatile("cli");
    apic_send(this_processor()->apic_id, ICR_FIXED | VECTOR_TEST);
    delay_us(1000);
    __asm__ volatile("sti\n\tcpuid\nshadow_end: nop\n\tnop\n\tnop\n\tcli"
                     : "+a"(a), "=b"(b), "+c"(c), "=d"(d)
                     :
                     : "memory");
    check_equal("length.sti-cpuid.interrupt-rip", (uint64_t)shadow_end, interrupted_at);
}

int main(void)
{
    bool latch = under_latch();
    if (!latch)
        check_skip("length.hypercall", "no Latch, so no hypercall");
    for (size_t i = 0; i < SAMPLES; i++) {
        struct sample *sample = &samples[i];
        if (strstr(sample->name, "hypercall") != NULL) {
            if (!latch)
                continue;
            sample->bytes[sample->length - 1] = vendor_is_amd() ? 0xd9 : 0xc1;
        }
        for (unsigned int before = 0; before <= sample->length; before++)
            check_place(sample, before);
    }
    check_single_steps();
    check_breakpoint("breakpoint-on-cpuid", breakpoint_at);
    check_breakpoint("breakpoint-behind-cpuid", breakpoint_next);
    check_sti_shadow();
    return 0;
}
