/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Whole trees of direct tables, as the host's CPU reads them: by the walker that was written from
 * the manuals. Each entry, and each border of what the guest has, leads where it should, with the
 * rights, the memory type and the C-bit that it should, or nowhere; none is misconfigured.
 */
#include "tests/reference/nested.h"
#include "tests/unit/direct_machine.h"

/* Latch's memory: its table pages, the shadow pages, and the window behind them. */
#define LATCH      MEMORY_BASE
#define SHADOW     (LATCH + MEMORY_PAGES * PAGE_SIZE)
#define WINDOW     (SHADOW + 6 * MIB)
#define WINDOW_END (WINDOW + SHOWN * PAGE_SIZE)
#define LATCH_END  (WINDOW + 2 * MIB)
#define SHOWN      3U
#define FILLED     (8 * GIB) /* what is mapped from the start */
#define FRAMES     5U
#define ROOTS      3U

struct host {
    enum page_format id;
    unsigned int width, cbit, reduction, max_leaf;
    bool execute_only;
};

struct root {
    struct table_page *page;
    uint64_t limit;
    bool tables;
};

static struct encryption encryption;
static struct reference_nested nested; /* the host's CPU; its root is set for each walk */
static struct root roots[ROOTS];
static uint64_t reach; /* where the host's addresses end */

/* The last page of a block, its first and one inside, the first of relocated memory, another. */
static const uint64_t frames[FRAMES] = {0x3ffff, 0x40000, 0x50123, 5 * GIB >> 12, 0x1000};
static unsigned int tracked_frames;  /* so many of them are */
static const uint64_t *shown[SHOWN]; /* what the pages of the window show, NULL for nothing */

static bool is_tracked(const void *ctx, gfn_t first, uint64_t count)
{
    (void)ctx;
    for (unsigned int i = 0; i < tracked_frames; i++)
        if (frames[i] - first.raw < count)
            return true;
    return false;
}

/* What the host's CPU reads: tables lie in Latch's memory alone. */
static uint64_t table_read(void *ctx, uint64_t address, unsigned int size)
{
    const uint64_t page = address & ~PAGE_OFFSET_MASK;

    CHECK(size == 8 && page >= LATCH && page < SHADOW);
    return ((const uint64_t *)memory_at_page(ctx, hpa(page)))[(address & PAGE_OFFSET_MASK) / 8];
}

static struct truth truth_under(const struct root *root, uint64_t address)
{
    struct truth truth;

    if (root->tables && address >= SHADOW && address < WINDOW)
        return (struct truth){.access = ACCESS_READ | ACCESS_WRITE,
                              .page = address & ~PAGE_OFFSET_MASK,
                              .type = mtrr_type(&mtrr, hpa(address))};
    if (root->tables && address >= WINDOW && address < WINDOW_END) {
        const uint64_t *frame = shown[(address - WINDOW) / PAGE_SIZE];

        truth = truth_of(frame ? *frame << PAGE_SHIFT : WINDOW, root->limit);
        truth.access &= ~(unsigned int)ACCESS_WRITE;
        return truth;
    }
    truth = truth_of(address, root->limit);
    if (is_tracked(NULL, gfn(address >> PAGE_SHIFT), 1))
        truth.access &= ~(unsigned int)ACCESS_WRITE;
    return truth;
}

/* Tables are Latch's, the root too; of a page its address says it. */
static bool cbits_are_right(const struct reference_nested_result *r)
{
    bool right = (nested.root & encryption.cbit) == encryption.cbit;

    for (unsigned int i = 0; i + 1U < r->entries; i++)
        right &= (r->entry[i] & encryption.cbit) == encryption.cbit;
    if (r->outcome == NESTED_MAPPED && (r->address < LATCH || r->address >= LATCH_END))
        right &= (r->entry[r->entries - 1U] & encryption.cbit) == 0;
    else if (r->outcome == NESTED_MAPPED)
        right &= (r->entry[r->entries - 1U] & encryption.cbit) == encryption.cbit;
    return right;
}

static bool is_true(const struct reference_nested_result *r, uint64_t address, unsigned int access,
                    const struct truth *truth)
{
    if (truth->access == 0)
        return r->outcome == NESTED_ABSENT;
    if (!(truth->access & access))
        return r->outcome == NESTED_FORBIDDEN;
    return r->outcome == NESTED_MAPPED &&
           r->address == (truth->page | (address & PAGE_OFFSET_MASK)) &&
           r->rights == truth->access && r->type == (nested.npt ? CACHE_WB : truth->type);
}

/* One address, by one of the accesses in turn. `filled`: what the guest has there is mapped. */
static struct reference_nested_result check(const struct root *root, uint64_t address, bool filled)
{
    static const unsigned int accesses[] = {ACCESS_READ, ACCESS_WRITE, ACCESS_EXECUTE};
    static unsigned int turn;
    const struct reference_memory env = {.ctx = &memory, .read = table_read};
    const struct truth truth = truth_under(root, address);
    const unsigned int access = accesses[turn++ % 3U];
    struct reference_nested_result r;

    nested.root = format_root(&direct.format, root->page->page);
    reference_nested_walk(&nested, &env, address, access, &r);
    CHECK(cbits_are_right(&r));
    if (is_true(&r, address, access, &truth) || (!filled && r.outcome == NESTED_ABSENT))
        return r;
    CHECK_EQ(r.outcome, NESTED_OUTCOMES);
    printf("#   %s %u: %lx access %u: %lx rights %u type %u, wanted %lx %u %d\n",
           format_name(direct.format.id), nested.host.maxphyaddr, address, access, r.address,
           r.rights, r.type, truth.page, truth.access, truth.type);
    return r;
}

/* Each entry in the tables, by the first and the last address that it covers. */
static void check_entries(const struct root *root, uint64_t filled)
{
    uint64_t end = reach < 1UL << 48 ? reach : 1UL << 48;
    uint64_t address = 0;

    while (address < end) {
        unsigned int level = check(root, address, address < filled).level;

        address += level_size(level);
        (void)check(root, address - 1U, address <= filled);
    }
}

/* The pages about an address, by each access; the guest touches what was not mapped before. */
static void check_about(const struct root *root, uint64_t border, uint64_t filled)
{
    static const uint64_t offset[] = {-PAGE_SIZE, -1UL, 0, PAGE_SIZE + 8};

    for (unsigned int i = 0; i < 3 * 4U; i++) {
        uint64_t address = border + offset[i / 3U];
        struct direct_result result;

        if (address >= reach || address >= 1UL << 48)
            continue;
        if (address >= filled && (address < WINDOW || address >= WINDOW_END))
            CHECK_EQ(direct_fill(&direct, root->page, gpa(address), &result), 0);
        (void)check(root, address, true);
    }
}

static void check_borders(const struct root *root, uint64_t filled)
{
    uint64_t seed = 5;

    for (unsigned int i = 0; i < settings; i++) {
        check_about(root, setting[i].start, filled);
        check_about(root, setting[i].start + setting[i].size, filled);
    }
    for (unsigned int i = 0; i < FRAMES; i++)
        check_about(root, frames[i] << PAGE_SHIFT, filled);
    check_about(root, SHADOW, filled);
    for (uint64_t page = WINDOW; page <= WINDOW_END; page += PAGE_SIZE)
        check_about(root, page, filled);
    for (unsigned int width = 32; width <= 52; width++)
        check_about(root, 1UL << width, filled);
    for (unsigned int i = 0; i < 50; i++)
        check_about(root, random64(&seed) & (reach - 1U) & ~PAGE_OFFSET_MASK, filled);
}

static void check_all(uint64_t filled)
{
    for (unsigned int i = 0; i < ROOTS; i++) {
        check_borders(&roots[i], filled);
        check_entries(&roots[i], filled);
    }
}

static void host_machine(const struct host *host)
{
    machine(host->id, host->max_leaf);
    direct.format.execute_only = host->execute_only;
    encryption = (struct encryption){.cbit = 0};
    if (host->cbit != 0)
        CHECK_EQ(encryption_init(&encryption, host->width, host->cbit, host->reduction), 0);
    encryption.start = LATCH;
    encryption.end = LATCH_END;
    direct.format.encryption = &encryption;
    nested = (struct reference_nested){.levels = direct.format.levels,
                                       .npt = host->id == FORMAT_NPT,
                                       .execute_only = host->execute_only,
                                       .nxe = true};
    nested.host = (struct paging_props){.maxphyaddr = (uint8_t)host->width,
                                        .cbit = (uint8_t)host->cbit,
                                        .reduction = (uint8_t)host->reduction,
                                        .gbpages = host->max_leaf == 3,
                                        .pat = true};
    reach = 1UL << reference_width(&nested.host);
    direct.tracked = is_tracked;
    tracked_frames = 0;
    memset(shown, 0, sizeof(shown));
}

/* All that the host has, but for Latch's memory and the local APIC, with some of it elsewhere and a
 * page off; under roots of two models, and one with the shadow pages, which has no limit. */
static void build(void)
{
    set(0, reach, 0, GUEST_PASS);
    set(LATCH, LATCH_END - LATCH, 0, GUEST_ABSENT);
    set(0xfee00000, PAGE_SIZE, 0xfee00000, GUEST_READ_ONLY);
    set(5 * GIB, 8 * MIB, 6 * GIB + PAGE_SIZE, GUEST_PASS);
    set(7 * GIB, GIB - PAGE_SIZE, 2 * GIB, GUEST_READ_ONLY);
    direct_set_tables(&direct, hpa(SHADOW), WINDOW - SHADOW, WINDOW_END - WINDOW);
    for (unsigned int i = 0; i < ROOTS; i++) {
        unsigned int width = i == 1 ? 32 : reference_width(&nested.host);

        roots[i].tables = i == 2;
        roots[i].limit = roots[i].tables ? reach : 1UL << width;
        roots[i].page = root_with(width, roots[i].tables);
        CHECK_EQ(direct_build(&direct, roots[i].page, gpa(FILLED)), 0);
    }
}

static void show(unsigned int page, const uint64_t *frame)
{
    CHECK_EQ(direct_show(&direct, gpa(WINDOW + page * PAGE_SIZE), gfn(*frame)), 0);
    shown[page] = frame;
}

/* What happens to the tables while a guest runs. */
static void life_of(const struct host *host)
{
    host_machine(host);
    build();
    check_all(FILLED);
    for (tracked_frames = 0; tracked_frames < FRAMES; tracked_frames++)
        direct_protect(&direct, gfn(frames[tracked_frames]), false);
    show(0, &frames[2]);
    show(2, &frames[3]);
    check_all(FILLED);
    tracked_frames = 3;
    direct_protect(&direct, gfn(frames[4]), true);
    direct_protect(&direct, gfn(frames[3]), true);
    show(2, &frames[0]);
    CHECK_EQ(direct_set_kind(&direct, gpa(0xfee00000), PAGE_SIZE, GUEST_PASS), 0);
    set(0xfee00000, PAGE_SIZE, 0xfee00000, GUEST_PASS);
    CHECK_EQ(direct_set_kind(&direct, gpa(3 * GIB), 3 * MIB, GUEST_ABSENT), 0);
    memset(shown, 0, sizeof(shown)); /* any page might have been one of these */
    set(3 * GIB, 3 * MIB, 0, GUEST_ABSENT);
    check_all(FILLED);
    direct_rebuild(&direct);
    check_all(0);
    direct_destroy(&direct);
    CHECK_EQ(memory.live, 0U);
}

/* Hosts of each width, with 1 GiB pages and without, with the C-bit or execute-only and without. */
static void every_host(enum page_format id)
{
    static const uint8_t widths[] = {38, 46, 52};

    for (unsigned int n = 0; n < 12; n++) {
        struct host host = {.id = id, .width = widths[n / 4U], .max_leaf = 2 + n % 2U};

        if (id == FORMAT_NPT && (n & 2U)) {
            host.cbit = 47;
            host.reduction = 5;
        }
        host.execute_only = id == FORMAT_EPT && (n & 2U);
        life_of(&host);
    }
}

static void ept(void)
{
    every_host(FORMAT_EPT);
}

static void npt(void)
{
    every_host(FORMAT_NPT);
}

int main(void)
{
    RUN(ept);
    RUN(npt);
    return unit_end();
}
