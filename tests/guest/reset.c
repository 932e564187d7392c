/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * RESET from each mode: what it leaves of every register that was changed before, on each processor
 * (SDM vol. 3 table 10-1, APM vol. 2 table 14-1). Each generation ends by another way.
 */
#include "tests/guest/lib/kept.h"
#include "tests/guest/lib/linger.h"
#include "tests/guest/lib/msrs.h"

#include <stdio.h>
#include <string.h>

#define FCW_RESET   0x40U
#define FTW_RESET   0xffU /* eight zeros: FXSAVE's form of 5555H */
#define MXCSR_RESET 0x1f80U
#define TSC_FAR     (1UL << 50) /* no machine here runs for so long */
#define TSC_MOVE    (1UL << 40)
#define TSC_SCALE   (1UL << 20) /* of what is kept of it */
#define KEPT_TSC    (KEPT_BYTES - 2U)
#define TSC_SOON    (1UL << 20)
#define TSC_LOST    256U        /* at most, by writing a TSC without IA32_TSC_ADJUST */
#define TSC_LATE    (1UL << 28) /* too much for a deadline, whatever the machine */

/* When the boot processor is where it is to be. */
static void reset_control(void *argument)
{
    (void)argument;
    delay_us(5000);
    outb(0xcf9, 6);
}

/* It would go to the reset vector: Latch takes it for a reset. */
static void init_of_boot(void *argument)
{
    (void)argument;
    delay_us(5000);
    apic_send(processors[0].apic_id, ICR_INIT);
}

#define IN_LONG_MODE PROBE_LONG5 /* of four levels: where the payload is anyway */

/* The boot processor's mode, what it does there, and whether another one resets the machine; else
 * where the others are, or if they cannot be there. */
static const struct way {
    const char *name;
    enum probe_mode mode;
    void *root;
    uint32_t cr4;
    enum probe_last last;
    job_fn *by_other;
    const char *others, *otherwise;
} ways[] = {
    {"halted", PROBE_COMPATIBILITY, linger_pdpt, CR4_PAE, PROBE_HALT, init_of_boot, NULL, NULL},
    {"paging-pae", PROBE_PAGING32, linger_pdpt, CR4_PAE, PROBE_RESET, NULL, "interrupt-pending",
     NULL},
    {"protected", PROBE_PROTECTED, linger_directory, CR4_PSE, PROBE_RESET, NULL, "nmi-pending",
     "halted-interruptible"},
    {"real", PROBE_REAL, linger_directory, CR4_PSE, PROBE_RESET, NULL, "virtual-8086", "paging-32"},
    {"real-halted", PROBE_REAL, linger_directory, CR4_PSE, PROBE_HALT, reset_control, NULL, NULL},
    {"mov-ss-debug-pending", IN_LONG_MODE, NULL, CR4_PAE, PROBE_RESET, NULL, "long-5-level",
     "compatibility"},
};
#define GENERATIONS (sizeof(ways) / sizeof(ways[0]) + 1U)

static const struct linger_mode *mode_of(const char *name)
{
    for (unsigned int i = 0; i < LINGER_MODES; i++) {
        if (strcmp(linger_modes[i].name, name) == 0)
            return &linger_modes[i];
    }
    return NULL;
}

static enum linger_last last_of(const char *name)
{
    enum linger_last last = LAST_LOOP;
    while (last < LASTS && strcmp(linger_last_name[last], name) != 0)
        last++;
    return last;
}

static const char *place_of_others(const struct way *way)
{
    if (way->others == NULL)
        return NULL;
    const struct linger_mode *mode = mode_of(way->others);
    const bool can = mode != NULL ? linger_can_mode(mode) : linger_can_last(last_of(way->others));
    return can ? way->others : way->otherwise;
}

static void place(unsigned int vcpu, const char *name)
{
    static struct linger_mode mode;
    static enum linger_last last;
    const struct linger_mode *found = mode_of(name);
    last = last_of(name);
    if (found != NULL)
        mode = *found;
    if (!(found != NULL ? linger_start(vcpu, linger_in, &mode)
                        : linger_start(vcpu, linger_after, &last)))
        broken("%s: the processor did not get there", name);
}

/* The boot vCPU starts by the loader's protocol, which leaves these undefined. */
static void compare_boot(const char *name, const struct state_wanted *wanted)
{
    static struct probe found __attribute__((aligned(16)));
    struct state_later later;
    unsigned int wrong = 0;
    __asm__ volatile("fxsave %0" : "=m"(found.fpu));
    const uint64_t dr[] = {read_dr0(), read_dr1(), read_dr2(), read_dr3()};
    for (unsigned int i = 0; i < 4; i++)
        wrong += probe_differs(name, "dr", 0, dr[i]);
    wrong += probe_differs(name, "dr6", DR6_RESET, read_dr6());
    wrong += probe_differs(name, "dr7", DR7_RESET, read_dr7());
    wrong += probe_differs(name, "cr2", 0, read_cr2());
    state_look(&later);
    wrong += state_compare(name, &later, wanted);
    wrong += probe_differs(name, "fcw", wanted->fcw, found.fpu.control);
    wrong += probe_differs(name, "tags", wanted->tags, found.fpu.tags);
    wrong += probe_differs(name, "mxcsr", wanted->mxcsr, found.fpu.mxcsr);
    check(wrong == 0, name, "%u registers differ", wrong);
}

/* All that a guest can have: in generation 1 they are as at launch. */
static void check_msrs(void *generation)
{
    const unsigned int index = this_processor()->index;
    char name[48];
    snprintf(name, sizeof(name), "reset.vcpu%u.msrs", index);
    check(msrs_are_as_kept(2U * index, *(uint64_t *)generation == 1), name,
          "other values than at launch");
}

static void read_tsc(void *tsc)
{
    *(uint64_t *)tsc = rdtsc();
}

/* RDMSR finds it as RDTSC does; on QEMU's TCG there is no such MSR. */
static void check_tsc_msr(void)
{
    const uint64_t before = rdtsc(), now = rdmsr(MSR_TSC), after = rdtsc();
    if (now == 0)
        check_absent("reset.tsc-msr", "it reads as 0");
    else
        check(now >= before && now <= after, "reset.tsc-msr",
              "0x%lx is not between 0x%lx and 0x%lx", now, before, after);
}

/* All processors' are still one and the same. */
static void check_tsc_of(unsigned int index)
{
    uint64_t there = 0, before = rdtsc();
    char name[48];
    (void)run_on(index, read_tsc, &there);
    const uint64_t after = rdtsc();
    snprintf(name, sizeof(name), "reset.vcpu%u.tsc", index);
    check(there >= before && there <= after, name, "0x%lx is not between 0x%lx and 0x%lx", there,
          before, after);
}

/* It moves the TSC by as much as it changes, and says so. The suite knows where there is one. */
static void check_tsc_adjust(void)
{
    uint64_t adjust = 1;
    if (rdmsr_safe(MSR_TSC_ADJUST, &adjust) != 0)
        return;
    check_equal("reset.tsc-adjust", 0, adjust);
    const uint64_t before = rdtsc();
    wrmsr(MSR_TSC_ADJUST, TSC_MOVE);
    const uint64_t moved = rdtsc() - before;
    check(moved >= TSC_MOVE && moved < 2 * TSC_MOVE, "reset.tsc-moves", "by 0x%lx", moved);
    check_equal("reset.tsc-moved", TSC_MOVE, rdmsr(MSR_TSC_ADJUST));
    wrmsr(MSR_TSC_ADJUST, 0);
    check(rdtsc() - before < TSC_MOVE, "reset.tsc-moves-back", "by 0x%lx", rdtsc() - before);
}

static volatile uint64_t passed; /* when a deadline had, 0: not yet */

static void on_deadline(struct frame *frame)
{
    (void)frame;
    passed = rdtsc();
    apic_write(APIC_EOI, 0);
}

/* It reads back until it has passed, which is when the TSC that the guest sees gets there. */
static void check_deadline(const char *name, uint64_t deadline, bool passes)
{
    uint64_t adjust;
    const uint64_t lost = rdmsr_safe(MSR_TSC_ADJUST, &adjust) == 0 ? 0 : TSC_LOST;
    const uint64_t begin = rdtsc(), end = begin + (passes ? TSC_LATE : TSC_SOON);
    passed = 0;
    wrmsr(MSR_TSC_DEADLINE, deadline);
    const uint64_t found = rdmsr(MSR_TSC_DEADLINE);
    if (deadline > begin)
        check(found == deadline, name, "0x%lx reads back as 0x%lx", deadline, found);
    while (passed == 0 && rdtsc() < end)
        cpu_pause();
    if (passes)
        check(passed + lost >= deadline && passed >= begin, name, "0x%lx passed at 0x%lx", deadline,
              passed);
    else
        check(passed == 0, name, "0x%lx passed at 0x%lx", deadline, passed);
    if (!passes || !boot_word("keeps-deadlines", NULL))
        check(rdmsr(MSR_TSC_DEADLINE) == (passes ? 0 : deadline), name, "then it reads as 0x%lx",
              rdmsr(MSR_TSC_DEADLINE));
    wrmsr(MSR_TSC_DEADLINE, 0);
    check(rdmsr(MSR_TSC_DEADLINE) == 0, name, "0 does not stop it");
}

/* On each processor. Without deadlines there is nothing, and the suite knows where. */
static void check_deadlines(void *argument)
{
    (void)argument;
    char name[48];
    if (!msrs_deadline_mode(VECTOR_TIMER))
        return;
    snprintf(name, sizeof(name), "reset.vcpu%u.deadline", this_processor()->index);
    set_handler(VECTOR_TIMER, on_deadline);
    check_deadline(name, rdtsc() + TSC_SOON, true);
    check_deadline(name, 1, true);
    check_deadline(name, TSC_FAR, false);
    check_deadline(name, UINT64_MAX, false);
}

/* What it has come to since RESET: much less than at launch, after a firmware and a boot loader. */
static uint64_t tsc_bound(uint64_t generation)
{
    const uint64_t now = rdtsc() / TSC_SCALE;
    if (generation == 1)
        keep_word(KEPT_TSC, now < UINT16_MAX ? (uint16_t)now : UINT16_MAX);
    return kept_word(KEPT_TSC) * TSC_SCALE / 2;
}

static void change_there(void *argument)
{
    (void)argument;
    state_change(false);
    (void)msrs_change();
    (void)wrmsr_safe(MSR_TSC, TSC_FAR);
}

static void check_reset(uint64_t generation)
{
    struct state_wanted after_reset = {.cr0 = CR0_ET | CR0_CD | CR0_NW,
                                       .xcr0 = 1,
                                       .mxcsr = MXCSR_RESET,
                                       .fcw = FCW_RESET,
                                       .tags = FTW_RESET,
                                       .tsc_below = tsc_bound(generation)};
    const char *from = generation > 1 ? ways[generation - 2].name : "launch";
    const char *others = generation > 1 ? place_of_others(&ways[generation - 2]) : NULL;
    char name[48];
    check_msrs(&generation);
    for (unsigned int i = 0; i < STATE_MSRS; i++)
        after_reset.msr[i] = state_msr[i].reset;
    snprintf(name, sizeof(name), "reset.vcpu0.%s", from);
    if (generation > 1) /* in the first one the FPU is as the firmware left it */
        compare_boot(name, &after_reset);
    for (unsigned int i = 1; i < processor_count; i++) {
        snprintf(name, sizeof(name), "reset.vcpu%u.%s", i, others != NULL ? others : from);
        if (generation > 1)
            state_check_start(i, name, &after_reset, false);
        else
            (void)processor_start(i);
        (void)run_on(i, check_msrs, &generation);
        check_tsc_of(i);
        (void)run_on(i, check_deadlines, NULL);
    }
    __asm__ volatile("sti");
    check_deadlines(NULL);
    __asm__ volatile("cli");
    check_tsc_msr();
    check_tsc_adjust();
}

/* Behind an instruction that holds interrupts and traps up, with a #DB for the word that it reads. */
static _Noreturn void reset_in_shadow(void)
{
    static const uint16_t selector = SELECTOR_DATA;
    write_dr0((uint64_t)&selector);
    write_dr7(DR7_RESET | 0x70001UL);
    __asm__ volatile("mov %2, %%ss; outb %b0, %w1; 1: hlt; jmp 1b"
                     :
                     : "a"(6), "d"(0xcf9), "m"(selector));
    __builtin_unreachable();
}

static _Noreturn void reset_by(const struct way *way)
{
    const uint32_t cr4 = (uint32_t)read_cr4() & ~(uint32_t)CR4_PAE;
    const char *others = place_of_others(way);
    outb(0xcf9, 2);
    if (way->by_other != NULL)
        start_on(1, way->by_other, NULL);
    for (unsigned int i = 1; others != NULL && i < processor_count; i++)
        place(i, others);
    if (way->mode == IN_LONG_MODE)
        reset_in_shadow();
    (void)probe_copy();
    probe_linger_in(way->mode, (uint32_t)(uint64_t)way->root, cr4 | way->cr4, way->last);
}

int main(void)
{
    uint64_t generation = (uint64_t)latch_hypercall(HYPERCALL_GENERATION, 0, 0, 0, 0);
    linger_prepare();
    check_reset(generation);
    if (generation == GENERATIONS)
        return 0;
    for (unsigned int i = 1; i < processor_count; i++)
        (void)run_on(i, change_there, NULL);
    change_there(NULL);
    reset_by(&ways[generation - 1]);
}
