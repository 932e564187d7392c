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

static struct paging_state state_of(unsigned int bits, const struct paging_props *props)
{
    return (struct paging_state){.cr0 = (bits & 1U ? CR0_PG : 0) | (bits & 2U ? CR0_WP : 0),
                                 .cr4 = (bits & 4U ? CR4_PSE : 0) | (bits & 8U ? CR4_PAE : 0) |
                                        (bits & 16U ? CR4_LA57 : 0) | (bits & 32U ? CR4_SMEP : 0) |
                                        (bits & 64U ? CR4_SMAP : 0) | (bits & 128U ? CR4_PKE : 0),
                                 .efer =
                                     (bits & 256U ? EFER_LMA : 0) | (bits & 512U ? EFER_NXE : 0),
                                 .props = props};
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
        for (unsigned int bits = 0; bits < 1024; bits++)
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

/* With paging off no bit of WP, CR4 or NXE makes another role; in each mode only its own do. */
static void contexts_by_mode(void)
{
    static const struct {
        uint64_t cr0, cr4, efer;
        unsigned int roles;
    } modes[] = {
        {0, 0, 0, 1}, /* off */
        {0, CR4_PAE, EFER_LME, 1},
        {CR0_PG, 0, 0, 2U * 4U},                        /* 32-bit: PSE; WP or SMEP × SMAP */
        {CR0_PG, CR4_PAE, 0, 2U * 5U},                  /* PAE: NXE */
        {CR0_PG, CR4_PAE, EFER_LMA, 2U * 2U * 2U * 5U}, /* long: LA57, PKE, NXE */
    };
    static const uint64_t cr4_bits[] = {CR4_PSE, CR4_LA57, CR4_SMEP, CR4_SMAP, CR4_PKE};
    struct role_context context = {.format = FORMAT_SHADOW_LONG};

    for (unsigned int m = 0; m < COUNT(modes); m++) {
        uint64_t seen[128] = {0};
        unsigned int count = 0;

        for (unsigned int bits = 0; bits < 128; bits++) {
            struct paging_state state = {.cr0 = modes[m].cr0 | (bits & 1U ? CR0_WP : 0),
                                         .cr4 = modes[m].cr4,
                                         .efer = modes[m].efer | (bits & 2U ? EFER_NXE : 0),
                                         .props = &plain};
            union page_role role;
            unsigned int i = 0;

            for (unsigned int b = 0; b < COUNT(cr4_bits); b++)
                state.cr4 |= (bits & (4U << b)) ? cr4_bits[b] : 0;
            role = role_at_level(role_from_state(&state, &context, 5), 5, gfn(0));
            while (i < count && seen[i] != role.raw)
                i++;
            if (i == count)
                seen[count++] = role.raw;
        }
        /* 32-bit: WP alone is one context, without it SMEP and SMAP make four. */
        CHECK_EQ(count, m == 2 ? 10U : modes[m].roles);
    }
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
    bool nxe = state->efer & EFER_NXE, wp = state->cr0 & CR0_WP;
    unsigned int levels = paging_levels(mode);
    struct role_context context = {.format = FORMAT_SHADOW_LONG};
    struct meaning meaning = {.role = 0};
    unsigned int entries = mode == MODE_PAE ? 1 : mode >= MODE_4LEVEL ? 2 : 0;

    meaning.role = role_at_level(role_from_state(state, &context, 5), level, gfn(0x1234)).raw;
    for (unsigned int l = 1; l <= level && l <= levels; l++)
        for (unsigned int leaf = l == 1; leaf < 2; leaf++)
            meaning.mask[l - 1][leaf] = reserved_mask(mode, l, leaf, state->props, nxe);
    meaning.rest = entries | (uint64_t)wp << 2;
    if (!wp)
        meaning.rest |= (state->cr4 & CR4_SMEP) >> 20 << 3 | (state->cr4 & CR4_SMAP) >> 21 << 4;
    if (entries == 2)
        meaning.rest |= (state->cr4 & CR4_PKE) >> 22 << 5;
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

/* The same for shadow pages: equal canonical roles if and only if all masks and rules from the page
 * downwards are equal; over all registers, widths, vendors, and C-bits. */
static void shadow_sound_and_thrifty(void)
{
    static const unsigned int cbits[] = {0, 36, 47};
    struct meaning *all = malloc(1024UL * 16 * 21 * COUNT(cbits) * sizeof(*all));

    CHECK(all != NULL);
    for (unsigned int level = 1; all && level <= 5; level++) {
        unsigned int unsound = 0, wasteful = 0;
        size_t count = 0;

        for (unsigned int bits = 1; bits < 1024; bits += 2)
            for (unsigned int p = 0; p < 336U * COUNT(cbits); p++) {
                struct paging_props props =
                    props_of(p & 15U, 32 + (p >> 4) % 21U, cbits[(p >> 4) / 21U]);
                struct paging_state state = state_of(bits, &props);
                unsigned int levels = paging_levels(paging_mode(&state));

                if (level <= levels)
                    all[count++] = meaning_of(&state, level);
            }
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
    free(all);
}

/* A role taken through a level in between is the one taken at once; taken twice it stays. */
static void composes(void)
{
    unsigned int differ = 0;

    for (unsigned int bits = 0; bits < 1024; bits++)
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

int main(void)
{
    RUN(direct_sound_and_thrifty);
    RUN(direct_limit);
    RUN(direct_ignores_the_rest);
    RUN(contexts_by_mode);
    RUN(shadow_sound_and_thrifty);
    RUN(composes);
    return unit_end();
}
