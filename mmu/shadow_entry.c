/* SPDX-License-Identifier: BSD-2-Clause */
#include "mmu/shadow_entry.h"
#include "mmu/reserved.h"

static bool is_32bit(union page_role role)
{
    return role.mode == MODE_32BIT || role.mode == MODE_32BIT_PSE;
}

static bool is_long(union page_role role)
{
    return role.mode == MODE_4LEVEL || role.mode == MODE_5LEVEL;
}

static uint64_t leaf_bit(union page_role role)
{
    if (role.level == 1)
        return SHADOW_PRESENT;
    if (role.level == 2)
        return role.mode != MODE_32BIT ? SHADOW_LARGE : 0;
    return role.level == 3 && is_long(role) ? SHADOW_LARGE : 0;
}

/* Bits of a leaf that are the guest's. D goes with W, and is left out where upper entries forbid
 * writes: read-only and dirty is a shadow-stack page (SDM vol. 3 §4.6). */
static uint64_t kept_bits(union page_role role)
{
    uint64_t kept = SHADOW_CACHE | SHADOW_GLOBAL | SHADOW_NX; /* NX is reserved without NXE */

    kept |= role.level == 1 ? SHADOW_PAT : SHADOW_LARGE_PAT | SHADOW_LARGE;
    if (is_long(role))
        kept |= SHADOW_KEY;
    if (role.access & ACCESS_WRITE)
        kept |= SHADOW_WRITE | SHADOW_DIRTY;
    if (role.access & ACCESS_USER)
        kept |= SHADOW_USER;
    return kept;
}

struct shadow_rules shadow_rules(union page_role role)
{
    enum paging_mode mode = (enum paging_mode)role.mode;
    struct paging_props props = role_props(role);
    struct shadow_rules rules = {.leaf = leaf_bit(role), .kept = kept_bits(role)};

    rules.size = is_32bit(role) ? 4 : 8;
    rules.halves = is_32bit(role) && role.level == 2;
    if (is_32bit(role))
        rules.first = (uint16_t)(role.quadrant * (512U >> rules.halves) * 4U);
    rules.table = is_32bit(role) ? 0xfffff000UL : ENTRY_ADDRESS;
    if (role.cbit != 0) /* is no part of an address */
        rules.table &= ~(1UL << role.cbit);
    rules.page = rules.table & ~(level_size(role.level) - 1UL);
    if (is_32bit(role) && role.level == 2)
        rules.page &= ~LARGE_PAGE_SIZE; /* 4 MiB */
    rules.set = SHADOW_PRESENT | SHADOW_ACCESSED | (role.access & ACCESS_EXECUTE ? 0 : SHADOW_NX);
    for (unsigned int leaf = 0; leaf < 2; leaf++)
        rules.reserved[leaf] = reserved_mask(mode, role.level, leaf, &props, role.nxe);
    role.access = 0;
    role.quadrant = 0;
    rules.below = role_at_level(role, role.level - 1U, gfn(0));
    return rules;
}

static unsigned int rights_below(union page_role role, uint64_t entry)
{
    unsigned int rights = role.access;

    if (!(entry & SHADOW_WRITE))
        rights &= ~(unsigned int)ACCESS_WRITE;
    if (!(entry & SHADOW_USER))
        rights &= ~(unsigned int)ACCESS_USER;
    if (entry & SHADOW_NX)
        rights &= ~(unsigned int)ACCESS_EXECUTE;
    return rights;
}

/* The address of a leaf of two for 4 MiB, whose bits 20:13 are address bits 39:32 (SDM vol. 3
 * §4.3). */
static uint64_t half_address(union page_role role, uint64_t page, unsigned int index,
                             uint64_t entry)
{
    if (role.pse36)
        page |= (entry & 0x1fe000UL) << 19;
    return page | (index & 1U) * LARGE_PAGE_SIZE;
}

static struct shadow_entry derive_leaf(union page_role role, const struct shadow_rules *rules,
                                       unsigned int index, uint64_t entry)
{
    uint64_t page = entry & rules->page;
    uint64_t bits = (entry & rules->kept) | rules->set;

    if (is_32bit(role) && role.level == 2)
        page = half_address(role, page, index, entry);
    if (!(entry & SHADOW_DIRTY))
        bits &= ~SHADOW_WRITE;
    return (struct shadow_entry){
        .kind = SHADOW_LEAF, .bits = page | bits, .frame = gfn(page >> PAGE_SHIFT)};
}

static struct shadow_entry derive_table(union page_role role, const struct shadow_rules *rules,
                                        unsigned int index, uint64_t entry)
{
    union page_role child = rules->below;

    child.access = rights_below(role, entry) & 15U;
    child.quadrant = is_32bit(role) ? index & 1U : 0;
    return (struct shadow_entry){.kind = SHADOW_TABLE,
                                 .bits = SHADOW_LINK,
                                 .frame = gfn((entry & rules->table) >> PAGE_SHIFT),
                                 .role = child};
}

struct shadow_entry shadow_derive(union page_role role, const struct shadow_rules *rules,
                                  unsigned int index, uint64_t entry)
{
    bool leaf = entry & rules->leaf;

    if (!(entry & SHADOW_PRESENT) || !(entry & SHADOW_ACCESSED) || (entry & rules->reserved[leaf]))
        return (struct shadow_entry){.kind = SHADOW_NONE};
    if (leaf)
        return derive_leaf(role, rules, index, entry);
    return derive_table(role, rules, index, entry);
}

struct shadow_entry shadow_split(union page_role role, const struct shadow_entry *leaf)
{
    union page_role child = {.format = role.format,
                             .direct = 1,
                             .leaf_cache = (leaf->bits & SHADOW_CACHE) >> 3 |
                                           (leaf->bits & SHADOW_LARGE_PAT ? 4U : 0U),
                             .leaf_global = (leaf->bits & SHADOW_GLOBAL) != 0,
                             .leaf_key = (leaf->bits & SHADOW_KEY) >> SHADOW_KEY_SHIFT};

    return (struct shadow_entry){.kind = SHADOW_TABLE,
                                 .bits = leaf->bits & (SHADOW_LINK | SHADOW_NX),
                                 .frame = leaf->frame,
                                 .role = role_at_level(child, role.level - 1U, leaf->frame)};
}

struct shadow_entry shadow_direct_leaf(union page_role role, gfn_t frame, unsigned int index)
{
    uint64_t address = (frame.raw << PAGE_SHIFT) + index * level_size(role.level);
    uint64_t bits = address | SHADOW_LINK | SHADOW_DIRTY | (role.leaf_cache & 3UL) << 3 |
                    (uint64_t)role.leaf_key << SHADOW_KEY_SHIFT;

    if (role.leaf_global)
        bits |= SHADOW_GLOBAL;
    if (role.level > 1)
        bits |= SHADOW_LARGE;
    if (role.leaf_cache & 4U)
        bits |= role.level > 1 ? SHADOW_LARGE_PAT : SHADOW_PAT;
    return (struct shadow_entry){
        .kind = SHADOW_LEAF, .bits = bits, .frame = gfn(address >> PAGE_SHIFT)};
}
