/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What the guest reads of CR0, CR3 and CR4 is what it wrote, by whichever instruction, also where
 * the hardware has something else; and an instruction that only the CPU itself can carry out leaves
 * no trace of how it was let.
 */
#include "tests/guest/lib/payload.h"

#include <stdio.h>

#define ABSENT  0x140000000UL /* the payload's tables end at 4 GiB */
#define DR6_BS  (1UL << 14)
#define CR0_MSW 0xffffUL

#define READ_ONLY   0x0d400000UL /* RAM, in a page of 2 MiB by the payload's tables */
#define ENTRY_W     2UL
#define ENTRY_LARGE 0x80UL

static uint16_t word;

static uint16_t smsw_memory(void)
{
    word = 0xdead;
    __asm__ volatile("smsw %0" : "=m"(word));
    return word;
}

static void smsw_to(void *address)
{
    __asm__ volatile("smsw (%0)" : : "r"(address) : "memory");
}

static void lmsw_from(void *address)
{
    __asm__ volatile("lmsw (%0)" : : "r"(address) : "memory");
}

struct reads {
    uint64_t mov, wide, half, low, memory;
};

/* By each instruction that reads CR0. With EM or TS nothing else may run: the payload uses SSE. */
static struct reads read_all(void)
{
    struct reads reads = {.half = UINT64_MAX, .low = UINT64_MAX};

    reads.mov = read_cr0();
    __asm__ volatile("smsw %0" : "=r"(reads.wide));
    __asm__ volatile("smsw %k0" : "+r"(reads.half));
    __asm__ volatile("smsw %w0" : "+r"(reads.low));
    reads.memory = smsw_memory();
    return reads;
}

static void check_reads(const char *when, uint64_t cr0, const struct reads *reads)
{
    char name[64];

    snprintf(name, sizeof(name), "registers.%s.mov", when);
    check_equal(name, cr0, reads->mov);
    snprintf(name, sizeof(name), "registers.%s.smsw-64", when);
    check_equal(name, cr0, reads->wide);
    snprintf(name, sizeof(name), "registers.%s.smsw-32", when);
    check_equal(name, cr0, reads->half);
    snprintf(name, sizeof(name), "registers.%s.smsw-16", when);
    check_equal(name, ~CR0_MSW | (cr0 & CR0_MSW), reads->low);
    snprintf(name, sizeof(name), "registers.%s.smsw-memory", when);
    check_equal(name, cr0 & CR0_MSW, reads->memory);
}

/* LMSW writes PE, MP, EM and TS, and clears PE never (SDM vol. 2A, LMSW). */
static void check_lmsw(uint64_t cr0)
{
    const uint64_t rest = cr0 & ~(CR0_MP | CR0_EM | CR0_TS);
    uint64_t found[4];
    struct reads ts;

    word = CR0_EM | CR0_TS;
    __asm__ volatile("lmsw %w0" : : "r"(0xffff));
    found[0] = read_cr0();
    __asm__ volatile("lmsw %w0" : : "r"(0));
    found[1] = read_cr0();
    lmsw_from(&word);
    found[2] = read_cr0();
    __asm__ volatile("clts");
    found[3] = read_cr0();
    write_cr0(cr0 | CR0_TS);
    ts = read_all();
    write_cr0(cr0);
    check_equal("registers.lmsw-ones", rest | CR0_MP | CR0_EM | CR0_TS, found[0]);
    check_equal("registers.lmsw-zeros", rest, found[1]);
    check_equal("registers.lmsw-memory", rest | CR0_EM | CR0_TS, found[2]);
    check_equal("registers.clts", rest | CR0_EM, found[3]);
    check_reads("ts", cr0 | CR0_TS, &ts);
}

static void check_fault(const char *what, job_fn *fn, unsigned int wanted)
{
    uint64_t error_code = 0, cr2 = 0;
    unsigned int vector = fault_of(fn, (void *)ABSENT, &error_code, &cr2);
    char name[64];

    snprintf(name, sizeof(name), "registers.%s.fault", what);
    check(vector == VECTOR_PF && error_code == wanted && cr2 == ABSENT, name,
          "vector %u, error code %lx, CR2 %lx", vector, error_code, cr2);
    snprintf(name, sizeof(name), "registers.%s.fault-flags", what);
    check_equal(name, 0, this_processor()->fault.rflags & RFLAGS_TF);
}

static volatile unsigned int steps;
static volatile uint64_t step_rip, step_dr6;

static void on_debug(struct frame *frame)
{
    steps++;
    step_rip = frame->rip;
    step_dr6 = read_dr6();
    frame->rflags = (frame->rflags & ~RFLAGS_TF) | RFLAGS_RF;
    write_dr6(0xffff0ff0UL);
}

extern const char step_smsw_end[], step_lmsw_end[];

static void check_step(const char *what, const char *rip, uint64_t dr6)
{
    char name[64];

    snprintf(name, sizeof(name), "registers.%s.steps", what);
    check_equal(name, 1, steps);
    snprintf(name, sizeof(name), "registers.%s.rip", what);
    check_equal(name, (uint64_t)rip, step_rip);
    snprintf(name, sizeof(name), "registers.%s.dr6", what);
    check_equal(name, dr6, step_dr6 & (DR6_BS | 0xfU));
    steps = 0;
}

#define SET_TF "pushfq; orl $0x100, (%%rsp); popfq\n\t"

static void check_steps(void)
{
    uint16_t msw = (uint16_t)(read_cr0() ^ CR0_MP);

    set_handler(VECTOR_DB, on_debug);
    __asm__ volatile(SET_TF "smsw %0\nstep_smsw_end: nop\n\tnop" : "=m"(word) : : "memory", "cc");
    check_step("step-smsw", step_smsw_end, DR6_BS);
    __asm__ volatile(SET_TF "lmsw %0\nstep_lmsw_end: nop\n\tnop" : : "m"(msw) : "memory", "cc");
    check_step("step-lmsw", step_lmsw_end, DR6_BS);
    (void)smsw_memory();
    check_equal("registers.no-step-left", 0, steps);
}

static void read_at_cpl3(void *result)
{
    uint64_t *read = result;
    __asm__ volatile("smsw %0" : "=r"(read[0]));
    read[1] = smsw_memory();
}

static void check_user(uint64_t cr0)
{
    uint64_t read[2] = {0};

    if (read_cr4() & CR4_UMIP)
        return;
    run_at_cpl3(read_at_cpl3, read);
    check_equal("registers.user-smsw-64", cr0, read[0]);
    check_equal("registers.user-smsw-memory", cr0 & CR0_MSW, read[1]);
}

static void check_all(const char *when, uint64_t cr0)
{
    printf("info registers: %s\n", when);
    write_cr0(cr0);
    const struct reads reads = read_all();
    check_reads(when, cr0, &reads);
    check_lmsw(cr0);
    check_fault("smsw-absent", smsw_to, 2);
    check_fault("lmsw-absent", lmsw_from, 0);
    write_cr0(cr0);
    check_steps();
    write_cr0(cr0);
    check_user(cr0);
}

/* The payload's entry for an address; its tables are mapped to themselves. */
static volatile uint64_t *entry_of(uint64_t address)
{
    volatile uint64_t *entry = NULL;
    uint64_t table = read_cr3();

    for (unsigned int level = 4; level >= 2; level--) {
        entry = (volatile uint64_t *)(table & 0x000ffffffffff000UL);
        entry += address >> (3 + 9 * level) & 511U;
        if (*entry & ENTRY_LARGE)
            break;
        table = *entry;
    }
    return entry;
}

/* With WP=0 SMSW may write where nothing else has told Latch yet that WP matters. */
static void check_read_only(uint64_t cr0)
{
    volatile uint64_t *entry = entry_of(READ_ONLY);
    volatile uint16_t *there = (volatile uint16_t *)READ_ONLY;

    *there = 0xdead;
    *entry &= ~ENTRY_W;
    write_cr0(cr0 & ~CR0_WP);
    write_cr3(read_cr3());
    smsw_to((void *)READ_ONLY);
    check_equal("registers.smsw-read-only", cr0 & CR0_MSW, *there);
    check_equal("registers.smsw-read-only.cr0", cr0 & ~CR0_WP, read_cr0());
    there[1] = 0xbeef;
    check_equal("registers.read-only", 0xbeef, there[1]);
    *entry |= ENTRY_W;
    write_cr3(read_cr3());
}

static void check_cr3(void)
{
    const uint64_t cr3 = read_cr3();

    write_cr3(cr3 | 1UL << 3);
    check_equal("registers.cr3-pwt", cr3 | 1UL << 3, read_cr3());
    write_cr3(cr3);
    check_equal("registers.cr3", cr3, read_cr3());
}

static void check_cr4(void)
{
    const uint64_t cr4 = read_cr4();

    write_cr4(cr4 ^ CR4_PGE);
    check_equal("registers.cr4-pge", cr4 ^ CR4_PGE, read_cr4());
    write_cr4(cr4 ^ CR4_PSE);
    check_equal("registers.cr4-pse", cr4 ^ CR4_PSE, read_cr4());
    write_cr4(cr4);
    check_equal("registers.cr4", cr4, read_cr4());
}

int main(void)
{
    const uint64_t cr0 = read_cr0();

    check_all("wp", cr0 | CR0_WP);
    check_all("no-wp", cr0 & ~CR0_WP);
    check_all("wp-again", cr0 | CR0_WP);
    check_read_only(cr0);
    write_cr0(cr0);
    check_cr3();
    check_cr4();
    return 0;
}
