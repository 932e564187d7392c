/* SPDX-License-Identifier: BSD-2-Clause */
/* What must be true of all leaves of a space of tables. */
#include "mmu/table.h"
#include <errno.h>

struct wx {
    struct table_leaf *bad;
    unsigned int *leaves;
};

static int check_wx(void *ctx, const struct table_leaf *leaf)
{
    const struct wx *wx = ctx;

    ++*wx->leaves;
    if (!(leaf->access & ACCESS_WRITE) || !(leaf->access & ACCESS_EXECUTE))
        return 0;
    *wx->bad = *leaf;
    return -EPERM;
}

int table_check_wx(const struct table_space *space, struct table_leaf *bad, unsigned int *leaves)
{
    struct wx wx = {.bad = bad, .leaves = leaves};

    *leaves = 0;
    return table_for_each_leaf(space, check_wx, &wx);
}

struct read_only {
    const struct table_frames *frames;
    unsigned int count;
    struct table_leaf *bad;
};

static int check_read_only(void *ctx, const struct table_leaf *leaf)
{
    const struct read_only *ro = ctx;

    if (!(leaf->access & ACCESS_WRITE))
        return 0;
    for (unsigned int i = 0; i < ro->count; i++) {
        const struct table_frames *f = &ro->frames[i];
        if (leaf->page.raw < f->first.raw + f->size && f->first.raw < leaf->page.raw + leaf->size) {
            *ro->bad = *leaf;
            return -EPERM;
        }
    }
    return 0;
}

int table_check_read_only(const struct table_space *space, const struct table_frames *frames,
                          unsigned int count, struct table_leaf *bad)
{
    struct read_only ro = {.frames = frames, .count = count, .bad = bad};

    return table_for_each_leaf(space, check_read_only, &ro);
}
