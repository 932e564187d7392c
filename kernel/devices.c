/* SPDX-License-Identifier: BSD-2-Clause */
#include "kernel/devices.h"
#include "kernel/apic.h"
#include "kernel/cpu.h"
#include "kernel/legacy.h"
#include "kernel/memory.h"
#include "kernel/pci.h"
#include "kernel/x86.h"
#include <errno.h>
#include <string.h>

#define MADT_HEADER    44U
#define MADT_IOAPIC    1U
#define IOAPIC_VERSION 1U
#define IOAPIC_ENTRY   0x10U
#define IOAPIC_MASKED  (1U << 16)
#define IOAPIC_LINES   240U

#define HPET_CONFIG     0x10U
#define HPET_COUNTER    0xf0U
#define HPET_TIMERS_MAX 32U
#define HPET_TIMER(n)   (0x100U + 0x20U * (n))
#define HPET_WRITABLE   0x7f4eUL /* of a timer's configuration */

struct ioapic {
    volatile uint32_t *registers;
    unsigned int lines;
    uint32_t low[IOAPIC_LINES], high[IOAPIC_LINES];
};

struct local_apic {
    uint64_t base;
    uint32_t id; /* of xAPIC mode, in which some CPUs let it be written */
    uint32_t spurious, lint0, lint1, error, task;
};

static struct ioapic ioapic[IOAPICS_MAX];
static unsigned int ioapics;
static struct local_apic local[CPUS_MAX];
static volatile uint64_t *hpet;
static uint64_t hpet_config;

static uint32_t ioapic_read(const struct ioapic *io, unsigned int index)
{
    io->registers[0] = index;
    return io->registers[4];
}

static void ioapic_write(const struct ioapic *io, unsigned int index, uint32_t value)
{
    io->registers[0] = index;
    io->registers[4] = value;
}

static void save_ioapic(uint32_t address)
{
    volatile void *registers;
    if (memory_map_mmio(hpa(address), PAGE_SIZE, &registers) != 0)
        return;
    if (ioapics++ >= IOAPICS_MAX)
        return;
    struct ioapic *io = &ioapic[ioapics - 1];
    io->registers = registers;
    io->lines = (ioapic_read(io, IOAPIC_VERSION) >> 16 & 0xff) + 1;
    if (io->lines > IOAPIC_LINES)
        io->lines = IOAPIC_LINES;
    for (unsigned int i = 0; i < io->lines; i++) {
        io->low[i] = ioapic_read(io, IOAPIC_ENTRY + 2 * i);
        io->high[i] = ioapic_read(io, IOAPIC_ENTRY + 2 * i + 1);
    }
}

/* ACPI Specification 6.5 §5.2.12.3. The table has been checked. */
static void save_ioapics(uint64_t madt)
{
    const uint8_t *header = memory_firmware(NULL, madt, MADT_HEADER);
    uint32_t length, address;
    if (header == NULL)
        return;
    memcpy(&length, header + 4, sizeof(length));
    if (length > ACPI_TABLE_SIZE_MAX)
        return;
    const uint8_t *table = memory_firmware(NULL, madt, length);
    if (table == NULL)
        return;
    for (uint32_t at = MADT_HEADER; at + 2 <= length && table[at + 1] >= 2; at += table[at + 1]) {
        if (table[at] == MADT_IOAPIC && at + 12 <= length) {
            memcpy(&address, table + at + 4, sizeof(address));
            save_ioapic(address);
        }
    }
}

static void restore_ioapics(void)
{
    for (unsigned int n = 0; n < ioapics; n++) {
        const struct ioapic *io = &ioapic[n];
        for (unsigned int i = 0; i < io->lines; i++) {
            ioapic_write(io, IOAPIC_ENTRY + 2 * i, IOAPIC_MASKED);
            ioapic_write(io, IOAPIC_ENTRY + 2 * i + 1, io->high[i]);
            ioapic_write(io, IOAPIC_ENTRY + 2 * i, io->low[i]);
        }
    }
}

static void save_hpet(uint64_t address)
{
    volatile void *registers;
    if (address == 0 || memory_map_mmio(hpa(address & ~PAGE_OFFSET_MASK), PAGE_SIZE, &registers))
        return;
    hpet = (volatile uint64_t *)((uintptr_t)registers + (address & PAGE_OFFSET_MASK));
    hpet_config = hpet[HPET_CONFIG / 8];
}

static void restore_hpet(void)
{
    if (hpet == NULL)
        return;
    unsigned int timers = (unsigned int)(hpet[0] >> 8 & 31) + 1;
    hpet[HPET_CONFIG / 8] = 0;
    for (unsigned int i = 0; i < timers && i < HPET_TIMERS_MAX; i++)
        hpet[HPET_TIMER(i) / 8] = hpet[HPET_TIMER(i) / 8] & ~HPET_WRITABLE;
    hpet[HPET_COUNTER / 8] = 0;
    hpet[HPET_CONFIG / 8] = hpet_config;
}

int devices_save(const struct acpi_info *acpi)
{
    legacy_save();
    save_ioapics(acpi->madt);
    save_hpet(acpi->hpet_address);
    return ioapics > IOAPICS_MAX ? -E2BIG : pci_save();
}

void devices_restore(void)
{
    pci_restore();
    restore_hpet();
    restore_ioapics();
    legacy_restore();
}

static uint32_t read_register(uint32_t offset)
{
    uint64_t value = 0;
    if (!apic_is_x2apic())
        return apic_read(offset);
    (void)rdmsr_safe(0x800U + offset / APIC_REGISTER_STEP, &value);
    return (uint32_t)value;
}

static void write_register(uint32_t offset, uint32_t value)
{
    if (apic_is_x2apic())
        (void)wrmsr_safe(0x800U + offset / APIC_REGISTER_STEP, value);
    else
        apic_write(offset, value);
}

void devices_save_apic(unsigned int cpu)
{
    local[cpu] = (struct local_apic){
        .base = rdmsr(MSR_APIC_BASE),
        .id = read_register(APIC_ID),
        .spurious = read_register(0xf0),
        .lint0 = read_register(0x350),
        .lint1 = read_register(0x360),
        .error = read_register(0x370),
        .task = read_register(0x80),
    };
}

/* Out of x2APIC mode the way leads through "disabled": SDM vol. 3 §11.12.5. */
int devices_restore_apic(unsigned int cpu)
{
    const struct local_apic *saved = &local[cpu];
    if (rdmsr(MSR_APIC_BASE) & APIC_BASE_ENABLE)
        apic_reset();
    if (rdmsr(MSR_APIC_BASE) != saved->base) {
        wrmsr(MSR_APIC_BASE, saved->base & ~(uint64_t)(APIC_BASE_ENABLE | APIC_BASE_X2APIC));
        if (saved->base & APIC_BASE_ENABLE)
            wrmsr(MSR_APIC_BASE, saved->base & ~(uint64_t)APIC_BASE_X2APIC);
        wrmsr(MSR_APIC_BASE, saved->base);
        if (rdmsr(MSR_APIC_BASE) != saved->base)
            return -EIO;
        apic_reset();
    }
    if (!apic_is_x2apic())
        apic_write(APIC_ID, saved->id);
    write_register(0xf0, saved->spurious);
    write_register(0x350, saved->lint0);
    write_register(0x360, saved->lint1);
    write_register(0x370, saved->error);
    write_register(0x80, saved->task);
    return 0;
}
