/* SPDX-License-Identifier: BSD-2-Clause */
#include "mmu/shadow_entry.h"
#include "mmu/reserved.h"

#define ENTRY_CACHE     (3UL << 3) /* PWT, PCD */
#define ENTRY_ACCESSED  (1UL << 5)
#define ENTRY_DIRTY     (1UL << 6)
#define ENTRY_PAT       (1UL << 7)  /* level 1 */
#define ENTRY_LARGE_PAT (1UL << 12) /* above */
#define ENTRY_GLOBAL    (1UL << 8)
#define ENTRY_NX        (1UL << 63)
#define KEY_SHIFT       59U
#define KEY_MASK        (15UL << KEY_SHIFT)

static bool is_32bit(union page_role role)
{
    return role.mode == MODE_32BIT || role.mode == MODE_32BIT_PSE;
}

static bool is_long(union page_role role)
{
    return role.mode == MODE_4LEVEL || role.mode == MODE_5LEVEL;
}

gpa_t shadow_guest_place(union page_role role, gfn_t frame, unsigned int index, unsigned int *size)
{
    *size = is_32bit(role) ? 4 : 8;
    /* A directory's entry maps 4 MiB, and so has two here. */
    if (is_32bit(role))
        index = role.level == 2 ? role.quadrant * 256U + index / 2U : role.quadrant * 512U + index;
    return gpa((frame.raw << PAGE_SHIFT) + index * (uint64_t)*size);
}

static bool is_leaf(union page_role role, uint64_t entry)
{
    if (role.level == 1)
        return true;
    if (!(entry & SHADOW_LARGE))
        return false;
    return role.level == 2 ? role.mode != MODE_32BIT : role.level == 3 && is_long(role);
}

static unsigned int rights_below(union page_role role, uint64_t entry)
{
    unsigned int rights = role.access;

    if (!(entry & SHADOW_WRITE))
        rights &= ~(unsigned int)ACCESS_WRITE;
    if (!(entry & SHADOW_USER))
        rights &= ~(unsigned int)ACCESS_USER;
    if (entry & ENTRY_NX) /* reserved without NXE */
        rights &= ~(unsigned int)ACCESS_EXECUTE;
    return rights;
}

/* The address bits of an entry without the C-bit, which is no part of it. */
static uint64_t address_of(union page_role role, uint64_t entry)
{
    if (is_32bit(role))
        return entry & 0xfffff000UL;
    return entry & ENTRY_ADDRESS & ~(role.cbit ? 1UL << role.cbit : 0UL);
}

/* Bits 20:13 of a 4 MiB PDE are address bits 39:32 (SDM vol. 3 §4.3). */
static uint64_t leaf_address(union page_role role, unsigned int index, uint64_t entry)
{
    uint64_t address = address_of(role, entry);

    if (role.level == 1 || !is_32bit(role))
        return address & ~(level_size(role.level) - 1UL);
    if (role.pse36)
        address |= (entry & 0x1fe000UL) << 19;
    return (address & ~(2U * LARGE_PAGE_SIZE - 1UL)) | (index & 1U) * LARGE_PAGE_SIZE;
}

/*
 * The rights of a leaf in hardware with WP=1. D goes with them: set where the hardware could set it,
 * and otherwise as the guest has it if its upper entries allow writes, since read-only and dirty is
 * a shadow-stack page (SDM vol. 3 §4.6).
 */
static uint64_t leaf_rights(union page_role role, uint64_t entry, bool open)
{
    unsigned int rights = rights_below(role, entry);
    bool dirty = entry & ENTRY_DIRTY;
    uint64_t bits = dirty && (role.access & ACCESS_WRITE) ? ENTRY_DIRTY : 0;

    if (!role.wp && open && dirty && (rights & ACCESS_USER)) {
        rights &= ~(unsigned int)ACCESS_USER;
        if (role.smep_no_wp)
            rights &= ~(unsigned int)ACCESS_EXECUTE;
    }
    if (!role.wp && !(rights & ACCESS_USER))
        rights |= ACCESS_WRITE;
    if (dirty && (rights & ACCESS_WRITE))
        bits |= SHADOW_WRITE | ENTRY_DIRTY;
    if (rights & ACCESS_USER)
        bits |= SHADOW_USER;
    if (!(rights & ACCESS_EXECUTE))
        bits |= ENTRY_NX;
    return bits;
}

static struct shadow_entry derive_leaf(union page_role role, unsigned int index, uint64_t entry,
                                       bool open)
{
    uint64_t address = leaf_address(role, index, entry);
    uint64_t kept = ENTRY_CACHE | ENTRY_GLOBAL;

    kept |= role.level == 1 ? ENTRY_PAT : ENTRY_LARGE_PAT | SHADOW_LARGE;
    if (is_long(role))
        kept |= KEY_MASK;
    return (struct shadow_entry){.kind = SHADOW_LEAF,
                                 .bits = address | SHADOW_PRESENT | ENTRY_ACCESSED |
                                         (entry & kept) | leaf_rights(role, entry, open),
                                 .frame = gfn(address >> PAGE_SHIFT)};
}

static struct shadow_entry derive_table(union page_role role, unsigned int index, uint64_t entry)
{
    union page_role child = role;
    gfn_t frame = gfn(address_of(role, entry) >> PAGE_SHIFT);

    child.access = rights_below(role, entry) & 15U;
    child.quadrant = is_32bit(role) ? index & 1U : 0;
    return (struct shadow_entry){.kind = SHADOW_TABLE,
                                 .bits = SHADOW_LINK,
                                 .frame = frame,
                                 .role = role_at_level(child, role.level - 1U, frame)};
}

struct shadow_entry shadow_derive(union page_role role, unsigned int index, uint64_t entry,
                                  bool open)
{
    struct paging_props props = role_props(role);
    bool leaf = is_leaf(role, entry);

    if (!(entry & SHADOW_PRESENT) || !(entry & ENTRY_ACCESSED) ||
        (entry & reserved_mask((enum paging_mode)role.mode, role.level, leaf, &props, role.nxe)))
        return (struct shadow_entry){.kind = SHADOW_NONE};
    return leaf ? derive_leaf(role, index, entry, open) : derive_table(role, index, entry);
}

struct shadow_entry shadow_split(union page_role role, const struct shadow_entry *leaf)
{
    union page_role child = {.format = role.format,
                             .direct = 1,
                             .leaf_cache = (leaf->bits & ENTRY_CACHE) >> 3 |
                                           (leaf->bits & ENTRY_LARGE_PAT ? 4U : 0U),
                             .leaf_global = (leaf->bits & ENTRY_GLOBAL) != 0,
                             .leaf_key = (leaf->bits & KEY_MASK) >> KEY_SHIFT};

    return (struct shadow_entry){.kind = SHADOW_TABLE,
                                 .bits = leaf->bits & (SHADOW_LINK | ENTRY_NX),
                                 .frame = leaf->frame,
                                 .role = role_at_level(child, role.level - 1U, leaf->frame)};
}

struct shadow_entry shadow_direct_leaf(union page_role role, gfn_t frame, unsigned int index)
{
    uint64_t address = (frame.raw << PAGE_SHIFT) + index * level_size(role.level);
    uint64_t bits = address | SHADOW_LINK | ENTRY_DIRTY | (role.leaf_cache & 3UL) << 3 |
                    (uint64_t)role.leaf_key << KEY_SHIFT;

    if (role.leaf_global)
        bits |= ENTRY_GLOBAL;
    if (role.level > 1)
        bits |= SHADOW_LARGE;
    if (role.leaf_cache & 4U)
        bits |= role.level > 1 ? ENTRY_LARGE_PAT : ENTRY_PAT;
    return (struct shadow_entry){
        .kind = SHADOW_LEAF, .bits = bits, .frame = gfn(address >> PAGE_SHIFT)};
}
