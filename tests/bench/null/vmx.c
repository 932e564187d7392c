/* SPDX-License-Identifier: BSD-2-Clause */
/* The guest's VMCS: the processor's own state, in long mode on its own page tables. */
#include "kernel/x86.h"
#include "tests/bench/null/null.h"
#include "tests/guest/lib/payload.h"
#include "vmx/controls.h"
#include "vmx/vmcs.h"

#define CODE64        0xa09bU
#define DATA          0xc093U
#define BUSY_TSS      0x8bU
#define UNUSABLE      0x10000U
#define TSS_LIMIT     0x67U
#define EPT_RIGHTS    7UL
#define EPT_WB        0x30UL
#define EPTP_WB_4     0x1eUL
#define SEGMENTS      8U /* in the order of the fields: ES, CS, SS, DS, FS, GS, LDTR, TR */
#define SEGMENT_CS    1U
#define SEGMENT_FS    4U
#define SEGMENT_TR    7U
#define MSR_LOW_WRITE 2048U /* in the MSR bitmap, SDM vol. 3 §25.6.9 */
#define MSR_HIGH      1024U

static uint8_t vmxon_region[4096] __attribute__((aligned(4096)));
static uint8_t vmcs_region[4096] __attribute__((aligned(4096)));
static uint8_t msr_bitmap[4096] __attribute__((aligned(4096)));
static uint8_t io_bitmaps[8192] __attribute__((aligned(4096)));

static void trap(uint8_t *bitmap, uint32_t number)
{
    bitmap[number / 8] |= (uint8_t)(1U << number % 8);
}

static uint32_t adjusted(uint32_t wanted, uint32_t msr)
{
    uint64_t allowed = rdmsr(msr);
    return (wanted | (uint32_t)allowed) & (uint32_t)(allowed >> 32);
}

static bool vmx_on(void)
{
    uint64_t on = (uint64_t)vmxon_region, vmcs = (uint64_t)vmcs_region;
    uint32_t revision = (uint32_t)rdmsr(MSR_VMX_BASIC) & BASIC_REVISION;
    bool failed;
    *(uint32_t *)vmxon_region = revision;
    *(uint32_t *)vmcs_region = revision;
    if (!(rdmsr(MSR_FEATURE_CONTROL) & FEATURE_CONTROL_LOCK))
        wrmsr(MSR_FEATURE_CONTROL, FEATURE_CONTROL_LOCK | FEATURE_CONTROL_VMX_OUTSIDE_SMX);
    write_cr4(read_cr4() | CR4_VMXE);
    __asm__ volatile("vmxon %1" : "=@ccbe"(failed) : "m"(on) : "memory");
    if (failed)
        return false;
    __asm__ volatile("vmclear %1; vmptrld %1" : "=@ccbe"(failed) : "m"(vmcs) : "memory");
    return !failed;
}

static void set_controls(void)
{
    trap(msr_bitmap, TRAPPED_MSR);
    trap(msr_bitmap + MSR_LOW_WRITE, TRAPPED_MSR);
    trap(msr_bitmap + MSR_HIGH, MSR_EFER & 0x1fffU);
    trap(msr_bitmap + MSR_HIGH + MSR_LOW_WRITE, MSR_EFER & 0x1fffU);
    trap(io_bitmaps, TRAPPED_PORT);
    vmwrite32(VMCS_PIN_CONTROLS, adjusted(0, MSR_VMX_TRUE_PIN));
    vmwrite32(VMCS_PROC_CONTROLS,
              adjusted(PROC_IO_BITMAPS | PROC_MSR_BITMAPS | PROC_SECONDARY, MSR_VMX_TRUE_PROC));
    vmwrite32(VMCS_PROC_CONTROLS2, adjusted(PROC2_EPT | PROC2_RDTSCP, MSR_VMX_PROC2));
    vmwrite32(VMCS_EXIT_CONTROLS, adjusted(VMEXIT_HOST_64BIT | VMEXIT_SAVE_EFER | VMEXIT_LOAD_EFER |
                                               VMEXIT_SAVE_PAT | VMEXIT_LOAD_PAT,
                                           MSR_VMX_TRUE_EXIT));
    vmwrite32(
        VMCS_ENTRY_CONTROLS,
        adjusted(VMENTRY_IA32E_GUEST | VMENTRY_LOAD_EFER | VMENTRY_LOAD_PAT, MSR_VMX_TRUE_ENTRY));
    vmwrite64(VMCS_MSR_BITMAP, (uint64_t)msr_bitmap);
    vmwrite64(VMCS_IO_BITMAP_A, (uint64_t)io_bitmaps);
    vmwrite64(VMCS_IO_BITMAP_B, (uint64_t)io_bitmaps + sizeof(io_bitmaps) / 2);
    vmwrite64(VMCS_EPT_POINTER, null_nested_tables(EPT_RIGHTS, EPT_RIGHTS | EPT_WB) | EPTP_WB_4);
    vmwrite32(VMCS_EXCEPTION_BITMAP, 0);
    vmwrite32(VMCS_EXIT_MSR_STORE_COUNT, 0);
    vmwrite32(VMCS_EXIT_MSR_LOAD_COUNT, 0);
    vmwrite32(VMCS_ENTRY_MSR_LOAD_COUNT, 0);
    vmwrite32(VMCS_ENTRY_EVENT, 0);
    vmwrite(VMCS_CR0_MASK, 0);
    vmwrite(VMCS_CR4_MASK, 0);
}

static uint16_t task_register(void)
{
    uint16_t selector;
    __asm__ volatile("str %0" : "=r"(selector));
    return selector;
}

static uint64_t task_base(void)
{
    struct descriptor_table gdt = null_gdt();
    const uint64_t *entry = (const void *)(gdt.base + task_register());
    return (entry[0] >> 16 & 0xffffffU) | (entry[0] >> 32 & 0xff000000U) | entry[1] << 32;
}

static void set_segment(unsigned int i, uint16_t selector, uint32_t access, uint32_t limit,
                        uint64_t base)
{
    vmcs_must_write(VMCS_GUEST_ES_SELECTOR.encoding + 2UL * i, selector);
    vmcs_must_write(VMCS_GUEST_ES_ACCESS.encoding + 2UL * i, access);
    vmcs_must_write(VMCS_GUEST_ES_LIMIT.encoding + 2UL * i, limit);
    vmcs_must_write(VMCS_GUEST_ES_BASE.encoding + 2UL * i, base);
}

static void set_guest(void (*entry)(void), void *stack)
{
    struct descriptor_table gdt = null_gdt(), idt = null_idt();
    for (unsigned int i = 0; i < SEGMENTS; i++) {
        if (i < SEGMENT_FS)
            set_segment(i, SELECTOR_DATA, DATA, UINT32_MAX, 0);
        else
            set_segment(i, 0, UNUSABLE, 0, 0);
    }
    set_segment(SEGMENT_CS, SELECTOR_CODE64, CODE64, UINT32_MAX, 0);
    set_segment(SEGMENT_TR, task_register(), BUSY_TSS, TSS_LIMIT, task_base());
    vmwrite32(VMCS_GUEST_GDTR_LIMIT, gdt.limit);
    vmwrite(VMCS_GUEST_GDTR_BASE, gdt.base);
    vmwrite32(VMCS_GUEST_IDTR_LIMIT, idt.limit);
    vmwrite(VMCS_GUEST_IDTR_BASE, idt.base);
    vmwrite(VMCS_GUEST_CR0, read_cr0());
    vmwrite(VMCS_GUEST_CR3, read_cr3());
    vmwrite(VMCS_GUEST_CR4, read_cr4());
    vmwrite64(VMCS_GUEST_EFER, rdmsr(MSR_EFER));
    vmwrite64(VMCS_GUEST_PAT, rdmsr(MSR_PAT));
    vmwrite(VMCS_GUEST_DR7, 0x400);
    vmwrite(VMCS_GUEST_RFLAGS, RFLAGS_FIXED1);
    vmwrite(VMCS_GUEST_RIP, (uint64_t)entry);
    vmwrite(VMCS_GUEST_RSP, (uint64_t)stack);
    vmwrite32(VMCS_GUEST_INTERRUPTIBILITY, 0);
    vmwrite32(VMCS_GUEST_ACTIVITY, 0);
    vmwrite(VMCS_GUEST_PENDING_DEBUG, 0);
    vmwrite64(VMCS_GUEST_DEBUGCTL, 0);
    vmwrite64(VMCS_VMCS_LINK_POINTER, UINT64_MAX);
}

/* The stubs write RSP and RIP. */
static void set_host(void)
{
    vmwrite(VMCS_HOST_CR0, read_cr0());
    vmwrite(VMCS_HOST_CR3, read_cr3());
    vmwrite(VMCS_HOST_CR4, read_cr4());
    vmwrite64(VMCS_HOST_EFER, rdmsr(MSR_EFER));
    vmwrite64(VMCS_HOST_PAT, rdmsr(MSR_PAT));
    vmwrite16(VMCS_HOST_CS_SELECTOR, SELECTOR_CODE64);
    vmwrite16(VMCS_HOST_SS_SELECTOR, SELECTOR_DATA);
    vmwrite16(VMCS_HOST_DS_SELECTOR, SELECTOR_DATA);
    vmwrite16(VMCS_HOST_ES_SELECTOR, SELECTOR_DATA);
    vmwrite16(VMCS_HOST_FS_SELECTOR, 0);
    vmwrite16(VMCS_HOST_GS_SELECTOR, 0);
    vmwrite16(VMCS_HOST_TR_SELECTOR, task_register());
    vmwrite(VMCS_HOST_FS_BASE, 0);
    vmwrite(VMCS_HOST_GS_BASE, 0);
    vmwrite(VMCS_HOST_TR_BASE, task_base());
    vmwrite(VMCS_HOST_GDTR_BASE, null_gdt().base);
    vmwrite(VMCS_HOST_IDTR_BASE, null_idt().base);
}

void null_vmx_run(enum flavour flavour, void (*entry)(void), void *stack)
{
    static void (*const flavours[])(void) = {
        [FLAVOUR_FLOOR] = null_vmx_floor,
        [FLAVOUR_GPR] = null_vmx_gpr,
        [FLAVOUR_FULL] = null_vmx_full,
    };
    if (!vmx_on())
        return;
    set_controls();
    set_guest(entry, stack);
    set_host();
    flavours[flavour]();
}
