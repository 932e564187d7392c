/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Nested tables by mmu/'s rules for their entries against the walker that was written from the
 * manuals a second time, over whole small spaces: a path with one entry in each table, of which one
 * is every value that differs from a good or an empty one in at most two bits.
 */
#include "tests/unit/nested_walk.h"
#include "tests/unit/unit.h"

#define LEVELS      5U
#define ENCRYPTIONS 3U
#define ADDRESS     0x0001008040201123UL /* the second entry at each level */

/* The table of level n is page n; its second entry. The page is the sixth. */
struct memory {
    uint64_t entry[LEVELS + 1];
};

static uint64_t memory_read(void *ctx, uint64_t address, unsigned int size)
{
    const struct memory *memory = ctx;
    uint64_t level = address / PAGE_SIZE;

    return size == 8 && level >= 1 && level <= LEVELS && address % PAGE_SIZE == 8
               ? memory->entry[level]
               : 0;
}

static unsigned long walks, differences, outcomes[NESTED_OUTCOMES];

static void compare(const struct reference_nested *nested, struct memory *memory)
{
    static const unsigned int accesses[] = {ACCESS_READ, ACCESS_WRITE, ACCESS_EXECUTE};
    struct reference_memory env = {.ctx = memory, .read = memory_read};
    struct reference_nested_result found, wanted;
    unsigned int access = accesses[walks % 3U];

    nested_walk(nested, &env, ADDRESS, access, &found);
    reference_nested_walk(nested, &env, ADDRESS, access, &wanted);
    walks++;
    outcomes[wanted.outcome]++;
    if (nested_same(&found, &wanted) || differences++ >= 10)
        return;
    printf("# %s width %u cbit %u gbpages %d only %d nxe %d access %u entries %lx %lx %lx %lx %lx: "
           "%d at %u, wanted %d at %u\n",
           nested->npt ? "NPT" : "EPT", nested->host.maxphyaddr, nested->host.cbit,
           nested->host.gbpages, nested->execute_only, nested->nxe, access, memory->entry[5],
           memory->entry[4], memory->entry[3], memory->entry[2], memory->entry[1], found.outcome,
           found.level, wanted.outcome, wanted.level);
}

/* One entry of a path becomes each of 2081 values. */
static void every_two_bits(const struct reference_nested *nested, unsigned int level, uint64_t base)
{
    const uint64_t all = nested->npt ? 0x67 : 0x07, leaf = nested->npt ? 0 : CACHE_WB << 3;
    struct memory memory;

    for (unsigned int n = 1; n <= LEVELS; n++)
        memory.entry[n] = (n > 1 ? (n - 1) * PAGE_SIZE : 6 * PAGE_SIZE | leaf) | all;
    memory.entry[level] = base;
    compare(nested, &memory);
    for (unsigned int i = 0; i < 64; i++)
        for (unsigned int j = i; j < 64; j++) {
            memory.entry[level] = base ^ 1UL << i ^ (j > i ? 1UL << j : 0);
            compare(nested, &memory);
        }
}

/* Tables and pages, with all rights and with none. */
static void every_entry(const struct reference_nested *nested)
{
    const uint64_t rights = nested->npt ? 0x67 : 0x07, type = nested->npt ? 0 : CACHE_WB << 3;

    for (unsigned int level = 1; level <= LEVELS; level++) {
        if (level > 1)
            every_two_bits(nested, level, (level - 1) * PAGE_SIZE | rights);
        if (level <= 3)
            every_two_bits(nested, level,
                           6 * level_size(level) | (level > 1 ? ENTRY_LEAF : 0) | type | rights);
        every_two_bits(nested, level, 0);
    }
}

/* No C-bit, one above all addresses but the widest, and one for which they lose bits. */
static const struct {
    uint8_t cbit, reduction;
} encryptions[ENCRYPTIONS] = {{0, 0}, {51, 0}, {47, 5}};

static void every_host(bool npt)
{
    unsigned long before = differences, met[NESTED_OUTCOMES];

    memcpy(met, outcomes, sizeof(met));
    for (unsigned int width = 36; width <= 52; width++)
        for (unsigned int n = 0; n < 4U * ENCRYPTIONS; n++) {
            struct reference_nested nested = {
                .root = LEVELS * PAGE_SIZE, .levels = LEVELS, .npt = npt};

            nested.execute_only = !npt && (n & 1U);
            nested.nxe = npt && (n & 1U);
            nested.host = (struct paging_props){.maxphyaddr = (uint8_t)width,
                                                .cbit = encryptions[n / 4U].cbit,
                                                .reduction = encryptions[n / 4U].reduction,
                                                .gbpages = n & 2U,
                                                .pat = true};
            every_entry(&nested);
        }
    CHECK_EQ(differences, before);
    for (unsigned int outcome = 0; outcome < NESTED_OUTCOMES; outcome++)
        CHECK(outcomes[outcome] - met[outcome] > 10000);
}

static void ept(void)
{
    every_host(false);
}

static void npt(void)
{
    every_host(true);
}

int main(void)
{
    RUN(ept);
    RUN(npt);
    printf("# %lu walks: %lu mapped, %lu absent, %lu forbidden, %lu misconfigured\n", walks,
           outcomes[NESTED_MAPPED], outcomes[NESTED_ABSENT], outcomes[NESTED_FORBIDDEN],
           outcomes[NESTED_MISCONFIGURED]);
    return unit_end();
}
