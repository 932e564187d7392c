/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef LATCH_VMX_QUALIFICATION_H
#define LATCH_VMX_QUALIFICATION_H
/* Exit qualifications in neutral form: SDM vol. 3 §28.2.1. Pure. */
#include "kernel/exit.h"

#define QUALIFICATION_NMI_UNBLOCKING (1UL << 12) /* of an EPT violation */

/* Table 28-5: fills exit->io. */
void qualification_io(uint64_t qualification, struct exit *exit);

/* Table 28-7: fills exit->memory. */
void qualification_ept(uint64_t qualification, uint64_t address, struct exit *exit);

/*
 * Table 28-3: fills exit->cr with what the instruction (MOV, LMSW or CLTS) would write. gpr in
 * encoding order, RSP included; cr0 as the guest reads it. False: not a write to CR0 or CR4.
 */
bool qualification_cr(uint64_t qualification, const uint64_t gpr[16], uint64_t cr0, bool mode_64bit,
                      struct exit *exit);

#endif
