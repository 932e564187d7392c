/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef LATCH_TESTS_FUZZ_TREES_H
#define LATCH_TESTS_FUZZ_TREES_H
/* What trees of guest and nested tables are made of: choices, memory, and where entries lead. */
#include "cpuid/paging_props.h"
#include "mmu/address.h"
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#define PAGES    8U
#define ACCESSES 8U

/* Where choices come from. */
struct source {
    const uint8_t *data;
    size_t left;
    uint64_t seed;
};

static inline unsigned int below(struct source *from, unsigned int limit)
{
    from->seed ^= from->seed << 13;
    from->seed ^= from->seed >> 7;
    from->seed ^= from->seed << 17;
    if (from->left == 0)
        return (unsigned int)(from->seed >> 32) % limit;
    from->left--;
    from->seed += *from->data;
    return *from->data++ % limit;
}

static inline bool once_in(struct source *from, unsigned int times)
{
    return below(from, times) == 0;
}

static inline uint64_t bits64(struct source *from)
{
    uint64_t value = 0;

    for (unsigned int i = 0; i < 8; i++)
        value = value << 8 | below(from, 256);
    return value;
}

/* The guest's memory: page i lies at base[i]. */
struct memory {
    uint64_t base[PAGES];
    unsigned char page[PAGES][PAGE_SIZE];
};

static inline unsigned char *at(struct memory *memory, uint64_t address)
{
    unsigned int i = address >> PAGE_SHIFT & (PAGES - 1U);

    return (address & ~PAGE_OFFSET_MASK) == memory->base[i]
               ? &memory->page[i][address & PAGE_OFFSET_MASK]
               : NULL;
}

static inline uint64_t load(struct memory *memory, uint64_t address, unsigned int size)
{
    const unsigned char *place = at(memory, address);
    uint64_t value = place ? 0 : size == 4 ? 0xffffffffUL : ~0UL;

    if (address % size != 0)
        abort();
    if (place)
        memcpy(&value, place, size);
    return value;
}

static inline struct paging_props choose_props(struct source *from)
{
    static const uint8_t widths[] = {32, 33, 36, 39, 40, 41, 48, 51, 52};
    unsigned int flags = below(from, 256);

    return (struct paging_props){
        .maxphyaddr = widths[below(from, sizeof(widths))],
        .cbit = flags & 1U ? (uint8_t)(32U + below(from, 20)) : 0,
        .reduction = flags & 2U ? (uint8_t)below(from, 8) : 0,
        .vendor = flags & 4U ? PAGING_AMD : PAGING_INTEL,
        .gbpages = flags & 8U,
        .nx = true,
        .pse36 = flags & 16U,
        .pat = flags & 0x60U,
        .la57 = true,
    };
}

static inline uint64_t choose_page(struct source *from, const struct memory *memory)
{
    if (once_in(from, 32))
        return bits64(from) & 0xffffffffff000UL;
    return memory->base[below(from, PAGES)];
}

/* Where an entry leads. A page of up to `size` is mostly aligned for it, bit 12 left to chance: the
 * PAT bit, in most formats. */
static inline uint64_t choose_target(struct source *from, const struct memory *memory, bool large,
                                     uint64_t size)
{
    uint64_t page = choose_page(from, memory);

    if (large && !once_in(from, 8))
        page = (page & ~(size - 1U)) | (page & 0x1000);
    return page;
}

/* The entries that linear addresses choose among: the same few in each table. */
static inline unsigned int choose_slot(struct source *from, unsigned int entries)
{
    const unsigned int slots[] = {0, 1, 2, entries / 2, entries - 1};

    return slots[below(from, 5)];
}

#endif
