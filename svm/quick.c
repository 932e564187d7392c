/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Exits that are answered while FS, GS, TR, LDTR and the MSRs with them are still the guest's: all
 * of them stay in the CPU from #VMEXIT to VMRUN. GIF is 0, so neither NMI nor INIT comes; see
 * kernel/quick.h for the rest. kernel.mk has R8 to R11 preserved here.
 */
#include "kernel/quick.h"
#include "svm/internal.h"

#define MSR_IS_WRITE 1UL

#define OPCODE_CPUID   0xa20fU
#define OPCODE_RDMSR   0x320fU
#define OPCODE_WRMSR   0x300fU
#define OPCODE_GROUP_7 0x010fU
#define OPCODE_VMMCALL 0xd9U /* behind it */
#define OPCODE_MAX     3U

#define likely(x)   __builtin_expect(!!(x), 1)
#define unlikely(x) __builtin_expect(!!(x), 0)

/* The end of the instruction if it is the one without prefixes, else 0. */
static uint64_t decoded_rip(const struct vcpu *v, const struct svm_vcpu *svm, uint32_t opcode)
{
    const struct vmcb *vmcb = svm->vmcb;
    uint64_t rip = vmcb->save.rip, offset = rip & PAGE_OFFSET_MASK;

    if (!svm_in_64_bit_mode(vmcb) || offset > PAGE_SIZE - OPCODE_MAX ||
        !svm_code_stands(v, svm, &svm->code))
        return 0;
    const volatile uint8_t *bytes = svm->code.bytes + offset;
    if (bytes[0] != (opcode & 0xffU) || bytes[1] != opcode >> 8)
        return 0;
    if (opcode != OPCODE_GROUP_7)
        return rip + 2;
    return bytes[2] == OPCODE_VMMCALL ? rip + 3 : 0;
}

static inline bool go_on(struct vmcb *vmcb, uint64_t rip)
{
    vmcb->save.rip = rip;
    vmcb->control.interrupt_shadow = 0;
    return true;
}

static inline bool answer_cpuid(struct vcpu *v, struct vmcb *vmcb, const struct cpuid_regs *regs,
                                uint64_t rip)
{
    v->exits[EXIT_CPUID]++;
    vmcb->save.rax = regs->eax;
    v->regs.rbx = regs->ebx;
    v->regs.rcx = regs->ecx;
    v->regs.rdx = regs->edx;
    return go_on(vmcb, rip);
}

static inline bool is_wrmsr(const struct vmcb *vmcb)
{
    return vmcb->control.exit_info_1 & MSR_IS_WRITE;
}

static inline bool answer_rdmsr(struct vcpu *v, struct vmcb *vmcb, uint64_t value, uint64_t rip)
{
    v->exits[EXIT_RDMSR]++;
    vmcb->save.rax = (uint32_t)value;
    v->regs.rdx = value >> 32;
    return go_on(vmcb, rip);
}

__attribute__((noinline)) static bool msr(struct vcpu *v, struct vmcb *vmcb, uint64_t rip)
{
    const uint32_t number = (uint32_t)v->regs.rcx;
    const uint64_t *constant = quick_msr(v, number);
    if (!is_wrmsr(vmcb)) {
        if (constant)
            return answer_rdmsr(v, vmcb, *constant, rip);
        return number == MSR_EFER &&
               answer_rdmsr(v, vmcb, vmcb->save.efer ^ svm_of(v)->differ.efer, rip);
    }
    if (!constant)
        return false;
    v->exits[EXIT_WRMSR]++;
    return go_on(vmcb, rip);
}

static inline bool vmmcall(struct vcpu *v, struct vmcb *vmcb, uint64_t rip)
{
    uint64_t result;
    if (vmcb->save.cpl != 0 || !svm_in_64_bit_mode(vmcb) ||
        !quick_hypercall(v, vmcb->save.rax, &result))
        return false;
    v->exits[EXIT_HYPERCALL]++;
    vmcb->save.rax = result;
    return go_on(vmcb, rip);
}

/* All but the CPUID that svm_quick() answers itself. Out of line, as is what else would have that
 * save registers. */
__attribute__((noinline)) static bool answer(struct vcpu *v, struct vmcb *vmcb, uint64_t rip)
{
    const struct cpuid_regs *regs;
    switch (vmcb->control.exit_code) {
    case VMEXIT_CPUID:
        regs = quick_cpuid(v, (uint32_t)vmcb->save.rax, &vmcb->save.cr4);
        if (!regs)
            regs = quick_cpuid_late(v, (uint32_t)vmcb->save.rax);
        return regs && answer_cpuid(v, vmcb, regs, rip);
    case VMEXIT_MSR:
        return msr(v, vmcb, rip);
    case VMEXIT_VMMCALL:
        return vmmcall(v, vmcb, rip);
    default:
        return false;
    }
}

/* True if nothing but RIP and the interrupt shadow changes behind the instruction. */
static inline bool plain(const struct vmcb *vmcb, uint64_t rip)
{
    return likely(!quick_wrapped(rip)) && likely(!(vmcb->save.rflags & (RFLAGS_TF | RFLAGS_RF)));
}

/* Where the CPU does not say where the instruction ends. */
__attribute__((noinline)) static bool answer_by_code(struct vcpu *v)
{
    const struct svm_vcpu *svm = svm_of(v);
    struct vmcb *vmcb = svm->vmcb;
    uint32_t opcode;
    if (svm->quick != QUICK_CODE)
        return false;
    switch (vmcb->control.exit_code) {
    case VMEXIT_CPUID:
        opcode = OPCODE_CPUID;
        break;
    case VMEXIT_MSR:
        opcode = is_wrmsr(vmcb) ? OPCODE_WRMSR : OPCODE_RDMSR;
        break;
    case VMEXIT_VMMCALL:
        opcode = OPCODE_GROUP_7;
        break;
    default:
        return false;
    }
    const uint64_t rip = decoded_rip(v, svm, opcode);
    return plain(vmcb, rip) && answer(v, vmcb, rip);
}

bool svm_quick(struct vcpu *v)
{
    const struct svm_vcpu *svm = svm_of(v);
    if (unlikely(svm->quick != QUICK_NEXT_RIP))
        return answer_by_code(v);
    struct vmcb *vmcb = svm->vmcb;
    if (!plain(vmcb, vmcb->control.next_rip))
        return false;
    if (likely(vmcb->control.exit_code == VMEXIT_CPUID)) {
        const struct cpuid_regs *regs = quick_cpuid(v, (uint32_t)vmcb->save.rax, &vmcb->save.cr4);
        __asm__(""
                : "+m"(vmcb->control.next_rip)); /* read again, not kept in a register till here */
        if (likely(regs))
            return answer_cpuid(v, vmcb, regs, vmcb->control.next_rip);
    }
    return answer(v, vmcb, vmcb->control.next_rip);
}
