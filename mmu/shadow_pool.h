/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef LATCH_MMU_SHADOW_POOL_H
#define LATCH_MMU_SHADOW_POOL_H
/*
 * The pages of struct shadow, and the links between them. Inside of the shadow tables' own files
 * only. Nothing is freed while a call works with pages: a page that loses its last user goes to
 * s->dead, and shadow_reap() at the call's end decides.
 */
#include "mmu/shadow.h"

static inline void link_init(struct shadow_link *link)
{
    link->previous = link->next = link;
}

static inline bool link_empty(const struct shadow_link *link)
{
    return link->next == link;
}

static inline void link_remove(struct shadow_link *link)
{
    link->previous->next = link->next;
    link->next->previous = link->previous;
    link_init(link);
}

/* Take it from the list where it is, if any, to the end of another. */
static inline void link_move(struct shadow_link *link, struct shadow_link *list)
{
    link_remove(link);
    link->previous = list->previous;
    link->next = list;
    list->previous->next = link;
    list->previous = link;
}

static inline struct shadow_page *page_of_sync(struct shadow_link *link)
{
    return (struct shadow_page *)link; /* its first member */
}

static inline struct shadow_page *page_of_idle(struct shadow_link *link)
{
    return (struct shadow_page *)((char *)link - __builtin_offsetof(struct shadow_page, idle));
}

/* All pages new and unused, but those kept for vCPUs; none is looked at before it is taken. */
void pool_clear(struct shadow *s);
/* A page with its links in no list, else unchanged or all 0; NULL if none is unused. */
struct shadow_page *pool_take(struct shadow *s);

/* The table in a page, and its address. */
uint64_t *shadow_table(const struct shadow *s, const struct shadow_page *page);
hpa_t shadow_address(const struct shadow *s, const struct shadow_page *page);

/* Hardware may read entries at any time. */
static inline void entry_write(uint64_t *place, uint64_t entry)
{
    __atomic_store_n(place, entry, __ATOMIC_RELEASE);
}

/* Put in an entry where none was. */
static inline void entry_add(const struct shadow *s, struct shadow_page *page, uint64_t *table,
                             unsigned int index, uint64_t entry)
{
    page->used |= (uint8_t)(1U << index / 64U);
    page->global |= (entry & SHADOW_GLOBAL) != 0;
    page->news = s->clock;
    entry_write(&table[index], entry);
}

/* The next index that may have an entry, from this one on; at the end TABLE_ENTRIES. */
static inline unsigned int entry_next(const struct shadow_page *page, const uint64_t *table,
                                      unsigned int index)
{
    while (index < TABLE_ENTRIES && table[index] == 0)
        index = page->used >> index / 64U & 1U ? index + 1U : (index | 63U) + 1U;
    return index;
}

/* The page that an entry of `page` links to; NULL for a leaf, nothing, or what is no link at all. */
struct shadow_page *shadow_child(const struct shadow *s, const struct shadow_page *page,
                                 uint64_t entry);

/* The first page of a frame that stands for a guest's table, and the one after it; or NULL. */
struct shadow_page *shadow_of_frame(const struct shadow *s, gfn_t frame);
struct shadow_page *shadow_next_of_frame(struct shadow_page *page);

/* The page for (frame, canonical role) with one user more; `made` if it is new, and empty. NULL: no
 * page is left, which shadow_reserve() prevents. */
struct shadow_page *shadow_get(struct shadow *s, gfn_t frame, union page_role role, bool *made);

/* One user less. A vCPU's root stays, with all below, for as long as pages suffice. */
void shadow_put(struct shadow *s, struct shadow_page *page);
void shadow_put_root(struct shadow *s, struct shadow_page *page);

/* Clear an entry, and drop the page that it links to. */
void shadow_drop(struct shadow *s, struct shadow_page *page, unsigned int index);

/* Have the vCPU flush all if a link or a large page was dropped, by whichever vCPU, since it last did: its
 * CPU may hold that still, and a flush of one address leaves what is not on the way to it. */
static inline void shadow_flush_unlinked(const struct shadow *s, struct shadow_cpu *cpu)
{
    cpu->changed |= cpu->unlinked != s->unlinked;
    cpu->unlinked = s->unlinked;
}

/* Unlink and free a page, whoever uses it: none does, or all go. */
void shadow_free(struct shadow *s, struct shadow_page *page);

/* Keep or free what lost its last user. */
void shadow_reap(struct shadow *s);

/* Make room for so many pages, before a call holds any: by what is least missed. Flushes. */
void shadow_reserve(struct shadow *s, unsigned int pages);

/* The page without parent that alone leads to this one; NULL if more than one does. */
struct shadow_page *shadow_top(struct shadow_page *page);

/* Make a page unsynced, or tracked, with no change to the nested tables. */
void shadow_set_unsynced(struct shadow *s, struct shadow_page *page);
void shadow_set_tracked(struct shadow *s, struct shadow_page *page);

#endif
