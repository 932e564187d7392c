/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef LATCH_TESTS_UNIT_TLB_MACHINE_H
#define LATCH_TESTS_UNIT_TLB_MACHINE_H
/*
 * Two or three CPUs with greedy TLBs (tlb_cache.h) that run a guest on Latch's tables. Each has
 * three:
 *
 *   nested  of the nested tables, tagged by root (EPT) or not (NPT: by the ASID alone)
 *   linear  of the shadow tables, tagged likewise. A combined mapping is one of these and one of
 *           those; it is never held when a flush has dropped either
 *   guest   of the guest's own tables, tagged by PCID: what the CPU that the model describes may
 *           hold. So this one keeps what is of another PCID, global, or loaded without a flush
 *
 * Nothing is stale if what is nested agrees with the map, the MTRRs and what is tracked, and if all
 * that is linear is also in `guest`. A CPU fills its TLBs whenever the guest runs, that is, always
 * but while its own exit is handled.
 *
 * Left out, as it makes no difference to mmu/:
 *   PCIDs of the hardware's linear TLB   CR4.PCIDE is 0 while the hardware is on shadow tables, and
 *                                        each load of CR3 is followed by a flush
 *   VPIDs and ASIDs                      each vCPU has its own, and its own CPU
 *   linear TLBs of direct and narrow     mmu/ does not know of them: there the hardware walks the
 *   vCPUs                                guest's tables. To mmu/ such a vCPU is one that has only
 *                                        nested translations, as with paging off: the third CPU
 *                                        in part of the runs. What vmx/ and svm/ flush there for
 *                                        an intercepted load is theirs, and not tested here
 */
#include "mmu/registers.h"
#include "mmu/shadow.h"
#include "tests/unit/mmu_memory.h"
#include "tests/unit/tlb_cache.h"
#include "tests/unit/tlb_sites.h"
#include "tests/unit/unit.h"

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

/* Bits of the guest's entries. */
#define P   1UL
#define W   2UL
#define U   4UL
#define A   32UL
#define D   64UL
#define PS  128UL
#define G   256UL
#define NX  (1UL << 63)
#define ALL (P | W | U | A | D)

#define CPUS         3U /* at most */
#define RAM_FRAMES   32U
#define RAM_HOST     0x7000000000UL
#define TABLES       0x00805000UL
#define GUEST_SIZE   0x40000000UL
#define SHADOW_PAGES (4U * SHADOW_PAGES_PER_CPU) /* at most */
#define NESTED_MAX   256U
#define WIDTH        40U /* the first model's MAXPHYADDR */
#define CBIT         37U /* of the second one, if they are unlike */

/* Rights of what is linear, and the key in long mode; the nested ones are enum access and the type. */
enum { RIGHT_WRITE = 1, RIGHT_USER = 2, RIGHT_EXECUTE = 4, RIGHT_DIRTY = 8, RIGHT_KEY = 15U << 8 };
#define TYPE_SHIFT 8U

#define PCID_MASK 0xfffUL

/* The flushes that mmu/ leaves to its caller. */
enum caller_site {
    CALLER_NONE,
    CALLER_LOAD,       /* after shadow_load() */
    CALLER_UNLOAD,     /* after shadow_unload() */
    CALLER_FAULT,      /* after shadow_fault(), if changed */
    CALLER_LINKS,      /* after shadow_invalidate(), if changed */
    CALLER_ADDRESS,    /* after shadow_invalidate(), if not */
    CALLER_WINDOW,     /* after shadow_window_fault(), if changed */
    CALLER_PAGE_FAULT, /* after shadow_fault() that gives the guest a #PF */
    CALLER_SITES,
};

/* The flush without which a slot of a window shows what it did before, too. */
static const char SLOT_SHOWS[] = "mmu/direct.c, direct_show()";

struct vcpu {
    struct shadow_cpu shadow;
    struct paging_state loaded; /* when the tables were */
    struct paging_props props;
    struct table_page *root[2], *active; /* nested, by `tables` */
    uint64_t cr3, pdpte[4];              /* the hardware's */
    bool no_wp;                          /* its CR0.WP is 0 */
    struct cache nested, linear, guest;
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
    struct shadow_page pages[SHADOW_PAGES];
    uint64_t pool[SHADOW_PAGES][512];
    uint64_t ram[RAM_FRAMES][512];
    unsigned int cpus, shadow_pages;
    struct vcpu cpu[CPUS];
    struct vcpu *in_latch; /* whose exit is handled */
    bool intel;
    bool unlike; /* models, by width, pages of 1 GiB, vendor or C-bit */
    bool pcids;
    bool third_off;        /* the third CPU never turns paging on */
    enum paging_mode mode; /* of the guest, while paging is on */
    uint64_t second;       /* the index in use besides 0: near, or in a part of its own */
    const char *stale;     /* what was found */
    uint64_t seed;
    enum caller_site without_caller; /* this one does nothing */
    enum caller_site local_caller;   /* this keeps what is global */
    unsigned long stores, flushes, window_faults, evictions;
};

static struct machine m;

static uint64_t draw(uint64_t below)
{
    return random_below(&m.seed, below);
}

static bool one_in(uint64_t n)
{
    return draw(n) == 0;
}

static void stale(const char *what)
{
    if (!m.stale)
        m.stale = what;
}

static bool paging_on(const struct vcpu *c)
{
    return c->shadow.state.cr0 & CR0_PG;
}

/* Entries of 4 bytes. */
static bool is_narrow(void)
{
    return m.mode <= MODE_32BIT_PSE;
}

static bool long_mode(void)
{
    return m.mode >= MODE_4LEVEL;
}

static bool is_global(const struct vcpu *c, uint64_t entry)
{
    return (entry & G) && (c->shadow.state.cr4 & CR4_PGE);
}

static uint64_t pcid(const struct vcpu *c)
{
    return c->shadow.state.cr4 & CR4_PCIDE ? c->shadow.state.cr3 & PCID_MASK : 0;
}

/* --- the hardware's view of the nested tables --- */

static bool nested_step(void *ctx, uint64_t table, unsigned int level, uint64_t address,
                        struct step *step)
{
    const struct table_format *format = &m.direct.format;
    const uint64_t *entries = memory_at_page(&m.memory, hpa(table));
    uint64_t entry = entries[address / level_size(level) % TABLE_ENTRIES];

    (void)ctx;
    if (!format_present(format, entry))
        return false;
    *step = (struct step){.leaf = format_is_leaf(format, entry, level),
                          .size = level_size(level),
                          .rights = ~0U,
                          .to = format_table(format, entry).raw};
    if (step->leaf) {
        step->to = format_page(format, entry, level).raw;
        step->rights = format_access(format, entry) | format_type(format, entry) << TYPE_SHIFT;
    }
    return true;
}

/* Guest-physical pages that matter: RAM, shadow pages, and three areas that Latch changes. */
static uint64_t nested_address(unsigned int i)
{
    static const uint64_t others[] = {TABLES,   TABLES + 0x1000, 0x400000, 0x5ff000,
                                      0x600000, 0x6ff000,        0x700000};

    return i < RAM_FRAMES ? i * PAGE_SIZE : others[i - RAM_FRAMES];
}

#define NESTED_ADDRESSES (RAM_FRAMES + 7U)

static void crawl_nested(struct vcpu *c)
{
    const struct tables tables = {.step = nested_step};

    for (unsigned int i = 0; i < NESTED_ADDRESSES; i++)
        cache_crawl(&c->nested, &tables, c->active->page.raw, c->active->page.raw,
                    m.direct.format.levels, nested_address(i));
    for (unsigned int i = 0; i < c->shadow.private.slots; i++)
        cache_crawl(&c->nested, &tables, c->active->page.raw, c->active->page.raw,
                    m.direct.format.levels,
                    shadow_window(&m.shadow, &c->shadow).raw + i * PAGE_SIZE);
}

static bool in_window(const struct vcpu *c, uint64_t address)
{
    return address - shadow_window(&m.shadow, &c->shadow).raw < SHADOW_WINDOW;
}

/* --- and of the shadow tables --- */

/* What an entry leaves of rights, but of D; a link has all keys. */
static unsigned int entry_rights(uint64_t entry, bool leaf)
{
    unsigned int key = leaf && long_mode() ? (entry >> 59 & 15U) << 8 : RIGHT_KEY;

    return (entry & W ? RIGHT_WRITE : 0U) | (entry & U ? RIGHT_USER : 0U) |
           (entry & NX ? 0U : RIGHT_EXECUTE) | key;
}

static bool shadow_step(void *ctx, uint64_t table, unsigned int level, uint64_t address,
                        struct step *step)
{
    uint64_t page = (table - TABLES) / PAGE_SIZE;
    bool pdpte = level == 3 && !long_mode();
    uint64_t entry;

    if (page >= m.shadow_pages) {
        stale("a link is held to a shadow table that has become another");
        return false;
    }
    entry = m.pool[page][address / level_size(level) % TABLE_ENTRIES];
    if (!(entry & P))
        return false;
    *step = (struct step){
        .leaf = level == 1 || (!pdpte && (entry & PS)), .size = level_size(level), .rights = ~0U};
    step->to = entry & ENTRY_ADDRESS & ~(step->leaf ? level_size(level) - 1U : 0UL);
    if (!pdpte)
        step->rights = entry_rights(entry, step->leaf) | RIGHT_DIRTY;
    step->global = step->leaf && is_global(ctx, entry);
    return true;
}

/* Linear addresses that matter, by the mode: two entries of tables at each level. */
static uint64_t linear_address(unsigned int i)
{
    uint64_t second = m.second, huge = long_mode() ? second : 1U;
    uint64_t low = (i & 1U) * second << 12;

    if (is_narrow()) /* both halves of a page of 4 MiB; another quarter */
        return low | (i >> 1 & 1U) << 21 | (i >> 2 & 1U) * second << 22 |
               (uint64_t)(i >> 3 & 1U) << 30;
    low |= (i >> 1 & 1U) * second << 21 | (i >> 2 & 1U) * huge << 30;
    return long_mode() ? low | (i >> 3 & 1U) * second << 39 | (i >> 4 & 1U) * second << 48 : low;
}

static unsigned int linear_addresses(void)
{
    return m.mode == MODE_5LEVEL ? 32 : 16;
}

static inline uint64_t random_linear(void)
{
    return linear_address((unsigned int)draw(linear_addresses()));
}

static void crawl_linear(struct vcpu *c)
{
    const struct tables tables = {.step = shadow_step, .ctx = c};
    const uint64_t root = c->active->page.raw;

    for (unsigned int i = 0; i < linear_addresses(); i++) {
        const uint64_t address = linear_address(i);
        uint64_t table = c->cr3;
        unsigned int level = long_mode() ? paging_levels(m.mode) : 3;

        if (m.intel && level == 3) { /* registers that the entry has loaded */
            uint64_t pdpte = c->pdpte[address >> 30 & 3U];

            table = pdpte & ENTRY_ADDRESS;
            level = pdpte & P ? 2 : 0;
        }
        cache_crawl(&c->linear, &tables, root, table, level, address);
    }
}

/* --- the modelled CPU's view of the guest's own tables --- */

static uint64_t ram_entry(uint64_t address, unsigned int size)
{
    uint64_t value = UINT64_MAX;

    if (address < sizeof(m.ram))
        value = m.ram[address / PAGE_SIZE][address % PAGE_SIZE / 8];
    return size == 8 ? value : (address & 4U ? value >> 32 : value & UINT32_MAX);
}

static uint64_t cbit(const struct vcpu *c)
{
    return c->props.cbit != 0 && !is_narrow() ? 1UL << c->props.cbit : 0;
}

/* What a correct CPU faults on, of the bits that are ever set here: SDM vol. 3 §4.3 to §4.5; APM
 * vol. 2 §5.3 (bit 8 of PML4Es and PML5Es). `size` is what the entry covers. */
static bool is_reserved(const struct vcpu *c, uint64_t entry, unsigned int level, uint64_t size)
{
    bool large = level > 1 && (entry & PS) && m.mode != MODE_32BIT;

    if (large && (entry & (size - 1U) & 0x3fffe000UL))
        return true;
    if (is_narrow())
        return false;
    if (((entry & NX) && !(c->shadow.state.efer & EFER_NXE)) ||
        (entry & ENTRY_ADDRESS & ~cbit(c)) >> c->props.maxphyaddr)
        return true;
    if (level >= 4)
        return large || (c->props.vendor == PAGING_AMD && (entry & G));
    return level == 3 && (long_mode() ? large && !c->props.gbpages : (entry & 0x1e6U) != 0);
}

static bool guest_step(void *ctx, uint64_t table, unsigned int level, uint64_t address,
                       struct step *step)
{
    const struct vcpu *c = ctx;
    bool pdpte = m.mode == MODE_PAE && level == 3;
    uint64_t size = is_narrow() && level == 2 ? 0x400000UL : level_size(level);
    uint64_t index = address / size % (is_narrow() ? 1024U : 512U);
    uint64_t entry = ram_entry(table + index * (is_narrow() ? 4U : 8U), is_narrow() ? 4 : 8);

    if (!(entry & P) || (!pdpte && !(entry & A)) || is_reserved(c, entry, level, size))
        return false;
    *step = (struct step){.leaf = level == 1 || ((entry & PS) && m.mode != MODE_32BIT),
                          .global = is_global(c, entry),
                          .size = size,
                          .rights = ~0U,
                          .to = entry & (is_narrow() ? 0xfffff000UL : ENTRY_ADDRESS & ~cbit(c))};
    if (step->leaf)
        step->to &= ~(size - 1U);
    if (!pdpte)
        step->rights =
            entry_rights(entry, step->leaf) | (step->leaf && !(entry & D) ? 0U : RIGHT_DIRTY);
    return true;
}

static void crawl_guest(struct vcpu *c)
{
    const struct tables tables = {.step = guest_step, .ctx = c};
    const struct paging_state *state = &c->shadow.state;
    uint64_t table = state->cr3 & 0xfffff000UL;
    unsigned int level = paging_levels(m.mode);

    for (unsigned int i = 0; i < linear_addresses() && paging_on(c); i++) {
        const uint64_t address = linear_address(i);
        const uint64_t pdpte = state->pdpte[address >> 30 & 3U];

        if (state->pdpte_held)
            cache_crawl(&c->guest, &tables, pcid(c), pdpte & ENTRY_ADDRESS & ~cbit(c),
                        pdpte & P ? 2 : 0, address);
        else
            cache_crawl(&c->guest, &tables, pcid(c), table, level, address);
    }
}

/* --- time goes on --- */

static void crawl_others(void)
{
    for (unsigned int i = 0; i < m.cpus && !m.stale; i++) {
        struct vcpu *c = &m.cpu[i];

        if (c == m.in_latch)
            continue;
        crawl_nested(c);
        if (paging_on(c))
            crawl_linear(c);
    }
}

static void ram_write(uint64_t address, unsigned int size, uint64_t value)
{
    uint64_t *place = &m.ram[address / PAGE_SIZE % RAM_FRAMES][address % PAGE_SIZE / 8];

    if (size == 8)
        *place = value;
    else if (address & 4U)
        *place = (*place & UINT32_MAX) | value << 32;
    else
        *place = (*place & ~(uint64_t)UINT32_MAX) | (value & UINT32_MAX);
    for (unsigned int i = 0; i < m.cpus; i++)
        crawl_guest(&m.cpu[i]);
}

static bool holds_writable(const struct vcpu *c, uint64_t page)
{
    for (unsigned int i = 0; i < c->nested.leaves; i++) {
        const struct held *h = &c->nested.leaf[i];

        if (h->valid && h->first == page && (h->rights & ACCESS_WRITE) &&
            (!m.intel || h->tag == c->active->page.raw))
            return true;
    }
    return false;
}

static void random_store(struct vcpu *c, bool may_exit);

/* What CPUs do whose exit it is not, while Latch works. */
static void others_go_on(void)
{
    if (m.stale)
        return;
    for (unsigned int i = 0; i < m.cpus; i++)
        if (&m.cpu[i] != m.in_latch && one_in(2))
            random_store(&m.cpu[i], false);
    crawl_others();
}

static int guest_read(void *ctx, gpa_t address, unsigned int size, uint64_t *value)
{
    (void)ctx;
    if (one_in(64))
        others_go_on();
    *value = ram_entry(address.raw, size);
    return 0;
}

static const void *guest_ram(void *ctx, gfn_t frame)
{
    (void)ctx;
    if (one_in(16))
        others_go_on();
    return frame.raw < RAM_FRAMES ? m.ram[frame.raw] : NULL;
}

static int guest_mark(void *ctx, gpa_t address, unsigned int size, uint64_t expected,
                      uint64_t value)
{
    (void)ctx;
    if (address.raw >= sizeof(m.ram))
        return 0;
    if (ram_entry(address.raw, size) != expected)
        return -EAGAIN;
    ram_write(address.raw, size, value);
    return 0;
}

/* --- what Latch needs --- */

static void *machine_map(void *ctx, hpa_t page)
{
    uint64_t index = (page.raw - TABLES) / PAGE_SIZE;

    return page.raw >= TABLES && index < m.shadow_pages ? m.pool[index] : memory_at_page(ctx, page);
}

static void machine_free(void *ctx, hpa_t page)
{
    for (unsigned int i = 0; i < m.cpus; i++)
        for (unsigned int k = 0; k < m.cpu[i].nested.links; k++)
            if (m.cpu[i].nested.link[k].to == page.raw)
                stale("a nested table is freed to which a CPU holds a link");
    memory_free(ctx, page);
}

/* A flush is not done at once: until then CPUs use what they hold, and at once they fill again. */
static void machine_flush(void *ctx)
{
    const void *from = __builtin_return_address(0);
    const bool flushes = sites.showing ? place_flushes(SLOT_SHOWS) : call_flushes(from);

    (void)ctx;
    others_go_on();
    if (!flushes)
        return;
    m.flushes++;
    for (unsigned int i = 0; i < m.cpus; i++) {
        cache_drop(&m.cpu[i].nested);
        cache_drop(&m.cpu[i].linear);
    }
    others_go_on();
}

#endif
