/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef LATCH_MMU_GUEST_PAGE_H
#define LATCH_MMU_GUEST_PAGE_H
/*
 * A guest-page cache: a stretch of guest memory that Latch writes again and again, resolved once.
 * Its length is fixed when it is made and no caller can change it later, so that what was checked
 * when it was set is what is written. It may cross one page boundary; the two frames need not
 * follow each other.
 *
 * Locking: one cache is one vCPU's, or its users share a lock.
 */
#include "mmu/address.h"
#include <stddef.h>

/* Where guest frames lie. */
struct guest_pages {
    void *ctx;
    /* The pointer to a whole frame of the guest's RAM, NULL for anything else. */
    void *(*map)(void *ctx, gfn_t frame);
    /* Changes whenever map() may answer differently: the memory map changed, or a relaunch. */
    uint64_t generation;
};

#define GUEST_PAGE_PARTS 2U

struct guest_page_cache {
    uint32_t size;   /* constant from guest_page_cache_init() on */
    uint32_t offset; /* of the first byte in frame[0] */
    bool set;
    uint64_t generation;
    gfn_t frame[GUEST_PAGE_PARTS];
    uint8_t *page[GUEST_PAGE_PARTS]; /* the second is NULL where one page holds it all */
};

/* A cache for `size` bytes, 1 to PAGE_SIZE, that is not set. */
void guest_page_cache_init(struct guest_page_cache *cache, uint32_t size);

/* True if `size` bytes at this offset of a page reach into the next. */
static inline bool guest_page_crosses(uint32_t offset, uint32_t size)
{
    return offset + size > PAGE_SIZE;
}

/*
 * Set it to the bytes from `offset` of `first` on, which go on in `second` where they cross. -EFAULT
 * with the cache as it was: one of the frames is not RAM of the guest's.
 */
int guest_page_cache_set(struct guest_page_cache *cache, const struct guest_pages *pages,
                         gfn_t first, gfn_t second, uint32_t offset);

/* No longer set. */
void guest_page_cache_drop(struct guest_page_cache *cache);

/* Resolve it again if the generation has changed. False if it is not set, or is not any more
 * because its memory is gone. Before each read or write. */
bool guest_page_cache_refresh(struct guest_page_cache *cache, const struct guest_pages *pages);

/* Copy to and from a set cache; at + length is at most its size. Naturally aligned 4 and 8 bytes
 * that do not cross are one access. */
void guest_page_cache_write(struct guest_page_cache *cache, uint32_t at, const void *data,
                            uint32_t length);
void guest_page_cache_read(const struct guest_page_cache *cache, uint32_t at, void *data,
                           uint32_t length);

#endif
