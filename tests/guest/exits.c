/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A guest that has started runs without exits: halts, timer ticks and interrupts between vCPUs are
 * its own. Wants icr-trap=startup where the hardware cannot catch a later INIT by itself. With
 * `x2apic` on the command line in that mode.
 */
#include "tests/guest/lib/payload.h"

#include <stdio.h>

#define TICKS          200U
#define TICK_COUNT     20000U
#define INTERRUPTS     100U
#define TIMER_PERIODIC 0x20000U
#define TIMER_MASKED   0x10000U
#define DIVIDE_BY_16   3U

static volatile unsigned int ticks, interrupts[PROCESSORS_MAX];
static uint64_t before[PROCESSORS_MAX][EXIT_KINDS], after[PROCESSORS_MAX][EXIT_KINDS];

static void on_tick(struct frame *frame)
{
    (void)frame;
    ticks++;
    apic_write(APIC_EOI, 0);
}

static void on_interrupt(struct frame *frame)
{
    (void)frame;
    interrupts[this_processor()->index]++;
    apic_write(APIC_EOI, 0);
}

static void count(uint64_t exits[PROCESSORS_MAX][EXIT_KINDS])
{
    for (unsigned int vcpu = 0; vcpu < processor_count; vcpu++)
        for (unsigned int kind = 0; kind < EXIT_KINDS; kind++)
            exits[vcpu][kind] = latch_exits((enum exit_kind)kind, vcpu);
}

static void halt_through_ticks(void)
{
    apic_write(APIC_TIMER_DIVIDE, DIVIDE_BY_16);
    apic_write(APIC_LVT_TIMER, TIMER_PERIODIC | VECTOR_TIMER);
    apic_write(APIC_TIMER_COUNT, TICK_COUNT);
    while (ticks < TICKS)
        __asm__ volatile("sti; hlt");
    apic_write(APIC_LVT_TIMER, TIMER_MASKED | VECTOR_TIMER);
}

static void interrupt_others(void)
{
    for (unsigned int vcpu = 1; vcpu < processor_count; vcpu++)
        for (unsigned int i = 1; i <= INTERRUPTS; i++) {
            apic_send(processors[vcpu].apic_id, ICR_FIXED | VECTOR_TEST);
            while (interrupts[vcpu] < i)
                cpu_pause();
        }
}

static void use_devices(void)
{
    for (unsigned int i = 0; i < 100; i++) {
        outb(0x70, 0x0a);
        (void)inb(0x71);
        outb(0x43, 0);
        (void)inb(0x40);
    }
    outl(0xcf8, 0x80000000U);
    (void)inl(0xcfc);
    delay_us(20000);
}

static void check_none(unsigned int vcpu, unsigned int kind)
{
    char name[48];
    uint64_t wanted = before[vcpu][kind];
    if (vcpu == 0 && kind == EXIT_HYPERCALL) /* the counting itself */
        wanted += (uint64_t)processor_count * EXIT_KINDS;
    snprintf(name, sizeof(name), "exits.vcpu%u.%s", vcpu, exit_name((enum exit_kind)kind));
    check_equal(name, wanted, after[vcpu][kind]);
}

int main(void)
{
    if (!under_latch()) {
        check_skip("exits", "no Latch, so no exits");
        return 0;
    }
    if (boot_word("x2apic", NULL)) {
        if (!apic_has_x2apic()) {
            check_skip("exits.x2apic", "CPUID has no x2APIC");
            return 0;
        }
        apic_enter_x2apic();
    }
    set_handler(VECTOR_TIMER, on_tick);
    set_handler(VECTOR_TEST, on_interrupt);
    __asm__ volatile("sti");
    check_equal("exits.all-started", processor_count, processor_start_all());
    interrupt_others(); /* the trap on the ICR goes with the first write after the last start */
    for (unsigned int vcpu = 1; vcpu < processor_count; vcpu++)
        interrupts[vcpu] = 0;
    count(before);
    halt_through_ticks();
    interrupt_others();
    use_devices();
    count(after);
    for (unsigned int vcpu = 0; vcpu < processor_count; vcpu++)
        for (unsigned int kind = 0; kind < EXIT_KINDS; kind++)
            check_none(vcpu, kind);
    return 0;
}
