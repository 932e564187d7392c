/* SPDX-License-Identifier: BSD-2-Clause */
#include "kernel/pristine.h"
#include "cpuid/digest.h"
#include "kernel/console.h"
#include "kernel/memory.h"
#include "kernel/multiboot2.h"
#include <errno.h>
#include <string.h>

#define COPIES          (MEMORY_RANGES_MAX + ACPI_TABLES_MAX)
#define VECTORS_END     0x500UL /* interrupt vectors and the BIOS data area */
#define EBDA_SEGMENT    0x40eUL /* where the BIOS data area says its extension is */
#define EBDA_FIRST      0x80000UL
#define VIDEO           0xa0000UL
#define ACPI_HEADER     36U
#define FADT_FACS       36U
#define FADT_DSDT       40U
#define CLEARED_AT_ONCE 0x10000UL

struct copy {
    uint64_t start, size;
    uint8_t *bytes;
};

static struct copy copies[COPIES];
static unsigned int count;
static uint8_t images[DIGEST_BYTES];

static int keep(uint64_t start, uint64_t size, struct refusal *why)
{
    hpa_t page;
    unsigned int pages = (unsigned int)((size + PAGE_SIZE - 1) / PAGE_SIZE);
    if (size == 0 || memory_firmware(NULL, start, size) == NULL)
        return 0;
    if (count == COPIES)
        return refuse(why, ENOSPC,
                      "relaunch: wanted at most %u pieces of firmware memory, found "
                      "more; use another on-reset=",
                      COPIES);
    if (memory_alloc_pages(pages, &page) != 0)
        return refuse(
            why, ENOMEM,
            "relaunch: wanted %lu KiB for a copy of firmware memory at 0x%lx, found less; "
            "set pool= to more MiB",
            size >> 10, start);
    copies[count] = (struct copy){.start = start, .size = size, .bytes = memory_at(page)};
    memcpy(copies[count].bytes, memory_at(hpa(start)), size);
    count++;
    return 0;
}

static bool kept(uint64_t start)
{
    for (unsigned int i = 0; i < count; i++) {
        if (start >= copies[i].start && start < copies[i].start + copies[i].size)
            return true;
    }
    return false;
}

static int keep_table(uint64_t address, struct refusal *why)
{
    uint32_t size = 0;
    const uint8_t *table =
        address == 0 || kept(address) ? NULL : memory_firmware(NULL, address, ACPI_HEADER);
    if (table != NULL)
        memcpy(&size, table + 4, sizeof(size));
    return size >= 8 && size <= ACPI_TABLE_SIZE_MAX ? keep(address, size, why) : 0;
}

/* The root and all that it names; what the FADT names beside them, old fields only. */
static int keep_tables(const struct acpi_info *acpi, struct refusal *why)
{
    const unsigned int width = acpi->root_is_xsdt ? 8 : 4;
    uint32_t size = 0, facs = 0, dsdt = 0;
    int error = keep_table(acpi->root, why);
    if (error == 0)
        error = keep_table(acpi->rsdt, why);
    const uint8_t *root = memory_firmware(NULL, acpi->root, ACPI_HEADER);
    if (root != NULL)
        memcpy(&size, root + 4, sizeof(size));
    if (size > ACPI_TABLE_SIZE_MAX || memory_firmware(NULL, acpi->root, size) == NULL)
        return error;
    for (uint32_t at = ACPI_HEADER; at + width <= size && error == 0; at += width) {
        uint64_t address = 0;
        memcpy(&address, (const uint8_t *)memory_at(hpa(acpi->root)) + at, width);
        error = keep_table(address, why);
    }
    const uint8_t *fadt = acpi->fadt == 0 ? NULL : memory_firmware(NULL, acpi->fadt, FADT_DSDT + 4);
    if (fadt == NULL || error != 0)
        return error;
    memcpy(&facs, fadt + FADT_FACS, sizeof(facs));
    memcpy(&dsdt, fadt + FADT_DSDT, sizeof(dsdt));
    error = keep_table(facs, why);
    return error != 0 ? error : keep_table(dsdt, why);
}

/* What the memory map gives nobody below the video memory is the guest's to write, too. */
static uint64_t low_ram_end(const struct memory_map *map)
{
    uint64_t end = 0;
    for (unsigned int i = 0; i < map->count; i++) {
        const struct memory_range *range = &map->range[i];
        if (range->type == MEMORY_RAM && range->end <= VIDEO && range->end > end)
            end = range->end;
    }
    return end;
}

static int keep_low(const struct memory_map *map, struct refusal *why)
{
    uint64_t first = low_ram_end(map);
    uint16_t segment = 0;
    int error = keep(0, VECTORS_END, why);
    if (error != 0)
        return error;
    memcpy(&segment, (const uint8_t *)memory_at(hpa(0)) + EBDA_SEGMENT, sizeof(segment));
    uint64_t extension = (uint64_t)segment << 4;
    if (extension >= EBDA_FIRST && extension < first)
        first = extension;
    return first < EBDA_FIRST ? 0 : keep(first, VIDEO - first, why);
}

int pristine_save(const struct memory_map *map, const struct acpi_info *acpi, struct refusal *why)
{
    int error = keep_low(map, why);
    for (unsigned int i = 0; i < map->count && error == 0; i++) {
        const struct memory_range *range = &map->range[i];
        if (range->type == MEMORY_ACPI_RECLAIM || range->type == MEMORY_ACPI_NVS)
            error = keep(range->start, range->end - range->start, why);
    }
    return error != 0 ? error : keep_tables(acpi, why);
}

/* The console's lines go out meanwhile. */
static void clear(uint64_t start, uint64_t end)
{
    for (uint64_t next = start; start < end; start = next) {
        next = end - start > CLEARED_AT_ONCE ? start + CLEARED_AT_ONCE : end;
        memset(memory_at(hpa(start)), 0, next - start);
        console_defer(true);
    }
}

void pristine_restore(const struct memory_map *map)
{
    for (unsigned int i = 0; i < map->count; i++) {
        const struct memory_range *range = &map->range[i];
        if (range->type == MEMORY_RAM)
            clear(range->start, range->end);
    }
    for (unsigned int i = 0; i < count; i++)
        memcpy(memory_at(hpa(copies[i].start)), copies[i].bytes, copies[i].size);
}

/* One digest over the digests of the modules. */
static void digest_modules(const struct boot_module *module, unsigned int modules,
                           uint8_t digest[DIGEST_BYTES])
{
    static uint8_t parts[BOOT_MODULES_MAX][DIGEST_BYTES];
    for (unsigned int i = 0; i < modules; i++)
        digest_bytes(memory_at(hpa(module[i].start)), module[i].end - module[i].start, parts[i]);
    digest_bytes(parts, (size_t)modules * DIGEST_BYTES, digest);
}

void pristine_digest(const struct boot_module *module, unsigned int modules)
{
    digest_modules(module, modules, images);
}

bool pristine_check(const struct boot_module *module, unsigned int modules)
{
    uint8_t now[DIGEST_BYTES];
    digest_modules(module, modules, now);
    return memcmp(now, images, sizeof(now)) == 0;
}
