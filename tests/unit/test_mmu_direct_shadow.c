/* SPDX-License-Identifier: BSD-2-Clause */
/* What shadow paging asks of direct tables: read-only frames, room for them, and the shadow pages. */
#include "tests/unit/direct_machine.h"

/* One page becomes read-only under all roots without a flush, what is about it stays as it was. Or
 * without memory for that all is unmapped, which flushes. */
static void protect(void)
{
    for (unsigned int left = 0; left < 8; left++) {
        struct table_page *root[2];
        struct table_space space[2];
        struct table_leaf leaf;
        bool rebuilt;

        machine(FORMAT_EPT, 3);
        usual_map();
        for (unsigned int i = 0; i < 2; i++) {
            root[i] = root_of(i == 0 ? 36 : 40);
            space[i] = space_of(root[i]);
            CHECK_EQ(direct_build(&direct, root[i], gpa(4 * GIB)), 0);
        }
        memory.flushes = 0;
        memory.fail_after = left;
        direct_protect(&direct, gfn(0x50000), false);
        rebuilt = cache.pages == 2;
        CHECK_EQ(rebuilt, left < 2);
        CHECK_EQ(memory.flushes != 0, rebuilt);
        for (unsigned int i = 0; i < 2; i++) {
            CHECK_EQ(table_lookup(&space[i], 0x50000000, &leaf), !rebuilt);
            CHECK(rebuilt || leaf.access == 5);
            CHECK_EQ(table_lookup(&space[i], 0x50001000, &leaf), !rebuilt);
            CHECK(rebuilt || leaf.access == 7);
            CHECK_EQ(table_lookup(&space[i], 0x4ffff000, &leaf), !rebuilt);
            CHECK(rebuilt || leaf.access == 7);
        }
        memory.fail_after = 0;
        memory.flushes = 0;
        direct_protect(&direct, gfn(0x50000), true);
        for (unsigned int i = 0; i < 2; i++)
            CHECK(!table_lookup(&space[i], 0x50000000, &leaf) || leaf.access == 7);
        direct_protect(&direct, gfn(1UL << 39), false);
        direct_protect(&direct, gfn(UINT64_MAX >> 12), false);
        CHECK_EQ(memory.flushes, 0U);
        direct_destroy(&direct);
        CHECK_EQ(memory.live, 0U);
    }
}

static uint64_t tracked_frame;

static bool is_tracked(const void *ctx, gfn_t first, uint64_t count)
{
    return ctx == &tracked_frame && tracked_frame - first.raw < count;
}

/* No way of filling or changing the tables makes a tracked frame writable. */
static void fills_respect_tracking(void)
{
    struct table_page *root;
    struct table_space space;
    struct table_leaf leaf;

    machine(FORMAT_NPT, 3);
    usual_map();
    direct.tracked = is_tracked;
    direct.tracked_ctx = &tracked_frame;
    tracked_frame = 0x50123;
    root = root_of(40);
    space = space_of(root);
    for (unsigned int i = 0; i < 3; i++) {
        if (i == 1)
            direct_rebuild(&direct);
        if (i == 2)
            CHECK_EQ(direct_set_kind(&direct, gpa(0x50000000), LARGE_PAGE_SIZE, GUEST_PASS), 0);
        CHECK_EQ(direct_build(&direct, root, gpa(4 * GIB)), 0);
        CHECK(table_lookup(&space, tracked_frame << PAGE_SHIFT, &leaf));
        CHECK_EQ(leaf.access, 5U);
        CHECK(table_lookup(&space, (tracked_frame + 1) << PAGE_SHIFT, &leaf));
        CHECK_EQ(leaf.access, 7U);
    }
    direct_destroy(&direct);
}

#define FEW 12U /* table pages: too few for the frames below */

/* One frame in each 16 MiB, below a limit. */
static bool sparse(const void *ctx, gfn_t first, uint64_t count)
{
    uint64_t frame = (first.raw + 4095UL) & ~4095UL;

    return frame - first.raw < count && frame < *(const uint64_t *)ctx;
}

/* A guest with tracked frames in many more large pages than there are table pages: what is dropped
 * comes back by itself, nothing fails, and no tracked frame is ever writable. By the number of
 * descriptors, and by the memory. */
static void running_dry(void)
{
    for (unsigned int by_memory = 0; by_memory < 2; by_memory++) {
        uint64_t until = 0;
        struct table_page *root;
        struct direct_result result;

        machine(FORMAT_EPT, 2);
        if (by_memory)
            memory.limit = FEW;
        else
            table_cache_init(&cache, &env, pool, FEW);
        set(0, 8 * GIB, 0, GUEST_PASS);
        direct.tracked = sparse;
        direct.tracked_ctx = &until;
        root = root_of(40);
        for (uint64_t frame = 0; frame < 8 * GIB >> PAGE_SHIFT; frame += 1UL << 12) {
            uint64_t address = frame << PAGE_SHIFT;

            CHECK_EQ(direct_fill(&direct, root, gpa(address), &result), 0);
            direct_protect(&direct, gfn(frame), false);
            until = frame + 1;
            for (unsigned int i = 0; i < 2; i++) {
                uint64_t other = address >> 1 & ~0xffffffUL;

                CHECK_EQ(direct_fill(&direct, root, gpa(i ? other : address), &result), 0);
                CHECK_EQ(result.leaf.access, 5U);
                CHECK_EQ(result.leaf.size, PAGE_SIZE);
            }
            CHECK(cache.pages <= FEW);
        }
        CHECK_EQ(cache.peak, FEW);
        CHECK(root_of(36) != root); /* another model finds room too */
        direct_destroy(&direct);
        CHECK_EQ(memory.live, 0U);
        CHECK_EQ(memory.bad_frees, 0U);
    }
}

/* Roots with `tables` map the shadow pages, read and write, whatever the map and the width say;
 * others do not. */
static void shadow_pages(void)
{
    static const uint64_t first = 0x2345000, size = 0x600000;
    struct table_page *root[2];
    struct table_space space;
    struct table_leaf leaf;

    machine(FORMAT_EPT, 3);
    set(0, 8 * GIB, 8 * GIB, GUEST_PASS);
    set(first - PAGE_SIZE, size + 2 * PAGE_SIZE, 0, GUEST_ABSENT);
    direct_set_tables(&direct, hpa(first), size, 0);
    root[0] = root_of(32);
    root[1] = root_with(32, true);
    CHECK(root[0] != root[1]);
    for (unsigned int i = 0; i < 2; i++) {
        CHECK_EQ(direct_build(&direct, root[i], gpa(4 * GIB)), 0);
        space = space_of(root[i]);
        for (uint64_t a = first - 2 * PAGE_SIZE; a <= first + size + PAGE_SIZE; a += PAGE_SIZE) {
            bool table = a >= first && a < first + size, found = table_lookup(&space, a, &leaf);
            bool hole = a == first - PAGE_SIZE || a == first + size;

            CHECK_EQ(found, table ? i == 1 : !hole);
            if (found && table)
                CHECK(leaf.page.raw == leaf.address && leaf.access == 3);
            else if (found)
                CHECK(leaf.page.raw == leaf.address + 8 * GIB && leaf.access == 7);
        }
        CHECK(table_lookup(&space, 3 * GIB, &leaf));
        CHECK_EQ(leaf.size, GIB);
    }
    direct_destroy(&direct);
    CHECK_EQ(memory.live, 0U);
}

/* A page of the window shows a frame, read-only, until memory becomes absent, that frame or another. */
static void shown_until_absent(void)
{
    static const uint64_t first = 0x2345000, window = 0x2346000;
    struct paging_props props = {.maxphyaddr = 40, .pat = true};
    struct paging_state state = {.props = &props};
    struct role_context context = {.format = FORMAT_NPT, .direct = true, .tables = true};
    struct table_page *root;
    struct table_space space;
    struct table_leaf leaf;

    machine(FORMAT_NPT, 2);
    set(0, GIB, 8 * GIB, GUEST_PASS);
    set(first, 3 * PAGE_SIZE, 0, GUEST_ABSENT);
    direct_set_tables(&direct, hpa(first), PAGE_SIZE, 2 * PAGE_SIZE);
    CHECK_EQ(direct_root(&direct, role_from_state(&state, &context, 4), &root), 0);
    space = space_of(root);
    CHECK_EQ(direct_show(&direct, gpa(window), gfn(0x10)), 0);
    CHECK_EQ(direct_set_kind(&direct, gpa(0x10000), PAGE_SIZE, GUEST_READ_ONLY), 0);
    CHECK(table_lookup(&space, window, &leaf) && leaf.access == 5);
    CHECK_EQ(leaf.page.raw, 8 * GIB + 0x10000);
    memory.flushes = 0;
    CHECK_EQ(direct_set_kind(&direct, gpa(0x10000), PAGE_SIZE, GUEST_ABSENT), 0);
    CHECK(!table_lookup(&space, window, &leaf));
    CHECK(memory.flushes != 0);
    CHECK_EQ(direct_show(&direct, gpa(window), gfn(0x10)), -ENOENT);
    direct_destroy(&direct);
    CHECK_EQ(memory.live, 0U);
}

/* Roots with and without them share the rest: a root, and one page at each level on the way to where
 * the range begins, one more where it ends, are all that is there twice. */
static void shadow_pages_cost_little(void)
{
    static const uint64_t first = 0x2345000, size = 0x600000;
    struct table_page *root[2];
    struct direct_stats stats;
    unsigned int plain;

    machine(FORMAT_NPT, 2);
    set(0, 16 * GIB, 0, GUEST_PASS);
    set(first, size, 0, GUEST_ABSENT);
    direct_set_tables(&direct, hpa(first), size, 0);
    root[0] = root_of(40);
    CHECK_EQ(direct_build(&direct, root[0], gpa(16 * GIB)), 0);
    plain = cache.pages;
    CHECK(plain > 16);
    root[1] = root_with(40, true);
    CHECK_EQ(direct_build(&direct, root[1], gpa(16 * GIB)), 0);
    CHECK_EQ(cache.pages - plain, 5U);
    direct_count_begin(&direct);
    CHECK_EQ(direct_count_root(&direct, root[0], 1), plain);
    CHECK_EQ(direct_count_root(&direct, root[1], 2), plain);
    direct_count(&direct, &stats);
    CHECK_EQ(stats.shared, plain - 5);
    direct_count_begin(&direct);
    CHECK_EQ(direct_count_root(&direct, root[0], 1), plain);
    CHECK_EQ(direct_count_root(&direct, root[1], 1), 5U);
    direct_count(&direct, &stats);
    CHECK_EQ(stats.shared, 0U);
    direct_destroy(&direct);
    CHECK_EQ(memory.live, 0U);
}

/* What the README says of the memory that tracking takes, under both kinds of roots together: a table
 * for each 2 MiB with a tracked frame, however many it has, and another for each GiB that was one
 * page; and nothing in proportion to the guest's memory but a table for each GiB of 2 MiB pages. */
static void tracking_costs(void)
{
    for (unsigned int max_leaf = 2; max_leaf < 4; max_leaf++) {
        static const uint64_t first = 0x2345000, size = 0x600000;
        struct table_page *root[2] = {NULL, NULL};
        unsigned int before = 0, gib = max_leaf == 3 ? 0 : 1;

        machine(FORMAT_NPT, max_leaf);
        set(0, 64 * GIB, 0, GUEST_PASS);
        set(first, size, 0, GUEST_ABSENT);
        direct_set_tables(&direct, hpa(first), size, 0);
        root[0] = root_of(40);
        root[1] = root_with(40, true);
        for (uint64_t end = 16; end <= 32; end += 16) {
            before = cache.pages;
            for (unsigned int i = 0; i < 2; i++)
                CHECK_EQ(direct_build(&direct, root[i], gpa(end * GIB)), 0);
        }
        CHECK_EQ(cache.pages - before, 16U * gib);
        before = cache.pages;
        for (unsigned int i = 0; i < 400; i++)
            direct_protect(&direct, gfn((i / 100UL + 8) << 18 | (i % 100UL / 2 * 512 + i % 2)),
                           false);
        CHECK_EQ(cache.pages - before, 200U + 4U * !gib);
        direct_destroy(&direct);
    }
}

int main(void)
{
    RUN(protect);
    RUN(fills_respect_tracking);
    RUN(running_dry);
    RUN(shadow_pages);
    RUN(shown_until_absent);
    RUN(shadow_pages_cost_little);
    RUN(tracking_costs);
    return unit_end();
}
