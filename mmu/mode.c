/* SPDX-License-Identifier: BSD-2-Clause */
#include "mmu/mmu.h"
#include "mmu/registers.h"

enum paging_mode paging_mode(const struct paging_state *state)
{
    if (!(state->cr0 & CR0_PG))
        return MODE_OFF;
    if (state->efer & EFER_LMA)
        return (state->cr4 & CR4_LA57) ? MODE_5LEVEL : MODE_4LEVEL;
    if (state->cr4 & CR4_PAE)
        return MODE_PAE;
    return (state->cr4 & CR4_PSE) ? MODE_32BIT_PSE : MODE_32BIT;
}

#define CR0_PAGING (CR0_PG | CR0_WP)
#define CR4_PAGING                                                                                 \
    (CR4_PSE | CR4_PAE | CR4_PGE | CR4_LA57 | CR4_PCIDE | CR4_SMEP | CR4_SMAP | CR4_PKE | CR4_PKS)
#define EFER_PAGING (EFER_LMA | EFER_NXE)

bool paging_changes(const struct paging_state *old, const struct paging_state *new)
{
    if (!((old->cr0 | new->cr0) & CR0_PG))
        return false;
    return ((old->cr0 ^ new->cr0) & CR0_PAGING) || ((old->cr4 ^ new->cr4) & CR4_PAGING) ||
           ((old->efer ^ new->efer) & EFER_PAGING);
}

unsigned int paging_levels(enum paging_mode mode)
{
    switch (mode) {
    case MODE_OFF:
        return 0;
    case MODE_32BIT:
    case MODE_32BIT_PSE:
        return 2;
    case MODE_PAE:
        return 3;
    case MODE_5LEVEL:
        return 5;
    case MODE_4LEVEL:
    case MODE_EPT:
    case MODE_NPT:
        break;
    }
    return 4;
}

unsigned int paging_width(const struct paging_props *props)
{
    unsigned int reduction = props->cbit != 0 ? props->reduction : 0;
    unsigned int width = props->maxphyaddr;

    if (width > 52U)
        width = 52U;
    return width < 32U + reduction ? 32U : width - reduction;
}
