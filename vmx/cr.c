/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What the CPU does itself in MOV to CR0, CR3, CR4 and WRMSR EFER when it is not intercepted: SDM vol. 3
 * §2.5, §4.4.1, §10.8.5, §28.3; vol. 2, MOV to control registers. Values are the guest's: CR4
 * without VMXE, CR0 with the NE that it wrote.
 */
#include "cpuid/rules.h"
#include "kernel/paging.h"
#include "kernel/vm.h"
#include "mmu/reserved.h"
#include "vmx/controls.h"
#include "vmx/paging.h"
#include "vmx/vcpu.h"
#include "vmx/vmcs.h"
#include "vmx/vmx.h"
#include <errno.h>
#include <string.h>

#define CR0_DEFINED                                                                                \
    (CR0_PE | CR0_MP | CR0_EM | CR0_TS | CR0_ET | CR0_NE | CR0_WP | CR0_AM | CR0_NW | CR0_CD |     \
     CR0_PG)
#define CR4_CET          (1UL << 23)
#define EFER_DEFINED     (EFER_SCE | EFER_LME | EFER_NXE) /* Intel has no more, whatever a model says */
#define CR3_PAE_TABLE    0xffffffe0UL
#define CR3_PCID         0xfffUL
#define CR3_NO_FLUSH     (1UL << 63)
#define TYPE_OF(access)  ((access)&15U)
#define TYPE_BUSY_TSS_32 11U
#define PDPTES           4U
#define PDPTE_PRESENT    1UL

int vmx_load_pdptes(struct vcpu *v, uint64_t cr0, uint64_t cr3, uint64_t cr4, uint64_t efer)
{
    if (!(cr0 & CR0_PG) || !(cr4 & CR4_PAE) || (efer & EFER_LMA))
        return 0;
    uint64_t pdpte[PDPTES];
    if (v->paging == PAGED_SHADOW) /* checked here; loaded are the shadow's */
        return paging_load_pdptes(v, cr3, efer & EFER_NXE, pdpte);
    gpa_t table = gpa(cr3 & CR3_PAE_TABLE);
    if (vm_read(v->vm, table, pdpte, sizeof(pdpte)) != sizeof(pdpte))
        return -EINVAL; /* as if nothing were there, which reads as ones */
    uint64_t reserved = reserved_mask(MODE_PAE, 3, false, &v->props, efer & EFER_NXE);
    for (unsigned int i = 0; i < PDPTES; i++) {
        if ((pdpte[i] & PDPTE_PRESENT) && (pdpte[i] & reserved))
            return -EINVAL;
    }
    memcpy(v->pdpte, pdpte, sizeof(pdpte));
    vmwrite64(VMCS_GUEST_PDPTE0, pdpte[0]);
    vmwrite64(VMCS_GUEST_PDPTE1, pdpte[1]);
    vmwrite64(VMCS_GUEST_PDPTE2, pdpte[2]);
    vmwrite64(VMCS_GUEST_PDPTE3, pdpte[3]);
    return 0;
}

static bool cr0_valid(uint64_t old, uint64_t new, uint64_t cr4)
{
    if (new >> 32)
        return false;
    if ((new &CR0_PG) && !(new &CR0_PE))
        return false;
    if ((new &CR0_NW) && !(new &CR0_CD))
        return false;
    if (!(new &CR0_WP) && (cr4 & CR4_CET))
        return false;
    if ((old & CR0_PG) && !(new &CR0_PG))
        return !(cr4 & CR4_PCIDE) && !vmx_in_64bit_mode();
    return true;
}

/* The change into IA-32e mode needs PAE, no CS.L and a 32-bit TSS: SDM vol. 3 §10.8.5.1. */
static bool may_activate_long_mode(uint64_t cr4)
{
    return (cr4 & CR4_PAE) && !(vmread32(VMCS_GUEST_CS_ACCESS) & ACCESS_L) &&
           TYPE_OF(vmread32(VMCS_GUEST_TR_ACCESS)) == TYPE_BUSY_TSS_32;
}

/* With shadow paging backend_load_paging() follows, which flushes. */
static void flush_linear(struct vcpu *v)
{
    if (v->paging != PAGED_SHADOW)
        vmx_flush_linear(v);
}

static int write_guest_cr0(struct vcpu *v, uint64_t value)
{
    uint64_t old = vmx_read_cr0(v), cr4 = vmx_read_cr4(v), efer = vmx_read_efer(v);
    if (!cr0_valid(old, value, cr4))
        return -EINVAL;
    uint64_t new = (value & CR0_DEFINED & v->rules.cr0_allowed) | CR0_ET;
    uint64_t changed = old ^ new;
    bool long_mode = (new &CR0_PG) && (efer & EFER_LME);
    if ((changed & CR0_PG) && long_mode && !may_activate_long_mode(cr4))
        return -EINVAL;
    efer = long_mode ? efer | EFER_LMA : efer & ~EFER_LMA;
    if ((changed & CR0_LOADS_PDPTES) && vmx_load_pdptes(v, new, vmx_read_cr3(v), cr4, efer))
        return -EINVAL;
    if (changed & CR0_PG)
        vmx_put_efer(v, efer);
    if (changed & CR0_CACHE)
        vmx_put_cache_control(new);
    vmx_put_cr0(v, new);
    if (changed & (CR0_PG | CR0_WP))
        flush_linear(v);
    return 0;
}

/* Bit 63 is never a bit of the register: with CR4.PCIDE it asks not to flush (SDM vol. 3 §4.10.4.1),
 * without it the caller has refused it. */
static int write_guest_cr3(struct vcpu *v, uint64_t value)
{
    uint64_t new = value & ~CR3_NO_FLUSH, efer = vmx_read_efer(v);
    if (!(efer & EFER_LMA) && vmx_load_pdptes(v, vmx_read_cr0(v), new, vmx_read_cr4(v), efer))
        return -EINVAL;
    vmx_put_cr3(v, new);
    if (v->paging != PAGED_SHADOW && !(value & CR3_NO_FLUSH))
        vmx_flush_local(v);
    return 0;
}

static bool cr4_valid(uint64_t old, uint64_t new, uint64_t cr0, uint64_t cr3, bool long_mode)
{
    if (long_mode && (!(new &CR4_PAE) || ((old ^ new) & CR4_LA57)))
        return false;
    if ((new &CR4_PCIDE) && !(old & CR4_PCIDE) && (!long_mode || (cr3 & CR3_PCID)))
        return false;
    return !(new &CR4_CET) || (cr0 & CR0_WP);
}

static int write_guest_cr4(struct vcpu *v, uint64_t new)
{
    uint64_t old = vmx_read_cr4(v), changed = old ^ new;
    uint64_t cr0 = vmx_read_cr0(v), cr3 = vmx_read_cr3(v), efer = vmx_read_efer(v);
    if ((new & ~v->rules.cr4_allowed) || !cr4_valid(old, new, cr0, cr3, efer & EFER_LMA))
        return -EINVAL;
    if ((changed & CR4_LOADS_PDPTES) && vmx_load_pdptes(v, cr0, cr3, new, efer))
        return -EINVAL;
    vmx_put_cr4(v, new);
    if (changed & (CR4_LOADS_PDPTES | CR4_PCIDE | CR4_SMAP | CR4_PKE | CR4_LA57))
        flush_linear(v);
    return 0;
}

int vmx_write_cr(struct vcpu *v, unsigned int cr, uint64_t value)
{
    if (cr == 0)
        return write_guest_cr0(v, value);
    return cr == 3 ? write_guest_cr3(v, value) : write_guest_cr4(v, value);
}

/* LMA is the CPU's: a write leaves it as it is. */
int vmx_write_efer(struct vcpu *v, uint64_t value)
{
    uint64_t old = vmx_read_efer(v);
    uint64_t new = (value & ~EFER_LMA) | (old & EFER_LMA);
    uint64_t changed = old ^ new;
    if ((value & ~((v->rules.efer_allowed & EFER_DEFINED) | EFER_LMA)) ||
        ((changed & EFER_LME) && (vmx_read_cr0(v) & CR0_PG)))
        return -EINVAL;
    vmx_put_efer(v, new);
    if (changed & EFER_NXE)
        flush_linear(v);
    return 0;
}
