/* SPDX-License-Identifier: BSD-2-Clause */
/* As much of ACPI (6.5 §5.2) as names the processors. */
#include "tests/guest/lib/runtime.h"

#include <string.h>

struct table {
    char signature[4];
    uint32_t length;
    uint8_t rest[28];
};

struct rsdp {
    char signature[8];
    uint8_t checksum, oem[6], revision;
    uint32_t rsdt, length;
    uint64_t xsdt;
} __attribute__((packed));

struct madt_entry {
    uint8_t type, length;
    union {
        struct {
            uint8_t uid, apic_id;
            uint32_t flags;
        } __attribute__((packed)) local;
        struct {
            uint16_t reserved;
            uint32_t apic_id, flags;
        } __attribute__((packed)) x2apic;
    };
} __attribute__((packed));

static const struct table *find_table(const char *signature)
{
    const struct rsdp *rsdp = (const void *)boot.rsdp;
    if (rsdp == NULL)
        return NULL;
    bool wide = rsdp->revision >= 2 && rsdp->xsdt != 0;
    const struct table *root = (const void *)(wide ? rsdp->xsdt : rsdp->rsdt);
    size_t size = wide ? 8 : 4;
    for (size_t i = 36; i + size <= root->length; i += size) {
        uint64_t address = 0;
        memcpy(&address, (const char *)root + i, size);
        const struct table *table = (const void *)address;
        if (memcmp(table->signature, signature, 4) == 0)
            return table;
    }
    return NULL;
}

unsigned int acpi_processors(uint32_t *apic_ids, unsigned int most)
{
    unsigned int count = 0;
    const struct table *madt = find_table("APIC");
    for (uint32_t i = 44; madt != NULL && i < madt->length && count < most;) {
        const struct madt_entry *entry = (const void *)((const char *)madt + i);
        if (entry->type == 0 && (entry->local.flags & 1U))
            apic_ids[count++] = entry->local.apic_id;
        if (entry->type == 9 && (entry->x2apic.flags & 1U))
            apic_ids[count++] = entry->x2apic.apic_id;
        i += entry->length > 0 ? entry->length : madt->length;
    }
    return count;
}
