/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef LATCH_SVM_CONTROL_REGISTERS_H
#define LATCH_SVM_CONTROL_REGISTERS_H
/* The rules of CR0, CR4 and EFER. Pure, so that the host can test them. */
#include <stdbool.h>
#include <stdint.h>

struct control_registers {
    uint64_t cr0, cr4, efer;
};

/*
 * What the hardware has while the guest reads `guest`: SVME always, and with `shadow` what shadow
 * paging needs of it, CR0.WP unless `no_wp`. VMRUN accepts that for each `guest` that the functions
 * below let through.
 */
struct control_registers control_registers_hardware(const struct control_registers *guest,
                                                    bool shadow, bool no_wp);

/* `guest` with EFER.LMA as CR0.PG and LME make it (§14.6.1). */
struct control_registers control_registers_settle(struct control_registers guest);

/* Whether a guest that has `now` may write it, reserved bits of CR4 and EFER aside (§3.1.1, §3.1.3,
 * §3.1.7, §5.5.1, §14.6, §18.11). cs_l: CS.L is set. */
bool control_registers_cr0_valid(const struct control_registers *now, uint64_t cr0, bool cs_l);
bool control_registers_cr4_valid(const struct control_registers *now, uint64_t cr4, uint64_t cr3);
bool control_registers_efer_valid(const struct control_registers *now, uint64_t efer);

/* PAE paging: the mode with the four PDPTEs. */
bool control_registers_pae(const struct control_registers *guest);

#endif
