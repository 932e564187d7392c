/* SPDX-License-Identifier: BSD-2-Clause */
#include "kernel/speculation.h"
#include <stddef.h>
#include <stdio.h>

/* CPUID.7.0 (SDM vol. 2, CPUID). */
#define EBX_RTM               (1U << 11)
#define EDX_MD_CLEAR          (1U << 10)
#define EDX_L1D_FLUSH         (1U << 28)
#define EDX_ARCH_CAPABILITIES (1U << 29)

/* IA32_ARCH_CAPABILITIES (SDM vol. 4, 10AH). */
#define CAP_RDCL_NO      (1UL << 0)
#define CAP_SKIP_L1DFL   (1UL << 3)
#define CAP_MDS_NO       (1UL << 5)
#define CAP_TAA_NO       (1UL << 8)
#define CAP_SBDR_SSDP_NO (1UL << 13)
#define CAP_FBSDP_NO     (1UL << 14)
#define CAP_PSDP_NO      (1UL << 15)
#define CAP_FB_CLEAR     (1UL << 17)
#define CAP_RFDS_NO      (1UL << 27)
#define CAP_RFDS_CLEAR   (1UL << 28)
#define CAP_MMIO_NO      (CAP_SBDR_SSDP_NO | CAP_FBSDP_NO | CAP_PSDP_NO)

/* CPUID.80000008H:EBX and 80000021H (APM vol. 3 §E.4). */
#define AMD_EBX_IBPB        (1U << 12)
#define AMD_EAX2_VERW_CLEAR (1U << 5)
#define AMD_EAX2_SRSO_NO    (1U << 29)
#define AMD_ECX2_TSA_SQ_NO  (1U << 1)
#define AMD_ECX2_TSA_L1_NO  (1U << 2)

/* Families whose branch predictor mistakes other instructions for branches: 15H to 18H do it
 * themselves, 19H by speculative return stack overflow, which newer ones say they have not. */
#define FAMILY_CONFUSED_FIRST 0x15U
#define FAMILY_CONFUSED_LAST  0x18U
#define FAMILY_SRSO           0x19U

/* A CPU without ARCH_CAPABILITIES is older than all the bits that clear it. */
static uint32_t intel_measures(const struct speculation_facts *f)
{
    const uint64_t caps = f->features_edx & EDX_ARCH_CAPABILITIES ? f->arch_capabilities : 0;
    bool sampled = !(caps & CAP_MDS_NO) || ((f->features_ebx & EBX_RTM) && !(caps & CAP_TAA_NO));
    bool verw = ((f->features_edx & EDX_MD_CLEAR) && sampled) ||
                ((caps & CAP_FB_CLEAR) && (caps & CAP_MMIO_NO) != CAP_MMIO_NO) ||
                ((caps & CAP_RFDS_CLEAR) && !(caps & CAP_RFDS_NO));
    bool l1d = (f->features_edx & EDX_L1D_FLUSH) && !(caps & (CAP_RDCL_NO | CAP_SKIP_L1DFL));
    return (l1d ? MEASURE_L1D_FLUSH : 0U) | (verw ? MEASURE_VERW : 0U);
}

static uint32_t amd_measures(const struct speculation_facts *f)
{
    const uint32_t tsa_no = AMD_ECX2_TSA_SQ_NO | AMD_ECX2_TSA_L1_NO;
    bool confused = f->family >= FAMILY_CONFUSED_FIRST && f->family <= FAMILY_CONFUSED_LAST;
    bool srso = f->family == FAMILY_SRSO && !(f->amd_eax2 & AMD_EAX2_SRSO_NO);
    bool ibpb = (f->amd_ebx & AMD_EBX_IBPB) && (confused || srso);
    bool verw = (f->amd_eax2 & AMD_EAX2_VERW_CLEAR) && (f->amd_ecx2 & tsa_no) != tsa_no;
    return (ibpb ? MEASURE_IBPB : 0U) | (verw ? MEASURE_VERW : 0U);
}

uint32_t speculation_measures(const struct speculation_facts *facts)
{
    if (facts->intel)
        return intel_measures(facts);
    return facts->amd ? amd_measures(facts) : 0;
}

void speculation_describe(uint32_t measures, char *text, unsigned int size)
{
    static const struct {
        enum measure measure;
        const char *words;
    } all[] = {
        {MEASURE_L1D_FLUSH, "L1D flush at entry (L1TF)"},
        {MEASURE_VERW, "VERW at entry (MDS, TAA, MMIO, RFDS or TSA)"},
        {MEASURE_IBPB, "IBPB at exit (branch type confusion or SRSO)"},
    };
    unsigned int used = 0;
    text[0] = '\0';
    for (size_t i = 0; i < sizeof(all) / sizeof(all[0]) && used < size; i++) {
        if (measures & all[i].measure)
            used += (unsigned int)snprintf(text + used, size - used, "%s%s", used ? ", " : "",
                                           all[i].words);
    }
    if (measures == 0)
        snprintf(text, size, "nothing is flushed at entry or exit: this CPU asks for nothing");
}
