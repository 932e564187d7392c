/* SPDX-License-Identifier: BSD-2-Clause */
#include "kernel/x86.h"
#include "svm/internal.h"
#include <errno.h>

#define CR3_PCID 0xfffUL
/* A change of one of them flushes the TLB, global entries too (§5.5.2). */
#define CR4_FLUSHES (CR4_PSE | CR4_PAE | CR4_PGE | CR4_PCIDE | CR4_SMEP)

/* What MOV to CR4 refuses beside reserved bits (§3.1.3, §5.5.1, §18.11). */
static bool cr4_valid(const struct vmcb_save *save, uint64_t cr4)
{
    bool long_mode = save->efer & EFER_LMA;
    uint64_t changed = save->cr4 ^ cr4;

    if (long_mode && (!(cr4 & CR4_PAE) || (changed & CR4_LA57)))
        return false;
    if ((changed & cr4 & CR4_PCIDE) && (!long_mode || (save->cr3 & CR3_PCID)))
        return false;
    return !(cr4 & CPU_CR4_CET) || (save->cr0 & CR0_WP);
}

/* CR0 is the guest's own and never intercepted. */
int svm_write_cr(struct vcpu *v, unsigned int cr, uint64_t value)
{
    struct vmcb *vmcb = vmcb_of(v);

    if (cr != 4 || (value & ~v->rules.cr4_allowed) || !cr4_valid(&vmcb->save, value))
        return -EINVAL;
    if ((vmcb->save.cr4 ^ value) & CR4_FLUSHES)
        svm_tlb_flush(v);
    vmcb_set_cr4(vmcb, value);
    return 0;
}

/* LMA is the CPU's to keep and what is written there is ignored; LME stands while paging is on
 * (§3.1.7, §14.6.1). */
int svm_write_efer(struct vcpu *v, uint64_t value)
{
    struct vmcb *vmcb = vmcb_of(v);
    uint64_t old = vmcb->save.efer;
    uint64_t efer = (value & ~EFER_LMA) | (old & EFER_LMA) | EFER_SVME;

    if (value & ~(v->rules.efer_allowed | EFER_LMA))
        return -EINVAL;
    if (((old ^ efer) & EFER_LME) && (vmcb->save.cr0 & CR0_PG))
        return -EINVAL;
    if ((old ^ efer) & EFER_NXE)
        svm_tlb_flush(v);
    vmcb_set_efer(vmcb, efer);
    return 0;
}

uint64_t svm_read_cr0(struct vcpu *v)
{
    return vmcb_of(v)->save.cr0;
}

uint64_t svm_rflags(struct vcpu *v)
{
    return vmcb_of(v)->save.rflags;
}

uint64_t svm_read_cr4(struct vcpu *v)
{
    return vmcb_of(v)->save.cr4;
}

uint64_t svm_read_efer(struct vcpu *v)
{
    return vmcb_of(v)->save.efer & ~EFER_SVME;
}

unsigned int svm_cpl(struct vcpu *v)
{
    return vmcb_of(v)->save.cpl;
}

void svm_load_paging(struct vcpu *v, const struct hardware_paging *paging)
{
    (void)v;
    (void)paging;
}
