/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The policy for what is a number and not a feature: counts, sizes, names, and what a hidden
 * feature's own leaves say. A register without a line is hidden, save for the feature bits of
 * policy_table.c.
 */
#include "cpuid/policy.h"

#define ALL 0xffffffffU
#define WHOLE                                                                                      \
    {                                                                                              \
        .eax = ALL, .ebx = ALL, .ecx = ALL, .edx = ALL                                             \
    }
#define EACH MODEL_SUBLEAF_REST

#define LINE(leaf_, subleaf_, disposition_, reason_, ...)                                          \
    {                                                                                              \
        .leaf = (leaf_), .subleaf = (subleaf_), .disposition = FEATURE_##disposition_,             \
        .reason = (reason_), .mask = __VA_ARGS__                                                   \
    }
#define D(leaf_, subleaf_, reason_, ...) LINE(leaf_, subleaf_, PASSED, reason_, __VA_ARGS__)
#define H(leaf_, subleaf_, reason_, ...) LINE(leaf_, subleaf_, HIDDEN, reason_, __VA_ARGS__)

#define OF_HIDDEN "says more of a feature that is hidden"
#define RATES     "clock rates, by which equal models would differ"

/* clang-format off */
const struct policy_data policy_data[] = {
    D(0x0, 0, "highest leaf and vendor", WHOLE),
    D(0x1, 0, "family, model, stepping; brand, line size, counts", {.eax = ALL, .ebx = ALL}),
    D(0x2, 0, "caches, as descriptors", WHOLE),
    D(0x4, EACH, "caches", WHOLE),
    D(0x5, 0, "monitor line and MWAIT hints; goes with the feature",
      {.eax = 0x0000ffff, .ebx = 0x0000ffff, .ecx = 0x00000003, .edx = ALL}),
    H(0x5, 0, "MWAIT without MONITOR is hidden", {.ecx = 0x00000008}),
    H(0x6, 0, OF_HIDDEN, {.ebx = 0x0000000f, .ecx = 0x0000ff00, .edx = 0xffff0fff}),
    D(0x7, 0, "highest subleaf", {.eax = ALL}),
    D(0x7, 0, "MAWAU", {.ecx = 0x003e0000}),
    H(0x9, 0, OF_HIDDEN, WHOLE),
    H(0xa, 0, OF_HIDDEN, {.eax = ALL, .ecx = ALL, .edx = 0x00001fff}),
    D(0xb, EACH, "topology", WHOLE),
    D(0xd, 0, "user states and sizes; cut to the features", WHOLE),
    D(0xd, 1, "supervisor states and size; cut to the features",
      {.ebx = ALL, .ecx = ALL, .edx = ALL}),
    D(0xd, EACH, "size and offset of one state; goes with the feature", WHOLE),
    H(0xf, 0, OF_HIDDEN, {.ebx = ALL}),
    H(0xf, 1, OF_HIDDEN, {.eax = 0x000000ff, .ebx = ALL, .ecx = ALL}),
    H(0xf, EACH, OF_HIDDEN, WHOLE),
    H(0x10, 1, OF_HIDDEN, {.eax = 0x0000001f, .ebx = ALL, .edx = 0x0000ffff}),
    H(0x10, 2, OF_HIDDEN, {.eax = 0x0000001f, .ebx = ALL, .edx = 0x0000ffff}),
    H(0x10, 3, OF_HIDDEN, {.eax = 0x00000fff, .edx = 0x0000ffff}),
    H(0x10, 5, OF_HIDDEN, {.eax = 0x00000fff, .edx = 0x0000ffff}),
    H(0x10, EACH, OF_HIDDEN, WHOLE),
    H(0x12, 0, OF_HIDDEN, {.edx = 0x0000ffff}),
    H(0x12, 1, OF_HIDDEN, {.ebx = ALL, .ecx = ALL, .edx = ALL}),
    H(0x12, EACH, "a section of enclave memory", WHOLE),
    H(0x14, 0, OF_HIDDEN, {.eax = ALL}),
    H(0x14, 1, OF_HIDDEN, {.eax = 0xffff0707, .ebx = ALL}),
    H(0x14, EACH, OF_HIDDEN, WHOLE),
    H(0x15, 0, RATES, WHOLE),
    H(0x16, 0, RATES, WHOLE),
    D(0x17, EACH, "name of a system on a chip", WHOLE),
    D(0x18, EACH, "translation caches", WHOLE),
    D(0x1a, 0, "kind of core, of a hybrid CPU", WHOLE),
    H(0x1b, EACH, "a list of targets of PCONFIG, which is hidden", WHOLE),
    H(0x1c, 0, OF_HIDDEN, {.eax = 0x000000ff, .ecx = 0x000f0000}),
    D(0x1d, EACH, "tile palettes", WHOLE),
    D(0x1e, 0, "tile multiplier", {.eax = ALL, .ebx = 0x00ffffff}),
    D(0x1f, EACH, "topology", WHOLE),
    H(0x20, 0, OF_HIDDEN, {.eax = ALL}),
    H(0x21, 0, "names a trust domain, which the guest is not", WHOLE),
    H(0x23, 0, OF_HIDDEN, {.eax = ALL, .ecx = 0x000000ff}),
    H(0x23, EACH, "bitmaps of counters", WHOLE),
    D(0x24, 0, "highest subleaf, version and lengths of AVX10", {.eax = ALL, .ebx = 0x000700ff}),
    LINE(0x40000000, 0, EMULATED, "Latch's signature", WHOLE),
    LINE(0x40000001, 0, EMULATED, "version of Latch's hypercalls", {.eax = ALL}),
    D(0x80000000, 0, "highest extended leaf and vendor", WHOLE),
    D(0x80000001, 0, "family, model, stepping; package",
      {.eax = ALL, .ebx = ALL, .edx = POLICY_REPEATED}),
    D(0x80000002, 0, "brand", WHOLE),
    D(0x80000003, 0, "brand", WHOLE),
    D(0x80000004, 0, "brand", WHOLE),
    D(0x80000005, 0, "caches and TLBs of level 1", WHOLE),
    D(0x80000006, 0, "caches and TLBs of levels 2 and 3", WHOLE),
    H(0x80000007, 0, "power and heat are the platform's", {.eax = ALL, .ecx = ALL}),
    /* EAX[23:16], the width for guests, is zero: there are no nested guests. */
    D(0x80000008, 0, "address widths and counts", {.eax = 0x0000ffff, .ecx = 0x0000f0ff}),
    H(0x80000008, 0, OF_HIDDEN, {.eax = 0x00ff0000, .ecx = 0x00030000, .edx = ALL}),
    LINE(0x8000000a, 0, HOST_ONLY, "nested guests are not offered", {.eax = 0x000000ff, .ebx = ALL}),
    D(0x80000019, 0, "TLBs for 1 GiB pages", WHOLE),
    D(0x8000001a, 0, "width of vector units", {.eax = ALL}),
    H(0x8000001b, 0, OF_HIDDEN, WHOLE),
    H(0x8000001c, 0, OF_HIDDEN, WHOLE),
    D(0x8000001d, EACH, "caches", WHOLE),
    D(0x8000001e, 0, "topology", WHOLE),
    H(0x8000001f, 0, "memory keys are not partitioned; cbit= and addr-reduction= set their own",
      {.ebx = ALL, .ecx = ALL, .edx = ALL}),
    H(0x80000020, 3, OF_HIDDEN, {.ebx = 0x000000ff}),
    H(0x80000020, 5, OF_HIDDEN, {.eax = 0x000000ff, .ebx = 0x0000ffff}),
    H(0x80000020, EACH, OF_HIDDEN, WHOLE),
    D(0x80000021, 0, "microcode patch size", {.ebx = 0x0000ffff}),
    H(0x80000021, 0, OF_HIDDEN, {.ebx = 0x00ff0000}),
    H(0x80000022, 0, OF_HIDDEN, {.ebx = 0x003fffff, .ecx = ALL}),
    H(0x80000023, 0, "memory keys are not partitioned", WHOLE),
    H(0x80000025, 0, OF_HIDDEN, {.eax = 0x00000fff, .ebx = 0x000003ff}),
    D(0x80000026, EACH, "topology", WHOLE),
};
/* clang-format on */

const size_t policy_data_count = sizeof(policy_data) / sizeof(policy_data[0]);
