/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Guards the flushes: under random operations of the guest's and of Latch's, on two or three CPUs
 * with greedy TLBs, of like and of unlike models, nothing stale is ever held once Latch considers a
 * change done; and each flush is needed, so without it something is. The emulators cannot show this:
 * they flush at each entry.
 */
#include "tests/unit/tlb_check.h"
#include "tests/unit/tlb_guest.h"
#include "tests/unit/tlb_private.h"

#define SEEDS      80U /* formats, modes, quiet or not, and the four of machine_new() */
#define OPERATIONS 1200U

/* --- what a guest does at random --- */

/* CR0.WP, which is mostly 0, as private tables need it, and EFER.NXE flush nothing in a CPU; nor does
 * SMAP. SMEP does when it is set (SDM vol. 3 §4.10.4.1). */
static void toggle_rules(struct vcpu *c)
{
    struct paging_state *state = &c->shadow.state;

    switch (draw(4)) {
    case 0:
        state->cr0 = one_in(4) ? state->cr0 | CR0_WP : state->cr0 & ~CR0_WP;
        break;
    case 1:
        state->cr4 ^= CR4_SMEP;
        if (state->cr4 & CR4_SMEP)
            cache_drop_tag(&c->guest, pcid(c));
        break;
    case 2:
        state->cr4 ^= long_mode() && one_in(2) ? CR4_PKE : CR4_SMAP;
        break;
    default:
        if (!is_narrow())
            state->efer ^= EFER_NXE;
    }
    if (!paging_on(c))
        return;
    m.in_latch = c;
    crawl_guest(c);
    shadow_load(&m.shadow, &c->shadow);
    enter(c, CALLER_LOAD);
}

/* With a PCID bit 63 asks not to flush. */
static void write_cr3(struct vcpu *c)
{
    bool pcids = c->shadow.state.cr4 & CR4_PCIDE;

    uint64_t value = (TABLE_FIRST + draw(2)) * PAGE_SIZE | (pcids ? draw(2) : 0);

    load_cr3(c, value | (long_mode() && one_in(2) ? cbit(c) : 0), !pcids || one_in(2));
}

static void invpcid(struct vcpu *c)
{
    uint64_t type = draw(4), address = random_linear();

    if (paging_on(c) && long_mode())
        invpcid_with(c, type, m.pcids ? draw(2) : 0, address);
}

/* One page may be read and then written. */
static void random_fault(struct vcpu *c)
{
    static const unsigned int accesses[] = {ACCESS_READ, ACCESS_WRITE, ACCESS_EXECUTE,
                                            ACCESS_READ | ACCESS_USER, ACCESS_WRITE | ACCESS_USER};
    uint64_t address = random_linear();

    for (unsigned int i = 0; i < 4 && paging_on(c); i++) {
        access_linear(c, address, accesses[draw(COUNT(accesses))]);
        if (one_in(2))
            address = random_linear();
    }
}

static void touch(struct vcpu *c)
{
    struct direct_result result;

    for (unsigned int i = 0; i < 8; i++)
        CHECK_EQ(direct_fill(&m.direct, c->active,
                             gpa(nested_address((unsigned int)draw(NESTED_ADDRESSES))), &result),
                 0);
}

/* --- what Latch does of itself --- */

static void change_map(struct vcpu *c)
{
    static const struct {
        uint64_t start, end;
    } parts[] = {{0x5ff000, 0x600000}, {0x400000, 0x401000}, {0x600000, 0x700000},
                 {0x700000, 0x800000}, {0x600000, 0x800000}, {0x400000, 0x600000}};
    unsigned int which = (unsigned int)draw(COUNT(parts));
    uint64_t size = parts[which].end - parts[which].start;
    enum guest_kind kind = one_in(2) ? GUEST_READ_ONLY : one_in(3) ? GUEST_ABSENT : GUEST_PASS;

    m.in_latch = c;
    if (kind == GUEST_PASS)
        set_range(parts[which].start, parts[which].end, GUEST_PASS); /* what was absent */
    (void)direct_set_kind(&m.direct, gpa(parts[which].start), size, kind);
}

static void change_types(struct vcpu *c)
{
    static const enum cache_type types[] = {CACHE_WB, CACHE_WT, CACHE_UC};

    m.in_latch = c;
    m.mtrr.def_type = MTRR_DEF_ENABLE | types[draw(COUNT(types))];
    direct_rebuild(&m.direct);
}

/* A guest's reset: no CPU runs it, and each begins with paging off. */
static void reset(void)
{
    for (unsigned int i = 0; i < m.cpus; i++)
        if (paging_on(&m.cpu[i]))
            toggle_paging(&m.cpu[i]);
    shadow_clear(&m.shadow);
}

/* All pages are in use for a while, so that others must go; not of private tables, which have their
 * share. */
static void squeeze(struct vcpu *c)
{
    struct shadow_page *taken[SHADOW_PAGES];
    unsigned int count = 0;

    for (unsigned int i = 0; i < m.cpus; i++)
        if (m.cpu[i].shadow.private.on)
            return;
    while ((taken[count] = pool_take(&m.shadow)) != NULL)
        count++;
    random_fault(c);
    m.evictions += m.shadow.evictions;
    m.shadow.evictions = 0;
    for (; count != 0; m.shadow.limbo_count++)
        link_move(&taken[--count]->idle, &m.shadow.limbo);
}

/* What decides what one PCID may hold while others are current. */
static void operation_with_pcids(struct vcpu *c)
{
    if (one_in(8))
        toggle_global(c);
    else if (one_in(4))
        invpcid(c);
    else if (one_in(3))
        invlpg(c, random_linear());
    else
        write_cr3(c);
}

/* Quiet machines flush little by themselves: nothing is tracked, the map stays, and one CPU hardly
 * ever flushes. So what it holds of tables is there when their pages are used again. */
static void operation(bool quiet)
{
    struct vcpu *c = &m.cpu[draw(m.cpus)];
    bool lazy = quiet && c == &m.cpu[1] && !one_in(16);
    uint64_t what = draw(lazy ? 36 : quiet ? 60 : 64);

    if (m.pcids && one_in(6))
        operation_with_pcids(c);
    else if (what < 16)
        random_store(c, true);
    else if (what < 18)
        squeeze(c);
    else if (what < 36)
        random_fault(c);
    else if (what < 37)
        invpcid(c);
    else if (what < 46)
        invlpg(c, random_linear());
    else if (what < 51)
        write_cr3(c);
    else if (what < 53)
        toggle_rules(c);
    else if (what < 54)
        toggle_global(c);
    else if (what < 56 || (!paging_on(c) && what < 60))
        toggle_paging(c);
    else if (what < 60)
        touch(c);
    else if (what < 62)
        change_map(c);
    else if (what < 63)
        change_types(c);
    else if (one_in(4))
        reset();
    check_all();
}

/* What is stale in this machine at last, or NULL. */
static const char *run(uint64_t seed)
{
    bool quiet = seed / 10U % 2U;

    machine_new(seed);
    m.shadow.track = !quiet;
    for (uint64_t i = 0; i < 2UL * (TABLE_LAST - TABLE_FIRST + 1); i++)
        put_entry(TABLE_FIRST + i / 2, i & 1U);
    for (unsigned int i = 0; i < OPERATIONS && !m.stale; i++)
        operation(quiet);
    if (!m.stale)
        direct_destroy(&m.direct);
    return m.stale;
}

static void nothing_stale_is_held(void)
{
    for (uint64_t seed = 0; seed < SEEDS; seed++) {
        const char *found = run(seed);

        CHECK(!found);
        if (found)
            printf("# seed %lu: %s\n", seed, found);
    }
    CHECK(m.stores > 1000);
    CHECK(m.flushes > 500);
    CHECK(m.window_faults > 50);
    CHECK(m.evictions > 1000);
}

/* INVLPG of one address in a guest's page of 4 MiB, for which the hardware has two of 2 MiB. */
static const char *page_of_4_mib(void)
{
    struct vcpu *c = &m.cpu[0];

    machine_new(4);
    m.shadow.track = false; /* which would flush */
    c->shadow.state.cr3 = TABLE_FIRST * PAGE_SIZE;
    ram_write(TABLE_FIRST * PAGE_SIZE, 4, 0x400000 | PS | ALL);
    toggle_paging(c);
    fault(c, 0, ACCESS_READ);
    fault(c, LARGE_PAGE_SIZE, ACCESS_READ);
    check_all();
    CHECK_EQ(c->linear.leaves, 4);
    ram_write(TABLE_FIRST * PAGE_SIZE, 4, 0);
    invlpg(c, LARGE_PAGE_SIZE);
    check_all();
    return m.stale;
}

/* AMD's PDPTEs are read on demand: two lead to one directory, until one of them leads elsewhere and
 * INVLPG drops the link to where it led before. Random operations hardly come to that. */
static const char *moved_pdpte(void)
{
    struct vcpu *c = &m.cpu[0];

    machine_new(2);
    m.shadow.track = false;
    c->shadow.state.cr3 = 1 * PAGE_SIZE;
    ram_write(1 * PAGE_SIZE, 8, 3 * PAGE_SIZE | P);
    ram_write(1 * PAGE_SIZE + 8, 8, 3 * PAGE_SIZE | P);
    ram_write(3 * PAGE_SIZE, 8, 5 * PAGE_SIZE | ALL);
    ram_write(4 * PAGE_SIZE, 8, 6 * PAGE_SIZE | ALL);
    ram_write(5 * PAGE_SIZE, 8, 20 * PAGE_SIZE | ALL);
    ram_write(6 * PAGE_SIZE, 8, 21 * PAGE_SIZE | ALL);
    toggle_paging(c);
    fault(c, 0, ACCESS_READ);
    fault(c, HUGE_PAGE_SIZE, ACCESS_READ);
    check_all();
    ram_write(1 * PAGE_SIZE, 8, 4 * PAGE_SIZE | P);
    fault(c, 0, ACCESS_READ);
    check_all();
    invlpg(c, HUGE_PAGE_SIZE);
    ram_write(5 * PAGE_SIZE, 8, 22 * PAGE_SIZE | ALL);
    invlpg(c, HUGE_PAGE_SIZE);
    check_all();
    return m.stale;
}

/* Private tables begin anew when the window is full: what was a table on the way to one page then is
 * one on the way to another. */
static const char *full_window(void)
{
    struct vcpu *c = &m.cpu[0];
    const uint64_t other = m.second << 39;

    machine_new(1);
    c->shadow.state.cr3 = 1 * PAGE_SIZE;
    c->shadow.state.cr4 = CR4_SMAP;
    ram_write(1 * PAGE_SIZE, 8, 3 * PAGE_SIZE | ALL);
    ram_write(1 * PAGE_SIZE + m.second * 8, 8, 6 * PAGE_SIZE | ALL);
    for (uint64_t table = 3; table < 8; table++)
        ram_write(table * PAGE_SIZE, 8, (table == 5 ? 20 : table + 1) * PAGE_SIZE | ALL);
    ram_write(8 * PAGE_SIZE, 8, 21 * PAGE_SIZE | P | A);
    ram_write(8 * PAGE_SIZE + 8, 8, 22 * PAGE_SIZE | P | A);
    toggle_paging(c);
    fault(c, other + PAGE_SIZE, ACCESS_WRITE);
    CHECK(c->shadow.private.on);
    fault(c, 0, ACCESS_WRITE);
    for (unsigned int i = 0; i <= SHADOW_SLOTS && !m.stale; i++) {
        check_all();
        fault(c, other, ACCESS_READ);
    }
    CHECK(m.stale || c->shadow.private.slots == 1);
    check_all();
    return m.stale;
}

/* An entry of 4 bytes is two links here. Another CPU has dropped both when this one's #PF drops what it
 * has of one half: nothing may come by the other, where the table behind it is in use all the same. */
static const char *other_half(void)
{
    const uint64_t directory = TABLE_FIRST * PAGE_SIZE, table = directory + PAGE_SIZE;

    machine_new(4);
    m.shadow.track = false;
    ram_write(directory, 4, table | ALL);
    ram_write(directory + 4, 4, table | ALL);
    ram_write(table, 4, 20 * PAGE_SIZE | ALL);
    ram_write(table + 512UL * 4, 4, 21 * PAGE_SIZE | ALL);
    for (unsigned int i = 0; i < 2; i++) {
        m.cpu[i].shadow.state.cr3 = directory;
        toggle_paging(&m.cpu[i]);
        for (uint64_t address = 0; address < 4 * LARGE_PAGE_SIZE; address += LARGE_PAGE_SIZE)
            fault(&m.cpu[i], address, ACCESS_READ);
    }
    ram_write(table + 512UL * 4, 4, 0);
    for (unsigned int i = 0; i < 2; i++)
        invlpg(&m.cpu[i], LARGE_PAGE_SIZE);
    check_all();
    ram_write(directory, 4, (table + PAGE_SIZE) | ALL);
    invlpg(&m.cpu[1], 0);
    fault(&m.cpu[0], 0, ACCESS_READ); /* there is nothing in the new table */
    ram_write(table + 512UL * 4, 4, 22 * PAGE_SIZE | ALL);
    fault(&m.cpu[1], 3 * LARGE_PAGE_SIZE, ACCESS_READ);
    check_all();
    return m.stale;
}

static void a_page_fault_drops_both_halves(void)
{
    CHECK(!other_half());
}

/* All pages are in use: one that a CPU may hold a link to is used again, as another table. */
static const char *reused_table(void)
{
    struct vcpu *c = &m.cpu[0];

    machine_new(1);
    m.shadow.track = false; /* which would flush */
    for (unsigned int i = 0; i < 2; i++) {
        m.cpu[i].shadow.state.cr3 = 1 * PAGE_SIZE;
        for (uint64_t table = 1; table < 5; table++)
            ram_write(table * PAGE_SIZE, 8, (table == 4 ? 20 : table + 1) * PAGE_SIZE | ALL);
        toggle_paging(&m.cpu[i]);
        fault(&m.cpu[i], 0, ACCESS_READ);
    }
    check_all();
    while (pool_take(&m.shadow) != NULL)
        continue;
    ram_write(3 * PAGE_SIZE, 8, 5 * PAGE_SIZE | ALL);
    ram_write(5 * PAGE_SIZE, 8, 21 * PAGE_SIZE | ALL);
    invlpg(c, 0);
    fault(c, 0, ACCESS_READ);
    check_all();
    return m.stale;
}

static void a_table_that_is_used_again_is_not_held(void)
{
    CHECK(!reused_table());
}

static void invlpg_drops_a_page_of_4_mib(void)
{
    CHECK(!page_of_4_mib());
}

static void a_pdpte_that_moves_leaves_nothing(void)
{
    CHECK(!moved_pdpte());
}

static void a_full_window_leaves_nothing(void)
{
    CHECK(!full_window());
}

static bool any_run_finds(const char *what, const char *name)
{
    static const char *(*const stories[])(void) = {moved_pdpte, full_window, reused_table};

    for (uint64_t seed = 0; seed < SEEDS + COUNT(stories); seed++) {
        if (!(seed < COUNT(stories) ? stories[seed]() : run(seed - COUNT(stories))))
            continue;
        printf("# without %s %s, run %lu: %s\n", what, name, seed, m.stale);
        return true;
    }
    printf("# nothing is stale without %s %s\n", what, name);
    return false;
}

/* Each call of env->flush() in mmu/, as it was compiled: inlined, one is several. And each place where
 * private tables ask for a flush with the next entry. */
static void each_flush_is_needed(void)
{
    const unsigned int count = sites.count;

    CHECK(all_have_run("mmu/*.c", "env->flush(", 4));
    CHECK(all_have_run("mmu/shadow_private.c", "cpu->changed = true", 4));
    CHECK(is_known(SLOT_SHOWS));
    for (unsigned int i = 0; i < count; i++) {
        sites.without = sites.site[i].key;
        CHECK(any_run_finds("flush", site_name(&sites.site[i])));
    }
    sites.without = NULL;
}

static const char *const caller_name[CALLER_SITES] = {[CALLER_LOAD] = "after a load",
                                                      [CALLER_UNLOAD] = "after an unload",
                                                      [CALLER_FAULT] = "after a fault",
                                                      [CALLER_LINKS] = "after INVLPG, of all",
                                                      [CALLER_ADDRESS] = "after INVLPG, of it",
                                                      [CALLER_WINDOW] = "after a window's fault",
                                                      [CALLER_PAGE_FAULT] =
                                                          "after the guest's own #PF"};

static void each_flush_of_a_caller_is_needed(void)
{
    for (unsigned int i = CALLER_NONE + 1; i < CALLER_SITES; i++) {
        m.without_caller = (enum caller_site)i;
        CHECK(any_run_finds("flush", caller_name[i]));
    }
    m.without_caller = CALLER_NONE;
}

/* INVVPID and TLB_CONTROL have variants that keep global translations. None will do, but where a
 * fault has moved a PDPTE: a CPU may keep what is global then, as the guest has flushed nothing. */
static void flushes_take_what_is_global(void)
{
    for (unsigned int i = CALLER_NONE + 1; i < CALLER_ADDRESS; i++) {
        if (i == CALLER_FAULT)
            continue;
        m.local_caller = (enum caller_site)i;
        CHECK(any_run_finds("globals in flush", caller_name[i]));
    }
    m.local_caller = CALLER_NONE;
}

int main(void)
{
    RUN(invlpg_drops_a_page_of_4_mib);
    RUN(a_pdpte_that_moves_leaves_nothing);
    RUN(a_full_window_leaves_nothing);
    RUN(a_table_that_is_used_again_is_not_held);
    RUN(a_page_fault_drops_both_halves);
    RUN(nothing_stale_is_held);
    RUN(each_flush_is_needed);
    RUN(each_flush_of_a_caller_is_needed);
    RUN(flushes_take_what_is_global);
    return unit_end();
}
