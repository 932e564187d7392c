/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Exits that are answered while FS, GS, TR, LDTR and the MSRs with them are still the guest's: all
 * of them stay in the CPU from #VMEXIT to VMRUN. GIF is 0, so neither NMI nor INIT comes; see
 * kernel/quick.h for the rest. kernel.mk has R8 to R11 preserved here.
 */
#include "kernel/quick.h"
#include "svm/internal.h"

#define NEXT_RIP_WRAPPED 16U /* EIP has begun anew, and only outside 64-bit code is that a change */
#define MSR_IS_WRITE     1UL

#define OPCODE_CPUID   0xa20fU
#define OPCODE_RDMSR   0x320fU
#define OPCODE_WRMSR   0x300fU
#define OPCODE_GROUP_7 0x010fU
#define OPCODE_VMMCALL 0xd9U /* behind it */
#define OPCODE_MAX     3U

#define likely(x)   __builtin_expect(!!(x), 1)
#define unlikely(x) __builtin_expect(!!(x), 0)

static inline bool same_walk(const struct vcpu *v, const struct svm_vcpu *svm)
{
    const struct svm_code *code = &svm->code;
    const struct vmcb_save *save = &svm->vmcb->save;

    if (code->entries == 0 || save->rip >> PAGE_SHIFT != code->page || save->cpl != code->cpl ||
        svm_read_cr3(v) != code->cr3 || (save->cr0 ^ svm->differ.cr0) != code->cr0 ||
        (save->cr4 ^ svm->differ.cr4) != code->cr4 || (save->efer ^ svm->differ.efer) != code->efer)
        return false;
    for (unsigned int i = 0; i < code->entries; i++)
        if (*code->entry[i].at != code->entry[i].value)
            return false;
    return true;
}

/* The end of the instruction if it is the one without prefixes, else 0. */
static uint64_t decoded_rip(const struct vcpu *v, const struct svm_vcpu *svm, uint32_t opcode)
{
    const struct vmcb *vmcb = svm->vmcb;
    uint64_t rip = vmcb->save.rip, offset = rip & PAGE_OFFSET_MASK;

    if (!svm_in_64_bit_mode(vmcb) || offset > PAGE_SIZE - OPCODE_MAX || !same_walk(v, svm))
        return 0;
    const volatile uint8_t *bytes = svm->code.bytes + offset;
    if (bytes[0] != (opcode & 0xffU) || bytes[1] != opcode >> 8)
        return 0;
    if (opcode != OPCODE_GROUP_7)
        return rip + 2;
    return bytes[2] == OPCODE_VMMCALL ? rip + 3 : 0;
}

/* Where the instruction ends, or 0 if that is not known at once. */
static inline uint64_t next_rip(const struct vcpu *v, const struct svm_vcpu *svm, uint32_t opcode)
{
    if (likely(svm->quick == QUICK_NEXT_RIP))
        return svm->vmcb->control.next_rip;
    return svm->quick == QUICK_CODE ? decoded_rip(v, svm, opcode) : 0;
}

static inline bool go_on(struct vmcb *vmcb, uint64_t rip)
{
    vmcb->save.rip = rip;
    vmcb->control.interrupt_shadow = 0;
    return true;
}

/* Nothing but RIP and the interrupt shadow changes behind the instruction. */
static inline bool plain(const struct vmcb *vmcb, uint64_t rip)
{
    return likely((uint32_t)rip >= NEXT_RIP_WRAPPED) &&
           likely(!(vmcb->save.rflags & (RFLAGS_TF | RFLAGS_RF)));
}

static inline bool cpuid(struct vcpu *v, const struct svm_vcpu *svm)
{
    struct vmcb *vmcb = svm->vmcb;
    const struct cpuid_regs *regs = quick_cpuid(v, (uint32_t)vmcb->save.rax, &vmcb->save.cr4);
    if (unlikely(!regs))
        return false;
    uint64_t rip = next_rip(v, svm, OPCODE_CPUID);
    if (!plain(vmcb, rip))
        return false;
    v->exits[EXIT_CPUID]++;
    vmcb->save.rax = regs->eax;
    v->regs.rbx = regs->ebx;
    v->regs.rcx = regs->ecx;
    v->regs.rdx = regs->edx;
    return go_on(vmcb, rip);
}

static inline bool msr(struct vcpu *v, const struct svm_vcpu *svm)
{
    struct vmcb *vmcb = svm->vmcb;
    const uint64_t *value = quick_msr(v, (uint32_t)v->regs.rcx);
    if (!value)
        return false;
    bool write = vmcb->control.exit_info_1 & MSR_IS_WRITE;
    uint64_t rip = next_rip(v, svm, write ? OPCODE_WRMSR : OPCODE_RDMSR);
    if (!plain(vmcb, rip))
        return false;
    if (write) {
        v->exits[EXIT_WRMSR]++;
    } else {
        v->exits[EXIT_RDMSR]++;
        vmcb->save.rax = (uint32_t)*value;
        v->regs.rdx = *value >> 32;
    }
    return go_on(vmcb, rip);
}

static inline bool vmmcall(struct vcpu *v, const struct svm_vcpu *svm)
{
    struct vmcb *vmcb = svm->vmcb;
    uint64_t result;
    if (vmcb->save.cpl != 0 || !svm_in_64_bit_mode(vmcb) ||
        !quick_hypercall(v, vmcb->save.rax, &result))
        return false;
    uint64_t rip = next_rip(v, svm, OPCODE_GROUP_7);
    if (!plain(vmcb, rip))
        return false;
    v->exits[EXIT_HYPERCALL]++;
    vmcb->save.rax = result;
    return go_on(vmcb, rip);
}

bool svm_quick(struct vcpu *v)
{
    const struct svm_vcpu *svm = svm_of(v);
    uint64_t code = svm->vmcb->control.exit_code;

    if (likely(code == VMEXIT_CPUID))
        return cpuid(v, svm);
    if (code == VMEXIT_MSR)
        return msr(v, svm);
    return code == VMEXIT_VMMCALL && vmmcall(v, svm);
}
