/* SPDX-License-Identifier: BSD-2-Clause */
#include "tests/guest/model/sealed.h"
#include "tests/guest/lib/payload.h"

#define MSR_ARCH_CAPABILITIES 0x10aU
#define ARCH_TSX_CTRL         (1UL << 7)

const struct model *sealed_model(unsigned int vcpu, struct cpu_rules *rules)
{
    static struct model m;
    static struct hypercall_leaf row[MODEL_MAX_LEAVES];
    uint64_t facts;
    int64_t rows = latch_hypercall(HYPERCALL_MODEL_GET, vcpu, (uint64_t)row, MODEL_MAX_LEAVES, 0);
    if (rows <= 0)
        broken("MODEL_GET of vCPU %u returned %ld", vcpu, (long)rows);
    model_init(&m);
    for (int64_t i = 0; i < rows; i++) {
        const struct cpuid_regs regs = {
            .eax = row[i].eax, .ebx = row[i].ebx, .ecx = row[i].ecx, .edx = row[i].edx};
        if (model_set(&m, row[i].leaf, row[i].subleaf, &regs) != 0)
            broken("the model has no place for leaf 0x%x", row[i].leaf);
    }
    if (model_finish(&m) != 0)
        broken("the sealed model of vCPU %u cannot be finished", vcpu);
    rules_derive(rules, &m);
    if (rdmsr_safe(MSR_ARCH_CAPABILITIES, &facts) != 0 || !(facts & ARCH_TSX_CTRL))
        rules->msr_groups &= ~(1U << MSR_GROUP_TSX_CTRL);
    return &m;
}

struct cpuid_regs cpuid_here(uint32_t leaf, uint32_t subleaf)
{
    struct cpuid_regs r;
    cpuid_raw(leaf, subleaf, &r.eax, &r.ebx, &r.ecx, &r.edx);
    return r;
}
