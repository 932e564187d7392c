/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef LATCH_MMU_ENCRYPTION_H
#define LATCH_MMU_ENCRYPTION_H
/*
 * Which memory the CPU encrypts, where firmware has turned AMD's SME on (APM vol. 2 §7.10).
 *
 * What was written through an entry with the C-bit reads as garbage through one without it, and the
 * other way; that goes for the CPU's own walks too. So the C-bit of a page follows from its
 * host-physical address alone, and every table that Latch builds, and every register that takes an
 * address, asks encryption_bit():
 *
 *   Latch's own memory  encrypted: image, modules, stacks, tables of each kind, control structures.
 *                       The loader leaves all memory unencrypted, so what moves to the top of RAM
 *                       is read without the C-bit and written with it.
 *   the guest's memory  not encrypted: no IOMMU is used, and a device has the address that its
 *                       driver gave it, without a C-bit
 *   everything else     not encrypted: devices must not be (§7.10), and firmware wrote the rest
 *
 * Shadow tables hold guest-physical addresses and therefore no C-bit of the host's: nested paging
 * takes it for an address bit there, as SEV is never on, and guest-physical addresses keep their
 * whole width (§15.34.6). The pages that they lie in are Latch's; the nested tables have the bit.
 */
#include "mmu/address.h"

struct encryption {
    uint64_t cbit;       /* the bit in entries and registers; 0: memory is not encrypted */
    uint64_t start, end; /* the memory that is, in whole pages */
    unsigned int width;  /* bits of a host-physical address meanwhile */
};

/*
 * From MAXPHYADDR, the C-bit's position and the address-width reduction (CPUID 80000008H:EAX[7:0],
 * 8000001FH:EBX[5:0] and [11:6]), with no memory encrypted yet. -EINVAL, and nothing ever is, if
 * the C-bit would be a bit of addresses, or the width below 32.
 */
int encryption_init(struct encryption *e, unsigned int maxphyaddr, unsigned int cbit,
                    unsigned int reduction);

/* The C-bit, or 0, for an entry or a register that leads to this page; `e` may be NULL: 0. */
static inline uint64_t encryption_bit(const struct encryption *e, hpa_t page)
{
    return e && page.raw >= e->start && page.raw < e->end ? e->cbit : 0;
}

/* Whether one entry can map all of it. */
static inline bool encryption_uniform(const struct encryption *e, hpa_t first, uint64_t size)
{
    const uint64_t last = first.raw + size - 1U;

    return !e || e->cbit == 0 || last < e->start || first.raw >= e->end ||
           (first.raw >= e->start && last < e->end);
}

/* Where host-physical addresses end: what is there or beyond has no entry. */
static inline uint64_t encryption_reach(const struct encryption *e)
{
    return 1UL << (e && e->cbit != 0 ? e->width : 52U);
}

/* Give page directories that map the lowest memory by 2 MiB the C-bit for all that is encrypted,
 * which must begin and end at such a page. */
void encryption_mark(const struct encryption *e, uint64_t *directories);

#endif
