/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef LATCH_KERNEL_QUICK_H
#define LATCH_KERNEL_QUICK_H
/*
 * The exits that a guest asks for most: CPUID, MSRs that are constants, and hypercalls that only
 * ask. exit_dispatch() gives the same answers; a back end may ask here first,
 * before the guest's other registers and what it has of the host's are changed over. So nothing
 * here can fault, calls anything, looks for the CPU that it runs on, or needs general registers but
 * RAX, RCX, RDX, RBX, RSI and RDI. What has no answer here has changed nothing.
 */
#include "kernel/hypercall.h"
#include "kernel/insn.h"
#include "kernel/msr.h"
#include "kernel/vm.h"
#include "kernel/x86.h"

/*
 * The answer to CPUID of `leaf` and the subleaf in RCX; or NULL: then quick_cpuid_late() may know one.
 * It stands until the next one. `cr4` is the guest's, of which CPUID_DYNAMIC_CR4 is looked at, where it
 * changes without an exit; else NULL.
 */
static inline const struct cpuid_regs *quick_cpuid(const struct vcpu *v, uint32_t leaf,
                                                   const uint64_t *cr4)
{
    const struct cpuid_leaf *row = model_lookup(v->model, leaf, (uint32_t)v->regs.rcx);
    __asm__("" : "+r"(row)); /* else the row's address is computed for each member anew */
    if (__builtin_expect(row->dynamic == DYNAMIC_NONE, 1))
        return &row->regs;
    if ((cr4 && ((*cr4 ^ v->dynamic.cr4) & CPUID_DYNAMIC_CR4)) || row->dynamic <= v->rows_late)
        return NULL;
    return &v->dynamic.answer[row->dynamic];
}

/* The same of a row up to v->rows_late, but for what follows the mode. */
static inline const struct cpuid_regs *quick_cpuid_late(struct vcpu *v, uint32_t leaf)
{
    uint32_t subleaf = (uint32_t)v->regs.rcx;
    const struct cpuid_leaf *row = model_lookup(v->model, leaf, subleaf);
    if (row->dynamic > v->rows_late || row->dynamic == DYNAMIC_EXTENDED)
        return NULL;
    if (row->dynamic != DYNAMIC_LEVEL && read_xcr0() != v->dynamic.xcr0)
        return NULL;
    return cpuid_answer(row, &v->dynamic, subleaf);
}

/* True if EIP may have begun anew, which outside 64-bit code only is a change: it then lies within
 * the length of an instruction. */
static inline bool quick_wrapped(uint64_t next_rip)
{
    return (uint32_t)next_rip <= INSN_LENGTH_MAX;
}

/* The value of an MSR that reads as a constant and ignores writes; or NULL. */
static inline const uint64_t *quick_msr(const struct vcpu *v, uint32_t msr)
{
    const struct msr_slot *slot = &v->msr_slot[msr % MSR_SLOTS];
    return slot->msr == msr && slot->constant ? &slot->value : NULL;
}

/* The result of a hypercall from CPL 0 that asks for a number only. */
static inline bool quick_hypercall(const struct vcpu *v, uint64_t number, uint64_t *result)
{
    if (number == HYPERCALL_VERSION)
        *result = HYPERCALL_ABI;
    else if (number == HYPERCALL_FORBIDDEN)
        *result = v->vm->forbidden;
    else if (number == HYPERCALL_GENERATION)
        *result = v->vm->seal.generation;
    else
        return false;
    return true;
}

#endif
