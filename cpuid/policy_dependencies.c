/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Which features need which others, as data. What a vendor's manual only advises is not here: by
 * them XSAVES stands without XSAVEC, AVX-512 without AVX2, and SYSCALL without long mode. INVPCID
 * without PCID runs on PCID 0 alone, but no CPU is made so, and system software takes it for a
 * mistake.
 */
#include "cpuid/policy.h"
#include "cpuid/rules.h"

#include <string.h>

#define XCR0_BEYOND_SSE (~3U)

/* clang-format off */
const struct policy_dependency policy_dependencies[] = {
    {"fpu", "mmx fxsr", "it uses the x87 registers"},
    {"mmx", "mmxext 3dnow", "it uses the MMX registers"},
    {"3dnow", "3dnowext", "it extends it"},
    {"fxsr", "sse xsave fxsr_opt", "its state begins with FXSAVE's"},
    {"sse", "sse2 avx misalignsse", "it extends it"},
    {"sse2", "pni aes pclmulqdq sha_ni gfni", "it extends it"},
    {"pni", "ssse3 sse4a", "it extends it"},
    {"ssse3", "sse4_1", "it extends it"},
    {"sse4_1", "sse4_2", "it extends it"},
    {"xsave", "avx xsaveopt xsavec xgetbv1 xsaves xfd pku amx_tile apx_f",
     "XCR0 and XSAVE hold its state"},
    {"xsaves", "shstk enqcmd uintr", "XSAVES holds its state"},
    {"avx", "fma f16c avx2 vaes vpclmulqdq xop fma4 avx_vnni avx_ifma avx_vnni_int8 "
     "avx_ne_convert avx_vnni_int16 sha512 sm3 sm4 avx512f avx10 avx10_vnni_int", "it uses the AVX state"},
    {"avx512f", "avx512dq avx512ifma avx512pf avx512er avx512cd avx512bw avx512vl avx512vbmi "
     "avx512_vbmi2 avx512_vnni avx512_bitalg avx512_vpopcntdq avx512_4vnniw avx512_4fmaps "
     "avx512_vp2intersect avx512_fp16 avx512_bf16", "it uses the AVX-512 state"},
    {"avx10", "avx10_vnni_int", "it extends it"},
    {"aes", "vaes", "it widens it"},
    {"pclmulqdq", "vpclmulqdq", "it widens it"},
    {"pcid", "invpcid", "it invalidates by PCID"},
    {"amx_tile", "xfd amx_bf16 amx_int8 amx_fp16 amx_complex amx_fp8 amx_transpose amx_tf32 "
     "amx_avx512 amx_movrs", "it is about the tiles"},
    {"amx_int8", "amx_int8_alias", "it says the same"},
    {"amx_bf16", "amx_bf16_alias", "it says the same"},
    {"amx_complex", "amx_complex_alias", "it says the same"},
    {"amx_fp16", "amx_fp16_alias", "it says the same"},
    {"pae", "nx lm", "it needs 64-bit paging entries"},
    {"pse", "pse36", "it extends 4 MiB pages"},
    {"lm", "la57 pdpe1gb pcid pku pks lahf_lm fsgsbase cmpccxadd apx_f", "it works in long mode only"},
    {"msr", "mtrr pat sep mca x2apic tsc_adjust tsc_deadline_timer syscall nx lm arch_capabilities",
     "it is used through MSRs"},
    {"mce", "mca", "it reports machine checks"},
    {"apic", "x2apic tsc_deadline_timer arat extapic", "it is a part of the local APIC"},
    {"tsc", "rdtscp tsc_adjust tsc_deadline_timer constant_tsc waitpkg", "it uses the TSC"},
    {"rdtscp", "rdpid", "where RDPID runs, RDTSCP runs too: one control is for both"},
    {"cx8", "cx16", "it extends it"},
    {"rtm", "tsxldtrk", "it works in transactions"},
    {"ibrs", "ibrs_always_on ibrs_preferred ibrs_same_mode", "it says how to use it"},
    {"stibp", "stibp_always_on", "it says how to use it"},
    {"ibpb", "ibpb_ret ibpb_brtype sbpb", "it says what the barrier does"},
};
/* clang-format on */

const size_t policy_dependency_count = sizeof(policy_dependencies) / sizeof(policy_dependencies[0]);

/* The next name of a list, or NULL at its end; advances the list. */
static const struct policy_feature *next_feature(const char **list)
{
    const char *name = *list + strspn(*list, " ");
    size_t length = strcspn(name, " ");

    *list = name + length;
    return length ? policy_find(name, length) : NULL;
}

bool policy_find_broken(const struct model *m, const struct model *host,
                        struct policy_broken *broken)
{
    for (size_t i = 0; i < policy_dependency_count; i++) {
        const struct policy_dependency *d = &policy_dependencies[i];
        const struct policy_feature *needs = policy_find(d->needs, strlen(d->needs));
        const char *list = d->features;
        const struct policy_feature *f;
        if (policy_has(m, needs))
            continue;
        while ((f = next_feature(&list)) != NULL) {
            bool host_breaks = policy_has(host, f) && !policy_has(host, needs);
            if (!policy_has(m, f) || host_breaks)
                continue;
            *broken = (struct policy_broken){.feature = f, .needs = needs, .reason = d->reason};
            return true;
        }
    }
    return false;
}

static bool is_listed(const char *list, const struct policy_feature *wanted)
{
    const struct policy_feature *f;

    while ((f = next_feature(&list)) != NULL)
        if (f == wanted)
            return true;
    return false;
}

/* Without the state that it uses an instruction faults, as XCR0 cannot enable that; without XSAVE
 * its kin fault, as CR4.OSXSAVE is 0. */
static bool faults_without_state(const struct model *m, const struct policy_feature *wanted)
{
    for (size_t i = 0; i < policy_dependency_count; i++) {
        const struct policy_dependency *d = &policy_dependencies[i];
        const struct policy_feature *needs = policy_find(d->needs, strlen(d->needs));
        bool enables = needs->xcr0 & XCR0_BEYOND_SSE || needs->cr4 & CPU_CR4_OSXSAVE;
        if (!is_listed(d->features, wanted) || policy_has(m, needs))
            continue;
        if (enables || faults_without_state(m, needs))
            return true;
    }
    return false;
}

void policy_unenforced(const struct model *m, const struct model *cpu, struct policy_set *found)
{
    *found = (struct policy_set){.word = {0}};
    for (size_t i = 0; i < policy_feature_count; i++) {
        const struct policy_feature *f = &policy_features[i];
        if (f->runs && policy_has(cpu, f) && !policy_has(m, f) && !faults_without_state(m, f))
            policy_set_add(found, i);
    }
}
