/* SPDX-License-Identifier: BSD-2-Clause */
#include "kernel/speculation.h"
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>

/* CPUID.7.0 (SDM vol. 2, CPUID). */
#define EBX_RTM               (1U << 11)
#define EDX_MD_CLEAR          (1U << 10)
#define EDX_IBPB              (1U << 26)
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
#define AMD_EBX_IBPB         (1U << 12)
#define AMD_EAX2_VERW_CLEAR  (1U << 5)
#define AMD_EAX2_IBPB_BRTYPE (1U << 28)
#define AMD_EAX2_SRSO_NO     (1U << 29)
#define AMD_ECX2_TSA_SQ_NO   (1U << 1)
#define AMD_ECX2_TSA_L1_NO   (1U << 2)
#define AMD_ECX2_TSA_NO      (AMD_ECX2_TSA_SQ_NO | AMD_ECX2_TSA_L1_NO)

/* Families whose branch predictor mistakes other instructions for branches: 15H to 18H do it
 * themselves, 19H by speculative return stack overflow, which newer ones say they have not. */
#define FAMILY_CONFUSED_FIRST 0x15U
#define FAMILY_CONFUSED_LAST  0x18U
#define FAMILY_SRSO           0x19U

/* In the order in which they are told. */
static const struct {
    enum weakness weakness;
    enum measure measure;
    const char *name, *needs;
} weaknesses[] = {
    {WEAKNESS_L1TF, MEASURE_L1D_FLUSH, "L1TF", "L1D_FLUSH"},
    {WEAKNESS_MDS, MEASURE_VERW, "MDS", "MD_CLEAR"},
    {WEAKNESS_TAA, MEASURE_VERW, "TAA", "MD_CLEAR"},
    {WEAKNESS_MMIO, MEASURE_VERW, "MMIO stale data", "FB_CLEAR"},
    {WEAKNESS_RFDS, MEASURE_VERW, "RFDS", "RFDS_CLEAR"},
    {WEAKNESS_TSA, MEASURE_VERW, "TSA", "VERW_CLEAR"},
    {WEAKNESS_CONFUSION, MEASURE_IBPB, "branch type confusion", "IBPB"},
    {WEAKNESS_SRSO, MEASURE_IBPB, "SRSO", "IBPB_BRTYPE"},
};
#define WEAKNESSES (sizeof(weaknesses) / sizeof(weaknesses[0]))

static const struct {
    enum measure measure;
    const char *words;
} measures_told[] = {
    {MEASURE_L1D_FLUSH, "L1D flush at entry"},
    {MEASURE_VERW, "VERW at entry"},
    {MEASURE_IBPB, "IBPB at exit"},
};
#define MEASURES (sizeof(measures_told) / sizeof(measures_told[0]))

static uint64_t capabilities(const struct speculation_facts *f)
{
    return f->features_edx & EDX_ARCH_CAPABILITIES ? f->arch_capabilities : 0;
}

/* A CPU without ARCH_CAPABILITIES is older than all the bits that clear it. Stale data by MMIO and
 * RFDS is only where the CPU offers to clear it. */
static uint32_t intel_weaknesses(const struct speculation_facts *f)
{
    const uint64_t caps = capabilities(f);
    uint32_t found = 0;
    if (!(caps & (CAP_RDCL_NO | CAP_SKIP_L1DFL)))
        found |= WEAKNESS_L1TF;
    if (!(caps & CAP_MDS_NO))
        found |= WEAKNESS_MDS;
    if ((f->features_ebx & EBX_RTM) && !(caps & CAP_TAA_NO))
        found |= WEAKNESS_TAA;
    if ((caps & CAP_FB_CLEAR) && (caps & CAP_MMIO_NO) != CAP_MMIO_NO)
        found |= WEAKNESS_MMIO;
    if ((caps & CAP_RFDS_CLEAR) && !(caps & CAP_RFDS_NO))
        found |= WEAKNESS_RFDS;
    return found;
}

static uint32_t amd_weaknesses(const struct speculation_facts *f)
{
    uint32_t found = 0;
    if (f->family >= FAMILY_CONFUSED_FIRST && f->family <= FAMILY_CONFUSED_LAST)
        found |= WEAKNESS_CONFUSION;
    if (f->family == FAMILY_SRSO && !(f->amd_eax2 & AMD_EAX2_SRSO_NO))
        found |= WEAKNESS_SRSO;
    if ((f->amd_eax2 & AMD_EAX2_VERW_CLEAR) && (f->amd_ecx2 & AMD_ECX2_TSA_NO) != AMD_ECX2_TSA_NO)
        found |= WEAKNESS_TSA;
    return found;
}

uint32_t speculation_weaknesses(const struct speculation_facts *facts)
{
    if (facts->intel)
        return intel_weaknesses(facts);
    return facts->amd ? amd_weaknesses(facts) : 0;
}

/* Those against which the CPU has the measure in the form that helps. An IBPB drops the types of
 * branches too up to family 18H by itself, on 19H where the CPU says so. */
static uint32_t met(const struct speculation_facts *f)
{
    uint32_t found = 0;
    if (f->features_edx & EDX_L1D_FLUSH)
        found |= WEAKNESS_L1TF;
    if (f->features_edx & EDX_MD_CLEAR)
        found |= WEAKNESS_MDS | WEAKNESS_TAA;
    if (capabilities(f) & CAP_FB_CLEAR)
        found |= WEAKNESS_MMIO;
    if (capabilities(f) & CAP_RFDS_CLEAR)
        found |= WEAKNESS_RFDS;
    if (f->amd_eax2 & AMD_EAX2_VERW_CLEAR)
        found |= WEAKNESS_TSA;
    if (f->amd_ebx & AMD_EBX_IBPB)
        found |= WEAKNESS_CONFUSION;
    if ((f->amd_ebx & AMD_EBX_IBPB) && (f->amd_eax2 & AMD_EAX2_IBPB_BRTYPE))
        found |= WEAKNESS_SRSO;
    return found;
}

uint32_t speculation_measures(const struct speculation_facts *facts, uint32_t weak, uint32_t *unmet)
{
    const uint32_t helped = weak & met(facts);
    uint32_t measures = 0;
    for (size_t i = 0; i < WEAKNESSES; i++)
        if (helped & weaknesses[i].weakness)
            measures |= weaknesses[i].measure;
    *unmet = weak & ~helped;
    return measures;
}

uint32_t speculation_possible(const struct speculation_facts *facts)
{
    uint32_t measures = MEASURE_VERW;
    if (facts->intel && (facts->features_edx & EDX_L1D_FLUSH))
        measures |= MEASURE_L1D_FLUSH;
    if ((facts->intel && (facts->features_edx & EDX_IBPB)) ||
        (facts->amd && (facts->amd_ebx & AMD_EBX_IBPB)))
        measures |= MEASURE_IBPB;
    return measures;
}

/* A text of limited size that grows. */
struct text {
    char *at;
    unsigned int size, used;
};

__attribute__((format(printf, 2, 3))) static void add(struct text *t, const char *format, ...)
{
    va_list arguments;
    if (t->used >= t->size)
        return;
    va_start(arguments, format);
    t->used += (unsigned int)vsnprintf(t->at + t->used, t->size - t->used, format, arguments);
    va_end(arguments);
}

void speculation_describe(uint32_t measures, uint32_t weak, char *text, unsigned int size)
{
    struct text t = {.at = text, .size = size};
    add(&t, "%s", "");
    for (size_t m = 0; m < MEASURES; m++) {
        if (!(measures & measures_told[m].measure))
            continue;
        add(&t, "%s%s", t.used ? "; " : "", measures_told[m].words);
        const char *between = " for ";
        for (size_t i = 0; i < WEAKNESSES; i++) {
            if (weaknesses[i].measure != measures_told[m].measure ||
                !(weak & weaknesses[i].weakness))
                continue;
            add(&t, "%s%s", between, weaknesses[i].name);
            between = ", ";
        }
    }
}

void speculation_describe_unmet(uint32_t weak, char *text, unsigned int size)
{
    struct text t = {.at = text, .size = size};
    add(&t, "%s", "");
    for (size_t i = 0; i < WEAKNESSES; i++)
        if (weak & weaknesses[i].weakness)
            add(&t, "%s%s (needs %s)", t.used ? ", " : "", weaknesses[i].name, weaknesses[i].needs);
}
