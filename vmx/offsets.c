/* SPDX-License-Identifier: BSD-2-Clause */
/* Compiled to assembly only: the build makes vmx/offsets.inc of it, for entry.asm. */
#include "kernel/speculation.h"
#include "vmx/vcpu.h"
#include "vmx/vmcs.h"
#include <stddef.h>

#define OFFSET(name, value) __asm__ volatile("\n->" #name " %0" : : "i"(value))

void vmx_offsets(void);
void vmx_offsets(void)
{
    _Static_assert(offsetof(struct vcpu, measures) == offsetof(struct vcpu, flush) + 1,
                   "the stub looks at both at once");
    OFFSET(REGS_RAX, offsetof(struct vcpu, regs.rax));
    OFFSET(REGS_RCX, offsetof(struct vcpu, regs.rcx));
    OFFSET(REGS_RDX, offsetof(struct vcpu, regs.rdx));
    OFFSET(REGS_RBX, offsetof(struct vcpu, regs.rbx));
    OFFSET(REGS_RBP, offsetof(struct vcpu, regs.rbp));
    OFFSET(REGS_RSI, offsetof(struct vcpu, regs.rsi));
    OFFSET(REGS_RDI, offsetof(struct vcpu, regs.rdi));
    OFFSET(REGS_R8, offsetof(struct vcpu, regs.r8));
    OFFSET(REGS_R9, offsetof(struct vcpu, regs.r9));
    OFFSET(REGS_R10, offsetof(struct vcpu, regs.r10));
    OFFSET(REGS_R11, offsetof(struct vcpu, regs.r11));
    OFFSET(REGS_R12, offsetof(struct vcpu, regs.r12));
    OFFSET(REGS_R13, offsetof(struct vcpu, regs.r13));
    OFFSET(REGS_R14, offsetof(struct vcpu, regs.r14));
    OFFSET(REGS_R15, offsetof(struct vcpu, regs.r15));
    OFFSET(VCPU_BACKEND, offsetof(struct vcpu, backend));
    OFFSET(VCPU_FLUSH, offsetof(struct vcpu, flush));
    OFFSET(VMX_ATTEND, offsetof(struct vmx_vcpu, attend));
    OFFSET(FIELD_HOST_RSP, VMCS_HOST_RSP.encoding);
    OFFSET(VCPU_MEASURES, offsetof(struct vcpu, measures));
    OFFSET(MEASURE_L1D_FLUSH, MEASURE_L1D_FLUSH);
    OFFSET(MEASURE_VERW, MEASURE_VERW);
    OFFSET(SELECTOR_DATA, SELECTOR_DATA);
}
