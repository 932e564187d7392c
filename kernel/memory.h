/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef LATCH_KERNEL_MEMORY_H
#define LATCH_KERNEL_MEMORY_H
/*
 * Latch's own memory: a pool of pages at the top of RAM below 4 GiB, and the map of physical
 * memory. Every page has one mapping only: the image at its link address, all else in the
 * physical map, writable or read-only, never executable.
 */
#include "mmu/address.h"
#include <stddef.h>

#define PHYSMAP_BASE 0xffff800000000000UL

/* A zeroed page from the pool; -ENOMEM when it is dry. Any CPU. */
int memory_alloc_page(hpa_t *page);
/* `count` physically contiguous zeroed pages. */
int memory_alloc_pages(unsigned int count, hpa_t *first);
/* Give a page back; it must come from memory_alloc_page(). */
void memory_free_page(hpa_t page);
/* Pages in the pool in all, and how many are free. */
void memory_count(unsigned int *total, unsigned int *unused);

/* The pointer at which Latch sees physical memory: RAM and pages of the pool always, other
 * addresses only after memory_map_mmio(). */
static inline void *memory_at(hpa_t address)
{
    return (void *)(PHYSMAP_BASE + address.raw);
}
/* The physical address of a pointer into the physical map or into the image. */
hpa_t memory_address_of(const void *pointer);
/* Map `size` bytes of device memory uncached; -ENOMEM. */
int memory_map_mmio(hpa_t address, size_t size, volatile void **pointer);
/* Make pool pages read-only for Latch on all CPUs; for ever or, with `writable`, back again. */
int memory_protect(hpa_t first, unsigned int pages, bool writable);

#endif
