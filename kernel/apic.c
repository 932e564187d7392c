/* SPDX-License-Identifier: BSD-2-Clause */
#include "kernel/apic.h"
#include "kernel/memory.h"
#include "kernel/x86.h"

#define POLLS_MAX 1000000U

static volatile uint8_t *registers;
static uint64_t page;

int apic_init(void)
{
    volatile void *pointer;
    page = rdmsr(MSR_APIC_BASE) & 0xffffffffff000UL;
    int error = memory_map_mmio(hpa(page), PAGE_SIZE, &pointer);
    registers = pointer;
    return error;
}

uint64_t apic_page(void) { return page; }

bool apic_is_x2apic(void) { return rdmsr(MSR_APIC_BASE) & APIC_BASE_X2APIC; }

uint32_t apic_read(uint32_t offset) { return *(volatile uint32_t *)(registers + offset); }

void apic_write(uint32_t offset, uint32_t value)
{
    *(volatile uint32_t *)(registers + offset) = value;
}

uint32_t apic_id(void)
{
    return apic_is_x2apic() ? (uint32_t)rdmsr(MSR_X2APIC_ID) : apic_read(APIC_ID) >> 24;
}

static void wait_idle(void)
{
    for (uint32_t polls = 0; polls < POLLS_MAX && (apic_read(APIC_ICR) & ICR_PENDING); polls++)
        cpu_pause();
}

void apic_send(uint32_t id, uint32_t icr)
{
    if (apic_is_x2apic()) {
        /* That WRMSR waits for no store: what the other CPU is to find must be seen before it. */
        __asm__ volatile("mfence; lfence" : : : "memory");
        wrmsr(MSR_X2APIC_ICR, (uint64_t)id << 32 | icr);
        return;
    }
    wait_idle();
    uint32_t high = apic_read(APIC_ICR_HIGH);
    apic_write(APIC_ICR_HIGH, id << 24);
    apic_write(APIC_ICR, icr);
    wait_idle();
    apic_write(APIC_ICR_HIGH, high);
}
