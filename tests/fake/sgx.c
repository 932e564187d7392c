/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * SGX in each model, for a test image alone: no emulator has it, and Latch offers it to nobody. The
 * linker puts this in the place of spec_apply() there (tests/tests.mk); in Latch itself is no switch.
 */
#include "cpuid/policy.h"
#include "cpuid/spec.h"

#define LEAF_SGX     0x12U
#define SGX_EAX_SGX1 1U

int __real_spec_apply(const char *spec, struct model *m, const struct model *host,
                      const struct enforceable *can, char *message, size_t size);
int __wrap_spec_apply(const char *spec, struct model *m, const struct model *host,
                      const struct enforceable *can, char *message, size_t size);

int __wrap_spec_apply(const char *spec, struct model *m, const struct model *host,
                      const struct enforceable *can, char *message, size_t size)
{
    const struct cpuid_regs sgx = {.eax = SGX_EAX_SGX1};
    struct cpuid_regs first;
    int error = __real_spec_apply(spec, m, host, can, message, size);
    if (error == 0)
        error = policy_set(m, policy_find("sgx", 3), true);
    if (error == 0)
        error = model_set(m, LEAF_SGX, 0, &sgx);
    first = model_get(m, 0, 0);
    if (error == 0 && first.eax < LEAF_SGX) {
        first.eax = LEAF_SGX;
        error = model_set(m, 0, 0, &first);
    }
    return error;
}
