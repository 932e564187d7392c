/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef LATCH_TESTS_UNIT_MMU_MEMORY_H
#define LATCH_TESTS_UNIT_MMU_MEMORY_H
/*
 * Memory for table pages on the host: what struct mmu_env asks for. Freed pages are filled with
 * entries that are present and wrong, so that a use after free shows in the next lookup.
 */
#include "mmu/mmu.h"
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define MEMORY_BASE  0x100000000UL
#define MEMORY_PAGES 16384U

struct memory {
    uint64_t (*page)[512];
    unsigned char used[MEMORY_PAGES];
    unsigned int live, next;
    unsigned int flushes, frees;
    unsigned int bad_frees;
    unsigned int fail_after; /* allocations that still succeed; UINT32_MAX: all */
    unsigned int limit;      /* pages that there can be at once */
};

static inline int memory_alloc(void *ctx, hpa_t *page)
{
    struct memory *m = ctx;

    if (m->fail_after == 0 || m->live >= m->limit)
        return -ENOMEM;
    if (m->fail_after != UINT32_MAX)
        m->fail_after--;
    while (m->used[m->next])
        m->next = (m->next + 1U) % MEMORY_PAGES;
    m->used[m->next] = 1;
    m->live++;
    memset(m->page[m->next], 0, PAGE_SIZE);
    *page = hpa(MEMORY_BASE + m->next * PAGE_SIZE);
    return 0;
}

static inline unsigned int memory_index(hpa_t page)
{
    uint64_t index = (page.raw - MEMORY_BASE) / PAGE_SIZE;

    if (page.raw < MEMORY_BASE || page.raw & PAGE_OFFSET_MASK || index >= MEMORY_PAGES)
        abort();
    return (unsigned int)index;
}

static inline void memory_free(void *ctx, hpa_t page)
{
    struct memory *m = ctx;
    unsigned int index = memory_index(page);

    if (!m->used[index])
        m->bad_frees++;
    else
        m->live--;
    m->frees++;
    m->used[index] = 0;
    for (unsigned int i = 0; i < 512; i++)
        m->page[index][i] = 0x000deadbeef00087UL;
}

static inline void *memory_at_page(void *ctx, hpa_t page)
{
    struct memory *m = ctx;
    unsigned int index = memory_index(page);

    if (!m->used[index])
        abort();
    return m->page[index];
}

static inline void memory_flush(void *ctx)
{
    ((struct memory *)ctx)->flushes++;
}

static inline struct mmu_env memory_env(struct memory *m)
{
    if (!m->page)
        m->page = calloc(MEMORY_PAGES, PAGE_SIZE);
    if (!m->page)
        abort();
    memset(m->used, 0, sizeof(m->used));
    m->live = m->next = m->flushes = m->frees = m->bad_frees = 0;
    m->fail_after = UINT32_MAX;
    m->limit = MEMORY_PAGES;
    return (struct mmu_env){.ctx = m,
                            .alloc_page = memory_alloc,
                            .free_page = memory_free,
                            .map = memory_at_page,
                            .flush = memory_flush};
}

/* xorshift64*: the same numbers on every machine. */
static inline uint64_t random64(uint64_t *seed)
{
    *seed ^= *seed >> 12;
    *seed ^= *seed << 25;
    *seed ^= *seed >> 27;
    return *seed * 0x2545f4914f6cdd1dUL;
}

static inline uint64_t random_below(uint64_t *seed, uint64_t limit)
{
    return (random64(seed) >> 11) % limit;
}

#endif
