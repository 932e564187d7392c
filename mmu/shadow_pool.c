/* SPDX-License-Identifier: BSD-2-Clause */
#include "mmu/shadow_pool.h"
#include <stddef.h>
#include <string.h>

#define PATIENCE 2U

static struct shadow_page **bucket_of(struct shadow *s, gfn_t frame)
{
    return &s->bucket[frame.raw * 0x9e3779b97f4a7c15UL >> 52];
}

_Static_assert(SHADOW_BUCKETS == 1U << 12, "bucket_of() takes the top 12 bits");

void pool_clear(struct shadow *s)
{
    struct shadow_link *lists[] = {&s->unused,      &s->limbo,      &s->dead,
                                   &s->orphans,     &s->inactive,   &s->unsynced[0],
                                   &s->unsynced[1], &s->candidates, &s->tracked_pages};

    for (size_t i = 0; i < sizeof(lists) / sizeof(lists[0]); i++)
        link_init(lists[i]);
    memset(s->bucket, 0, sizeof(s->bucket));
    s->fresh = s->kept;
    s->unused_count = s->count - s->kept;
    s->limbo_count = s->tracked = 0;
}

struct shadow_page *pool_take(struct shadow *s)
{
    struct shadow_page *page = page_of_idle(s->unused.next);

    if (!link_empty(&s->unused)) {
        link_remove(&page->idle);
    } else if (s->fresh < s->count) {
        page = &s->pages[s->fresh++];
        *page = (struct shadow_page){.users = 0};
        link_init(&page->sync);
        link_init(&page->idle);
        link_init(&page->stale);
    } else {
        return NULL;
    }
    s->unused_count--;
    return page;
}

hpa_t shadow_address(const struct shadow *s, const struct shadow_page *page)
{
    return hpa(s->first.raw + (uint64_t)(page - s->pages) * PAGE_SIZE);
}

uint64_t *shadow_table(const struct shadow *s, const struct shadow_page *page)
{
    return (uint64_t *)(s->tables + (uint64_t)(page - s->pages) * PAGE_SIZE);
}

struct shadow_page *shadow_child(const struct shadow *s, const struct shadow_page *page,
                                 uint64_t entry)
{
    uint64_t offset = (entry & ENTRY_ADDRESS) - s->first.raw;
    struct shadow_page *child;

    if (page->role.level < 2 || !(entry & SHADOW_PRESENT) || (entry & SHADOW_LARGE) ||
        offset / PAGE_SIZE >= s->fresh)
        return NULL;
    child = &s->pages[offset / PAGE_SIZE];
    return child->live && child->role.level + 1U == page->role.level ? child : NULL;
}

static struct shadow_page *of_frame(struct shadow_page *page, gfn_t frame)
{
    while (page && (page->frame.raw != frame.raw || page->role.direct))
        page = page->next;
    return page;
}

struct shadow_page *shadow_of_frame(const struct shadow *s, gfn_t frame)
{
    return of_frame(*bucket_of((struct shadow *)s, frame), frame);
}

struct shadow_page *shadow_next_of_frame(struct shadow_page *page)
{
    return of_frame(page->next, page->frame);
}

static struct shadow_page *find(struct shadow *s, gfn_t frame, union page_role role)
{
    struct shadow_page *page = *bucket_of(s, frame);

    while (page && (page->frame.raw != frame.raw || !role_equal(page->role, role)))
        page = page->next;
    return page;
}

struct shadow_page *shadow_top(struct shadow_page *page)
{
    while (!page->many && page->parent)
        page = page->parent;
    return page->many ? NULL : page;
}

static struct shadow_link *unsynced_list(struct shadow *s, const struct shadow_page *page)
{
    return &s->unsynced[page->role.level > 1];
}

void shadow_set_unsynced(struct shadow *s, struct shadow_page *page)
{
    struct shadow_page *top = shadow_top(page);

    s->tracked -= page->tracked;
    page->tracked = false;
    page->looks = 0;
    page->news = s->clock;
    link_move(&page->sync, top && top->users == 0 ? &top->stale : unsynced_list(s, page));
}

/* A page without users gets one: what is unsynced below it counts again. */
static void refresh(struct shadow *s, struct shadow_page *page)
{
    while (!link_empty(&page->stale)) {
        struct shadow_link *link = page->stale.next;

        link_move(link, unsynced_list(s, page_of_sync(link)));
    }
}

/* A root that no vCPU uses takes what is unsynced below it along, so that loads of others need not
 * pass over it. */
static void take_along(struct shadow *s, struct shadow_page *root)
{
    for (unsigned int upper = 0; upper < 2; upper++) {
        struct shadow_link *list = &s->unsynced[upper], *next;

        for (struct shadow_link *link = list->next; link != list; link = next) {
            next = link->next;
            if (shadow_top(page_of_sync(link)) == root)
                link_move(link, &root->stale);
        }
    }
}

void shadow_set_tracked(struct shadow *s, struct shadow_page *page)
{
    s->tracked += !page->tracked;
    page->tracked = true;
    link_move(&page->sync, &s->tracked_pages);
}

static struct shadow_page *make(struct shadow *s, gfn_t frame, union page_role role)
{
    struct shadow_page **bucket = bucket_of(s, frame);
    struct shadow_page *relative = shadow_of_frame(s, frame);
    struct shadow_page *page = pool_take(s);
    unsigned int used;

    if (!page)
        return NULL;
    used = s->count - s->unused_count - s->limbo_count;
    if (used > s->peak)
        s->peak = used;
    memset(shadow_table(s, page), 0, PAGE_SIZE);
    page->frame = frame;
    page->role = role;
    if (!role.direct)
        page->rules = shadow_rules(role);
    page->parent = NULL;
    page->users = 0;
    page->patience = PATIENCE;
    page->looks = page->used = page->mark = 0;
    page->live = true;
    page->many = page->tracked = page->global = false;
    page->next = *bucket;
    *bucket = page;
    if (relative && relative->tracked && !role.direct)
        shadow_set_tracked(s, page);
    else if (!role.direct)
        link_move(&page->sync, unsynced_list(s, page));
    return page;
}

struct shadow_page *shadow_get(struct shadow *s, gfn_t frame, union page_role role, bool *made)
{
    struct shadow_page *page = find(s, frame, role);
    struct shadow_page *top = page ? shadow_top(page) : NULL;

    *made = !page;
    if (top)
        refresh(s, top);
    if (!page)
        page = make(s, frame, role);
    if (!page)
        return NULL;
    link_remove(&page->idle);
    page->users++;
    return page;
}

static void lose_user(struct shadow_page *page, struct shadow_link *list)
{
    if (--page->users != 0)
        return;
    page->parent = NULL;
    page->many = false;
    link_move(&page->idle, list);
}

void shadow_put(struct shadow *s, struct shadow_page *page)
{
    lose_user(page, &s->dead);
}

void shadow_put_root(struct shadow *s, struct shadow_page *page)
{
    lose_user(page, &s->inactive);
    if (page->users == 0)
        take_along(s, page);
}

void shadow_drop(struct shadow *s, struct shadow_page *page, unsigned int index)
{
    uint64_t *place = &shadow_table(s, page)[index];
    struct shadow_page *child = shadow_child(s, page, *place);

    if (*place == 0)
        return;
    entry_write(place, 0);
    s->unlinked += page->role.level > 1;
    if (child)
        shadow_put(s, child);
}

static void drop_all(struct shadow *s, struct shadow_page *page)
{
    const uint64_t *table = shadow_table(s, page);

    for (unsigned int i = entry_next(page, table, 0); i < TABLE_ENTRIES;
         i = entry_next(page, table, i + 1U))
        shadow_drop(s, page, i);
}

/* A page without users goes to limbo: CPUs may still walk it. */
void shadow_free(struct shadow *s, struct shadow_page *page)
{
    struct shadow_page **link = bucket_of(s, page->frame);

    if (page->role.level > 1)
        drop_all(s, page);
    while (*link != page)
        link = &(*link)->next;
    *link = page->next;
    link_remove(&page->sync);
    refresh(s, page);
    if (page->tracked) {
        s->tracked--;
        if (!shadow_of_frame(s, page->frame))
            direct_protect(s->direct, page->frame, true);
    }
    page->live = page->tracked = false;
    link_move(&page->idle, &s->limbo);
    s->limbo_count++;
}

void shadow_reap(struct shadow *s)
{
    while (!link_empty(&s->dead)) {
        struct shadow_page *page = page_of_idle(s->dead.next);

        if (page->tracked && page->role.level == 1)
            link_move(&page->idle, &s->orphans);
        else
            shadow_free(s, page);
    }
}

static void end_limbo(struct shadow *s)
{
    if (link_empty(&s->limbo))
        return;
    s->env->flush(s->env->ctx);
    while (!link_empty(&s->limbo))
        link_move(s->limbo.next, &s->unused);
    s->unused_count += s->limbo_count;
    s->limbo_count = 0;
}

/* Free what is in a list, oldest first, until so many pages are free. */
static void evict(struct shadow *s, struct shadow_link *list, unsigned int pages)
{
    while (s->unused_count + s->limbo_count < pages && !link_empty(list)) {
        shadow_free(s, page_of_idle(list->next));
        s->evictions++;
        shadow_reap(s);
    }
}

/* Drop all that vCPUs use now, but what their CR3 and PDPTEs point to. */
static void drop_active(struct shadow *s)
{
    for (struct shadow_cpu *cpu = s->cpus; cpu; cpu = cpu->next) {
        if (cpu->root && cpu->root != cpu->pae_root)
            drop_all(s, cpu->root);
        for (unsigned int i = 0; cpu->root == cpu->pae_root && cpu->root && i < 4; i++) {
            struct shadow_page *page = shadow_child(s, cpu->root, cpu->pdpte[i]);

            if (page)
                drop_all(s, page);
        }
    }
    s->evictions++;
    shadow_reap(s);
}

void shadow_reserve(struct shadow *s, unsigned int pages)
{
    unsigned int batch = pages + s->count / 32U;

    if (s->unused_count >= pages)
        return;
    /* More than asked for, as the flush costs the same. */
    evict(s, &s->orphans, batch);
    evict(s, &s->inactive, batch);
    evict(s, &s->orphans, batch);
    if (s->unused_count + s->limbo_count < pages) {
        drop_active(s);
        evict(s, &s->orphans, batch);
    }
    end_limbo(s);
}
