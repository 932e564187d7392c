/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef LATCH_TESTS_UNIT_DIRECT_MACHINE_H
#define LATCH_TESTS_UNIT_DIRECT_MACHINE_H
/* A whole little machine with direct tables. */
#include "mmu/direct.h"
#include "tests/unit/mmu_memory.h"
#include "tests/unit/unit.h"

#define GIB      (1UL << 30)
#define MIB      (1UL << 20)
#define SETTINGS 12U
#define POOL     8192U

static struct memory memory;
static struct mmu_env env;
static struct table_page pool[POOL];
static struct table_cache cache;
static struct guest_map map;
static struct mtrr_state mtrr;
static struct direct direct;

/* The settings that made the map, in order: the last one that holds an address counts. */
static struct {
    uint64_t start, size, base;
    enum guest_kind kind;
} setting[SETTINGS];
static unsigned int settings;

static const struct mtrr_state seabios = {
    .cap = 0x508,
    .def_type = 0xc06,
    .fixed = {0x0606060606060606, 0x0606060606060606, 0, 0x0505050505050505, 0x0505050505050505,
              0x0505050505050505, 0x0505050505050505, 0x0505050505050505, 0x0505050505050505,
              0x0505050505050505, 0x0505050505050505},
    .variable = {{0x00000000c0000000, 0x000000ffc0000800}},
};

static inline void machine_with(enum page_format id, unsigned int levels, unsigned int max_leaf)
{
    struct table_format format;

    env = memory_env(&memory);
    CHECK_EQ(format_init(&format, id, levels, max_leaf, false), 0);
    table_cache_init(&cache, &env, pool, POOL);
    map = (struct guest_map){.count = 0};
    mtrr = seabios;
    settings = 0;
    direct_init(&direct, &env, &cache, &format, &map, &mtrr);
}

static inline void machine(enum page_format id, unsigned int max_leaf)
{
    machine_with(id, 4, max_leaf);
}

static inline void set(uint64_t start, uint64_t size, uint64_t base, enum guest_kind kind)
{
    CHECK_EQ(guest_map_set(&map, gpa(start), size, hpa(base), kind), 0);
    setting[settings].start = start;
    setting[settings].size = size;
    setting[settings].base = base;
    setting[settings++].kind = kind;
}

static inline struct table_page *root_with(unsigned int width, bool tables)
{
    struct paging_props props = {.maxphyaddr = (uint8_t)width, .pat = true};
    struct paging_state state = {.props = &props};
    struct role_context context = {.format = direct.format.id, .direct = true, .tables = tables};
    struct table_page *root = NULL;

    CHECK_EQ(direct_root(&direct, role_from_state(&state, &context, direct.format.levels), &root),
             0);
    return root;
}

static inline struct table_page *root_of(unsigned int width)
{
    return root_with(width, false);
}

static inline struct table_space space_of(const struct table_page *root)
{
    return (struct table_space){.env = &env, .format = direct.format, .root = root->page};
}

/* The map that Latch makes for a machine of 4 GiB and more: its own memory absent, the local APIC's
 * page read-only. */
static inline void usual_map(void)
{
    set(0, 1UL << 46, 0, GUEST_PASS);
    set(0xb8000000, 64 * MIB, 0, GUEST_ABSENT);
    set(0xfee00000, PAGE_SIZE, 0xfee00000, GUEST_READ_ONLY);
}

/* What one guest page is to be by the settings: rights 0 for absent. */
struct truth {
    unsigned int access;
    uint64_t page;
    enum cache_type type;
};

static inline struct truth truth_of(uint64_t address, uint64_t limit)
{
    struct truth truth = {.access = 0};

    if (address >= limit)
        return truth;
    for (unsigned int i = settings; i-- > 0;) {
        if (address < setting[i].start || address - setting[i].start >= setting[i].size)
            continue;
        if (setting[i].kind == GUEST_ABSENT)
            return truth;
        truth.access = setting[i].kind == GUEST_PASS ? 7 : 5;
        truth.page = setting[i].base + ((address & ~0xfffUL) - setting[i].start);
        truth.type = mtrr_type(&mtrr, hpa(truth.page));
        return truth;
    }
    return truth;
}

#endif
