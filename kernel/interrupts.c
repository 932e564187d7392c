/* SPDX-License-Identifier: BSD-2-Clause */
#include "kernel/interrupts.h"
#include "kernel/apic.h"
#include "kernel/backend.h"
#include "kernel/console.h"
#include "kernel/end.h"
#include "kernel/machine.h"
#include "kernel/vcpu.h"
#include "kernel/x86.h"
#include <string.h>

#define VECTORS   256U
#define STUB_SIZE 16U
#define VECTOR_SX                                                                                  \
    30U /* an INIT that SVM turned into an exception: nothing to do (APM vol. 2 §15.28) */
#define VECTOR_DEVICE  32U /* the first that is no exception's */
#define GATE_INTERRUPT 0x8e00U

struct gate {
    uint16_t offset_low, selector;
    uint16_t flags; /* IST in 2:0, type and P in 15:8 */
    uint16_t offset_middle;
    uint32_t offset_high, reserved;
};
_Static_assert(sizeof(struct gate) == 16, "SDM vol. 3 figure 6-8");

struct descriptor_pointer {
    uint16_t limit;
    uint64_t base;
} __attribute__((packed));

struct interrupt_frame {
    uint64_t r15, r14, r13, r12, r11, r10, r9, r8, rdi, rsi, rbp, rbx, rdx, rcx, rax;
    uint64_t vector, error_code;
    uint64_t rip, cs, rflags, rsp, ss;
};

extern const char interrupt_stubs[];
extern const char wait_for_nmi_halt[], wait_for_nmi_end[];
extern const char interrupts_drop_window[];
extern const char rdmsr_safe_instruction[], rdmsr_safe_fault[];
extern const char wrmsr_safe_instruction[], wrmsr_safe_fault[];
extern const char write_safe_instruction[], write_safe_fault[];
void interrupts_load_tables(const void *gdtr, const void *idtr, uint16_t code, uint16_t data,
                            uint16_t tss);
void interrupt_handle(struct interrupt_frame *frame);

static struct gate idt[VECTORS];

static void gate_set(unsigned int vector, unsigned int ist)
{
    uint64_t offset = (uint64_t)interrupt_stubs + (uint64_t)vector * STUB_SIZE;
    idt[vector] = (struct gate){
        .offset_low = (uint16_t)offset,
        .selector = SELECTOR_CODE,
        .flags = (uint16_t)(GATE_INTERRUPT | ist),
        .offset_middle = (uint16_t)(offset >> 16),
        .offset_high = (uint32_t)(offset >> 32),
    };
}

void interrupts_init(void)
{
    for (unsigned int vector = 0; vector < VECTORS; vector++)
        gate_set(vector, 0);
    gate_set(VECTOR_NMI, IST_NMI + 1);
    gate_set(VECTOR_DF, IST_DF + 1);
    gate_set(VECTOR_MC, IST_MC + 1);
}

void interrupts_load_early(struct cpu *cpu)
{
    cpu->self = cpu;
    wrmsr(MSR_GS_BASE, (uint64_t)cpu);
}

void interrupts_load(struct cpu *cpu)
{
    uint64_t tss = (uint64_t)&cpu->tss;
    cpu->tss.iomap_base = sizeof(cpu->tss);
    cpu->gdt[SELECTOR_CODE / 8] = 0x00af9b000000ffffUL;
    cpu->gdt[SELECTOR_DATA / 8] = 0x00cf93000000ffffUL;
    cpu->gdt[SELECTOR_TSS / 8] =
        (sizeof(cpu->tss) - 1) | (tss & 0xffffff) << 16 | 0x89UL << 40 | (tss >> 24 & 0xff) << 56;
    cpu->gdt[SELECTOR_TSS / 8 + 1] = tss >> 32;
    struct descriptor_pointer gdtr = {.limit = sizeof(cpu->gdt) - 1, .base = (uint64_t)cpu->gdt};
    struct descriptor_pointer idtr = {.limit = sizeof(idt) - 1, .base = (uint64_t)idt};
    interrupts_load_tables(&gdtr, &idtr, SELECTOR_CODE, SELECTOR_DATA, SELECTOR_TSS);
    interrupts_load_early(cpu);
}

static bool at(const struct interrupt_frame *frame, const char *place)
{
    return frame->rip == (uint64_t)place;
}

/* Between the function's first instruction and one of its places, that one included. */
static bool within(const struct interrupt_frame *frame, uint64_t function, const char *place)
{
    return frame->rip > function && frame->rip <= (uint64_t)place;
}

static void fatal(const struct interrupt_frame *f)
{
    console_break_lock();
    console_line("latch: fault in Latch itself on CPU %u: vector %lu, error code 0x%lx, CR2 0x%lx",
                 this_cpu()->index, f->vector, f->error_code, read_cr2());
    console_line("latch: rip %016lx cs %04lx rflags %08lx rsp %016lx", f->rip, f->cs, f->rflags,
                 f->rsp);
    console_line("latch: rax %016lx rcx %016lx rdx %016lx rbx %016lx", f->rax, f->rcx, f->rdx,
                 f->rbx);
    console_line("latch: rbp %016lx rsi %016lx rdi %016lx cr3 %016lx", f->rbp, f->rsi, f->rdi,
                 read_cr3());
    console_line("latch: r8  %016lx r9  %016lx r10 %016lx r11 %016lx", f->r8, f->r9, f->r10,
                 f->r11);
    console_line("latch: r12 %016lx r13 %016lx r14 %016lx r15 %016lx", f->r12, f->r13, f->r14,
                 f->r15);
    end_run(VERDICT_ERROR);
}

/* An NMI that Latch did not send is the guest's, and is handed on by the next exit. */
static void take_nmi(struct cpu *cpu)
{
    if (cpu->vcpu == NULL || !atomic_exchange(&cpu->vcpu->kicked, false))
        atomic_fetch_add(&cpu->nmis, 1);
}

void interrupt_handle(struct interrupt_frame *frame)
{
    switch (frame->vector) {
    case VECTOR_NMI:
        take_nmi(this_cpu());
        if (within(frame, (uint64_t)wait_for_nmi, wait_for_nmi_halt))
            frame->rip = (uint64_t)wait_for_nmi_end;
        frame->rip = backend_after_nmi(frame->rip);
        return;
    case VECTOR_SX:
        return;
    case VECTOR_DB:
        /* Bochs raises here, before Latch's GS is back, the trap of a guest's single step over an
         * instruction that exits; svm/ delivers it to the guest. */
        if (machine_emulated())
            return;
        break;
    case VECTOR_GP:
        if (at(frame, rdmsr_safe_instruction)) {
            frame->rip = (uint64_t)rdmsr_safe_fault;
            return;
        }
        if (at(frame, wrmsr_safe_instruction)) {
            frame->rip = (uint64_t)wrmsr_safe_fault;
            return;
        }
        break;
    case VECTOR_PF:
        if (at(frame, write_safe_instruction)) {
            frame->rip = (uint64_t)write_safe_fault;
            return;
        }
        break;
    default:
        if (frame->vector >= VECTOR_DEVICE &&
            within(frame, (uint64_t)interrupts_drop, interrupts_drop_window)) {
            apic_end_of_interrupt();
            return;
        }
        break;
    }
    fatal(frame);
}
