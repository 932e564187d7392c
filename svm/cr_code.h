/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef LATCH_SVM_CR_CODE_H
#define LATCH_SVM_CR_CODE_H
/* The instructions that the intercepts of CR0, CR3 and CR4 take (§15.9, table 15-7). Pure. */
#include "kernel/exit.h"
#include "kernel/insn.h"

enum cr_code {
    CR_CODE_DECODED,
    CR_CODE_OTHER,    /* no such instruction: the guest has changed it since */
    CR_CODE_STEP_MSW, /* LMSW or SMSW with more to it than a value and a register */
};

/* What `insn` moves: exit->kind and exit->cr.cr are set, the rest of exit->cr is filled. `cr0` is
 * as the guest reads it; wide: it runs 64-bit code. */
enum cr_code cr_code_decode(const struct insn *insn, const uint64_t gpr[16], uint64_t cr0,
                            bool wide, struct exit *exit);

/* A MOV between the control register and `number`. */
void cr_code_move(uint8_t number, const uint64_t gpr[16], bool wide, struct exit *exit);

#endif
