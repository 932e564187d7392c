/* SPDX-License-Identifier: BSD-2-Clause */
/* Soundness and thrift of canonical roles, by enumeration. */
#include "mmu/registers.h"
#include "mmu/reserved.h"
#include "mmu/role.h"
#include "tests/unit/unit.h"
#include <stdlib.h>

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

static const struct paging_props plain = {.maxphyaddr = 40,
                                          .gbpages = true,
                                          .nx = true,
                                          .pse36 = true,
                                          .pat = true,
                                          .vendor = PAGING_INTEL};

static union page_role direct_role_of(unsigned int width, unsigned int level)
{
    struct paging_props props = {.maxphyaddr = (uint8_t)width, .gbpages = true, .pat = true};
    struct paging_state state = {.props = &props};
    struct role_context context = {.format = FORMAT_EPT, .direct = true};

    return role_from_state(&state, &context, level);
}

/* How much of a direct page's range is below the limit: all that its mapping depends on. */
static uint64_t mapped_bytes(unsigned int width, unsigned int level, gfn_t frame)
{
    uint64_t span = 512UL * level_size(level);
    uint64_t first = (frame.raw << PAGE_SHIFT) / span * span;
    uint64_t limit = 1UL << width;

    if (first >= limit)
        return 0;
    return limit - first < span ? limit - first : span;
}

/* For every level, every two widths and frames about each power of two: the canonical roles are
 * equal if and only if the two models map the page alike. */
static void direct_sound_and_thrifty(void)
{
    for (unsigned int level = 1; level <= 5; level++)
        for (unsigned int power = 12; power <= 52; power++)
            for (int step = -1; step <= 1; step++) {
                gfn_t frame = gfn((1UL << (power - 12U)) + (uint64_t)(int64_t)step);
                unsigned int differ = 0;

                if (frame.raw >= 1UL << 40)
                    continue;
                for (unsigned int a = 32; a <= 52; a++)
                    for (unsigned int b = 32; b <= 52; b++) {
                        bool same = mapped_bytes(a, level, frame) == mapped_bytes(b, level, frame);

                        differ +=
                            same != role_equal(role_at_level(direct_role_of(a, 5), level, frame),
                                               role_at_level(direct_role_of(b, 5), level, frame));
                    }
                CHECK_EQ(differ, 0U);
            }
}

/* The limit that a canonical role gives agrees with the model's everywhere in the page. */
static void direct_limit(void)
{
    for (unsigned int level = 1; level <= 5; level++)
        for (unsigned int width = 32; width <= 52; width++)
            for (unsigned int power = 12; power <= 51; power++) {
                uint64_t address = 1UL << power;
                union page_role role =
                    role_at_level(direct_role_of(width, 5), level, gfn(address >> PAGE_SHIFT));

                CHECK_EQ(address < role_limit(role), address < 1UL << width);
            }
}

/* Nested tables with and without shadow pages, which lie in one page, about a boundary, or end at
 * one: equal roles if and only if equal limits, and the shadow pages in both or in neither. */
static void shadow_pages_sound_and_thrifty(void)
{
    static const uint64_t ranges[][2] = {
        {0x1234, 0x1235}, {0x3fff0, 0x40010}, {0xff800, 0x100000}, {0x1e800, 0x20800}};
    static const unsigned int widths[] = {32, 33, 36, 40, 48, 52};
    enum { MODELS = 2 * COUNT(widths) };

    for (unsigned int n = 0; n < COUNT(ranges) * 5U * 41U * 3U; n++) {
        const uint64_t *range = ranges[n % COUNT(ranges)];
        unsigned int level = 1 + n / COUNT(ranges) % 5U, power = n / COUNT(ranges) / 15U;
        uint64_t frame = (1UL << power) + n / COUNT(ranges) / 5U % 3U - 1U;
        uint64_t span = 1UL << 9U * level, first = frame / span * span;
        bool holds = range[0] < first + span && first < range[1];
        union page_role role[MODELS];
        uint64_t mapped[MODELS];
        unsigned int differ = 0;

        for (unsigned int a = 0; a < MODELS; a++) {
            role[a] = direct_role_of(widths[a / 2], 5);
            role[a].tables = a & 1U;
            role[a] =
                role_at_nested_level(role[a], level, gfn(frame), gfn(range[0]), gfn(range[1]));
            mapped[a] =
                a & 1U ? span << PAGE_SHIFT : mapped_bytes(widths[a / 2], level, gfn(frame));
            for (unsigned int b = 0; b <= a; b++) {
                bool same = mapped[a] == mapped[b] && (!holds || (a & 1U) == (b & 1U));

                differ += same != role_equal(role[a], role[b]);
            }
        }
        CHECK_EQ(differ, 0U);
    }
}

/* Numbers for combinations of the registers' bits that paging depends on. */
enum {
    PG = 1,
    WP = 2,
    PSE = 4,
    PAE = 8,
    LA57 = 16,
    SMEP = 32,
    SMAP = 64,
    PKE = 128,
    LMA = 256,
    NXE = 512,
    ALL_BITS = 1024
};

static struct paging_state state_of(unsigned int bits, const struct paging_props *props)
{
    return (struct paging_state){
        .cr0 = (bits & PG ? CR0_PG : 0) | (bits & WP ? CR0_WP : 0),
        .cr4 = (bits & PSE ? CR4_PSE : 0) | (bits & PAE ? CR4_PAE : 0) |
               (bits & LA57 ? CR4_LA57 : 0) | (bits & SMEP ? CR4_SMEP : 0) |
               (bits & SMAP ? CR4_SMAP : 0) | (bits & PKE ? CR4_PKE : 0),
        .efer = (bits & LMA ? EFER_LMA : 0) | (bits & NXE ? EFER_NXE : 0),
        .props = props,
    };
}

static struct paging_props props_of(unsigned int bits, unsigned int width, unsigned int cbit)
{
    return (struct paging_props){.maxphyaddr = (uint8_t)width,
                                 .cbit = (uint8_t)cbit,
                                 .vendor = bits & 1U ? PAGING_AMD : PAGING_INTEL,
                                 .gbpages = bits & 2U,
                                 .pse36 = bits & 4U,
                                 .pat = bits & 8U};
}

/* Direct pages depend on nothing but the width: not on registers, vendor, GBPAGES, C-bit … */
static void direct_ignores_the_rest(void)
{
    static const struct role_context context[] = {{.format = FORMAT_NPT, .direct = true},
                                                  {.format = FORMAT_NPT,
                                                   .direct = true,
                                                   .execute_only = true,
                                                   .accessed_dirty = true,
                                                   .nested = true}};
    unsigned int differ = 0;

    for (unsigned int level = 1; level <= 5; level++)
        for (unsigned int bits = 0; bits < ALL_BITS; bits++)
            for (unsigned int p = 0; p < 64; p++) {
                struct paging_props props = props_of(p, 36, p & 16U ? 47 : 0);
                struct paging_state state = state_of(bits, &props);
                union page_role role = role_from_state(&state, &context[p >> 5], 5);
                union page_role wanted = {.level = level,
                                          .format = FORMAT_NPT,
                                          .direct = 1,
                                          .maxphyaddr = level >= 3 ? 36 : 0};

                differ += !role_equal(role_at_level(role, level, gfn(0)), wanted);
            }
    CHECK_EQ(differ, 0U);
}

/* One state for each mode. */
static const unsigned int in_mode[] = {
    WP, PG | WP, PG | WP | PSE, PG | WP | PAE, PG | WP | PAE | LMA, PG | WP | PAE | LMA | LA57};

static union page_role root_role(const struct paging_state *state)
{
    struct role_context context = {.format = FORMAT_SHADOW_LONG};

    return role_at_level(role_from_state(state, &context, 5), 5, gfn(0));
}

/* Each bit of CR0, CR4 and EFER toggled in each mode: those that make another root's role, and no
 * others. Bits that make another mode are in the rows, too. */
static void toggled_bits(void)
{
    static const struct {
        unsigned int mode;
        uint64_t cr0, cr4, efer;
    } rows[] = {
        /* Paging off: nothing; turning it on is another mode. */
        {MODE_OFF, CR0_PG, 0, 0},
        /* No entry says what WP, SMEP, SMAP and keys do: the hardware has them as the guest has. */
        {MODE_32BIT, CR0_PG, CR4_PSE | CR4_PAE, EFER_LMA},
        {MODE_32BIT_PSE, CR0_PG, CR4_PSE | CR4_PAE, EFER_LMA},
        /* From here on PSE is nothing; NXE makes bit 63 legal; LA57 needs long mode. */
        {MODE_PAE, CR0_PG, CR4_PAE, EFER_LMA | EFER_NXE},
        {MODE_4LEVEL, CR0_PG, CR4_LA57, EFER_LMA | EFER_NXE},
        {MODE_5LEVEL, CR0_PG, CR4_LA57, EFER_LMA | EFER_NXE},
    };

    for (unsigned int i = 0; i < COUNT(rows); i++) {
        struct paging_state state = state_of(in_mode[rows[i].mode], &plain);
        uint64_t cr0 = 0, cr4 = 0, efer = 0;
        union page_role base;

        base = root_role(&state);
        CHECK_EQ(paging_mode(&state), rows[i].mode);
        for (unsigned int bit = 0; bit < 64; bit++) {
            struct paging_state a = state, b = state, c = state;

            a.cr0 ^= 1UL << bit;
            b.cr4 ^= 1UL << bit;
            c.efer ^= 1UL << bit;
            cr0 |= (uint64_t)!role_equal(root_role(&a), base) << bit;
            cr4 |= (uint64_t)!role_equal(root_role(&b), base) << bit;
            efer |= (uint64_t)!role_equal(root_role(&c), base) << bit;
        }
        CHECK_EQ(cr0, rows[i].cr0);
        CHECK_EQ(cr4, rows[i].cr4);
        CHECK_EQ(efer, rows[i].efer);
    }
}

/* INIT and RESET: with paging off no role changes, whatever the registers were; with paging on it is
 * another one. What follows for a vCPU's tables: test_mmu_shadow.c. */
static void init_changes_only_roles_with_paging(void)
{
    unsigned int wrong = 0;

    for (unsigned int bits = 0; bits < ALL_BITS; bits++)
        for (unsigned int p = 0; p < 16; p++) {
            struct paging_props props = props_of(p, 36, 47);
            struct paging_state before = state_of(bits, &props);
            struct paging_state after = {.cr0 = 1UL << 4, .props = &props}; /* ET */
            bool kept = role_equal(root_role(&before), root_role(&after));

            wrong += kept != !(bits & PG);
        }
    CHECK_EQ(wrong, 0U);
}

/* The distinct canonical roles at one level, over all registers in the given modes. */
static unsigned int contexts(unsigned int low_mode, unsigned int high_mode, unsigned int level,
                             const struct paging_props *props)
{
    struct role_context context = {.format = FORMAT_SHADOW_LONG};
    uint64_t seen[ALL_BITS] = {0};
    unsigned int count = 0;

    for (unsigned int bits = 0; bits < ALL_BITS; bits++) {
        struct paging_state state = state_of(bits, props);
        enum paging_mode mode = paging_mode(&state);
        union page_role role =
            role_at_level(role_from_state(&state, &context, level), level, gfn(0x1234));
        unsigned int i = 0;

        if (mode < low_mode || mode > high_mode)
            continue;
        while (i < count && seen[i] != role.raw)
            i++;
        if (i == count)
            seen[count++] = role.raw;
    }
    return count;
}

/* How many contexts there are, by the manuals' rules: two by EFER.NXE where entries have a bit 63. */
static void contexts_by_mode(void)
{
    struct paging_props no_pat = plain;

    no_pat.pat = false;
    for (unsigned int level = 1; level <= 5; level++)
        CHECK_EQ(contexts(MODE_OFF, MODE_OFF, level, &plain), 1U);
    CHECK_EQ(contexts(MODE_32BIT, MODE_32BIT, 2, &plain), 1U);
    CHECK_EQ(contexts(MODE_32BIT_PSE, MODE_32BIT_PSE, 2, &plain), 1U);
    CHECK_EQ(contexts(MODE_32BIT, MODE_32BIT_PSE, 2, &plain), 2U);  /* 4 MiB pages */
    CHECK_EQ(contexts(MODE_32BIT, MODE_32BIT_PSE, 1, &plain), 1U);  /* PTEs are alike … */
    CHECK_EQ(contexts(MODE_32BIT, MODE_32BIT_PSE, 1, &no_pat), 2U); /* … but for bit 7 */
    for (unsigned int level = 1; level <= 3; level++)
        CHECK_EQ(contexts(MODE_PAE, MODE_PAE, level, &plain), 2U);
    for (unsigned int level = 1; level <= 4; level++) {
        CHECK_EQ(contexts(MODE_4LEVEL, MODE_4LEVEL, level, &plain), 2U);
        CHECK_EQ(contexts(MODE_4LEVEL, MODE_5LEVEL, level, &plain), 2U); /* LA57 only adds a root */
    }
    CHECK_EQ(contexts(MODE_5LEVEL, MODE_5LEVEL, 5, &plain), 2U);
    /* No two of the formats share: 32-bit, PAE and long-mode entries mean different things. */
    CHECK_EQ(contexts(MODE_32BIT, MODE_5LEVEL, 1, &plain), 1U + 2U + 2U);
    CHECK_EQ(contexts(MODE_OFF, MODE_5LEVEL, 1, &plain), 1U + 1U + 2U + 2U);
}

/* What a shadow page at `level` and all below depend on, put down without roles. */
struct meaning {
    uint64_t role;
    uint64_t mask[5][2];
    uint64_t rest;
};

static struct meaning meaning_of(const struct paging_state *state, unsigned int level)
{
    enum paging_mode mode = paging_mode(state);
    bool nxe = state->efer & EFER_NXE;
    unsigned int levels = paging_levels(mode);
    struct role_context context = {.format = FORMAT_SHADOW_LONG};
    struct meaning meaning = {.role = 0};
    unsigned int entries = mode == MODE_PAE ? 1 : mode >= MODE_4LEVEL ? 2 : 0;

    meaning.role = role_at_level(role_from_state(state, &context, 5), level, gfn(0x1234)).raw;
    for (unsigned int l = 1; l <= level && l <= levels; l++)
        for (unsigned int leaf = l == 1; leaf < 2; leaf++)
            meaning.mask[l - 1][leaf] = reserved_mask(mode, l, leaf, state->props, nxe);
    meaning.rest = entries;
    if (entries != 0)
        meaning.rest |= (uint64_t)state->props->cbit << 8;
    if (mode == MODE_32BIT_PSE && level >= 2)
        meaning.rest |= 64U; /* bit 7 of a directory entry makes a leaf */
    if (level > 4 && mode == MODE_5LEVEL)
        meaning.rest |= 128U;
    return meaning;
}

static int by_role(const void *a, const void *b)
{
    const struct meaning *x = a, *y = b;

    return x->role < y->role ? -1 : x->role > y->role;
}

static int by_meaning(const void *a, const void *b)
{
    const struct meaning *x = a, *y = b;
    const uint64_t *p = &x->mask[0][0], *q = &y->mask[0][0];

    for (unsigned int i = 0; i < 11; i++)
        if (p[i] != q[i])
            return p[i] < q[i] ? -1 : 1;
    return 0;
}

_Static_assert(sizeof(struct meaning) == 12 * sizeof(uint64_t), "by_meaning() reads 11 after role");

/* Equal canonical roles if and only if all masks and rules from the page downwards are equal. */
static void check_meanings(struct meaning *all, size_t count)
{
    unsigned int unsound = 0, wasteful = 0;

    qsort(all, count, sizeof(*all), by_role);
    for (size_t i = 1; i < count; i++)
        unsound += all[i].role == all[i - 1].role && by_meaning(&all[i], &all[i - 1]) != 0;
    qsort(all, count, sizeof(*all), by_meaning);
    for (size_t i = 1; i < count; i++)
        wasteful += all[i].role != all[i - 1].role && by_meaning(&all[i], &all[i - 1]) == 0;
    CHECK(count > 1000);
    CHECK_EQ(unsound, 0U);
    CHECK_EQ(wasteful, 0U);
}

/* Shadow pages over all registers, widths, vendors and features, with some C-bits. */
static void shadow_sound_and_thrifty(void)
{
    static const unsigned int cbits[] = {0, 36, 47};
    struct meaning *all = malloc(1024UL * 16 * 21 * COUNT(cbits) * sizeof(*all));

    CHECK(all != NULL);
    for (unsigned int level = 1; all && level <= 5; level++) {
        size_t count = 0;

        for (unsigned int bits = PG; bits < ALL_BITS; bits += 2)
            for (unsigned int p = 0; p < 336U * COUNT(cbits); p++) {
                struct paging_props props =
                    props_of(p & 15U, 32 + (p >> 4) % 21U, cbits[(p >> 4) / 21U]);
                struct paging_state state = state_of(bits, &props);

                if (level <= paging_levels(paging_mode(&state)))
                    all[count++] = meaning_of(&state, level);
            }
        check_meanings(all, count);
    }
    free(all);
}

/* The same with each C-bit position and several address-width reductions, by mode and NXE. */
static void every_cbit_sound_and_thrifty(void)
{
    static const uint8_t reductions[4] = {0, 1, 5, 21};
    enum { CASES = 2 * 16 * 21 * 21 * 4 }; /* NXE, features, widths, C-bits, reductions */
    struct meaning *all = malloc(COUNT(in_mode) * CASES * sizeof(*all));

    CHECK(all != NULL);
    for (unsigned int level = 1; all && level <= 5; level++) {
        size_t count = 0;

        for (unsigned int m = MODE_32BIT; m < COUNT(in_mode); m++)
            for (unsigned int n = 0; n < CASES; n++) {
                unsigned int cbit = n / 672U % 21U;
                struct paging_props props =
                    props_of(n / 2U % 16U, 32 + n / 32U % 21U, cbit ? 31 + cbit : 0);
                struct paging_state state = state_of(in_mode[m] | (n & 1U ? NXE : 0), &props);

                props.reduction = reductions[n / 14112U];
                if (level <= paging_levels(paging_mode(&state)))
                    all[count++] = meaning_of(&state, level);
            }
        check_meanings(all, count);
    }
    free(all);
}

/* A role taken through a level in between is the one taken at once; taken twice it stays. */
static void composes(void)
{
    unsigned int differ = 0;

    for (unsigned int bits = 0; bits < ALL_BITS; bits++)
        for (unsigned int p = 0; p < 16U * 21U; p++) {
            struct paging_props props = props_of(p & 15U, 32 + p / 16U, 47);
            struct paging_state state = state_of(bits, &props);
            struct role_context context = {.format = bits & 1U ? FORMAT_SHADOW_LONG : FORMAT_EPT};
            union page_role root = role_from_state(&state, &context, 5);

            for (unsigned int high = 1; high <= 5; high++)
                for (unsigned int low = 1; low <= high; low++) {
                    gfn_t frame = gfn(1UL << (bits % 28U));
                    union page_role once = role_at_level(root, low, frame);
                    union page_role twice =
                        role_at_level(role_at_level(root, high, frame), low, frame);

                    differ += !role_equal(once, twice);
                }
        }
    CHECK_EQ(differ, 0U);
}

/* Which bits of a mask over the role's own fields reach the canonical role at a level. */
static uint64_t kept(union page_role root, unsigned int level, uint64_t mask)
{
    uint64_t result = 0;

    for (unsigned int bit = 0; bit < 64; bit++) {
        union page_role changed = {.raw = root.raw ^ (mask & 1UL << bit)};

        result |=
            role_at_level(changed, level, gfn(0)).raw ^ role_at_level(root, level, gfn(0)).raw;
    }
    return result;
}

/* What the caller sets: a quadrant only where entries have 4 bytes, two halves of a table and four
 * quarters of a directory; access in shadow pages; a split leaf's bits in direct shadow pages. */
static void callers_fields(void)
{
    static const union page_role quadrant = {.quadrant = 3}, half = {.quadrant = 1},
                                 access = {.access = 15}, tables = {.tables = 1},
                                 leaf = {.leaf_cache = 7, .leaf_global = 1, .leaf_key = 15};
    uint64_t all = quadrant.raw | access.raw | tables.raw | leaf.raw;

    for (unsigned int m = MODE_OFF; m <= MODE_5LEVEL; m++)
        for (unsigned int level = 1; level <= 5; level++) {
            struct paging_state state = state_of(in_mode[m], &plain);
            struct role_context shadow = {.format = FORMAT_SHADOW_LONG};
            struct role_context nested = {.format = FORMAT_EPT, .direct = true, .tables = true};
            bool small = m == MODE_32BIT || m == MODE_32BIT_PSE;
            uint64_t quarters = !small ? 0 : level == 1 ? half.raw : level == 2 ? quadrant.raw : 0;
            union page_role root = role_from_state(&state, &shadow, 5);

            if (m == MODE_OFF)
                CHECK_EQ(kept(root, level, all), leaf.raw | tables.raw);
            else
                CHECK_EQ(kept(root, level, quadrant.raw | access.raw), quarters | access.raw);
            root = role_from_state(&state, &nested, 5);
            CHECK_EQ(kept(root, level, quadrant.raw | access.raw | leaf.raw), 0U);
            /* With shadow pages mapped the width is theirs to keep to; where these lie decides who
             * keeps `tables`: role_at_nested_level(). */
            CHECK_EQ(role_at_level(root, level, gfn(0)).maxphyaddr, 0U);
            CHECK_EQ(role_at_level(root, level, gfn(0)).tables, 1U);
        }
}

int main(void)
{
    RUN(direct_sound_and_thrifty);
    RUN(direct_limit);
    RUN(shadow_pages_sound_and_thrifty);
    RUN(direct_ignores_the_rest);
    RUN(toggled_bits);
    RUN(init_changes_only_roles_with_paging);
    RUN(contexts_by_mode);
    RUN(shadow_sound_and_thrifty);
    RUN(every_cbit_sound_and_thrifty);
    RUN(composes);
    RUN(callers_fields);
    return unit_end();
}
