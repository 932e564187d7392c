/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef LATCH_KERNEL_MEMORY_MAP_H
#define LATCH_KERNEL_MEMORY_MAP_H
/*
 * A physical memory map: ranges sorted by address that neither overlap nor touch with the same
 * type. Addresses that no range names are not memory (devices or nothing).
 */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define MEMORY_RANGES_MAX 128U

/* Numbered as in the multiboot2 memory map and the ACPI specification's E820 table (§15.1). */
enum memory_type {
    MEMORY_RAM = 1,
    MEMORY_RESERVED = 2,
    MEMORY_ACPI_RECLAIM = 3,
    MEMORY_ACPI_NVS = 4,
    MEMORY_BAD = 5,
};

struct memory_range {
    uint64_t start;
    uint64_t end; /* exclusive */
    enum memory_type type;
};

struct memory_map {
    unsigned count;
    struct memory_range range[MEMORY_RANGES_MAX];
};

/*
 * Adds start..end; where it overlaps what is there, the stricter type of the two stays (RAM gives
 * way to ACPI reclaim, that to NVS, that to reserved, that to bad). An empty range adds nothing.
 * Returns 0, or -ENOSPC (map unchanged) when there is no room for another range.
 */
int memory_map_add(struct memory_map *map, uint64_t start, uint64_t end, enum memory_type type);

/* The same, but start..end has `type` afterwards whatever it was. */
int memory_map_set(struct memory_map *map, uint64_t start, uint64_t end, enum memory_type type);

/* Whether all of start..end (not empty) is RAM. */
bool memory_map_is_ram(const struct memory_map *map, uint64_t start, uint64_t end);

/*
 * The lowest or the highest address of `size` bytes (not 0) of RAM between floor and ceiling,
 * aligned to `align` (a power of two). Returns 0 and the address, or -ENOMEM.
 */
int memory_map_find_low(const struct memory_map *map, uint64_t size, uint64_t align, uint64_t floor,
                        uint64_t ceiling, uint64_t *address);
int memory_map_find_high(const struct memory_map *map, uint64_t size, uint64_t align,
                         uint64_t floor, uint64_t ceiling, uint64_t *address);

/* Bytes of RAM in the map. */
uint64_t memory_map_ram_size(const struct memory_map *map);

/* The type's name for a console line, "RAM", "reserved" ... */
const char *memory_type_name(enum memory_type type);

#endif
