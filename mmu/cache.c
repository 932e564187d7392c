/* SPDX-License-Identifier: BSD-2-Clause */
#include "mmu/cache.h"
#include <stddef.h>

/* Multiplying by an odd constant carries low bits up, where the bucket number is taken. */
static struct table_page **bucket_of(struct table_cache *cache, gfn_t frame, union page_role role)
{
    uint64_t key = (frame.raw ^ role.raw << 20 ^ role.raw >> 44) * 0x9e3779b97f4a7c15UL;

    return &cache->bucket[key >> 54];
}

_Static_assert(CACHE_BUCKETS == 1U << 10, "bucket_of() takes the top 10 bits");

void table_cache_init(struct table_cache *cache, const struct mmu_env *env, struct table_page *pool,
                      unsigned int capacity)
{
    *cache = (struct table_cache){.env = env, .pool = pool, .capacity = capacity};
    for (unsigned int i = 0; i < capacity; i++) {
        pool[i] = (struct table_page){.next = cache->unused};
        cache->unused = &pool[i];
    }
}

struct table_page *table_cache_find(struct table_cache *cache, gfn_t frame, union page_role role)
{
    struct table_page *page = *bucket_of(cache, frame, role);

    while (page && !(page->frame.raw == frame.raw && role_equal(page->role, role)))
        page = page->next;
    return page;
}

struct table_page *table_cache_get(struct table_cache *cache, gfn_t frame, union page_role role)
{
    struct table_page *page = table_cache_find(cache, frame, role);
    struct table_page **bucket = bucket_of(cache, frame, role);
    hpa_t memory;

    if (page) {
        page->users++;
        return page;
    }
    page = cache->unused;
    if (!page || cache->env->alloc_page(cache->env->ctx, &memory) != 0)
        return NULL;
    cache->unused = page->next;
    *page = (struct table_page){
        .next = *bucket, .frame = frame, .role = role, .page = memory, .users = 1};
    *bucket = page;
    cache->pages++;
    if (cache->pages > cache->peak)
        cache->peak = cache->pages;
    return page;
}

bool table_cache_put(struct table_cache *cache, struct table_page *page)
{
    struct table_page **link = bucket_of(cache, page->frame, page->role);

    if (--page->users != 0)
        return false;
    while (*link != page)
        link = &(*link)->next;
    *link = page->next;
    cache->env->free_page(cache->env->ctx, page->page);
    page->next = cache->unused;
    cache->unused = page;
    cache->pages--;
    return true;
}
