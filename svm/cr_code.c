/* SPDX-License-Identifier: BSD-2-Clause */
#include "svm/cr_code.h"

#define CR0_TS (1UL << 3)

void cr_code_move(uint8_t number, const uint64_t gpr[16], bool wide, struct exit *exit)
{
    if (exit->kind == EXIT_CR_READ) {
        exit->cr.gpr = number;
        exit->cr.size = wide ? 8 : 4;
    } else {
        exit->cr.value = insn_read_register(gpr, number, wide ? 8 : 4, false);
    }
}

static enum cr_code decode_read(const struct insn *insn, const uint64_t gpr[16], bool wide,
                                struct exit *exit)
{
    if (insn->kind == INSN_MOV_FROM_CR && insn->reg == exit->cr.cr) {
        cr_code_move(insn->rm, gpr, wide, exit);
        return CR_CODE_DECODED;
    }
    if (insn->kind != INSN_SMSW || exit->cr.cr != 0)
        return CR_CODE_OTHER;
    if (insn->memory)
        return CR_CODE_STEP_MSW;
    exit->cr.gpr = insn->rm;
    exit->cr.size = insn->rm_size;
    return CR_CODE_DECODED;
}

enum cr_code cr_code_decode(const struct insn *insn, const uint64_t gpr[16], uint64_t cr0,
                            bool wide, struct exit *exit)
{
    if (exit->kind == EXIT_CR_READ)
        return decode_read(insn, gpr, wide, exit);
    if (insn->kind == INSN_MOV_TO_CR && insn->reg == exit->cr.cr) {
        cr_code_move(insn->rm, gpr, wide, exit);
        return CR_CODE_DECODED;
    }
    if (insn->kind == INSN_CLTS && exit->cr.cr == 0) {
        exit->cr.value = cr0 & ~CR0_TS;
        return CR_CODE_DECODED;
    }
    return insn->kind == INSN_LMSW && exit->cr.cr == 0 ? CR_CODE_STEP_MSW : CR_CODE_OTHER;
}
