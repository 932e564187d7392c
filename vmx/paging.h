/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef LATCH_VMX_PAGING_H
#define LATCH_VMX_PAGING_H
/*
 * What each way to enforce the guest's paging needs of the VMCS. All of it is constant for a vCPU;
 * roots and PDPTEs, which are not, come by backend_load_paging(). Pure.
 *
 * Shadow tables have the format of PAE or of long mode, whatever the guest's have, and their
 * entries say themselves what a guest without NX may do: so PAE and NXE are always 1 in hardware, and
 * so is WP but for private tables (vmx_load_paging()). They know no PCIDs. While CR0.PG is 0 none of
 * that shows.
 */
#include "cpuid/rules.h"
#include "kernel/paging_choice.h"
#include "kernel/x86.h"
#include "vmx/controls.h"

#define CR0_CACHE (CR0_CD | CR0_NW)

/* A write that changes one of these loads the PDPTEs, if paging is PAE then: SDM vol. 3 §4.4.1. */
#define CR0_LOADS_PDPTES (CR0_PG | CR0_CACHE)
#define CR4_LOADS_PDPTES (CR4_PAE | CR4_PGE | CR4_PSE | CR4_SMEP)

/* Bits that Latch owns besides those that the model lacks: a write that changes one exits. */
static inline uint64_t paging_owned_cr0(enum vcpu_paging paging)
{
    switch (paging) {
    case PAGED_DIRECT:
        return 0;
    case PAGED_NARROW: /* the CPU would check PDPTEs by its own limit */
        return CR0_LOADS_PDPTES;
    case PAGED_SHADOW:
        break;
    }
    return CR0_LOADS_PDPTES | CR0_WP;
}

static inline uint64_t paging_owned_cr4(enum vcpu_paging paging)
{
    switch (paging) {
    case PAGED_DIRECT:
        return 0;
    case PAGED_NARROW:
        return CR4_LOADS_PDPTES;
    case PAGED_SHADOW:
        break;
    }
    return CR4_LOADS_PDPTES | CR4_LA57 | CR4_PCIDE | CR4_SMAP | CR4_PKE | CPU_CR4_PKS;
}

/* The guest's register as the hardware has it. NE and VMXE must be 1: SDM vol. 3 §24.8. */
static inline uint64_t paging_hardware_cr0(enum vcpu_paging paging, uint64_t cr0)
{
    return cr0 | CR0_NE | (paging == PAGED_SHADOW ? CR0_WP : 0);
}

static inline uint64_t paging_hardware_cr4(enum vcpu_paging paging, uint64_t cr4)
{
    cr4 |= CR4_VMXE;
    return paging == PAGED_SHADOW ? (cr4 | CR4_PAE) & ~CR4_PCIDE : cr4;
}

static inline uint64_t paging_hardware_efer(enum vcpu_paging paging, uint64_t efer)
{
    return efer | (paging == PAGED_SHADOW ? EFER_NXE : 0);
}

/* Primary controls. INVPCID, where the model has it, exits by INVLPG exiting: SDM vol. 3 §26.1.3.
 * `checks_cr3`: bits of CR3 are to be refused that a direct vCPU's CPU would take. */
static inline uint32_t paging_controls(enum vcpu_paging paging, bool checks_cr3)
{
    switch (paging) {
    case PAGED_DIRECT:
        return checks_cr3 ? PROC_CR3_LOAD_EXITING : 0;
    case PAGED_NARROW:
        return PROC_CR3_LOAD_EXITING;
    case PAGED_SHADOW:
        break;
    }
    return PROC_CR3_LOAD_EXITING | PROC_CR3_STORE_EXITING | PROC_INVLPG_EXITING;
}

/* Which #PFs exit, if any do: those with (error code & mask) == match, SDM vol. 3 §26.2. */
struct paging_filter {
    bool exits;
    uint32_t mask, match;
};

/* A smaller limit is missed by the CPU only where a page is present and a right fails first. */
static inline struct paging_filter paging_filter(enum vcpu_paging paging)
{
    const uint32_t present = 1U << 0, reserved = 1U << 3;
    switch (paging) {
    case PAGED_DIRECT:
        break;
    case PAGED_NARROW:
        return (struct paging_filter){true, .mask = present | reserved, .match = present};
    case PAGED_SHADOW:
        return (struct paging_filter){.exits = true};
    }
    return (struct paging_filter){.exits = false};
}

#endif
