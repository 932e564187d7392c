/* SPDX-License-Identifier: BSD-2-Clause */
#include "kernel/acpi.h"
#include "kernel/acpi_tables.h"
#include "kernel/bytes.h"
#include <errno.h>
#include <inttypes.h>

/* Takes `size` bytes at `at` out of a table; it is a whole table of the new length afterwards. */
static void cut_out(uint8_t *table, uint32_t *length, uint32_t at, uint32_t size)
{
    memmove(table + at, table + at + size, *length - at - size);
    *length -= size;
    memset(table + *length, 0, size);
    write32(table + TABLE_LENGTH, *length);
}

static int check_length(const uint8_t *table, size_t size, uint32_t head, uint32_t limit,
                        struct refusal *why)
{
    uint32_t length = size >= TABLE_HEAD ? read32(table + TABLE_LENGTH) : 0;
    if (length < head || length > size || length > limit) {
        return refuse(why, EINVAL,
                      "ACPI: table of %" PRIu32 " bytes of which %lu are mapped, wanted at least "
                      "%" PRIu32 " and at most %" PRIu32 "; the firmware's table is broken",
                      length, size, head, limit);
    }
    return 0;
}

static bool listed(const uint32_t *apic_ids, unsigned count, uint32_t id)
{
    for (unsigned i = 0; i < count; i++) {
        if (apic_ids[i] == id) {
            return true;
        }
    }
    return false;
}

/* A MADT under edit, and the CPUs that stay. */
struct cpu_filter {
    const uint8_t *madt;
    uint32_t length;
    const uint32_t *apic_ids;
    unsigned count;
};

static bool is_other_cpu(const struct cpu_filter *filter, const uint8_t *entry)
{
    if (entry[0] == MADT_LAPIC && entry[1] >= MADT_LAPIC_SIZE) {
        return !listed(filter->apic_ids, filter->count, entry[3]);
    }
    if (entry[0] == MADT_X2APIC && entry[1] >= MADT_X2APIC_SIZE) {
        return !listed(filter->apic_ids, filter->count, read32(entry + 4));
    }
    return false;
}

static bool has_uid(const struct cpu_filter *filter, uint32_t uid)
{
    const uint8_t *madt = filter->madt;
    for (uint32_t at = MADT_HEAD; filter->length - at >= 2; at += madt[at + 1]) {
        const uint8_t *entry = madt + at;
        if (entry[0] == MADT_LAPIC && entry[1] >= MADT_LAPIC_SIZE && entry[2] == uid) {
            return true;
        }
        if (entry[0] == MADT_X2APIC && entry[1] >= MADT_X2APIC_SIZE && read32(entry + 12) == uid) {
            return true;
        }
    }
    return false;
}

/* The NMI entries name a CPU by its UID, or all by all ones. */
static bool is_other_nmi(const struct cpu_filter *filter, const uint8_t *entry)
{
    if (entry[0] == MADT_LAPIC_NMI && entry[1] >= MADT_LAPIC_NMI_SIZE) {
        return entry[2] != 0xff && !has_uid(filter, entry[2]);
    }
    if (entry[0] == MADT_X2APIC_NMI && entry[1] >= MADT_X2APIC_NMI_SIZE) {
        uint32_t uid = read32(entry + 4);
        return uid != UINT32_MAX && !has_uid(filter, uid);
    }
    return false;
}

static void cut_entries(uint8_t *madt, struct cpu_filter *filter,
                        bool (*goes)(const struct cpu_filter *, const uint8_t *))
{
    uint32_t at = MADT_HEAD;
    while (filter->length - at >= 2) {
        uint8_t size = madt[at + 1];
        if (goes(filter, madt + at)) {
            cut_out(madt, &filter->length, at, size);
        } else {
            at += size;
        }
    }
}

int madt_keep_only(void *madt, size_t size, const uint32_t *apic_ids, unsigned count,
                   struct refusal *why)
{
    uint8_t *table = madt;
    int error = check_length(table, size, MADT_HEAD, ACPI_EDIT_SIZE_MAX, why);
    if (error != 0) {
        return error;
    }
    struct cpu_filter filter = {.madt = table,
                                .length = read32(table + TABLE_LENGTH),
                                .apic_ids = apic_ids,
                                .count = count};
    for (uint32_t at = MADT_HEAD; filter.length - at >= 2; at += table[at + 1]) {
        if (table[at + 1] < 2 || table[at + 1] > filter.length - at) {
            return refuse(why, EINVAL,
                          "ACPI: MADT entry of type %u at %" PRIu32
                          " has %u bytes; the firmware's table is broken",
                          table[at], at, table[at + 1]);
        }
    }
    cut_entries(table, &filter, is_other_cpu);
    cut_entries(table, &filter, is_other_nmi);
    acpi_set_checksum(table, filter.length);
    return 0;
}

static bool has_signature(const struct acpi_memory *memory, uint64_t address,
                          const char *const *signatures, unsigned count)
{
    const uint8_t *head = NULL;
    if (address != 0) {
        head = memory->map(memory->context, address, TABLE_HEAD);
    }
    for (unsigned i = 0; head != NULL && i < count; i++) {
        if (memcmp(head, signatures[i], 4) == 0) {
            return true;
        }
    }
    return false;
}

int xsdt_drop(void *table, size_t size, const struct acpi_memory *memory,
              const char *const *signatures, unsigned count, struct refusal *why)
{
    uint8_t *bytes = table;
    int dropped = 0;
    int error = check_length(bytes, size, TABLE_HEAD, ACPI_EDIT_SIZE_MAX, why);
    if (error != 0) {
        return error;
    }
    bool xsdt = memcmp(bytes, "XSDT", 4) == 0;
    if (!xsdt && memcmp(bytes, "RSDT", 4) != 0) {
        return refuse(why, EINVAL, "ACPI: found the table \"%.4s\", wanted XSDT or RSDT",
                      (const char *)bytes);
    }
    uint32_t length = read32(bytes + TABLE_LENGTH);
    uint32_t entry = xsdt ? 8 : 4;
    for (uint32_t at = TABLE_HEAD; length - at >= entry;) {
        uint64_t address = xsdt ? read64(bytes + at) : read32(bytes + at);
        if (has_signature(memory, address, signatures, count)) {
            cut_out(bytes, &length, at, entry);
            dropped++;
        } else {
            at += entry;
        }
    }
    acpi_set_checksum(bytes, length);
    return dropped;
}
