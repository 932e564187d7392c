/* SPDX-License-Identifier: BSD-2-Clause */
#include "tests/bench/entry/entry.h"

#include <elf.h>
#include <string.h>

#define LOW_END      0xa0000U
#define COMMAND_LINE 0x2000U
#define COMMAND_MAX  512U
#define RSDP         0xe0000U /* where a BIOS keeps it (ACPI 6.5 §5.2.5.1) */
#define RSDT         0xe0100U
#define MADT         0xe0200U
#define LAPIC        0xfee00000U
#define IO_APIC      0xfec00000U

struct multiboot_info {
    uint32_t flags, mem_lower, mem_upper, boot_device, command_line, mods_count, mods_address;
    uint32_t syms[4], mmap_length, mmap_address;
    struct {
        uint32_t size;
        uint64_t start, length;
        uint32_t type;
    } __attribute__((packed)) map[2];
} __attribute__((packed));

struct acpi_header {
    char signature[4];
    uint32_t length;
    uint8_t revision, checksum;
    char oem[22];
    uint32_t creator_revision;
} __attribute__((packed));

struct rsdp {
    char signature[8];
    uint8_t checksum;
    char oem[6];
    uint8_t revision;
    uint32_t rsdt;
} __attribute__((packed));

struct madt {
    struct acpi_header header;
    uint32_t lapic, flags;
    struct {
        uint8_t type, length, id, reserved;
        uint32_t address, first_gsi;
    } __attribute__((packed)) io_apic; /* else Linux leaves the local APICs' timers alone */
    struct {
        uint8_t type, length, uid, apic_id;
        uint32_t flags;
    } __attribute__((packed)) cpu[VCPUS_MAX];
} __attribute__((packed));

static bool describe_boot(uint8_t *low, char *const *words)
{
    struct multiboot_info *info = (void *)(low + MULTIBOOT_INFO);
    char *line = (char *)low + COMMAND_LINE;
    size_t used = 0;
    for (; *words != NULL; words++) {
        size_t length = strlen(*words);
        if (used + length + 2 > COMMAND_MAX)
            return false;
        memcpy(line + used, *words, length);
        used += length;
        line[used++] = ' ';
    }
    *info = (struct multiboot_info){
        .flags = 1U << 2 | 1U << 6,
        .command_line = COMMAND_LINE,
        .mmap_length = sizeof(info->map),
        .mmap_address = MULTIBOOT_INFO + offsetof(struct multiboot_info, map),
        .map = {{.size = 20, .length = LOW_END, .type = 1},
                {.size = 20, .start = LOW_SIZE, .length = MEMORY_SIZE - LOW_SIZE, .type = 1}},
    };
    return true;
}

static uint8_t checksum(const void *table, size_t length)
{
    const uint8_t *bytes = table;
    uint8_t sum = 0;
    for (size_t i = 0; i < length; i++)
        sum = (uint8_t)(sum + bytes[i]);
    return (uint8_t)-sum;
}

static void describe_cpus(uint8_t *low, unsigned int cpus)
{
    struct rsdp *rsdp = (void *)(low + RSDP);
    struct acpi_header *rsdt = (void *)(low + RSDT);
    struct madt *madt = (void *)(low + MADT);
    memcpy(rsdp->signature, "RSD PTR ", sizeof(rsdp->signature));
    rsdp->rsdt = RSDT;
    rsdp->checksum = checksum(rsdp, sizeof(*rsdp));
    memcpy(rsdt->signature, "RSDT", sizeof(rsdt->signature));
    rsdt->length = sizeof(*rsdt) + sizeof(uint32_t);
    *(uint32_t *)(rsdt + 1) = MADT;
    rsdt->checksum = checksum(rsdt, rsdt->length);
    memcpy(madt->header.signature, "APIC", sizeof(madt->header.signature));
    madt->header.length = (uint32_t)(offsetof(struct madt, cpu) + cpus * sizeof(madt->cpu[0]));
    madt->lapic = LAPIC;
    madt->io_apic.type = 1;
    madt->io_apic.length = sizeof(madt->io_apic);
    madt->io_apic.id = VCPUS_MAX;
    madt->io_apic.address = IO_APIC;
    for (unsigned int i = 0; i < cpus; i++) {
        madt->cpu[i].length = sizeof(madt->cpu[0]);
        madt->cpu[i].uid = madt->cpu[i].apic_id = (uint8_t)i;
        madt->cpu[i].flags = 1;
    }
    madt->header.checksum = checksum(madt, madt->header.length);
}

bool entry_describe(uint8_t *low, unsigned int cpus, char *const *words)
{
    describe_cpus(low, cpus);
    return describe_boot(low, words);
}

uint32_t entry_load(const uint8_t *image, entry_put_fn *put)
{
    const Elf64_Ehdr *head = (const void *)image;
    const Elf64_Phdr *part = (const void *)(image + head->e_phoff);
    for (unsigned int i = 0; i < head->e_phnum; i++) {
        if (part[i].p_type != PT_LOAD)
            continue;
        if (part[i].p_paddr + part[i].p_memsz > FRESH)
            return 0;
        put(part[i].p_paddr, image + part[i].p_offset, part[i].p_filesz, part[i].p_memsz);
    }
    return (uint32_t)head->e_entry;
}
