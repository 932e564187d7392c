/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef LATCH_MMU_DIRECT_VIEW_H
#define LATCH_MMU_DIRECT_VIEW_H
/* One root of the direct tables with all below, as table.h sees them. Inside of the direct tables'
 * own files only. */
#include "mmu/direct.h"

struct direct_view {
    struct table_space space; /* first: the source's functions are given this */
    struct direct *direct;
    union page_role role; /* of the root; all others follow from it */
};

struct direct_view direct_view(struct direct *direct, const struct table_page *root);

/* The canonical role of the page at `level` that covers an address, below a root of this role. */
union page_role direct_role(const struct direct *direct, union page_role role, uint64_t address,
                            unsigned int level);

/* That page, which exists. */
struct table_page *direct_page(const struct direct_view *view, uint64_t address,
                               unsigned int level);

#endif
