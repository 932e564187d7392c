/* SPDX-License-Identifier: BSD-2-Clause */
/* Shadow tables: what they promise, one by one. */
#include "tests/unit/shadow_guest.h"

/* A CPU that holds a link which another address' INVLPG is to drop: SDM vol. 3 §4.10.4.1. */
static void hold_link(void)
{
    struct vcpu *c = simple_guest(POOL);

    m.shadow.track = false; /* which would flush */
    put(3, 1, 5 * PAGE_SIZE | ALL);
    put(3, 2, 5 * PAGE_SIZE | ALL);
    put(5, 0, 41 * PAGE_SIZE | ALL);
    put(5, 1, 42 * PAGE_SIZE | ALL);
    flush_all(c);
    CHECK_EQ(go(c, 2 * LARGE, ACCESS_READ), 41 * PAGE_SIZE);
    CHECK_EQ(go(c, LARGE, ACCESS_READ), 41 * PAGE_SIZE);
    put(3, 1, 0);
    guest_invlpg(c, 0);
    put(5, 1, 43 * PAGE_SIZE | ALL); /* the table is used elsewhere only */
    guest_invlpg(c, 2 * LARGE + PAGE_SIZE);
    CHECK_EQ(go(c, 2 * LARGE + PAGE_SIZE, ACCESS_READ), 43 * PAGE_SIZE);
    CHECK_EQ(go(c, LARGE + PAGE_SIZE, ACCESS_READ), FAULTS);
}

static void invlpg_drops_links(void)
{
    for (unsigned int i = 0; i < 32; i++)
        hold_link();
}

/* A table that is linked again, without a flush as nothing was there, is looked at before. */
static void linked_again(void)
{
    struct vcpu *c = simple_guest(POOL);

    put(1, 1, 2 * PAGE_SIZE | ALL);
    run_long(&m.cpu[1], 1);
    CHECK_EQ(go(&m.cpu[1], 0, ACCESS_READ), 40 * PAGE_SIZE);
    put(9, 1, 2 * PAGE_SIZE | ALL);
    run_long(c, 9);
    put(4, 0, 41 * PAGE_SIZE | ALL);
    CHECK_EQ(go(c, 1UL << 39, ACCESS_READ), 41 * PAGE_SIZE);
}

/* INVLPG puts an entry where none was, in a part of the table that had none: whole flushes go over
 * it from then on. */
static void invlpg_of_an_unused_part(void)
{
    struct vcpu *c = simple_guest(POOL);

    CHECK_EQ(go(c, 0, ACCESS_READ), 40 * PAGE_SIZE);
    put(4, 100, 41 * PAGE_SIZE | ALL);
    guest_invlpg(c, 100 * PAGE_SIZE);
    put(4, 100, 0);
    flush_all(c);
    CHECK_EQ(go(c, 100 * PAGE_SIZE, ACCESS_READ), FAULTS);
    put(4, 100, 42 * PAGE_SIZE | ALL);
    flush_all(c);
    CHECK_EQ(go(c, 100 * PAGE_SIZE, ACCESS_READ), 42 * PAGE_SIZE);
}

static void run_pae(struct vcpu *c, unsigned int root)
{
    c->props.vendor = PAGING_AMD;
    c->shadow.state.cr0 = CR0_PG | CR0_WP;
    c->shadow.state.cr4 = CR4_PAE;
    c->shadow.state.cr3 = root * PAGE_SIZE;
    flush_all(c);
}

/* The same below a PDPTE, which AMD's CPUs read when they walk. */
static void linked_again_by_pdpte(void)
{
    fresh(POOL);
    put(1, 0, 3 * PAGE_SIZE | P);
    put(3, 0, 4 * PAGE_SIZE | ALL);
    put(4, 0, 40 * PAGE_SIZE | ALL);
    put(4, 1, 41 * PAGE_SIZE | ALL);
    run_pae(&m.cpu[0], 1);
    run_pae(&m.cpu[1], 2);
    CHECK_EQ(go(&m.cpu[0], 0, ACCESS_READ), 40 * PAGE_SIZE);
    CHECK_EQ(go(&m.cpu[1], 0, ACCESS_READ), FAULTS);
    put(4, 1, 42 * PAGE_SIZE | ALL);
    put(2, 0, 3 * PAGE_SIZE | P);
    CHECK_EQ(go(&m.cpu[1], 0, ACCESS_READ), 40 * PAGE_SIZE);
    CHECK_EQ(go(&m.cpu[1], PAGE_SIZE, ACCESS_READ), 42 * PAGE_SIZE);
}

static int lost_race(void *ctx, gpa_t address, unsigned int size, uint64_t expected, uint64_t value)
{
    (void)ctx;
    (void)address;
    (void)size;
    (void)expected;
    (void)value;
    return -EAGAIN;
}

/* A table of 8-byte entries that another vCPU walks as one of 4-byte entries: its A bits are address
 * bits here, and no store of the guest's tells. */
static void marks_of_another_size(void)
{
    struct vcpu *c = simple_guest(POOL), *other = &m.cpu[1];

    put(4, 0, 40 * PAGE_SIZE | ALL | (P | W | U) << 32);
    put(0, 0, 44 * PAGE_SIZE | ALL);
    for (unsigned int i = 0; i < 8; i++) {
        flush_all(c);
        CHECK_EQ(go(c, 0, ACCESS_READ), (7UL << 32) + 40 * PAGE_SIZE);
    }
    CHECK(shadow_is_tracked(&m.shadow, gfn(4), 1));
    other->shadow.state.cr0 = CR0_PG | CR0_WP;
    other->shadow.state.cr3 = 4 * PAGE_SIZE;
    flush_all(other);
    CHECK_EQ(go(other, 1UL << 22, ACCESS_READ), 44 * PAGE_SIZE);
    CHECK_EQ(*ram_at(4 * PAGE_SIZE), 40 * PAGE_SIZE | ALL | (P | W | U | A) << 32);
    flush_all(c);
    CHECK_EQ(go(c, 0, ACCESS_READ), (39UL << 32) + 40 * PAGE_SIZE);
}

/* The same where Latch reads an operand for the other vCPU; and tables that never keep still. */
static void marks_of_a_walk(void)
{
    struct vcpu *c = simple_guest(POOL), *other = &m.cpu[1];
    struct walk_result result;

    put(4, 0, 40 * PAGE_SIZE | ALL | (P | W | U) << 32);
    put(0, 0, 44 * PAGE_SIZE | ALL);
    for (unsigned int i = 0; i < 8; i++) {
        flush_all(c);
        CHECK_EQ(go(c, 0, ACCESS_READ), (7UL << 32) + 40 * PAGE_SIZE);
    }
    CHECK(shadow_is_tracked(&m.shadow, gfn(4), 1));
    other->shadow.state.cr0 = CR0_PG | CR0_WP;
    other->shadow.state.cr3 = 4 * PAGE_SIZE;
    flush_all(other);
    m.guest.compare_exchange = lost_race;
    CHECK_EQ(shadow_walk(&m.shadow, &other->shadow, gla(1UL << 22), ACCESS_READ, &result), -EAGAIN);
    m.guest.compare_exchange = guest_mark;
    CHECK_EQ(shadow_walk(&m.shadow, &other->shadow, gla(1UL << 22), ACCESS_READ, &result), 0);
    CHECK_EQ(result.address.raw, 44 * PAGE_SIZE);
    CHECK(!shadow_is_tracked(&m.shadow, gfn(4), 1));
    flush_all(c);
    CHECK_EQ(go(c, 0, ACCESS_READ), (39UL << 32) + 40 * PAGE_SIZE);
}

static unsigned int length_of(const struct shadow_link *list)
{
    unsigned int length = 0;

    for (const struct shadow_link *link = list->next; link != list; link = link->next)
        length++;
    return length;
}

/* Address spaces that no vCPU uses any more, as those of processes that have ended, cost a load of
 * another one nothing; and are looked at when one is used again. */
static void spaces_at_rest(void)
{
    struct vcpu *c = simple_guest(POOL);

    for (unsigned int root = 10; root < 30; root++) {
        put(root, 0, 2 * PAGE_SIZE | ALL);
        put(root, 1, 9 * PAGE_SIZE | ALL);
        run_long(c, root);
        CHECK_EQ(go(c, 0, ACCESS_READ), 40 * PAGE_SIZE);
    }
    CHECK(length_of(&m.shadow.unsynced[0]) + length_of(&m.shadow.unsynced[1]) <= 5);
    put(10, 0, 0);
    put(4, 0, 41 * PAGE_SIZE | ALL);
    run_long(c, 11);
    CHECK_EQ(go(c, 0, ACCESS_READ), 41 * PAGE_SIZE);
    run_long(c, 10);
    CHECK_EQ(go(c, 0, ACCESS_READ), FAULTS);
}

/* Large pages are large in the shadow, but for those with Latch's pages in them. */
static void large_pages(void)
{
    struct vcpu *c = simple_guest(POOL);
    struct shadow_stats before, after;

    put(2, 1, 0 | ALL | PS);
    put(2, 2, GIB | ALL | PS);
    put(3, 1, TABLES / LARGE * LARGE | ALL | PS);
    CHECK_EQ(go(c, 2 * GIB + 4711, ACCESS_WRITE), GIB + 4711);
    shadow_count(&m.shadow, &before);
    CHECK_EQ(go(c, 3 * GIB - 1, ACCESS_WRITE), 2 * GIB - 1);
    shadow_count(&m.shadow, &after);
    CHECK_EQ(before.fills, after.fills);
    CHECK_EQ(go(c, GIB + 5, ACCESS_WRITE), 5U);
    CHECK_EQ(go(c, GIB + TABLES - 1, ACCESS_WRITE), TABLES - 1);
    CHECK_EQ(go(c, GIB + TABLES, ACCESS_READ), NOT_RAM);
    CHECK_EQ(go(c, GIB + BEHIND - 1, ACCESS_READ), NOT_RAM);
    CHECK_EQ(go(c, GIB + BEHIND, ACCESS_READ), BEHIND);
    CHECK_EQ(go(c, LARGE + TABLES % LARGE, ACCESS_READ), NOT_RAM);
    CHECK_EQ(go(c, LARGE + TABLES % LARGE - 1, ACCESS_READ), TABLES - 1);
    CHECK_EQ(go(c, GIB + LATCH, ACCESS_READ), NOT_RAM);
}

/* With WP=0 the supervisor writes to a user's read-only page, and the user does not. */
static void without_wp(void)
{
    struct vcpu *c = simple_guest(POOL);

    put(4, 0, 40 * PAGE_SIZE | P | U);
    c->shadow.state.cr0 = CR0_PG;
    flush_all(c);
    for (unsigned int i = 0; i < 3; i++) {
        CHECK_EQ(go(c, 0, ACCESS_READ | ACCESS_USER), 40 * PAGE_SIZE);
        CHECK_EQ(go(c, 0, ACCESS_WRITE), 40 * PAGE_SIZE);
        CHECK_EQ(go(c, 0, ACCESS_WRITE | ACCESS_USER), FAULTS);
    }
}

/* A #PF of the guest's own is a flush of its address (SDM vol. 3 §4.10.4.1), at whichever level the way
 * leads elsewhere now. */
static void a_page_fault_drops_its_address(void)
{
    for (unsigned int table = 1; table <= 4; table++) {
        struct vcpu *c = simple_guest(POOL);

        put(4, 0, 40 * PAGE_SIZE | P | U | A);
        put(6, 0, 7 * PAGE_SIZE | ALL);
        put(7, 0, 8 * PAGE_SIZE | ALL);
        put(8, 0, 41 * PAGE_SIZE | P | U | A);
        flush_all(c);
        CHECK_EQ(go(c, 0, ACCESS_READ | ACCESS_USER), 40 * PAGE_SIZE);
        put(table, 0, table < 4 ? (table + 5) * PAGE_SIZE | ALL : 41 * PAGE_SIZE | P | U | A);
        CHECK_EQ(go(c, 0, ACCESS_WRITE | ACCESS_USER), FAULTS);
        CHECK_EQ(go(c, 0, ACCESS_READ | ACCESS_USER), 41 * PAGE_SIZE);
    }
}

/* vCPUs with equal roles share all tables; nested tables with shadow pages are one for all models. */
static void sharing(void)
{
    struct vcpu *c = simple_guest(POOL);
    struct paging_props narrow = {.maxphyaddr = 36};
    struct paging_state state = {.props = &narrow};
    struct role_context context = {.format = m.direct.format.id, .direct = true, .tables = true};
    struct table_page *root;
    struct shadow_stats one, two;

    CHECK_EQ(go(c, 0, ACCESS_READ), 40 * PAGE_SIZE);
    shadow_count(&m.shadow, &one);
    run_long(&m.cpu[1], 1);
    CHECK_EQ(go(&m.cpu[1], 0, ACCESS_READ), 40 * PAGE_SIZE);
    shadow_count(&m.shadow, &two);
    CHECK_EQ(one.pages, two.pages);
    CHECK_EQ(direct_root(&m.direct, role_from_state(&state, &context, 5), &root), 0);
    CHECK(root == c->root[1]);
}

/* What a model's vCPUs reach, and what another's do too: of unlike models that walk the same tables
 * the page on which they differ, that for 1 GiB pages, with what is above it. */
static void counting(void)
{
    struct vcpu *c = simple_guest(POOL), *like = &m.cpu[1], *unlike = &m.cpu[2];
    struct shadow_stats stats;

    put(1, 1, 5 * PAGE_SIZE | ALL);
    put(5, 0, 3 * PAGE_SIZE | ALL);
    unlike->props.gbpages = false;
    run_long(like, 1);
    run_long(unlike, 1);
    CHECK_EQ(go(c, 0, ACCESS_READ), 40 * PAGE_SIZE);
    CHECK_EQ(go(like, 1UL << 39, ACCESS_READ), 40 * PAGE_SIZE);
    CHECK_EQ(go(unlike, 0, ACCESS_READ), 40 * PAGE_SIZE);
    shadow_count_begin(&m.shadow);
    CHECK_EQ(shadow_count_cpu(&m.shadow, &c->shadow, 1), 6U);
    CHECK_EQ(shadow_count_cpu(&m.shadow, &like->shadow, 1), 1U);
    CHECK_EQ(shadow_count_cpu(&m.shadow, &unlike->shadow, 2), 5U);
    shadow_count(&m.shadow, &stats);
    CHECK_EQ(stats.shared, 2U);
    CHECK_EQ(stats.pages, 6U + 1U + 5U - stats.shared);
}

/* What the README says of a GiB of large pages: one table, and what Latch remembers of it. */
static void cost_of_large_pages(void)
{
    struct vcpu *c = simple_guest(POOL);
    struct shadow_stats before, after;

    CHECK_EQ(sizeof(struct shadow_page), 176U);
    put(2, 1, 5 * PAGE_SIZE | ALL);
    for (unsigned int i = 0; i < 512; i++)
        put(5, i, (GIB + i * LARGE) | ALL | PS);
    CHECK_EQ(go(c, 0, ACCESS_READ), 40 * PAGE_SIZE);
    shadow_count(&m.shadow, &before);
    for (unsigned int i = 0; i < 512; i++)
        CHECK_EQ(go(c, GIB + i * LARGE, ACCESS_WRITE), GIB + i * LARGE);
    shadow_count(&m.shadow, &after);
    CHECK_EQ(after.pages - before.pages, 1U);
}

/* Entries that are none of Latch's, as a fault of the machine might leave them, lead nowhere. */
static void wrong_entries(void)
{
    static const uint64_t wrong[] = {0, TABLES - PAGE_SIZE, TABLES + POOL * PAGE_SIZE,
                                     0xffffffffff000, TABLES + 200 * PAGE_SIZE};

    for (unsigned int i = 0; i < COUNT(wrong); i++) {
        struct vcpu *c = simple_guest(POOL);

        CHECK_EQ(go(c, 0, ACCESS_READ), 40 * PAGE_SIZE);
        for (unsigned int page = CPUS; page < POOL; page++)
            for (unsigned int e = 0; e < 512; e++)
                m.pool[page][e] = wrong[i] | 0x27U;
        shadow_invalidate(&m.shadow, &c->shadow, gla(0));
        flush_all(c);
        put(1, 0, 2 * PAGE_SIZE | P | A);
        flush_all(c);
        CHECK_EQ(go(c, 0, ACCESS_READ | ACCESS_USER), FAULTS);
        CHECK_EQ(go(c, 0, ACCESS_READ), 40 * PAGE_SIZE);
    }
}

int main(void)
{
    RUN(invlpg_drops_links);
    RUN(linked_again);
    RUN(invlpg_of_an_unused_part);
    RUN(linked_again_by_pdpte);
    RUN(marks_of_another_size);
    RUN(marks_of_a_walk);
    RUN(spaces_at_rest);
    RUN(large_pages);
    RUN(without_wp);
    RUN(a_page_fault_drops_its_address);
    RUN(sharing);
    RUN(counting);
    RUN(cost_of_large_pages);
    RUN(wrong_entries);
    return unit_end();
}
