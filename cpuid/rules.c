/* SPDX-License-Identifier: BSD-2-Clause */
#include "cpuid/rules.h"
#include "cpuid/policy.h"

#define CR0_DEFINED 0xe005003fU /* PG CD NW AM WP NE ET TS EM MP PE: SDM vol. 3 §2.5 */

#define LEAF1_ECX_XSAVE   (1U << 26)
#define LEAF1_EDX_PAE     (1U << 6)
#define LEAF1_EDX_PAT     (1U << 16)
#define LEAF1_EDX_PSE36   (1U << 17)
#define LEAF7_ECX_LA57    (1U << 16)
#define EXT1_EDX_NX       (1U << 20)
#define EXT1_EDX_GBPAGES  (1U << 26)
#define EXT1_EDX_LM       (1U << 29)
#define EXT8_EBX_NO_LMSLE (1U << 20)
#define XSAVE1_EAX_XSAVES (1U << 3)

bool rules_has_leaf(const struct model *m, uint32_t leaf)
{
    uint32_t base = leaf & CPUID_EXTENDED;
    uint32_t last = model_get(m, base, 0).eax;
    bool absent = base != 0 && last - base > 0xffffU; /* what an absent range answers */

    return !absent && leaf <= last;
}

/* What an open table says beyond the highest leaf of a range, the finished one will not. */
static struct cpuid_regs leaf_in_range(const struct model *m, uint32_t leaf)
{
    return rules_has_leaf(m, leaf) ? model_get(m, leaf, 0) : (struct cpuid_regs){.eax = 0};
}

struct paging_props rules_paging(const struct model *m)
{
    struct cpuid_regs one = leaf_in_range(m, 1);
    struct cpuid_regs extended = leaf_in_range(m, 0x80000001U);
    struct cpuid_regs widths = leaf_in_range(m, 0x80000008U);
    struct cpuid_regs encryption = leaf_in_range(m, 0x8000001fU);
    bool has_widths = (widths.eax & 0xff) != 0;
    bool has_encryption = (encryption.eax & 3) != 0;
    /* SDM vol. 3 §4.1.4: without the leaf 36 bits if there is PAE, else 32. */
    uint8_t fallback = one.edx & LEAF1_EDX_PAE ? 36 : 32;
    uint8_t vendor = model_is_amd(m) ? PAGING_AMD : PAGING_INTEL;

    return (struct paging_props){
        .maxphyaddr = has_widths ? (uint8_t)widths.eax : fallback,
        .cbit = has_encryption ? encryption.ebx & 0x3f : 0,
        .reduction = has_encryption ? encryption.ebx >> 6 & 0x3f : 0,
        .vendor = m->paging_vendor < 0 ? vendor : (uint8_t)m->paging_vendor,
        .gbpages = extended.edx & EXT1_EDX_GBPAGES,
        .nx = extended.edx & EXT1_EDX_NX,
        .pse36 = one.edx & LEAF1_EDX_PSE36,
        .pat = one.edx & LEAF1_EDX_PAT,
        .la57 = leaf_in_range(m, 7).ecx & LEAF7_ECX_LA57,
    };
}

/* Segment limits in 64-bit mode are AMD's, from before the bit that says that they are gone (APM
 * vol. 2 §4.12.2). */
static uint32_t efer_of_before(const struct model *m)
{
    const bool long_mode = leaf_in_range(m, 0x80000001U).edx & EXT1_EDX_LM;
    const bool gone = leaf_in_range(m, 0x80000008U).ebx & EXT8_EBX_NO_LMSLE;

    return model_is_amd(m) && long_mode && !gone ? CPU_EFER_LMSLE : 0;
}

void rules_derive(struct cpu_rules *rules, const struct model *m)
{
    struct cpuid_regs user = model_get(m, 0xd, 0);
    struct cpuid_regs supervisor = model_get(m, 0xd, 1);

    /* CR4.PCE has no feature: RDPMC came before CPUID told of it. */
    *rules = (struct cpu_rules){
        .cr0_allowed = CR0_DEFINED,
        .cr4_allowed = CPU_CR4_PCE,
        .efer_allowed = efer_of_before(m),
        .paging = m->paging,
    };
    for (size_t i = 0; i < policy_feature_count; i++) {
        const struct policy_feature *f = &policy_features[i];
        if (f->disposition != FEATURE_PASSED || !policy_has(m, f))
            continue;
        rules->cr4_allowed |= f->cr4;
        rules->efer_allowed |= f->efer;
        rules->xcr0_allowed |= f->xcr0;
        rules->xss_allowed |= f->xss;
        rules->msr_groups |= f->msrs;
        rules->instructions |= f->instructions;
        rules->spec_ctrl |= f->spec_ctrl;
        rules->pred_cmd |= f->pred_cmd;
    }
    rules->msr_groups |= 1U << (model_is_amd(m) ? MSR_GROUP_AMD : MSR_GROUP_INTEL);
    bool xsave = model_get(m, 1, 0).ecx & LEAF1_ECX_XSAVE;
    rules->xcr0_allowed &= xsave ? (uint64_t)user.edx << 32 | user.eax : 0;
    bool xsaves = xsave && supervisor.eax & XSAVE1_EAX_XSAVES;
    rules->xss_allowed &= xsaves ? (uint64_t)supervisor.edx << 32 | supervisor.ecx : 0;
    if (!(rules->msr_groups & 1U << MSR_GROUP_ARCH_CAPABILITIES))
        rules->msr_groups &= ~(1U << MSR_GROUP_TSX_CTRL);
}

bool rules_xcr0_valid(const struct cpu_rules *rules, uint64_t xcr0)
{
    const uint64_t sse = 1 << 1;
    const uint64_t avx = 1 << 2;
    const uint64_t mpx = 3 << 3;
    const uint64_t avx512 = 7 << 5;
    const uint64_t amx = 3 << 17;

    if (!(xcr0 & 1) || xcr0 & ~rules->xcr0_allowed)
        return false;
    if (xcr0 & avx && !(xcr0 & sse))
        return false;
    if (xcr0 & avx512 && ((xcr0 & avx512) != avx512 || !(xcr0 & avx)))
        return false;
    if (xcr0 & mpx && (xcr0 & mpx) != mpx)
        return false;
    return !(xcr0 & amx) || (xcr0 & amx) == amx;
}
