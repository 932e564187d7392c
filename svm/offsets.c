/* SPDX-License-Identifier: BSD-2-Clause */
/* Compiled to assembly only, for the numbers that entry.asm includes as svm/offsets.inc. */
#include "kernel/speculation.h"
#include "kernel/vcpu.h"
#include <stddef.h>

#define OFFSET(name, value) __asm__ volatile("\n->" #name " %0" : : "i"(value))

void svm_offsets(void);
void svm_offsets(void)
{
    _Static_assert(offsetof(struct vcpu, regs) == 0, "the stub takes a vCPU for its registers");
    OFFSET(REGS_RCX, offsetof(union gprs, rcx));
    OFFSET(REGS_RDX, offsetof(union gprs, rdx));
    OFFSET(REGS_RBX, offsetof(union gprs, rbx));
    OFFSET(REGS_RBP, offsetof(union gprs, rbp));
    OFFSET(REGS_RSI, offsetof(union gprs, rsi));
    OFFSET(REGS_RDI, offsetof(union gprs, rdi));
    OFFSET(REGS_R8, offsetof(union gprs, r8));
    OFFSET(REGS_R9, offsetof(union gprs, r9));
    OFFSET(REGS_R10, offsetof(union gprs, r10));
    OFFSET(REGS_R11, offsetof(union gprs, r11));
    OFFSET(REGS_R12, offsetof(union gprs, r12));
    OFFSET(REGS_R13, offsetof(union gprs, r13));
    OFFSET(REGS_R14, offsetof(union gprs, r14));
    OFFSET(REGS_R15, offsetof(union gprs, r15));
    OFFSET(VCPU_MEASURES, offsetof(struct vcpu, measures));
    OFFSET(MEASURE_IBPB, MEASURE_IBPB);
    OFFSET(MEASURE_VERW, MEASURE_VERW);
    OFFSET(SELECTOR_DATA, SELECTOR_DATA);
}
