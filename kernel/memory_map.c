/* SPDX-License-Identifier: BSD-2-Clause */
#include "kernel/memory_map.h"
#include <errno.h>

static uint64_t min64(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}
static uint64_t max64(uint64_t a, uint64_t b)
{
    return a > b ? a : b;
}

static unsigned strictness(enum memory_type type)
{
    switch (type) {
    case MEMORY_RAM:
        return 0;
    case MEMORY_ACPI_RECLAIM:
        return 1;
    case MEMORY_ACPI_NVS:
        return 2;
    case MEMORY_RESERVED:
        return 3;
    case MEMORY_BAD:
        return 4;
    }
    return 3;
}

/* Ranges come in the order of their addresses. */
static bool append(struct memory_map *map, uint64_t start, uint64_t end, enum memory_type type)
{
    if (start >= end) {
        return true;
    }
    if (map->count > 0) {
        struct memory_range *last = &map->range[map->count - 1];
        if (last->end == start && last->type == type) {
            last->end = end;
            return true;
        }
    }
    if (map->count == MEMORY_RANGES_MAX) {
        return false;
    }
    map->range[map->count++] = (struct memory_range){.start = start, .end = end, .type = type};
    return true;
}

static int overlay(struct memory_map *map, uint64_t start, uint64_t end, enum memory_type type,
                   bool replace)
{
    struct memory_map out = {.count = 0};
    uint64_t done = start; /* start..done of the new range is in `out` */
    bool fits = true;

    if (start >= end) {
        return 0;
    }
    for (unsigned i = 0; i < map->count; i++) {
        const struct memory_range *old = &map->range[i];
        enum memory_type both = type;
        if (!replace && strictness(old->type) > strictness(type)) {
            both = old->type;
        }
        fits = fits && append(&out, old->start, min64(old->end, start), old->type);
        fits = fits && append(&out, done, min64(old->start, end), type);
        fits = fits && append(&out, max64(old->start, start), min64(old->end, end), both);
        done = max64(done, min64(old->end, end));
        if (old->start >= end) {
            done = end;
        }
        fits = fits && append(&out, max64(old->start, end), old->end, old->type);
    }
    fits = fits && append(&out, done, end, type);
    if (!fits) {
        return -ENOSPC;
    }
    *map = out;
    return 0;
}

int memory_map_add(struct memory_map *map, uint64_t start, uint64_t end, enum memory_type type)
{
    return overlay(map, start, end, type, false);
}

int memory_map_set(struct memory_map *map, uint64_t start, uint64_t end, enum memory_type type)
{
    return overlay(map, start, end, type, true);
}

bool memory_map_is_ram(const struct memory_map *map, uint64_t start, uint64_t end)
{
    for (unsigned i = 0; i < map->count; i++) {
        const struct memory_range *range = &map->range[i];
        if (range->type == MEMORY_RAM && range->start <= start && end <= range->end) {
            return start < end;
        }
    }
    return false;
}

int memory_map_find_low(const struct memory_map *map, uint64_t size, uint64_t align, uint64_t floor,
                        uint64_t ceiling, uint64_t *address)
{
    for (unsigned i = 0; i < map->count; i++) {
        const struct memory_range *range = &map->range[i];
        uint64_t low = max64(range->start, floor);
        uint64_t end = min64(range->end, ceiling);
        uint64_t start = (low + align - 1) & ~(align - 1);
        if (range->type == MEMORY_RAM && start >= low && start < end && size <= end - start) {
            *address = start;
            return 0;
        }
    }
    return -ENOMEM;
}

int memory_map_find_high(const struct memory_map *map, uint64_t size, uint64_t align,
                         uint64_t floor, uint64_t ceiling, uint64_t *address)
{
    for (unsigned i = map->count; i-- > 0;) {
        const struct memory_range *range = &map->range[i];
        uint64_t low = max64(range->start, floor);
        uint64_t end = min64(range->end, ceiling);
        if (range->type != MEMORY_RAM || low >= end || size > end - low) {
            continue;
        }
        uint64_t start = (end - size) & ~(align - 1);
        if (start >= low) {
            *address = start;
            return 0;
        }
    }
    return -ENOMEM;
}

uint64_t memory_map_ram_size(const struct memory_map *map)
{
    uint64_t size = 0;
    for (unsigned i = 0; i < map->count; i++) {
        if (map->range[i].type == MEMORY_RAM) {
            size += map->range[i].end - map->range[i].start;
        }
    }
    return size;
}

const char *memory_type_name(enum memory_type type)
{
    switch (type) {
    case MEMORY_RAM:
        return "RAM";
    case MEMORY_RESERVED:
        return "reserved";
    case MEMORY_ACPI_RECLAIM:
        return "ACPI tables";
    case MEMORY_ACPI_NVS:
        return "ACPI NVS";
    case MEMORY_BAD:
        return "bad";
    }
    return "unknown";
}
