/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef LATCH_KERNEL_MEMORY_H
#define LATCH_KERNEL_MEMORY_H
/*
 * Latch's own memory: a pool of pages at the top of RAM below 4 GiB, and the map of physical
 * memory. Every page has one mapping only: the image at its link address, all else in the physical
 * map, writable or read-only, never executable; where the CPU has memory encryption on, with the
 * C-bit if it is Latch's own (mmu/encryption.h).
 */
#include "mmu/encryption.h"
#include "mmu/table.h"
#include <stddef.h>

#ifndef PHYSMAP_BASE /* unit tests have one that a process can map */
#define PHYSMAP_BASE 0xffff800000000000UL
#endif

/* Where Latch lives: [start, end) is its own, the guest's never. Constant after memory_place(), and
 * after memory_release_shadow(). */
struct latch_range {
    uint64_t start, end;
    uint64_t home;  /* where the image is copied to; from `start` to here are the shadow tables */
    uint64_t image; /* physical address of the image's first byte */
    uint64_t pool;  /* of the pool's; it ends at `end` */
};
extern struct latch_range latch_range;

/* What is encrypted: set before memory_place(), which gives it Latch's range; constant as that is. */
extern struct encryption memory_encryption;

struct boot_info;
struct refusal;
/*
 * Find room for the shadow tables' `shadow_mib` MiB (made even, or 0), the image, the modules and
 * `pool_mib` MiB of pool at the top of RAM below 4 GiB;
 * copy the modules there (info->module is changed accordingly) and start the pool. The image
 * itself is copied last, by memory_move(). -ENOMEM with the reason; -ENOTSUP if RAM lies where
 * encryption leaves no addresses.
 */
int memory_place(struct boot_info *info, unsigned int shadow_mib, unsigned int pool_mib,
                 struct refusal *why);
/* No shadow tables are needed: leave their pages to the guest. Before its memory map is made.
 * -ENOMEM. */
int memory_release_shadow(void);
/* Build Latch's own page tables; info->map says what RAM there is. -ENOMEM. */
int memory_build_tables(const struct boot_info *info);
/* Copy the image to its place, load the new tables, and go on in go() on the boot processor's
 * stack. */
_Noreturn void memory_move(void (*go)(void));
/* A stack of the CPU's own with a guard page below it; its top, or 0 without memory. `cpu` and
 * `which` (0 main, 1 NMI, 2 #DF, 3 #MC) say where it is mapped. */
uint64_t memory_stack(unsigned int cpu, unsigned int which);
/* Map a page at its own physical address, executable, for application processors to start in; and
 * take it away again. */
int memory_map_trampoline(hpa_t page);
void memory_unmap_trampoline(hpa_t page);
/* 0, or -EPERM and the address of a page that is both writable and executable. Also counts the
 * leaves that Latch maps. */
int memory_check_wx(uint64_t *bad, unsigned int *leaves);
/* 0, or -EPERM and the address of a page by which one of those frames can be written to. */
int memory_check_read_only(const struct table_frames *frames, unsigned int count, uint64_t *bad);
/* CR3 for Latch's own tables; and a copy of their root, to be read without the C-bit, for a CPU
 * whose CR3 has 32 bits yet. */
uint64_t memory_cr3(void);
void memory_copy_root(hpa_t to);
/* Turn on what protects Latch from itself on this CPU: NX, WP, SMEP, SMAP, UMIP, #MC. */
void memory_protect_cpu(void);

/* A zeroed page from the pool; -ENOMEM when it is dry. Any CPU. */
int memory_alloc_page(hpa_t *page);
/* `count` physically contiguous zeroed pages. */
int memory_alloc_pages(unsigned int count, hpa_t *first);
/* The pool as a struct mmu_env wants it; the context is not used. */
int memory_env_alloc(void *ctx, hpa_t *page);
void memory_env_free(void *ctx, hpa_t page);
void *memory_env_map(void *ctx, hpa_t page);
/* Give a page back; it must come from memory_alloc_page(). */
void memory_free_page(hpa_t page);
/* Pages in the pool in all, and how many are free. */
void memory_count(unsigned int *total, unsigned int *unused);

/* What CR3, a VMCB or an MSR takes for the address of a page of Latch's own. */
static inline uint64_t memory_register(hpa_t page)
{
    return page.raw | encryption_bit(&memory_encryption, page);
}
/* The pointer at which Latch sees physical memory: RAM and pages of the pool always, other
 * addresses only after memory_map_mmio(). */
static inline void *memory_at(hpa_t address)
{
    return (void *)(PHYSMAP_BASE + address.raw);
}
/* The physical address of a pointer into the physical map or into the image. */
hpa_t memory_address_of(const void *pointer);
/* Firmware's tables, made readable if they are not; NULL if they cannot be. As struct acpi_memory
 * wants it; the context is not used. */
const void *memory_firmware(void *ctx, uint64_t address, size_t size);
/* Map `size` bytes of device memory uncached; -ENOMEM; -EINVAL for what is Latch's own, or beyond the
 * physical map: the address may be firmware's. */
int memory_map_mmio(hpa_t address, size_t size, volatile void **pointer);
/* Make pool pages read-only for Latch on all CPUs; for ever or, with `writable`, back again. */
int memory_protect(hpa_t first, unsigned int pages, bool writable);

#endif
