/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Guards what a load of CR3 without a flush may leave as it is: what the PCID may hold since it was
 * last current, and nothing else. One step of each story makes the difference; random operations
 * (test_mmu_tlb.c) hardly come to these.
 */
#include "tests/unit/tlb_check.h"
#include "tests/unit/tlb_guest.h"

/* Frames of RAM: roots, tables on the way to linear address 0, a leaf table, and pages. */
enum {
    ROOT = 1,
    OTHER_ROOT,
    POINTERS,
    DIRECTORY,
    LEAVES,
    OTHER_POINTERS,
    OTHER_DIRECTORY,
    OTHER_LEAVES,
    PAGE = 20,
    OTHER_PAGE,
    THIRD_PAGE,
};

#define SEED 20U /* a 4-level guest with PCIDs on AMD's CPU; the one after on Intel's */

static void put(uint64_t frame, uint64_t entry)
{
    ram_write(frame * PAGE_SIZE, 8, entry);
}

static uint64_t to(uint64_t frame)
{
    return frame * PAGE_SIZE | ALL;
}

/* A CPU on the root, PCID 0, and nothing filled yet. */
static struct vcpu *begin(uint64_t seed)
{
    struct vcpu *c = &m.cpu[0];

    machine_new(seed);
    m.shadow.track = false;
    put(ROOT, to(POINTERS));
    put(POINTERS, to(DIRECTORY));
    put(DIRECTORY, to(LEAVES));
    put(LEAVES, to(PAGE));
    c->shadow.state.cr3 = ROOT * PAGE_SIZE;
    toggle_paging(c);
    CHECK(c->shadow.state.cr4 & CR4_PCIDE);
    return c;
}

/* Go to a root with a PCID, without a flush. */
static void go(struct vcpu *c, uint64_t root, uint64_t pcid)
{
    load_cr3(c, root * PAGE_SIZE | pcid, false);
}

static void read_page(struct vcpu *c)
{
    fault(c, 0, ACCESS_READ);
    check_all();
    CHECK(c->linear.leaves > 0);
}

#define TOGGLE_PGE 4U /* beside the types of INVPCID */

/* The other PCID is flushed, all of it or the one address; its tables may be the current one's. */
static void flushed_meanwhile(uint64_t seed, uint64_t type, uint64_t root)
{
    struct vcpu *c = begin(seed);

    read_page(c);
    go(c, root, 1);
    put(LEAVES, to(OTHER_PAGE));
    if (type == TOGGLE_PGE)
        toggle_global(c);
    else
        invpcid_with(c, type, 0, 0);
    go(c, ROOT, 0);
    check_all();
}

static void filled_meanwhile(uint64_t seed)
{
    struct vcpu *c = begin(seed);

    put(LEAVES, 0);
    load_cr3(c, ROOT * PAGE_SIZE, true);
    go(c, ROOT, 1);
    put(LEAVES, to(PAGE));
    read_page(c);
    put(LEAVES, to(OTHER_PAGE));
    go(c, ROOT, 0);
    check_all();
}

/* By another CPU, while the PCID is nobody's. */
static void filled_elsewhere(uint64_t seed)
{
    struct vcpu *c = begin(seed), *other = &m.cpu[1];

    other->shadow.state.cr3 = ROOT * PAGE_SIZE;
    toggle_paging(other);
    put(LEAVES, 0);
    load_cr3(c, ROOT * PAGE_SIZE, true);
    go(c, OTHER_ROOT, 1);
    put(LEAVES, to(PAGE));
    read_page(other);
    put(LEAVES, to(OTHER_PAGE));
    go(c, ROOT, 0);
    check_all();
}

/* What lies below comes back with its link, which was not there in the PCID's time. */
static void linked_meanwhile(uint64_t seed)
{
    struct vcpu *c = begin(seed);

    ram_write(ROOT * PAGE_SIZE + 8, 8, to(OTHER_POINTERS));
    put(OTHER_POINTERS, to(OTHER_DIRECTORY));
    put(OTHER_DIRECTORY, to(LEAVES));
    read_page(c);
    fault(c, 1UL << 39, ACCESS_READ); /* keeps the leaf table in use */
    put(DIRECTORY, 0);
    load_cr3(c, ROOT * PAGE_SIZE, true);
    go(c, ROOT, 1);
    put(DIRECTORY, to(LEAVES));
    read_page(c);
    put(LEAVES, to(OTHER_PAGE));
    go(c, ROOT, 0);
    check_all();
}

/* The same with a leaf table that Latch keeps, as its frame is tracked. */
static void kept_and_linked_meanwhile(uint64_t seed)
{
    struct vcpu *c = begin(seed);

    m.shadow.track = true;
    read_page(c);
    for (unsigned int i = 0; i < 4; i++)
        load_cr3(c, ROOT * PAGE_SIZE, true);
    CHECK(shadow_is_tracked(&m.shadow, gfn(LEAVES), 1));
    CHECK(may_store(c, DIRECTORY * PAGE_SIZE, true));
    put(DIRECTORY, 0);
    load_cr3(c, ROOT * PAGE_SIZE, true);
    go(c, ROOT, 1);
    put(DIRECTORY, to(LEAVES));
    read_page(c);
    CHECK(may_store(c, LEAVES * PAGE_SIZE, true));
    put(LEAVES, to(OTHER_PAGE));
    go(c, ROOT, 0);
    check_all();
}

/* INVLPG drops what is global of all PCIDs. */
static void global_flushed_meanwhile(uint64_t seed)
{
    struct vcpu *c = begin(seed);

    put(OTHER_ROOT, to(OTHER_POINTERS));
    put(OTHER_POINTERS, to(OTHER_DIRECTORY));
    put(OTHER_DIRECTORY, to(OTHER_LEAVES));
    put(OTHER_LEAVES, to(THIRD_PAGE) | G);
    put(LEAVES, to(PAGE) | G);
    toggle_global(c);
    CHECK(c->shadow.state.cr4 & CR4_PGE);
    read_page(c);
    go(c, OTHER_ROOT, 1);
    put(LEAVES, to(OTHER_PAGE));
    invlpg(c, 0);
    go(c, ROOT, 0);
    check_all();
}

/* While the vCPU was on private tables, and INVLPG looked at no others. */
static void invalidated_on_private_tables(uint64_t seed)
{
    struct vcpu *c = begin(seed);

    ram_write(LEAVES * PAGE_SIZE + 8, 8, THIRD_PAGE * PAGE_SIZE | P | U | A);
    read_page(c);
    fault(c, PAGE_SIZE, ACCESS_WRITE);
    CHECK(c->shadow.private.on);
    put(LEAVES, to(OTHER_PAGE));
    invlpg(c, 0);
    go(c, OTHER_ROOT, 1);
    CHECK(!c->shadow.private.on);
    go(c, ROOT, 0);
    check_all();
}

static void nothing_stale_comes_back(void)
{
    static void (*const stories[])(uint64_t) = {
        filled_meanwhile,          filled_elsewhere,         linked_meanwhile,
        kept_and_linked_meanwhile, global_flushed_meanwhile, invalidated_on_private_tables};

    for (uint64_t seed = SEED; seed < SEED + 2; seed++)
        for (unsigned int i = 0; i < COUNT(stories); i++) {
            stories[i](seed);
            CHECK(!m.stale);
        }
}

static void a_flush_of_another_pcid_counts(void)
{
    for (uint64_t seed = SEED; seed < SEED + 2; seed++)
        for (uint64_t type = INVPCID_ADDRESS; type <= TOGGLE_PGE; type++)
            for (uint64_t root = ROOT; root <= OTHER_ROOT; root++) {
                flushed_meanwhile(seed, type, root);
                CHECK(!m.stale);
            }
}

/* The CPU may use what it held, and so it does: nothing was looked at in vain. */
static void what_a_pcid_held_stays(void)
{
    struct vcpu *c = begin(SEED);

    read_page(c);
    go(c, ROOT, 1);
    put(LEAVES, to(OTHER_PAGE));
    go(c, ROOT, 0);
    check_all();
    CHECK(c->linear.leaves > 0);
    CHECK(!m.stale);
    load_cr3(c, ROOT * PAGE_SIZE, true);
    CHECK_EQ(c->linear.leaves, 0);
}

int main(void)
{
    RUN(nothing_stale_comes_back);
    RUN(a_flush_of_another_pcid_counts);
    RUN(what_a_pcid_held_stays);
    return unit_end();
}
