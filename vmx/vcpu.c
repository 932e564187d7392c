/* SPDX-License-Identifier: BSD-2-Clause */
#include "vmx/vcpu.h"
#include "cpuid/rules.h"
#include "kernel/console.h"
#include "kernel/memory.h"
#include "kernel/vm.h"
#include "vmx/controls.h"
#include "vmx/event.h"
#include "vmx/paging.h"
#include "vmx/vmcs.h"
#include "vmx/vmx.h"
#include <errno.h>
#include <string.h>

#define LEAF7_ECX_RDPID (1U << 22)
#define OWN_PAGES       (3U + PROBE_PAGES) /* struct vmx_vcpu, the MSR bitmap, the VMCS */
#define MODELLED_CR0    (CR0_MP | CR0_EM | CR0_TS | CR0_WP | CR0_AM | CR0_NW | CR0_CD | CR0_PG)

struct word {
    struct vmcs_field_32 field;
    enum control_word word;
    uint32_t wanted; /* besides what is required */
};

static uint32_t allowed1(enum control_word word, bool true_controls)
{
    return (uint32_t)(rdmsr(control_msr(word, true_controls)) >> 32);
}

static int set_word(const struct vcpu *v, const struct word *w, bool true_controls)
{
    uint32_t missing;
    uint64_t msr = rdmsr(control_msr(w->word, true_controls));
    uint32_t value = control_adjust(control_required(w->word) | w->wanted, msr, &missing);
    if (missing) {
        uint32_t bit = missing & -missing;
        console_line("vCPU %u: its model needs the VMX control \"%s\" (%s bit %d may be 1), which "
                     "this CPU does not have: hide the feature from the model",
                     v->index, control_name(w->word, bit), control_msr_name(w->word, true_controls),
                     32 + __builtin_ctz(bit));
        return -ENOTSUP;
    }
    vmwrite32(w->field, value);
    return 0;
}

static int set_controls(const struct vcpu *v)
{
    bool true_controls = rdmsr(MSR_VMX_BASIC) & BASIC_TRUE;
    uint32_t proc1 = allowed1(WORD_PROC, true_controls);
    uint32_t proc2 = allowed1(WORD_PROC2, true_controls);
    const struct word words[CONTROL_WORDS] = {
        {.field = VMCS_PIN_CONTROLS, .word = WORD_PIN},
        {.field = VMCS_PROC_CONTROLS,
         .word = WORD_PROC,
         .wanted = control_instructions(v->rules.instructions, proc1) |
                   paging_controls(v->paging, v->choice.checks_cr3) |
                   (v->cpu->tsc_offset != 0 ? PROC_TSC_OFFSETTING : 0)},
        {.field = VMCS_PROC_CONTROLS2,
         .word = WORD_PROC2,
         .wanted = (proc2 & PROC2_VPID) | control_instructions2(v->rules.instructions, proc2)},
        {.field = VMCS_EXIT_CONTROLS, .word = WORD_EXIT},
        {.field = VMCS_ENTRY_CONTROLS, .word = WORD_ENTRY},
    };
    for (unsigned int i = 0; i < CONTROL_WORDS; i++) {
        int error = set_word(v, &words[i], true_controls);
        if (error)
            return error;
    }
    return 0;
}

/* Fields that exist only with their control are written only then. */
static void set_bitmaps(const struct vcpu *v)
{
    const struct vmx_vcpu *vmx = v->backend;
    uint32_t proc2 = vmread32(VMCS_PROC_CONTROLS2);
    vmwrite64(VMCS_IO_BITMAP_A, vmx_io_bitmap(0).raw);
    vmwrite64(VMCS_IO_BITMAP_B, vmx_io_bitmap(1).raw);
    vmwrite64(VMCS_MSR_BITMAP, memory_address_of(vmx->msr_bitmap).raw);
    vmwrite64(VMCS_EPT_POINTER, vmx->eptp);
    if (v->cpu->tsc_offset != 0)
        vmwrite64(VMCS_TSC_OFFSET, v->cpu->tsc_offset);
    if (proc2 & PROC2_VPID)
        vmwrite16(VMCS_VPID, vmx->vpid);
    if (proc2 & PROC2_XSAVES)
        vmwrite64(VMCS_XSS_EXITING_BITMAP, 0);
    if (proc2 & PROC2_ENCLS_EXITING)
        vmwrite64(VMCS_ENCLS_EXITING_BITMAP, UINT64_MAX);
    if (proc2 & PROC2_PCONFIG)
        vmwrite64(VMCS_PCONFIG_EXITING_BITMAP, 0);
    const struct paging_filter filter = paging_filter(v->paging);
    vmwrite32(VMCS_EXCEPTION_BITMAP, event_exceptions(filter.exits, vcpu_has_sgx(v)));
    vmwrite32(VMCS_PF_ERROR_CODE_MASK, filter.mask);
    vmwrite32(VMCS_PF_ERROR_CODE_MATCH, filter.match);
    vmwrite32(VMCS_CR3_TARGET_COUNT, 0);
    vmwrite32(VMCS_EXIT_MSR_STORE_COUNT, 0);
    vmwrite32(VMCS_EXIT_MSR_LOAD_COUNT, 0);
    vmwrite32(VMCS_ENTRY_MSR_LOAD_COUNT, 0);
}

/* NE must be 1 in hardware: SDM vol. 3 §24.8. Of all else that the model has only what paging needs
 * is not the guest's own, and what CPUID shows: it changes once, and is shown often. */
static int set_masks(struct vcpu *v)
{
    struct vmx_vcpu *vmx = vmx_of(v);
    uint64_t beyond = v->rules.cr4_allowed & ~rdmsr(MSR_VMX_CR4_FIXED1);
    if (beyond) {
        console_line("vCPU %u: its model has the CR4 bits %lx, which IA32_VMX_CR4_FIXED1 does not "
                     "allow: hide the features from the model",
                     v->index, beyond);
        return -ENOTSUP;
    }
    /* XSETBV always exits, and so do writes of CPUID_DYNAMIC_CR4. */
    v->rows_late = vcpu_rows_late(v);
    vmx->cr0_owned = CR0_NE | (MODELLED_CR0 & ~v->rules.cr0_allowed) | paging_owned_cr0(v->paging);
    vmx->cr4_owned =
        CR4_VMXE | CPUID_DYNAMIC_CR4 | ~v->rules.cr4_allowed | paging_owned_cr4(v->paging);
    vmwrite(VMCS_CR0_MASK, vmx->cr0_owned);
    vmwrite(VMCS_CR4_MASK, vmx->cr4_owned);
    return 0;
}

struct descriptor_table {
    uint16_t limit;
    uint64_t base;
} __attribute__((packed));
_Static_assert(sizeof(struct descriptor_table) == 10, "SDM vol. 3 §2.4");

static void set_host_tables(const struct cpu *cpu)
{
    struct descriptor_table gdt, idt;
    __asm__ volatile("sgdt %0" : "=m"(gdt));
    __asm__ volatile("sidt %0" : "=m"(idt));
    vmwrite(VMCS_HOST_GDTR_BASE, gdt.base);
    vmwrite(VMCS_HOST_IDTR_BASE, idt.base);
    vmwrite(VMCS_HOST_TR_BASE, (uint64_t)&cpu->tss);
    vmwrite(VMCS_HOST_GS_BASE, (uint64_t)cpu);
    vmwrite(VMCS_HOST_FS_BASE, 0);
    vmwrite16(VMCS_HOST_CS_SELECTOR, SELECTOR_CODE);
    vmwrite16(VMCS_HOST_SS_SELECTOR, SELECTOR_DATA);
    vmwrite16(VMCS_HOST_TR_SELECTOR, SELECTOR_TSS);
    vmwrite16(VMCS_HOST_DS_SELECTOR, 0);
    vmwrite16(VMCS_HOST_ES_SELECTOR, 0);
    vmwrite16(VMCS_HOST_FS_SELECTOR, 0);
    vmwrite16(VMCS_HOST_GS_SELECTOR, 0);
}

/* HOST_RSP is entry.asm's. */
void vmx_load_host_state(struct vcpu *v)
{
    set_host_tables(v->cpu);
    vmwrite(VMCS_HOST_CR0, read_cr0());
    vmwrite(VMCS_HOST_CR3, read_cr3());
    vmwrite(VMCS_HOST_CR4, read_cr4());
    vmwrite(VMCS_HOST_RIP, (uint64_t)(v->stats ? vmx_exit_entry_timed : vmx_exit_entry));
    vmwrite64(VMCS_HOST_EFER, rdmsr(MSR_EFER));
    vmwrite64(VMCS_HOST_PAT, rdmsr(MSR_PAT));
    vmwrite32(VMCS_HOST_SYSENTER_CS, 0);
    vmwrite(VMCS_HOST_SYSENTER_ESP, 0);
    vmwrite(VMCS_HOST_SYSENTER_EIP, 0);
}

/* None is late: a control's #UD goes before all other faults of its instruction (SDM vol. 3 §26.3), and
 * what exits instead has none but #UD that goes before the exit (§26.1.1). */
void vmx_unenforced(const struct vcpu *v, struct unenforced *found)
{
    bool true_controls = rdmsr(MSR_VMX_BASIC) & BASIC_TRUE;
    found->late = 0;
    found->xcr0 = 0;
    found->instructions =
        control_unenforced(v->host_instructions & ~v->rules.instructions, v->rules.instructions,
                           allowed1(WORD_PROC, true_controls), allowed1(WORD_PROC2, true_controls));
}

static int fill(struct vcpu *v)
{
    struct vmx_vcpu *vmx = vmx_of(v);
    *(uint32_t *)memory_at(vmx->vmcs) = (uint32_t)rdmsr(MSR_VMX_BASIC) & BASIC_REVISION;
    vmx_clear(vmx->vmcs);
    vmx_make_current(vmx->vmcs);
    int error = set_controls(v);
    if (!error)
        error = set_masks(v);
    if (error)
        return error;
    bool has_vpid = vmread32(VMCS_PROC_CONTROLS2) & PROC2_VPID;
    vmx->vpid = has_vpid ? (uint16_t)(v->index + 1U) : 0;
    set_bitmaps(v);
    vmx_pass_msr(v, MSR_EFER, v->paging != PAGED_SHADOW, false); /* else it is the guest's own */
    vmx_flush_nested(vmx);
    vmx_flush_linear(v);
    return 0;
}

/* The VMCS is no CPU's any more when its page is written. What the CPU still holds of the tables
 * before goes: the same roots come back, with other entries, and vmx->eptp forgets them here. */
int vmx_vcpu_renew(struct vcpu *v, hpa_t root)
{
    struct vmx_vcpu *vmx = vmx_of(v);
    if (vmx->eptp != 0)
        vmx_flush_nested(vmx);
    vmx_clear(vmx->vmcs);
    memset(memory_at(vmx->vmcs), 0, PAGE_SIZE);
    memset(vmx->msr_bitmap, 0xff, PAGE_SIZE);
    *vmx = (struct vmx_vcpu){.vmcs = vmx->vmcs,
                             .msr_bitmap = vmx->msr_bitmap,
                             .probe = vmx->probe,
                             .levels = v->vm->direct.format.levels,
                             .ept_cap = rdmsr(MSR_VMX_EPT_VPID)};
    if (vmx->levels == 5 && !(vmx->ept_cap & EPT_CAP_5_LEVELS))
        return -ENOTSUP;
    vmx->eptp = vmx_eptp(vmx, root);
    return fill(v);
}

int vmx_vcpu_create(struct vcpu *v, hpa_t root)
{
    hpa_t first;
    int error = memory_alloc_pages(OWN_PAGES, &first);
    if (error)
        return error;
    struct vmx_vcpu *vmx = memory_at(first);
    vmx->msr_bitmap = memory_at(hpa(first.raw + PAGE_SIZE));
    vmx->vmcs = hpa(first.raw + 2 * PAGE_SIZE);
    vmx->probe = hpa(first.raw + 3 * PAGE_SIZE);
    v->backend = vmx;
    error = vmx_vcpu_renew(v, root);
    if (!error)
        return 0;
    vmx_clear(vmx->vmcs);
    v->backend = NULL;
    for (unsigned int i = 0; i < OWN_PAGES; i++)
        memory_free_page(hpa(first.raw + i * PAGE_SIZE));
    return error;
}
