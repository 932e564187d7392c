/* SPDX-License-Identifier: BSD-2-Clause */
#include "mmu/guest_map.h"
#include <errno.h>

struct builder {
    struct guest_map map;
    bool full;
};

/* Append in order of address, joined with the last range if it simply goes on. */
static void append(struct builder *b, struct guest_range range)
{
    struct guest_range *last = b->map.count ? &b->map.range[b->map.count - 1] : 0;

    if (range.start >= range.end || range.kind == GUEST_ABSENT)
        return;
    if (last && last->end == range.start && last->kind == range.kind &&
        last->base.raw + (last->end - last->start) == range.base.raw) {
        last->end = range.end;
    } else if (b->map.count == GUEST_RANGES_MAX) {
        b->full = true;
    } else {
        b->map.range[b->map.count++] = range;
    }
}

/* The part of a range that lies in [start, end); empty if none does. */
static struct guest_range clip(struct guest_range range, uint64_t start, uint64_t end)
{
    if (range.start < start) {
        range.base.raw += start - range.start;
        range.start = start;
    }
    if (range.end > end)
        range.end = end;
    return range;
}

int guest_map_set(struct guest_map *map, gpa_t start, uint64_t size, hpa_t base,
                  enum guest_kind kind)
{
    struct builder b = {.full = false};
    uint64_t end = start.raw + size;

    if (size == 0 || size > GUEST_MAP_END || start.raw > GUEST_MAP_END - size ||
        base.raw > GUEST_MAP_END - size || ((start.raw | size | base.raw) & PAGE_OFFSET_MASK))
        return -EINVAL;
    for (unsigned int i = 0; i < map->count; i++)
        append(&b, clip(map->range[i], 0, start.raw));
    append(&b, (struct guest_range){.start = start.raw, .end = end, .base = base, .kind = kind});
    for (unsigned int i = 0; i < map->count; i++)
        append(&b, clip(map->range[i], end, GUEST_MAP_END));
    if (b.full)
        return -ENOSPC;
    *map = b.map;
    return 0;
}

struct guest_range guest_map_find(const struct guest_map *map, gpa_t address)
{
    struct guest_range hole = {.start = 0, .end = UINT64_MAX, .kind = GUEST_ABSENT};

    for (unsigned int i = 0; i < map->count; i++) {
        const struct guest_range *range = &map->range[i];

        if (address.raw < range->start) {
            hole.end = range->start;
            break;
        }
        if (address.raw < range->end)
            return *range;
        hole.start = range->end;
    }
    return hole;
}

gpa_t guest_map_end(const struct guest_map *map)
{
    return gpa(map->count ? map->range[map->count - 1].end : 0);
}
