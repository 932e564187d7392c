/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef LATCH_TESTS_UNIT_LOAD_MACHINE_H
#define LATCH_TESTS_UNIT_LOAD_MACHINE_H
/* A guest machine of 64 MiB for the loaders' tests and fuzzer, and images to load into it. */
#include "kernel/bytes.h"
#include "kernel/load.h"
#include "kernel/memory_map.h"
#include <stdlib.h>

#define MACHINE_SIZE (64UL << 20)
#define LATCH_START  (60UL << 20)
#define LATCH_END    (62UL << 20)

static uint8_t *machine;
static struct memory_map machine_map;
static struct guest_target target;
static struct guest_images images;
static struct guest_entry entry;
static struct refusal why;
static uint8_t machine_rsdp[20];

static void *machine_memory(void *context, uint64_t address, size_t length)
{
    (void)context;
    return length <= MACHINE_SIZE && address <= MACHINE_SIZE - length ? machine + address : NULL;
}

/* RAM full of rubbish, as after another system, and no images. */
static inline void make_machine(void)
{
    if (machine == NULL) {
        machine = malloc(MACHINE_SIZE);
    }
    memset(machine, 0xa5, 1 << 20);
    machine_map.count = 0;
    memory_map_add(&machine_map, 0, 0x9fc00, MEMORY_RAM);
    memory_map_add(&machine_map, 0x9fc00, 0xa0000, MEMORY_RESERVED);
    memory_map_add(&machine_map, 0xf0000, 0x100000, MEMORY_RESERVED);
    memory_map_add(&machine_map, 0x100000, MACHINE_SIZE, MEMORY_RAM);
    memory_map_set(&machine_map, LATCH_START, LATCH_END, MEMORY_RESERVED);
    memset(machine_rsdp, 0x5c, sizeof machine_rsdp);
    images = (struct guest_images){.module_count = 0};
    target = (struct guest_target){
        .map = &machine_map,
        .latch_start = LATCH_START,
        .latch_end = LATCH_END,
        .memory = machine_memory,
        .rsdp = machine_rsdp,
        .rsdp_size = sizeof machine_rsdp,
    };
}

#endif
