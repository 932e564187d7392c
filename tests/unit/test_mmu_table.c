/* SPDX-License-Identifier: BSD-2-Clause */
/* The builder against an array with one entry for each 4 KiB page, in each format. */
#include "mmu/reserved.h"
#include "mmu/table.h"
#include "tests/unit/mmu_memory.h"
#include "tests/unit/unit.h"

#define WINDOW_PAGES 0x41000UL /* 1 GiB and 16 MiB */
#define WINDOWS      2U

struct oracle_page {
    uint64_t page;
    unsigned char access, type;
};

static struct memory memory;
static struct mmu_env env;
static struct table_space space;
static struct oracle_page oracle[WINDOWS][WINDOW_PAGES];
static uint64_t window[WINDOWS];

static void start(enum page_format id, unsigned int levels, unsigned int max_leaf)
{
    struct table_format format;
    uint64_t reach = 1UL << (12 + 9 * levels);

    env = memory_env(&memory);
    CHECK_EQ(format_init(&format, id, levels, max_leaf, false), 0);
    CHECK_EQ(table_space_init(&space, &env, &format), 0);
    memset(oracle, 0, sizeof(oracle));
    window[0] = 0x3ff000000UL; /* across a boundary of 1 GiB */
    window[1] = reach - WINDOW_PAGES * PAGE_SIZE;
    if (id == FORMAT_HOST) /* the end of the upper half, to the last page */
        window[1] = 0 - WINDOW_PAGES * PAGE_SIZE;
}

/* What the format keeps of a request. */
static struct oracle_page expected(uint64_t page, unsigned int access, enum cache_type type)
{
    struct oracle_page result = {.page = page, .access = (unsigned char)access};

    result.access |= ACCESS_READ;
    result.type = (unsigned char)type;
    if (space.format.id == FORMAT_NPT)
        result.type = CACHE_WB;
    if (space.format.id == FORMAT_HOST && (type == CACHE_WC || type == CACHE_WP))
        result.type = CACHE_UC;
    return result;
}

static bool same(const struct oracle_page *a, const struct oracle_page *b)
{
    return a->page == b->page && a->access == b->access && a->type == b->type;
}

static struct oracle_page lookup(uint64_t address)
{
    struct table_leaf leaf;
    struct oracle_page result = {.page = 0};

    if (!table_lookup(&space, address, &leaf))
        return result;
    CHECK(address - leaf.address < leaf.size);
    CHECK(!((leaf.address | leaf.page.raw) & (leaf.size - 1)));
    result.page = leaf.page.raw + (address - leaf.address);
    result.access = (unsigned char)leaf.access;
    result.type = (unsigned char)leaf.type;
    return result;
}

/* All pages of a window, by lookup at those that a large page cannot hide. */
static unsigned int differences(void)
{
    unsigned int differ = 0;

    for (unsigned int w = 0; w < WINDOWS; w++)
        for (uint64_t i = 0; i < WINDOW_PAGES; i++) {
            struct oracle_page found = lookup(window[w] + i * PAGE_SIZE);

            differ += !same(&found, &oracle[w][i]);
        }
    return differ;
}

struct operation {
    unsigned int kind, access;
    unsigned int w;
    uint64_t first, count, page;
    enum cache_type type;
};

static struct operation random_operation(uint64_t *seed)
{
    static const unsigned int rights[] = {1, 3, 5, 7};
    static const enum cache_type types[] = {CACHE_UC, CACHE_WB, CACHE_WT, CACHE_WC, CACHE_WP};
    static const uint64_t counts[] = {1, 3, 511, 512, 1024, 5000, 0x40000, WINDOW_PAGES};
    struct operation o = {.kind = (unsigned int)random_below(seed, 4),
                          .access = rights[random_below(seed, 4)],
                          .w = (unsigned int)random_below(seed, WINDOWS),
                          .count = counts[random_below(seed, 8)],
                          .type = types[random_below(seed, 5)]};

    if (random_below(seed, 2)) {
        o.first = random_below(seed, WINDOW_PAGES - o.count + 1);
        o.page = random64(seed) & 0xffffff000UL;
    } else { /* so that large pages fit */
        uint64_t align = random_below(seed, 2) ? 0x1ffUL : 0x3ffffUL;

        o.first = random_below(seed, WINDOW_PAGES - o.count + 1) & ~align;
        o.page =
            (random64(seed) & 0xfc0000000UL) + ((window[o.w] + o.first * PAGE_SIZE) & 0x3fffffffUL);
    }
    return o;
}

static int run(const struct operation *o)
{
    uint64_t address = window[o->w] + o->first * PAGE_SIZE;
    uint64_t size = o->count * PAGE_SIZE;

    if (o->kind == 0)
        return table_unmap(&space, address, size);
    if (o->kind == 1)
        return table_protect(&space, address, size, o->access);
    return table_map(&space, address, hpa(o->page), size, o->access, o->type);
}

/* The operation on the array; true if a page lost a right, moved or went. */
static bool run_oracle(const struct operation *o)
{
    bool lost = false;

    for (uint64_t i = 0; i < o->count; i++) {
        struct oracle_page *page = &oracle[o->w][o->first + i];
        struct oracle_page old = *page;

        if (o->kind == 0)
            *page = (struct oracle_page){.page = 0};
        else if (o->kind >= 2)
            *page = expected(o->page + i * PAGE_SIZE, o->access, o->type);
        else if (old.access)
            page->access = (unsigned char)(o->access | ACCESS_READ);
        lost |= old.access &&
                (old.page != page->page || old.type != page->type || (old.access & ~page->access));
    }
    return lost;
}

static void random_operations(void)
{
    uint64_t seed = 7 + (uint64_t)space.format.id;

    for (unsigned int round = 0; round < 400; round++) {
        struct operation o = random_operation(&seed);
        unsigned int flushes = memory.flushes, frees = memory.frees;

        CHECK_EQ(run(&o), 0);
        if (run_oracle(&o) || memory.frees > frees)
            CHECK(memory.flushes > flushes);
        if (round % 40 == 39)
            CHECK_EQ(differences(), 0U);
    }
    for (unsigned int w = 0; w < WINDOWS; w++)
        CHECK_EQ(table_unmap(&space, window[w], WINDOW_PAGES * PAGE_SIZE), 0);
    CHECK_EQ(memory.live, 1U); /* the root */
    table_space_destroy(&space);
    CHECK_EQ(memory.live, 0U);
    CHECK_EQ(memory.bad_frees, 0U);
}

static void ept_1g(void)
{
    start(FORMAT_EPT, 4, 3);
    random_operations();
}

static void ept_2m(void)
{
    start(FORMAT_EPT, 4, 2);
    random_operations();
}

static void npt_5level(void)
{
    start(FORMAT_NPT, 5, 3);
    random_operations();
}

static void host_4level(void)
{
    start(FORMAT_HOST, 4, 3);
    random_operations();
}

static void host_5level_4k(void)
{
    start(FORMAT_HOST, 5, 1);
    random_operations();
}

/* Running out of memory at any point leaves each page as it was or as it should be. */
static void out_of_memory(void)
{
    uint64_t seed = 99;
    unsigned int failed = 0;

    start(FORMAT_EPT, 4, 3);
    for (unsigned int round = 0; round < 300; round++) {
        struct operation o = random_operation(&seed);
        unsigned int wrong = 0;
        int rc;

        if (o.count > 5000)
            o.count = 700;
        memory.fail_after = (unsigned int)random_below(&seed, 6);
        rc = run(&o);
        memory.fail_after = UINT32_MAX;
        if (rc == 0) {
            run_oracle(&o);
            continue;
        }
        CHECK_EQ(rc, -ENOMEM);
        failed++;
        for (uint64_t i = 0; i < o.count; i++) {
            struct operation one = o;
            struct oracle_page *page = &oracle[o.w][o.first + i], old = *page;
            struct oracle_page found = lookup(window[o.w] + (o.first + i) * PAGE_SIZE);

            one.first += i;
            one.page += i * PAGE_SIZE;
            one.count = 1;
            run_oracle(&one);
            wrong += !same(&found, &old) && !same(&found, page);
            *page = found;
        }
        CHECK_EQ(wrong, 0U);
    }
    CHECK(failed > 20);
    CHECK_EQ(differences(), 0U);
    table_space_destroy(&space);
    CHECK_EQ(memory.live, 0U);
}

/* Large pages are used where they fit, and what is asked for twice costs nothing more. */
static void page_sizes(void)
{
    struct table_leaf leaf;

    start(FORMAT_NPT, 4, 3);
    CHECK_EQ(table_map(&space, 0x3fe00000, hpa(0x3fe00000), 0x80200000, ACCESS_RWX, CACHE_WB), 0);
    CHECK(table_lookup(&space, 0x3fe00000, &leaf));
    CHECK_EQ(leaf.size, LARGE_PAGE_SIZE);
    CHECK(table_lookup(&space, 0x40000000, &leaf));
    CHECK_EQ(leaf.size, HUGE_PAGE_SIZE);
    CHECK(table_lookup(&space, 0xbfffffff, &leaf));
    CHECK_EQ(leaf.size, HUGE_PAGE_SIZE);
    CHECK(!table_lookup(&space, 0xc0000000, &leaf));
    CHECK_EQ(memory.live, 3U);
    CHECK_EQ(table_protect(&space, 0x40001000, PAGE_SIZE, ACCESS_READ), 0);
    CHECK(table_lookup(&space, 0x40001000, &leaf));
    CHECK_EQ(leaf.size, PAGE_SIZE);
    CHECK_EQ(leaf.access, ACCESS_READ);
    CHECK(table_lookup(&space, 0x40200000, &leaf));
    CHECK_EQ(leaf.size, LARGE_PAGE_SIZE);
    CHECK_EQ(memory.live, 5U);
    CHECK_EQ(table_map(&space, 0x40000000, hpa(0x40000000), 0x40000000, ACCESS_RWX, CACHE_WB), 0);
    CHECK_EQ(memory.live, 3U);
    table_space_destroy(&space);
}

#define CBIT (1UL << 47)

/* The leaf that maps an address, and its level; each entry above it leads to a table with the C-bit
 * that `encryption` gives that. */
static uint64_t raw_leaf(const struct encryption *e, uint64_t address, unsigned int *level)
{
    uint64_t entry = format_root(&space.format, space.root);

    for (*level = space.format.levels;; --*level) {
        const uint64_t table = entry & ENTRY_ADDRESS & ~CBIT;

        CHECK_EQ((entry & CBIT) != 0, table >= e->start && table < e->end);
        entry = ((uint64_t *)memory_at_page(
            &memory, hpa(table)))[address / level_size(*level) % TABLE_ENTRIES];
        if (format_is_leaf(&space.format, entry, *level))
            return entry;
    }
}

/* Leaf by leaf: wholly inside of the range with the C-bit, or wholly outside without. */
static void check_encrypted(const struct encryption *e, uint64_t size)
{
    for (uint64_t address = 0; address < size;) {
        unsigned int level;
        const uint64_t leaf = raw_leaf(e, address, &level), end = address + level_size(level);
        struct table_leaf found;

        CHECK_EQ((leaf & CBIT) != 0, address >= e->start && address < e->end);
        CHECK(end <= e->start || address >= e->end || (address >= e->start && end <= e->end));
        CHECK(table_lookup(&space, address, &found));
        CHECK_EQ(found.page.raw, address);
        CHECK_EQ(found.size, end - address);
        address = end;
    }
}

#define MAPPED 0x100000000UL

/* Part of what was encrypted is so no longer, and is mapped again. */
static void shrink(struct encryption *e)
{
    const uint64_t changed = e->start, half = (e->end - e->start) / 2 & ~PAGE_OFFSET_MASK;
    const unsigned int flushes = memory.flushes;

    e->start += half;
    CHECK_EQ(table_map(&space, changed, hpa(changed), half, ACCESS_READ | ACCESS_WRITE, CACHE_WB),
             0);
    CHECK(memory.flushes > flushes);
    check_encrypted(e, MAPPED);
}

static void follow_range(enum page_format id, struct encryption *e)
{
    struct table_format format;

    CHECK_EQ(format_init(&format, id, 4, 3, false), 0);
    format.encryption = e;
    CHECK_EQ(table_space_init(&space, &env, &format), 0);
    CHECK_EQ(table_map(&space, 0, hpa(0), MAPPED, ACCESS_READ | ACCESS_WRITE, CACHE_WB), 0);
    check_encrypted(e, MAPPED);
    CHECK_EQ(table_protect(&space, 0x40001000, 0x5000, ACCESS_READ), 0);
    CHECK_EQ(table_protect(&space, 0x40300000, PAGE_SIZE, ACCESS_READ), 0);
    check_encrypted(e, MAPPED);
    if (e->start < MAPPED && e->end - e->start > PAGE_SIZE)
        shrink(e);
    CHECK_EQ(table_map(&space, 0, hpa((1UL << 43) - PAGE_SIZE), 2 * PAGE_SIZE, 1, CACHE_WB),
             -EINVAL);
    CHECK_EQ(table_map(&space, 0, hpa(CBIT), PAGE_SIZE, 1, CACHE_WB), -EINVAL);
    table_space_destroy(&space);
    CHECK_EQ(memory.live, 0);
}

/* For ranges in any position to large pages; in the last but one lie the tables themselves. */
static void the_cbit_follows_the_range(void)
{
    static const uint64_t ranges[][2] = {{0x40003000, 0x40007000},   {0x3ffff000, 0x40001000},
                                         {0x40200000, 0x40600000},   {0x3fe00000, 0x80001000},
                                         {0x40000000, 0x80000000},   {0x7fffe000, 0x7ffff000},
                                         {0x100000000, 0x104000000}, {0, 0}};

    env = memory_env(&memory);
    for (unsigned int i = 0; i < sizeof(ranges) / sizeof(ranges[0]); i++) {
        struct encryption e = {
            .cbit = CBIT, .width = 43, .start = ranges[i][0], .end = ranges[i][1]};

        follow_range(FORMAT_NPT, &e);
        e.start = ranges[i][0];
        follow_range(FORMAT_HOST, &e);
    }
}

static void bad_arguments(void)
{
    struct table_format format;

    start(FORMAT_EPT, 4, 3);
    CHECK_EQ(table_map(&space, 0, hpa(0), 0, 7, CACHE_WB), -EINVAL);
    CHECK_EQ(table_map(&space, 1, hpa(0), PAGE_SIZE, 7, CACHE_WB), -EINVAL);
    CHECK_EQ(table_map(&space, 0, hpa(8), PAGE_SIZE, 7, CACHE_WB), -EINVAL);
    CHECK_EQ(table_map(&space, 0, hpa(0), PAGE_SIZE + 1, 7, CACHE_WB), -EINVAL);
    CHECK_EQ(table_map(&space, 0, hpa(0), PAGE_SIZE, 0, CACHE_WB), -EINVAL);
    CHECK_EQ(table_map(&space, 0, hpa(1UL << 52), PAGE_SIZE, 7, CACHE_WB), -EINVAL);
    CHECK_EQ(table_map(&space, 0, hpa(ENTRY_ADDRESS), 2 * PAGE_SIZE, 7, CACHE_WB), -EINVAL);
    CHECK_EQ(table_map(&space, 1UL << 48, hpa(0), PAGE_SIZE, 7, CACHE_WB), -EINVAL);
    CHECK_EQ(table_unmap(&space, (1UL << 48) - PAGE_SIZE, 2 * PAGE_SIZE), -EINVAL);
    CHECK_EQ(table_unmap(&space, 0, (1UL << 48) + PAGE_SIZE), -EINVAL);
    CHECK_EQ(table_protect(&space, 0, PAGE_SIZE, 0), -EINVAL);
    table_space_destroy(&space);
    start(FORMAT_HOST, 4, 3);
    CHECK_EQ(table_map(&space, 1UL << 47, hpa(0), PAGE_SIZE, 1, CACHE_WB), -EINVAL);
    CHECK_EQ(table_unmap(&space, (1UL << 47) - PAGE_SIZE, 2 * PAGE_SIZE), -EINVAL);
    CHECK_EQ(table_map(&space, ~0UL << 47, hpa(0), PAGE_SIZE, 1, CACHE_WB), 0);
    table_space_destroy(&space);
    CHECK_EQ(format_init(&format, FORMAT_NONE, 4, 3, false), -EINVAL);
    CHECK_EQ(format_init(&format, FORMAT_EPT, 3, 3, false), -EINVAL);
    CHECK_EQ(format_init(&format, FORMAT_EPT, 4, 4, false), -EINVAL);
    CHECK_EQ(format_init(&format, FORMAT_EPT, 4, 0, false), -EINVAL);
}

static int count_leaf(void *ctx, const struct table_leaf *leaf)
{
    uint64_t *last = ctx;

    CHECK(last[0] == 0 || leaf->address > last[1]);
    last[0]++;
    last[1] = leaf->address;
    return 0;
}

static void leaves_and_wx(void)
{
    unsigned int leaves;
    struct table_leaf bad;
    uint64_t last[2] = {0, 0};

    start(FORMAT_HOST, 4, 3);
    CHECK_EQ(table_map(&space, 0x1000, hpa(0x1000), 0x3000, ACCESS_READ, CACHE_WB), 0);
    CHECK_EQ(table_map(&space, 0xffffffff80000000, hpa(0x200000), 0x400000,
                       ACCESS_READ | ACCESS_EXECUTE, CACHE_WB),
             0);
    CHECK_EQ(table_map(&space, 0xffff800000000000, hpa(0), 0x40000000, ACCESS_READ | ACCESS_WRITE,
                       CACHE_UC),
             0);
    CHECK_EQ(table_for_each_leaf(&space, count_leaf, last), 0);
    CHECK_EQ(last[0], 6U);
    CHECK_EQ(last[1], 0xffffffff80200000UL);
    CHECK_EQ(table_check_wx(&space, &bad, &leaves), 0);
    CHECK_EQ(leaves, 6U);
    CHECK_EQ(table_protect(&space, 0xffffffff80201000, PAGE_SIZE, ACCESS_RWX), 0);
    CHECK_EQ(table_check_wx(&space, &bad, &leaves), -EPERM);
    CHECK_EQ(bad.address, 0xffffffff80201000UL);
    CHECK_EQ(bad.size, PAGE_SIZE);
    table_space_destroy(&space);
}

/* No entry that the formats make has a reserved bit or is a misconfiguration. */
static void entries_are_legal(void)
{
    static const enum cache_type types[] = {CACHE_UC, CACHE_WB, CACHE_WT, CACHE_WC, CACHE_WP};
    struct paging_props host = {.maxphyaddr = 40, .gbpages = true, .pat = true};

    for (unsigned int only = 0; only < 2; only++)
        for (unsigned int access = 1; access < 8; access++)
            for (unsigned int level = 1; level <= 3; level++)
                for (unsigned int t = 0; t < 5; t++) {
                    struct table_format ept, npt;
                    hpa_t page = hpa(0xffc0000000UL);
                    uint64_t entry;

                    CHECK_EQ(format_init(&ept, FORMAT_EPT, 4, 3, only), 0);
                    CHECK_EQ(format_init(&npt, FORMAT_NPT, 4, 3, only), 0);
                    entry = format_leaf_entry(&ept, page, level, access, types[t]);
                    CHECK(!ept_misconfigured(entry, level, &host, only));
                    CHECK_EQ(format_type(&ept, entry), types[t]);
                    CHECK_EQ(entry & 0x40, 0U); /* the guest's PAT stays in force */
                    if (access == ACCESS_EXECUTE)
                        CHECK_EQ(format_access(&ept, entry), only ? 4U : 5U);
                    entry = format_leaf_entry(&npt, page, level, access, types[t]);
                    CHECK_EQ(entry & reserved_mask(MODE_NPT, level, true, &host, true), 0U);
                    CHECK_EQ(entry & 0x101c, 4U); /* user; PAT entry 0 */
                    CHECK(format_present(&npt, entry) && format_is_leaf(&npt, entry, level));
                    entry = format_table_entry(&ept, page);
                    CHECK(!ept_misconfigured(entry, level + 1, &host, only));
                }
}

int main(void)
{
    RUN(ept_1g);
    RUN(ept_2m);
    RUN(npt_5level);
    RUN(host_4level);
    RUN(host_5level_4k);
    RUN(out_of_memory);
    RUN(page_sizes);
    RUN(the_cbit_follows_the_range);
    RUN(bad_arguments);
    RUN(leaves_and_wx);
    RUN(entries_are_legal);
    return unit_end();
}
