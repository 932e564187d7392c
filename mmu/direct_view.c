/* SPDX-License-Identifier: BSD-2-Clause */
#include "mmu/direct_view.h"
#include <errno.h>

union page_role direct_role(const struct direct *direct, union page_role role, uint64_t address,
                            unsigned int level)
{
    return role_at_nested_level(role, level, gfn(address >> PAGE_SHIFT),
                                gfn(direct->tables_start >> PAGE_SHIFT),
                                gfn(direct->window_end >> PAGE_SHIFT));
}

static union page_role role_below(const struct direct_view *view, uint64_t address,
                                  unsigned int level)
{
    return direct_role(view->direct, view->role, address, level);
}

struct table_page *direct_page(const struct direct_view *view, uint64_t address, unsigned int level)
{
    return table_cache_find(view->direct->cache, gfn(address >> PAGE_SHIFT),
                            role_below(view, address, level));
}

static int source_get(struct table_space *space, uint64_t address, unsigned int level, hpa_t *page)
{
    struct direct_view *view = (struct direct_view *)space;
    struct table_page *found = table_cache_get(view->direct->cache, gfn(address >> PAGE_SHIFT),
                                               role_below(view, address, level));

    if (!found)
        return -ENOMEM;
    *page = found->page;
    return found->users > 1;
}

static bool source_shared(struct table_space *space, uint64_t address, unsigned int level)
{
    return direct_page((struct direct_view *)space, address, level)->users > 1;
}

static void source_put(struct table_space *space, uint64_t address, unsigned int level)
{
    struct direct_view *view = (struct direct_view *)space;

    table_cache_put(view->direct->cache, direct_page(view, address, level));
}

static const struct table_source source = {
    .get = source_get, .shared = source_shared, .put = source_put};

struct direct_view direct_view(struct direct *direct, const struct table_page *root)
{
    return (struct direct_view){.space = {.env = direct->env,
                                          .source = &source,
                                          .format = direct->format,
                                          .root = root->page},
                                .direct = direct,
                                .role = root->role};
}
