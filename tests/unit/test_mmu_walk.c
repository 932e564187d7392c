/* SPDX-License-Identifier: BSD-2-Clause */
/* The guest walker against a second one, on random tables in every mode; and known cases. */
#include "mmu/registers.h"
#include "mmu/walk.h"
#include "tests/unit/mmu_memory.h"
#include "tests/unit/mmu_reference.h"
#include "tests/unit/unit.h"

#define PAGES 32U
#define BASE  0x10000UL

/* The guest's memory: PAGES pages from BASE; all else reads as ones and cannot be written. */
struct guest {
    unsigned char byte[PAGES * PAGE_SIZE];
    unsigned int reads;
    unsigned int races; /* exchanges that still fail because another CPU was first */
    bool broken;        /* reads end in an error */
};

static int guest_read(void *ctx, gpa_t address, unsigned int size, uint64_t *value)
{
    struct guest *g = ctx;

    g->reads++;
    if (g->broken)
        return -EIO;
    *value = size == 4 ? 0xffffffffUL : ~0UL;
    CHECK(address.raw % size == 0);
    if (address.raw >= BASE && address.raw - BASE < sizeof(g->byte)) {
        *value = 0;
        memcpy(value, &g->byte[address.raw - BASE], size);
    }
    return 0;
}

static int guest_exchange(void *ctx, gpa_t address, unsigned int size, uint64_t expected,
                          uint64_t value)
{
    struct guest *g = ctx;
    uint64_t old = 0;

    if (g->races) {
        g->races--;
        return -EAGAIN;
    }
    if (address.raw < BASE || address.raw - BASE >= sizeof(g->byte))
        return 0;
    memcpy(&old, &g->byte[address.raw - BASE], size);
    if (old != expected)
        return -EAGAIN;
    memcpy(&g->byte[address.raw - BASE], &value, size);
    return 0;
}

/* What the second walker finds. */
struct outcome {
    int rc;
    uint32_t error;
    uint64_t address, size;
    unsigned int rights;
};

struct second {
    struct guest *guest;
    const struct paging_state *s;
    enum paging_mode mode;
    uint64_t linear;
    bool write, fetch, user, implicit;
};

static bool reserved_entry(const struct second *w, unsigned int level, bool leaf, uint64_t entry)
{
    for (unsigned int bit = 1; bit < 64; bit++)
        if ((entry >> bit & 1U) &&
            reference_reserved(w->mode, level, leaf, w->s->props, w->s->efer & EFER_NXE, bit))
            return true;
    return false;
}

static struct outcome page_fault(const struct second *w, unsigned int low)
{
    struct outcome o = {.rc = -EFAULT, .error = low};
    bool id = w->s->cr4 & CR4_SMEP || (w->s->cr4 & CR4_PAE && w->s->efer & EFER_NXE);

    o.error |= (w->write ? 2U : 0U) | (w->user ? 4U : 0U) | (w->fetch && id ? 16U : 0U);
    return o;
}

/* The rules of SDM vol. 3 §4.6.1 as its list of cases. */
static bool allowed(const struct second *w, bool u, bool rw, bool xd)
{
    bool smap = w->s->cr4 & CR4_SMAP, smep = w->s->cr4 & CR4_SMEP, wp = w->s->cr0 & CR0_WP;

    if (w->user)
        return u && (w->fetch ? !xd : w->write ? rw : true);
    if (w->fetch)
        return !xd && !(u && smep);
    if (u && smap && (w->implicit || !w->s->ac))
        return false;
    return !w->write || rw || !wp;
}

static bool key_denies(const struct second *w, uint64_t leaf)
{
    unsigned int key = (unsigned int)(leaf >> 59) & 15U;
    bool ad = w->s->pkru >> (2 * key) & 1U, wd = w->s->pkru >> (2 * key + 1) & 1U;

    if (w->mode < MODE_4LEVEL || !(w->s->cr4 & CR4_PKE) || w->fetch)
        return false;
    return ad || (wd && w->write && (w->user || w->s->cr0 & CR0_WP));
}

/* One level and, by recursion, those below it; u, rw and xd are what the levels above leave. The
 * entry's A and D bits are set on the way back. */
static struct outcome second_level(const struct second *w, unsigned int level, uint64_t table,
                                   bool u, bool rw, bool xd)
{
    bool legacy = w->mode == MODE_32BIT || w->mode == MODE_32BIT_PSE;
    bool pdpte = w->mode == MODE_PAE && level == 3;
    unsigned int low = legacy ? (level == 2 ? 22 : 12) : 12 + 9 * (level - 1);
    unsigned int slot = (unsigned int)(w->linear >> low) % (legacy ? 1024 : pdpte ? 4 : 512);
    unsigned int size = legacy ? 4 : 8;
    uint64_t place = table + (uint64_t)slot * size, entry = 0, frame, bytes = 1UL << low;
    struct outcome o;
    bool leaf = level == 1;

    if (pdpte && w->s->pdpte_held)
        entry = w->s->pdpte[slot];
    else
        guest_read(w->guest, gpa(place), size, &entry);
    if (!(entry & 1))
        return page_fault(w, 0);
    if (entry & 0x80 &&
        ((level == 2 && w->mode != MODE_32BIT) || (level == 3 && w->mode >= MODE_4LEVEL)))
        leaf = true;
    if (reserved_entry(w, level, leaf, entry))
        return page_fault(w, 9);
    if (!pdpte) {
        rw = rw && entry & 2;
        u = u && entry & 4;
        xd = xd || (!legacy && w->s->efer & EFER_NXE && entry >> 63);
    }
    frame = legacy ? entry & 0xfffff000 : entry & 0xffffffffff000;
    if (!legacy && w->s->props->cbit)
        frame &= ~(1UL << w->s->props->cbit);
    if (!leaf) {
        o = second_level(w, level - 1, frame, u, rw, xd);
    } else {
        bool key = u && key_denies(w, entry);

        if (key || !allowed(w, u, rw, xd))
            return page_fault(w, key ? 33 : 1);
        frame = frame / bytes * bytes;
        if (legacy && level == 2 && w->s->props->pse36)
            frame += (entry >> 13 & 0xff) << 32;
        o = (struct outcome){.address = frame + w->linear % bytes, .size = bytes};
        o.rights = 1U | (rw ? 2U : 0U) | (xd ? 0U : 4U) | (u ? 8U : 0U);
    }
    if (o.rc == 0 && !pdpte) {
        uint64_t marked = entry | 0x20 | (leaf && w->write ? 0x40 : 0);

        if (place >= BASE && place - BASE < sizeof(w->guest->byte))
            memcpy(&w->guest->byte[place - BASE], &marked, size);
    }
    return o;
}

static struct outcome second_walk(struct guest *guest, const struct paging_state *s,
                                  uint64_t linear, unsigned int access)
{
    struct second w = {.guest = guest,
                       .s = s,
                       .linear = linear,
                       .write = access & ACCESS_WRITE,
                       .fetch = access & ACCESS_EXECUTE,
                       .user = access & ACCESS_USER,
                       .implicit = access & WALK_IMPLICIT};
    bool la57 = s->cr4 & CR4_LA57;
    uint64_t cbit = s->props->cbit ? 1UL << s->props->cbit : 0;

    if (!(s->cr0 & CR0_PG))
        return (struct outcome){.address = (uint32_t)linear, .size = 4096, .rights = 15};
    if (s->efer & EFER_LMA) {
        int64_t extended = (int64_t)(linear << (la57 ? 7 : 16)) >> (la57 ? 7 : 16);

        w.mode = la57 ? MODE_5LEVEL : MODE_4LEVEL;
        if ((uint64_t)extended != linear)
            return (struct outcome){.rc = -EINVAL};
        return second_level(&w, la57 ? 5 : 4, s->cr3 & 0xffffffffff000 & ~cbit, true, true, false);
    }
    w.linear = (uint32_t)linear;
    w.mode = (s->cr4 & CR4_PSE) ? MODE_32BIT_PSE : MODE_32BIT;
    if (s->cr4 & CR4_PAE)
        w.mode = MODE_PAE;
    if (w.mode == MODE_PAE)
        return second_level(&w, 3, s->cr3 & 0xffffffe0, true, true, false);
    return second_level(&w, 2, s->cr3 & 0xfffff000, true, true, false);
}

static uint64_t random_page(uint64_t *seed)
{
    uint64_t page = BASE + random_below(seed, PAGES) * PAGE_SIZE;

    return random_below(seed, 64) ? page : random64(seed) & 0xffffffffff000;
}

/* Mostly present and leading somewhere, now and then a reserved or ignored bit. */
static uint64_t random_entry(uint64_t *seed, const struct paging_state *s)
{
    uint64_t entry = random_page(seed);

    entry |= random64(seed) & 0xe7e; /* flags without PS and G */
    entry |= random_below(seed, 16) ? 1 : 0;
    entry |= random_below(seed, 4) ? 0 : 0x6;
    if (random_below(seed, 6) == 0)
        entry = (entry & ~0x3fffffffUL) | 0x80 | (entry & 0x7f);
    if (random_below(seed, 8) == 0)
        entry |= 1UL << random_below(seed, 64);
    if (random_below(seed, 2) && s->props->cbit)
        entry |= 1UL << s->props->cbit;
    entry |= (uint64_t)random_below(seed, 16) << 59;
    if (s->cr4 & CR4_PAE && !(s->efer & EFER_LMA))
        entry &= random_below(seed, 8) ? 0x800fffffffffffff : ~0UL;
    if (!(s->efer & EFER_NXE) && random_below(seed, 8))
        entry &= ~(1UL << 63);
    return entry;
}

static void fill_guest(struct guest *g, uint64_t *seed, const struct paging_state *s)
{
    for (unsigned int i = 0; i < sizeof(g->byte) / 8; i++) {
        uint64_t entry = random_entry(seed, s);

        if (!(s->cr4 & CR4_PAE)) { /* two entries of 4 bytes */
            entry = (entry & 0xffffffff) | random_entry(seed, s) << 32;
            if (random_below(seed, 8))
                entry &= ~0x3fe00000003fe000UL | (entry & 0x80 ? 0 : ~0UL);
        }
        memcpy(&g->byte[(size_t)i * 8], &entry, 8);
    }
}

static struct paging_props random_props(uint64_t *seed)
{
    static const uint8_t widths[] = {32, 36, 39, 40, 48, 52};
    uint64_t r = random64(seed);

    return (struct paging_props){.maxphyaddr = widths[random_below(seed, 6)],
                                 .cbit = r & 3 ? 0 : 47,
                                 .reduction = r & 4 ? 1 : 0,
                                 .vendor = r & 8 ? PAGING_AMD : PAGING_INTEL,
                                 .gbpages = r & 16,
                                 .nx = true,
                                 .pse36 = r & 32,
                                 .pat = r & 0xc0,
                                 .la57 = true};
}

static struct paging_state random_state(uint64_t *seed, enum paging_mode mode,
                                        const struct paging_props *props)
{
    uint64_t r = random64(seed);
    struct paging_state s = {.cr0 = r & 1 ? CR0_WP : 0,
                             .cr3 = random_page(seed) | (r & 0xfe0),
                             .cr4 = (r & 2 ? CR4_SMEP : 0) | (r & 4 ? CR4_SMAP : 0) |
                                    (r & 8 ? CR4_PKE : 0),
                             .efer = r & 16 ? EFER_NXE : 0,
                             .pkru = (uint32_t)(r >> 32) & (uint32_t)random64(seed),
                             .ac = r & 0x1000,
                             .pdpte_held = r & 0x2000,
                             .props = props};

    if (mode != MODE_OFF)
        s.cr0 |= CR0_PG;
    if (mode == MODE_32BIT_PSE || r & 0x4000)
        s.cr4 |= mode == MODE_32BIT ? 0 : CR4_PSE;
    if (mode >= MODE_PAE)
        s.cr4 |= CR4_PAE;
    if (mode >= MODE_4LEVEL)
        s.efer |= EFER_LME | EFER_LMA;
    if (mode == MODE_5LEVEL)
        s.cr4 |= CR4_LA57;
    for (unsigned int i = 0; i < 4; i++)
        s.pdpte[i] = random_page(seed) | (random_below(seed, 8) ? 1 : r >> 50);
    return s;
}

/* Counts what the walks ended in, so that a test which never meets a case fails. */
static unsigned int mapped, absent, forbidden, reserved, keyed, large;

static bool compare(struct guest *a, struct guest *b, const struct paging_state *s, uint64_t linear,
                    unsigned int access)
{
    struct walk_env env = {.ctx = a, .read = guest_read, .compare_exchange = guest_exchange};
    struct walk_result result;
    int rc = guest_walk(&env, s, gla(linear), access, &result);
    struct outcome o = second_walk(b, s, linear, access);

    mapped += o.rc == 0;
    large += o.rc == 0 && o.size > PAGE_SIZE;
    absent += o.rc == -EFAULT && !(o.error & 1);
    forbidden += o.rc == -EFAULT && (o.error & 1) && !(o.error & 0x28);
    reserved += o.rc == -EFAULT && (o.error & 8);
    keyed += o.rc == -EFAULT && (o.error & 32);
    if (rc != o.rc)
        return false;
    if (rc == -EFAULT)
        return result.error_code == o.error;
    return rc != 0 || (result.address.raw == o.address && result.page_size == o.size &&
                       result.rights == o.rights);
}

static void random_trees(void)
{
    static const unsigned int accesses[] = {
        1, 2, 4, 9, 10, 12, 1 | WALK_IMPLICIT, 2 | WALK_IMPLICIT};
    static struct guest a, b;
    uint64_t seed = 2024;
    unsigned int differ = 0;

    for (unsigned int tree = 0; tree < 3000; tree++) {
        enum paging_mode mode = (enum paging_mode)(tree % 6);
        struct paging_props props = random_props(&seed);
        struct paging_state s = random_state(&seed, mode, &props);

        fill_guest(&a, &seed, &s);
        memcpy(&b, &a, sizeof(a));
        for (unsigned int i = 0; i < 120; i++) {
            uint64_t linear = random64(&seed);

            if (mode >= MODE_4LEVEL && random_below(&seed, 16))
                linear = (uint64_t)((int64_t)linear >> 17);
            differ += !compare(&a, &b, &s, linear, accesses[random_below(&seed, 8)]);
        }
        /* A and D bits came out the same in all of memory. */
        differ += memcmp(a.byte, b.byte, sizeof(a.byte)) != 0;
    }
    CHECK_EQ(differ, 0U);
    CHECK(mapped > 20000 && large > 2000 && absent > 5000 && forbidden > 5000 && reserved > 5000 &&
          keyed > 500);
}

static void put(struct guest *g, uint64_t address, uint64_t value)
{
    memcpy(&g->byte[address - BASE], &value, sizeof(value));
}

static const struct paging_props usual = {
    .maxphyaddr = 40, .nx = true, .pse36 = true, .pat = true, .gbpages = true, .la57 = true};

/* A table that leads to itself, tables outside memory, and errors of the environment. */
static void hostile_tables(void)
{
    static struct guest g;
    struct walk_env env = {.ctx = &g, .read = guest_read, .compare_exchange = guest_exchange};
    struct paging_state s = {.cr0 = CR0_PG | CR0_WP,
                             .cr3 = BASE,
                             .cr4 = CR4_PAE | CR4_LA57,
                             .efer = EFER_LMA | EFER_NXE,
                             .props = &usual};
    struct walk_result result;

    put(&g, BASE, BASE | 0x67);
    CHECK_EQ(guest_walk(&env, &s, gla(0x123), ACCESS_READ, &result), 0);
    CHECK_EQ(result.address.raw, BASE + 0x123);
    CHECK_EQ(g.reads, 5U);
    s.cr3 = 0xffffff000; /* reads as ones: bits above the width are set */
    CHECK_EQ(guest_walk(&env, &s, gla(0), ACCESS_WRITE, &result), -EFAULT);
    CHECK_EQ(result.error_code, PF_PRESENT | PF_RESERVED | PF_WRITE);
    s.cr3 = BASE;
    g.races = 3;
    put(&g, BASE, BASE | 0x7);
    CHECK_EQ(guest_walk(&env, &s, gla(0), ACCESS_READ, &result), 0);
    put(&g, BASE, BASE | 0x7);
    g.races = 1000;
    CHECK_EQ(guest_walk(&env, &s, gla(0), ACCESS_READ, &result), -EAGAIN);
    g.races = 0;
    g.broken = true;
    CHECK_EQ(guest_walk(&env, &s, gla(0), ACCESS_READ, &result), -EIO);
}

/* Without an exchange nothing is written. */
static void reads_only(void)
{
    static struct guest g, before;
    struct walk_env env = {.ctx = &g, .read = guest_read};
    struct paging_state s = {
        .cr0 = CR0_PG, .cr3 = BASE, .cr4 = CR4_PAE, .efer = EFER_LMA, .props = &usual};
    struct walk_result result;

    put(&g, BASE, (BASE + PAGE_SIZE) | 7);
    put(&g, BASE + PAGE_SIZE, 0xc0000000UL | 0x87);
    before = g;
    CHECK_EQ(guest_walk(&env, &s, gla(0x3fffffff), ACCESS_WRITE | ACCESS_USER, &result), 0);
    CHECK_EQ(result.address.raw, 0xffffffffUL);
    CHECK_EQ(result.page_size, HUGE_PAGE_SIZE);
    CHECK_EQ(result.level, 3U);
    CHECK_EQ(result.entry, 0xc0000087UL);
    CHECK_EQ(memcmp(g.byte, before.byte, sizeof(g.byte)), 0);
}

/* PSE36: bits 20:13 of a 4 MiB entry are bits 39:32 of the address, as far as the width goes. */
static void pse36(void)
{
    static struct guest g;
    struct walk_env env = {.ctx = &g, .read = guest_read};
    struct paging_props props = usual;
    struct paging_state s = {.cr0 = CR0_PG, .cr3 = BASE, .cr4 = CR4_PSE, .props = &props};
    struct walk_result result;

    put(&g, BASE, 0x80400000UL | 0xabUL << 13 | 0x87);
    CHECK_EQ(guest_walk(&env, &s, gla(0x3fffff), ACCESS_READ, &result), 0);
    CHECK_EQ(result.address.raw, 0xab807fffffUL);
    CHECK_EQ(result.page_size, 1UL << 22);
    props.maxphyaddr = 36;
    CHECK_EQ(guest_walk(&env, &s, gla(0), ACCESS_READ, &result), -EFAULT);
    CHECK_EQ(result.error_code, PF_PRESENT | PF_RESERVED);
    props.pse36 = false;
    put(&g, BASE, 0x80400000UL | 0x1000 | 0x87); /* bit 12 is the PAT bit */
    CHECK_EQ(guest_walk(&env, &s, gla(0), ACCESS_READ, &result), 0);
    CHECK_EQ(result.address.raw, 0x80400000UL);
}

/* Keys of supervisor pages: IA32_PKRS decides, its WD bits only with CR0.WP=1 (§4.6.2). */
static void supervisor_keys(void)
{
    static struct guest g;
    struct walk_env env = {.ctx = &g, .read = guest_read};
    struct paging_state s = {.cr0 = CR0_PG | CR0_WP,
                             .cr3 = BASE,
                             .cr4 = CR4_PAE | CR4_PKE | CR4_PKS,
                             .efer = EFER_LMA,
                             .pkru = ~0U,
                             .pkrs = 2U << 10,
                             .props = &usual};
    struct walk_result result;

    put(&g, BASE, (BASE + PAGE_SIZE) | 7);
    put(&g, BASE + PAGE_SIZE, 5UL << 59 | 0x83);
    CHECK_EQ(guest_walk(&env, &s, gla(0), ACCESS_READ, &result), 0);
    CHECK_EQ(guest_walk(&env, &s, gla(0), ACCESS_EXECUTE, &result), 0);
    CHECK_EQ(guest_walk(&env, &s, gla(0), ACCESS_WRITE, &result), -EFAULT);
    CHECK_EQ(result.error_code, PF_PRESENT | PF_WRITE | PF_KEY);
    s.cr0 = CR0_PG;
    CHECK_EQ(guest_walk(&env, &s, gla(0), ACCESS_WRITE, &result), 0);
    CHECK_EQ(guest_walk(&env, &s, gla(0), ACCESS_WRITE | ACCESS_USER, &result), -EFAULT);
    CHECK_EQ(result.error_code, PF_PRESENT | PF_WRITE | PF_USER);
    s.pkrs = 1U << 10;
    CHECK_EQ(guest_walk(&env, &s, gla(0), ACCESS_READ | WALK_IMPLICIT, &result), -EFAULT);
    CHECK_EQ(result.error_code, PF_PRESENT | PF_KEY);
    s.cr4 &= ~CR4_PKS;
    CHECK_EQ(guest_walk(&env, &s, gla(0), ACCESS_READ, &result), 0);
    s.cr4 |= CR4_PKS;
    s.pkru = 0;
    s.pkrs = ~0U;
    put(&g, BASE + PAGE_SIZE, 5UL << 59 | 0x87); /* a user page is PKRU's */
    CHECK_EQ(guest_walk(&env, &s, gla(0), ACCESS_WRITE, &result), 0);
}

int main(void)
{
    RUN(random_trees);
    RUN(hostile_tables);
    RUN(reads_only);
    RUN(pse36);
    RUN(supervisor_keys);
    return unit_end();
}
