/* SPDX-License-Identifier: BSD-2-Clause */
#include "mmu/direct_view.h"

/* In a page's mark: the model that was counted last, and whether it was another before. */
#define MARK_SHARED (1U << 31)

void direct_count_begin(struct direct *direct)
{
    for (unsigned int i = 0; i < direct->cache->capacity; i++)
        direct->cache->pool[i].mark = 0;
}

static unsigned int count_tables(const struct direct_view *view, struct table_page *page,
                                 unsigned int level, unsigned int model)
{
    const uint64_t *table = view->space.env->map(view->space.env->ctx, page->page);
    unsigned int reached = 1;

    if ((page->mark & ~MARK_SHARED) == model)
        return 0;
    page->mark = model | (page->mark ? MARK_SHARED : 0);
    for (unsigned int i = 0; i < TABLE_ENTRIES && level > 1; i++)
        if (format_present(&view->space.format, table[i]) &&
            !format_is_leaf(&view->space.format, table[i], level))
            reached += count_tables(
                view,
                direct_page(view, (page->frame.raw << PAGE_SHIFT) + i * level_size(level),
                            level - 1),
                level - 1, model);
    return reached;
}

unsigned int direct_count_root(struct direct *direct, struct table_page *root, unsigned int model)
{
    struct direct_view view = direct_view(direct, root);

    return count_tables(&view, root, direct->format.levels, model);
}

void direct_count(const struct direct *direct, struct direct_stats *stats)
{
    const struct table_cache *cache = direct->cache;

    *stats = (struct direct_stats){.pages = cache->pages};
    for (unsigned int i = 0; i < cache->capacity; i++)
        stats->shared += (cache->pool[i].mark & MARK_SHARED) != 0;
}
