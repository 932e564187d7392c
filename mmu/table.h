/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef LATCH_MMU_TABLE_H
#define LATCH_MMU_TABLE_H
/*
 * The one builder and walker of tables. An address is a linear address for the host's tables and
 * a guest-physical one for nested tables; bits above the tables' reach must be 0, or in the host's
 * tables a copy of the top bit.
 *
 * Locking: the caller holds one lock per set of tables that share pages. Hardware and other CPUs'
 * lookups may walk at the same time: an entry changes by one store, new tables are filled before
 * they are linked. Where a present entry loses rights, moves or goes, env->flush() is called before
 * the function returns and before any table page is freed.
 */
#include "mmu/format.h"

struct table_space;

/* Where table pages come from and go to, if not straight to the environment. */
struct table_source {
    /* A page for the table at `level` whose first address is `address`: 0 for a zeroed one, 1 for
     * one that is already filled as this space would, -ENOMEM for none. */
    int (*get)(struct table_space *space, uint64_t address, unsigned int level, hpa_t *page);
    /* Whether others link to it, so that the tables below it stay. */
    bool (*shared)(struct table_space *space, uint64_t address, unsigned int level);
    /* Give it back, unlinked and flushed. */
    void (*put)(struct table_space *space, uint64_t address, unsigned int level);
};

struct table_space {
    const struct mmu_env *env;
    const struct table_source *source; /* NULL: the environment */
    struct table_format format;
    hpa_t root;
};

/* One mapping as it stands in the tables. */
struct table_leaf {
    uint64_t address; /* of its first byte */
    hpa_t page;
    uint64_t size; /* 4 KiB, 2 MiB or 1 GiB */
    unsigned int access;
    enum cache_type type;
};

/* Make an empty space with a root of its own; -ENOMEM. */
int table_space_init(struct table_space *space, const struct mmu_env *env,
                     const struct table_format *format);

/* Free all tables, the root too. Nothing may use them any more. */
void table_space_destroy(struct table_space *space);

/*
 * Map [address, address + size) to [page, …), all three multiples of 4 KiB and size not 0, with the
 * largest pages that alignment and format allow. What was mapped there is replaced; a large page
 * that reaches over an end is split. -EINVAL for arguments out of range, -ENOMEM with a part mapped
 * and the rest as it was.
 */
int table_map(struct table_space *space, uint64_t address, hpa_t page, uint64_t size,
              unsigned int access, enum cache_type type);

/* Change the rights of what is mapped in the range; holes stay holes. Errors as table_map(). */
int table_protect(struct table_space *space, uint64_t address, uint64_t size, unsigned int access);

/* Remove what is mapped in the range; tables that become empty are freed. Errors as table_map(). */
int table_unmap(struct table_space *space, uint64_t address, uint64_t size);

/* Find the leaf that maps an address; false if none does. Takes no lock. */
bool table_lookup(const struct table_space *space, uint64_t address, struct table_leaf *leaf);

/* Call `each` for every leaf in order of address until it returns non-zero; returns that, or 0. */
int table_for_each_leaf(const struct table_space *space,
                        int (*each)(void *ctx, const struct table_leaf *leaf), void *ctx);

/* For the host's tables: 0, or -EPERM and the first leaf that is both writable and executable.
 * `leaves` becomes how many were looked at: with 0 all of them. */
int table_check_wx(const struct table_space *space, struct table_leaf *bad, unsigned int *leaves);

/* Physical memory that nothing may write to. */
struct table_frames {
    hpa_t first;
    uint64_t size; /* in bytes, as `first` a multiple of 4 KiB */
};

/* 0, or -EPERM and the first writable leaf, at whatever address, that maps any of those frames. */
int table_check_read_only(const struct table_space *space, const struct table_frames *frames,
                          unsigned int count, struct table_leaf *bad);

#endif
