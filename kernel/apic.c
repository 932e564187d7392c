/* SPDX-License-Identifier: BSD-2-Clause */
#include "kernel/apic.h"
#include "kernel/interrupts.h"
#include "kernel/memory.h"
#include "kernel/x86.h"

#define POLLS_MAX              1000000U
#define MSR_X2APIC_FIRST       0x800U
#define APIC_VERSION           0x30U
#define APIC_TASK_PRIORITY     0x80U
#define APIC_SPURIOUS          0xf0U
#define APIC_IRR               0x200U /* as APIC_ISR */
#define APIC_ERROR             0x280U
#define APIC_TIMER_COUNT       0x380U
#define APIC_TIMER_DIVIDE      0x3e0U
#define LVT_MASKED             0x10000U
#define SPURIOUS_RESET         0xffU
#define SPURIOUS_ENABLE        0x100U
#define DROPS_MAX              8U
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

static void write_register(uint32_t offset, uint32_t value)
{
    if (apic_is_x2apic())
        (void)wrmsr_safe(MSR_X2APIC_FIRST + offset / APIC_REGISTER_STEP, value);
    else
        apic_write(offset, value);
}

void apic_end_of_interrupt(void)
{
    write_register(APIC_EOI, 0);
}

/* The first are on each CPU, the others as the version register says. */
static void mask_lvt(void)
{
    static const uint16_t lvt[] = {0x320, 0x350, 0x360, 0x370, 0x340, 0x330, 0x2f0};
    unsigned int last = read_register(APIC_VERSION) >> 16 & 0xff;
    for (unsigned int i = 0; i < sizeof(lvt) / sizeof(lvt[0]) && i <= last; i++)
        write_register(lvt[i], LVT_MASKED);
}

static bool any_requested(void)
{
    for (unsigned int i = 0; i < 8; i++) {
        if (read_register(APIC_IRR + i * APIC_REGISTER_STEP) != 0)
            return true;
    }
    return false;
}

/* No write clears a request: they are taken, and lead nowhere. A line that stays asserted asks
 * again, and is given up. */
static void drop_requests(void)
{
    for (unsigned int i = 0; i < VECTORS_IN_SERVICE_MAX; i++)
        apic_end_of_interrupt();
    write_register(APIC_TASK_PRIORITY, 0);
    write_register(APIC_SPURIOUS, SPURIOUS_RESET | SPURIOUS_ENABLE);
    for (unsigned int i = 0; i < DROPS_MAX && any_requested(); i++)
        interrupts_drop();
}

/* Only the ICR keeps what was sent last: no write changes it without sending. */
void apic_reset(void)
{
    mask_lvt();
    write_register(APIC_TIMER_COUNT, 0);
    write_register(APIC_TIMER_DIVIDE, 0);
    drop_requests();
    if (!apic_is_x2apic()) { /* read-only in x2APIC mode */
        apic_write(APIC_LDR, 0);
        apic_write(APIC_DFR, UINT32_MAX);
        apic_write(APIC_ICR_HIGH, 0);
    }
    write_register(APIC_SPURIOUS, SPURIOUS_RESET);
    write_register(APIC_ERROR, 0); /* shows what came until now; */
    write_register(APIC_ERROR, 0); /* and nothing since */
}
