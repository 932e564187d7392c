/* SPDX-License-Identifier: BSD-2-Clause */
/* The interrupt controller, the timer, and a second processor. */
#include "tests/bench/payload/bench.h"

#define TIMER_MASKED   0x10000U
#define TIMER_DEADLINE 0x40000U
#define DIVIDE_BY_1    0xbU
#define COUNT          100000U
#define FAR            0x7fffffffU
#define ICR_SELF       0x40000U
#define MSR_DEADLINE   0x6e0U
#define CPUID_1_TSC_DL (1U << 24)
#define X2APIC(offset) (0x800U + ((offset) >> 4))
#define XAPIC_ONLY     "the APIC is in x2APIC mode"
#define FRACTION       16U

static uint64_t ticks_per_count; /* with FRACTION bits behind the point */

static void find_rate(void)
{
    apic_write(APIC_TIMER_DIVIDE, DIVIDE_BY_1);
    apic_write(APIC_LVT_TIMER, TIMER_MASKED | VECTOR_TIMER);
    apic_write(APIC_TIMER_COUNT, FAR);
    uint64_t start = rdtsc();
    uint32_t count = apic_read(APIC_TIMER_NOW);
    while (rdtsc() - start < 20UL * COUNT)
        cpu_pause();
    uint64_t end = rdtsc();
    uint32_t counted = count - apic_read(APIC_TIMER_NOW);
    ticks_per_count = counted ? ((end - start) << FRACTION) / counted : 0;
    apic_write(APIC_TIMER_COUNT, 0);
}

/* How long after the deadline the handler ran. */
static int64_t measure_halt(unsigned int round)
{
    (void)round;
    uint64_t took = halt_until_timer(COUNT);
    return (int64_t)(took - (COUNT * ticks_per_count >> FRACTION));
}

static void measure_xapic(void)
{
    uint32_t a, b, c, d;
    row("apic-read", op_xapic_read, APIC_ID, 0);
    row("apic-eoi", op_xapic_write, APIC_EOI, 0);
    set_gate(VECTOR_TEST, answer_xapic);
    row("self-ipi", op_xapic_ipi, ICR_SELF | VECTOR_TEST, 0);
    find_rate();
    row("timer-arm", op_xapic_write, APIC_TIMER_COUNT, FAR);
    apic_write(APIC_TIMER_COUNT, 0);
    set_gate(VECTOR_TIMER, note_time);
    apic_write(APIC_LVT_TIMER, VECTOR_TIMER);
    if (measure_halt(0) < 0)
        row_absent("halt-to-timer", "the APIC's timer and the TSC do not agree about time");
    else
        row_measured("halt-to-timer", measure_halt);
    apic_write(APIC_LVT_TIMER, TIMER_MASKED | VECTOR_TIMER);
    cpuid_raw(1, 0, &a, &b, &c, &d);
    if (!(c & CPUID_1_TSC_DL)) {
        row_absent("deadline-arm", "the CPU does not have it");
        return;
    }
    apic_write(APIC_LVT_TIMER, TIMER_DEADLINE | TIMER_MASKED | VECTOR_TIMER);
    row("deadline-arm", op_wrmsr, MSR_DEADLINE, UINT32_MAX);
    apic_write(APIC_LVT_TIMER, TIMER_MASKED | VECTOR_TIMER);
}

static void measure_x2apic(void)
{
    apic_enter_x2apic();
    row("x2apic-eoi", op_wrmsr, X2APIC(APIC_EOI), 0);
    row("x2apic-timer-arm", op_wrmsr, X2APIC(APIC_TIMER_COUNT), FAR);
    apic_write(APIC_TIMER_COUNT, 0);
    set_gate(VECTOR_TEST, answer_x2apic);
    row("x2apic-self-ipi", op_x2apic_ipi, ICR_SELF | VECTOR_TEST, 0);
}

void measure_interrupts(void)
{
    if (this_processor()->x2apic)
        row_absent("apic", XAPIC_ONLY);
    else
        measure_xapic();
    if (apic_has_x2apic())
        measure_x2apic();
    else
        row_absent("x2apic", "the CPU does not have it");
}

static volatile bool stop;

static void sleep_until_stopped(void *argument)
{
    (void)argument;
    while (!stop)
        __asm__ volatile("sti; hlt");
}

static void spin_until_stopped(void *argument)
{
    (void)argument;
    __asm__ volatile("sti");
    while (!stop)
        cpu_pause();
}

static void measure_other(const char *name, job_fn *job)
{
    stop = false;
    start_on(1, job, NULL);
    delay_us(1000);
    row(name, op_xapic_ipi, VECTOR_TEST, 0);
    stop = true;
    apic_send(processors[1].apic_id, ICR_FIXED | VECTOR_TEST);
    if (!wait_on(1))
        broken("the second processor did not come back");
}

void measure_processors(void)
{
    if (processor_count < 2 || this_processor()->x2apic || !processor_start(1)) {
        row_absent("ipi", "no second processor in xAPIC mode");
        return;
    }
    set_gate(VECTOR_TEST, answer_xapic);
    apic_write(APIC_ICR + 0x10U, processors[1].apic_id << 24);
    measure_other("ipi-to-halted", sleep_until_stopped);
    apic_write(APIC_ICR + 0x10U, processors[1].apic_id << 24);
    measure_other("ipi-to-busy", spin_until_stopped);
}
