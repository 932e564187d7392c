/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The policy for what is a number and not a feature: counts, sizes, names. A register without a
 * line is hidden, save for the feature bits of policy_table.c.
 */
#include "cpuid/policy.h"

#define ALL 0xffffffffU
#define WHOLE                                                                                      \
    {                                                                                              \
        .eax = ALL, .ebx = ALL, .ecx = ALL, .edx = ALL                                             \
    }
#define EACH MODEL_SUBLEAF_REST

/* Bits of 80000001H:EDX that repeat those of 1:EDX (APM vol. 3 §E.4.2). */
#define REPEATED 0x0183f3ffU

#define D(leaf_, subleaf_, reason_, ...)                                                           \
    {                                                                                              \
        .leaf = (leaf_), .subleaf = (subleaf_), .reason = (reason_), .mask = __VA_ARGS__           \
    }

/* clang-format off */
const struct policy_data policy_data[] = {
    D(0x0, 0, "highest leaf and vendor", WHOLE),
    D(0x1, 0, "family, model, stepping; brand, line size, counts", {.eax = ALL, .ebx = ALL}),
    D(0x2, 0, "caches, as descriptors", WHOLE),
    D(0x4, EACH, "caches", WHOLE),
    D(0x5, 0, "monitor line and MWAIT hints; goes with the feature", WHOLE),
    D(0x7, 0, "highest subleaf", {.eax = ALL}),
    D(0x7, 0, "MAWAU", {.ecx = 0x003e0000}),
    D(0xb, EACH, "topology", WHOLE),
    D(0xd, 0, "user states and sizes; cut to the features", WHOLE),
    D(0xd, 1, "supervisor states and size; cut to the features",
      {.ebx = ALL, .ecx = ALL, .edx = ALL}),
    D(0xd, EACH, "size and offset of one state; goes with the feature", WHOLE),
    D(0x17, EACH, "name of a system on a chip", WHOLE),
    D(0x18, EACH, "translation caches", WHOLE),
    D(0x1a, 0, "kind of core, of a hybrid CPU", WHOLE),
    D(0x1d, EACH, "tile palettes", WHOLE),
    D(0x1e, EACH, "tile multiplier", WHOLE),
    D(0x1f, EACH, "topology", WHOLE),
    D(0x24, EACH, "version of AVX10", WHOLE),
    D(0x80000000, 0, "highest extended leaf and vendor", WHOLE),
    D(0x80000001, 0, "family, model, stepping; package", {.eax = ALL, .ebx = ALL, .edx = REPEATED}),
    D(0x80000002, 0, "brand", WHOLE),
    D(0x80000003, 0, "brand", WHOLE),
    D(0x80000004, 0, "brand", WHOLE),
    D(0x80000005, 0, "caches and TLBs of level 1", WHOLE),
    D(0x80000006, 0, "caches and TLBs of levels 2 and 3", WHOLE),
    /* EAX[23:16], the width for guests, is zero: there are no nested guests. */
    D(0x80000008, 0, "address widths and counts", {.eax = 0x0000ffff, .ecx = 0x0000f0ff}),
    D(0x80000019, 0, "TLBs for 1 GiB pages", WHOLE),
    D(0x8000001a, 0, "width of vector units", {.eax = ALL}),
    D(0x8000001d, EACH, "caches", WHOLE),
    D(0x8000001e, 0, "topology", WHOLE),
    D(0x80000021, 0, "microcode patch size", {.ebx = 0x0000ffff}),
    D(0x80000026, EACH, "topology", WHOLE),
};
/* clang-format on */

const size_t policy_data_count = sizeof(policy_data) / sizeof(policy_data[0]);
