/* SPDX-License-Identifier: BSD-2-Clause */
/* Shadow tables: simulated CPUs on them against the guest's own tables, at random. */
#include "tests/unit/shadow_explain.h"

#define TABLE_FRAMES 48U /* the other frames of RAM are data */

static const struct paging_props alike[CPUS] = {
    {.maxphyaddr = 40, .gbpages = true, .nx = true, .pse36 = true, .pat = true, .la57 = true},
    {.maxphyaddr = 40, .gbpages = true, .nx = true, .pse36 = true, .pat = true, .la57 = true},
    {.maxphyaddr = 40, .gbpages = true, .nx = true, .pse36 = true, .pat = true, .la57 = true},
};

static const struct paging_props unlike[CPUS] = {
    {.maxphyaddr = 36, .nx = true, .pse36 = true, .pat = true, .la57 = true},
    {.maxphyaddr = 40, .gbpages = true, .nx = true, .pat = true, .vendor = PAGING_AMD},
    {.maxphyaddr = 52,
     .gbpages = true,
     .nx = true,
     .pse36 = true,
     .la57 = true,
     .cbit = 47,
     .reduction = 5},
};

/* --- the random guest */

static uint64_t random_index(void)
{
    static const uint16_t index[] = {0, 1, 2, 3, 100, 255, 256, 511};

    return index[draw(COUNT(index))];
}

static uint64_t random_linear(const struct paging_state *state)
{
    enum paging_mode mode = paging_mode(state);
    uint64_t linear = draw(PAGE_SIZE);

    for (unsigned int level = 1; level <= 5; level++)
        linear |= random_index() << (12 + 9 * (level - 1));
    if (mode < MODE_4LEVEL)
        return linear & 0xffffffffUL;
    return (uint64_t)((int64_t)(linear << (mode == MODE_5LEVEL ? 7 : 16)) >>
                      (mode == MODE_5LEVEL ? 7 : 16));
}

static uint64_t random_large(void)
{
    static const uint64_t base[] = {0, 0x200000, 0x800000, 0xa00000, 0x40000000, 0xc0000000};

    return one_in(4) ? (draw(1UL << 40) & ~0x1fffffUL) : base[draw(COUNT(base))];
}

static uint64_t random_page(bool table)
{
    switch (draw(table ? 32 : 8)) {
    case 0:
        return TABLES + draw(m.shadow.count) * PAGE_SIZE;
    case 1:
        return one_in(2) ? LATCH : draw(1UL << 40) << PAGE_SHIFT;
    default:
        return draw(table ? TABLE_FRAMES : RAM_FRAMES) * PAGE_SIZE;
    }
}

static uint64_t random_entry(const struct paging_state *state, unsigned int level)
{
    enum paging_mode mode = paging_mode(state);
    bool leaf = level == 1 || (level <= 3 && one_in(4));
    uint64_t entry = random_page(!leaf);

    if (leaf && level > 1)
        entry = (random_large() & ~(level_size(level) - 1UL)) | PS;
    entry |= (one_in(16) ? 0 : P) | (one_in(4) ? 0 : W) | (one_in(4) ? 0 : U);
    entry |= (draw(2) ? A : 0) | (draw(2) ? D : 0);
    entry |= random64(&m.seed) & (24UL | G | 7UL << 9); /* PWT, PCD, ignored */
    if (level == 1 && one_in(2))
        entry |= PS; /* PAT */
    if (mode >= MODE_4LEVEL)
        entry |= random64(&m.seed) & 0x7ff0000000000000UL;
    if (one_in(state->efer & EFER_NXE ? 6 : 64))
        entry |= NX;
    if (state->props->cbit && one_in(2))
        entry |= 1UL << state->props->cbit;
    if (one_in(24))
        entry ^= 1UL << draw(64);
    if (mode == MODE_PAE && level == 3)
        entry &= ~0x1e6UL | (one_in(16) ? 0x1e6UL : 0);
    return entry;
}

/* Where the walk for an address reads at `level`, whatever the entries on the way say. */
static uint64_t place_at(const struct paging_state *state, uint64_t linear, unsigned int level)
{
    enum paging_mode mode = paging_mode(state);
    unsigned int size = mode <= MODE_32BIT_PSE ? 4 : 8;
    uint64_t table = state->cr3 & (mode == MODE_PAE ? 0xffffffe0UL : 0x000ffffffffff000UL);

    for (unsigned int at = paging_levels(mode);; at--) {
        uint64_t place;

        if (state->props->cbit && mode >= MODE_PAE)
            table &= ~(1UL << state->props->cbit);
        place = table + (linear >> index_shift(mode, at) & (PAGE_SIZE / size - 1)) % 512U * size;
        if (mode <= MODE_32BIT_PSE)
            place = table + (linear >> index_shift(mode, at) & 1023U) * size;
        if (mode == MODE_PAE && at == 3)
            place = table + (linear >> 30 & 3U) * 8U;
        if (at == level || !ram_at(place))
            return place;
        table = part_of(*ram_at(place), place, size) & 0x000ffffffffff000UL;
    }
}

static void store_entry(const struct paging_state *state)
{
    enum paging_mode mode = paging_mode(state);
    unsigned int size = mode <= MODE_32BIT_PSE ? 4 : 8;
    unsigned int level = mode == MODE_OFF ? 1 : 1 + (unsigned int)draw(paging_levels(mode));
    uint64_t place = mode == MODE_OFF ? 0 : place_at(state, random_linear(state), level);

    if (mode == MODE_OFF || !ram_at(place) || one_in(16))
        place = draw(TABLE_FRAMES) * PAGE_SIZE + random_index() * size;
    guest_store(place, size, random_entry(state, level));
}

/* A whole good path to a page for one address, through tables of RAM. */
static void store_path(const struct paging_state *state, uint64_t linear)
{
    enum paging_mode mode = paging_mode(state);
    unsigned int size = mode <= MODE_32BIT_PSE ? 4 : 8;

    for (unsigned int level = paging_levels(mode); level >= 1; level--) {
        uint64_t place = place_at(state, linear, level);
        uint64_t flags = P | W | (one_in(4) ? 0 : U) | (draw(2) ? A : 0) | (draw(2) ? D : 0);

        if (!ram_at(place))
            return;
        if (mode == MODE_PAE && level == 3)
            flags = P;
        guest_store(place, size, draw(level > 1 ? TABLE_FRAMES : RAM_FRAMES) * PAGE_SIZE | flags);
    }
}

/* Where the guest has no tables: the shadow tables themselves and their windows, more that is
 * Latch's, or anywhere. */
static uint64_t outside_tables(void)
{
    switch (draw(3)) {
    case 0:
        return TABLES + draw(m.shadow.count + CPUS * SHADOW_SLOTS) * PAGE_SIZE;
    case 1:
        return LATCH + draw((LATCH_END - LATCH) / PAGE_SIZE) * PAGE_SIZE;
    default:
        return random64(&m.seed) & ~PAGE_OFFSET_MASK;
    }
}

/* CR3 may have any value that its load accepts. */
static uint64_t random_cr3(const struct paging_state *state)
{
    const uint64_t reserved = cr3_reserved_mask(paging_mode(state), state->props);
    uint64_t table = one_in(16) ? outside_tables() : draw(TABLE_FRAMES) * PAGE_SIZE;

    return (table & ~reserved) | draw(128) * 32U;
}

/* PDPTEs as an Intel CPU loads them: good ones. Outside RAM there are none, and CR3 keeps out. */
static void load_pdptes(struct paging_state *state)
{
    if (!ram_at(state->cr3))
        state->cr3 = draw(TABLE_FRAMES) * PAGE_SIZE;
    for (unsigned int i = 0; i < 4; i++) {
        uint64_t place = (state->cr3 & 0xffffffe0UL) + 8UL * i;
        uint64_t entry = *ram_at(place);

        if ((entry & P) && (entry & reserved_mask(MODE_PAE, 3, false, state->props, true))) {
            entry = draw(TABLE_FRAMES) * PAGE_SIZE | P;
            guest_store(place, 8, entry);
        }
        state->pdpte[i] = entry;
    }
}

static void random_mode(struct vcpu *c)
{
    struct paging_state *state = &c->shadow.state;
    uint64_t mode = draw(16);

    state->cr0 = mode ? CR0_PG : 0;
    state->cr4 = 0;
    state->efer = 0;
    if (mode > 3)
        state->cr4 |= CR4_PAE;
    if (mode > 7)
        state->efer |= EFER_LME | EFER_LMA;
    if (mode > 12 && c->props.la57)
        state->cr4 |= CR4_LA57;
}

/* New control registers; a mode is kept for some time. */
static void random_state(struct vcpu *c)
{
    struct paging_state *state = &c->shadow.state;

    if (one_in(4))
        random_mode(c);
    state->cr0 = (state->cr0 & ~CR0_WP) | (draw(2) ? CR0_WP : 0);
    state->cr4 &= ~(CR4_PSE | CR4_SMEP | CR4_SMAP | CR4_PKE);
    state->cr4 |= random64(&m.seed) & (CR4_PSE | CR4_SMEP);
    if (draw(2))
        state->cr4 |= random64(&m.seed) & (CR4_SMAP | CR4_PKE);
    state->efer = (state->efer & ~EFER_NXE) | (one_in(4) ? 0 : EFER_NXE);
    state->cr3 = random_cr3(state);
    if (c->props.cbit && one_in(2) && (state->efer & EFER_LMA))
        state->cr3 |= 1UL << c->props.cbit;
    for (unsigned int i = 0; i < COUNT(c->recent); i++)
        c->recent[i] = random_linear(state);
    state->pdpte_held = paging_mode(state) == MODE_PAE && c->props.vendor == PAGING_INTEL;
    if (state->pdpte_held)
        load_pdptes(state);
    flush_all(c);
}

/* --- accesses */

static unsigned long strict_done, strict_faults, strict_absent, relaxed_done;

static bool absent(uint64_t address)
{
    return guest_map_find(&m.map, gpa(address)).kind == GUEST_ABSENT;
}

/* One access, against what the guest's tables say; `seen`: m.changes when the address was flushed
 * last. */
static void check_access(struct vcpu *c, uint64_t linear, unsigned int access, uint64_t seen)
{
    struct walk_env look = {.read = guest_read};
    struct walk_result wanted, found;
    bool busy = m.busy;
    uint64_t before = m.changes, marks;
    bool strict = seen == before;
    enum access_end end;
    int rc;

    m.busy = false;
    rc = guest_walk(&look, &c->shadow.state, gla(linear), access, &wanted);
    m.busy = busy;
    marks = m.marks;
    end = guest_access(c, linear, access, &found);
    strict = strict && m.changes == before;
    /* A table that leads to itself can have its A or D bit where a PDPTE has a reserved one. */
    if (m.marks != marks && paging_mode(&c->shadow.state) == MODE_PAE &&
        !c->shadow.state.pdpte_held)
        return;
    CHECK(end != END_LOOP || busy);
    if (m.changes == before && end == END_FAULT)
        CHECK(rc == -EFAULT && found.error_code == wanted.error_code);
    if (end == END_DONE && !strict) {
        relaxed_done++;
        CHECK(is_explained(c, linear, access, found.address.raw));
    }
    if (!strict)
        return;
    strict_done += end == END_DONE;
    strict_faults += end == END_FAULT;
    strict_absent += end == END_ABSENT;
    CHECK_EQ(end, rc != 0 ? END_FAULT : absent(wanted.address.raw) ? END_ABSENT : END_DONE);
    if (end == END_DONE && rc == 0) {
        marks = m.marks;
        CHECK_EQ(found.address.raw, wanted.address.raw);
        m.busy = false;
        guest_walk(&m.guest, &c->shadow.state, gla(linear), access, &wanted);
        m.busy = busy;
        CHECK_EQ(m.marks, marks); /* the CPU's A and D bits are there */
    }
}

static unsigned int random_access(void)
{
    static const unsigned int kind[] = {ACCESS_READ, ACCESS_WRITE, ACCESS_EXECUTE, ACCESS_WRITE};

    return kind[draw(COUNT(kind))] | (draw(2) ? ACCESS_USER : 0);
}

/* No CPU holds a link to a page that may be used anew at any time. */
static void check_unused(void)
{
    static bool unused[POOL_MAX];

    memset(unused, 0, sizeof(unused));
    for (struct shadow_link *l = m.shadow.unused.next; l != &m.shadow.unused; l = l->next)
        unused[((char *)l - (char *)m.pages) / sizeof(m.pages[0])] = true;
    for (unsigned int i = m.shadow.fresh; i < m.shadow.count; i++)
        unused[i] = true;
    for (unsigned int c = 0; c < CPUS; c++)
        for (unsigned int i = 0; i < TLB_SIZE; i++) {
            const struct tlb_entry *link = &m.cpu[c].tlb.link[i];

            CHECK(!link->valid || !unused[(link->entry - TABLES) / PAGE_SIZE % POOL_MAX]);
        }
}

/* All links and lists hang together; every tracked page says what the guest's table does. */
static void check_shadow(void)
{
    struct shadow_stats stats;
    unsigned int live = 0, pinned = CPUS, links = 0, users = 0; /* private pages are pinned */

    shadow_count(&m.shadow, &stats);
    for (unsigned int i = 0; i < m.shadow.fresh; i++) {
        const struct shadow_page *page = &m.pages[i];

        live += page->live;
        users += page->live ? page->users : 0;
        for (unsigned int e = 0; page->live && page->role.level > 1 && e < 512; e++)
            links += (m.pool[i][e] & 1U) && !(m.pool[i][e] & PS);
        if (page->live && page->tracked && !absent(page->frame.raw << PAGE_SHIFT)) {
            struct table_leaf leaf;
            uint64_t address = page->frame.raw << PAGE_SHIFT;

            for (unsigned int c = 0; c < CPUS * 2U; c++)
                if (nested_lookup(m.cpu[c / 2U].root[c % 2U], address, &leaf))
                    CHECK(!(leaf.access & ACCESS_WRITE));
        }
    }
    for (unsigned int i = 0; i < CPUS; i++) {
        const struct shadow_cpu *cpu = &m.cpu[i].shadow;

        users -= cpu->root && cpu->root != cpu->pae_root;
        pinned += cpu->private.pages;
        for (unsigned int e = 0; e < 4 && !cpu->private.on; e++)
            users -= cpu->pdpte[e] != 0;
    }
    CHECK(m.shadow.dead.next == &m.shadow.dead);
    CHECK(m.shadow.candidates.next == &m.shadow.candidates);
    CHECK_EQ(stats.pages, live + pinned);
    CHECK_EQ(users, links);
}

/* What happens beside the guest's paging. */
static void disturb(void)
{
    switch (draw(8)) {
    case 0:
        m.memory.fail_after = (unsigned int)draw(4); /* until a fill needs more */
        break;
    case 1:
        m.memory.fail_after = UINT32_MAX;
        break;
    case 2:
        direct_rebuild(&m.direct);
        break;
    case 3:
        direct_set_kind(&m.direct, gpa(0), RAM_FRAMES * PAGE_SIZE, GUEST_PASS);
        break;
    case 4:
        for (unsigned int i = 0; i < CPUS * 2U; i++)
            nested_access(&m.cpu[i / 2U], i % 2U, 0, false);
        m.memory.fail_after = 0;
        break;
    default:
        m.busy = one_in(4);
    }
}

/* INVLPG without an access before or after it, of an entry beside one in use; and then a flush. */
static void change_neighbour(struct vcpu *c, uint64_t linear)
{
    const struct paging_state *state = &c->shadow.state;
    unsigned int size = paging_mode(state) <= MODE_32BIT_PSE ? 4 : 8;

    check_access(c, linear, ACCESS_READ, c->seen);
    linear ^= random_index() << PAGE_SHIFT;
    for (unsigned int i = 0; i < 2; i++) {
        uint64_t place = place_at(state, linear, 1);

        if (!ram_at(place))
            return;
        guest_store(place, size, draw(RAM_FRAMES) * PAGE_SIZE | P | W | U | A | D);
        if (i == 0)
            guest_invlpg(c, linear);
    }
    flush_all(c);
    check_access(c, linear, random_access(), c->seen);
}

static void step(void)
{
    struct vcpu *c = &m.cpu[draw(CPUS)];
    struct paging_state *state = &c->shadow.state;
    bool paging = state->cr0 & CR0_PG;
    uint64_t kind = draw(100);
    uint64_t linear = random_linear(state);

    if (paging && one_in(3))
        linear = c->recent[draw(COUNT(c->recent))];
    if (kind < 2) {
        random_state(c);
    } else if (kind < 8) {
        flush_all(c);
    } else if (kind < 20) {
        store_entry(state);
    } else if (kind < 30 && paging) {
        store_path(state, linear);
        c->recent[draw(COUNT(c->recent))] = linear;
    } else if (kind < 33) {
        state->pkru = (uint32_t)(random64(&m.seed) & random64(&m.seed) >> 32);
        state->ac = draw(2);
    } else if (kind < 45 && paging) {
        uint64_t seen = m.changes;

        guest_invlpg(c, linear);
        for (unsigned int i = 0; i < 3; i++)
            check_access(c, linear, random_access(), seen);
    } else if (kind < 47) {
        disturb();
    } else if (kind < 49 && paging) {
        change_neighbour(c, linear);
    } else if (paging) {
        check_access(c, linear, random_access(), c->seen);
    }
}

static void random_machine(const struct paging_props *props, unsigned int pages, bool track,
                           uint64_t seed, unsigned int entries)
{
    machine_new(props, pages, track, seed);
    for (unsigned int i = 0; i < CPUS; i++) {
        random_mode(&m.cpu[i]);
        random_state(&m.cpu[i]);
    }
    for (unsigned int i = 0; i < entries; i++)
        store_entry(&m.cpu[i % CPUS].shadow.state);
}

#ifndef FUZZED /* tests/fuzz/fuzz_shadow.c has steps of its own */

static void random_run(const struct paging_props *props, unsigned int pages, bool track,
                       unsigned int steps, uint64_t seed)
{
    random_machine(props, pages, track, seed, 4000);
    for (unsigned int i = 0; i < steps; i++) {
        unsigned long failures = unit_failures;

        step();
        if (i % 1024U == 0)
            check_shadow();
        if (i % 64U == 0)
            check_unused();
        if (unit_failures != failures) {
            printf("# seed %lu, step %u\n", seed, i);
            return;
        }
    }
    check_shadow();
}

static void random_amd(void)
{
    struct paging_props props[CPUS];

    memcpy(props, alike, sizeof(props));
    for (unsigned int i = 0; i < CPUS; i++)
        props[i].vendor = PAGING_AMD;
    for (uint64_t seed = 1; seed <= 4; seed++)
        random_run(props, POOL_MAX, true, 41000, seed);
}

static void random_alike(void)
{
    for (uint64_t seed = 1; seed <= 4; seed++)
        random_run(alike, POOL_MAX, true, 41000, seed);
}

static void random_unlike(void)
{
    for (uint64_t seed = 1; seed <= 4; seed++)
        random_run(unlike, POOL_MAX, true, 41000, seed);
}

static void random_tiny_pool(void)
{
    for (uint64_t seed = 1; seed <= 4; seed++) {
        random_run(unlike, SHADOW_PAGES_PER_CPU * (CPUS + 1U), true, 41000, seed);
        CHECK(m.shadow.evictions > 1000);
    }
}

int main(void)
{
    RUN(random_alike);
    RUN(random_amd);
    RUN(random_unlike);
    RUN(random_tiny_pool);
    printf("# done %lu, faults %lu, absent %lu, relaxed %lu\n", strict_done, strict_faults,
           strict_absent, relaxed_done);
    return unit_end();
}

#endif
