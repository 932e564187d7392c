/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * For a test image alone: states of Bochs' Tiger Lake of which its CPUID does not tell the size, so that
 * Latch hides what hangs on them. PKRU; and CET's, which IA32_XSS turns on, and which no model of Latch
 * has: here each has them, and no more of CET. The linker puts these in the places of model_capture(),
 * spec_apply() and rules_derive() there (tests/tests.mk); the registers are the emulator's own.
 */
#include "cpuid/capture.h"
#include "cpuid/rules.h"
#include "tests/fake/spec_apply.h"

#define LEAF_XSTATE     0xdU
#define STATE_PKRU      9U
#define STATE_CET_U     11U
#define STATE_CET_S     12U
#define SUPERVISOR      1U /* ECX */
#define PKRU_BYTES      8U
#define PKRU_OFFSET     0xa80U
#define CET_USER_BYTES  16U
#define CET_OTHER_BYTES 24U

static int set_state(struct model *m, uint32_t state, uint32_t size, uint32_t offset,
                     uint32_t flags)
{
    const struct cpuid_regs regs = {.eax = size, .ebx = offset, .ecx = flags};
    return model_set(m, LEAF_XSTATE, state, &regs);
}

int __real_model_capture(struct model *m, cpuid_fn *fn, void *ctx);
int __wrap_model_capture(struct model *m, cpuid_fn *fn, void *ctx);

int __wrap_model_capture(struct model *m, cpuid_fn *fn, void *ctx)
{
    int error = __real_model_capture(m, fn, ctx);
    return error != 0 ? error : set_state(m, STATE_PKRU, PKRU_BYTES, PKRU_OFFSET, 0);
}

int __wrap_spec_apply(const char *spec, struct model *m, const struct model *host,
                      const struct enforceable *can, char *message, size_t size)
{
    int error = __real_spec_apply(spec, m, host, can, message, size);
    struct cpuid_regs compact = model_get(m, LEAF_XSTATE, 1);
    compact.ecx |= 1U << STATE_CET_U | 1U << STATE_CET_S;
    if (error == 0)
        error = model_set(m, LEAF_XSTATE, 1, &compact);
    if (error == 0)
        error = set_state(m, STATE_CET_U, CET_USER_BYTES, 0, SUPERVISOR);
    return error != 0 ? error : set_state(m, STATE_CET_S, CET_OTHER_BYTES, 0, SUPERVISOR);
}

void __real_rules_derive(struct cpu_rules *rules, const struct model *m);
void __wrap_rules_derive(struct cpu_rules *rules, const struct model *m);

void __wrap_rules_derive(struct cpu_rules *rules, const struct model *m)
{
    __real_rules_derive(rules, m);
    rules->xss_allowed = model_get(m, LEAF_XSTATE, 1).ecx;
}
