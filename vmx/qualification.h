/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef LATCH_VMX_QUALIFICATION_H
#define LATCH_VMX_QUALIFICATION_H
/* Exit qualifications and instruction information in neutral form: SDM vol. 3 §28.2.1, §28.2.5.
 * Pure. */
#include "kernel/exit.h"

#define QUALIFICATION_NOT_MOV        (1UL << 5)  /* of a control-register access: CLTS or LMSW */
#define QUALIFICATION_LINEAR         (1UL << 7)  /* of an EPT violation: there is an address */
#define QUALIFICATION_NMI_UNBLOCKING (1UL << 12) /* the same bit of a fault's event information */

/* Table 28-5: fills exit->io. */
void qualification_io(uint64_t qualification, struct exit *exit);

/* Table 28-7: fills exit->memory. `linear` counts only if QUALIFICATION_LINEAR is set. */
void qualification_ept(uint64_t qualification, uint64_t address, uint64_t linear,
                       struct exit *exit);

/*
 * Table 28-3: fills exit->cr with what the instruction (MOV, LMSW or CLTS) would write, or with
 * where CR3 is to be put, and exit->kind. gpr in encoding order, RSP included; cr0 as the guest
 * reads it, for QUALIFICATION_NOT_MOV. False: neither a write to CR0, CR3 or CR4 nor a read of CR3.
 */
bool qualification_cr(uint64_t qualification, const uint64_t gpr[16], uint64_t cr0, bool mode_64bit,
                      struct exit *exit);

/* The memory operand of INVPCID is in the segment with this number, of enum segment_index. */
#define OPERAND_SEGMENT(info) ((info) >> 15 & 7U)

/*
 * Fills exit->invalidate from the instruction information of INVPCID and its displacement (the
 * qualification). `base` is the segment's.
 */
void qualification_invpcid(uint32_t info, uint64_t displacement, uint64_t base,
                           const uint64_t gpr[16], bool mode_64bit, struct exit *exit);

#endif
