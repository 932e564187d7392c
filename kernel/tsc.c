/* SPDX-License-Identifier: BSD-2-Clause */
#include "kernel/tsc.h"
#include "kernel/cpu.h"
#include "kernel/machine.h"
#include "kernel/x86.h"

/* i8254: channel 2 counts down at 1,193,182 Hz, gated by port 0x61, output in its bit 5. */
#define PIT_HZ         1193182U
#define PIT_COUNT      (PIT_HZ / 1000U)
#define PIT_TRIES      16U
#define PIT_DOUBT      128U /* enough if it is not more than such a part */
#define PIT_CHANNEL2   0x42
#define PIT_COMMAND    0x43
#define PIT_GATE       0x61
#define PIT_OUTPUT     0x20U
#define PM_TIMER_HZ    3579545U
#define PM_TIMER_TICKS (PM_TIMER_HZ / 1000U)
#define POLLS_MAX      400000U /* of what takes 1 ms; where nothing ticks a poll may take 1 us */
/* While the frequency is unknown a delay is measured as if by a fast CPU: too long, never short. */
#define KHZ_GUESS 5000000U

#define LEAF7_TSC_ADJUST (1U << 1) /* EBX */

static uint64_t time_zero;
static uint64_t khz;
static uint64_t guest_zero; /* tsc_host() at its RESET, if its TSC counts from there */

/* How long channel 2 took, by the TSC, and how much longer or shorter it may have been: what disturbs
 * a measurement (an SMI, an emulator's host) lies between two looks at the clock. */
struct pit_time {
    uint64_t ticks, doubt;
};

/* Count PIT_COUNT down. No doubt is as great as that when nothing answers. */
static struct pit_time count_down(void)
{
    const struct pit_time none = {.doubt = UINT64_MAX};
    outb(PIT_COMMAND, 0xb0); /* channel 2, both bytes, mode 0 */
    outb(PIT_CHANNEL2, PIT_COUNT & 0xff);
    uint64_t before = rdtsc();
    outb(PIT_CHANNEL2, PIT_COUNT >> 8);
    uint64_t start = rdtsc(), last = start;
    if (inb(PIT_GATE) & PIT_OUTPUT) /* it begins low: nothing answers, or it is over already */
        return none;
    for (uint32_t polls = 0; polls < POLLS_MAX; polls++) {
        bool over = inb(PIT_GATE) & PIT_OUTPUT;
        uint64_t now = rdtsc();
        if (over)
            return (struct pit_time){.ticks = (last - start + now - before) / 2,
                                     .doubt = now - last + start - before};
        last = now;
    }
    return none;
}

void tsc_calibrate_pit(void)
{
    struct pit_time best = {.doubt = UINT64_MAX};
    time_zero = rdtsc();
    uint8_t gate = inb(PIT_GATE);
    outb(PIT_GATE, (uint8_t)((gate & ~3U) | 1U));
    for (unsigned int i = 0; i < PIT_TRIES && best.doubt > best.ticks / PIT_DOUBT; i++) {
        struct pit_time time = count_down();
        if (time.doubt < best.doubt)
            best = time;
    }
    outb(PIT_GATE, gate);
    if (best.doubt != UINT64_MAX)
        khz = best.ticks * PIT_HZ / PIT_COUNT / 1000;
}

void tsc_calibrate_pm_timer(uint16_t port)
{
    if (khz != 0 || port == 0)
        return;
    uint32_t first = inl(port), now = first;
    uint64_t start = rdtsc();
    for (uint32_t polls = 0; polls < POLLS_MAX && ((now - first) & 0xffffff) < PM_TIMER_TICKS;
         polls++)
        now = inl(port);
    uint32_t passed = (now - first) & 0xffffff;
    if (passed >= PM_TIMER_TICKS)
        khz = (rdtsc() - start) * PM_TIMER_HZ / passed / 1000;
}

uint64_t tsc_khz(void)
{
    return khz;
}

uint64_t tsc_host(void)
{
    return rdtsc() - this_cpu()->tsc_moved;
}

uint64_t tsc_guest(void)
{
    return tsc_host() - guest_zero;
}

uint64_t tsc_guest_moved(void)
{
    return this_cpu()->tsc_offset + this_cpu()->tsc_moved + guest_zero;
}

/* Not by reading it: what is not there reads as 0 on QEMU's TCG. */
static bool has_adjust(void)
{
    uint32_t a, b, c, d;
    cpuid_raw(0, 0, &a, &b, &c, &d);
    if (a < 7)
        return false;
    cpuid_raw(7, 0, &a, &b, &c, &d);
    return b & LEAF7_TSC_ADJUST;
}

/*
 * By how much a write moves the TSC: IA32_TSC_ADJUST says it to the tick (SDM vol. 3 §18.17.3).
 * Without one the time between a look at the TSC and the write is lost; and a TSC that is nearer to
 * where it was than to what was written did not take it.
 */
static uint64_t write_moves(uint32_t msr, uint64_t value, int *error)
{
    const bool adjust = has_adjust();
    const uint64_t before = adjust ? rdmsr(MSR_TSC_ADJUST) : rdtsc();
    *error = wrmsr_safe(msr, value);
    const uint64_t after = adjust ? rdmsr(MSR_TSC_ADJUST) : rdtsc();
    if (adjust)
        return after - before;
    return after - value < after - before ? value - before : 0;
}

/* What the guest sees there is so much more than what this CPU's register holds. */
static uint64_t shift_of(uint32_t msr)
{
    return msr == MSR_TSC ? this_cpu()->tsc_offset : -this_cpu()->tsc_adjust_zero;
}

/* Of the guest's TSC from what this CPU compares a deadline with. */
static uint64_t deadline_shift(void)
{
    return this_cpu()->tsc_offset + (machine_moves_deadlines() ? 0 : this_cpu()->tsc_moved);
}

/* Another that is as far off as the guest's. 0 is none, and what does not fit is never. */
static uint64_t deadline_here(uint64_t deadline)
{
    const uint64_t guest = rdtsc() + this_cpu()->tsc_offset, here = guest - deadline_shift();
    const uint64_t left = deadline > guest ? deadline - guest : 0;
    if (deadline == 0)
        return 0;
    return here + left < here ? UINT64_MAX : here + left;
}

int tsc_read(uint32_t msr, uint64_t *value)
{
    const int error = rdmsr_safe(msr, value);
    if (msr != MSR_TSC_DEADLINE)
        *value += shift_of(msr);
    else if (*value != 0) /* it has not passed yet */
        *value = this_cpu()->tsc_deadline;
    return error;
}

int tsc_write(uint32_t msr, uint64_t value)
{
    struct cpu *cpu = this_cpu();
    int error;
    if (msr == MSR_TSC_DEADLINE) {
        cpu->tsc_deadline = value;
        return wrmsr_safe(msr, deadline_here(value));
    }
    cpu->tsc_moved += write_moves(msr, value - shift_of(msr), &error);
    return error;
}

bool tsc_reads_pass(uint32_t msr)
{
    if (msr == MSR_TSC_DEADLINE)
        return deadline_shift() == 0;
    return msr == MSR_TSC || this_cpu()->tsc_adjust_zero == 0;
}

bool tsc_writes_pass(uint32_t msr)
{
    return msr == MSR_TSC_DEADLINE && deadline_shift() == 0;
}

void tsc_begin_again(void)
{
    guest_zero = tsc_host();
}

void tsc_reset(void)
{
    struct cpu *cpu = this_cpu();
    if (has_adjust()) {
        cpu->tsc_adjust_zero = rdmsr(MSR_TSC_ADJUST) - cpu->tsc_moved - guest_zero;
        (void)wrmsr_safe(MSR_TSC_ADJUST, cpu->tsc_adjust_zero);
        cpu->tsc_moved = -guest_zero;
    } else {
        cpu->tsc_offset = -(cpu->tsc_moved + guest_zero);
    }
}

uint64_t tsc_microseconds(void)
{
    uint64_t ticks = tsc_host() - time_zero;
    /* Split, so that years of ticks do not overflow the product. */
    return khz == 0 ? ticks / 1000 : ticks / khz * 1000 + ticks % khz * 1000 / khz;
}

void tsc_delay(uint64_t microseconds)
{
    uint64_t ticks = microseconds * (khz == 0 ? KHZ_GUESS : khz) / 1000;
    for (uint64_t start = rdtsc(); rdtsc() - start < ticks;)
        cpu_pause();
}
