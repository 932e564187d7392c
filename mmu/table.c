/* SPDX-License-Identifier: BSD-2-Clause */
#include "mmu/table.h"
#include <errno.h>
#include <stddef.h>

/* What one call does to a range. */
struct change {
    enum { CHANGE_MAP, CHANGE_PROTECT, CHANGE_UNMAP } kind;
    hpa_t page; /* for `start` */
    uint64_t start, end;
    unsigned int access;
    enum cache_type type;
    bool lost; /* a present entry lost rights, moved or went */
};

/* A table in the walk: where it is, its level, and the first address that it covers. */
struct position {
    hpa_t table;
    unsigned int level;
    uint64_t first;
};

static volatile uint64_t *entry_at(const struct table_space *space, struct position at,
                                   uint64_t address)
{
    volatile uint64_t *table = space->env->map(space->env->ctx, at.table);

    return &table[(address - at.first) / level_size(at.level)];
}

static int get_table(struct table_space *space, uint64_t first, unsigned int level, hpa_t *page)
{
    if (space->source)
        return space->source->get(space, first, level, page);
    return space->env->alloc_page(space->env->ctx, page);
}

/* Free an unlinked and flushed table with all tables below it that nobody else uses. */
static void free_table(struct table_space *space, struct position at)
{
    bool shared = space->source && space->source->shared(space, at.first, at.level);
    uint64_t size = level_size(at.level);

    for (unsigned int i = 0; i < TABLE_ENTRIES && at.level > 1 && !shared; i++) {
        uint64_t address = at.first + i * size;
        uint64_t entry = *entry_at(space, at, address);

        if (format_present(&space->format, entry) &&
            !format_is_leaf(&space->format, entry, at.level))
            free_table(space, (struct position){.table = format_table(&space->format, entry),
                                                .level = at.level - 1,
                                                .first = address});
    }
    if (space->source)
        space->source->put(space, at.first, at.level);
    else
        space->env->free_page(space->env->ctx, at.table);
}

/* Put `entry` in the place of a link to a table, and free that. */
static void replace_table(struct table_space *space, struct position child,
                          volatile uint64_t *place, uint64_t entry)
{
    *place = entry;
    space->env->flush(space->env->ctx);
    free_table(space, child);
}

static bool table_empty(const struct table_space *space, struct position at)
{
    const volatile uint64_t *table = space->env->map(space->env->ctx, at.table);

    for (unsigned int i = 0; i < TABLE_ENTRIES; i++)
        if (format_present(&space->format, table[i]))
            return false;
    return true;
}

/* Make a table that maps what the leaf `entry`, one level above it, maps. */
static void fill_from_leaf(struct table_space *space, struct position at, uint64_t entry)
{
    uint64_t page = format_page(&space->format, entry, at.level + 1).raw;
    unsigned int access = format_access(&space->format, entry);
    enum cache_type type = format_type(&space->format, entry);
    volatile uint64_t *table = space->env->map(space->env->ctx, at.table);

    for (unsigned int i = 0; i < TABLE_ENTRIES; i++) {
        uint64_t offset = i * level_size(at.level);

        table[i] = format_leaf_entry(&space->format, hpa(page + offset), at.level, access, type);
    }
}

/* The table below an entry; made, or split from the leaf, where there is none. */
static int enter_table(struct table_space *space, volatile uint64_t *place, struct change *change,
                       struct position *child)
{
    uint64_t entry = *place;
    bool present = format_present(&space->format, entry);
    int rc;

    if (present && !format_is_leaf(&space->format, entry, child->level + 1)) {
        child->table = format_table(&space->format, entry);
        return 0;
    }
    rc = get_table(space, child->first, child->level, &child->table);
    if (rc < 0)
        return rc;
    if (present && rc == 0)
        fill_from_leaf(space, *child, entry);
    else if (present)
        change->lost = true; /* the table that was there may have holes */
    *place = format_table_entry(&space->format, child->table);
    return 0;
}

/* Replace a leaf, or an entry that is not present. */
static void set_leaf(struct table_space *space, volatile uint64_t *place, unsigned int level,
                     uint64_t entry, struct change *change)
{
    const struct table_format *format = &space->format;
    uint64_t old = *place;

    if (old == entry)
        return;
    *place = entry;
    if (format_present(format, old) &&
        (!format_present(format, entry) ||
         format_page(format, old, level).raw != format_page(format, entry, level).raw ||
         format_encrypted(format, old) != format_encrypted(format, entry) ||
         format_type(format, old) != format_type(format, entry) ||
         (format_access(format, old) & ~format_access(format, entry))))
        change->lost = true;
}

static int change_table(struct table_space *space, struct position at, struct change *change);

/* Go into the table below an entry, and drop it if unmapping leaves it empty. */
static int change_below(struct table_space *space, volatile uint64_t *place, struct position child,
                        struct change *change)
{
    int rc = enter_table(space, place, change, &child);

    if (rc == 0)
        rc = change_table(space, child, change);
    if (rc == 0 && change->kind == CHANGE_UNMAP && table_empty(space, child))
        replace_table(space, child, place, 0);
    return rc;
}

/* Change what one entry maps: `address` is its first. */
static int change_entry(struct table_space *space, volatile uint64_t *place, unsigned int level,
                        uint64_t address, struct change *change)
{
    const struct table_format *format = &space->format;
    uint64_t entry = *place;
    uint64_t size = level_size(level);
    struct position child = {.level = level - 1, .first = address};
    bool present = format_present(format, entry);
    bool leaf = present && format_is_leaf(format, entry, level);
    bool whole = change->start <= address && change->end >= address + size;
    uint64_t new_entry = 0;

    if (change->kind == CHANGE_MAP) {
        uint64_t page = change->page.raw + (address - change->start);

        if (!whole || level > format->max_leaf || (page & (size - 1UL)) ||
            !encryption_uniform(format->encryption, hpa(page), size))
            return change_below(space, place, child, change);
        new_entry = format_leaf_entry(format, hpa(page), level, change->access, change->type);
    } else if (!present) {
        return 0;
    } else if (change->kind == CHANGE_PROTECT) {
        if (leaf)
            new_entry = format_leaf_entry(format, format_page(format, entry, level), level,
                                          change->access, format_type(format, entry));
        if (leaf && new_entry == entry)
            return 0;
        if (!leaf || !whole)
            return change_below(space, place, child, change);
    } else if (!whole) {
        return change_below(space, place, child, change);
    }
    if (present && !leaf) {
        child.table = format_table(format, entry);
        replace_table(space, child, place, new_entry);
    } else {
        set_leaf(space, place, level, new_entry, change);
    }
    return 0;
}

static int change_table(struct table_space *space, struct position at, struct change *change)
{
    volatile uint64_t *table = space->env->map(space->env->ctx, at.table);
    uint64_t size = level_size(at.level);
    uint64_t address = at.first;
    int rc = 0;

    if (change->start > at.first)
        address += (change->start - at.first) / size * size;
    for (unsigned int i = (unsigned int)((address - at.first) / size);
         rc == 0 && i < TABLE_ENTRIES && address < change->end; i++, address += size)
        rc = change_entry(space, &table[i], at.level, address, change);
    return rc;
}

static unsigned int address_bits(const struct table_space *space)
{
    return PAGE_SHIFT + 9U * space->format.levels;
}

/* The address without the copies of the top bit that linear addresses carry. */
static uint64_t reduce(const struct table_space *space, uint64_t address)
{
    return address & ((1UL << address_bits(space)) - 1UL);
}

static uint64_t extend(const struct table_space *space, uint64_t address)
{
    unsigned int bits = address_bits(space);

    if (space->format.id != FORMAT_HOST || !(address >> (bits - 1U) & 1U))
        return address;
    return address | ~0UL << bits;
}

static int change_range(struct table_space *space, uint64_t address, uint64_t size,
                        struct change *change)
{
    uint64_t reach = 1UL << address_bits(space);
    uint64_t start = reduce(space, address);
    uint64_t room = reach - start;
    int rc;

    /* The lower half of linear addresses ends before the hole. */
    if (space->format.id == FORMAT_HOST && start < reach / 2U)
        room = reach / 2U - start;
    if (size == 0 || size > room || ((address | size | change->page.raw) & PAGE_OFFSET_MASK) ||
        extend(space, start) != address)
        return -EINVAL;
    change->start = start;
    change->end = start + size;
    rc = change_table(
        space, (struct position){.table = space->root, .level = space->format.levels, .first = 0},
        change);
    if (change->lost)
        space->env->flush(space->env->ctx);
    return rc;
}

int table_space_init(struct table_space *space, const struct mmu_env *env,
                     const struct table_format *format)
{
    *space = (struct table_space){.env = env, .format = *format};
    return env->alloc_page(env->ctx, &space->root);
}

void table_space_destroy(struct table_space *space)
{
    free_table(space,
               (struct position){.table = space->root, .level = space->format.levels, .first = 0});
}

int table_map(struct table_space *space, uint64_t address, hpa_t page, uint64_t size,
              unsigned int access, enum cache_type type)
{
    struct change change = {.kind = CHANGE_MAP, .page = page, .access = access, .type = type};
    const uint64_t reach = encryption_reach(space->format.encryption);

    if (!(access & ACCESS_RWX) || page.raw >= reach || size > reach || page.raw > reach - size)
        return -EINVAL;
    return change_range(space, address, size, &change);
}

int table_protect(struct table_space *space, uint64_t address, uint64_t size, unsigned int access)
{
    struct change change = {.kind = CHANGE_PROTECT, .access = access};

    if (!(access & ACCESS_RWX))
        return -EINVAL;
    return change_range(space, address, size, &change);
}

int table_unmap(struct table_space *space, uint64_t address, uint64_t size)
{
    struct change change = {.kind = CHANGE_UNMAP};

    return change_range(space, address, size, &change);
}

static struct table_leaf leaf_of(const struct table_space *space, uint64_t entry,
                                 unsigned int level, uint64_t address)
{
    return (struct table_leaf){.address = extend(space, address),
                               .page = format_page(&space->format, entry, level),
                               .size = level_size(level),
                               .access = format_access(&space->format, entry),
                               .type = format_type(&space->format, entry)};
}

bool table_lookup(const struct table_space *space, uint64_t address, struct table_leaf *leaf)
{
    struct position at = {.table = space->root, .level = space->format.levels, .first = 0};
    uint64_t wanted = reduce(space, address);

    if (extend(space, wanted) != address)
        return false;
    for (;;) {
        uint64_t entry = *entry_at(space, at, wanted);
        uint64_t first = wanted & ~(level_size(at.level) - 1UL);

        if (!format_present(&space->format, entry))
            return false;
        if (format_is_leaf(&space->format, entry, at.level)) {
            *leaf = leaf_of(space, entry, at.level, first);
            return true;
        }
        at = (struct position){
            .table = format_table(&space->format, entry), .level = at.level - 1, .first = first};
    }
}

struct visit {
    int (*each)(void *ctx, const struct table_leaf *leaf);
    void *ctx;
};

static int visit_table(const struct table_space *space, struct position at,
                       const struct visit *visit)
{
    const volatile uint64_t *table = space->env->map(space->env->ctx, at.table);
    int rc = 0;

    for (unsigned int i = 0; rc == 0 && i < TABLE_ENTRIES; i++) {
        uint64_t entry = table[i];
        uint64_t address;
        struct table_leaf leaf;

        if (entry == 0 || !format_present(&space->format, entry)) /* most are 0 */
            continue;
        address = at.first + i * level_size(at.level);
        if (!format_is_leaf(&space->format, entry, at.level)) {
            rc = visit_table(space,
                             (struct position){.table = format_table(&space->format, entry),
                                               .level = at.level - 1,
                                               .first = address},
                             visit);
            continue;
        }
        leaf = leaf_of(space, entry, at.level, address);
        rc = visit->each(visit->ctx, &leaf);
    }
    return rc;
}

int table_for_each_leaf(const struct table_space *space,
                        int (*each)(void *ctx, const struct table_leaf *leaf), void *ctx)
{
    struct visit visit = {.each = each, .ctx = ctx};

    return visit_table(
        space, (struct position){.table = space->root, .level = space->format.levels, .first = 0},
        &visit);
}
