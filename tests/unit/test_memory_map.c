/* SPDX-License-Identifier: BSD-2-Clause */
/* Memory maps, against a plain array of one type for each unit of memory. */
#include "kernel/memory_map.h"
#include "tests/unit/unit.h"
#include <errno.h>
#include <stdlib.h>

#define UNITS 48U

static unsigned rank(unsigned type)
{
    static const unsigned ranks[] = {0, 1, 4, 2, 3, 5}; /* none RAM reserved reclaim NVS bad */
    return ranks[type];
}

static void check_same(const struct memory_map *map, const unsigned *units)
{
    unsigned found[UNITS] = {0};
    uint64_t ram = 0;
    for (unsigned i = 0; i < map->count; i++) {
        const struct memory_range *range = &map->range[i];
        CHECK(range->start < range->end && range->end <= UNITS);
        if (i > 0) {
            CHECK(range[-1].end <= range->start);
            CHECK(range[-1].end < range->start || range[-1].type != range->type);
        }
        for (uint64_t unit = range->start; unit < range->end; unit++) {
            found[unit] = range->type;
        }
    }
    for (unsigned unit = 0; unit < UNITS; unit++) {
        CHECK_EQ(found[unit], units[unit]);
        CHECK_EQ(memory_map_is_ram(map, unit, unit + 1), units[unit] == MEMORY_RAM);
        ram += units[unit] == MEMORY_RAM;
    }
    CHECK_EQ(memory_map_ram_size(map), ram);
}

static bool fits(const unsigned *units, unsigned start, unsigned size)
{
    for (unsigned i = 0; i < size; i++) {
        if (start + i >= UNITS || units[start + i] != MEMORY_RAM) {
            return false;
        }
    }
    return true;
}

static void check_find(const struct memory_map *map, const unsigned *units)
{
    unsigned size = 1 + (unsigned)rand() % 6;
    unsigned align = 1U << rand() % 3;
    unsigned floor = (unsigned)rand() % UNITS;
    unsigned ceiling = (unsigned)rand() % UNITS;
    unsigned low = UNITS;
    unsigned high = UNITS;
    uint64_t address = 0;
    for (unsigned start = 0; start < UNITS; start += align) {
        if (start >= floor && start + size <= ceiling && fits(units, start, size)) {
            low = low == UNITS ? start : low;
            high = start;
        }
    }
    int error = memory_map_find_low(map, size, align, floor, ceiling, &address);
    CHECK_EQ(error, low == UNITS ? -ENOMEM : 0);
    CHECK(error != 0 || address == low);
    error = memory_map_find_high(map, size, align, floor, ceiling, &address);
    CHECK_EQ(error, high == UNITS ? -ENOMEM : 0);
    CHECK(error != 0 || address == high);
}

static void like_an_array(void)
{
    srand(1);
    for (unsigned round = 0; round < 2000; round++) {
        struct memory_map map = {.count = 0};
        unsigned units[UNITS] = {0};
        for (unsigned step = 0; step < 12; step++) {
            unsigned start = (unsigned)rand() % UNITS;
            unsigned end = start + (unsigned)rand() % (UNITS - start + 1);
            unsigned type = MEMORY_RAM + (unsigned)rand() % MEMORY_BAD;
            bool set = rand() % 3 == 0;
            int error = set ? memory_map_set(&map, start, end, (enum memory_type)type)
                            : memory_map_add(&map, start, end, (enum memory_type)type);
            CHECK_EQ(error, 0);
            for (unsigned unit = start; unit < end; unit++) {
                if (set || rank(type) > rank(units[unit])) {
                    units[unit] = type;
                }
            }
            check_same(&map, units);
        }
        check_find(&map, units);
    }
}

static void full(void)
{
    struct memory_map map = {.count = 0};
    for (uint64_t i = 0; i < MEMORY_RANGES_MAX; i++) {
        CHECK_EQ(memory_map_add(&map, i * 4, i * 4 + 2, MEMORY_RAM), 0);
    }
    struct memory_map before = map;
    CHECK_EQ(memory_map_add(&map, 3, 4, MEMORY_BAD), -ENOSPC);
    CHECK_EQ(map.count, before.count);
    CHECK_EQ(map.range[1].start, before.range[1].start);
    CHECK_EQ(memory_map_set(&map, 0, UINT64_MAX, MEMORY_RESERVED), 0);
    CHECK_EQ(map.count, 1);
    CHECK_EQ(map.range[0].end, UINT64_MAX);
}

int main(void)
{
    RUN(like_an_array);
    RUN(full);
    return unit_end();
}
