/* SPDX-License-Identifier: BSD-2-Clause */
/* Finishing a model: its canonical form, and the index that answers in constant time. */
#include "cpuid/dynamic.h"
#include "cpuid/model.h"
#include "cpuid/rules.h"

#include <errno.h>
#include <string.h>

#define LEAF1_ECX_OSXSAVE (1U << 27)
#define LEAF7_ECX_OSPKE   (1U << 4)
#define EXT1_ECX_TOPOEXT  (1U << 22)

/* Which leaves there are. */
struct ranges {
    uint32_t leaves[4]; /* how many leaves the range has, from its first */
};

static int find_ranges(const struct model *m, struct ranges *r)
{
    static const uint32_t base[3] = {CPUID_BASIC, CPUID_HYPERVISOR, CPUID_EXTENDED};

    *r = (struct ranges){.leaves = {0}};
    if (!model_find_const(m, 0, 0))
        return -EINVAL;
    for (unsigned int i = 0; i < 3; i++) {
        uint32_t last = model_get(m, base[i], 0).eax;
        if (i != 0 && (last < base[i] || last - base[i] > 0xffffU))
            continue; /* what an absent range answers is no maximum */
        if (last - base[i] >= MODEL_RANGE_LEAVES)
            return -ERANGE;
        r->leaves[i] = last - base[i] + 1;
    }
    return 0;
}

static bool is_level_leaf(uint32_t leaf)
{
    return leaf == 0xb || leaf == 0x1f || leaf == 0x80000026U;
}

/* Leaves whose answer depends on ECX even when only their subleaf 0 answers. */
static bool has_subleaves(uint32_t leaf)
{
    static const uint32_t leaves[] = {
        0x4,  0x7,  0xb,  0xd,  0xf,  0x10, 0x12, 0x14,        0x17,        0x18,
        0x1b, 0x1d, 0x1e, 0x1f, 0x20, 0x23, 0x24, 0x8000001dU, 0x80000020U, 0x80000026U,
    };
    for (size_t i = 0; i < sizeof(leaves) / sizeof(leaves[0]); i++)
        if (leaves[i] == leaf)
            return true;
    return false;
}

/* The APIC id and its kin are the vCPU's; a package has many, its model is one. */
static void keep_ids(struct model *m)
{
    static const uint32_t levels[] = {0x1f, 0xb};

    struct cpuid_regs ext = model_get(m, 0x8000001eU, 0);
    m->core_id = ext.ebx & 0xff;
    m->node_id = ext.ecx & 0xff;
    for (size_t i = 0; i < sizeof(levels) / sizeof(levels[0]); i++) {
        struct cpuid_regs r = model_get(m, levels[i], 0);
        if (r.ebx & 0xffff) {
            m->apic_id = r.edx;
            return;
        }
    }
    m->apic_id = ext.eax ? ext.eax : model_get(m, 1, 0).ebx >> 24;
}

static void blank_dynamic(struct cpuid_leaf *row)
{
    struct cpuid_regs *r = &row->regs;

    row->dynamic = 0;
    row->reserved = 0;
    if (row->leaf == 1) {
        r->ecx &= ~LEAF1_ECX_OSXSAVE;
        r->ebx &= 0x00ffffffU;
    } else if (row->leaf == 7 && row->subleaf == 0) {
        r->ecx &= ~LEAF7_ECX_OSPKE;
    } else if (row->leaf == 0xd && row->subleaf <= 1) {
        r->ebx = 0;
    } else if (is_level_leaf(row->leaf)) {
        r->edx = 0;
        r->ecx &= ~0xffU;
    } else if (row->leaf == 0x8000001eU) {
        r->eax = 0;
        r->ebx &= ~0xffU;
        r->ecx &= ~0xffU;
    }
}

static bool row_says_something(const struct cpuid_leaf *row)
{
    const struct cpuid_regs *r = &row->regs;

    if (is_level_leaf(row->leaf))
        return (r->ebx & 0xffff) != 0;
    return row->leaf == 0 || (r->eax | r->ebx | r->ecx | r->edx) != 0;
}

static bool row_in_range(const struct cpuid_leaf *row, const struct ranges *r)
{
    return (row->leaf & 0x3fffffffU) < r->leaves[row->leaf >> 30];
}

static void canonical_rows(struct model *m, const struct ranges *ranges)
{
    uint32_t kept = 0;
    for (uint32_t i = 0; i < m->count; i++) {
        struct cpuid_leaf row = m->leaves[i];
        blank_dynamic(&row);
        if (!row_in_range(&row, ranges) || row.subleaf == MODEL_SUBLEAF_REST ||
            !row_says_something(&row))
            continue;
        m->leaves[kept++] = row;
    }
    m->count = kept;
    memset(&m->leaves[kept], 0, (MODEL_MAX_LEAVES - kept) * sizeof(m->leaves[0]));
}

/*
 * Rows that answer with dynamic bits alone must stand, though what is left of them is zeros; so must
 * those of which the guest may have turned off all there was.
 */
static int add_dynamic_rows(struct model *m, const struct ranges *ranges)
{
    static const uint32_t levels[] = {0xb, 0x1f, 0x80000026U};
    static const uint32_t clearable[] = {0x1, 0x7, 0x12, 0x80000001U};
    const struct cpuid_regs zeros = {.eax = 0};

    for (size_t i = 0; i < sizeof(clearable) / sizeof(clearable[0]); i++) {
        const struct cpuid_leaf row = {.leaf = clearable[i]};
        bool there = model_find_const(m, row.leaf, 0) || !row_in_range(&row, ranges);
        int error = there ? 0 : model_set(m, row.leaf, 0, &zeros);
        if (error)
            return error;
    }
    for (size_t i = 0; i < sizeof(levels) / sizeof(levels[0]); i++) {
        if (!model_find_const(m, levels[i], 0))
            continue;
        int error = model_set(m, levels[i], MODEL_SUBLEAF_REST, &zeros);
        if (error)
            return error;
    }
    bool topoext = ranges->leaves[2] > 0x1e && model_get(m, 0x80000001U, 0).ecx & EXT1_ECX_TOPOEXT;
    if (!topoext)
        model_remove_leaf(m, 0x8000001eU);
    else if (!model_find_const(m, 0x8000001eU, 0))
        return model_set(m, 0x8000001eU, 0, &zeros);
    return 0;
}

/* Enters the rows first..end-1 of one leaf; returns the places used in `sub`, or -E2BIG. */
static int index_leaf(struct model *m, uint32_t first, uint32_t end, uint32_t used)
{
    const struct cpuid_leaf *row = &m->leaves[first];
    uint32_t leaf = row->leaf;
    bool rest = m->leaves[end - 1].subleaf == MODEL_SUBLEAF_REST;
    uint32_t beyond = rest ? end - 1 : m->count;
    uint32_t last_row = rest ? end - 2 : end - 1;
    uint32_t last = m->leaves[last_row].subleaf;
    struct model_slot *slot = &m->slots[model_slot_index(leaf)];

    if (!has_subleaves(leaf) && last == 0) {
        *slot = (struct model_slot){.first = (uint16_t)used, .last = 0};
        m->sub[used] = (uint8_t)first;
        return 1;
    }
    if (last >= UINT8_MAX || used + last + 2 > MODEL_SUBLEAF_SLOTS)
        return -E2BIG;
    for (uint32_t i = 0; i < last + 1; i++)
        m->sub[used + i] = (uint8_t)m->count;
    for (uint32_t i = first; i <= last_row; i++)
        m->sub[used + m->leaves[i].subleaf] = (uint8_t)i;
    m->sub[used + last + 1] = (uint8_t)beyond;
    *slot = (struct model_slot){.first = (uint16_t)used, .last = (uint16_t)(last + 1)};
    return (int)last + 2;
}

static int build_index(struct model *m, const struct ranges *ranges)
{
    uint32_t used = 1;

    memset(m->slots, 0, sizeof(m->slots));
    memset(m->sub, 0, sizeof(m->sub));
    m->sub[0] = (uint8_t)m->count; /* the row of zeros */
    for (uint32_t first = 0, end = 0; first < m->count; first = end) {
        for (end = first + 1; end < m->count && m->leaves[end].leaf == m->leaves[first].leaf;)
            end++;
        if (used >= MODEL_SUBLEAF_SLOTS)
            return -E2BIG;
        int places = index_leaf(m, first, end, used);
        if (places < 0)
            return places;
        used += (uint32_t)places;
    }
    if (model_is_amd(m))
        return 0; /* out of range is zeros, as the empty slots already say */
    struct model_slot highest = m->slots[model_slot_index(ranges->leaves[0] - 1)];
    for (uint32_t range = 0; range < 4; range++)
        for (uint32_t i = ranges->leaves[range]; i < MODEL_RANGE_LEAVES; i++)
            m->slots[model_slot_index(range << 30 | i)] = highest;
    m->slots[MODEL_SLOTS - 1] = highest;
    return 0;
}

int model_finish(struct model *m)
{
    struct ranges ranges;

    if (m->finished)
        return 0;
    int error = find_ranges(m, &ranges);
    if (error)
        return error;
    m->paging = rules_paging(m);
    keep_ids(m);
    canonical_rows(m, &ranges);
    error = add_dynamic_rows(m, &ranges);
    if (error)
        return error;
    for (uint32_t i = 0; i < m->count; i++)
        m->leaves[i].dynamic = cpuid_dynamic_row(m->leaves[i].leaf, m->leaves[i].subleaf);
    error = build_index(m, &ranges);
    if (error)
        return error;
    m->finished = 1;
    return 0;
}
