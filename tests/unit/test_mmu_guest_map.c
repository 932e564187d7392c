/* SPDX-License-Identifier: BSD-2-Clause */
/* The guest map and the table cache, against plain arrays. */
#include "mmu/cache.h"
#include "mmu/guest_map.h"
#include "tests/unit/mmu_memory.h"
#include "tests/unit/unit.h"

#define PAGES 256U

struct naive {
    enum guest_kind kind;
    uint64_t base;
};

static bool check_map(const struct guest_map *map, const struct naive *naive)
{
    for (unsigned int i = 0; i < PAGES; i++) {
        struct guest_range r = guest_map_find(map, gpa(i * PAGE_SIZE + 5));
        uint64_t end = r.end < PAGES * PAGE_SIZE ? r.end : PAGES * PAGE_SIZE;

        if (r.kind != naive[i].kind || r.start > i * PAGE_SIZE || r.end <= i * PAGE_SIZE)
            return false;
        for (uint64_t j = r.start / PAGE_SIZE; j < end / PAGE_SIZE; j++)
            if (naive[j].kind != r.kind ||
                (r.kind != GUEST_ABSENT && naive[j].base != r.base.raw + j * PAGE_SIZE - r.start))
                return false;
        /* The extent is the whole one. */
        if (end < PAGES * PAGE_SIZE && naive[end / PAGE_SIZE].kind == r.kind &&
            (r.kind == GUEST_ABSENT || naive[end / PAGE_SIZE].base == r.base.raw + end - r.start))
            return false;
    }
    for (unsigned int i = 1; i < map->count; i++)
        if (map->range[i].start < map->range[i - 1].end)
            return false;
    return true;
}

static void random_maps(void)
{
    static const enum guest_kind kinds[] = {GUEST_PASS, GUEST_PASS, GUEST_ABSENT, GUEST_READ_ONLY};
    uint64_t seed = 3;
    unsigned int full = 0;

    for (unsigned int round = 0; round < 200; round++) {
        struct guest_map map = {.count = 0};
        struct naive naive[PAGES] = {{.kind = GUEST_ABSENT}};

        for (unsigned int step = 0; step < 60; step++) {
            uint64_t first = random_below(&seed, PAGES);
            uint64_t count = 1 + random_below(&seed, random_below(&seed, 4) ? 8 : PAGES);
            uint64_t base = first * PAGE_SIZE + (random_below(&seed, 4) ? 0 : 0x40000000);
            enum guest_kind kind = kinds[random_below(&seed, 4)];
            int rc;

            if (count > PAGES - first)
                count = PAGES - first;
            rc = guest_map_set(&map, gpa(first * PAGE_SIZE), count * PAGE_SIZE, hpa(base), kind);
            CHECK(rc == 0 || rc == -ENOSPC);
            full += rc != 0;
            for (uint64_t i = 0; i < count && rc == 0; i++)
                naive[first + i] = (struct naive){kind, base + i * PAGE_SIZE};
            CHECK(check_map(&map, naive));
        }
    }
    CHECK(full > 0);
}

static void map_limits(void)
{
    struct guest_map map = {.count = 0};

    CHECK_EQ(guest_map_end(&map).raw, 0U);
    CHECK_EQ(guest_map_find(&map, gpa(0)).end, UINT64_MAX);
    CHECK_EQ(guest_map_set(&map, gpa(0), 0, hpa(0), GUEST_PASS), -EINVAL);
    CHECK_EQ(guest_map_set(&map, gpa(1), PAGE_SIZE, hpa(0), GUEST_PASS), -EINVAL);
    CHECK_EQ(guest_map_set(&map, gpa(GUEST_MAP_END), PAGE_SIZE, hpa(0), GUEST_PASS), -EINVAL);
    CHECK_EQ(guest_map_set(&map, gpa(0), PAGE_SIZE, hpa(GUEST_MAP_END), GUEST_PASS), -EINVAL);
    CHECK_EQ(guest_map_set(&map, gpa(PAGE_SIZE), GUEST_MAP_END, hpa(0), GUEST_PASS), -EINVAL);
    CHECK_EQ(guest_map_set(&map, gpa(0), GUEST_MAP_END, hpa(0), GUEST_PASS), 0);
    CHECK_EQ(guest_map_end(&map).raw, GUEST_MAP_END);
    CHECK_EQ(guest_map_find(&map, gpa(GUEST_MAP_END)).kind, GUEST_ABSENT);
    CHECK_EQ(guest_map_find(&map, gpa(GUEST_MAP_END)).start, GUEST_MAP_END);
}

/* Up to the pool's size; the same key is the same page; the last user frees it. */
static void cache_pages(void)
{
    static struct table_page pool[64];
    static struct table_cache cache;
    static struct memory memory;
    struct mmu_env env = memory_env(&memory);
    struct table_page *page[64];
    unsigned int wrong = 0;

    table_cache_init(&cache, &env, pool, 64);
    for (unsigned int round = 0; round < 3; round++) {
        for (unsigned int i = 0; i < 64; i++) {
            union page_role role = {.level = 1 + i % 4, .format = FORMAT_EPT};

            page[i] = table_cache_get(&cache, gfn(i / 4), role);
            wrong += !page[i] || page[i] != table_cache_get(&cache, gfn(i / 4), role) ||
                     page[i] != table_cache_find(&cache, gfn(i / 4), role) || page[i]->users != 2;
        }
        CHECK_EQ(wrong, 0U);
        CHECK_EQ(cache.pages, 64U);
        CHECK(table_cache_get(&cache, gfn(100), page[0]->role) == NULL);
        CHECK_EQ(memory.live, 64U);
        for (unsigned int i = 0; i < 64; i++) {
            CHECK(!table_cache_put(&cache, page[(i * 13 + 5) % 64]));
            CHECK(table_cache_put(&cache, page[(i * 13 + 5) % 64]));
        }
        CHECK_EQ(cache.pages, 0U);
        CHECK_EQ(memory.live, 0U);
    }
    CHECK_EQ(cache.peak, 64U);
    memory.fail_after = 0;
    CHECK(table_cache_get(&cache, gfn(0), (union page_role){.level = 1}) == NULL);
    CHECK(table_cache_find(&cache, gfn(0), (union page_role){.level = 1}) == NULL);
    CHECK_EQ(memory.bad_frees, 0U);
}

int main(void)
{
    RUN(random_maps);
    RUN(map_limits);
    RUN(cache_pages);
    return unit_end();
}
