/* SPDX-License-Identifier: BSD-2-Clause */
/* The local APIC in both modes (SDM vol. 3 ch. 11), and the other processors. */
#include "tests/guest/lib/runtime.h"

#include <stdio.h>
#include <string.h>

#define APIC_BASE          0xfee00000UL
#define APIC_BASE_X2APIC   (1UL << 10)
#define X2APIC_MSR(offset) (0x800U + ((offset) >> 4))
#define ICR_BUSY           0x1000U
#define STACK_SIZE         32768U

unsigned int processor_count;

static bool x2apic; /* what a processor that starts switches to */
static volatile unsigned int starting;
static uint8_t stacks[PROCESSORS_MAX][STACK_SIZE] __attribute__((aligned(16)));

void delay_us(unsigned int microseconds)
{
    while (microseconds > 0) {
        unsigned int now = microseconds < 50000 ? microseconds : 50000;
        unsigned int ticks = now * 1193U / 1000U + 1U;
        outb(0x61, (inb(0x61) & 0xfcU) | 1U);
        outb(0x43, 0xb0);
        outb(0x42, (uint8_t)ticks);
        outb(0x42, (uint8_t)(ticks >> 8));
        while (!(inb(0x61) & 0x20U))
            cpu_pause();
        microseconds -= now;
    }
}

uint32_t apic_read(uint32_t offset)
{
    if (this_processor()->x2apic)
        return (uint32_t)rdmsr(X2APIC_MSR(offset));
    return *(volatile uint32_t *)(APIC_BASE + offset);
}

void apic_write(uint32_t offset, uint32_t value)
{
    if (this_processor()->x2apic)
        wrmsr(X2APIC_MSR(offset), value);
    else
        *(volatile uint32_t *)(APIC_BASE + offset) = value;
}

void apic_send(uint32_t apic_id, uint32_t icr)
{
    if (this_processor()->x2apic) {
        wrmsr(X2APIC_MSR(APIC_ICR), (uint64_t)apic_id << 32 | icr);
        return;
    }
    apic_write(APIC_ICR + 0x10U, apic_id << 24);
    apic_write(APIC_ICR, icr);
    while (apic_read(APIC_ICR) & ICR_BUSY)
        cpu_pause();
}

bool apic_has_x2apic(void)
{
    uint32_t a, b, c, d;
    cpuid_raw(1, 0, &a, &b, &c, &d);
    return c >> 21 & 1U;
}

void apic_enter_x2apic(void)
{
    wrmsr(MSR_APIC_BASE, rdmsr(MSR_APIC_BASE) | APIC_BASE_X2APIC);
    x2apic = true;
    this_processor()->x2apic = true;
}

static uint32_t own_id(void)
{
    uint32_t id = apic_read(APIC_ID);
    return this_processor()->x2apic ? id : id >> 24;
}

/* The processor that booted becomes the first of the list, whatever the MADT's order. */
void apic_init(void)
{
    uint32_t ids[PROCESSORS_MAX];
    processor_count = acpi_processors(ids, PROCESSORS_MAX);
    x2apic = rdmsr(MSR_APIC_BASE) & APIC_BASE_X2APIC;
    processors[0].x2apic = x2apic;
    found_at_start.pic_masks = (uint16_t)(inb(0x21) | inb(0xa1) << 8);
    outb(0x21, 0xff); /* no interrupt of the 8259's that nobody expects */
    outb(0xa1, 0xff);
    apic_write(APIC_SVR, 0x1ff);
    processors[0].apic_id = own_id();
    processors[0].online = true;
    unsigned int next = 1;
    for (unsigned int i = 0; i < processor_count; i++) {
        if (ids[i] == processors[0].apic_id)
            continue;
        processors[next].index = next;
        processors[next].apic_id = ids[i];
        next++;
    }
    processor_count = next;
}

/* Runs jobs for ever; sleeps by HLT between them, as a spinning CPU slows an emulator down. */
void processor_main(void)
{
    unsigned int index = starting;
    processor_load_tables(index);
    processors[index].x2apic = false;
    if (x2apic)
        apic_enter_x2apic();
    apic_write(APIC_SVR, 0x1ff);
    struct processor *here = &processors[index];
    here->job = NULL;
    here->starts++;
    here->online = true;
    for (;;) {
        __asm__ volatile("cli");
        if (here->job == NULL) {
            __asm__ volatile("sti; hlt");
            continue;
        }
        __asm__ volatile("sti");
        here->job(here->job_argument);
        __atomic_thread_fence(__ATOMIC_SEQ_CST);
        here->job = NULL;
    }
}

bool processor_start_at(unsigned int index, uint8_t vector)
{
    struct processor *there = &processors[index];
    uint64_t *stack = (void *)(TRAMPOLINE + (size_t)(trampoline_end - trampoline) - 8U);
    there->online = false;
    starting = index;
    memcpy((void *)TRAMPOLINE, trampoline, (size_t)(trampoline_end - trampoline));
    *stack = (uint64_t)stacks[index] + STACK_SIZE;
    apic_send(there->apic_id, ICR_INIT);
    delay_us(10000);
    for (unsigned int sipi = 0; sipi < 2 && !there->online; sipi++) {
        apic_send(there->apic_id, ICR_SIPI | vector);
        for (unsigned int ms = 0; ms < 500 && !there->online; ms++)
            delay_us(1000);
    }
    return there->online;
}

bool processor_start(unsigned int index)
{
    return processor_start_at(index, TRAMPOLINE >> 12);
}

unsigned int processor_start_all(void)
{
    unsigned int running = 1;
    for (unsigned int i = 1; i < processor_count; i++)
        if (processors[i].online || processor_start(i))
            running++;
    return running;
}

void start_on(unsigned int index, job_fn *fn, void *argument)
{
    struct processor *there = &processors[index];
    there->job_argument = argument;
    __atomic_thread_fence(__ATOMIC_SEQ_CST);
    there->job = fn;
    apic_send(there->apic_id, ICR_FIXED | VECTOR_WAKE);
}

bool wait_on(unsigned int index)
{
    for (unsigned int ms = 0; ms < 10000 && processors[index].job != NULL; ms++)
        delay_us(1000);
    return processors[index].job == NULL;
}

bool run_on(unsigned int index, job_fn *fn, void *argument)
{
    if (index == this_processor()->index) {
        fn(argument);
        return true;
    }
    start_on(index, fn, argument);
    return wait_on(index);
}
