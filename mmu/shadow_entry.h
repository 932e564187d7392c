/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef LATCH_MMU_SHADOW_ENTRY_H
#define LATCH_MMU_SHADOW_ENTRY_H
/*
 * What a shadow entry is to be: pure functions of the page's role and one entry of the guest's.
 * Shadow tables have entries as PAE and long mode do (SDM vol. 3 §4.4, §4.5); those of level 2 map
 * 2 MiB, so 32-bit paging's tables of 1024 entries are shadowed in parts (role.quadrant).
 */
#include "mmu/format.h"

#define SHADOW_PRESENT   (1UL << 0)
#define SHADOW_WRITE     (1UL << 1)
#define SHADOW_USER      (1UL << 2)
#define SHADOW_LARGE     (1UL << 7) /* above level 1 */
#define SHADOW_ACCESSED  (1UL << 5)
#define SHADOW_DIRTY     (1UL << 6)
#define SHADOW_GLOBAL    (1UL << 8)
#define SHADOW_CACHE     (3UL << 3) /* PWT, PCD */
#define SHADOW_PAT       (1UL << 7) /* level 1; above: */
#define SHADOW_LARGE_PAT (1UL << 12)
#define SHADOW_KEY_SHIFT 59U
#define SHADOW_KEY       (15UL << SHADOW_KEY_SHIFT)
#define SHADOW_NX        (1UL << 63)
/* A link to a table: the leaf alone decides on rights. A is set in advance, here as in leaves. */
#define SHADOW_LINK (SHADOW_PRESENT | SHADOW_WRITE | SHADOW_USER | SHADOW_ACCESSED)

/* What all entries of a page have in common. */
struct shadow_rules {
    uint64_t reserved[2];  /* bits of the guest's entries: that lead to tables, leaves */
    uint64_t leaf;         /* the bit that makes a leaf; level 1: of all that are present */
    uint64_t table, page;  /* bits of the address of a table, and of a page */
    uint64_t kept, set;    /* bits of a leaf: as the guest has them, and 1 whatever it has */
    union page_role below; /* of pages that it links to, but for access and quadrant */
    uint16_t first;        /* where in the guest's table the entries begin that stand here */
    uint8_t size;          /* of one: 4 or 8 */
    uint8_t halves;        /* 1: each has two entries here, as it maps 4 MiB */
};

struct shadow_entry {
    enum { SHADOW_NONE, SHADOW_LEAF, SHADOW_TABLE } kind;
    uint64_t bits;        /* the entry; of a table all but the address */
    gfn_t frame;          /* leaf: first frame of the page; table: the table's (gfn, role) */
    union page_role role; /* table: canonical */
};

/* The rules of a page of this canonical role, not direct. */
struct shadow_rules shadow_rules(union page_role role);

/* Where the guest has the entry that `index` of a page stands for. */
static inline gpa_t shadow_guest_place(const struct shadow_rules *rules, gfn_t frame,
                                       unsigned int index)
{
    return gpa((frame.raw << PAGE_SHIFT) + rules->first +
               (uint64_t)(index >> rules->halves) * rules->size);
}

/* The shadow of one guest entry at `index` of a page of this canonical role, not direct. */
struct shadow_entry shadow_derive(union page_role role, const struct shadow_rules *rules,
                                  unsigned int index, uint64_t entry);

/* Whether an entry of a page at level 1 is just what shadow_derive() makes of the guest's.
 * False where that is open: of one of 4 bytes, say. */
static inline bool shadow_follows(const struct shadow_rules *rules, uint64_t guest, uint64_t entry)
{
    const uint64_t used = SHADOW_PRESENT | SHADOW_ACCESSED;
    uint64_t bits = (guest & (rules->page | rules->kept)) | rules->set;

    if (!(guest & SHADOW_DIRTY))
        bits &= ~SHADOW_WRITE;
    return bits == entry && (guest & (used | rules->reserved[1])) == used;
}

/* A large leaf of a page of this role as a link to a direct page that splits it. */
struct shadow_entry shadow_split(union page_role role, const struct shadow_entry *leaf);

/* The leaf at `index` of a direct page. */
struct shadow_entry shadow_direct_leaf(union page_role role, gfn_t frame, unsigned int index);

#endif
