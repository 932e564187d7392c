/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef LATCH_MMU_SHADOW_SYNC_H
#define LATCH_MMU_SHADOW_SYNC_H
/* How shadow pages follow the guest's tables. Inside of the shadow tables' own files only. */
#include "mmu/shadow_pool.h"

/* The guest's entry behind one of ours, in one read: 0, which maps nothing, if there is none. */
uint64_t shadow_guest_entry(const struct shadow *s, const struct shadow_page *page,
                            unsigned int index);

/* The guest's table behind one of ours if it is RAM, else NULL; and an entry in it. */
const void *shadow_guest_table(const struct shadow *s, const struct shadow_page *page);
static inline uint64_t shadow_entry_in(const void *table, const struct shadow_page *page,
                                       unsigned int index)
{
    uint64_t place = shadow_guest_place(&page->rules, gfn(0), index).raw;
    const void *entry = (const char *)table + place;

    return page->rules.size == 8 ? *(const volatile uint64_t *)entry
                                 : *(const volatile uint32_t *)entry;
}

/* What one entry is to be, from a guest's entry that was read once: as shadow_derive(), with large
 * pages split where Latch's pages are. Of a direct page `entry` does not matter. */
struct shadow_entry shadow_wanted(const struct shadow *s, const struct shadow_page *page,
                                  unsigned int index, uint64_t entry);

/* Whether an entry of `page` is just that. */
bool shadow_matches(const struct shadow *s, const struct shadow_page *page, uint64_t entry,
                    const struct shadow_entry *wanted);

/* Look at one entry anew. True if it was not what it is to be. */
bool shadow_sync_entry(struct shadow *s, struct shadow_page *page, unsigned int index);

/* Look anew at the unsynced pages at and below `top` with news since then, or with global leaves: at
 * all of them, since 0. What was found unchanged often enough becomes a candidate. */
void shadow_sync_below(struct shadow *s, const struct shadow_page *top, uint64_t since);

/* The same for all above leaf tables. */
void shadow_sync_upper(struct shadow *s, const struct shadow_page *top);

/* The same for all below a page that is about to be linked: what it leads to is news. */
void shadow_sync_linked(struct shadow *s, const struct shadow_page *top);

/* The page that an entry of `page` is to link to, with one user more. One that was there is to be
 * looked at with all below before it is used: to link it the guest needs no flush. As shadow_get(). */
struct shadow_page *shadow_get_linked(struct shadow *s, struct shadow_page *page,
                                      const struct shadow_entry *wanted, bool *made);

/* Track the candidates: protects their frames, flushes once, and looks once more. */
void shadow_track_candidates(struct shadow *s);

#endif
