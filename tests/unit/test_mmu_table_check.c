/* SPDX-License-Identifier: BSD-2-Clause */
/* Guards the check that sealed frames can be written to by no mapping, wherever it is. */
#include "mmu/table.h"
#include "tests/unit/mmu_memory.h"
#include "tests/unit/unit.h"

#define PHYSMAP 0xffff800000000000UL
#define READ    ACCESS_READ
#define WRITE   (ACCESS_READ | ACCESS_WRITE)

static struct memory memory;
static struct mmu_env env;
static struct table_space space;
static const struct table_frames sealed[] = {{.first = {0x601000}, .size = 0x2000},
                                             {.first = {0x40800000}, .size = 0x1000}};

static void start(void)
{
    struct table_format format;

    env = memory_env(&memory);
    CHECK_EQ(format_init(&format, FORMAT_HOST, 4, 3, false), 0);
    CHECK_EQ(table_space_init(&space, &env, &format), 0);
    CHECK_EQ(table_map(&space, PHYSMAP, hpa(0), 0x80000000, WRITE, CACHE_WB), 0);
    for (unsigned int i = 0; i < 2; i++)
        CHECK_EQ(table_protect(&space, PHYSMAP + sealed[i].first.raw, sealed[i].size, READ), 0);
}

/* 0, or the address of the mapping that is found. */
static uint64_t found(void)
{
    struct table_leaf bad = {.address = 1};
    int error = table_check_read_only(&space, sealed, 2, &bad);

    CHECK_EQ(error, bad.address == 1 ? 0 : -EPERM);
    return error ? bad.address : 0;
}

static void protected_frames_are_read_only(void)
{
    start();
    CHECK_EQ(found(), 0);
    CHECK_EQ(table_map(&space, 0x1000, hpa(0x601000), 0x2000, READ | ACCESS_EXECUTE, CACHE_WB), 0);
    CHECK_EQ(found(), 0);
    table_space_destroy(&space);
}

static void their_own_mapping_is_looked_at(void)
{
    start();
    for (unsigned int i = 0; i < 3; i++) {
        uint64_t page = i == 2 ? 0x40800000 : 0x601000 + i * PAGE_SIZE;
        CHECK_EQ(table_protect(&space, PHYSMAP + page, PAGE_SIZE, WRITE), 0);
        CHECK_EQ(found(), PHYSMAP + page);
        CHECK_EQ(table_protect(&space, PHYSMAP + page, PAGE_SIZE, READ), 0);
        CHECK_EQ(found(), 0);
    }
    table_space_destroy(&space);
}

/* At any address, in pages of each size, by their first byte or their last. */
static void each_alias_is_found(void)
{
    static const struct {
        uint64_t address, page, size;
        bool bad;
    } aliases[] = {
        {0x7000, 0x601000, 0x1000, true},
        {0x7000, 0x602000, 0x1000, true},
        {0x7000, 0x600000, 0x1000, false},
        {0x7000, 0x603000, 0x1000, false},
        {0xffffffffc0000000UL, 0x600000, 0x200000, true},
        {0xffffffffc0000000UL, 0x400000, 0x200000, false},
        {0xffffffffc0000000UL, 0x800000, 0x200000, false},
        {0x4000000000UL, 0x40000000, 0x40000000, true},
        {0x4000000000UL, 0x80000000, 0x40000000, false},
    };

    for (size_t i = 0; i < sizeof(aliases) / sizeof(aliases[0]); i++) {
        start();
        CHECK_EQ(table_map(&space, aliases[i].address, hpa(aliases[i].page), aliases[i].size, WRITE,
                           CACHE_UC),
                 0);
        CHECK_EQ(found(), aliases[i].bad ? aliases[i].address : 0);
        table_space_destroy(&space);
    }
}

int main(void)
{
    RUN(protected_frames_are_read_only);
    RUN(their_own_mapping_is_looked_at);
    RUN(each_alias_is_found);
    return unit_end();
}
