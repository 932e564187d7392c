/* SPDX-License-Identifier: BSD-2-Clause */
/* Memory types: dumps as firmware leaves them, and random states against a naive reading. */
#include "mmu/mtrr.h"
#include "tests/unit/mmu_memory.h"
#include "tests/unit/unit.h"

#define GIB (1UL << 30)
#define MIB (1UL << 20)

/* SeaBIOS on QEMU, 40 bits: everything WB but the 1 GiB below 4 GiB. */
static const struct mtrr_state seabios = {
    .cap = 0x508,
    .def_type = 0xc06,
    .fixed = {0x0606060606060606, 0x0606060606060606, 0, 0x0505050505050505, 0x0505050505050505,
              0x0505050505050505, 0x0505050505050505, 0x0505050505050505, 0x0505050505050505,
              0x0505050505050505, 0x0505050505050505},
    .variable = {{0x00000000c0000000, 0x000000ffc0000800}},
};

/* A desktop with 8 GiB: UC by default, RAM in pieces WB, a hole taken out by an overlapping UC
 * range, graphics memory WC. */
static const struct mtrr_state desktop = {
    .cap = 0xd0a,
    .def_type = 0xc00,
    .fixed = {0x0606060606060606, 0x0606060606060606, 0, 0x0505050505050505, 0x0505050505050505, 0,
              0, 0, 0, 0x0505050505050505, 0x0505050505050505},
    .variable = {{0x000000006, 0xf80000800},  /* 0 to 2 GiB WB */
                 {0x080000006, 0xfc0000800},  /* 2 to 3 GiB WB */
                 {0x0bf000000, 0xfff000800},  /* the last 16 MiB of them UC */
                 {0x100000006, 0xf00000800},  /* 4 to 8 GiB WB */
                 {0x200000006, 0xfc0000800},  /* 8 to 9 GiB WB */
                 {0x0d0000001, 0xff0000800}}, /* 256 MiB at 3.25 GiB WC */
};

static void check_uniform(const struct mtrr_state *state, uint64_t block, uint64_t size,
                          bool uniform, enum cache_type type)
{
    enum cache_type found;

    CHECK_EQ(mtrr_uniform(state, hpa(block), size, &found), uniform);
    if (uniform)
        CHECK_EQ(found, type);
}

static void dumps(void)
{
    CHECK_EQ(mtrr_type(&seabios, hpa(0)), CACHE_WB);
    CHECK_EQ(mtrr_type(&seabios, hpa(0x9ffff)), CACHE_WB);
    CHECK_EQ(mtrr_type(&seabios, hpa(0xa0000)), CACHE_UC);
    CHECK_EQ(mtrr_type(&seabios, hpa(0xc0000)), CACHE_WP);
    CHECK_EQ(mtrr_type(&seabios, hpa(0x100000)), CACHE_WB);
    CHECK_EQ(mtrr_type(&seabios, hpa(0xbfffffff)), CACHE_WB);
    CHECK_EQ(mtrr_type(&seabios, hpa(0xc0000000)), CACHE_UC);
    CHECK_EQ(mtrr_type(&seabios, hpa(0xfee00000)), CACHE_UC);
    CHECK_EQ(mtrr_type(&seabios, hpa(4 * GIB)), CACHE_WB);
    check_uniform(&seabios, 0, 2 * MIB, false, CACHE_UC);
    check_uniform(&seabios, 2 * MIB, 2 * MIB, true, CACHE_WB);
    check_uniform(&seabios, 0, GIB, false, CACHE_UC);
    check_uniform(&seabios, GIB, GIB, true, CACHE_WB);
    check_uniform(&seabios, 3 * GIB, GIB, true, CACHE_UC);
    check_uniform(&seabios, 511 * GIB, GIB, true, CACHE_WB);

    CHECK_EQ(mtrr_type(&desktop, hpa(0xbeffffff)), CACHE_WB);
    CHECK_EQ(mtrr_type(&desktop, hpa(0xbf000000)), CACHE_UC);
    CHECK_EQ(mtrr_type(&desktop, hpa(0xd0000000)), CACHE_WC);
    CHECK_EQ(mtrr_type(&desktop, hpa(0xe0000000)), CACHE_UC);
    CHECK_EQ(mtrr_type(&desktop, hpa(0x23fffffff)), CACHE_WB);
    CHECK_EQ(mtrr_type(&desktop, hpa(0x240000000)), CACHE_UC);
    check_uniform(&desktop, 2 * GIB, GIB, false, CACHE_UC);
    check_uniform(&desktop, 0xbee00000, 2 * MIB, true, CACHE_WB);
    check_uniform(&desktop, 7 * GIB, GIB, true, CACHE_WB);
    check_uniform(&desktop, 3 * GIB, GIB, false, CACHE_UC);
}

static void switches(void)
{
    struct mtrr_state state = seabios;

    state.def_type = 0x406; /* disabled: all UC, whatever else */
    check_uniform(&state, 0, GIB, true, CACHE_UC);
    state.def_type = 0x806; /* fixed ranges off */
    check_uniform(&state, 0, GIB, true, CACHE_WB);
    state.def_type = 0xc06;
    state.cap = 0x408; /* fixed ranges not there */
    check_uniform(&state, 0, GIB, true, CACHE_WB);
    state.cap = 0x500; /* no variable ones */
    check_uniform(&state, 3 * GIB, GIB, true, CACHE_WB);
    state.def_type = 0xc03; /* a reserved type */
    check_uniform(&state, 3 * GIB, GIB, true, CACHE_UC);
}

/* SDM vol. 3 §12.11.4.1, all pairs of types. */
static void overlaps(void)
{
    static const unsigned int types[] = {CACHE_UC, CACHE_WC, CACHE_WT, CACHE_WP, CACHE_WB};

    for (unsigned int i = 0; i < 5; i++)
        for (unsigned int j = 0; j < 5; j++) {
            struct mtrr_state state = {.cap = 2, .def_type = 0x805};
            unsigned int a = types[i], b = types[j];
            unsigned int wanted = CACHE_UC;

            state.variable[0] = (struct mtrr_pair){GIB | a, 0xfffc0000800};
            state.variable[1] = (struct mtrr_pair){GIB | b, 0xffff0000800};
            if (a == b)
                wanted = a;
            else if ((a == CACHE_WT && b == CACHE_WB) || (a == CACHE_WB && b == CACHE_WT))
                wanted = CACHE_WT;
            CHECK_EQ(mtrr_type(&state, hpa(GIB)), wanted);
            CHECK_EQ(mtrr_type(&state, hpa(GIB + 0x10000000)), a);
            CHECK_EQ(mtrr_type(&state, hpa(2 * GIB)), CACHE_WP);
        }
}

static bool msr_ok(uint32_t msr, uint64_t value)
{
    return mtrr_valid(&desktop, msr, value, 36);
}

static void writes(void)
{
    struct mtrr_state state = desktop;
    unsigned int found = 0;

    CHECK(msr_ok(0x2ff, 0xc06));
    CHECK(!msr_ok(0x2ff, 0xc02));
    CHECK(!msr_ok(0x2ff, 0x100));
    CHECK(!msr_ok(0x2ff, 0x1000));
    CHECK(msr_ok(0x200, 0xfffff0006));
    CHECK(!msr_ok(0x200, 0x1000000006));
    CHECK(!msr_ok(0x200, 0x0106));
    CHECK(!msr_ok(0x200, 0x07));
    CHECK(msr_ok(0x201, 0xfffff0800));
    CHECK(!msr_ok(0x201, 0xffff0801));
    CHECK(!msr_ok(0x201, 0x1ffff00800));
    CHECK(msr_ok(0x213, 0));
    CHECK(!msr_ok(0x214, 0)); /* cap has ten pairs */
    CHECK(msr_ok(0x250, 0x0001040506060606));
    CHECK(!msr_ok(0x26f, 0x0002040506060606));
    CHECK(!msr_ok(0xfe, 0));
    state.cap = 0xa; /* neither fixed ranges nor WC */
    CHECK(!mtrr_valid(&state, 0x250, 0, 36));
    CHECK(!mtrr_valid(&state, 0x2ff, 1, 36));
    CHECK(mtrr_msr(&state, 0x250) == NULL);
    state.cap = 0x1ff; /* more pairs than a state keeps */
    for (uint32_t msr = 0; msr < 0x1000; msr++)
        if (mtrr_msr(&state, msr)) {
            *mtrr_msr(&state, msr) = msr;
            found++;
        }
    CHECK_EQ(found, 1U + MTRR_FIXED + 2U * MTRR_VARIABLE_MAX);
    CHECK_EQ(state.variable[15].mask, 0x21fU);
    CHECK_EQ(state.fixed[0], 0x250U);
    CHECK_EQ(state.fixed[1], 0x258U);
    CHECK_EQ(state.fixed[2], 0x259U);
    CHECK_EQ(state.fixed[3], 0x268U);
    CHECK_EQ(state.fixed[10], 0x26fU);
    CHECK_EQ(state.def_type, 0x2ffU);
}

/* The manual read word by word, for one page. */
static enum cache_type naive_type(const struct mtrr_state *s, uint64_t address)
{
    bool uc = false, wt = false, wb = false, other = false, any = false;
    unsigned int first = 0;

    if (!(s->def_type & 0x800))
        return CACHE_UC;
    if (address < 0x100000 && (s->def_type & 0x400) && (s->cap & 0x100)) {
        const unsigned char *bytes = (const unsigned char *)s->fixed;
        unsigned int byte;

        if (address < 0x80000)
            byte = bytes[address / 0x10000];
        else if (address < 0xc0000)
            byte = bytes[8 + (address - 0x80000) / 0x4000];
        else
            byte = bytes[24 + (address - 0xc0000) / 0x1000];
        return byte > 6 || byte == 2 || byte == 3 ? CACHE_UC : (enum cache_type)byte;
    }
    for (unsigned int i = 0; i < 16 && i < (s->cap & 0xff); i++) {
        uint64_t mask = s->variable[i].mask & 0xffffffffff000;
        unsigned int type = s->variable[i].base & 0xff;

        if (!(s->variable[i].mask & 0x800) || (address & mask) != (s->variable[i].base & mask))
            continue;
        if (any && type != first)
            other = true;
        first = any ? first : type;
        any = true;
        uc |= type == 0 || type == 2 || type == 3 || type > 6;
        wt |= type == 4;
        wb |= type == 6;
        if (type != 4 && type != 6)
            uc |= other;
    }
    if (!any) {
        first = s->def_type & 0xff;
        return first > 6 || first == 2 || first == 3 ? CACHE_UC : (enum cache_type)first;
    }
    if (uc)
        return CACHE_UC;
    if (!other)
        return (enum cache_type)first;
    return wt && wb && first != 1 && first != 5 ? CACHE_WT : CACHE_UC;
}

static struct mtrr_state random_state(uint64_t *seed)
{
    static const unsigned char types[] = {0, 1, 4, 5, 6, 6, 6, 4, 2, 255};
    struct mtrr_state state = {.cap = random_below(seed, 20) | (random64(seed) & 0x500),
                               .def_type = types[random_below(seed, 10)]};

    state.def_type |= random_below(seed, 8) ? 0x800 : 0;
    state.def_type |= random64(seed) & 0x400;
    for (unsigned int i = 0; i < MTRR_FIXED; i++)
        state.fixed[i] = random_below(seed, 2) ? 0x0606060606060606 : 0x0606040600060505;
    for (unsigned int i = 0; i < MTRR_VARIABLE_MAX; i++) {
        unsigned int low = 12 + (unsigned int)random_below(seed, 14);
        uint64_t mask = ~0UL << low;

        if (random_below(seed, 3) == 0) /* holes */
            mask &= ~(5UL << random_below(seed, 28));
        state.variable[i].base =
            (random64(seed) & 0x3fff000 & ~0UL << low) | types[random_below(seed, 10)];
        state.variable[i].mask = (mask & 0xfffffff000) | (random_below(seed, 5) ? 0x800 : 0);
    }
    return state;
}

/* Exactly: uniform if and only if all pages of the block have one type by the naive reading. */
static void random_states(void)
{
    uint64_t seed = 42;
    unsigned int differ = 0, uniform = 0, mixed = 0;

    for (unsigned int round = 0; round < 3000; round++) {
        struct mtrr_state state = random_state(&seed);

        for (unsigned int probe = 0; probe < 20; probe++) {
            uint64_t size = PAGE_SIZE << random_below(&seed, 12);
            uint64_t block = (random64(&seed) & 0x3ffffff) & ~(size - 1);
            enum cache_type wanted = naive_type(&state, block), found;
            bool same = true;

            for (uint64_t a = block; same && a < block + size; a += PAGE_SIZE)
                same = naive_type(&state, a) == wanted;
            uniform += same;
            mixed += !same;
            differ += mtrr_uniform(&state, hpa(block), size, &found) != same;
            differ += same && found != wanted;
        }
    }
    CHECK_EQ(differ, 0U);
    CHECK(uniform > 1000 && mixed > 1000);
}

/* The worst that masks can do stays quick: sixteen ranges of single pages with holes. */
static void hostile_masks(void)
{
    struct mtrr_state state = {.cap = 16, .def_type = 0x800};
    enum cache_type type;

    for (unsigned int i = 0; i < 16; i++) /* together they cover everything */
        state.variable[i] = (struct mtrr_pair){(uint64_t)i << 12 | 6, 0xf800};
    for (uint64_t gib = 0; gib < 4096; gib++) {
        CHECK(mtrr_uniform(&state, hpa(gib * GIB), GIB, &type));
        CHECK_EQ(type, CACHE_WB);
    }
    state.variable[7].base = 7 << 12 | 4;
    CHECK(!mtrr_uniform(&state, hpa(0), GIB, &type));
    CHECK_EQ(mtrr_type(&state, hpa(0x17000)), CACHE_WT);
    CHECK_EQ(mtrr_type(&state, hpa(0x18000)), CACHE_WB);
}

int main(void)
{
    RUN(dumps);
    RUN(switches);
    RUN(overlaps);
    RUN(writes);
    RUN(random_states);
    RUN(hostile_masks);
    return unit_end();
}
