/* SPDX-License-Identifier: BSD-2-Clause */
#include "mmu/guest_page.h"
#include <errno.h>
#include <string.h>

void guest_page_cache_init(struct guest_page_cache *cache, uint32_t size)
{
    *cache = (struct guest_page_cache){.size = size};
}

/* Both pointers, or nothing. */
static bool resolve(struct guest_page_cache *cache, const struct guest_pages *pages)
{
    bool crosses = guest_page_crosses(cache->offset, cache->size);

    cache->page[0] = pages->map(pages->ctx, cache->frame[0]);
    cache->page[1] = crosses ? pages->map(pages->ctx, cache->frame[1]) : NULL;
    cache->generation = pages->generation;
    return cache->page[0] && (!crosses || cache->page[1]);
}

int guest_page_cache_set(struct guest_page_cache *cache, const struct guest_pages *pages,
                         gfn_t first, gfn_t second, uint32_t offset)
{
    struct guest_page_cache wanted = {
        .size = cache->size, .offset = offset, .set = true, .frame = {first, second}};

    if (!resolve(&wanted, pages))
        return -EFAULT;
    *cache = wanted;
    return 0;
}

void guest_page_cache_drop(struct guest_page_cache *cache)
{
    guest_page_cache_init(cache, cache->size);
}

bool guest_page_cache_refresh(struct guest_page_cache *cache, const struct guest_pages *pages)
{
    if (cache->set && cache->generation != pages->generation && !resolve(cache, pages))
        guest_page_cache_drop(cache);
    return cache->set;
}

/* Where byte `at` is, and how many follow it in the same page, at most *length. */
static uint8_t *place(const struct guest_page_cache *cache, uint32_t at, uint32_t *length)
{
    uint32_t offset = cache->offset + at;
    uint32_t in_page = offset & (uint32_t)PAGE_OFFSET_MASK;

    if (*length > PAGE_SIZE - in_page)
        *length = (uint32_t)PAGE_SIZE - in_page;
    return cache->page[offset >> PAGE_SHIFT] + in_page;
}

/* The guest reads it at the same time, so that what can be one access is one. */
static void copy(void *to, const void *from, uint32_t length)
{
    bool aligned = (((uintptr_t)to | (uintptr_t)from) & (length - 1U)) == 0;

    if (length == sizeof(uint64_t) && aligned)
        *(volatile uint64_t *)to = *(const volatile uint64_t *)from;
    else if (length == sizeof(uint32_t) && aligned)
        *(volatile uint32_t *)to = *(const volatile uint32_t *)from;
    else
        memcpy(to, from, length);
}

void guest_page_cache_write(struct guest_page_cache *cache, uint32_t at, const void *data,
                            uint32_t length)
{
    for (const uint8_t *from = data; length != 0;) {
        uint32_t part = length;
        uint8_t *to = place(cache, at, &part);

        copy(to, from, part);
        from += part;
        at += part;
        length -= part;
    }
}

void guest_page_cache_read(const struct guest_page_cache *cache, uint32_t at, void *data,
                           uint32_t length)
{
    for (uint8_t *to = data; length != 0;) {
        uint32_t part = length;
        const uint8_t *from = place(cache, at, &part);

        copy(to, from, part);
        to += part;
        at += part;
        length -= part;
    }
}
