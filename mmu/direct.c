/* SPDX-License-Identifier: BSD-2-Clause */
#include "mmu/direct_view.h"
#include <errno.h>
#include <stddef.h>

void direct_init(struct direct *direct, const struct mmu_env *env, struct table_cache *cache,
                 const struct table_format *format, struct guest_map *map,
                 const struct mtrr_state *mtrr)
{
    *direct =
        (struct direct){.env = env, .cache = cache, .map = map, .mtrr = mtrr, .format = *format};
}

void direct_set_tables(struct direct *direct, hpa_t first, uint64_t size, uint64_t window)
{
    direct->tables_start = first.raw;
    direct->tables_end = first.raw + size;
    direct->window_end = direct->tables_end + window;
}

/* Run dry, all that is there goes: what the guest uses comes back by its touch, and what it does
 * not, such as the splits about frames that were tracked once, does not. */
static void make_room(struct direct *direct)
{
    direct->rebuilds++;
    direct_rebuild(direct);
}

int direct_root(struct direct *direct, union page_role role, struct table_page **root)
{
    union page_role canonical = direct_role(direct, role, 0, direct->format.levels);

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
        make_room(direct);
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

static int map_leaf(struct direct_view *view, const struct table_leaf *leaf)
{
    return table_map(&view->space, leaf->address, leaf->page, leaf->size, leaf->access, leaf->type);
}

int direct_fill(struct direct *direct, struct table_page *root, gpa_t address,
                struct direct_result *result)
{
    struct part part = part_at(direct, root, address);
    struct direct_view view = direct_view(direct, root);

    *result = (struct direct_result){.kind = GUEST_ABSENT};
    result->beyond_limit = address.raw >= root_limit(direct, root);
    if (result->beyond_limit || part.access == 0)
        return 0;
    if (!table_lookup(&view.space, address.raw, &result->leaf)) {
        struct table_leaf leaf =
            largest_block(direct, &part, address.raw, level_size(direct->format.max_leaf), 9);
        int rc = map_leaf(&view, &leaf);

        if (rc == -ENOMEM) {
            make_room(direct);
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
    struct direct_view view = direct_view(direct, root);
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
static void set_access(struct direct_view *view, uint64_t start, uint64_t size, unsigned int access)
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

/* No page of the window shows anything: it might be what is absent now. */
static void hide_shown(struct direct_view *view)
{
    const struct direct *direct = view->direct;

    if (view->role.tables && direct->window_end != direct->tables_end)
        (void)table_unmap(&view->space, direct->tables_end,
                          direct->window_end - direct->tables_end);
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
        struct direct_view view = direct_view(direct, direct->root[i]);
        uint64_t reach = level_size(direct->format.levels + 1U);
        uint64_t end = start.raw + size < reach ? start.raw + size : reach;

        if (start.raw < end)
            set_access(&view, start.raw, end - start.raw, kind_access(kind));
        if (kind == GUEST_ABSENT)
            hide_shown(&view);
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
    struct direct_view view = direct_view(direct, root);
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
        make_room(direct);
}

/* Under all roots that have a window. */
static int show_under_roots(struct direct *direct, const struct table_leaf *leaf)
{
    int rc = 0;

    for (unsigned int i = 0; i < direct->roots && rc == 0; i++) {
        struct direct_view view = direct_view(direct, direct->root[i]);

        if (view.role.tables)
            rc = map_leaf(&view, leaf);
    }
    return rc;
}

int direct_show(struct direct *direct, gpa_t page, gfn_t frame)
{
    uint64_t address = frame.raw << PAGE_SHIFT;
    struct guest_range range = guest_map_find(direct->map, gpa(address));
    struct table_leaf leaf = {.address = page.raw,
                              .page = hpa(range.base.raw + address - range.start),
                              .size = PAGE_SIZE,
                              .access = kind_access(range.kind) & ~(unsigned int)ACCESS_WRITE};
    int rc;

    if (leaf.access == 0 || address >= level_size(direct->format.levels + 1U))
        return -ENOENT;
    (void)mtrr_uniform(direct->mtrr, leaf.page, leaf.size, &leaf.type); /* a page always is */
    rc = show_under_roots(direct, &leaf);
    if (rc != -ENOMEM)
        return rc;
    make_room(direct);
    return show_under_roots(direct, &leaf);
}

void direct_rebuild(struct direct *direct)
{
    for (unsigned int i = 0; i < direct->roots; i++) {
        struct direct_view view = direct_view(direct, direct->root[i]);

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
