/* SPDX-License-Identifier: BSD-2-Clause */
#include "kernel/tsc.h"
#include "kernel/cpu.h"
#include "kernel/x86.h"

/* i8254: channel 2 counts down at 1,193,182 Hz, gated by port 0x61, output in its bit 5. */
#define PIT_HZ         1193182U
#define PIT_COUNT      (PIT_HZ / 1000U)
#define PIT_TRIES      3U
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

#define MSR_TSC        0x10U
#define MSR_TSC_ADJUST 0x3bU

static uint64_t time_zero;
static uint64_t khz;

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

/* IA32_TSC_ADJUST moves with each write to IA32_TSC, to the tick (SDM vol. 3 §18.17.3). Without one
 * the time between two looks at the TSC is lost. */
static uint64_t moved(void)
{
    uint64_t value;
    return rdmsr_safe(MSR_TSC_ADJUST, &value) == 0 ? value : rdtsc();
}

int tsc_write(uint32_t msr, uint64_t value)
{
    const uint64_t before = moved();
    const int error = wrmsr_safe(msr, value);
    this_cpu()->tsc_moved += moved() - before;
    return error;
}

void tsc_restore(void)
{
    uint64_t adjust;
    if (this_cpu()->tsc_moved != 0 && rdmsr_safe(MSR_TSC_ADJUST, &adjust) != 0)
        (void)wrmsr_safe(MSR_TSC, tsc_host());
    this_cpu()->tsc_moved = 0;
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
