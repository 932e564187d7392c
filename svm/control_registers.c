/* SPDX-License-Identifier: BSD-2-Clause */
#include "svm/control_registers.h"
#include "kernel/x86.h"

#define CR3_PCID 0xfffUL
#define CR4_CET  (1UL << 23)

struct control_registers control_registers_hardware(const struct control_registers *guest,
                                                    bool shadow, bool no_wp)
{
    struct control_registers hardware = *guest;

    /* PCIDE is the guest's: CR3[63] is checked before the write exits. */
    hardware.efer |= EFER_SVME;
    if (shadow) {
        hardware.cr0 |= CR0_PG | (no_wp ? 0 : CR0_WP);
        hardware.cr4 |= CR4_PAE;
        hardware.efer |= EFER_NXE;
    }
    return hardware;
}

struct control_registers control_registers_settle(struct control_registers guest)
{
    guest.efer &= ~EFER_LMA;
    if ((guest.cr0 & CR0_PG) && (guest.efer & EFER_LME))
        guest.efer |= EFER_LMA;
    return guest;
}

bool control_registers_cr0_valid(const struct control_registers *now, uint64_t cr0, bool cs_l)
{
    if (cr0 >> 32 || ((cr0 & CR0_PG) && !(cr0 & CR0_PE)) || ((cr0 & CR0_NW) && !(cr0 & CR0_CD)))
        return false;
    if (!(cr0 & CR0_WP) && (now->cr4 & CR4_CET))
        return false;
    if (!((now->cr0 ^ cr0) & CR0_PG))
        return true;
    if (cr0 & CR0_PG)
        return !(now->efer & EFER_LME) || ((now->cr4 & CR4_PAE) && !cs_l);
    return !(now->cr4 & CR4_PCIDE) && !((now->efer & EFER_LMA) && cs_l);
}

bool control_registers_cr4_valid(const struct control_registers *now, uint64_t cr4, uint64_t cr3)
{
    bool long_mode = now->efer & EFER_LMA;
    uint64_t changed = now->cr4 ^ cr4;

    if (long_mode && (!(cr4 & CR4_PAE) || (changed & CR4_LA57)))
        return false;
    if ((changed & cr4 & CR4_PCIDE) && (!long_mode || (cr3 & CR3_PCID)))
        return false;
    return !(cr4 & CR4_CET) || (now->cr0 & CR0_WP);
}

bool control_registers_efer_valid(const struct control_registers *now, uint64_t efer)
{
    return !((now->efer ^ efer) & EFER_LME) || !(now->cr0 & CR0_PG);
}

bool control_registers_pae(const struct control_registers *guest)
{
    return (guest->cr0 & CR0_PG) && (guest->cr4 & CR4_PAE) && !(guest->efer & EFER_LMA);
}
