/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef LATCH_TESTS_UNIT_SHADOW_MACHINE_H
#define LATCH_TESTS_UNIT_SHADOW_MACHINE_H
/*
 * A machine for shadow tables on the host: guest memory, nested tables, vCPUs, and the hardware's
 * own walk of the shadow tables, written apart from Latch's. Guest memory lies elsewhere in the
 * machine than in the guest, so that the two cannot be confused.
 */
#include "mmu/registers.h"
#include "mmu/reserved.h"
#include "mmu/shadow.h"
#include "tests/unit/mmu_memory.h"
#include "tests/unit/shadow_tlb.h"
#include "tests/unit/unit.h"

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

/* Bits of the guest's entries. */
#define P  1UL
#define W  2UL
#define U  4UL
#define A  32UL
#define D  64UL
#define PS 128UL
#define G  256UL
#define NX (1UL << 63)

#ifndef CPUS
#define CPUS 3U
#endif
#define RAM_FRAMES 64U
#define RAM_HOST   0x7000000000UL /* where guest-physical 0 lies */
#define TABLES     0x00805000UL   /* the shadow pages: no large page's boundary */
#define LATCH      0x00a00000UL   /* more of Latch's memory, up to 12 MiB */
#define LATCH_END  0x00c00000UL
#define GUEST_END  (1UL << 52)
#define POOL_MAX   1024U
#define NESTED_MAX 8192U
#define STORES_MAX 4096U

struct vcpu {
    struct shadow_cpu shadow;
    struct paging_state loaded; /* when the tables were */
    struct paging_props props;
    struct table_page *root[2]; /* nested, by `tables` */
    bool vmcs_pdptes;           /* the hardware holds PDPTEs; else it reads them when it walks */
    uint64_t cr3, pdpte[4];     /* the hardware's */
    struct tlb tlb;
    uint64_t recent[8];     /* addresses that lead somewhere, for the test */
    uint64_t dropped;       /* stores so far, when it last dropped its links to tables */
    uint64_t flushed, seen; /* stores and changes so far, when it last flushed everything */
};

/* A guest's store, with what was there before. */
struct store {
    uint64_t address, old; /* of 8 bytes */
};

struct machine {
    struct memory memory;
    struct mmu_env env;
    struct table_page nested_pages[NESTED_MAX];
    struct table_cache cache;
    struct guest_map map;
    struct mtrr_state mtrr;
    struct direct direct;
    struct walk_env guest;
    struct shadow shadow;
    struct shadow_page pages[POOL_MAX];
    uint64_t pool[POOL_MAX][512];
    uint64_t ram[RAM_FRAMES * 512U];
    struct vcpu cpu[CPUS];
    struct store store[STORES_MAX]; /* the last ones */
    uint64_t stores, changes;       /* A and D bits count among the stores only */
    unsigned long flushes, exits, marks;
    unsigned long violations; /* stores that exited, as the page was read-only */
    bool busy;                /* another CPU stores while Latch reads */
    uint64_t seed;
    const uint8_t *choice; /* what a fuzzer chose instead, while there is any of it */
    size_t choices;
};

enum access_end { END_DONE, END_FAULT, END_ABSENT, END_LOOP };

static struct machine m;

/* As many bytes of the fuzzer's as the number needs. */
static inline uint64_t draw(uint64_t below)
{
    uint64_t value = 0;

    if (m.choices == 0)
        return random_below(&m.seed, below);
    for (uint64_t left = below - 1; left != 0 && m.choices != 0; left >>= 8) {
        value = value << 8 | *m.choice++;
        m.choices--;
    }
    return value % below;
}

static inline bool one_in(uint64_t n)
{
    return draw(n) == 0;
}

static void *machine_map(void *ctx, hpa_t page)
{
    uint64_t index = (page.raw - TABLES) / PAGE_SIZE;

    return page.raw >= TABLES && index < POOL_MAX ? m.pool[index] : memory_at_page(ctx, page);
}

/* What struct mmu_env promises of a flush: nothing that any CPU holds survives. */
static void machine_flush(void *ctx)
{
    (void)ctx;
    m.flushes++;
    for (unsigned int i = 0; i < CPUS; i++)
        memset(&m.cpu[i].tlb, 0, sizeof(m.cpu[i].tlb));
}

static uint64_t *ram_at(uint64_t address)
{
    return address < RAM_FRAMES * PAGE_SIZE ? &m.ram[address / 8] : NULL;
}

static uint64_t part_of(uint64_t value, uint64_t address, unsigned int size)
{
    return size == 8 ? value : (address & 4U ? value >> 32 : value & 0xffffffffUL);
}

/* Write to RAM, and remember what was there. */
static void ram_write(uint64_t address, unsigned int size, uint64_t value)
{
    uint64_t *place = ram_at(address);
    uint64_t old = *place;

    if (size == 8)
        *place = value;
    else if (address & 4U)
        *place = (old & 0xffffffffUL) | value << 32;
    else
        *place = (old & ~0xffffffffUL) | (value & 0xffffffffUL);
    m.store[m.stores++ % STORES_MAX] = (struct store){.address = address & ~7UL, .old = old};
}

static struct table_space nested_space(const struct table_page *root)
{
    return (struct table_space){.env = &m.env, .format = m.direct.format, .root = root->page};
}

static bool nested_lookup(const struct table_page *root, uint64_t address, struct table_leaf *leaf)
{
    struct table_space space = nested_space(root);

    return table_lookup(&space, address, leaf);
}

/* The nested walk of one access; fills as the kernel would. False: absent. */
static bool nested_access(struct vcpu *c, unsigned int tables, uint64_t address, bool write)
{
    struct table_page *root = c->root[tables];
    uint64_t frame = address >> PAGE_SHIFT;
    struct direct_result result;
    struct table_leaf leaf;

    if (write && tlb_writable(&c->tlb, frame) && draw(2))
        return true;
    if (!nested_lookup(root, address, &leaf)) {
        int rc = direct_fill(&m.direct, root, gpa(address), &result);

        if (rc != 0) {
            m.memory.fail_after = UINT32_MAX;
            rc = direct_fill(&m.direct, root, gpa(address), &result);
        }
        CHECK_EQ(rc, 0);
        if (!nested_lookup(root, address, &leaf))
            return false;
    }
    if (write && !(leaf.access & ACCESS_WRITE)) {
        m.violations++;
        tlb_drop_nested(&c->tlb, frame); /* the violation does */
        CHECK(shadow_is_tracked(&m.shadow, gfn(frame), 1));
        CHECK(shadow_write(&m.shadow, gfn(frame)));
        CHECK(nested_lookup(root, address, &leaf) && (leaf.access & ACCESS_WRITE));
    }
    if (address < TABLES || address >= TABLES + m.shadow.count * PAGE_SIZE)
        CHECK_EQ(leaf.page.raw - leaf.address, RAM_HOST);
    else
        CHECK_EQ(leaf.page.raw, leaf.address);
    if (leaf.access & ACCESS_WRITE)
        c->tlb.writable[draw(TLB_SIZE)] = frame + 1;
    return true;
}

/* A store of the guest's. */
static void guest_store(uint64_t address, unsigned int size, uint64_t value)
{
    struct vcpu *c = &m.cpu[draw(CPUS)];

    CHECK(nested_access(c, (unsigned int)draw(2), address, true));
    ram_write(address, size, value);
    m.changes++;
}

/* What no vCPU holds back: a store by another CPU in the midst of Latch's work. */
static void store_meanwhile(void)
{
    uint64_t address = draw(RAM_FRAMES * 512U) * 8U;

    if (!m.busy || !one_in(8) || shadow_is_tracked(&m.shadow, gfn(address >> PAGE_SHIFT), 1))
        return;
    ram_write(address, 8, *ram_at(draw(RAM_FRAMES * 512U) * 8U));
    m.changes++;
}

static int guest_read(void *ctx, gpa_t address, unsigned int size, uint64_t *value)
{
    const uint64_t *place = ram_at(address.raw);

    (void)ctx;
    store_meanwhile();
    *value = part_of(place ? *place : UINT64_MAX, address.raw, size);
    return 0;
}

static const void *guest_ram(void *ctx, gfn_t frame)
{
    (void)ctx;
    store_meanwhile();
    return ram_at(frame.raw << PAGE_SHIFT);
}

static int guest_mark(void *ctx, gpa_t address, unsigned int size, uint64_t expected,
                      uint64_t value)
{
    const uint64_t *place = ram_at(address.raw);

    (void)ctx;
    store_meanwhile();
    if (!place || part_of(*place, address.raw, size) != expected)
        return place ? -EAGAIN : 0;
    ram_write(address.raw, size, value);
    m.marks++;
    return 0;
}

static void add_cpu(unsigned int index, const struct paging_props *props)
{
    static const struct role_context shadow_context = {.format = FORMAT_SHADOW_LONG};
    struct vcpu *c = &m.cpu[index];

    *c = (struct vcpu){.props = *props, .vmcs_pdptes = draw(2)};
    for (unsigned int tables = 0; tables < 2; tables++) {
        struct paging_state state = {.props = &c->props};
        struct role_context context = {
            .format = m.direct.format.id, .direct = true, .tables = tables};

        CHECK_EQ(direct_root(&m.direct, role_from_state(&state, &context, m.direct.format.levels),
                             &c->root[tables]),
                 0);
    }
    CHECK_EQ(shadow_cpu_init(&m.shadow, &c->shadow, &c->props, &shadow_context), 0);
}

static void set_range(uint64_t start, uint64_t end, enum guest_kind kind)
{
    CHECK_EQ(guest_map_set(&m.map, gpa(start), end - start, hpa(start + RAM_HOST), kind), 0);
}

/* A new machine with these models, and `count` shadow pages. */
static void machine_new(const struct paging_props *props, unsigned int count, bool track,
                        uint64_t seed)
{
    struct table_format format;

    m.env = memory_env(&m.memory);
    m.env.map = machine_map;
    m.env.flush = machine_flush;
    m.guest =
        (struct walk_env){.read = guest_read, .compare_exchange = guest_mark, .ram = guest_ram};
    CHECK_EQ(format_init(&format, seed & 1U ? FORMAT_NPT : FORMAT_EPT, 5, 3, false), 0);
    table_cache_init(&m.cache, &m.env, m.nested_pages, NESTED_MAX);
    m.map = (struct guest_map){.count = 0};
    m.mtrr = (struct mtrr_state){.def_type = 0xc06};
    set_range(0, GUEST_END - RAM_HOST, GUEST_PASS);
    set_range(TABLES, TABLES + count * PAGE_SIZE + CPUS * SHADOW_WINDOW, GUEST_ABSENT);
    set_range(LATCH, LATCH_END, GUEST_ABSENT);
    direct_init(&m.direct, &m.env, &m.cache, &format, &m.map, &m.mtrr);
    shadow_init(&m.shadow, &m.env, &m.guest, &m.direct, hpa(TABLES), count, CPUS, m.pages, track);
    memset(m.ram, 0, sizeof(m.ram));
    memset(m.pool, 0xa5, sizeof(m.pool));
    m.stores = m.changes = m.flushes = m.exits = m.marks = m.violations = 0;
    m.busy = false;
    m.seed = seed * 0x9e3779b97f4a7c15UL | 1U;
    for (unsigned int i = 0; i < CPUS; i++)
        add_cpu(i, &props[i]);
}

/* The hardware enters the guest: it loads what Latch says. */
static void enter(struct vcpu *c)
{
    if (!c->shadow.changed)
        return;
    tlb_drop_linear(&c->tlb);
    c->cr3 = c->shadow.cr3.raw;
    memcpy(c->pdpte, c->shadow.pdpte, sizeof(c->pdpte));
    c->shadow.changed = false;
}

/* Load the tables, as after a load of CR3 alone where that is all that changed. */
static void load_tables(struct vcpu *c)
{
    const struct paging_state *now = &c->shadow.state, *old = &c->loaded;

    if (c->shadow.root && now->cr0 == old->cr0 && now->cr4 == old->cr4 && now->efer == old->efer)
        shadow_load_cr3(&m.shadow, &c->shadow, true);
    else
        shadow_load(&m.shadow, &c->shadow);
    c->loaded = *now;
}

/* Everything that a load of control registers or a whole flush does. */
static void flush_all(struct vcpu *c)
{
    /* What is stored meanwhile may be seen or not. */
    c->flushed = c->dropped = m.stores;
    c->seen = m.changes;
    if (paging_mode(&c->shadow.state) == MODE_OFF)
        shadow_unload(&m.shadow, &c->shadow);
    else
        load_tables(c);
    CHECK(c->shadow.changed);
    enter(c);
}

static bool is_long(const struct vcpu *c)
{
    return paging_mode(&c->shadow.state) >= MODE_4LEVEL;
}

static inline void guest_invlpg(struct vcpu *c, uint64_t linear)
{
    c->dropped = m.stores;
    shadow_invalidate(&m.shadow, &c->shadow, gla(linear));
    enter(c);
    tlb_drop_address(&c->tlb, is_long(c) ? linear : linear & 0xffffffffUL);
}

/* The entry that the hardware reads at a guest-physical address, through the nested tables. */
static uint64_t hardware_read(struct vcpu *c, uint64_t address)
{
    CHECK(address >= TABLES && address < TABLES + m.shadow.count * PAGE_SIZE);
    if (one_in(16))
        CHECK(nested_access(c, 1, address, true));
    return m.pool[(address - TABLES) / PAGE_SIZE % POOL_MAX][address % PAGE_SIZE / 8];
}

/* SDM vol. 3 §4.6 for the hardware's state: NXE=1, and WP=1 unless the tables are private. `entry` is
 * the leaf. */
static bool hardware_permits(const struct vcpu *c, bool w, bool u, bool nx, uint64_t entry,
                             unsigned int access)
{
    const struct paging_state *state = &c->shadow.state;
    bool keys = is_long(c) && (state->cr4 & (u ? CR4_PKE : CR4_PKS));
    uint32_t key = keys ? (u ? state->pkru : state->pkrs) >> (entry >> 59 & 15U) * 2U & 3U : 0;
    bool user = access & ACCESS_USER;
    bool heeds = user || !c->shadow.private.on;

    if (user && !u)
        return false;
    if (access & ACCESS_EXECUTE)
        return !nx && !(u && !user && (state->cr4 & CR4_SMEP));
    if ((access & ACCESS_WRITE) && !w && heeds)
        return false;
    if (u && !user && (state->cr4 & CR4_SMAP) && (!state->ac || (access & WALK_IMPLICIT)))
        return false;
    return !(key & 1U) && !((key & 2U) && (access & ACCESS_WRITE) && heeds);
}

/* The hardware's walk of the shadow tables, by the rules of a CPU with 52 address bits. */
static bool hardware_walk(struct vcpu *c, uint64_t linear, unsigned int access, uint64_t *address)
{
    static const struct paging_props host = {
        .maxphyaddr = 52, .gbpages = true, .pat = true, .vendor = PAGING_AMD};
    enum paging_mode mode = is_long(c) ? MODE_4LEVEL : MODE_PAE;
    unsigned int level = paging_levels(is_long(c) ? paging_mode(&c->shadow.state) : MODE_PAE);
    uint64_t table = c->cr3;
    bool w = true, u = true, nx = false;
    struct tlb_entry *leaf_held = tlb_find(c->tlb.leaf, linear, draw(TLB_SIZE));
    struct tlb_entry *link_held = tlb_find(c->tlb.link, linear, draw(TLB_SIZE));

    if (leaf_held && draw(4)) {
        uint64_t mask = level_size(leaf_held->level) - 1U;

        *address = (leaf_held->entry & 0x000ffffffffff000UL & ~mask) | (linear & mask);
        return hardware_permits(c, leaf_held->w, leaf_held->u, leaf_held->nx, leaf_held->entry,
                                access);
    }
    if (link_held && draw(4)) {
        level = link_held->level - 1;
        table = link_held->entry;
        w = link_held->w;
        u = link_held->u;
        nx = link_held->nx;
    }
    CHECK(is_long(c) || c->cr3 <= 0xffffffffUL);
    for (;; level--) {
        unsigned int shift = 12 + 9 * (level - 1), index = linear >> shift & 511U;
        bool root = mode == MODE_PAE && level == 3;
        uint64_t entry;
        bool leaf;

        if (root && c->vmcs_pdptes)
            entry = c->pdpte[index & 3U];
        else
            entry = hardware_read(c, table + (root ? index & 3U : index) * 8U);
        if (!(entry & 1U))
            return false;
        leaf = level == 1 || (level <= 3 && !root && (entry & 128U));
        CHECK_EQ(entry & reserved_mask(mode, level, leaf, &host, true), 0U);
        if (!root) {
            CHECK(entry & 32U);
            CHECK(!leaf || !((entry & 2U) || c->shadow.private.on) ||
                  (entry & 64U)); /* for it to set */
            w = w && (entry & 2U);
            u = u && (entry & 4U);
            nx = nx || entry >> 63;
        }
        if (leaf) {
            uint64_t mask = (1UL << shift) - 1U;

            *address = (entry & 0x000ffffffffff000UL & ~mask) | (linear & mask);
            c->tlb.leaf[draw(TLB_SIZE)] = (struct tlb_entry){
                .valid = true, .level = level, .linear = linear, .entry = entry, w, u, nx};
            return hardware_permits(c, w, u, nx, entry, access);
        }
        table = entry & 0x000ffffffffff000UL;
        if (!root)
            c->tlb.link[draw(TLB_SIZE)] = (struct tlb_entry){
                .valid = true, .level = level, .linear = linear, .entry = table, w, u, nx};
    }
}

/* An access to the vCPU's window: where its page really lies. False: it exits, as a write does. */
static bool window_access(struct vcpu *c, uint64_t *address, unsigned int access)
{
    struct table_leaf leaf;

    CHECK(c->shadow.private.on);
    if (nested_lookup(c->root[1], *address, &leaf)) {
        CHECK(!(leaf.access & ACCESS_WRITE));
        *address = leaf.page.raw - RAM_HOST + *address % PAGE_SIZE;
        if (!(access & ACCESS_WRITE))
            return true;
    }
    CHECK(!(access & ACCESS_USER) || !(access & ACCESS_WRITE));
    return false;
}

static bool in_window(const struct vcpu *c, uint64_t address)
{
    return address - shadow_window(&m.shadow, &c->shadow).raw < SHADOW_WINDOW;
}

/* One access of the guest's, with all exits that it takes. */
static enum access_end guest_access(struct vcpu *c, uint64_t linear, unsigned int access,
                                    struct walk_result *result)
{
    if (!is_long(c))
        linear &= 0xffffffffUL;
    for (unsigned int i = 0; i < 64; i++) {
        uint64_t address;

        if (i == 32)
            m.memory.fail_after = UINT32_MAX; /* private tables wait for it */
        enter(c);
        if (hardware_walk(c, linear, access, &address)) {
            uint64_t slot = address;

            if (in_window(c, address)) {
                if (window_access(c, &address, access)) {
                    *result = (struct walk_result){.address = gpa(address)};
                    return END_DONE;
                }
                m.exits++;
                shadow_window_fault(&m.shadow, &c->shadow, gpa(slot), access);
                continue;
            }
            *result = (struct walk_result){.address = gpa(address)};
            if (!nested_access(c, 1, address, access & ACCESS_WRITE))
                return END_ABSENT;
            CHECK(address < TABLES || address >= TABLES + m.shadow.count * PAGE_SIZE);
            return END_DONE;
        }
        m.exits++;
        tlb_drop_address(&c->tlb, linear);
        switch (shadow_fault(&m.shadow, &c->shadow, gla(linear), access, result)) {
        case SHADOW_RETRY:
            break;
        case SHADOW_FAULT:
            return END_FAULT;
        case SHADOW_ABSENT:
            return END_ABSENT;
        }
    }
    return END_LOOP;
}

#endif
