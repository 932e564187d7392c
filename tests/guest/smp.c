/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * All vCPUs: started by INIT-SIPI-SIPI, interrupted, sent NMIs, started again. In xAPIC mode, and
 * with `x2apic` on the command line in that.
 */
#include "tests/guest/lib/payload.h"

#include <stdio.h>

#define INTERRUPTS       100U
#define ICR_ALL_BUT_SELF 0xc0000U

static volatile unsigned int interrupts[PROCESSORS_MAX];

static void count_interrupt(struct frame *frame)
{
    (void)frame;
    interrupts[this_processor()->index]++;
    apic_write(APIC_EOI, 0);
}

static bool wait_for(const volatile unsigned int *counter, unsigned int wanted)
{
    for (unsigned int ms = 0; ms < 2000 && *counter < wanted; ms++)
        delay_us(1000);
    return *counter == wanted;
}

static void check_of(unsigned int vcpu, const char *what, bool ok, unsigned int found)
{
    char name[48];
    snprintf(name, sizeof(name), "smp.vcpu%u.%s", vcpu, what);
    check(ok, name, "found %u", found);
}

static void read_apic_id(void *argument)
{
    uint32_t id = apic_read(APIC_ID);
    *(uint32_t *)argument = this_processor()->x2apic ? id : id >> 24;
}

static void check_runs(unsigned int vcpu, unsigned int starts)
{
    uint32_t id = UINT32_MAX;
    check_of(vcpu, "runs", run_on(vcpu, read_apic_id, &id), processors[vcpu].starts);
    check_of(vcpu, "apic-id", id == processors[vcpu].apic_id, id);
    check_of(vcpu, "started-once-each", processors[vcpu].starts == starts, processors[vcpu].starts);
}

static void check_interrupts(unsigned int vcpu)
{
    interrupts[vcpu] = 0;
    bool all = true;
    for (unsigned int i = 1; i <= INTERRUPTS && all; i++) {
        apic_send(processors[vcpu].apic_id, ICR_FIXED | VECTOR_TEST);
        all = wait_for(&interrupts[vcpu], i);
    }
    check_of(vcpu, "interrupts", all, interrupts[vcpu]);
}

static void check_nmis(unsigned int vcpu)
{
    bool all = true;
    unsigned int before = processors[vcpu].nmis;
    for (unsigned int i = 1; i <= 10 && all; i++) {
        apic_send(processors[vcpu].apic_id, ICR_NMI);
        all = wait_for(&processors[vcpu].nmis, before + i);
    }
    check_of(vcpu, "nmis", all, processors[vcpu].nmis - before);
}

/* What another vCPU sends comes here. */
static void send_back(void *argument)
{
    (void)argument;
    apic_send(processors[0].apic_id, ICR_FIXED | VECTOR_TEST);
}

static void check_answer(unsigned int vcpu)
{
    unsigned int before = interrupts[0];
    run_on(vcpu, send_back, NULL);
    check_of(vcpu, "sends", wait_for(&interrupts[0], before + 1), interrupts[0] - before);
}

static void check_broadcast(void)
{
    for (unsigned int i = 1; i < processor_count; i++)
        interrupts[i] = 0;
    apic_send(0, ICR_ALL_BUT_SELF | ICR_FIXED | VECTOR_TEST);
    for (unsigned int i = 1; i < processor_count; i++)
        check_of(i, "broadcast", wait_for(&interrupts[i], 1), interrupts[i]);
}

static void check_vcpu(unsigned int vcpu, unsigned int starts)
{
    check_runs(vcpu, starts);
    check_interrupts(vcpu);
    check_nmis(vcpu);
    check_answer(vcpu);
}

int main(void)
{
    set_handler(VECTOR_TEST, count_interrupt);
    if (boot_word("x2apic", NULL)) {
        if (!apic_has_x2apic()) {
            check_skip("smp.x2apic", "CPUID has no x2APIC");
            return 0;
        }
        apic_enter_x2apic();
    }
    __asm__ volatile("sti");
    check_equal("smp.all-started", processor_count, processor_start_all());
    for (unsigned int i = 1; i < processor_count; i++)
        check_vcpu(i, 1);
    check_broadcast();
    if (boot_word("once", NULL))
        return 0;
    for (unsigned int i = 1; i < processor_count; i++) {
        check_of(i, "starts-again", processor_start(i), processors[i].starts);
        check_vcpu(i, 2);
    }
    return 0;
}
