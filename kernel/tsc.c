/* SPDX-License-Identifier: BSD-2-Clause */
#include "kernel/tsc.h"
#include "kernel/cpu.h"
#include "kernel/x86.h"

/* i8254: channel 2 counts down at 1,193,182 Hz, gated by port 0x61, output in its bit 5. */
#define PIT_HZ         1193182U
#define PIT_COUNT      (PIT_HZ / 1000U)
#define PIT_TRIES      2U
#define PIT_CHANNEL2   0x42
#define PIT_COMMAND    0x43
#define PIT_GATE       0x61
#define PM_TIMER_HZ    3579545U
#define PM_TIMER_TICKS (PM_TIMER_HZ / 1000U)
#define POLLS_MAX      400000U /* of what takes 1 ms; where nothing ticks a poll may take 1 us */
/* While the frequency is unknown a delay is measured as if by a fast CPU: too long, never short. */
#define KHZ_GUESS 5000000U

#define MSR_TSC        0x10U
#define MSR_TSC_ADJUST 0x3bU

static uint64_t time_zero;
static uint64_t khz;

/* TSC ticks while channel 2 counts PIT_COUNT down; UINT64_MAX if it does not. */
static uint64_t pit_ticks(void)
{
    outb(PIT_COMMAND, 0xb0); /* channel 2, both bytes, mode 0 */
    outb(PIT_CHANNEL2, PIT_COUNT & 0xff);
    uint64_t start = rdtsc();
    outb(PIT_CHANNEL2, PIT_COUNT >> 8);
    if (inb(PIT_GATE) & 0x20) /* the output begins low: nothing answers, or it is over already */
        return UINT64_MAX;
    for (uint32_t polls = 0; polls < POLLS_MAX; polls++) {
        if (inb(PIT_GATE) & 0x20)
            return rdtsc() - start;
    }
    return UINT64_MAX;
}

void tsc_calibrate_pit(void)
{
    uint64_t least = UINT64_MAX;
    time_zero = rdtsc();
    uint8_t gate = inb(PIT_GATE);
    outb(PIT_GATE, (uint8_t)((gate & ~3U) | 1U));
    /* What disturbs a measurement (an SMI, an emulator's host) makes it longer. */
    for (unsigned int i = 0; i < PIT_TRIES; i++) {
        uint64_t ticks = pit_ticks();
        if (ticks < least)
            least = ticks;
    }
    outb(PIT_GATE, gate);
    if (least != UINT64_MAX)
        khz = least * PIT_HZ / PIT_COUNT / 1000;
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
