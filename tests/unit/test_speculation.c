/* SPDX-License-Identifier: BSD-2-Clause */
/* Which flushes a CPU needs at entry and exit, by what it says of itself. */
#include "kernel/speculation.h"
#include "tests/unit/unit.h"

#include <string.h>

#define ALL_NO   ((1UL << 0) | (1UL << 5) | (1UL << 8) | (7UL << 13) | (1UL << 27))
#define HAS_CAPS (1U << 29)
#define FLUSHES  ((1U << 10) | (1U << 28)) /* MD_CLEAR, L1D_FLUSH */
#define RTM      (1U << 11)
#define IBPB     (1U << 12)
#define BRTYPE   (1U << 28)

static const struct {
    const char *what;
    struct speculation_facts facts;
    uint32_t measures, unmet;
} cpus[] = {
    {"Skylake without new microcode",
     {.intel = true, .family = 6},
     0,
     WEAKNESS_L1TF | WEAKNESS_MDS},
    {"Skylake with it",
     {.intel = true, .family = 6, .features_edx = FLUSHES},
     MEASURE_L1D_FLUSH | MEASURE_VERW,
     0},
    {"one that claims bits that it has no MSR for",
     {.intel = true, .features_edx = FLUSHES, .arch_capabilities = ALL_NO},
     MEASURE_L1D_FLUSH | MEASURE_VERW,
     0},
    {"Cascade Lake: TAA is left, if it has TSX",
     {.intel = true,
      .features_ebx = RTM,
      .features_edx = HAS_CAPS | FLUSHES,
      .arch_capabilities = ALL_NO & ~(1UL << 8)},
     MEASURE_VERW,
     0},
    {"the same with TSX off",
     {.intel = true, .features_edx = HAS_CAPS | FLUSHES, .arch_capabilities = ALL_NO & ~(1UL << 8)},
     0,
     0},
    {"Ice Lake: MMIO is left",
     {.intel = true,
      .features_edx = HAS_CAPS | FLUSHES,
      .arch_capabilities = (ALL_NO & ~(1UL << 14)) | 1UL << 17},
     MEASURE_VERW,
     0},
    {"Gracemont: RFDS is left",
     {.intel = true,
      .features_edx = HAS_CAPS | FLUSHES,
      .arch_capabilities = (ALL_NO & ~(1UL << 27)) | 1UL << 28},
     MEASURE_VERW,
     0},
    {"one that need not flush because a hypervisor below does",
     {.intel = true,
      .features_edx = HAS_CAPS | FLUSHES,
      .arch_capabilities = (ALL_NO & ~1UL) | 1UL << 3},
     0,
     0},
    {"a new one",
     {.intel = true, .features_edx = HAS_CAPS | FLUSHES, .arch_capabilities = ALL_NO},
     0,
     0},
    {"Zen 2", {.amd = true, .family = 0x17, .amd_ebx = IBPB}, MEASURE_IBPB, 0},
    {"Zen 2 with old microcode", {.amd = true, .family = 0x17}, 0, WEAKNESS_CONFUSION},
    {"Zen 3",
     {.amd = true, .family = 0x19, .amd_ebx = IBPB, .amd_eax2 = BRTYPE | 1U << 5},
     MEASURE_IBPB | MEASURE_VERW,
     0},
    {"Zen 3 whose IBPB keeps the types of branches",
     {.amd = true, .family = 0x19, .amd_ebx = IBPB, .amd_eax2 = 1U << 5},
     MEASURE_VERW,
     WEAKNESS_SRSO},
    {"Zen 5",
     {.amd = true, .family = 0x1a, .amd_ebx = IBPB, .amd_eax2 = 1U << 29 | 1U << 5, .amd_ecx2 = 6},
     0,
     0},
    {"another vendor's", {.family = 6, .features_edx = FLUSHES, .amd_ebx = IBPB}, 0, 0},
};

static void each_cpu_gets_what_it_needs(void)
{
    for (size_t i = 0; i < sizeof(cpus) / sizeof(cpus[0]); i++) {
        const struct speculation_facts *facts = &cpus[i].facts;
        uint32_t unmet;
        uint32_t measures = speculation_measures(facts, speculation_weaknesses(facts), &unmet);
        if (measures != cpus[i].measures || unmet != cpus[i].unmet)
            printf("# %s: %x, unmet %x\n", cpus[i].what, measures, unmet);
        CHECK_EQ(measures, cpus[i].measures);
        CHECK_EQ(unmet, cpus[i].unmet);
        CHECK_EQ(measures & ~speculation_possible(facts), 0);
    }
}

/* mitigations=all writes no MSR that the CPU lacks. */
static void all_is_what_there_is(void)
{
    const struct speculation_facts none = {.intel = true}, foreign = {.features_edx = UINT32_MAX};
    const struct speculation_facts skylake = {.intel = true, .features_edx = FLUSHES | 1U << 26};
    const struct speculation_facts zen = {.amd = true, .features_edx = FLUSHES, .amd_ebx = IBPB};
    CHECK_EQ(speculation_possible(&none), MEASURE_VERW);
    CHECK_EQ(speculation_possible(&foreign), MEASURE_VERW);
    CHECK_EQ(speculation_possible(&skylake), MEASURE_L1D_FLUSH | MEASURE_VERW | MEASURE_IBPB);
    CHECK_EQ(speculation_possible(&zen), MEASURE_VERW | MEASURE_IBPB);
}

static void each_measure_is_told_with_its_reason(void)
{
    char text[200];
    speculation_describe(MEASURE_VERW | MEASURE_IBPB, WEAKNESS_MDS | WEAKNESS_RFDS | WEAKNESS_SRSO,
                         text, sizeof(text));
    CHECK_EQ(strcmp(text, "VERW at entry for MDS, RFDS; IBPB at exit for SRSO"), 0);
    speculation_describe(MEASURE_VERW, 0, text, sizeof(text));
    CHECK_EQ(strcmp(text, "VERW at entry"), 0);
    speculation_describe_unmet(WEAKNESS_L1TF | WEAKNESS_SRSO, text, sizeof(text));
    CHECK_EQ(strcmp(text, "L1TF (needs L1D_FLUSH), SRSO (needs IBPB_BRTYPE)"), 0);
    speculation_describe(7, UINT32_MAX, text, 20);
    CHECK_EQ(strlen(text), 19);
}

int main(void)
{
    RUN(each_cpu_gets_what_it_needs);
    RUN(all_is_what_there_is);
    RUN(each_measure_is_told_with_its_reason);
    return unit_end();
}
