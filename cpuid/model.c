/* SPDX-License-Identifier: BSD-2-Clause */
#include "cpuid/model.h"

#include <errno.h>
#include <string.h>

void model_init(struct model *m)
{
    memset(m, 0, sizeof(*m));
    m->paging_vendor = -1;
}

void model_copy(struct model *to, const struct model *from)
{
    memcpy(to, from, sizeof(*to));
}

bool model_has_place(uint32_t leaf)
{
    return (leaf & 0x3fffffffU) < MODEL_RANGE_LEAVES && leaf >> 30 != 3;
}

static uint64_t row_key(uint32_t leaf, uint32_t subleaf)
{
    return (uint64_t)leaf << 32 | subleaf;
}

/* The first row that does not come before (leaf, subleaf). */
static uint32_t row_position(const struct model *m, uint32_t leaf, uint32_t subleaf)
{
    uint32_t low = 0;
    uint32_t high = m->count;
    while (low < high) {
        uint32_t middle = (low + high) / 2;
        const struct cpuid_leaf *row = &m->leaves[middle];
        if (row_key(row->leaf, row->subleaf) < row_key(leaf, subleaf))
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

const struct cpuid_leaf *model_find_const(const struct model *m, uint32_t leaf, uint32_t subleaf)
{
    uint32_t at = m->finished ? (uint32_t)(model_lookup(m, leaf, subleaf) - m->leaves)
                              : row_position(m, leaf, subleaf);
    const struct cpuid_leaf *row = &m->leaves[at];
    return at < m->count && row->leaf == leaf && row->subleaf == subleaf ? row : NULL;
}

struct cpuid_leaf *model_find(struct model *m, uint32_t leaf, uint32_t subleaf)
{
    uint32_t at = row_position(m, leaf, subleaf);
    struct cpuid_leaf *row = &m->leaves[at];
    return at < m->count && row->leaf == leaf && row->subleaf == subleaf ? row : NULL;
}

struct cpuid_regs model_get(const struct model *m, uint32_t leaf, uint32_t subleaf)
{
    const struct cpuid_leaf *row = model_find_const(m, leaf, subleaf);
    return row ? row->regs : (struct cpuid_regs){.eax = 0};
}

int model_set(struct model *m, uint32_t leaf, uint32_t subleaf, const struct cpuid_regs *regs)
{
    if (m->finished)
        return -EROFS;
    if (!model_has_place(leaf))
        return -ERANGE;
    struct cpuid_leaf *row = model_find(m, leaf, subleaf);
    if (row) {
        row->regs = *regs;
        return 0;
    }
    /* One row stays free: the answer of zeros that model_finish() puts behind the last. */
    if (m->count + 1 >= MODEL_MAX_LEAVES)
        return -E2BIG;
    uint32_t at = row_position(m, leaf, subleaf);
    memmove(&m->leaves[at + 1], &m->leaves[at], (m->count - at) * sizeof(m->leaves[0]));
    m->leaves[at] = (struct cpuid_leaf){.leaf = leaf, .subleaf = subleaf, .regs = *regs};
    m->count++;
    return 0;
}

static void remove_rows(struct model *m, uint32_t from, uint32_t to)
{
    if (m->finished || from == to)
        return;
    memmove(&m->leaves[from], &m->leaves[to], (m->count - to) * sizeof(m->leaves[0]));
    memset(&m->leaves[m->count - (to - from)], 0, (to - from) * sizeof(m->leaves[0]));
    m->count -= to - from;
}

void model_remove_leaf(struct model *m, uint32_t leaf)
{
    uint32_t from = row_position(m, leaf, 0);
    uint32_t to = from;
    while (to < m->count && m->leaves[to].leaf == leaf)
        to++;
    remove_rows(m, from, to);
}

void model_remove(struct model *m, uint32_t leaf, uint32_t subleaf)
{
    uint32_t at = row_position(m, leaf, subleaf);
    if (model_find_const(m, leaf, subleaf))
        remove_rows(m, at, at + 1);
}

bool model_equal(const struct model *a, const struct model *b)
{
    return a->finished && b->finished && a->count == b->count &&
           paging_props_equal(&a->paging, &b->paging) &&
           memcmp(a->leaves, b->leaves, a->count * sizeof(a->leaves[0])) == 0;
}

bool model_is_amd(const struct model *m)
{
    struct cpuid_regs r = model_get(m, 0, 0);
    bool amd = r.ebx == 0x68747541U && r.edx == 0x69746e65U && r.ecx == 0x444d4163U;
    bool hygon = r.ebx == 0x6f677948U && r.edx == 0x6e65476eU && r.ecx == 0x656e6975U;
    return amd || hygon;
}
