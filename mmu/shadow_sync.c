/* SPDX-License-Identifier: BSD-2-Clause */
#include "mmu/shadow_sync.h"
#include <stddef.h>

#define LEVELS_MAX 5U
/* A look at so many entries counts as one more. */
#define LOOK_ENTRIES 8U

uint64_t shadow_guest_entry(const struct shadow *s, const struct shadow_page *page,
                            unsigned int index)
{
    gpa_t place = shadow_guest_place(&page->rules, page->frame, index);
    uint64_t entry;

    return s->guest->read(s->guest->ctx, place, page->rules.size, &entry) == 0 ? entry : 0;
}

/* Whether a page of ours, or a window, lies in the range: the nested tables would let the guest at it. */
static bool has_tables(const struct shadow *s, gfn_t frame, uint64_t size)
{
    uint64_t first = frame.raw << PAGE_SHIFT;

    return first < s->direct->window_end && s->first.raw < first + size;
}

struct shadow_entry shadow_wanted(const struct shadow *s, const struct shadow_page *page,
                                  unsigned int index, uint64_t entry)
{
    struct shadow_entry wanted = page->role.direct
                                     ? shadow_direct_leaf(page->role, page->frame, index)
                                     : shadow_derive(page->role, &page->rules, index, entry);

    if (wanted.kind != SHADOW_LEAF || !has_tables(s, wanted.frame, level_size(page->role.level)))
        return wanted;
    if (page->role.level == 1)
        return (struct shadow_entry){.kind = SHADOW_NONE};
    return shadow_split(page->role, &wanted);
}

bool shadow_matches(const struct shadow *s, const struct shadow_page *page, uint64_t entry,
                    const struct shadow_entry *wanted)
{
    const struct shadow_page *child;

    switch (wanted->kind) {
    case SHADOW_NONE:
        return entry == 0;
    case SHADOW_LEAF:
        return entry == wanted->bits;
    case SHADOW_TABLE:
        break;
    }
    child = shadow_child(s, page, entry);
    return child && (entry & ~ENTRY_ADDRESS) == wanted->bits &&
           child->frame.raw == wanted->frame.raw && role_equal(child->role, wanted->role);
}

const void *shadow_guest_table(const struct shadow *s, const struct shadow_page *page)
{
    return s->guest->ram(s->guest->ctx, page->frame);
}

static bool sync_entry(struct shadow *s, struct shadow_page *page, unsigned int index,
                       uint64_t guest)
{
    uint64_t *table = shadow_table(s, page);
    struct shadow_entry wanted = shadow_wanted(s, page, index, guest);

    if (shadow_matches(s, page, table[index], &wanted))
        return false;
    shadow_drop(s, page, index);
    if (wanted.kind == SHADOW_LEAF)
        entry_add(s, page, table, index, wanted.bits);
    return true;
}

bool shadow_sync_entry(struct shadow *s, struct shadow_page *page, unsigned int index)
{
    return sync_entry(s, page, index, shadow_guest_entry(s, page, index));
}

/* How many entries there were to look at in `count`. */
static bool sync_page(struct shadow *s, struct shadow_page *page, unsigned int *count)
{
    const uint64_t *table = shadow_table(s, page);
    const void *guest_table = shadow_guest_table(s, page);
    const bool plain = page->role.level == 1;
    bool changed = false;

    *count = 0;
    for (unsigned int i = entry_next(page, table, 0); i < TABLE_ENTRIES;
         i = entry_next(page, table, i + 1U)) {
        uint64_t guest =
            guest_table ? shadow_entry_in(guest_table, page, i) : shadow_guest_entry(s, page, i);
        if (!plain || !shadow_follows(&page->rules, guest, table[i]))
            changed |= sync_entry(s, page, i, guest);
        ++*count;
    }
    return changed;
}

/* Whether a page is `top` or below it, or may be. */
static bool reaches(const struct shadow_page *page, const struct shadow_page *top)
{
    for (unsigned int i = 0; i < LEVELS_MAX && page; i++) {
        if (page == top)
            return true;
        if (page->role.level >= top->role.level)
            return false;
        if (page->many)
            return true;
        page = page->parent;
    }
    return false;
}

/* To look at many entries costs as much as an exit for the write that comes when they are tracked. */
static void look_at(struct shadow *s, struct shadow_page *page)
{
    unsigned int count;

    if (sync_page(s, page, &count))
        page->looks = 0;
    else if (page->looks < page->patience)
        page->looks += (uint8_t)(1U + count / LOOK_ENTRIES);
    if (s->track && page->looks >= page->patience)
        link_move(&page->sync, &s->candidates);
}

/* Of one list; `linked`: what they have is news. */
static void look_below(struct shadow *s, struct shadow_link *list, const struct shadow_page *top,
                       uint64_t since, bool linked)
{
    struct shadow_link *next;

    for (struct shadow_link *link = list->next; link != list; link = next) {
        struct shadow_page *page = page_of_sync(link);

        next = link->next;
        if ((page->news < since && !page->global) || !reaches(page, top))
            continue;
        if (linked)
            page->news = s->clock;
        look_at(s, page);
    }
}

/* Upper tables first: what they lose need not be looked at. */
void shadow_sync_below(struct shadow *s, const struct shadow_page *top, uint64_t since)
{
    for (unsigned int upper = 2; upper-- > 0;)
        if (!link_empty(&s->unsynced[upper]))
            look_below(s, &s->unsynced[upper], top, since, false);
}

void shadow_sync_upper(struct shadow *s, const struct shadow_page *top)
{
    look_below(s, &s->unsynced[1], top, 0, false);
}

void shadow_sync_linked(struct shadow *s, const struct shadow_page *top)
{
    look_below(s, &s->unsynced[1], top, 0, true);
    look_below(s, &s->unsynced[0], top, 0, true);
}

/* A page for a large leaf's part: never changes, so it is filled at once. */
static void fill_direct(struct shadow *s, struct shadow_page *page)
{
    uint64_t *table = shadow_table(s, page);

    for (unsigned int i = 0; i < TABLE_ENTRIES; i++) {
        struct shadow_entry wanted = shadow_wanted(s, page, i, 0);

        if (wanted.kind == SHADOW_LEAF)
            entry_add(s, page, table, i, wanted.bits);
    }
}

struct shadow_page *shadow_get_linked(struct shadow *s, struct shadow_page *page,
                                      const struct shadow_entry *wanted, bool *made)
{
    struct shadow_page *child = shadow_get(s, wanted->frame, wanted->role, made);

    if (!child)
        return NULL;
    child->many |= child->users > 1 && child->parent != page;
    child->parent = page;
    if (*made && wanted->role.direct)
        fill_direct(s, child);
    return child;
}

/* All pages of a frame, which is read-only now, follow it from here on. */
static void track_frame(struct shadow *s, gfn_t frame)
{
    unsigned int count;

    for (struct shadow_page *page = shadow_of_frame(s, frame); page;
         page = shadow_next_of_frame(page)) {
        shadow_set_tracked(s, page);
        (void)sync_page(s, page, &count);
    }
}

void shadow_track_candidates(struct shadow *s)
{
    const struct shadow_link *list = &s->candidates;

    if (link_empty(list))
        return;
    for (struct shadow_link *link = list->next; link != list; link = link->next)
        direct_protect(s->direct, page_of_sync(link)->frame, false);
    s->env->flush(s->env->ctx);
    while (!link_empty(list))
        track_frame(s, page_of_sync(list->next)->frame);
}
