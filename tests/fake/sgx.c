/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * SGX in each model, for a test image alone: no emulator has it, and Latch offers it to nobody. With it
 * comes TSX, of which no emulator has the MSR: QEMU takes a write to it, as to any. And machine checks
 * on SVM: no emulator lets one exit. The linker puts these in the places of spec_apply(), rdmsr_safe()
 * and svm_exit() there (tests/tests.mk); in Latch itself is no switch.
 */
#include "tests/fake/sgx.h"
#include "cpuid/policy.h"
#include "kernel/x86.h"
#include "svm/internal.h"
#include "tests/fake/spec_apply.h"
#include <string.h>

#define LEAF_SGX     0x12U
#define SGX_EAX_SGX1 1U

#define MSR_ARCH_CAPABILITIES 0x10aU
#define ARCH_TSX_CTRL         (1UL << 7)

int __wrap_spec_apply(const char *spec, struct model *m, const struct model *host,
                      const struct enforceable *can, char *message, size_t size)
{
    static const char *const names[] = {"sgx", "hle", "rtm", "arch_capabilities"};
    const struct cpuid_regs sgx = {.eax = SGX_EAX_SGX1, .ebx = 0x36, .edx = 0x241f};
    struct cpuid_regs first;
    int error = __real_spec_apply(spec, m, host, can, message, size);
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]) && error == 0; i++)
        error = policy_set(m, policy_find(names[i], strlen(names[i])), true);
    if (error == 0)
        error = model_set(m, LEAF_SGX, 0, &sgx);
    first = model_get(m, 0, 0);
    if (error == 0 && first.eax < LEAF_SGX) {
        first.eax = LEAF_SGX;
        error = model_set(m, 0, 0, &first);
    }
    return error;
}

int __real_rdmsr_safe(uint32_t msr, uint64_t *value);
int __wrap_rdmsr_safe(uint32_t msr, uint64_t *value);

int __wrap_rdmsr_safe(uint32_t msr, uint64_t *value)
{
    int error = __real_rdmsr_safe(msr, value);
    if (msr == MSR_ARCH_CAPABILITIES && error == 0)
        *value |= ARCH_TSX_CTRL;
    return error;
}

bool __real_svm_exit(struct vcpu *v);
bool __wrap_svm_exit(struct vcpu *v);

/* An access to an MSR that is none becomes the exit of a machine check, if that would exit. */
bool __wrap_svm_exit(struct vcpu *v)
{
    struct vmcb_control *control = &svm_of(v)->vmcb->control;
    if (control->exit_code == VMEXIT_MSR && (uint32_t)v->regs.rcx == FAKE_MSR_MACHINE_CHECK &&
        (control->intercepts[INTERCEPT_EXCEPTIONS] >> VECTOR_MC & 1U)) {
        control->exit_code = VMEXIT_MACHINE_CHECK;
        control->exit_info_1 = 0;
        control->exit_info_2 = 0;
    }
    return __real_svm_exit(v);
}
