/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef LATCH_KERNEL_ACPI_H
#define LATCH_KERNEL_ACPI_H
/*
 * The few things that Latch wants from ACPI's static tables (ACPI Specification 6.5 §5.2), and
 * the two edits that make them the guest's: its CPUs only, and no IOMMU.
 */
#include "kernel/refusal.h"
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define ACPI_CPUS_MAX       256U
#define ACPI_TABLES_MAX     128U        /* pointers of the XSDT that are looked at */
#define ACPI_TABLE_SIZE_MAX (16U << 20) /* a longer table is taken for a broken one */
#define ACPI_EDIT_SIZE_MAX  (64U << 10) /* of a table that is edited */

/*
 * How to read physical memory: `length` readable bytes at `address`, or NULL. They are used no
 * longer than until the next call.
 */
struct acpi_memory {
    const void *(*map)(void *context, uint64_t address, size_t length);
    void *context;
};

struct acpi_cpu {
    uint32_t apic_id;
    uint32_t uid;
    bool enabled;
    bool online_capable;
};

/* A generic address (§5.2.3.2). space: 0 memory, 1 I/O, 2 PCI configuration. */
#define ACPI_SPACE_MEMORY 0U
#define ACPI_SPACE_IO     1U
struct acpi_address {
    uint8_t space;
    uint8_t width; /* bits */
    uint64_t address;
};

/* The addresses of tables are physical, and 0 when there is none. */
struct acpi_info {
    uint64_t root;     /* the XSDT, or the RSDT where there is no XSDT */
    bool root_is_xsdt; /* entries are 64-bit */
    uint64_t rsdt;     /* the RSDT beside it, which a guest may read instead */
    uint64_t madt, fadt, dsdt, hpet, dmar, ivrs, mcfg;

    uint64_t lapic_address;
    bool has_8259;
    unsigned cpu_count;
    struct acpi_cpu cpu[ACPI_CPUS_MAX];

    struct acpi_address pm_timer; /* address 0: none */
    bool pm_timer_32bit;
    struct acpi_address pm1a_control, pm1b_control;
    struct acpi_address reset;
    uint8_t reset_value;
    bool reset_supported;
    uint32_t smi_command;
    uint8_t acpi_enable;
    bool has_s5;
    uint8_t s5_type_a, s5_type_b; /* SLP_TYPa and SLP_TYPb of \_S5 */
    uint64_t hpet_address;
};

/* Whether rsdp (size bytes) is a valid RSDP, its checksums included; 20 or 36, else 0. */
size_t acpi_rsdp_size(const void *rsdp, size_t size);

/*
 * Reads the tables that `rsdp` leads to. Broken tables that Latch can do without are left out
 * (their address stays 0). Returns 0, or with the reason in *why: -EINVAL (no valid RSDP, RSDT or
 * XSDT), -ENOENT (no usable MADT or CPU), -ENOSPC (more CPUs than fit).
 */
int acpi_parse(const void *rsdp, size_t rsdp_size, const struct acpi_memory *memory,
               struct acpi_info *info, struct refusal *why);

/*
 * Edits a MADT in place so that only the CPUs with these APIC ids stay in it: entries of types 0
 * and 9 of other CPUs go, and entries of types 4 and 0xA for their UIDs. Length and checksum are
 * set anew and the bytes behind it cleared. `size` is how much of it is mapped.
 * Returns 0, or -EINVAL.
 */
int madt_keep_only(void *madt, size_t size, const uint32_t *apic_ids, unsigned count,
                   struct refusal *why);

/*
 * Takes the pointers to tables with one of these signatures (4 characters each, `count` of them)
 * out of an RSDT or XSDT in place, and sets length and checksum. Returns how many were taken out,
 * or -EINVAL.
 */
int xsdt_drop(void *table, size_t size, const struct acpi_memory *memory,
              const char *const *signatures, unsigned count, struct refusal *why);

#endif
