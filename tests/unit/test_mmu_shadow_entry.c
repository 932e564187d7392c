/* SPDX-License-Identifier: BSD-2-Clause */
/* What a shadow entry is to be, by enumeration, against the walk of the guest's own tables. */
#include "mmu/registers.h"
#include "mmu/reserved.h"
#include "mmu/shadow_entry.h"
#include "mmu/walk.h"
#include "tests/unit/unit.h"

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

#define P     1UL
#define W     2UL
#define U     4UL
#define A     32UL
#define D     64UL
#define PS    128UL
#define NX    (1UL << 63)
#define INDEX 5U   /* of the shadow entry */
#define FRAME 0x77 /* of the table under test; tables above it are at 0 */

static struct paging_props props_of(unsigned int p)
{
    static const uint8_t width[] = {32, 36, 39, 40, 46, 52}, cbit[] = {0, 36, 47, 51};

    return (struct paging_props){.gbpages = p & 1U,
                                 .pse36 = p & 2U,
                                 .pat = p & 4U,
                                 .vendor = p & 8U ? PAGING_AMD : PAGING_INTEL,
                                 .maxphyaddr = width[p / 16U % 6U],
                                 .cbit = cbit[p / 96U]};
}

#define PROPS (16U * 6U * 4U)

static struct paging_state state_of(unsigned int bits, const struct paging_props *props)
{
    static const struct {
        uint64_t cr4, efer;
    } modes[] = {
        {0, 0}, {CR4_PSE, 0}, {CR4_PAE, 0}, {CR4_PAE, EFER_LMA}, {CR4_PAE | CR4_LA57, EFER_LMA}};

    return (struct paging_state){.cr0 = CR0_PG | (bits & 1U ? CR0_WP : 0),
                                 .efer = modes[bits / 16U].efer | (bits & 2U ? EFER_NXE : 0),
                                 .cr4 = modes[bits / 16U].cr4 | (bits & 4U ? CR4_SMEP : 0) |
                                        (bits & 8U ? CR4_SMAP : 0),
                                 .ac = true, /* what SMAP guards, the hardware does */
                                 .props = props};
}

#define STATES (16U * 5U)

static union page_role root_role(const struct paging_state *state)
{
    struct role_context context = {.format = FORMAT_SHADOW_LONG};
    unsigned int levels = paging_levels(paging_mode(state));

    return role_from_state(state, &context, levels < 3 ? 3 : levels);
}

/* What a page links to has the canonical role, whatever the entry takes away. */
static bool below_is_canonical(union page_role role, unsigned int access)
{
    struct shadow_rules rules = shadow_rules(role);
    union page_role below = rules.below;

    if (role.level == 1)
        return true;
    role.access = below.access = access & 15U;
    return role_equal(role_at_level(role, role.level - 1U, gfn(FRAME)), below);
}

/* A canonical role reads every entry as the properties and registers do that it was made from. */
static void roles_keep_the_rules(void)
{
    unsigned int differ = 0;

    for (unsigned int p = 0; p < PROPS; p++)
        for (unsigned int bits = 0; bits < STATES; bits++) {
            struct paging_props props = props_of(p);
            struct paging_state state = state_of(bits, &props);
            enum paging_mode mode = paging_mode(&state);

            for (unsigned int level = 1; level <= paging_levels(mode); level++)
                for (unsigned int leaf = level == 1; leaf < 2; leaf++) {
                    union page_role role = role_at_level(root_role(&state), level, gfn(FRAME));
                    struct paging_props same = role_props(role);

                    differ += !below_is_canonical(role, p);
                    differ +=
                        reserved_mask(mode, level, leaf, &props, state.efer & EFER_NXE) !=
                        reserved_mask((enum paging_mode)role.mode, level, leaf, &same, role.nxe);
                }
        }
    CHECK_EQ(differ, 0U);
}

static struct shadow_entry derive(union page_role role, unsigned int index, uint64_t entry)
{
    struct shadow_rules rules = shadow_rules(role);

    return shadow_derive(role, &rules, index, entry);
}

/* The guest's tables for one entry: those above it grant `rights`, and lead to it. */
struct tables {
    unsigned int levels, level, rights;
    uint64_t entry;
    unsigned int reads, marks;
    bool pae;
};

static int read_tables(void *ctx, gpa_t address, unsigned int size, uint64_t *value)
{
    struct tables *t = ctx;
    unsigned int level = t->levels - t->reads++;

    (void)address, (void)size;
    if (level > t->level) {
        uint64_t next = level == t->level + 1 ? FRAME : 0;

        *value = next << PAGE_SHIFT | P;
        if (!t->pae || level < 3)
            *value |= A | (t->rights & ACCESS_WRITE ? W : 0) | (t->rights & ACCESS_USER ? U : 0) |
                      (t->rights & ACCESS_EXECUTE ? 0 : NX);
    } else {
        *value = level == t->level ? t->entry : 0;
    }
    return 0;
}

static int count_mark(void *ctx, gpa_t address, unsigned int size, uint64_t expected,
                      uint64_t value)
{
    (void)address, (void)size, (void)expected, (void)value;
    ((struct tables *)ctx)->marks++;
    return 0;
}

/* Whether the hardware, with WP=1 and NXE=1, permits an access by a leaf of ours. */
static bool permits(const struct paging_state *state, uint64_t leaf, unsigned int access)
{
    bool user = access & ACCESS_USER;

    if (user && !(leaf & U))
        return false;
    if (access & ACCESS_EXECUTE)
        return !(leaf & NX) && !(!user && (leaf & U) && (state->cr4 & CR4_SMEP));
    return !(access & ACCESS_WRITE) || (leaf & W);
}

static unsigned long unsound, wasteful, misled, compared, without_wp;

/* One leaf and one access: permitted if and only if the walk allows it with no bit to be set. */
static void compare(const struct paging_state *state, union page_role role, struct tables *t,
                    uint64_t linear, unsigned int index, unsigned int access)
{
    struct walk_env env = {.ctx = t, .read = read_tables, .compare_exchange = count_mark};
    struct shadow_entry shadow = derive(role, index, t->entry);
    struct walk_result result;
    bool fine, wanted;

    t->reads = t->marks = 0;
    wanted = guest_walk(&env, state, gla(linear), access, &result) == 0 && t->marks == 0;
    fine = shadow.kind == SHADOW_LEAF && permits(state, shadow.bits, access);
    compared++;
    unsound += fine && (!wanted || result.without_wp);
    wasteful += wanted && !fine && !result.without_wp;
    without_wp += wanted && result.without_wp;
    if (fine && wanted)
        misled +=
            result.address.raw != ((shadow.bits & ENTRY_ADDRESS & ~(level_size(role.level) - 1)) |
                                   (linear & (level_size(role.level) - 1)));
}

static void compare_entry(const struct paging_state *state, unsigned int level, unsigned int rights,
                          uint64_t entry)
{
    static const unsigned int kinds[] = {ACCESS_READ, ACCESS_WRITE, ACCESS_EXECUTE};
    enum paging_mode mode = paging_mode(state);
    bool small = mode <= MODE_32BIT_PSE;
    union page_role role = root_role(state);
    struct tables t = {.levels = paging_levels(mode),
                       .level = level,
                       .rights = rights,
                       .entry = small ? entry & 0xffffffffU : entry,
                       .pae = mode == MODE_PAE};
    uint64_t linear = (uint64_t)INDEX << (12 + 9 * (level - 1));

    if (level < t.levels)
        role.access = rights & 15U;
    role = role_at_level(role, level, gfn(FRAME));
    for (unsigned int k = 0; k < 6; k++)
        compare(state, role, &t, linear, INDEX, kinds[k % 3] | (k < 3 ? 0 : ACCESS_USER));
}

/* All leaves: every mode and level, rights above, low bits of the entry, and any other single bit. */
static void leaves(void)
{
    for (unsigned int p = 0; p < PROPS; p += 5) /* all of each, and not all of all */
        for (unsigned int bits = 0; bits < STATES; bits++) {
            struct paging_props props = props_of(p);
            struct paging_state state = state_of(bits, &props);
            unsigned int levels = paging_levels(paging_mode(&state));

            for (unsigned int level = 1; level <= levels && level <= 3; level++) {
                unsigned int turn = (p * 7 + bits * 3 + level) % 16U;
                unsigned int rights = ACCESS_READ | (turn & 6U) | (turn & 8U);
                uint64_t large = level > 1 ? PS : 0;

                if (paging_mode(&state) == MODE_PAE && level == 3)
                    continue;
                if (!(state.efer & EFER_NXE) || levels < 3)
                    rights |= ACCESS_EXECUTE; /* nothing above can take it away */
                if (paging_mode(&state) == MODE_PAE && level == 2)
                    rights = 15; /* PDPTEs have none to give or take */
                for (unsigned int low = 0; low < 32; low++)
                    compare_entry(&state, level, rights,
                                  large | (low & 7U) | (low & 8U ? A : 0) | (low & 16U ? D : 0));
                for (unsigned int bit = 3; bit < 64; bit++)
                    compare_entry(&state, level, rights,
                                  ((P | W | U | A | D | large) ^ 1UL << bit));
            }
        }
    CHECK(compared > 1000000);
    CHECK_EQ(unsound, 0U);
    CHECK_EQ(wasteful, 0U);
    CHECK(without_wp > 1000);
    CHECK_EQ(misled, 0U);
}

/* Cache bits, G and the key come over, also into the parts of a large page that is split. */
static void attributes(void)
{
    struct paging_props props = props_of(1U | 4U | 5U * 16U);
    struct paging_state state = state_of(1U | 2U | 3U * 16U, &props);
    union page_role role = role_at_level(root_role(&state), 2, gfn(FRAME));

    for (unsigned int i = 0; i < 256; i++) {
        uint64_t cache = (i & 3U) << 3, key = (uint64_t)(i >> 4) << 59;
        uint64_t global = i & 4U ? 1UL << 8 : 0;
        uint64_t pat = i & 8U ? 1UL << 12 : 0;
        uint64_t entry = 0x40000000UL | P | W | A | D | PS | cache | key | global | pat;
        struct shadow_entry large, split, part;

        large = derive(role, 0, entry);
        split = shadow_split(role, &large);
        part = shadow_direct_leaf(split.role, split.frame, 3);
        CHECK_EQ(large.bits & (24UL | 1UL << 8 | 1UL << 12 | 15UL << 59),
                 cache | global | key | pat);
        CHECK_EQ(split.role.level, 1U);
        CHECK_EQ(split.bits & (U | W | NX), large.bits & (U | W | NX));
        CHECK_EQ(part.bits, 0x40003000UL | P | W | U | A | D | cache | global | key | pat >> 5);
    }
}

/* 32-bit tables in parts: each entry of 1024 has its place in one of two or four pages. */
static void quadrants(void)
{
    static const struct paging_props props = {.maxphyaddr = 40, .pse36 = true, .pat = true};
    struct paging_state state = state_of(1U + 16U, &props);

    for (unsigned int level = 1; level <= 2; level++) {
        unsigned int parts = level == 1 ? 2 : 4, each = level == 1 ? 1 : 2;

        for (unsigned int i = 0; i < parts * 512U; i++) {
            union page_role role = root_role(&state);
            struct shadow_rules rules;

            role.quadrant = i / 512U & 3U;
            role = role_at_level(role, level, gfn(FRAME));
            rules = shadow_rules(role);
            CHECK_EQ(rules.size, 4U);
            CHECK_EQ(shadow_guest_place(&rules, gfn(FRAME), i % 512U).raw,
                     FRAME * PAGE_SIZE + i / each * 4UL);
        }
    }
}

/* A link carries the rights that are left, and is made for entries with A only. */
static void links(void)
{
    struct paging_props props = props_of(1U | 4U | 5U * 16U);
    struct paging_state state = state_of(1U | 2U | 3U * 16U, &props);

    for (unsigned int access = 0; access < 16; access++)
        for (unsigned int bits = 0; bits < 16; bits++) {
            union page_role role = root_role(&state);
            uint64_t entry = 0x9000UL | P | (bits & 1U ? W : 0) | (bits & 2U ? U : 0) |
                             (bits & 4U ? NX : 0) | (bits & 8U ? A : 0);
            struct shadow_entry link;

            role.access = access & 15U;
            link = derive(role_at_level(role, 3, gfn(FRAME)), INDEX, entry);
            CHECK_EQ(link.kind, bits & 8U ? SHADOW_TABLE : SHADOW_NONE);
            if (!(bits & 8U))
                continue;
            CHECK_EQ(link.frame.raw, 9U);
            CHECK_EQ(link.role.level, 2U);
            CHECK_EQ(link.role.access, access & (1U | (bits & 1U ? 2U : 0) | (bits & 4U ? 0 : 4U) |
                                                 (bits & 2U ? 8U : 0)));
            CHECK(role_equal(link.role, role_at_level(link.role, 2, link.frame)));
        }
}

int main(void)
{
    RUN(roles_keep_the_rules);
    RUN(leaves);
    RUN(attributes);
    RUN(quadrants);
    RUN(links);
    return unit_end();
}
