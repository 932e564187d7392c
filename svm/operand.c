/* SPDX-License-Identifier: BSD-2-Clause */
#include "kernel/insn.h"
#include "kernel/machine.h"
#include "svm/cr_code.h"
#include "svm/internal.h"

/* EXITINFO1 of a MOV to or from CR with decode assists (§15.33.1). */
#define CR_IS_MOV (1UL << 63)
#define CR_GPR    0xfUL
#define CR_NUMBER 0xfUL /* of the exit code */

/* Where an exit does not tell the operands: from the instruction itself. */
static bool decode_access(struct vcpu *v, struct exit *exit)
{
    struct insn insn;

    exit->length = (uint8_t)svm_decode(v, exit->kind == EXIT_CR_READ, &insn);
    if (!exit->length)
        return false;
    switch (
        cr_code_decode(&insn, v->regs.r, svm_read_cr0(v), svm_in_64_bit_mode(vmcb_of(v)), exit)) {
    case CR_CODE_DECODED:
        return true;
    case CR_CODE_STEP_MSW:
        svm_step_msw(v, exit->kind == EXIT_CR_WRITE);
        return false;
    case CR_CODE_OTHER:
        break;
    }
    return false;
}

bool svm_decode_cr(struct vcpu *v, struct exit *exit)
{
    const struct svm_vcpu *svm = svm_of(v);

    exit->kind = exit->raw_reason < VMEXIT_CR0_WRITE ? EXIT_CR_READ : EXIT_CR_WRITE;
    exit->cr.cr = exit->raw_reason & CR_NUMBER;
    if (exit->raw_reason == VMEXIT_CR0_SELECTIVE)
        exit->cr.cr = 0;
    if (exit->cr.cr == 0 && exit->kind == EXIT_CR_WRITE)
        svm_settle_lma(v);
    if (!svm->cpu->decode_assists || !(exit->raw_info[0] & CR_IS_MOV))
        return decode_access(v, exit);
    exit->length = svm_saved_length(svm);
    cr_code_move(exit->raw_info[0] & CR_GPR, v->regs.r, svm_in_64_bit_mode(svm->vmcb), exit);
    return true;
}

bool svm_decode_bad_cr3(struct vcpu *v, struct exit *exit)
{
    const struct vmcb *vmcb = vmcb_of(v);
    struct insn insn;

    if (!machine_ends_bad_cr3() || v->paging != PAGED_DIRECT || vmcb->save.cpl != 0 ||
        !svm_in_64_bit_mode(vmcb) || !svm_decode(v, false, &insn) || insn.kind != INSN_MOV_TO_CR ||
        insn.reg != 3)
        return false;
    exit->kind = EXIT_CR_WRITE;
    exit->cr.cr = 3;
    cr_code_move(insn.rm, v->regs.r, true, exit);
    return exit->cr.value & v->cr3_reserved;
}

static uint64_t base_of(const struct vmcb_save *save, enum insn_segment segment)
{
    switch (segment) {
    case INSN_ES:
        return save->es.base;
    case INSN_CS:
        return save->cs.base;
    case INSN_SS:
        return save->ss.base;
    case INSN_DS:
        return save->ds.base;
    case INSN_FS:
        return save->fs.base;
    case INSN_GS:
        break;
    }
    return save->gs.base;
}

/* In 64-bit mode only FS and GS have a base; outside it a linear address has 32 bits. */
static gla_t linear(const struct vcpu *v, const struct vmcb *vmcb, const struct insn *insn)
{
    uint64_t offset = insn_offset(insn, v->regs.r, vmcb->save.rip + insn->length);
    uint64_t base = base_of(&vmcb->save, insn->segment);

    if (!svm_in_64_bit_mode(vmcb))
        return gla((uint32_t)(base + offset));
    return gla(insn->segment >= INSN_FS ? base + offset : offset);
}

bool svm_decode_invlpg(struct vcpu *v, struct exit *exit)
{
    struct insn insn;

    exit->kind = EXIT_INVLPG;
    exit->length = svm_saved_length(svm_of(v));
    exit->invalidate.everything = false;
    exit->invalidate.address = gla(exit->raw_info[0]);
    if (svm_of(v)->cpu->decode_assists)
        return true;
    if (!svm_decode(v, true, &insn) || insn.kind != INSN_INVLPG) {
        exit->invalidate.everything = true;
        return exit->length != 0;
    }
    exit->length = insn.length;
    exit->invalidate.address = linear(v, vmcb_of(v), &insn);
    return true;
}
