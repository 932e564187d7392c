/* SPDX-License-Identifier: BSD-2-Clause */
/* Which flushes a CPU needs at entry and exit, by what it says of itself. */
#include "kernel/speculation.h"
#include "tests/unit/unit.h"

#include <string.h>

#define ALL_NO   ((1UL << 0) | (1UL << 5) | (1UL << 8) | (7UL << 13) | (1UL << 27))
#define HAS_CAPS (1U << 29)
#define FLUSHES  ((1U << 10) | (1U << 28)) /* MD_CLEAR, L1D_FLUSH */
#define RTM      (1U << 11)

static const struct {
    const char *what;
    struct speculation_facts facts;
    uint32_t measures;
} cpus[] = {
    {"an emulator's Skylake without new microcode", {.intel = true, .family = 6}, 0},
    {"Skylake with it",
     {.intel = true, .family = 6, .features_edx = FLUSHES},
     MEASURE_L1D_FLUSH | MEASURE_VERW},
    {"one that claims bits that it has no MSR for",
     {.intel = true, .features_edx = FLUSHES, .arch_capabilities = ALL_NO},
     MEASURE_L1D_FLUSH | MEASURE_VERW},
    {"Cascade Lake: TAA is left, if it has TSX",
     {.intel = true,
      .features_ebx = RTM,
      .features_edx = HAS_CAPS | FLUSHES,
      .arch_capabilities = ALL_NO & ~(1UL << 8)},
     MEASURE_VERW},
    {"the same with TSX off",
     {.intel = true, .features_edx = HAS_CAPS | FLUSHES, .arch_capabilities = ALL_NO & ~(1UL << 8)},
     0},
    {"Ice Lake: MMIO is left",
     {.intel = true,
      .features_edx = HAS_CAPS | FLUSHES,
      .arch_capabilities = (ALL_NO & ~(1UL << 14)) | 1UL << 17},
     MEASURE_VERW},
    {"Gracemont: RFDS is left",
     {.intel = true,
      .features_edx = HAS_CAPS | FLUSHES,
      .arch_capabilities = (ALL_NO & ~(1UL << 27)) | 1UL << 28},
     MEASURE_VERW},
    {"one that need not flush because a hypervisor below does",
     {.intel = true,
      .features_edx = HAS_CAPS | FLUSHES,
      .arch_capabilities = (ALL_NO & ~1UL) | 1UL << 3},
     0},
    {"a new one",
     {.intel = true, .features_edx = HAS_CAPS | FLUSHES, .arch_capabilities = ALL_NO},
     0},
    {"Zen 2", {.amd = true, .family = 0x17, .amd_ebx = 1U << 12}, MEASURE_IBPB},
    {"Zen 2 in an emulator without IBPB", {.amd = true, .family = 0x17}, 0},
    {"Zen 3",
     {.amd = true, .family = 0x19, .amd_ebx = 1U << 12, .amd_eax2 = 1U << 5},
     MEASURE_IBPB | MEASURE_VERW},
    {"Zen 5",
     {.amd = true,
      .family = 0x1a,
      .amd_ebx = 1U << 12,
      .amd_eax2 = 1U << 29 | 1U << 5,
      .amd_ecx2 = 6},
     0},
    {"another vendor's", {.family = 6, .features_edx = FLUSHES, .amd_ebx = 1U << 12}, 0},
};

static void each_cpu_gets_what_it_needs(void)
{
    for (size_t i = 0; i < sizeof(cpus) / sizeof(cpus[0]); i++) {
        uint32_t measures = speculation_measures(&cpus[i].facts);
        if (measures != cpus[i].measures)
            printf("# %s: %x\n", cpus[i].what, measures);
        CHECK_EQ(measures, cpus[i].measures);
    }
}

static void each_measure_is_told_with_its_reason(void)
{
    char text[200];
    speculation_describe(MEASURE_VERW | MEASURE_IBPB, text, sizeof(text));
    CHECK(strstr(text, "VERW at entry (") && strstr(text, ", IBPB at exit (") &&
          !strstr(text, "L1D"));
    speculation_describe(0, text, sizeof(text));
    CHECK(strstr(text, "nothing"));
    speculation_describe(7, text, 20);
    CHECK(strlen(text) < 20);
}

int main(void)
{
    RUN(each_cpu_gets_what_it_needs);
    RUN(each_measure_is_told_with_its_reason);
    return unit_end();
}
