/* SPDX-License-Identifier: BSD-2-Clause */
/* Where the registers of paging are: with shadow paging the guest's are not the hardware's. */
#include "vmx/paging.h"
#include "vmx/controls.h"
#include "vmx/vcpu.h"
#include "vmx/vmcs.h"
#include "vmx/vmx.h"

#define EPTP_WB           6UL
#define EPTP_LEVELS_SHIFT 3U

uint64_t vmx_eptp_of_levels(hpa_t root, unsigned int levels)
{
    return root.raw | (levels - 1UL) << EPTP_LEVELS_SHIFT | EPTP_WB;
}

uint64_t vmx_eptp(const struct vmx_vcpu *vmx, hpa_t root)
{
    return vmx_eptp_of_levels(root, vmx->levels);
}

uint64_t vmx_read_cr0(struct vcpu *v)
{
    const struct vmx_vcpu *vmx = vmx_of(v);
    return (vmread(VMCS_GUEST_CR0) & ~vmx->cr0_owned) | vmx->cr0_shadow;
}

static void write_hardware_cr0(struct vcpu *v, uint64_t cr0)
{
    uint64_t hardware = paging_hardware_cr0(v->paging, cr0);
    vmwrite(VMCS_GUEST_CR0, vmx_of(v)->no_wp ? hardware & ~CR0_WP : hardware);
}

void vmx_put_cr0(struct vcpu *v, uint64_t cr0)
{
    struct vmx_vcpu *vmx = vmx_of(v);
    vmx->cr0_shadow = cr0 & vmx->cr0_owned;
    vmwrite(VMCS_CR0_SHADOW, cr0);
    write_hardware_cr0(v, cr0);
}

void vmx_put_cache_control(uint64_t cr0)
{
    write_cr0((read_cr0() & ~CR0_CACHE) | (cr0 & CR0_CACHE));
}

uint64_t vmx_read_cr3(const struct vcpu *v)
{
    return v->paging == PAGED_SHADOW ? v->cr3 : vmread(VMCS_GUEST_CR3);
}

void vmx_put_cr3(struct vcpu *v, uint64_t cr3)
{
    if (v->paging == PAGED_SHADOW)
        v->cr3 = cr3;
    else
        vmwrite(VMCS_GUEST_CR3, cr3);
}

uint64_t vmx_read_cr4(struct vcpu *v)
{
    const struct vmx_vcpu *vmx = vmx_of(v);
    return (vmread(VMCS_GUEST_CR4) & ~vmx->cr4_owned) | vmx->cr4_shadow;
}

void vmx_put_cr4(struct vcpu *v, uint64_t cr4)
{
    struct vmx_vcpu *vmx = vmx_of(v);
    vmx->cr4_shadow = cr4 & vmx->cr4_owned;
    vmwrite(VMCS_CR4_SHADOW, cr4);
    vmwrite(VMCS_GUEST_CR4, paging_hardware_cr4(v->paging, cr4));
    exit_follow_cr4(v, cr4);
}

uint64_t vmx_read_efer(struct vcpu *v)
{
    return v->paging == PAGED_SHADOW ? vmx_of(v)->efer : vmread64(VMCS_GUEST_EFER);
}

void vmx_put_efer(struct vcpu *v, uint64_t efer)
{
    uint32_t entry = vmread32(VMCS_ENTRY_CONTROLS) & ~VMENTRY_IA32E_GUEST;
    vmwrite32(VMCS_ENTRY_CONTROLS, (efer & EFER_LMA) ? entry | VMENTRY_IA32E_GUEST : entry);
    vmwrite64(VMCS_GUEST_EFER, paging_hardware_efer(v->paging, efer));
    vmx_of(v)->efer = efer;
}

/* Translations of the tables before stay cached, for when they come back. Of more than two roots
 * the oldest is flushed, so that vmx_flush_nested() has all. */
static void load_nested(struct vmx_vcpu *vmx, uint64_t eptp)
{
    if (eptp == vmx->eptp)
        return;
    if (eptp != vmx->other_eptp && vmx->other_eptp != 0)
        vmx_flush_nested(vmx);
    vmx->other_eptp = vmx->eptp;
    vmx->eptp = eptp;
    vmwrite64(VMCS_EPT_POINTER, eptp);
}

/* The fields are undefined after an exit outside PAE paging (SDM vol. 3 §28.3.4), so they are
 * written whether they have changed or not. */
static void load_pdptes(const uint64_t pdpte[4])
{
    vmwrite64(VMCS_GUEST_PDPTE0, pdpte[0]);
    vmwrite64(VMCS_GUEST_PDPTE1, pdpte[1]);
    vmwrite64(VMCS_GUEST_PDPTE2, pdpte[2]);
    vmwrite64(VMCS_GUEST_PDPTE3, pdpte[3]);
}

/* CR0, CR4 and EFER are right since the guest wrote them: paging->shadow is its CR0.PG. */
void vmx_load_paging(struct vcpu *v, const struct hardware_paging *paging)
{
    struct vmx_vcpu *vmx = vmx_of(v);
    load_nested(vmx, vmx_eptp(vmx, paging->nested));
    if (vmx->no_wp != paging->no_wp) {
        const uint64_t cr0 = vmx_read_cr0(v);
        vmx->no_wp = paging->no_wp;
        write_hardware_cr0(v, cr0);
    }
    if (paging->shadow) {
        if (vmx->shadow_cr3 != paging->cr3.raw)
            vmwrite(VMCS_GUEST_CR3, paging->cr3.raw);
        vmx->shadow_cr3 = paging->cr3.raw;
        if (!(vmx->efer & EFER_LMA))
            load_pdptes(paging->pdpte);
    }
    vmx_flush_linear(v);
}
