/* SPDX-License-Identifier: BSD-2-Clause */
/* The guest's VMCB: the processor's own state, in long mode on its own page tables. */
#include "kernel/x86.h"
#include "svm/vmcb.h"
#include "tests/bench/null/null.h"
#include "tests/guest/lib/payload.h"

#define MSR_VM_HSAVE_PA 0xc0010117U
#define CODE64          0xa9bU
#define DATA            0xc93U
#define RIGHTS          7UL

static struct vmcb guest_vmcb __attribute__((aligned(4096)));
static struct vmcb host_vmcb __attribute__((aligned(4096)));
static uint8_t host_save[4096] __attribute__((aligned(4096)));
static uint8_t msrpm[8192] __attribute__((aligned(4096)));
static uint8_t iopm[12288] __attribute__((aligned(4096)));

static void vmsave(struct vmcb *vmcb)
{
    __asm__ volatile("vmsave" : : "a"(vmcb) : "memory");
}

/* Two bits for each MSR, read and write; the second range begins at byte 800H (§15.11). */
static void trap(void)
{
    msrpm[TRAPPED_MSR / 4] |= (uint8_t)(3U << TRAPPED_MSR % 4 * 2);
    msrpm[0x800U + (MSR_EFER & 0x1fffU) / 4] |= (uint8_t)(3U << (MSR_EFER & 3U) * 2);
    iopm[TRAPPED_PORT / 8] |= (uint8_t)(1U << TRAPPED_PORT % 8);
}

static void set_control(struct vmcb_control *control)
{
    control->intercepts[3] = INTERCEPT_CPUID | INTERCEPT_IOIO | INTERCEPT_MSR | INTERCEPT_SHUTDOWN;
    control->intercepts[4] = INTERCEPT_VMRUN | INTERCEPT_VMMCALL;
    control->msrpm = (uint64_t)msrpm;
    control->iopm = (uint64_t)iopm;
    control->asid = 1;
    control->nested_control = NESTED_ENABLE;
    control->nested_cr3 = null_nested_tables(RIGHTS, RIGHTS);
}

static void set_state(struct vmcb_save *save, void (*entry)(void), void *stack)
{
    const struct vmcb_segment data = {
        .selector = SELECTOR_DATA, .attributes = DATA, .limit = UINT32_MAX};
    struct descriptor_table gdt = null_gdt(), idt = null_idt();
    save->cs = data;
    save->cs.selector = SELECTOR_CODE64;
    save->cs.attributes = CODE64;
    save->ds = save->es = save->ss = data;
    save->gdtr = (struct vmcb_segment){.limit = gdt.limit, .base = gdt.base};
    save->idtr = (struct vmcb_segment){.limit = idt.limit, .base = idt.base};
    save->cr0 = read_cr0();
    save->cr3 = read_cr3();
    save->cr4 = read_cr4();
    save->efer = rdmsr(MSR_EFER);
    save->pat = rdmsr(MSR_PAT);
    save->rflags = RFLAGS_FIXED1;
    save->rip = (uint64_t)entry;
    save->rsp = (uint64_t)stack;
}

void null_svm_run(enum flavour flavour, void (*entry)(void), void *stack)
{
    static void (*const flavours[])(uint64_t, uint64_t) = {
        [FLAVOUR_FLOOR] = null_svm_floor,
        [FLAVOUR_GPR] = null_svm_gpr,
        [FLAVOUR_FULL] = null_svm_full,
    };
    if (wrmsr_safe(MSR_EFER, rdmsr(MSR_EFER) | EFER_SVME) != 0)
        return;
    wrmsr(MSR_VM_HSAVE_PA, (uint64_t)host_save);
    trap();
    vmsave(&guest_vmcb);
    vmsave(&host_vmcb);
    set_control(&guest_vmcb.control);
    set_state(&guest_vmcb.save, entry, stack);
    flavours[flavour]((uint64_t)&guest_vmcb, (uint64_t)&host_vmcb);
}
