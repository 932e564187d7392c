/* SPDX-License-Identifier: BSD-2-Clause */
#include "mmu/shadow_pool.h"

/* In a page's mark: the model that was counted last, and whether it was another before. */
#define MARK_SHARED 0x80U

void shadow_count_begin(struct shadow *s)
{
    for (unsigned int i = 0; i < s->fresh; i++)
        s->pages[i].mark = 0;
}

static unsigned int count_tables(struct shadow *s, struct shadow_page *page, unsigned int model)
{
    const uint64_t *table = shadow_table(s, page);
    unsigned int reached = 1;

    if ((page->mark & ~MARK_SHARED) == model)
        return 0;
    page->mark = (uint8_t)(model | (page->mark ? MARK_SHARED : 0));
    for (unsigned int i = 0; i < TABLE_ENTRIES; i++) {
        struct shadow_page *child = shadow_child(s, page, table[i]);

        if (child)
            reached += count_tables(s, child, model);
    }
    return reached;
}

unsigned int shadow_count_cpu(struct shadow *s, const struct shadow_cpu *cpu, unsigned int model)
{
    unsigned int reached = count_tables(s, cpu->pae_root, model);

    if (cpu->root && cpu->root != cpu->pae_root)
        reached += count_tables(s, cpu->root, model);
    return reached;
}

void shadow_count(const struct shadow *s, struct shadow_stats *stats)
{
    *stats = (struct shadow_stats){.capacity = s->count,
                                   .pages = s->count - s->unused_count - s->limbo_count,
                                   .peak = s->peak,
                                   .tracked = s->tracked,
                                   .fills = s->fills,
                                   .evictions = s->evictions};
    for (unsigned int i = 0; i < s->fresh; i++) {
        const struct shadow_page *page = &s->pages[i];

        stats->shared += (page->mark & MARK_SHARED) != 0;
        stats->unsynced += page->live && !page->role.direct && !page->tracked;
    }
}
