/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef LATCH_TESTS_UNIT_SHADOW_TLB_H
#define LATCH_TESTS_UNIT_SHADOW_TLB_H
/*
 * What a CPU may hold of the tables that it walks, until something that the manuals name drops it
 * (SDM vol. 3 §4.10, §29.4): translations of pages, links to tables, and rights of nested pages.
 * Any entry may be used, or not, or be pushed out, at any time.
 */
#include "mmu/mmu.h"
#include <string.h>

#define TLB_SIZE 24U

struct tlb_entry {
    bool valid;
    unsigned int level; /* of the table where the entry stands */
    uint64_t linear;    /* first address that goes this way */
    uint64_t entry;     /* leaf: with the physical address; link: the table's address */
    bool w, u, nx;      /* what is left of rights so far */
};

struct tlb {
    struct tlb_entry leaf[TLB_SIZE], link[TLB_SIZE];
    uint64_t writable[TLB_SIZE]; /* guest frames plus one, which nested tables had writable */
};

static inline bool tlb_covers(const struct tlb_entry *e, uint64_t linear)
{
    return e->valid && !((e->linear ^ linear) >> (12 + 9 * (e->level - 1)));
}

/* One of those that translate an address; the search begins at `start`. */
static inline struct tlb_entry *tlb_find(struct tlb_entry *set, uint64_t linear, uint64_t start)
{
    for (unsigned int i = 0; i < TLB_SIZE; i++)
        if (tlb_covers(&set[(start + i) % TLB_SIZE], linear))
            return &set[(start + i) % TLB_SIZE];
    return NULL;
}

/* INVLPG, a page fault, INVVPID of one address: what would be used to translate it. */
static inline void tlb_drop_address(struct tlb *tlb, uint64_t linear)
{
    for (unsigned int i = 0; i < TLB_SIZE; i++) {
        if (tlb_covers(&tlb->leaf[i], linear))
            tlb->leaf[i].valid = false;
        if (tlb_covers(&tlb->link[i], linear))
            tlb->link[i].valid = false;
    }
}

static inline void tlb_drop_linear(struct tlb *tlb)
{
    memset(tlb->leaf, 0, sizeof(tlb->leaf));
    memset(tlb->link, 0, sizeof(tlb->link));
}

static inline void tlb_drop_nested(struct tlb *tlb, uint64_t frame)
{
    for (unsigned int i = 0; i < TLB_SIZE; i++)
        if (tlb->writable[i] == frame + 1)
            tlb->writable[i] = 0;
}

static inline bool tlb_writable(const struct tlb *tlb, uint64_t frame)
{
    for (unsigned int i = 0; i < TLB_SIZE; i++)
        if (tlb->writable[i] == frame + 1)
            return true;
    return false;
}

#endif
