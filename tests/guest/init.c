/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * INIT from each mode: what it leaves of every register that was changed before, at the SIPI vector
 * (SDM vol. 3 table 10-1, APM vol. 2 table 14-1). With `x2apic` on the command line in that mode;
 * with `reset` what a reset leaves, for generations 2 and 3.
 */
#include "tests/guest/lib/probe.h"

#include <stdio.h>
#include <string.h>

#define MARK              0x5eedf00d12345678UL
#define FCW_RESET         0x40U
#define FCW_OTHER         0x27fU
#define FTW_RESET         0xffU /* eight zeros: FXSAVE's form of 5555H */
#define MXCSR_RESET       0x1f80U
#define MXCSR_OTHER       0x9fc0U
#define DR6_OTHER         0xffff4ff0UL
#define DR7_OTHER         0x4aaUL
#define PAT_RESET         0x0007040600070406UL
#define CR4_TSD           (1UL << 2)
#define MSR_MTRR_DEF_TYPE 0x2ffU
#define MSR_TSC_AUX       0xc0000103U
#define XCR0_AVX          7U
#define GENERATIONS       3U

/* MSRs that INIT keeps. Those of a fault where the model has none. */
static const struct {
    const char *name;
    uint32_t msr;
    uint64_t reset, other;
} kept[] = {
    {"pat", MSR_PAT, PAT_RESET, 0x0606060606060606},
    {"sysenter-cs", MSR_SYSENTER_CS, 0, 8},
    {"sysenter-esp", MSR_SYSENTER_ESP, 0, 0x1234},
    {"sysenter-eip", MSR_SYSENTER_EIP, 0, 0x5678},
    {"star", MSR_STAR, 0, 0x0008000800000000},
    {"lstar", MSR_LSTAR, 0, 0x123456},
    {"cstar", MSR_CSTAR, 0, 0x654321},
    {"sfmask", MSR_SFMASK, 0, 0x300},
    {"kernel-gs-base", MSR_KERNEL_GS_BASE, 0, 0x7777},
    {"tsc-aux", MSR_TSC_AUX, 0, 77},
    {"spec-ctrl", 0x48, 0, 1},
    {"xss", MSR_XSS, 0, 0x100},
};
#define KEPT (sizeof(kept) / sizeof(kept[0]))

/* What the tables say, where INIT and RESET differ. */
struct wanted {
    uint64_t cr0, xcr0, msr[KEPT], xmm, ymm, st0;
    uint32_t mxcsr;
    uint16_t fcw;
    uint8_t tags;
};

/* What only 64-bit code can look at. */
struct later {
    bool there[KEPT];
    uint64_t msr[KEPT], xmm, ymm, xcr0, tsc, mtrr;
};

static unsigned int wrong;
static volatile bool lingers;
static struct later before;
static struct wanted after_init;
static uint32_t directory[1024] __attribute__((aligned(4096)));
static uint64_t pdpt[4] __attribute__((aligned(32)));
static volatile unsigned int interrupts, traps;

static bool has_xsave(void)
{
    uint32_t a, b, c, d;
    cpuid_raw(1, 0, &a, &b, &c, &d);
    return c >> 26 & 1;
}

static bool has_avx(void)
{
    uint32_t a, b, c, d;
    if (!has_xsave())
        return false;
    cpuid_raw(0xd, 0, &a, &b, &c, &d);
    return (a & XCR0_AVX) == XCR0_AVX;
}

static void look_later(void *argument)
{
    struct later *found = argument;
    uint64_t half[2];
    __asm__ volatile("movups %%xmm15, %0" : "=m"(half));
    found->xmm = half[0] & half[1];
    found->tsc = rdtsc();
    for (unsigned int i = 0; i < KEPT; i++)
        found->there[i] = rdmsr_safe(kept[i].msr, &found->msr[i]) == 0;
    if (rdmsr_safe(MSR_MTRR_DEF_TYPE, &found->mtrr) != 0)
        found->mtrr = 0;
    found->xcr0 = 0;
    found->ymm = 0;
    if (!has_xsave())
        return;
    write_cr4(read_cr4() | CR4_OSXSAVE);
    found->xcr0 = read_xcr0();
    if (!has_avx())
        return;
    write_xcr0(XCR0_AVX);
    __asm__ volatile("vextractf128 $1, %%ymm15, %0" : "=m"(half));
    found->ymm = half[0] & half[1];
    write_xcr0(found->xcr0);
}

static void dirty_fpu(void)
{
    static const uint64_t mark[2] = {MARK, MARK};
    const uint16_t fcw = FCW_OTHER;
    const uint32_t mxcsr = MXCSR_OTHER;
    if (has_avx())
        __asm__ volatile("vbroadcastf128 %0, %%ymm15" : : "m"(mark));
    __asm__ volatile("fninit; fld1; fldcw %0; ldmxcsr %1" : : "m"(fcw), "m"(mxcsr));
#define DIRTY_XMM(n) __asm__ volatile("movups %0, %%xmm" #n : : "m"(mark))
    DIRTY_XMM(0);
    DIRTY_XMM(1);
    DIRTY_XMM(7);
    DIRTY_XMM(15);
}

static void dirty_segments(void)
{
    static uint64_t gdt[64];
    struct {
        uint16_t limit;
        uint64_t base;
    } __attribute__((packed)) pointer;
    __asm__ volatile("sgdt %0" : "=m"(pointer));
    unsigned int ldt = (pointer.limit + 1U) / 8U;
    memcpy(gdt, (const void *)pointer.base, pointer.limit + 1U);
    gdt[ldt] = 0x0000820010000fffUL; /* a base of 1000H */
    gdt[ldt + 1] = 0;
    pointer.base = (uint64_t)gdt;
    pointer.limit = (uint16_t)(ldt * 8U + 15U);
    __asm__ volatile("lgdt %0; lldt %w1" : : "m"(pointer), "r"(ldt * 8U));
    wrmsr(MSR_FS_BASE, 0x1111);
    wrmsr(MSR_GS_BASE, 0x2222);
}

static void dirty_apic(void)
{
    for (uint32_t offset = 0x320; offset <= 0x370; offset += 0x10)
        if (offset != 0x330) /* thermal: not on each machine */
            apic_write(offset, LVT_MASKED | 0x40);
    apic_write(APIC_TIMER_DIVIDE, 3);
    apic_write(APIC_TIMER_COUNT, UINT32_MAX);
    apic_write(0x80, 0x10);
    if (!this_processor()->x2apic)
        apic_write(0xd0, 0x01000000);
}

/* CR0.CD and NW that INIT keeps: the caller varies CD. */
static void dirty(bool cache_off)
{
    __asm__ volatile("cli");
    if (has_xsave()) {
        write_cr4(read_cr4() | CR4_OSXSAVE);
        write_xcr0(has_avx() ? XCR0_AVX : 3);
    }
    write_cr4(read_cr4() | CR4_TSD | CR4_PGE);
    wrmsr(MSR_EFER, rdmsr(MSR_EFER) | EFER_SCE);
    for (unsigned int i = 0; i < KEPT; i++)
        (void)wrmsr_safe(kept[i].msr, kept[i].other);
    dirty_segments();
    dirty_apic();
    write_cr2(MARK);
    write_dr0(0x1000);
    write_dr1(0x2000);
    write_dr2(0x3000);
    write_dr3(0x4000);
    write_dr6(DR6_OTHER);
    write_dr7(DR7_OTHER);
    write_cr0((read_cr0() & ~CR0_CD) | CR0_AM | (cache_off ? CR0_CD : 0));
    dirty_fpu();
    look_later(&before);
    dirty_fpu();
}

enum last {
    LAST_LOOP,
    LAST_HALT,
    LAST_HALT_OPEN,
    LAST_INTERRUPT,
    LAST_NMI,
    LAST_NMI_SELF,
    LAST_STI,
    LAST_MOV_SS
};

static _Noreturn void linger(bool halt)
{
    lingers = true;
    if (halt)
        __asm__ volatile("1: hlt; jmp 1b");
    __asm__ volatile("std; mov %0, %%rbx; mov %%rbx, %%rcx; mov %%rbx, %%rsi; mov %%rbx, %%rbp\n\t"
                     "mov %%rbx, %%rsp; mov %%rbx, %%rax; stc; 1: jmp 1b"
                     :
                     : "r"(MARK));
    __builtin_unreachable();
}

/* With one more of its kind, which has to wait. */
static void stay_in_handler(struct frame *frame)
{
    const uint32_t id = this_processor()->apic_id;
    apic_send(id, frame->vector == VECTOR_NMI ? ICR_NMI : ICR_FIXED | VECTOR_TEST);
    linger(false);
}

static void init_in_handler(struct frame *frame)
{
    const uint32_t id = this_processor()->apic_id;
    (void)frame;
    lingers = true;
    apic_send(id, ICR_NMI);
    apic_send(id, ICR_INIT);
}

static void count_interrupt(struct frame *frame)
{
    (void)frame;
    interrupts++;
    apic_write(APIC_EOI, 0);
}

/* QEMU's TCG takes this one at once. */
static void count_trap(struct frame *frame)
{
    (void)frame;
    traps++;
}

/* An INIT to itself right behind an instruction that holds interrupts, and traps, up. */
static void init_in_shadow(enum last last)
{
    static const uint16_t selector = SELECTOR_DATA;
    const uint64_t id = this_processor()->apic_id;
    lingers = true;
    if (last == LAST_MOV_SS) { /* with a #DB for the word that it reads, which has to wait */
        write_dr0((uint64_t)&selector);
        write_dr7(DR7_RESET | 0x70001UL);
    }
    if (this_processor()->x2apic) {
        uint32_t msr = MSR_X2APIC_ICR;
        if (last == LAST_MOV_SS)
            __asm__ volatile("mov %3, %%ss; wrmsr"
                             :
                             : "a"(ICR_INIT), "d"((uint32_t)id), "c"(msr), "m"(selector));
        else
            __asm__ volatile("sti; wrmsr" : : "a"(ICR_INIT), "d"((uint32_t)id), "c"(msr));
        return;
    }
    volatile uint32_t *icr = (volatile uint32_t *)(0xfee00000UL + APIC_ICR);
    apic_write(APIC_ICR + 0x10U, (uint32_t)id << 24);
    if (last == LAST_MOV_SS)
        __asm__ volatile("mov %2, %%ss; movl %1, %0" : "=m"(*icr) : "r"(ICR_INIT), "m"(selector));
    else
        __asm__ volatile("sti; movl %1, %0" : "=m"(*icr) : "r"(ICR_INIT));
}

static void last_of(void *argument)
{
    const enum last last = *(const enum last *)argument;
    dirty(last & 1);
    switch (last) {
    case LAST_HALT_OPEN:
        __asm__ volatile("sti");
        linger(true);
    case LAST_INTERRUPT:
        set_handler(VECTOR_TEST, stay_in_handler);
        apic_write(0x80, 0);
        apic_send(this_processor()->apic_id, ICR_FIXED | VECTOR_TEST);
        __asm__ volatile("sti; 1: pause; jmp 1b");
        break;
    case LAST_NMI:
    case LAST_NMI_SELF:
        set_handler(VECTOR_NMI, last == LAST_NMI ? stay_in_handler : init_in_handler);
        apic_send(this_processor()->apic_id, ICR_NMI);
        __asm__ volatile("1: pause; jmp 1b");
        break;
    case LAST_STI:
    case LAST_MOV_SS:
        init_in_shadow(last);
        break;
    case LAST_HALT:
        linger(true);
    case LAST_LOOP:
        break;
    }
    linger(false);
}

struct low {
    const char *name;
    enum probe_mode mode;
    bool pae, halt;
};

static void stay_low(void *argument)
{
    const struct low *low = argument;
    uint32_t cr4 = (uint32_t)read_cr4() & ~(uint32_t)CR4_PAE;
    dirty(low->halt);
    cr4 |= low->pae ? CR4_PAE : CR4_PSE;
    probe_linger_in(low->mode, (uint32_t)(uint64_t)(low->pae ? (void *)pdpt : (void *)directory),
                    cr4, low->halt);
}

static void compare_later(const char *name, const struct later *found, const struct wanted *wanted)
{
    for (unsigned int i = 0; i < KEPT; i++)
        if (found->there[i])
            wrong += probe_differs(name, kept[i].name, wanted->msr[i], found->msr[i]);
    wrong += probe_differs(name, "xmm15", wanted->xmm, found->xmm);
    if (has_xsave())
        wrong += probe_differs(name, "xcr0", wanted->xcr0, found->xcr0);
    if (has_avx())
        wrong += probe_differs(name, "ymm15", wanted->ymm, found->ymm);
}

static void compare_fpu(const char *name, const struct probe *found, const struct wanted *wanted)
{
    wrong += probe_differs(name, "fcw", wanted->fcw, found->fpu.control);
    wrong += probe_differs(name, "tags", wanted->tags, found->fpu.tags);
    wrong += probe_differs(name, "mxcsr", wanted->mxcsr, found->fpu.mxcsr);
    wrong += probe_differs(name, "st0", wanted->st0, found->fpu.st[0][0]);
    wrong += probe_differs(name, "xmm0", wanted->xmm, found->fpu.xmm[0][0]);
    wrong += probe_differs(name, "xmm7", wanted->xmm, found->fpu.xmm[7][1]);
}

/* Start it, compare, and see that no event of before is left. */
static void start_and_compare(unsigned int vcpu, const char *name, const struct wanted *wanted)
{
    struct probe found;
    struct later later = {.xmm = 0};
    unsigned int nmis = processors[vcpu].nmis;
    wrong = 0;
    interrupts = 0;
    traps = 0;
    set_handler(VECTOR_NMI, NULL);
    set_handler(VECTOR_TEST, count_interrupt);
    bool started = probe_start(vcpu, &found);
    if (!started)
        broken("%s: it did not start", name);
    wrong += probe_compare(name, &found, processors[0].x2apic);
    wrong += probe_differs(name, "cr0", wanted->cr0, found.cr[0]);
    compare_fpu(name, &found, wanted);
    (void)run_on(vcpu, look_later, &later);
    compare_later(name, &later, wanted);
    wrong += probe_differs(name, "no-interrupt-left", 0, interrupts);
    wrong += probe_differs(name, "no-trap-left", 0, traps);
    wrong += probe_differs(name, "no-nmi-left", nmis, processors[vcpu].nmis);
    apic_send(processors[vcpu].apic_id, ICR_NMI);
    for (unsigned int ms = 0; ms < 500 && processors[vcpu].nmis == nmis; ms++)
        delay_us(1000);
    wrong += probe_differs(name, "nmis-open", nmis + 1, processors[vcpu].nmis);
    check(wrong == 0, name, "%u registers differ", wrong);
}

static void check_from(unsigned int vcpu, const char *from, job_fn *fn, void *argument, bool cd)
{
    volatile const struct probe *low = probe_copy();
    char name[48];
    snprintf(name, sizeof(name), "init.vcpu%u.%s", vcpu, from);
    lingers = false;
    start_on(vcpu, fn, argument);
    for (unsigned int ms = 0; ms < 2000 && !lingers && !low->lingers; ms++)
        delay_us(1000);
    delay_us(2000);
    if (!lingers && !low->lingers)
        broken("%s: the processor did not get there", name);
    after_init.cr0 = CR0_ET | (cd ? CR0_CD : 0);
    for (unsigned int i = 0; i < KEPT; i++)
        after_init.msr[i] = before.msr[i];
    after_init.xcr0 = before.xcr0;
    start_and_compare(vcpu, name, &after_init);
}

static void check_init(unsigned int vcpu)
{
    static const char *const last[] = {
        [LAST_LOOP] = "long",
        [LAST_HALT] = "halted",
        [LAST_HALT_OPEN] = "halted-interruptible",
        [LAST_INTERRUPT] = "interrupt-pending",
        [LAST_NMI] = "nmi-pending",
        [LAST_NMI_SELF] = "nmi-pending-own-init",
        [LAST_STI] = "sti",
        [LAST_MOV_SS] = "mov-ss-debug-pending",
    };
    static const struct low low[] = {
        {"compatibility", PROBE_COMPATIBILITY, true, false},
        {"paging-32", PROBE_PAGING32, false, false},
        {"paging-pae", PROBE_PAGING32, true, true},
        {"protected", PROBE_PROTECTED, true, false},
        {"protected-halted", PROBE_PROTECTED, false, true},
        {"real", PROBE_REAL, false, false},
        {"real-halted", PROBE_REAL, false, true},
    };
    for (enum last i = LAST_LOOP; i <= LAST_MOV_SS; i++)
        /* Bochs blocks real NMIs too in the handler of one that SVM injected. */
        if (i != LAST_NMI || !boot_word("no-call-in-nmi", NULL))
            check_from(vcpu, last[i], last_of, &i, i & 1);
    for (unsigned int i = 0; i < sizeof(low) / sizeof(low[0]); i++) {
        struct low one = low[i];
        check_from(vcpu, one.name, stay_low, &one, one.halt);
    }
}

/* The boot vCPU starts by the loader's protocol, which leaves these undefined. */
static void compare_boot(const char *name, const struct wanted *wanted)
{
    static struct probe found __attribute__((aligned(16)));
    struct later later;
    __asm__ volatile("fxsave %0" : "=m"(found.fpu));
    const uint64_t dr[] = {read_dr0(), read_dr1(), read_dr2(), read_dr3()};
    for (unsigned int i = 0; i < 4; i++)
        wrong += probe_differs(name, "dr", 0, dr[i]);
    wrong += probe_differs(name, "dr6", DR6_RESET, read_dr6());
    wrong += probe_differs(name, "dr7", DR7_RESET, read_dr7());
    wrong += probe_differs(name, "cr2", 0, read_cr2());
    look_later(&later);
    compare_later(name, &later, wanted);
    wrong += probe_differs(name, "fcw", wanted->fcw, found.fpu.control);
    wrong += probe_differs(name, "tags", wanted->tags, found.fpu.tags);
    wrong += probe_differs(name, "mxcsr", wanted->mxcsr, found.fpu.mxcsr);
    check(wrong == 0, name, "%u registers differ", wrong);
}

static void dirty_there(void *argument)
{
    (void)argument;
    dirty(false);
}

/* In the first generation the FPU is as the firmware left it. */
static void check_reset(void)
{
    struct wanted after_reset = {.cr0 = CR0_ET | CR0_CD | CR0_NW,
                                 .xcr0 = 1,
                                 .mxcsr = MXCSR_RESET,
                                 .fcw = FCW_RESET,
                                 .tags = FTW_RESET};
    uint64_t generation = (uint64_t)latch_hypercall(HYPERCALL_GENERATION, 0, 0, 0, 0);
    char name[48];
    for (unsigned int i = 0; i < KEPT; i++)
        after_reset.msr[i] = kept[i].reset;
    if (generation > 1)
        compare_boot("reset.vcpu0", &after_reset);
    for (unsigned int i = 1; i < processor_count; i++) {
        snprintf(name, sizeof(name), "reset.vcpu%u.generation%lu", i, generation);
        if (generation > 1)
            start_and_compare(i, name, &after_reset);
        else
            (void)processor_start(i);
        (void)run_on(i, dirty_there, NULL);
    }
    if (generation == GENERATIONS)
        return;
    dirty(false);
    outb(0xcf9, 2);
    outb(0xcf9, 6);
    delay_us(2000000);
    broken("the machine was not reset");
}

int main(void)
{
    set_handler(VECTOR_DB, count_trap);
    if (boot_word("reset", NULL)) {
        check_reset();
        return 0;
    }
    after_init = (struct wanted){.xmm = MARK,
                                 .ymm = MARK,
                                 .st0 = 1UL << 63,
                                 .mxcsr = MXCSR_OTHER,
                                 .fcw = FCW_OTHER,
                                 .tags = 0x80};
    for (uint32_t i = 0; i < 1024; i++)
        directory[i] = i << 22 | 0x87;
    for (unsigned int i = 0; i < 4; i++)
        pdpt[i] = (uint64_t)&long_directories[512UL * i] | 1;
    if (boot_word("x2apic", NULL))
        apic_enter_x2apic();
    check_equal("init.all-started", processor_count, processor_start_all());
    for (unsigned int i = 1; i < processor_count; i++)
        check_init(i);
    return 0;
}
