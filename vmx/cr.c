/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What the CPU does itself in MOV to CR0, CR4 and WRMSR EFER when it is not intercepted: SDM vol. 3
 * §2.5, §4.4.1, §10.8.5, §28.3; vol. 2, MOV to control registers. Values are the guest's: CR4
 * without VMXE, CR0 with the NE that it wrote.
 */
#include "cpuid/rules.h"
#include "kernel/vm.h"
#include "mmu/reserved.h"
#include "vmx/controls.h"
#include "vmx/vcpu.h"
#include "vmx/vmcs.h"
#include "vmx/vmx.h"
#include <errno.h>

#define CR0_DEFINED                                                                                \
    (CR0_PE | CR0_MP | CR0_EM | CR0_TS | CR0_ET | CR0_NE | CR0_WP | CR0_AM | CR0_NW | CR0_CD |     \
     CR0_PG)
#define CR0_CACHE        (CR0_CD | CR0_NW)
#define CR4_CET          (1UL << 23)
#define CR3_PAE_TABLE    0xffffffe0UL
#define CR3_PCID         0xfffUL
#define TYPE_OF(access)  ((access)&15U)
#define TYPE_BUSY_TSS_32 11U
#define PDPTES           4U
#define PDPTE_PRESENT    1UL

uint64_t vmx_read_cr0(struct vcpu *v)
{
    (void)v;
    return (vmread(VMCS_GUEST_CR0) & ~CR0_NE) | (vmread(VMCS_CR0_SHADOW) & CR0_NE);
}

uint64_t vmx_read_cr4(struct vcpu *v)
{
    (void)v;
    return vmread(VMCS_GUEST_CR4) & ~CR4_VMXE;
}

int vmx_load_pdptes(struct vcpu *v, uint64_t cr0, uint64_t cr3, uint64_t cr4, uint64_t efer)
{
    if (!(cr0 & CR0_PG) || !(cr4 & CR4_PAE) || (efer & EFER_LMA))
        return 0;
    uint64_t pdpte[PDPTES];
    gpa_t table = gpa(cr3 & CR3_PAE_TABLE);
    if (vm_read(v->vm, table, pdpte, sizeof(pdpte)) != sizeof(pdpte))
        return -EINVAL;
    uint64_t reserved = reserved_mask(MODE_PAE, 3, false, &v->props, efer & EFER_NXE);
    for (unsigned int i = 0; i < PDPTES; i++) {
        if ((pdpte[i] & PDPTE_PRESENT) && (pdpte[i] & reserved))
            return -EINVAL;
    }
    vmwrite64(VMCS_GUEST_PDPTE0, pdpte[0]);
    vmwrite64(VMCS_GUEST_PDPTE1, pdpte[1]);
    vmwrite64(VMCS_GUEST_PDPTE2, pdpte[2]);
    vmwrite64(VMCS_GUEST_PDPTE3, pdpte[3]);
    return 0;
}

static bool cr0_valid(uint64_t old, uint64_t new)
{
    uint64_t cr4 = vmread(VMCS_GUEST_CR4);
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
static bool may_activate_long_mode(void)
{
    return (vmread(VMCS_GUEST_CR4) & CR4_PAE) && !(vmread32(VMCS_GUEST_CS_ACCESS) & ACCESS_L) &&
           TYPE_OF(vmread32(VMCS_GUEST_TR_ACCESS)) == TYPE_BUSY_TSS_32;
}

static void set_lma(uint64_t efer, bool active)
{
    uint32_t entry = vmread32(VMCS_ENTRY_CONTROLS);
    vmwrite32(VMCS_ENTRY_CONTROLS,
              active ? entry | VMENTRY_IA32E_GUEST : entry & ~VMENTRY_IA32E_GUEST);
    vmwrite64(VMCS_GUEST_EFER, active ? efer | EFER_LMA : efer & ~EFER_LMA);
}

static int write_guest_cr0(struct vcpu *v, uint64_t value)
{
    uint64_t old = vmx_read_cr0(v);
    if (!cr0_valid(old, value))
        return -EINVAL;
    uint64_t new = (value & CR0_DEFINED & v->rules.cr0_allowed) | CR0_ET;
    uint64_t changed = old ^ new;
    uint64_t efer = vmread64(VMCS_GUEST_EFER);
    bool long_mode = (new &CR0_PG) && (efer & EFER_LME);
    if ((changed & CR0_PG) && long_mode && !may_activate_long_mode())
        return -EINVAL;
    if ((changed & (CR0_PG | CR0_CACHE)) &&
        vmx_load_pdptes(v, new, vmread(VMCS_GUEST_CR3), vmread(VMCS_GUEST_CR4),
                        long_mode ? efer | EFER_LMA : efer & ~EFER_LMA))
        return -EINVAL;
    if (changed & CR0_PG)
        set_lma(efer, long_mode);
    /* Neither exits nor entries touch CD and NW: SDM vol. 3 §27.3.2.1, §28.5.1. */
    if (changed & CR0_CACHE)
        write_cr0((read_cr0() & ~CR0_CACHE) | (new &CR0_CACHE));
    vmwrite(VMCS_GUEST_CR0, new | CR0_NE);
    vmwrite(VMCS_CR0_SHADOW, new);
    if (changed & (CR0_PG | CR0_WP))
        vmx_flush_linear(v);
    return 0;
}

static bool cr4_valid(uint64_t old, uint64_t new, uint64_t cr0, bool long_mode)
{
    if (long_mode && (!(new &CR4_PAE) || ((old ^ new) & CR4_LA57)))
        return false;
    if ((new &CR4_PCIDE) && !(old & CR4_PCIDE) &&
        (!long_mode || (vmread(VMCS_GUEST_CR3) & CR3_PCID)))
        return false;
    return !(new &CR4_CET) || (cr0 & CR0_WP);
}

static int write_guest_cr4(struct vcpu *v, uint64_t new)
{
    const uint64_t paging = CR4_PAE | CR4_PGE | CR4_PSE | CR4_SMEP;
    uint64_t old = vmx_read_cr4(v), cr0 = vmx_read_cr0(v);
    uint64_t efer = vmread64(VMCS_GUEST_EFER);
    if ((new & ~v->rules.cr4_allowed) || !cr4_valid(old, new, cr0, efer & EFER_LMA))
        return -EINVAL;
    uint64_t changed = old ^ new;
    if ((changed & paging) && vmx_load_pdptes(v, cr0, vmread(VMCS_GUEST_CR3), new, efer))
        return -EINVAL;
    vmwrite(VMCS_GUEST_CR4, new | CR4_VMXE);
    vmwrite(VMCS_CR4_SHADOW, new);
    if (changed & (paging | CR4_PCIDE | CR4_SMAP | CR4_PKE | CR4_LA57))
        vmx_flush_linear(v);
    return 0;
}

int vmx_write_cr(struct vcpu *v, unsigned int cr, uint64_t value)
{
    return cr == 0 ? write_guest_cr0(v, value) : write_guest_cr4(v, value);
}

/* LMA is the CPU's: a write leaves it as it is. */
int vmx_write_efer(struct vcpu *v, uint64_t value)
{
    uint64_t old = vmread64(VMCS_GUEST_EFER);
    uint64_t new = (value & ~EFER_LMA) | (old & EFER_LMA);
    uint64_t changed = old ^ new;
    if ((value & ~(v->rules.efer_allowed | EFER_LMA)) ||
        ((changed & EFER_LME) && (vmread(VMCS_GUEST_CR0) & CR0_PG)))
        return -EINVAL;
    vmwrite64(VMCS_GUEST_EFER, new);
    if (changed & EFER_NXE)
        vmx_flush_linear(v);
    return 0;
}

void vmx_load_paging(struct vcpu *v, const struct hardware_paging *paging)
{
    (void)v;
    (void)paging;
}
