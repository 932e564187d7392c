/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef LATCH_MMU_CACHE_H
#define LATCH_MMU_CACHE_H
/*
 * The table pages that exist, by (gfn, canonical role). What Latch must remember of a page stands
 * here, so the cost is per table page and none per guest page.
 *
 * Locking: all functions under the VM's table lock, which the caller holds.
 */
#include "mmu/role.h"

#define CACHE_BUCKETS 1024U

struct table_page {
    struct table_page *next; /* in its bucket, or in the list of unused ones */
    gfn_t frame;             /* first frame that it covers; in shadow pages the guest's table */
    union page_role role;    /* canonical */
    hpa_t page;
    uint32_t users; /* entries and roots that point to it; never 0 while it is here */
    uint32_t mark;  /* the walker's of one call */
};

struct table_cache {
    const struct mmu_env *env;
    struct table_page *pool; /* the caller's array; bounds how many table pages there can be */
    struct table_page *unused;
    unsigned int capacity;
    unsigned int pages; /* that exist now */
    unsigned int peak;
    struct table_page *bucket[CACHE_BUCKETS];
};

/* An empty cache over an array of `capacity` descriptors, which stay the caller's memory. */
void table_cache_init(struct table_cache *cache, const struct mmu_env *env, struct table_page *pool,
                      unsigned int capacity);

/* The page for (frame, canonical role), or NULL. Adds no user. */
struct table_page *table_cache_find(struct table_cache *cache, gfn_t frame, union page_role role);

/* The same, made and zeroed if there is none, with one user more. NULL: the pool or the memory is
 * used up. */
struct table_page *table_cache_get(struct table_cache *cache, gfn_t frame, union page_role role);

/* One user less; at none the page is freed and its descriptor unused. No CPU may use it any more.
 * Returns true if it was freed. */
bool table_cache_put(struct table_cache *cache, struct table_page *page);

#endif
