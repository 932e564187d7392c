/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Exits that are answered before R8 to R15 and RBP are stored: see kernel/quick.h. kernel.mk has R8
 * to R11 preserved here. Each VMREAD and VMWRITE may be an exit to a hypervisor below.
 */
#include "kernel/quick.h"
#include "vmx/controls.h"
#include "vmx/reason.h"
#include "vmx/vcpu.h"
#include "vmx/vmcs.h"

#define likely(x)   __builtin_expect(!!(x), 1)
#define unlikely(x) __builtin_expect(!!(x), 0)

/* Of fields that every CPU has: an exit leaves the VMCS current, so neither can fail. */
static inline uint64_t read(uint64_t encoding)
{
    uint64_t value;
    __asm__ volatile("vmread %1, %0" : "=r"(value) : "r"(encoding) : "cc");
    return value;
}

static inline void write(uint64_t encoding, uint64_t value)
{
    __asm__ volatile("vmwrite %0, %1" : : "r"(value), "r"(encoding) : "cc", "memory");
}

/*
 * The interrupt shadow ends with the instruction. Only Latch blocks NMIs, by delivering one, so
 * while none was the whole field is 0: the exits here come neither in SMM nor in an enclave.
 */
static inline void end_shadow(struct vmx_vcpu *vmx)
{
    uint64_t blocked = 0;
    if (unlikely(!vmx->nmis_open)) {
        blocked = read(VMCS_GUEST_INTERRUPTIBILITY.encoding) &
                  ~(uint64_t)(BLOCKED_BY_STI | BLOCKED_BY_MOV_SS);
        vmx->nmis_open = blocked == 0;
    }
    write(VMCS_GUEST_INTERRUPTIBILITY.encoding, blocked);
}

/* Go on behind the instruction, unless EIP begins anew or the instruction is stepped over. RFLAGS.RF
 * is saved as 0 by the exits here (SDM vol. 3 §28.3.3). */
static inline bool go_on(struct vmx_vcpu *vmx)
{
    uint64_t length = read(VMCS_EXIT_INSTRUCTION_LENGTH.encoding);
    uint64_t next = read(VMCS_GUEST_RIP.encoding) + length;
    if (unlikely(quick_wrapped(next)) ||
        unlikely(read(VMCS_GUEST_RFLAGS.encoding) & (RFLAGS_TF | RFLAGS_RF)))
        return false;
    write(VMCS_GUEST_RIP.encoding, next);
    end_shadow(vmx);
    return true;
}

static inline bool answer_cpuid(struct vcpu *v, struct vmx_vcpu *vmx, const struct cpuid_regs *regs)
{
    if (unlikely(!go_on(vmx)))
        return false;
    v->exits[EXIT_CPUID]++;
    v->regs.rax = regs->eax;
    v->regs.rbx = regs->ebx;
    v->regs.rcx = regs->ecx;
    v->regs.rdx = regs->edx;
    return true;
}

__attribute__((noinline)) static bool cpuid_late(struct vcpu *v, struct vmx_vcpu *vmx)
{
    const struct cpuid_regs *regs = quick_cpuid_late(v, (uint32_t)v->regs.rax);
    return regs && answer_cpuid(v, vmx, regs);
}

static inline bool cpuid(struct vcpu *v, struct vmx_vcpu *vmx)
{
    const struct cpuid_regs *regs = quick_cpuid(v, (uint32_t)v->regs.rax, NULL);
    if (unlikely(!regs))
        return cpuid_late(v, vmx);
    return answer_cpuid(v, vmx, regs);
}

static inline bool rdmsr_constant(struct vcpu *v, struct vmx_vcpu *vmx)
{
    const uint64_t *value = quick_msr(v, (uint32_t)v->regs.rcx);
    if (!value || !go_on(vmx))
        return false;
    v->exits[EXIT_RDMSR]++;
    v->regs.rax = (uint32_t)*value;
    v->regs.rdx = *value >> 32;
    return true;
}

static inline bool wrmsr_constant(struct vcpu *v, struct vmx_vcpu *vmx)
{
    if (!quick_msr(v, (uint32_t)v->regs.rcx) || !go_on(vmx))
        return false;
    v->exits[EXIT_WRMSR]++;
    return true;
}

static inline bool in_64_bit_mode(void)
{
    return (read(VMCS_GUEST_CS_ACCESS.encoding) & ACCESS_L) &&
           (read(VMCS_ENTRY_CONTROLS.encoding) & VMENTRY_IA32E_GUEST);
}

static inline bool vmcall(struct vcpu *v, struct vmx_vcpu *vmx)
{
    uint64_t result;
    if ((read(VMCS_GUEST_SS_ACCESS.encoding) & ACCESS_DPL) || !in_64_bit_mode() ||
        !quick_hypercall(v, v->regs.rax, &result) || !go_on(vmx))
        return false;
    v->exits[EXIT_HYPERCALL]++;
    v->regs.rax = result;
    return true;
}

bool vmx_quick(struct vcpu *v)
{
    struct vmx_vcpu *vmx = vmx_of(v);
    uint64_t reason = read(VMCS_EXIT_REASON.encoding);
    if (likely(reason == REASON_CPUID))
        return cpuid(v, vmx);
    if (reason == REASON_RDMSR)
        return rdmsr_constant(v, vmx);
    if (reason == REASON_WRMSR)
        return wrmsr_constant(v, vmx);
    if (reason == REASON_VMCALL)
        return vmcall(v, vmx);
    return false;
}
