/* SPDX-License-Identifier: BSD-2-Clause */
/* Trips to the other modes: their page tables, and the area below 1 MiB that modes.asm works in. */
#include "tests/guest/lib/runtime.h"

#include <string.h>

#define PAGE_LEAF  0x87U /* present, writable, user, large */
#define PAGE_TABLE 0x07U /* present, writable, user */
#define PDPTE      0x01U

/* The beginning of modes_blob. */
struct area {
    uint32_t mode, port, hypercall, cr3, cr4, long_mode;
    struct trip found;
};
_Static_assert(sizeof(struct trip) == 36, "modes.asm counts on it");

extern uint8_t modes_blob[], modes_entry[], modes_blob_end[];

static uint32_t directory_4k[1024] __attribute__((aligned(4096)));
static uint32_t table_4k[1024] __attribute__((aligned(4096)));
static uint32_t directory_4m[1024] __attribute__((aligned(4096)));
static uint64_t pdpt[4] __attribute__((aligned(32)));
static uint64_t pml5[512] __attribute__((aligned(4096)));

static const char *const names[TRIP_MODES] = {
    [TRIP_REAL] = "real",
    [TRIP_PROTECTED16] = "protected-16",
    [TRIP_PROTECTED32] = "protected-32",
    [TRIP_PAGE_4K] = "paging-32-4k",
    [TRIP_PAGE_4M] = "paging-32-4m",
    [TRIP_PAE] = "paging-pae",
    [TRIP_COMPATIBILITY] = "compatibility",
    [TRIP_LONG] = "long",
    [TRIP_LONG5] = "long-5-level",
};

const char *trip_name(enum trip_mode mode)
{
    return names[mode];
}

static void fill_tables(void)
{
    for (uint32_t i = 0; i < 1024; i++) {
        table_4k[i] = i << 12 | PAGE_TABLE;
        directory_4m[i] = i << 22 | PAGE_LEAF;
    }
    directory_4k[0] = (uint32_t)(uint64_t)table_4k | PAGE_TABLE;
    for (unsigned int i = 0; i < 4; i++)
        pdpt[i] = (uint64_t)&long_directories[512UL * i] | PDPTE;
    pml5[0] = (uint64_t)long_pml4 | PAGE_TABLE;
}

static void choose_paging(struct area *area, enum trip_mode mode)
{
    uint64_t cr4 = read_cr4() & ~(CR4_PAE | CR4_PSE | CR4_LA57);
    const void *root = NULL;
    if (mode == TRIP_PAGE_4K)
        root = directory_4k;
    if (mode == TRIP_PAGE_4M) {
        root = directory_4m;
        cr4 |= CR4_PSE;
    }
    if (mode == TRIP_PAE) {
        root = pdpt;
        cr4 |= CR4_PAE;
    }
    if (mode == TRIP_LONG5) {
        root = pml5;
        cr4 |= CR4_PAE | CR4_LA57;
    }
    area->cr3 = (uint32_t)(uint64_t)root;
    area->cr4 = (uint32_t)cr4;
    area->long_mode = mode == TRIP_LONG5;
}

void trip(enum trip_mode mode, uint16_t port, bool hypercall, struct trip *found)
{
    size_t size = (size_t)(modes_blob_end - modes_blob);
    memcpy((void *)MODES_BASE, modes_blob, size);
    struct area *area = (void *)MODES_BASE;
    area->mode = mode;
    area->port = port;
    area->hypercall = !hypercall ? 0 : vendor_is_amd() ? 2 : 1;
    fill_tables();
    choose_paging(area, mode);
    uint64_t entry = MODES_BASE + (size_t)(modes_entry - modes_blob);
    ((void (*)(void))entry)();
    processor_load_gdt();
    *found = area->found;
}

bool has_la57(void)
{
    uint32_t a, b, c, d;
    cpuid_raw(0, 0, &a, &b, &c, &d);
    if (a < 7)
        return false;
    cpuid_raw(7, 0, &a, &b, &c, &d);
    return c >> 16 & 1U;
}
