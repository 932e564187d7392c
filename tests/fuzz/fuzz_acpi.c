/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * ACPI tables in a small memory that is the input: an RSDP at its start, and physical address 0
 * there too. Checksums of tables whose length fits are made right, or nothing would get past them.
 */
#include "kernel/acpi.h"
#include "kernel/acpi_tables.h"
#include "kernel/bytes.h"
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static uint8_t memory_bytes[4096];
static size_t memory_size;

/* A copy of exactly that length, so that the sanitizer sees a read beyond it. */
static const void *map(void *context, uint64_t address, size_t length)
{
    static uint8_t *window;
    (void)context;
    if (length > memory_size || address > memory_size - length) {
        return NULL;
    }
    if (length >= TABLE_HEAD) {
        uint8_t *table = memory_bytes + address;
        uint32_t claimed = read32(table + TABLE_LENGTH);
        if (claimed >= TABLE_HEAD && claimed <= memory_size - address) {
            acpi_set_checksum(table, claimed);
        }
    }
    free(window);
    window = malloc(length);
    return memcpy(window, memory_bytes + address, length);
}

static void make_rsdp(void)
{
    uint8_t sum = 0;
    memcpy(memory_bytes, "RSD PTR ", 8);
    write32(memory_bytes + RSDP_LENGTH, RSDP_SIZE_2);
    memory_bytes[8] = 0;
    for (unsigned i = 0; i < RSDP_SIZE_1; i++) {
        sum += memory_bytes[i];
    }
    memory_bytes[8] = (uint8_t)-sum;
    sum = 0;
    memory_bytes[32] = 0;
    for (unsigned i = 0; i < RSDP_SIZE_2; i++) {
        sum += memory_bytes[i];
    }
    memory_bytes[32] = (uint8_t)-sum;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const struct acpi_memory memory = {.map = map};
    static const char *const iommus[] = {"DMAR", "IVRS"};
    static const uint32_t ids[] = {0, 1, 0x100};
    uint8_t rsdp[RSDP_SIZE_2];
    struct acpi_info info;
    struct refusal why;

    if (size < RSDP_SIZE_2 || size > sizeof memory_bytes) {
        return 0;
    }
    memory_size = size;
    memcpy(memory_bytes, data, size);
    make_rsdp();
    memcpy(rsdp, memory_bytes, sizeof rsdp);
    if (acpi_parse(rsdp, sizeof rsdp, &memory, &info, &why) == 0 && info.cpu_count == 0) {
        abort();
    }
    uint8_t *copy = malloc(size);
    memcpy(copy, data, size);
    madt_keep_only(copy, size, ids, 3, &why);
    memcpy(copy, data, size);
    xsdt_drop(copy, size, &memory, iommus, 2, &why);
    free(copy);
    return 0;
}
