/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The policy against the manuals' tables of CPUID (SDM vol. 2A, APM vol. 3 appendix E): each bit of
 * each leaf up to today's CPUs is a feature's, a number's, or reserved, and never two of them.
 */
#include "tests/unit/cpuid_data.h"
#include "tests/unit/unit.h"

#include <string.h>

#define ALL     0xffffffffU
#define BIT(n)  (1U << (n))
#define DEFINED (FEATURE_DYNAMIC + 1)

/* What the manuals reserve in a leaf that they define. */
static const struct {
    uint32_t leaf, subleaf;
    struct cpuid_regs mask;
} reserved[] = {
    {0x1, 0, {.ecx = BIT(16), .edx = BIT(10) | BIT(20)}},
    {0x5, 0, {.eax = 0xffff0000, .ebx = 0xffff0000, .ecx = 0xfffffff4}},
    {0x6, 0, {.eax = 0xfe201008, .ebx = 0xfffffff0, .ecx = 0xffff00f6, .edx = 0x0000f000}},
    {0x7, 0, {.ecx = 0x04008000, .edx = 0x002210c1}},
    {0x7, 1, {.eax = 0x3301e200, .ebx = 0xfffffff4, .ecx = 0xffffffdc, .edx = 0xfe511acf}},
    {0x7, 2, {.eax = ALL, .ebx = ALL, .ecx = ALL, .edx = 0xffffff00}},
    {0xa, 0, {.ebx = 0xffffe000, .edx = 0xffff6000}},
    {0xd, 1, {.eax = 0xffffffe0}},
    {0xf, 0, {.eax = ALL, .ecx = ALL, .edx = ~2U}},
    {0xf, 1, {.eax = 0xfffff800, .edx = 0xfffffff8}},
    {0x10, 0, {.eax = ALL, .ebx = ~0x2eU, .ecx = ALL, .edx = ALL}},
    {0x10, 1, {.eax = 0xffffffe0, .ecx = ~0xeU, .edx = 0xffff0000}},
    {0x10, 2, {.eax = 0xffffffe0, .ecx = ~0xcU, .edx = 0xffff0000}},
    {0x10, 3, {.eax = 0xfffff000, .ebx = ALL, .ecx = ~5U, .edx = 0xffff0000}},
    {0x10, 5, {.eax = 0xfffff000, .ebx = ALL, .ecx = ~8U, .edx = 0xffff0000}},
    {0x12, 0, {.eax = 0xfffff31c, .ebx = ~3U, .ecx = ALL, .edx = 0xffff0000}},
    {0x12, 1, {.eax = 0xfffffb09}},
    {0x14, 0, {.ebx = 0xfffffc00, .ecx = 0x7ffffff0, .edx = ALL}},
    {0x14, 1, {.eax = 0x0000f8f8, .ecx = 0xffff7ffc, .edx = ALL}},
    {0x19, 0, {.eax = 0xfffffff8, .ebx = 0xffffffea, .ecx = 0xfffffffc, .edx = ALL}},
    {0x1c, 0, {.eax = 0x3fffff00, .ebx = ~7U, .ecx = 0xfff0fff8, .edx = ALL}},
    {0x1e, 0, {.ebx = 0xff000000, .ecx = ALL, .edx = ALL}},
    {0x1e, 1, {.eax = 0xfffffe00, .ebx = ALL, .ecx = ALL, .edx = ALL}},
    {0x20, 0, {.ebx = ~1U, .ecx = ALL, .edx = ALL}},
    {0x23, 0, {.ebx = ~7U, .ecx = 0xffffff00, .edx = ALL}},
    {0x23, 3, {.eax = 0xffffe000, .ebx = ALL, .ecx = ALL, .edx = ALL}},
    {0x24, 0, {.ebx = 0xfff8ff00, .ecx = ALL, .edx = ALL}},
    {0x24, 1, {.eax = ALL, .ebx = ALL, .ecx = 0xfffffffb, .edx = ALL}},
    {0x40000001, 0, {.ebx = ALL, .ecx = ALL, .edx = ALL}},
    {0x80000001,
     0,
     {.ecx = BIT(14) | BIT(18) | BIT(20) | BIT(25) | BIT(31),
      .edx = BIT(10) | BIT(18) | BIT(21) | BIT(28)}},
    {0x80000007, 0, {.ebx = 0xffffffe0, .edx = 0xffff0000}},
    {0x80000008, 0, {.eax = 0xff000000, .ebx = 0x00400ca0, .ecx = 0xfffc0f00}},
    {0x8000000a, 0, {.eax = 0xffffff00, .ecx = ~BIT(6), .edx = 0x00404a00}},
    {0x8000001a, 0, {.ebx = ALL, .ecx = ALL, .edx = ALL}},
    {0x80000020, 0, {.eax = ALL, .ebx = ~0x7eU, .ecx = ALL, .edx = ALL}},
    {0x80000020, 3, {.eax = ALL, .ebx = 0xffffff00, .ecx = ~0x7fU, .edx = ALL}},
    {0x80000020, 5, {.eax = 0xfffffe00, .ebx = 0xffff0000, .ecx = ~1U, .edx = ALL}},
    {0x80000021,
     0,
     {.eax = BIT(4) | BIT(12) | BIT(23) | BIT(25) | BIT(26),
      .ebx = 0xff000000,
      .ecx = 0xfffffff9,
      .edx = ALL}},
    {0x80000022, 0, {.eax = ~7U, .ebx = 0xffc00000, .edx = ALL}},
    {0x80000025, 0, {.eax = 0xfffff000, .ebx = 0xfffff800, .ecx = ALL, .edx = ALL}},
};

static const uint32_t reserved_leaves[] = {
    0x3, 0x8, 0xc, 0xe, 0x11, 0x13, 0x22, 0x80000009, 0x80000024,
};

static bool is_reserved_leaf(uint32_t leaf)
{
    for (size_t i = 0; i < sizeof(reserved_leaves) / sizeof(reserved_leaves[0]); i++)
        if (reserved_leaves[i] == leaf)
            return true;
    return leaf > 0x8000000a && leaf < 0x80000019;
}

/* Adds bits that must not have been named before. */
static void name_bits(struct cpuid_regs *named, const struct cpuid_regs *bits)
{
    for (unsigned int reg = CPUID_EAX; reg <= CPUID_EDX; reg++) {
        struct cpuid_regs more = *bits;
        uint32_t *to = cpuid_register(named, reg), *from = cpuid_register(&more, reg);
        CHECK_EQ(*to & *from, 0);
        *to |= *from;
    }
}

/* All data lines of a subleaf, whatever they say of it; how many they are. */
static unsigned int name_data(struct cpuid_regs *named, uint32_t leaf, uint32_t subleaf)
{
    unsigned int lines = 0;
    for (size_t i = 0; i < policy_data_count; i++)
        if (policy_data[i].leaf == leaf && policy_data[i].subleaf == subleaf) {
            name_bits(named, &policy_data[i].mask);
            lines++;
        }
    return lines;
}

static unsigned int name_features(struct cpuid_regs *named, uint32_t leaf, uint32_t subleaf)
{
    unsigned int lines = 0;
    for (size_t i = 0; i < policy_feature_count; i++) {
        const struct policy_feature *f = &policy_features[i];
        struct cpuid_regs bit = {.eax = 0};
        if (f->leaf != leaf || f->subleaf != subleaf)
            continue;
        *cpuid_register(&bit, f->reg) = 1U << f->bit;
        name_bits(named, &bit);
        lines++;
    }
    return lines;
}

/* True if something of the subleaf is named; then all of it must be. */
static bool check_subleaf(uint32_t leaf, uint32_t subleaf)
{
    struct cpuid_regs named = {.eax = 0};
    unsigned int lines = name_features(&named, leaf, subleaf);
    unsigned int data = name_data(&named, leaf, subleaf);
    if (data == 0 && lines == 0)
        data = name_data(&named, leaf, MODEL_SUBLEAF_REST);
    if (lines + data == 0)
        return false;
    for (size_t i = 0; i < sizeof(reserved) / sizeof(reserved[0]); i++)
        if (reserved[i].leaf == leaf && reserved[i].subleaf == subleaf)
            name_bits(&named, &reserved[i].mask);
    if ((named.eax & named.ebx & named.ecx & named.edx) != ALL)
        printf("#   leaf 0x%x 0x%x: 0x%08x 0x%08x 0x%08x 0x%08x have no line\n", leaf, subleaf,
               ~named.eax, ~named.ebx, ~named.ecx, ~named.edx);
    CHECK_EQ(named.eax & named.ebx & named.ecx & named.edx, ALL);
    return true;
}

static void each_bit_has_one_line(void)
{
    static const struct {
        uint32_t first, last;
    } ranges[] = {{0, 0x24}, {0x40000000, 0x40000001}, {0x80000000, 0x80000026}};
    for (size_t i = 0; i < 3; i++)
        for (uint32_t leaf = ranges[i].first; leaf <= ranges[i].last; leaf++) {
            CHECK_EQ(check_subleaf(leaf, 0), !is_reserved_leaf(leaf));
            for (uint32_t subleaf = 1; subleaf < 64; subleaf++)
                (void)check_subleaf(leaf, subleaf);
        }
}

/* A line must have a reason, and a leaf that was looked at above. */
static void no_line_is_elsewhere(void)
{
    for (size_t i = 0; i < policy_data_count; i++) {
        const struct policy_data *d = &policy_data[i];
        uint32_t last = d->leaf >> 30 == 0 ? 0x24 : d->leaf >> 30 == 1 ? 1 : 0x26;
        CHECK((d->leaf & 0x3fffffff) <= last && d->leaf >> 30 != 3);
        CHECK(!is_reserved_leaf(d->leaf));
        CHECK(d->subleaf < 64 || d->subleaf == MODEL_SUBLEAF_REST);
        CHECK(d->reason && strlen(d->reason) > 4 && d->disposition < DEFINED);
    }
    for (size_t i = 0; i < policy_feature_count; i++) {
        const struct policy_feature *f = &policy_features[i];
        CHECK((f->leaf & 0x3fffffff) <= 0x26 && (f->leaf >> 30 == 0 || f->leaf >> 30 == 2));
        CHECK(!is_reserved_leaf(f->leaf));
        CHECK(f->reason && strlen(f->reason) > 4 && f->disposition < DEFINED);
    }
}

/* Leaves of the ranges that are not a model's have no place in one. */
static void centaur_and_transmeta_are_absent(void)
{
    CHECK(!model_has_place(0xc0000000));
    CHECK(!model_has_place(0xc0000001));
    CHECK(!model_has_place(0x80860000));
    CHECK(model_has_place(0x80000026) && model_has_place(0x24) && model_has_place(0x40000001));
}

int main(void)
{
    RUN(each_bit_has_one_line);
    RUN(no_line_is_elsewhere);
    RUN(centaur_and_transmeta_are_absent);
    return unit_end();
}
