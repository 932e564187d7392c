/* SPDX-License-Identifier: BSD-2-Clause */
/* Descriptor tables, exceptions that a test expects, and CPL 3. */
#include "tests/guest/lib/runtime.h"

#include <errno.h>
#include <stdio.h>

#define STACK_SIZE          16384U
#define INTERRUPT_GATE      0x8eU
#define INTERRUPT_GATE_USER 0xeeU
#define VECTOR_LEAVE_CPL3   0x80U

struct gate {
    uint16_t offset_low, selector;
    uint8_t ist, type;
    uint16_t offset_middle;
    uint32_t offset_high, reserved;
};

struct tss {
    uint32_t reserved0;
    uint64_t rsp[3], reserved1, ist[7], reserved2;
    uint16_t reserved3, io_map;
} __attribute__((packed));

struct table_pointer {
    uint16_t limit;
    uint64_t base;
} __attribute__((packed));

struct processor processors[PROCESSORS_MAX];

/* One GDT for all, with a TSS each: so the task register tells which processor this is. */
static uint64_t gdt[7 + 2 * PROCESSORS_MAX] = {
    0,
    0x00af9b000000ffffUL, /* SELECTOR_CODE64 */
    0x00cf93000000ffffUL, /* SELECTOR_DATA */
    0x00cf9b000000ffffUL, /* SELECTOR_CODE32 */
    0x00cffb000000ffffUL, /* SELECTOR_USER_CODE32 */
    0x00cff3000000ffffUL, /* SELECTOR_USER_DATA */
    0x00affb000000ffffUL, /* SELECTOR_USER_CODE */
};
static struct gate idt[256] __attribute__((aligned(16)));
static struct tss tss[PROCESSORS_MAX];
static uint8_t fault_stack[PROCESSORS_MAX][STACK_SIZE] __attribute__((aligned(16)));
static uint8_t ring0_stack[PROCESSORS_MAX][STACK_SIZE] __attribute__((aligned(16)));
static uint8_t ring3_stack[PROCESSORS_MAX][STACK_SIZE] __attribute__((aligned(16)));
static handler_fn *handlers[256];

struct processor *this_processor(void)
{
    uint16_t task;
    __asm__ volatile("str %0" : "=r"(task));
    return &processors[task < SELECTOR_TSS ? 0 : (task - SELECTOR_TSS) / 16U];
}

void set_handler(uint8_t vector, handler_fn *handler)
{
    handlers[vector] = handler;
}

static void fill_idt(void)
{
    for (unsigned int i = 0; i < 256; i++)
        idt[i] = (struct gate){
            .offset_low = (uint16_t)vector_entries[i],
            .selector = SELECTOR_CODE64,
            .ist = i == VECTOR_DF ? 1 : 0,
            .type = i == VECTOR_LEAVE_CPL3 ? INTERRUPT_GATE_USER : INTERRUPT_GATE,
            .offset_middle = (uint16_t)(vector_entries[i] >> 16),
            .offset_high = (uint32_t)(vector_entries[i] >> 32),
        };
}

void processor_load_gdt(void)
{
    const struct table_pointer pointer = {.limit = sizeof(gdt) - 1, .base = (uint64_t)gdt};
    __asm__ volatile("lgdt %0\n\t"
                     "pushq %1\n\t"
                     "leaq 1f(%%rip), %%rax\n\t"
                     "pushq %%rax\n\t"
                     "lretq\n\t"
                     "1: movl %2, %%eax\n\t"
                     "movl %%eax, %%ds\n\tmovl %%eax, %%es\n\tmovl %%eax, %%ss\n\t"
                     :
                     : "m"(pointer), "i"(SELECTOR_CODE64), "i"(SELECTOR_DATA)
                     : "rax", "memory");
}

void processor_load_tables(unsigned int index)
{
    uint64_t base = (uint64_t)&tss[index];
    tss[index].rsp[0] = (uint64_t)ring0_stack[index] + STACK_SIZE;
    tss[index].ist[0] = (uint64_t)fault_stack[index] + STACK_SIZE;
    tss[index].io_map = sizeof(struct tss);
    gdt[7 + 2 * index] = (sizeof(struct tss) - 1) | (base & 0xffffffUL) << 16 | 0x89UL << 40 |
                         (base >> 24 & 0xffUL) << 56;
    gdt[8 + 2 * index] = base >> 32;
    processor_load_gdt();
    const struct table_pointer pointer = {.limit = sizeof(idt) - 1, .base = (uint64_t)idt};
    __asm__ volatile("lidt %0" : : "m"(pointer));
    __asm__ volatile("ltr %w0" : : "r"(SELECTOR_TSS + 16U * index));
}

void processor_init(void)
{
    fill_idt();
    processor_load_tables(0);
}

void processor_event(struct frame *frame)
{
    struct processor *here = this_processor();
    if (handlers[frame->vector] != NULL) {
        handlers[frame->vector](frame);
        return;
    }
    if (frame->vector == VECTOR_NMI) {
        here->nmis++;
        return;
    }
    if (frame->vector == VECTOR_WAKE) {
        apic_write(APIC_EOI, 0);
        return;
    }
    if (frame->vector == VECTOR_LEAVE_CPL3)
        ring3_leave(&here->ring3_saved);
    if (frame->vector < 32 && here->expects_fault) {
        here->expects_fault = false;
        here->fault = *frame;
        here->fault_cr2 = read_cr2();
        longjmp(here->recover, 1);
    }
    broken("vector %lu at %lx, error code 0x%lx, CR2 %lx, processor %u", frame->vector, frame->rip,
           frame->error_code, read_cr2(), here->index);
}

unsigned int fault_of(job_fn *fn, void *argument, uint64_t *error_code, uint64_t *cr2)
{
    if (setjmp(this_processor()->recover) == 0) {
        this_processor()->expects_fault = true;
        fn(argument);
        this_processor()->expects_fault = false;
        return NO_FAULT;
    }
    const struct processor *here = this_processor();
    __asm__ volatile("mov %0, %%ds; mov %0, %%es" : : "r"(SELECTOR_DATA));
    if (here->fault.rflags & RFLAGS_IF)
        __asm__ volatile("sti");
    if (error_code != NULL)
        *error_code = here->fault.error_code;
    if (cr2 != NULL)
        *cr2 = here->fault_cr2;
    return (unsigned int)here->fault.vector;
}

void run_at_cpl3(job_fn *fn, void *argument)
{
    struct processor *here = this_processor();
    ring3_enter(fn, argument, (uint64_t)ring3_stack[here->index] + STACK_SIZE, &here->ring3_saved);
}

struct msr_access {
    uint32_t msr;
    uint64_t value;
};

static void do_rdmsr(void *argument)
{
    struct msr_access *access = argument;
    access->value = rdmsr(access->msr);
}

static void do_wrmsr(void *argument)
{
    const struct msr_access *access = argument;
    wrmsr(access->msr, access->value);
}

int rdmsr_safe(uint32_t msr, uint64_t *value)
{
    struct msr_access access = {.msr = msr, .value = 0};
    if (fault_of(do_rdmsr, &access, NULL, NULL) != NO_FAULT)
        return -EIO;
    *value = access.value;
    return 0;
}

int wrmsr_safe(uint32_t msr, uint64_t value)
{
    struct msr_access access = {.msr = msr, .value = value};
    return fault_of(do_wrmsr, &access, NULL, NULL) == NO_FAULT ? 0 : -EIO;
}
