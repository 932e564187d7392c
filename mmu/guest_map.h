/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef LATCH_MMU_GUEST_MAP_H
#define LATCH_MMU_GUEST_MAP_H
/*
 * The guest-physical map: which addresses are the guest's, and where they lie in the machine.
 * Sorted ranges that do not overlap; what no range names is absent.
 *
 * Locking: changed and read under the VM's table lock.
 */
#include "mmu/mmu.h"

#define GUEST_RANGES_MAX 32U
/* No address is at or above this: the widest physical address has 52 bits. */
#define GUEST_MAP_END (1UL << 52)

enum guest_kind {
    GUEST_ABSENT,    /* Latch's own, or nothing */
    GUEST_PASS,      /* the guest's, with all rights */
    GUEST_READ_ONLY, /* writes exit: the local APIC's page while its ICR is trapped */
};

struct guest_range {
    uint64_t start, end; /* guest-physical, multiples of 4 KiB, end exclusive */
    hpa_t base;          /* where `start` lies in the machine; 0 if absent */
    enum guest_kind kind;
};

struct guest_map {
    unsigned int count;
    struct guest_range range[GUEST_RANGES_MAX];
};

/* Make all of [start, start + size) of `kind`, at `base` and following, whatever it was. 0; -EINVAL
 * if unaligned, empty or beyond 52 bits; -ENOSPC with the map unchanged. */
int guest_map_set(struct guest_map *map, gpa_t start, uint64_t size, hpa_t base,
                  enum guest_kind kind);

/* The range that holds an address, holes included: start and end are the whole extent to which kind
 * and base go on. An address beyond 52 bits is absent up to the end of the address space. */
struct guest_range guest_map_find(const struct guest_map *map, gpa_t address);

/* The end of the last range that is not absent; 0 for an empty map. */
gpa_t guest_map_end(const struct guest_map *map);

#endif
