/* SPDX-License-Identifier: BSD-2-Clause */
#include "cpuid/capture.h"
#include "cpuid/dynamic.h"
#include "cpuid/rules.h"
#include "tests/unit/cpuid_data.h"
#include "tests/unit/unit.h"

#include <errno.h>
#include <string.h>

/* A CPU as the manuals describe it, from the rows of a dump, by plain search. */
static const uint32_t ecx_matters[] = {0x4,  0x7,  0xb,  0xd,        0xf,        0x10,      0x12,
                                       0x14, 0x17, 0x18, 0x1b,       0x1d,       0x1e,      0x1f,
                                       0x20, 0x23, 0x24, 0x8000001d, 0x80000020, 0x80000026};

static struct cpuid_regs slow_in_range(const struct model *raw, uint32_t leaf, uint32_t subleaf)
{
    bool matters = false;
    for (size_t i = 0; i < sizeof(ecx_matters) / sizeof(ecx_matters[0]); i++)
        matters |= ecx_matters[i] == leaf;
    for (uint32_t i = 0; i < raw->count; i++)
        if (raw->leaves[i].leaf == leaf && (!matters || raw->leaves[i].subleaf == subleaf))
            return raw->leaves[i].regs;
    struct cpuid_regs zero = {.eax = 0};
    if ((leaf == 0xb || leaf == 0x1f || leaf == 0x80000026) && model_get(raw, leaf, 0).ebx) {
        zero.ecx = subleaf & 0xff;
        zero.edx = model_get(raw, leaf, 0).edx;
    }
    return zero;
}

static struct cpuid_regs slow_query(const struct model *raw, uint32_t leaf, uint32_t subleaf)
{
    static const uint32_t bases[] = {0, 0x40000000, 0x80000000};
    for (size_t i = 0; i < 3; i++) {
        uint32_t max = model_get(raw, bases[i], 0).eax;
        if (leaf >= bases[i] && leaf <= max && leaf - bases[i] < 0x40 && max - bases[i] < 0x10000)
            return slow_in_range(raw, leaf, subleaf);
    }
    if (model_get(raw, 0, 0).ecx == 0x444d4163)
        return (struct cpuid_regs){.eax = 0};
    return slow_in_range(raw, model_get(raw, 0, 0).eax, subleaf);
}

/* The registers that the dump was taken with, so that the overlay must give the dump again. */
static void dynamic_of(struct cpuid_dynamic *d, const struct model *raw, const struct model *m)
{
    cpuid_dynamic_reset(d, m, m->apic_id);
    if (model_get(raw, 1, 0).ecx >> 27 & 1)
        d->cr4 |= CPU_CR4_OSXSAVE;
    if (model_get(raw, 7, 0).ecx >> 4 & 1)
        d->cr4 |= CPU_CR4_PKE;
    d->xcr0 = model_get(raw, 0xd, 0).eax;
    if (model_get(raw, 0xd, 0).ebx == 0x988 && model_get(raw, 0xd, 1).ebx == 0x348)
        d->xcr0 = 0x207;
    d->xss = model_get(raw, 0xd, 1).ebx == 0x9a8 ? 0x1800 : 0;
    cpuid_dynamic_resize(d, m);
}

static unsigned long compare(const struct model *raw, const struct model *m, uint32_t base)
{
    struct cpuid_dynamic d;
    unsigned long wrong = 0;
    dynamic_of(&d, raw, m);
    for (uint32_t leaf = base; leaf <= base + 0x200; leaf++)
        for (uint32_t subleaf = 0; subleaf <= 64; subleaf++) {
            struct cpuid_regs found;
            struct cpuid_regs wanted = slow_query(raw, leaf, subleaf);
            model_query(m, &d, leaf, subleaf, &found);
            if (memcmp(&found, &wanted, sizeof(found)) == 0)
                continue;
            if (wrong++ < 3)
                printf("#   %x %x: %x %x %x %x, wanted %x %x %x %x\n", leaf, subleaf, found.eax,
                       found.ebx, found.ecx, found.edx, wanted.eax, wanted.ebx, wanted.ecx,
                       wanted.edx);
        }
    return wrong;
}

static void every_leaf_answers_as_the_dump_did(void)
{
    static const uint32_t bases[] = {0,          0x20000000, 0x3ffffff0, 0x40000000, 0x7fffff00,
                                     0x80000000, 0x80860000, 0xc0000000, 0xfffffd00};
    for (size_t i = 0; i < DUMPS; i++)
        for (unsigned int cpu = 0; cpu < 2; cpu++) {
            struct model raw, m;
            load_model(&raw, dumps[i], cpu);
            model_copy(&m, &raw);
            CHECK_EQ(model_finish(&m), 0);
            for (size_t k = 0; k < sizeof(bases) / sizeof(bases[0]); k++)
                CHECK_EQ(compare(&raw, &m, bases[k]), 0);
        }
}

static void far_subleaves_answer_too(void)
{
    struct model m;
    load_model(&m, "zen3", 0);
    CHECK_EQ(model_finish(&m), 0);
    for (uint32_t bit = 6; bit < 32; bit++) {
        CHECK_EQ(model_lookup(&m, 0xd, 1U << bit)->regs.eax, 0);
        CHECK_EQ(model_lookup(&m, 0xb, 1U << bit)->leaf, 0xb);
        CHECK_EQ(model_lookup(&m, 1, 1U << bit)->regs.eax, 0xa00f11);
    }
}

static void cpus_of_a_package_have_one_model(void)
{
    for (size_t i = 0; i < DUMPS; i++) {
        struct model a, b;
        load_model(&a, dumps[i], 0);
        load_model(&b, dumps[i], 1);
        CHECK(memcmp(&a, &b, sizeof(a)) != 0);
        CHECK_EQ(model_finish(&a), 0);
        CHECK_EQ(model_finish(&b), 0);
        CHECK(model_equal(&a, &b));
        CHECK_EQ(memcmp(a.leaves, b.leaves, sizeof(a.leaves)), 0);
        CHECK(a.apic_id != b.apic_id);
    }
}

/* The dump as a CPU to capture from. */
static void fake_cpuid(void *ctx, uint32_t leaf, uint32_t subleaf, struct cpuid_regs *regs)
{
    *regs = slow_query(ctx, leaf, subleaf);
}

static void a_captured_cpu_is_its_dump(void)
{
    for (size_t i = 0; i < DUMPS; i++) {
        struct model raw, captured;
        load_model(&raw, dumps[i], 0);
        CHECK_EQ(model_capture(&captured, fake_cpuid, &raw), 0);
        CHECK_EQ(model_finish(&captured), 0);
        CHECK_EQ(compare(&raw, &captured, 0), 0);
        CHECK_EQ(compare(&raw, &captured, 0x80000000), 0);
        CHECK_EQ(compare(&raw, &captured, 0x40000000), 0);
    }
}

static void endless_cpuid(void *ctx, uint32_t leaf, uint32_t subleaf, struct cpuid_regs *regs)
{
    (void)ctx;
    (void)subleaf;
    *regs = (struct cpuid_regs){.eax = leaf | 0x3f, .ebx = ~0U, .ecx = ~0U, .edx = ~0U};
}

static void a_cpu_without_end_is_refused(void)
{
    struct model m;
    CHECK_EQ(model_capture(&m, endless_cpuid, NULL), -E2BIG);
}

static void a_table_holds_what_it_says(void)
{
    struct model m;
    struct cpuid_regs r = {.eax = 1};
    uint32_t stored = 0;
    model_init(&m);
    CHECK_EQ(model_finish(&m), -EINVAL);
    CHECK_EQ(model_set(&m, 0x40, 0, &r), -ERANGE);
    CHECK_EQ(model_set(&m, 0xc0000000, 0, &r), -ERANGE);
    CHECK_EQ(model_set(&m, 0x40000040, 0, &r), -ERANGE);
    for (uint32_t i = 0; model_set(&m, 0x8000001d, 199 - i, &r) == 0; i++)
        stored++;
    CHECK_EQ(stored, MODEL_MAX_LEAVES - 1);
    CHECK_EQ(model_set(&m, 0, 0, &r), -E2BIG);
    for (uint32_t i = 1; i < m.count; i++)
        CHECK(m.leaves[i - 1].subleaf < m.leaves[i].subleaf);
    model_remove(&m, 0x8000001d, 199);
    CHECK_EQ(m.count, stored - 1);
    model_remove_leaf(&m, 0x8000001d);
    CHECK_EQ(m.count, 0);
}

static void a_finished_model_stays(void)
{
    struct model m;
    struct cpuid_regs r = {.eax = 0x40};
    load_model(&m, "zen3", 0);
    CHECK_EQ(model_set(&m, 0, 0, &r), 0);
    CHECK_EQ(model_finish(&m), -ERANGE);
    load_model(&m, "zen3", 0);
    CHECK_EQ(model_finish(&m), 0);
    CHECK_EQ(model_set(&m, 0, 0, &r), -EROFS);
    uint32_t count = m.count;
    model_remove_leaf(&m, 7);
    model_remove(&m, 1, 0);
    CHECK_EQ(m.count, count);
    CHECK_EQ(model_finish(&m), 0);
}

static void paging_follows_the_leaves(void)
{
    struct model m;
    load_model(&m, "zen3", 0);
    CHECK_EQ(model_finish(&m), 0);
    CHECK_EQ(m.paging.maxphyaddr, 48);
    CHECK_EQ(m.paging.cbit, 51);
    CHECK_EQ(m.paging.reduction, 5);
    CHECK_EQ(m.paging.vendor, PAGING_AMD);
    CHECK(m.paging.gbpages && m.paging.nx && m.paging.pse36 && m.paging.pat && !m.paging.la57);
    load_model(&m, "skylake-server", 0);
    model_remove_leaf(&m, 0x80000008);
    CHECK_EQ(rules_paging(&m).maxphyaddr, 36);
    CHECK_EQ(rules_paging(&m).vendor, PAGING_INTEL);
    m.paging_vendor = PAGING_AMD;
    CHECK_EQ(rules_paging(&m).vendor, PAGING_AMD);
}

int main(void)
{
    RUN(every_leaf_answers_as_the_dump_did);
    RUN(far_subleaves_answer_too);
    RUN(cpus_of_a_package_have_one_model);
    RUN(a_captured_cpu_is_its_dump);
    RUN(a_cpu_without_end_is_refused);
    RUN(a_table_holds_what_it_says);
    RUN(a_finished_model_stays);
    RUN(paging_follows_the_leaves);
    return unit_end();
}
