/* SPDX-License-Identifier: BSD-2-Clause */
/* The MSRs that Intel's CPUs have besides the common ones (SDM vol. 4). */
#include "kernel/msr.h"
#include "vmx/vmx.h"

#define ANY MSR_ANY_GROUP

static const struct msr_rule rules[] = {
    MSR_RULE(0x017, 0x017, ANY, MSR_CONSTANT, "IA32_PLATFORM_ID: no microcode is loaded by it"),
    MSR_RULE(0x0e1, 0x0e1, MSR_GROUP_UMWAIT, MSR_PASS, "IA32_UMWAIT_CONTROL: the guest's own"),
    MSR_RULE(0x1a0, 0x1a0, ANY, MSR_READ_HOST, "IA32_MISC_ENABLE: the core's setup is the host's"),
    MSR_RULE(0x1c4, 0x1c5, MSR_GROUP_XFD, MSR_PASS, "IA32_XFD: Latch has no extended state"),
};

const struct msr_rule *vmx_msr_rules(size_t *count)
{
    *count = sizeof(rules) / sizeof(rules[0]);
    return rules;
}
