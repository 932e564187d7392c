/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef LATCH_TESTS_FUZZ_NESTED_TREES_H
#define LATCH_TESTS_FUZZ_NESTED_TREES_H
/*
 * Whole trees of EPT and NPT, walked by mmu/'s rules for their entries and by the reference walker:
 * the same outcome of each access.
 */
#include "tests/fuzz/trees.h"
#include "tests/unit/nested_walk.h"
#include <stdio.h>

static unsigned long nested_trees, nested_large, nested_met[NESTED_OUTCOMES];

static inline uint64_t nested_read(void *ctx, uint64_t address, unsigned int size)
{
    return load(ctx, address, size);
}

/* Mostly rights that there are; a type where there should be one, and now and then elsewhere. */
static inline uint64_t choose_ept_flags(struct source *from, bool large)
{
    static const uint8_t rights[] = {7, 7, 7, 7, 5, 3, 1, 4}, types[] = {0, 1, 4, 5, 6, 6, 6, 6};
    uint64_t flags = once_in(from, 8) ? below(from, 8) : rights[below(from, 8)];

    if (once_in(from, 16))
        flags |= (uint64_t)below(from, 16) << 3;
    else if (large)
        flags |= (uint64_t)types[below(from, 8)] << 3 | below(from, 2) << 6;
    return flags | (uint64_t)below(from, 2) << 63;
}

static inline uint64_t choose_npt_flags(struct source *from, bool nxe)
{
    uint64_t flags = (once_in(from, 16) ? 0 : 1U) | (once_in(from, 4) ? 0 : 2U);

    flags |= (once_in(from, 12) ? 0 : 4U) | (below(from, 256) & 0x78U);
    return flags | (once_in(from, nxe ? 4 : 32) ? 1UL << 63 : 0);
}

static inline uint64_t choose_nested_entry(struct source *from, const struct memory *memory,
                                           const struct reference_nested *nested)
{
    bool large = once_in(from, 4);
    uint64_t entry = choose_target(from, memory, large, 1UL << 30) | (large ? 0x80U : 0);

    entry |= nested->npt ? choose_npt_flags(from, nested->nxe) : choose_ept_flags(from, large);
    entry |= (uint64_t)below(from, 8) << 9 | (uint64_t)below(from, 256) << 52;
    if (nested->host.cbit != 0 && once_in(from, 2))
        entry |= 1UL << nested->host.cbit;
    if (once_in(from, 8))
        entry ^= 1UL << below(from, 64);
    return entry;
}

static inline struct reference_nested choose_nested(struct source *from,
                                                    const struct memory *memory, bool npt,
                                                    const struct paging_props *host)
{
    struct reference_nested nested = {.root = memory->base[below(from, 2)],
                                      .levels = once_in(from, 4) ? 5 : 4,
                                      .npt = npt,
                                      .execute_only = !npt && once_in(from, 2),
                                      .nxe = npt && !once_in(from, 4),
                                      .host = *host};

    if (host->cbit != 0 && once_in(from, 2))
        nested.root |= 1UL << host->cbit;
    return nested;
}

/* One address and access. */
static inline void compare_nested(const struct reference_nested *nested, struct memory *memory,
                                  uint64_t address, unsigned int access)
{
    struct reference_memory env = {.ctx = memory, .read = nested_read};
    struct reference_nested_result found, wanted;

    nested_walk(nested, &env, address, access, &found);
    reference_nested_walk(nested, &env, address, access, &wanted);
    nested_met[wanted.outcome]++;
    nested_large += wanted.outcome == NESTED_MAPPED && wanted.page_size > PAGE_SIZE;
    if (nested_same(&found, &wanted))
        return;
    fprintf(stderr, "fuzz_mmu: %s root %lx width %u cbit %u, address %lx, access %x\n",
            nested->npt ? "NPT" : "EPT", nested->root, nested->host.maxphyaddr, nested->host.cbit,
            address, access);
    fprintf(stderr, "Latch: %d, address %lx, size %lx, rights %x, type %u, level %u, entry %lx\n",
            found.outcome, found.address, found.page_size, found.rights, found.type, found.level,
            found.entry[found.entries - 1U]);
    fprintf(stderr, "reference: %d, address %lx, size %lx, rights %x, type %u, level %u\n",
            wanted.outcome, wanted.address, wanted.page_size, wanted.rights, wanted.type,
            wanted.level);
    abort();
}

/* A tree in a memory whose pages are placed. */
static inline void nested_tree(struct source *from, struct memory *memory, bool npt,
                               const struct paging_props *host)
{
    struct reference_nested nested = choose_nested(from, memory, npt, host);

    nested_trees++;
    for (unsigned int n = 0; n < PAGES * 16U; n++) {
        uint64_t entry = choose_nested_entry(from, memory, &nested);

        memcpy(&memory->page[n / 16U][choose_slot(from, 512) * sizeof(entry)], &entry,
               sizeof(entry));
    }
    for (unsigned int i = 0; i < ACCESSES; i++) {
        uint64_t address = bits64(from) & (once_in(from, 16) ? ~0UL : PAGE_OFFSET_MASK);

        for (unsigned int level = 1; level <= nested.levels; level++)
            address |= (uint64_t)choose_slot(from, 512) << (3U + 9U * level);
        compare_nested(&nested, memory, address & (level_size(nested.levels + 1U) - 1U),
                       1U << below(from, 3));
    }
}

static inline void nested_report(void)
{
    fprintf(stderr, "fuzz_mmu: of them %lu nested; accesses: %lu mapped, %lu of them large, ",
            nested_trees, nested_met[NESTED_MAPPED], nested_large);
    fprintf(stderr, "%lu absent, %lu forbidden, %lu misconfigured\n", nested_met[NESTED_ABSENT],
            nested_met[NESTED_FORBIDDEN], nested_met[NESTED_MISCONFIGURED]);
    for (unsigned int outcome = 0; outcome < NESTED_OUTCOMES; outcome++)
        if (nested_trees >= 25000 && nested_met[outcome] < nested_trees / 100)
            abort();
}

#endif
