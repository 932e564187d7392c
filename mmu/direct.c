/* SPDX-License-Identifier: BSD-2-Clause */
#include "mmu/direct.h"
#include <errno.h>
#include <stddef.h>

/* The tables below one root, as table.h sees them. */
struct view {
    struct table_space space; /* first: the source's functions are given this */
    struct direct *direct;
    union page_role role; /* of the root; all others follow from it */
};

static union page_role role_at(const struct direct *direct, union page_role role, uint64_t address,
                               unsigned int level)
{
    return role_at_nested_level(role, level, gfn(address >> PAGE_SHIFT),
                                gfn(direct->tables_start >> PAGE_SHIFT),
                                gfn(direct->tables_end >> PAGE_SHIFT));
}

static union page_role role_below(const struct view *view, uint64_t address, unsigned int level)
{
    return role_at(view->direct, view->role, address, level);
}

static struct table_page *page_below(const struct view *view, uint64_t address, unsigned int level)
{
    return table_cache_find(view->direct->cache, gfn(address >> PAGE_SHIFT),
                            role_below(view, address, level));
}

static int source_get(struct table_space *space, uint64_t address, unsigned int level, hpa_t *page)
{
    struct view *view = (struct view *)space;
    struct table_page *found = table_cache_get(view->direct->cache, gfn(address >> PAGE_SHIFT),
                                               role_below(view, address, level));

    if (!found)
        return -ENOMEM;
    *page = found->page;
    return found->users > 1;
}

static bool source_shared(struct table_space *space, uint64_t address, unsigned int level)
{
    return page_below((struct view *)space, address, level)->users > 1;
}

static void source_put(struct table_space *space, uint64_t address, unsigned int level)
{
    struct view *view = (struct view *)space;

    table_cache_put(view->direct->cache, page_below(view, address, level));
}

static const struct table_source source = {
    .get = source_get, .shared = source_shared, .put = source_put};

static struct view view_of(struct direct *direct, const struct table_page *root)
{
    return (struct view){.space = {.env = direct->env,
                                   .source = &source,
                                   .format = direct->format,
                                   .root = root->page},
                         .direct = direct,
                         .role = root->role};
}

void direct_init(struct direct *direct, const struct mmu_env *env, struct table_cache *cache,
                 const struct table_format *format, struct guest_map *map,
                 const struct mtrr_state *mtrr)
{
    *direct =
        (struct direct){.env = env, .cache = cache, .map = map, .mtrr = mtrr, .format = *format};
}

void direct_set_tables(struct direct *direct, hpa_t first, uint64_t size)
{
    direct->tables_start = first.raw;
    direct->tables_end = first.raw + size;
}

int direct_root(struct direct *direct, union page_role role, struct table_page **root)
{
    union page_role canonical = role_at(direct, role, 0, direct->format.levels);

    if (!role.direct || role.format != direct->format.id)
        return -EINVAL;
    for (unsigned int i = 0; i < direct->roots; i++) {
        *root = direct->root[i];
        if (role_equal((*root)->role, canonical))
            return 0;
    }
    if (direct->roots == DIRECT_ROOTS_MAX)
        return -ENOSPC;
    *root = table_cache_get(direct->cache, gfn(0), canonical);
    if (!*root) {
        direct_rebuild(direct);
        *root = table_cache_get(direct->cache, gfn(0), canonical);
    }
    if (!*root)
        return -ENOMEM;
    direct->root[direct->roots++] = *root;
    return 0;
}

/* Where the addresses of a root's guest end. */
static uint64_t root_limit(const struct direct *direct, const struct table_page *root)
{
    uint64_t reach = level_size(direct->format.levels + 1U);
    uint64_t limit = role_limit(root->role);

    return limit < reach ? limit : reach;
}

static unsigned int kind_access(enum guest_kind kind)
{
    switch (kind) {
    case GUEST_PASS:
        return ACCESS_RWX;
    case GUEST_READ_ONLY:
        return ACCESS_READ | ACCESS_EXECUTE;
    case GUEST_ABSENT:
        break;
    }
    return 0;
}

static bool is_tracked(const struct direct *direct, uint64_t address, uint64_t size)
{
    return direct->tracked &&
           direct->tracked(direct->tracked_ctx, gfn(address >> PAGE_SHIFT), size >> PAGE_SHIFT);
}

/* A part of the guest's addresses under one root: from the map, or the shadow pages. */
struct part {
    struct guest_range range;
    unsigned int access;
    bool tables;
};

static struct part part_at(const struct direct *direct, const struct table_page *root,
                           gpa_t address)
{
    struct part part = {.range = guest_map_find(direct->map, address)};
    uint64_t start = direct->tables_start, end = direct->tables_end;

    part.access = kind_access(part.range.kind);
    if (!root->role.tables || part.range.end <= start || part.range.start >= end)
        return part;
    if (address.raw < start) {
        part.range.end = start;
    } else if (address.raw >= end) {
        part.range.base.raw += end > part.range.start ? end - part.range.start : 0;
        part.range.start = end > part.range.start ? end : part.range.start;
    } else {
        part.range = (struct guest_range){
            .start = start, .end = end, .base = hpa(start), .kind = GUEST_PASS};
        part.access = ACCESS_READ | ACCESS_WRITE;
        part.tables = true;
    }
    return part;
}

/* The largest block of a part that holds `address`, of `size` or less by steps of `shift` bits, and
 * can be mapped as one; its type in `leaf` too. */
static struct table_leaf largest_block(const struct direct *direct, const struct part *part,
                                       uint64_t address, uint64_t size, unsigned int shift)
{
    const struct guest_range *range = &part->range;
    struct table_leaf leaf = {.access = part->access};
    bool tracked = false;

    for (; size >= PAGE_SIZE; size >>= shift) {
        leaf.size = size;
        leaf.address = address & ~(size - 1UL);
        leaf.page = hpa(range->base.raw + (leaf.address - range->start));
        if (leaf.address >= range->start && leaf.size <= range->end - leaf.address &&
            !(leaf.page.raw & (leaf.size - 1UL)) &&
            mtrr_uniform(direct->mtrr, leaf.page, leaf.size, &leaf.type)) {
            tracked = !part->tables && is_tracked(direct, leaf.address, leaf.size);
            if (!tracked)
                break;
        }
    }
    if (tracked)
        leaf.access &= ~(unsigned int)ACCESS_WRITE;
    return leaf;
}

static int map_leaf(struct view *view, const struct table_leaf *leaf)
{
    return table_map(&view->space, leaf->address, leaf->page, leaf->size, leaf->access, leaf->type);
}

/* Run dry, all that is there goes: what the guest uses comes back by its touch, and what it does
 * not, such as the splits about frames that were tracked once, does not. */
int direct_fill(struct direct *direct, struct table_page *root, gpa_t address,
                struct direct_result *result)
{
    struct part part = part_at(direct, root, address);
    struct view view = view_of(direct, root);

    *result = (struct direct_result){.kind = GUEST_ABSENT};
    result->beyond_limit = address.raw >= root_limit(direct, root);
    if (result->beyond_limit || part.access == 0)
        return 0;
    if (!table_lookup(&view.space, address.raw, &result->leaf)) {
        struct table_leaf leaf =
            largest_block(direct, &part, address.raw, level_size(direct->format.max_leaf), 9);
        int rc = map_leaf(&view, &leaf);

        if (rc == -ENOMEM) {
            direct_rebuild(direct);
            rc = map_leaf(&view, &leaf);
        }
        if (rc != 0)
            return rc;
        result->leaf = leaf;
    }
    result->kind = part.range.kind;
    return 0;
}

/* Of the largest block that may begin at an address: a page, or more that end with `end`. */
static uint64_t aligned_size(const struct direct *direct, uint64_t address, uint64_t end)
{
    uint64_t bits = address | level_size(direct->format.levels);
    uint64_t size = bits & -bits;

    while (size > level_size(direct->format.max_leaf) && size > end - address)
        size /= 2;
    return size;
}

/* By blocks of many pages: what is the same for all of them is found out once. */
int direct_build(struct direct *direct, struct table_page *root, gpa_t limit)
{
    struct view view = view_of(direct, root);
    uint64_t end = root_limit(direct, root);
    uint64_t address = 0;

    if (limit.raw < end)
        end = limit.raw;
    while (address < end) {
        struct part part = part_at(direct, root, gpa(address));
        uint64_t size = aligned_size(direct, address, end);
        struct table_leaf block;
        int rc;

        if (part.access == 0) {
            address = part.range.end;
            continue;
        }
        block = largest_block(direct, &part, address, size, 1);
        rc =
            table_map(&view.space, block.address, block.page, block.size, block.access, block.type);
        if (rc != 0)
            return rc;
        address = block.address + block.size;
    }
    return 0;
}

/* Changing rights may take a table page to split a large one. Without it, drop whole pages of the
 * largest size, which needs no memory: the guest's next touch fills them by the map. */
static void set_access(struct view *view, uint64_t start, uint64_t size, unsigned int access)
{
    uint64_t huge = level_size(3);
    uint64_t first = start & ~(huge - 1UL);
    int rc;

    if (access == 0 || ((access & ACCESS_WRITE) && is_tracked(view->direct, start, size)))
        rc = table_unmap(&view->space, start, size);
    else
        rc = table_protect(&view->space, start, size, access);
    if (rc == -ENOMEM)
        table_unmap(&view->space, first, ((start + size + huge - 1UL) & ~(huge - 1UL)) - first);
}

/* Change the map alone; every part must be there already. */
static int set_map_kind(struct guest_map *map, uint64_t start, uint64_t end, enum guest_kind kind)
{
    struct guest_map changed = *map;
    uint64_t address = start;

    while (address < end) {
        struct guest_range range = guest_map_find(&changed, gpa(address));
        uint64_t part = (range.end < end ? range.end : end) - address;
        int rc = -EINVAL;

        if (range.kind != GUEST_ABSENT)
            rc = guest_map_set(&changed, gpa(address), part,
                               hpa(range.base.raw + (address - range.start)), kind);
        if (rc != 0)
            return rc;
        address += part;
    }
    *map = changed;
    return 0;
}

int direct_set_kind(struct direct *direct, gpa_t start, uint64_t size, enum guest_kind kind)
{
    int rc;

    if (size == 0 || size > GUEST_MAP_END || start.raw > GUEST_MAP_END - size)
        return -EINVAL;
    rc = set_map_kind(direct->map, start.raw, start.raw + size, kind);
    if (rc != 0)
        return rc;
    for (unsigned int i = 0; i < direct->roots; i++) {
        struct view view = view_of(direct, direct->root[i]);
        uint64_t reach = level_size(direct->format.levels + 1U);
        uint64_t end = start.raw + size < reach ? start.raw + size : reach;

        if (start.raw < end)
            set_access(&view, start.raw, end - start.raw, kind_access(kind));
    }
    return 0;
}

static void flush_later(void *ctx)
{
    (void)ctx;
}

/* The same without a flush. Nothing is freed: a page is split, or changed where it stands. */
static int protect_under(struct direct *direct, struct table_page *root, uint64_t address,
                         unsigned int access)
{
    struct view view = view_of(direct, root);
    struct mmu_env env = *direct->env;
    struct table_leaf leaf;

    env.flush = flush_later;
    view.space.env = &env;
    if (!table_lookup(&view.space, address, &leaf) || leaf.access == access)
        return 0;
    return table_protect(&view.space, address, PAGE_SIZE, access);
}

/* Out of memory all is dropped, the frame too: its next touch finds whether it is tracked. */
void direct_protect(struct direct *direct, gfn_t frame, bool writable)
{
    uint64_t address = frame.raw << PAGE_SHIFT;
    unsigned int access = kind_access(guest_map_find(direct->map, gpa(address)).kind);
    int rc = 0;

    if (!writable)
        access &= ~(unsigned int)ACCESS_WRITE;
    for (unsigned int i = 0; i < direct->roots && access != 0 && rc == 0; i++)
        rc = protect_under(direct, direct->root[i], address, access);
    if (rc == -ENOMEM)
        direct_rebuild(direct);
}

void direct_rebuild(struct direct *direct)
{
    for (unsigned int i = 0; i < direct->roots; i++) {
        struct view view = view_of(direct, direct->root[i]);

        table_unmap(&view.space, 0, level_size(direct->format.levels + 1U));
    }
}

void direct_destroy(struct direct *direct)
{
    direct_rebuild(direct);
    for (unsigned int i = 0; i < direct->roots; i++)
        table_cache_put(direct->cache, direct->root[i]);
    direct->roots = 0;
}

/* Mark each page once for each root that reaches it; returns how many this one does. */
static unsigned int mark_tables(const struct view *view, struct table_page *page,
                                unsigned int level)
{
    const uint64_t *table = view->space.env->map(view->space.env->ctx, page->page);
    unsigned int reached = 1;

    page->mark++;
    for (unsigned int i = 0; i < TABLE_ENTRIES && level > 1; i++)
        if (format_present(&view->space.format, table[i]) &&
            !format_is_leaf(&view->space.format, table[i], level))
            reached += mark_tables(
                view,
                page_below(view, (page->frame.raw << PAGE_SHIFT) + i * level_size(level),
                           level - 1),
                level - 1);
    return reached;
}

unsigned int direct_count_root(struct direct *direct, struct table_page *root)
{
    struct view view = view_of(direct, root);

    return mark_tables(&view, root, direct->format.levels);
}

void direct_count(struct direct *direct, struct direct_stats *stats)
{
    const struct table_cache *cache = direct->cache;

    *stats = (struct direct_stats){.pages = cache->pages};
    for (unsigned int i = 0; i < cache->capacity; i++)
        cache->pool[i].mark = 0;
    for (unsigned int i = 0; i < direct->roots; i++)
        direct_count_root(direct, direct->root[i]);
    for (unsigned int i = 0; i < cache->capacity; i++)
        stats->shared += cache->pool[i].mark > 1;
}
