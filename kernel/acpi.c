/* SPDX-License-Identifier: BSD-2-Clause */
#include "kernel/acpi.h"
#include "kernel/acpi_tables.h"
#include "kernel/bytes.h"
#include <errno.h>
#include <inttypes.h>

static uint8_t sum(const uint8_t *bytes, size_t size)
{
    uint8_t total = 0;
    for (size_t i = 0; i < size; i++) {
        total += bytes[i];
    }
    return total;
}

void acpi_set_checksum(uint8_t *table, size_t length)
{
    table[TABLE_CHECKSUM] = 0;
    table[TABLE_CHECKSUM] = (uint8_t)-sum(table, length);
}

size_t acpi_rsdp_size(const void *rsdp, size_t size)
{
    const uint8_t *bytes = rsdp;
    if (size < RSDP_SIZE_1 || memcmp(bytes, "RSD PTR ", 8) != 0 || sum(bytes, RSDP_SIZE_1) != 0) {
        return 0;
    }
    if (bytes[RSDP_REVISION] < 2 || size < RSDP_SIZE_2) {
        return RSDP_SIZE_1;
    }
    if (read32(bytes + RSDP_LENGTH) != RSDP_SIZE_2 || sum(bytes, RSDP_SIZE_2) != 0) {
        return 0;
    }
    return RSDP_SIZE_2;
}

/* The table at `address`, whole and with a right checksum, or NULL. */
static const uint8_t *map_table(const struct acpi_memory *memory, uint64_t address,
                                uint32_t *length)
{
    const uint8_t *table = NULL;
    if (address != 0) {
        table = memory->map(memory->context, address, TABLE_HEAD);
    }
    if (table == NULL) {
        return NULL;
    }
    *length = read32(table + TABLE_LENGTH);
    if (*length < TABLE_HEAD || *length > ACPI_TABLE_SIZE_MAX) {
        return NULL;
    }
    table = memory->map(memory->context, address, *length);
    return table != NULL && sum(table, *length) == 0 ? table : NULL;
}

static void add_cpu(struct acpi_info *info, struct acpi_cpu cpu, bool *full)
{
    for (unsigned i = 0; i < info->cpu_count; i++) {
        if (info->cpu[i].apic_id == cpu.apic_id) {
            return;
        }
    }
    if (info->cpu_count == ACPI_CPUS_MAX) {
        *full = true;
        return;
    }
    info->cpu[info->cpu_count++] = cpu;
}

/* Firmware lists sockets that are empty too, with both flags off. */
static void parse_madt_entry(struct acpi_info *info, const uint8_t *entry, bool *full)
{
    struct acpi_cpu cpu;
    uint32_t flags;

    if (entry[0] == MADT_LAPIC && entry[1] >= MADT_LAPIC_SIZE) {
        flags = read32(entry + 4);
        cpu = (struct acpi_cpu){.apic_id = entry[3], .uid = entry[2]};
    } else if (entry[0] == MADT_X2APIC && entry[1] >= MADT_X2APIC_SIZE) {
        flags = read32(entry + 8);
        cpu = (struct acpi_cpu){.apic_id = read32(entry + 4), .uid = read32(entry + 12)};
    } else if (entry[0] == MADT_LAPIC_ADDRESS && entry[1] >= MADT_LAPIC_ADDRESS_SIZE) {
        info->lapic_address = read64(entry + 4);
        return;
    } else {
        return;
    }
    cpu.enabled = flags & 1;
    cpu.online_capable = flags & 2;
    if (cpu.enabled || cpu.online_capable) {
        add_cpu(info, cpu, full);
    }
}

static int parse_madt(const struct acpi_memory *memory, struct acpi_info *info, struct refusal *why)
{
    uint32_t length = 0;
    bool full = false;
    const uint8_t *madt = map_table(memory, info->madt, &length);

    if (madt == NULL || length < MADT_HEAD) {
        return refuse(why, ENOENT,
                      "ACPI: no valid MADT (APIC table), found one at 0x%" PRIx64 " of %" PRIu32
                      " bytes; switch ACPI on in the firmware",
                      info->madt, length);
    }
    info->lapic_address = read32(madt + 36);
    info->has_8259 = read32(madt + 40) & 1;
    for (uint32_t at = MADT_HEAD; length - at >= 2; at += madt[at + 1]) {
        if (madt[at + 1] < 2 || madt[at + 1] > length - at) {
            return refuse(why, EINVAL,
                          "ACPI: MADT entry of type %u at %" PRIu32 " has %u bytes, wanted "
                          "2..%" PRIu32 "; the firmware's table is broken",
                          madt[at], at, madt[at + 1], length - at);
        }
        parse_madt_entry(info, madt + at, &full);
    }
    if (full) {
        return refuse(why, ENOSPC, "ACPI: more than %u CPUs in the MADT; switch some off",
                      ACPI_CPUS_MAX);
    }
    if (info->cpu_count == 0) {
        return refuse(why, ENOENT,
                      "ACPI: no CPU is enabled in the MADT of %" PRIu32
                      " bytes; the firmware's table is broken",
                      length);
    }
    return 0;
}

/* The extended field where the table has one that is set, else the old 32-bit I/O port. */
static struct acpi_address fadt_address(const uint8_t *fadt, uint32_t length, uint32_t extended,
                                        uint32_t old, uint8_t width)
{
    if (length >= extended + GAS_SIZE && read64(fadt + extended + 4) != 0) {
        return (struct acpi_address){.space = fadt[extended],
                                     .width = fadt[extended + 1],
                                     .address = read64(fadt + extended + 4)};
    }
    return (struct acpi_address){
        .space = ACPI_SPACE_IO, .width = width, .address = read32(fadt + old)};
}

static void parse_fadt(const struct acpi_memory *memory, struct acpi_info *info)
{
    uint32_t length;
    const uint8_t *fadt = map_table(memory, info->fadt, &length);
    if (fadt == NULL || length < FADT_SIZE_1) {
        info->fadt = 0;
        return;
    }
    uint32_t flags = read32(fadt + FADT_FLAGS);
    info->smi_command = read32(fadt + FADT_SMI_COMMAND);
    info->acpi_enable = fadt[FADT_ACPI_ENABLE];
    info->pm_timer = fadt_address(fadt, length, FADT_X_PM_TIMER, FADT_PM_TIMER, 32);
    info->pm_timer_32bit = flags & FADT_TIMER_32BIT;
    info->pm1a_control = fadt_address(fadt, length, FADT_X_PM1A_CONTROL, FADT_PM1A_CONTROL, 16);
    info->pm1b_control = fadt_address(fadt, length, FADT_X_PM1B_CONTROL, FADT_PM1B_CONTROL, 16);
    if (length > FADT_RESET_VALUE && flags & FADT_RESET_SUPPORTED) {
        info->reset_supported = true;
        info->reset = (struct acpi_address){.space = fadt[FADT_RESET],
                                            .width = fadt[FADT_RESET + 1],
                                            .address = read64(fadt + FADT_RESET + 4)};
        info->reset_value = fadt[FADT_RESET_VALUE];
    }
    info->dsdt = read32(fadt + FADT_DSDT);
    if (length >= FADT_X_DSDT + 8 && read64(fadt + FADT_X_DSDT) != 0) {
        info->dsdt = read64(fadt + FADT_X_DSDT);
    }
}

/* A small integer in AML (§20.2.3): bytes used, or 0. */
static size_t aml_integer(const uint8_t *aml, size_t size, uint8_t *value)
{
    if (size >= 1 && (aml[0] == 0x00 || aml[0] == 0x01)) {
        *value = aml[0];
        return 1;
    }
    if (size >= 2 && aml[0] == 0x0a) {
        *value = aml[1];
        return 2;
    }
    return 0;
}

/* Name (_S5_, Package (n) {SLP_TYPa, SLP_TYPb, ...}) at aml: §20.2.5.4 and §7.4.2.6 */
static bool parse_s5(const uint8_t *aml, size_t size, struct acpi_info *info)
{
    size_t at = 5;
    if (size < 8 || memcmp(aml, "_S5_\x12", 5) != 0) {
        return false;
    }
    at += 1 + (aml[at] >> 6); /* the package length's bytes */
    if (at >= size || aml[at] < 2) {
        return false;
    }
    at++;
    size_t used = aml_integer(aml + at, size - at, &info->s5_type_a);
    if (used == 0) {
        return false;
    }
    at += used;
    return aml_integer(aml + at, size - at, &info->s5_type_b) != 0;
}

static void parse_dsdt(const struct acpi_memory *memory, struct acpi_info *info)
{
    uint32_t length;
    const uint8_t *dsdt = map_table(memory, info->dsdt, &length);
    if (dsdt == NULL || memcmp(dsdt, "DSDT", 4) != 0) {
        info->dsdt = 0;
        return;
    }
    for (uint32_t at = TABLE_HEAD; at < length && !info->has_s5; at++) {
        info->has_s5 = parse_s5(dsdt + at, length - at, info);
    }
}

static void parse_hpet(const struct acpi_memory *memory, struct acpi_info *info)
{
    uint32_t length;
    const uint8_t *hpet = map_table(memory, info->hpet, &length);
    if (hpet == NULL || length < HPET_ADDRESS + 8) {
        info->hpet = 0;
        return;
    }
    info->hpet_address = read64(hpet + HPET_ADDRESS);
}

static void note_table(const struct acpi_memory *memory, uint64_t address, struct acpi_info *info)
{
    const struct {
        const char *signature;
        uint64_t *address;
    } wanted[] = {
        {"APIC", &info->madt}, {"FACP", &info->fadt}, {"HPET", &info->hpet},
        {"DMAR", &info->dmar}, {"IVRS", &info->ivrs}, {"MCFG", &info->mcfg},
    };
    const uint8_t *head = NULL;
    if (address != 0) {
        head = memory->map(memory->context, address, TABLE_HEAD);
    }
    for (size_t i = 0; head != NULL && i < sizeof wanted / sizeof wanted[0]; i++) {
        if (memcmp(head, wanted[i].signature, 4) == 0 && *wanted[i].address == 0) {
            *wanted[i].address = address;
        }
    }
}

static int parse_root(const struct acpi_memory *memory, struct acpi_info *info, struct refusal *why)
{
    uint32_t length = 0;
    uint32_t size = info->root_is_xsdt ? 8 : 4;
    const uint8_t *root = map_table(memory, info->root, &length);
    if (root == NULL || memcmp(root, info->root_is_xsdt ? "XSDT" : "RSDT", 4) != 0) {
        return refuse(why, EINVAL,
                      "ACPI: no valid %s at 0x%" PRIx64 " (%" PRIu32
                      " bytes, or wrong checksum); the firmware's table is broken",
                      info->root_is_xsdt ? "XSDT" : "RSDT", info->root, length);
    }
    uint32_t entries = (length - TABLE_HEAD) / size;
    for (uint32_t i = 0; i < entries && i < ACPI_TABLES_MAX; i++) {
        /* Mapped anew, as looking at the table before may have ended the mapping. */
        const uint8_t *entry =
            memory->map(memory->context, info->root + TABLE_HEAD + (uint64_t)i * size, size);
        if (entry != NULL) {
            note_table(memory, size == 8 ? read64(entry) : read32(entry), info);
        }
    }
    return 0;
}

int acpi_parse(const void *rsdp, size_t rsdp_size, const struct acpi_memory *memory,
               struct acpi_info *info, struct refusal *why)
{
    const uint8_t *bytes = rsdp;
    size_t size = acpi_rsdp_size(rsdp, rsdp_size);
    memset(info, 0, sizeof *info);
    if (size == 0) {
        return refuse(why, EINVAL,
                      "ACPI: no valid RSDP in the %lu bytes from the boot loader; wanted its "
                      "signature and checksums; switch ACPI on in the firmware",
                      rsdp_size);
    }
    info->rsdt = read32(bytes + RSDP_RSDT);
    info->root = info->rsdt;
    if (size == RSDP_SIZE_2 && read64(bytes + RSDP_XSDT) != 0) {
        info->root = read64(bytes + RSDP_XSDT);
        info->root_is_xsdt = true;
    }
    int error = parse_root(memory, info, why);
    if (error == 0) {
        error = parse_madt(memory, info, why);
    }
    if (error == 0) {
        parse_fadt(memory, info);
        parse_dsdt(memory, info);
        parse_hpet(memory, info);
    }
    return error;
}
