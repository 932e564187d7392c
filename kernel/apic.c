/* SPDX-License-Identifier: BSD-2-Clause */
#include "kernel/apic.h"
#include "kernel/memory.h"
#include "kernel/x86.h"

#define POLLS_MAX              1000000U
#define MSR_X2APIC_FIRST       0x800U
#define LVT_MASKED             0x10000U
#define VECTORS_IN_SERVICE_MAX 16U /* one for each priority class */

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

uint64_t apic_page(void)
{
    return page;
}

bool apic_is_x2apic(void)
{
    return rdmsr(MSR_APIC_BASE) & APIC_BASE_X2APIC;
}

uint32_t apic_read(uint32_t offset)
{
    return *(volatile uint32_t *)(registers + offset);
}

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

static uint32_t read_register(uint32_t offset)
{
    if (apic_is_x2apic())
        return (uint32_t)rdmsr(MSR_X2APIC_FIRST + offset / APIC_REGISTER_STEP);
    return apic_read(offset);
}

uint8_t apic_in_service(void)
{
    for (unsigned int i = 8; i-- > 0;) {
        uint32_t bits = read_register(APIC_ISR + i * APIC_REGISTER_STEP);
        if (bits != 0)
            return (uint8_t)(32U * i + 31U - (unsigned int)__builtin_clz(bits));
    }
    return 0;
}

static void reset_register(uint32_t offset, uint32_t value)
{
    if (apic_is_x2apic())
        (void)wrmsr_safe(MSR_X2APIC_FIRST + offset / APIC_REGISTER_STEP, value);
    else
        apic_write(offset, value);
}

/* What the guest has in service is ended; what is requested stays so until it turns the APIC on. */
void apic_reset(void)
{
    static const struct {
        uint16_t offset;
        uint32_t value;
    } after_init[] = {
        {.offset = 0x320, .value = LVT_MASKED}, /* timer */
        {.offset = 0x350, .value = LVT_MASKED}, /* LINT0 */
        {.offset = 0x360, .value = LVT_MASKED}, /* LINT1 */
        {.offset = 0x370, .value = LVT_MASKED}, /* error */
        {.offset = 0x380, .value = 0},          /* the timer's initial count */
        {.offset = 0x3e0, .value = 0},          /* the timer's divider */
        {.offset = 0x080, .value = 0},          /* task priority */
        {.offset = 0x0f0, .value = 0xff},       /* spurious vector: software-disabled */
    };
    for (unsigned int i = 0; i < VECTORS_IN_SERVICE_MAX; i++)
        reset_register(APIC_EOI, 0);
    if (!apic_is_x2apic()) { /* read-only in x2APIC mode */
        apic_write(APIC_LDR, 0);
        apic_write(APIC_DFR, UINT32_MAX);
    }
    for (unsigned int i = 0; i < sizeof(after_init) / sizeof(after_init[0]); i++)
        reset_register(after_init[i].offset, after_init[i].value);
}
