/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef LATCH_KERNEL_ACPI_TABLES_H
#define LATCH_KERNEL_ACPI_TABLES_H
/* Layouts of ACPI's tables as byte offsets, for acpi.c and acpi_edit.c (ACPI 6.5 §5.2). */
#include <stddef.h>
#include <stdint.h>

/* RSDP, §5.2.5.3 */
#define RSDP_REVISION 15U
#define RSDP_RSDT     16U
#define RSDP_LENGTH   20U
#define RSDP_XSDT     24U
#define RSDP_SIZE_1   20U
#define RSDP_SIZE_2   36U

/* The head that every other table has, §5.2.6 */
#define TABLE_LENGTH   4U
#define TABLE_CHECKSUM 9U
#define TABLE_HEAD     36U

/* MADT, §5.2.12 */
#define MADT_HEAD               44U
#define MADT_LAPIC              0U
#define MADT_LAPIC_SIZE         8U
#define MADT_LAPIC_NMI          4U
#define MADT_LAPIC_NMI_SIZE     6U
#define MADT_LAPIC_ADDRESS      5U
#define MADT_LAPIC_ADDRESS_SIZE 12U
#define MADT_X2APIC             9U
#define MADT_X2APIC_SIZE        16U
#define MADT_X2APIC_NMI         10U
#define MADT_X2APIC_NMI_SIZE    12U

/* FADT, §5.2.9 */
#define FADT_DSDT            40U
#define FADT_SMI_COMMAND     48U
#define FADT_ACPI_ENABLE     52U
#define FADT_PM1A_CONTROL    64U
#define FADT_PM1B_CONTROL    68U
#define FADT_PM_TIMER        76U
#define FADT_FLAGS           112U
#define FADT_TIMER_32BIT     (1U << 8)
#define FADT_RESET_SUPPORTED (1U << 10)
#define FADT_SIZE_1          116U
#define FADT_RESET           116U
#define FADT_RESET_VALUE     128U
#define FADT_X_DSDT          140U
#define FADT_X_PM1A_CONTROL  172U
#define FADT_X_PM1B_CONTROL  184U
#define FADT_X_PM_TIMER      208U

/* Generic address, §5.2.3.2 */
#define GAS_SIZE 12U

/* HPET table (IA-PC HPET 1.0a §3.2.4): the address in its generic address */
#define HPET_ADDRESS 44U

/* Sets a table's checksum byte so that all `length` bytes add up to 0. */
void acpi_set_checksum(uint8_t *table, size_t length);

#endif
