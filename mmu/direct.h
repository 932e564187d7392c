/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef LATCH_MMU_DIRECT_H
#define LATCH_MMU_DIRECT_H
/*
 * Direct tables: a VM's nested page tables, from the guest map and the MTRRs. One root for each
 * model that the tables depend on (that is, its MAXPHYADDR); all other pages are shared through
 * the table cache. Nothing is kept per guest page: which frames are write-tracked, and so mapped
 * read-only, only shadow.h knows.
 *
 * Roots come in two kinds. Those whose role has `tables` map Latch's shadow pages too, for vCPUs
 * whose own page tables the hardware does not see; in the others that range is as absent as the map
 * has it. The two share all pages but those on the way to that range, and to the model's limit.
 *
 * Memory is bounded by the cache and by what the environment gives. Where it runs dry all tables
 * below the roots are dropped and built again on demand, but by direct_build(): that is never fatal
 * as long as what one instruction needs finds room beside the roots, DIRECT_PAGES_MIN; what other vCPUs
 * need at the same time they take from each other, by turns.
 *
 * Locking: every function under the VM's table lock, which also guards the map, the MTRR copy and
 * the cache. CPUs may run the guest on the tables meanwhile.
 */
#include "mmu/cache.h"
#include "mmu/guest_map.h"
#include "mmu/mtrr.h"
#include "mmu/table.h"

#define DIRECT_ROOTS_MAX 64U
/* Twelve pages (shadow.h) and the guest's tables on the way to each, with three of ours to each of them. */
#define DIRECT_PAGES_MIN 216U

struct direct {
    const struct mmu_env *env;
    struct table_cache *cache;
    struct guest_map *map;
    const struct mtrr_state *mtrr;
    struct table_format format;
    unsigned int roots;
    struct table_page *root[DIRECT_ROOTS_MAX]; /* each once, with one user of its own */
    uint64_t tables_start, tables_end;         /* the shadow pages; empty without */
    uint64_t window_end;                       /* direct_show()'s addresses follow them */
    unsigned int rebuilds;                     /* because it ran dry */
    /* Whether any of `count` frames is write-tracked; NULL: none ever is. */
    bool (*tracked)(const void *ctx, gfn_t first, uint64_t count);
    const void *tracked_ctx;
};

/* What a fill did with an address. */
struct direct_result {
    enum guest_kind kind;   /* GUEST_ABSENT: nothing was mapped, the guest may not have it */
    bool beyond_limit;      /* absent because the model's MAXPHYADDR or the tables end below it */
    struct table_leaf leaf; /* what maps it now, if not absent */
};

/* Nothing is built yet. `map` and `mtrr` stay the caller's; they are read at each fill. */
void direct_init(struct direct *direct, const struct mmu_env *env, struct table_cache *cache,
                 const struct table_format *format, struct guest_map *map,
                 const struct mtrr_state *mtrr);

/* The shadow pages: `size` bytes that roots with `tables` map at guest-physical `first` to the same
 * host-physical address, with `window` bytes behind them for direct_show(), where the map has nothing.
 * Before the first root is made. */
void direct_set_tables(struct direct *direct, hpa_t first, uint64_t size, uint64_t window);

/* The root for a model's role (of role_from_state()): the one there is, or a new one, empty.
 * -ENOMEM; -ENOSPC beyond DIRECT_ROOTS_MAX; -EINVAL if the role is not direct or of another format. */
int direct_root(struct direct *direct, union page_role role, struct table_page **root);

/*
 * Map the largest page that holds `address`, is wholly of one kind and one memory type, is aligned
 * in both spaces, lies below the model's limit, and is not writable if any of it is tracked. 0 also
 * if it was mapped already, or is absent; -ENOMEM.
 */
int direct_fill(struct direct *direct, struct table_page *root, gpa_t address,
                struct direct_result *result);

/* Fill everything below `limit`, so that the guest's first touch does not exit. -ENOMEM. */
int direct_build(struct direct *direct, struct table_page *root, gpa_t limit);

/*
 * Give a range of the map another kind, at the same place in the machine, in the map and under all
 * roots. Gaining rights needs no flush; losing them flushes. Errors of guest_map_set(); what cannot
 * be mapped for want of memory is absent and is filled on demand.
 */
int direct_set_kind(struct direct *direct, gpa_t start, uint64_t size, enum guest_kind kind);

/*
 * Make one guest frame read-only, or as the map has it again, under all roots; what is not mapped
 * stays so, and direct->tracked() must know by its next fill. Does not flush: after rights were
 * lost the caller calls env->flush(), once for many frames.
 */
void direct_protect(struct direct *direct, gfn_t frame, bool writable);

/*
 * Under roots with `tables` have a page of the window map a guest's frame, read-only, until the next
 * call for that page, until all tables are dropped, or until any of the guest's memory becomes absent.
 * Flushes if the page mapped another. -ENOENT: the guest has no memory there, nor any by the frame's
 * own address; -ENOMEM.
 */
int direct_show(struct direct *direct, gpa_t page, gfn_t frame);

/* The MTRRs changed: drop everything below the roots, which stay, and flush. The guest fills it
 * again on demand, or the caller by direct_build(). */
void direct_rebuild(struct direct *direct);

/* Give all pages back, the roots too (guest reset). Nothing may use them any more. */
void direct_destroy(struct direct *direct);

/* Figures for the console: begin to count. */
void direct_count_begin(struct direct *direct);

/* Table pages that one root reaches, itself included, and that no root counted for `model` (1 or
 * more) has reached since then. All roots of a model are counted before another's. */
unsigned int direct_count_root(struct direct *direct, struct table_page *root, unsigned int model);

/* Table pages in all, and of them those that were counted for more than one model. */
struct direct_stats {
    unsigned int pages, shared;
};
void direct_count(const struct direct *direct, struct direct_stats *stats);

#endif
