/* SPDX-License-Identifier: BSD-2-Clause */
/* Direct tables against a page-by-page account, their budgets, and what models share. */
#include "tests/unit/direct_machine.h"

/* Whether a page of `size` about an address would be wrong somewhere. */
static bool must_split(uint64_t address, uint64_t size, uint64_t limit)
{
    uint64_t first = address & ~(size - 1);
    struct truth head = truth_of(first, limit);

    if (head.access == 0 || (head.page & (size - 1)))
        return true;
    for (uint64_t offset = PAGE_SIZE; offset < size; offset += PAGE_SIZE) {
        struct truth truth = truth_of(first + offset, limit);

        if (truth.access != head.access || truth.page != head.page + offset ||
            truth.type != head.type)
            return true;
    }
    return false;
}

static bool leaf_is_true(const struct table_leaf *leaf, uint64_t address, const struct truth *truth)
{
    uint64_t page = leaf->page.raw + ((address & ~0xfffUL) - leaf->address);

    return page == truth->page && leaf->access == truth->access &&
           leaf->type == (direct.format.id == FORMAT_NPT ? CACHE_WB : truth->type);
}

/* One address: what the fill says, what the tables then hold, and that the page is the largest. */
static void check_address(struct table_page *root, uint64_t address, uint64_t limit)
{
    struct truth truth = truth_of(address, limit);
    struct table_space space = space_of(root);
    struct direct_result result;
    struct table_leaf leaf;

    CHECK_EQ(direct_fill(&direct, root, gpa(address), &result), 0);
    CHECK_EQ(result.kind == GUEST_ABSENT, truth.access == 0);
    CHECK_EQ(result.beyond_limit, address >= limit);
    CHECK_EQ(table_lookup(&space, address, &leaf), truth.access != 0);
    if (truth.access == 0)
        return;
    CHECK(leaf_is_true(&leaf, address, &truth));
    CHECK(leaf.address == result.leaf.address && leaf.size == result.leaf.size);
    if (leaf.size < HUGE_PAGE_SIZE && direct.format.max_leaf > 2)
        CHECK(must_split(address, HUGE_PAGE_SIZE, limit));
    if (leaf.size < LARGE_PAGE_SIZE && direct.format.max_leaf > 1)
        CHECK(must_split(address, LARGE_PAGE_SIZE, limit));
}

static void random_machine(uint64_t *seed, enum page_format id)
{
    machine(id, 1 + (unsigned int)random_below(seed, 3));
    set(0, 8 * GIB, random_below(seed, 2) ? 0 : 16 * GIB, GUEST_PASS);
    while (settings < SETTINGS) {
        uint64_t unit = PAGE_SIZE << (9 * random_below(seed, 3));
        uint64_t start = (random64(seed) & (8 * GIB - 1)) & ~(unit - 1);
        uint64_t size = unit * (1 + random_below(seed, 4));
        static const enum guest_kind kinds[] = {GUEST_PASS, GUEST_ABSENT, GUEST_READ_ONLY};

        set(start, size, random_below(seed, 3) ? start : start + 32 * GIB,
            kinds[random_below(seed, 3)]);
    }
    mtrr.cap = 0x508;
    mtrr.def_type = random_below(seed, 2) ? 0xc00 : 0xc06;
    for (unsigned int i = 0; i < 5; i++) {
        unsigned int low = 20 + (unsigned int)random_below(seed, 13);
        static const unsigned int types[] = {CACHE_UC, CACHE_WB, CACHE_WT, CACHE_WC};

        mtrr.variable[i].base =
            (random64(seed) & (64 * GIB - 1) & ~0UL << low) | types[random_below(seed, 4)];
        mtrr.variable[i].mask = (0xffffffffffUL & ~0UL << low) | 0x800;
    }
}

static void random_machines(void)
{
    uint64_t seed = 11;

    for (unsigned int round = 0; round < 60; round++) {
        unsigned int width = 32 + (unsigned int)random_below(&seed, 4);
        struct table_page *root[2];

        random_machine(&seed, round & 1U ? FORMAT_EPT : FORMAT_NPT);
        root[0] = root_of(width);
        root[1] = root_of(48);
        for (unsigned int probe = 0; probe < 40; probe++) {
            unsigned int r = probe & 1U;
            uint64_t edge = setting[random_below(&seed, SETTINGS)].start;
            uint64_t address = random64(&seed) & (16 * GIB - 1);

            if (random_below(&seed, 2))
                address = edge + random_below(&seed, 3) * PAGE_SIZE - (edge ? PAGE_SIZE : 0);
            check_address(root[r], address, r ? 1UL << 48 : 1UL << width);
        }
        direct_destroy(&direct);
        CHECK_EQ(memory.live, 0U);
        CHECK_EQ(cache.pages, 0U);
    }
}

/* 4 GiB and all the MMIO below: root, directory pointers, and a directory and a table each where
 * the first MiB, Latch and the APIC cut. */
static void budget(void)
{
    struct table_page *root;
    struct direct_stats stats;

    machine(FORMAT_NPT, 3);
    usual_map();
    root = root_of(40);
    CHECK_EQ(direct_build(&direct, root, gpa(4 * GIB)), 0);
    CHECK(cache.pages <= 8);
    direct_count_begin(&direct);
    CHECK_EQ(direct_count_root(&direct, root, 1), cache.pages);
    CHECK_EQ(direct_count_root(&direct, root, 1), 0U);
    CHECK_EQ(memory.live, cache.pages);
    for (uint64_t address = 0; address < 4 * GIB; address += 37 * PAGE_SIZE) {
        struct table_space space = space_of(root);
        struct truth truth = truth_of(address, 1UL << 40);
        struct table_leaf leaf;

        CHECK_EQ(table_lookup(&space, address, &leaf), truth.access != 0);
        if (truth.access)
            CHECK(leaf_is_true(&leaf, address, &truth));
    }
    CHECK_EQ(direct_build(&direct, root, gpa(512 * GIB)), 0);
    CHECK(cache.pages <= 8);
    direct_count(&direct, &stats);
    CHECK_EQ(stats.pages, cache.pages);
    CHECK_EQ(stats.shared, 0U);
    direct_destroy(&direct);
    CHECK_EQ(memory.live, 0U);
}

/* Another model costs its root, and the page under it if the limit lies there; 48 to 52 bits are
 * all beyond what four levels reach and cost nothing. */
static void models_share(void)
{
    static const struct {
        unsigned int width, cost;
    } model[] = {{40, 0}, {36, 2}, {37, 2}, {38, 2}, {39, 1}, {46, 1}, {48, 1}, {52, 0}};
    struct direct_stats stats;
    unsigned int first;

    machine(FORMAT_EPT, 3);
    usual_map();
    CHECK_EQ(direct_build(&direct, root_of(40), gpa(1024 * GIB)), 0);
    first = cache.pages;
    for (unsigned int i = 0; i < sizeof(model) / sizeof(model[0]); i++) {
        unsigned int before = cache.pages;

        CHECK_EQ(direct_build(&direct, root_of(model[i].width), gpa(1024 * GIB)), 0);
        CHECK_EQ(cache.pages - before, model[i].cost);
    }
    direct_count_begin(&direct);
    for (unsigned int i = 0; model[i].width != 52; i++) { /* which has the root of 48 */
        unsigned int pages = direct_count_root(&direct, root_of(model[i].width), i + 1);

        CHECK(i > 1 || pages == first - i);
    }
    direct_count(&direct, &stats);
    CHECK_EQ(stats.pages, cache.pages);
    /* All of the first model's but its root, and the one for the second 512 GiB. */
    CHECK_EQ(stats.shared, first - 1);
    direct_destroy(&direct);
    CHECK_EQ(memory.live, 0U);
    CHECK_EQ(memory.bad_frees, 0U);
}

/* Each level above the limit is another page: five have one more. */
static void five_levels_cost_one_more(void)
{
    static const struct {
        unsigned int width, cost;
    } model[] = {{52, 0}, {36, 3}, {38, 3}, {39, 2}, {46, 2}, {48, 1}, {49, 1}};

    machine_with(FORMAT_NPT, 5, 3);
    usual_map();
    CHECK_EQ(direct_build(&direct, root_of(52), gpa(1024 * GIB)), 0);
    for (unsigned int i = 0; i < sizeof(model) / sizeof(model[0]); i++) {
        unsigned int before = cache.pages;

        CHECK_EQ(direct_build(&direct, root_of(model[i].width), gpa(1024 * GIB)), 0);
        CHECK_EQ(cache.pages - before, model[i].cost);
    }
    direct_destroy(&direct);
    CHECK_EQ(memory.live, 0U);
}

/* The APIC's page is opened and closed under all roots; only closing must flush. */
static void change_of_kind(void)
{
    struct table_page *root[2];
    struct table_leaf leaf;
    unsigned int flushes;

    machine(FORMAT_EPT, 3);
    usual_map();
    for (unsigned int r = 0; r < 2; r++) {
        root[r] = root_of(r ? 36 : 40);
        CHECK_EQ(direct_build(&direct, root[r], gpa(4 * GIB)), 0);
    }
    flushes = memory.flushes;
    CHECK_EQ(direct_set_kind(&direct, gpa(0xfee00000), PAGE_SIZE, GUEST_PASS), 0);
    CHECK_EQ(memory.flushes, flushes);
    for (unsigned int r = 0; r < 2; r++) {
        struct table_space space = space_of(root[r]);

        CHECK(table_lookup(&space, 0xfee00000, &leaf));
        CHECK_EQ(leaf.access, 7U);
    }
    CHECK_EQ(direct_set_kind(&direct, gpa(0xfee00000), PAGE_SIZE, GUEST_READ_ONLY), 0);
    CHECK(memory.flushes > flushes);
    CHECK_EQ(direct_set_kind(&direct, gpa(0x80000000), PAGE_SIZE, GUEST_ABSENT), 0);
    CHECK_EQ(direct_set_kind(&direct, gpa(0x80000000), PAGE_SIZE, GUEST_PASS), -EINVAL);
    set(0x80000000, PAGE_SIZE, 0, GUEST_ABSENT);
    for (unsigned int r = 0; r < 2; r++) {
        struct table_space space = space_of(root[r]);

        CHECK(table_lookup(&space, 0xfee00000, &leaf));
        CHECK_EQ(leaf.access, 5U);
        CHECK(!table_lookup(&space, 0x80000000, &leaf));
        CHECK(table_lookup(&space, 0x80001000, &leaf));
    }
    direct_destroy(&direct);
    CHECK_EQ(memory.live, 0U);
}

/* A root made after the tables were split finds the finer pages, also where it had large ones. */
static void late_root(void)
{
    struct table_page *early, *late;
    struct table_leaf leaf;
    struct table_space space;

    machine(FORMAT_EPT, 3);
    set(0, 8 * GIB, 0, GUEST_PASS);
    early = root_of(40);
    CHECK_EQ(direct_build(&direct, early, gpa(8 * GIB)), 0);
    CHECK_EQ(direct_set_kind(&direct, gpa(5 * GIB), PAGE_SIZE, GUEST_READ_ONLY), 0);
    CHECK_EQ(direct_set_kind(&direct, gpa(5 * GIB), PAGE_SIZE, GUEST_PASS), 0);
    late = root_of(36);
    CHECK_EQ(direct_build(&direct, late, gpa(8 * GIB)), 0);
    space = space_of(late);
    CHECK(table_lookup(&space, 5 * GIB, &leaf));
    CHECK_EQ(leaf.size, HUGE_PAGE_SIZE);
    CHECK_EQ(direct_set_kind(&direct, gpa(5 * GIB), PAGE_SIZE, GUEST_ABSENT), 0);
    set(5 * GIB, PAGE_SIZE, 0, GUEST_ABSENT);
    check_address(late, 5 * GIB, 1UL << 36);
    check_address(early, 5 * GIB, 1UL << 40);
    CHECK(table_lookup(&space, 5 * GIB + PAGE_SIZE, &leaf));
    CHECK_EQ(leaf.access, 7U);
    direct_destroy(&direct);
    CHECK_EQ(memory.live, 0U);
    CHECK_EQ(memory.bad_frees, 0U);
}

/* Splitting a large page may link to a table that is there already and has holes: even where only
 * rights are gained, the large page's translations must go. */
static void split_into_holes(void)
{
    struct table_page *early, *late;
    struct direct_result result;
    struct table_space space;
    struct table_leaf leaf;
    unsigned int flushes;

    machine(FORMAT_EPT, 3);
    set(0, 8 * GIB, 0, GUEST_PASS);
    set(6 * GIB, GIB - PAGE_SIZE, 6 * GIB, GUEST_READ_ONLY);
    early = root_of(40);
    late = root_of(36);
    CHECK_EQ(direct_fill(&direct, early, gpa(6 * GIB), &result), 0);
    CHECK_EQ(direct_set_kind(&direct, gpa(7 * GIB - PAGE_SIZE), PAGE_SIZE, GUEST_READ_ONLY), 0);
    CHECK_EQ(direct_fill(&direct, late, gpa(6 * GIB), &result), 0);
    CHECK_EQ(result.leaf.size, HUGE_PAGE_SIZE);
    flushes = memory.flushes;
    CHECK_EQ(direct_set_kind(&direct, gpa(6 * GIB), PAGE_SIZE, GUEST_PASS), 0);
    CHECK(memory.flushes > flushes);
    space = space_of(late);
    CHECK(table_lookup(&space, 6 * GIB, &leaf));
    CHECK_EQ(leaf.access, 7U);
    CHECK(!table_lookup(&space, 6 * GIB + LARGE_PAGE_SIZE, &leaf));
    direct_destroy(&direct);
    CHECK_EQ(memory.live, 0U);
}

static void change_of_mtrrs(void)
{
    struct table_page *root;
    struct table_leaf leaf;
    struct table_space space;
    unsigned int flushes;

    machine(FORMAT_EPT, 3);
    usual_map();
    root = root_of(40);
    space = space_of(root);
    CHECK_EQ(direct_build(&direct, root, gpa(4 * GIB)), 0);
    mtrr.variable[1] = (struct mtrr_pair){0x80000001, 0xffff000800};
    flushes = memory.flushes;
    direct_rebuild(&direct);
    CHECK(memory.flushes > flushes);
    CHECK_EQ(cache.pages, 1U);
    CHECK(!table_lookup(&space, 0x80000000, &leaf));
    check_address(root, 0x80000000, 1UL << 40); /* UC: WC over nothing is WC, over WB undefined */
    check_address(root, 0x81000000, 1UL << 40);
    CHECK_EQ(direct_build(&direct, root, gpa(4 * GIB)), 0);
    CHECK(table_lookup(&space, 0x80000000, &leaf));
    CHECK_EQ(leaf.type, CACHE_WC);
    direct_destroy(&direct);
    CHECK_EQ(memory.live, 0U);
}

/* With the pool dry nothing that the guest must not have stays mapped. */
static void out_of_memory(void)
{
    struct table_page *root;
    struct table_space space;
    struct direct_result result;
    struct table_leaf leaf;

    machine(FORMAT_EPT, 3);
    usual_map();
    root = root_of(40);
    space = space_of(root);
    CHECK_EQ(direct_build(&direct, root, gpa(4 * GIB)), 0);
    memory.fail_after = 1;
    CHECK_EQ(direct_set_kind(&direct, gpa(0x50000000), PAGE_SIZE, GUEST_READ_ONLY), 0);
    CHECK(!table_lookup(&space, 0x50000000, &leaf));
    memory.fail_after = 0;
    CHECK_EQ(direct_fill(&direct, root, gpa(0x50000000), &result), -ENOMEM);
    memory.fail_after = UINT32_MAX;
    CHECK_EQ(direct_fill(&direct, root, gpa(0x50000000), &result), 0);
    CHECK_EQ(result.kind, GUEST_READ_ONLY);
    CHECK_EQ(result.leaf.access, 5U);
    CHECK_EQ(result.leaf.size, PAGE_SIZE);
    direct_destroy(&direct);
    CHECK_EQ(memory.live, 0U);
}

static void wrong_roles(void)
{
    struct table_page *root;

    machine(FORMAT_EPT, 3);
    CHECK_EQ(direct_root(&direct, (union page_role){.format = FORMAT_NPT, .direct = 1}, &root),
             -EINVAL);
    CHECK_EQ(direct_root(&direct, (union page_role){.format = FORMAT_EPT}, &root), -EINVAL);
    memory.fail_after = 0;
    CHECK_EQ(direct_root(&direct, (union page_role){.format = FORMAT_EPT, .direct = 1}, &root),
             -ENOMEM);
    CHECK_EQ(direct.roots, 0U);
}

int main(void)
{
    RUN(random_machines);
    RUN(budget);
    RUN(models_share);
    RUN(five_levels_cost_one_more);
    RUN(change_of_kind);
    RUN(late_root);
    RUN(split_into_holes);
    RUN(change_of_mtrrs);
    RUN(out_of_memory);
    RUN(wrong_roles);
    return unit_end();
}
