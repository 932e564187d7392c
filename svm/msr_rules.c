/* SPDX-License-Identifier: BSD-2-Clause */
/* The MSRs that AMD's CPUs have besides the common ones (APM vol. 2 appendix A). */
#include "kernel/msr.h"
#include "svm/svm.h"

#define AMD MSR_GROUP_AMD

static const struct msr_rule rules[] = {
    MSR_RULE(0xc0010010, 0xc0010010, AMD, MSR_READ_HOST, "SYSCFG: the host's, but for SME"),
    MSR_RULE(0xc0010015, 0xc0010015, AMD, MSR_READ_HOST, "HWCR: the core's setup is the host's"),
    MSR_RULE(0xc001001a, 0xc001001a, AMD, MSR_READ_HOST, "TOP_MEM: memory's layout"),
    MSR_RULE(0xc001001d, 0xc001001d, AMD, MSR_READ_HOST, "TOP_MEM2: memory's layout"),
    MSR_RULE(0xc0010020, 0xc0010020, AMD, MSR_CONSTANT, "patch loader: microcode stays"),
    MSR_RULE(0xc001011f, 0xc001011f, MSR_GROUP_VIRT_SPEC_CTRL, MSR_VIEW_RULE, "mitigations"),
    MSR_RULE(0xc0010140, 0xc0010141, MSR_GROUP_OSVW, MSR_READ_HOST, "known errata; Bochs has none"),
    MSR_RULE(0xc0011029, 0xc0011029, AMD, MSR_READ_HOST, "DE_CFG: is LFENCE serializing?"),
};

const struct msr_rule *svm_msr_rules(size_t *count)
{
    *count = sizeof(rules) / sizeof(rules[0]);
    return rules;
}
