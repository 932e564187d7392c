/* SPDX-License-Identifier: BSD-2-Clause */
#include "mmu/mtrr.h"
#include <stddef.h>

#define FIXED_END 0x100000UL
#define TYPE_MASK 0xffUL

static unsigned int pairs(const struct mtrr_state *state)
{
    uint64_t count = state->cap & MTRRCAP_COUNT;

    return count < MTRR_VARIABLE_MAX ? (unsigned int)count : MTRR_VARIABLE_MAX;
}

static bool type_known(uint64_t type)
{
    return type == CACHE_UC || type == CACHE_WC || type == CACHE_WT || type == CACHE_WP ||
           type == CACHE_WB;
}

static enum cache_type type_of(uint64_t value)
{
    return type_known(value & TYPE_MASK) ? (enum cache_type)(value & TYPE_MASK) : CACHE_UC;
}

uint32_t mtrr_fixed_msr(unsigned int index)
{
    return index == 0 ? 0x250U : index < 3 ? 0x257U + index : 0x265U + index;
}

uint64_t *mtrr_msr(struct mtrr_state *state, uint32_t msr)
{
    if (msr == MSR_MTRR_DEF_TYPE)
        return &state->def_type;
    if (msr >= MSR_MTRR_PHYSBASE0 && msr < MSR_MTRR_PHYSBASE0 + 2U * pairs(state)) {
        struct mtrr_pair *pair = &state->variable[(msr - MSR_MTRR_PHYSBASE0) / 2U];

        return (msr & 1U) ? &pair->mask : &pair->base;
    }
    for (unsigned int i = 0; i < MTRR_FIXED && (state->cap & MTRRCAP_FIXED); i++)
        if (msr == mtrr_fixed_msr(i))
            return &state->fixed[i];
    return NULL;
}

static bool type_legal(const struct mtrr_state *state, uint64_t type)
{
    return type_known(type) && (type != CACHE_WC || (state->cap & MTRRCAP_WC));
}

bool mtrr_valid(const struct mtrr_state *state, uint32_t msr, uint64_t value, unsigned int width)
{
    uint64_t above = width < 64U ? ~0UL << width : 0;

    if (msr == MSR_MTRR_DEF_TYPE)
        return !(value & ~(TYPE_MASK | MTRR_DEF_FIXED | MTRR_DEF_ENABLE)) &&
               type_legal(state, value & TYPE_MASK);
    if (msr >= MSR_MTRR_PHYSBASE0 && msr < MSR_MTRR_PHYSBASE0 + 2U * pairs(state)) {
        if (msr & 1U)
            return !(value & (above | 0x7ffUL));
        return !(value & (above | 0xf00UL)) && type_legal(state, value & TYPE_MASK);
    }
    for (unsigned int i = 0; i < MTRR_FIXED && (state->cap & MTRRCAP_FIXED); i++) {
        if (msr != mtrr_fixed_msr(i))
            continue;
        for (unsigned int shift = 0; shift < 64; shift += 8)
            if (!type_legal(state, (value >> shift) & TYPE_MASK))
                return false;
        return true;
    }
    return false;
}

/* The fixed registers, SDM vol. 3 table 12-9: 8 ranges of 64 KiB, 16 of 16 KiB, 64 of 4 KiB. */
static enum cache_type fixed_type(const struct mtrr_state *state, uint64_t address)
{
    unsigned int range;

    if (address < 0x80000)
        range = (unsigned int)(address >> 16);
    else if (address < 0xc0000)
        range = 8U + (unsigned int)((address - 0x80000) >> 14);
    else
        range = 24U + (unsigned int)((address - 0xc0000) >> 12);
    return type_of(state->fixed[range / 8U] >> (range % 8U * 8U));
}

/* How much of the address's range one of their bytes tells of. */
static uint64_t fixed_size(uint64_t address)
{
    if (address < 0x80000)
        return 0x10000;
    return address < 0xc0000 ? 0x4000 : PAGE_SIZE;
}

static bool fixed_uniform(const struct mtrr_state *state, uint64_t block, uint64_t size,
                          enum cache_type *type)
{
    *type = fixed_type(state, block);
    for (uint64_t address = block; address < block + size; address += fixed_size(address))
        if (fixed_type(state, address) != *type)
            return false;
    return true;
}

/* What overlapping variable ranges make (SDM vol. 3 §12.11.4.1); `types` has bit n for type n. */
static enum cache_type overlap(unsigned int types)
{
    if (types == 1U << CACHE_WB)
        return CACHE_WB;
    if (types == 1U << CACHE_WT || types == (1U << CACHE_WT | 1U << CACHE_WB))
        return CACHE_WT;
    if (types == 1U << CACHE_WC)
        return CACHE_WC;
    return types == 1U << CACHE_WP ? CACHE_WP : CACHE_UC;
}

/* How the valid variable ranges lie to an aligned block. */
struct cover {
    unsigned int whole; /* types of those that hold all of it */
    unsigned int part;  /* types of those that hold some of it */
    uint64_t part_mask; /* address bits that decide which */
};

static struct cover cover_of(const struct mtrr_state *state, uint64_t block, uint64_t size)
{
    struct cover cover = {.whole = 0};

    for (unsigned int i = 0; i < pairs(state); i++) {
        const struct mtrr_pair *pair = &state->variable[i];
        uint64_t mask = pair->mask & 0x000ffffffffff000UL;
        unsigned int type = 1U << type_of(pair->base);

        if (!(pair->mask & MTRR_MASK_VALID) || ((block ^ pair->base) & mask & ~(size - 1UL)))
            continue;
        if (mask & (size - 1UL)) {
            cover.part |= type;
            cover.part_mask |= mask & (size - 1UL);
        } else {
            cover.whole |= type;
        }
    }
    return cover;
}

/*
 * By halves, until the ranges that hold only a part of a block no longer change its type. Where
 * none of them looks at the bit that tells the halves apart, one stands for both; so even masks
 * with holes are decided in a few steps.
 */
static bool variable_uniform(const struct mtrr_state *state, uint64_t block, uint64_t size,
                             enum cache_type *type)
{
    struct cover cover = cover_of(state, block, size);
    uint64_t half = size / 2U;
    enum cache_type upper;
    bool settled = true;

    *type = cover.whole ? overlap(cover.whole) : type_of(state->def_type);
    for (unsigned int t = CACHE_UC; t <= CACHE_WB; t++)
        if ((cover.part & 1U << t) && overlap(cover.whole | 1U << t) != *type)
            settled = false;
    if (settled)
        return true;
    if (!variable_uniform(state, block, half, type))
        return false;
    if (!(cover.part_mask & half))
        return true;
    return variable_uniform(state, block + half, half, &upper) && upper == *type;
}

bool mtrr_uniform(const struct mtrr_state *state, hpa_t block, uint64_t size, enum cache_type *type)
{
    bool fixed = (state->cap & MTRRCAP_FIXED) && (state->def_type & MTRR_DEF_FIXED);
    enum cache_type upper;

    if (!(state->def_type & MTRR_DEF_ENABLE)) {
        *type = CACHE_UC;
        return true;
    }
    if (!fixed || block.raw >= FIXED_END)
        return variable_uniform(state, block.raw, size, type);
    if (size <= FIXED_END)
        return fixed_uniform(state, block.raw, size, type);
    return mtrr_uniform(state, block, size / 2U, type) &&
           mtrr_uniform(state, hpa(block.raw + size / 2U), size / 2U, &upper) && upper == *type;
}

enum cache_type mtrr_type(const struct mtrr_state *state, hpa_t address)
{
    enum cache_type type;

    mtrr_uniform(state, hpa(address.raw & ~PAGE_OFFSET_MASK), PAGE_SIZE, &type);
    return type;
}
