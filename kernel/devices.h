/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef LATCH_KERNEL_DEVICES_H
#define LATCH_KERNEL_DEVICES_H
/*
 * The devices as the firmware left them at launch, so that a relaunched guest finds them so: the
 * interrupt controllers, the timers, the PC's own devices (kernel/legacy.h) and PCI (kernel/pci.h).
 */
#include "kernel/acpi.h"

#define IOAPICS_MAX 8U

/* Look at them, before the guest first runs. -E2BIG if there are more IOAPICs or PCI functions than
 * can be brought back. */
int devices_save(const struct acpi_info *acpi);
/* Bring them back, while no vCPU runs. Silences all first, so that nothing writes to memory and
 * nothing interrupts afterwards. */
void devices_restore(void);

/* This CPU's local APIC, and the mode that it is in. The guest's use of it is over. -EIO if it does
 * not come back into that mode. */
void devices_save_apic(unsigned int cpu);
int devices_restore_apic(unsigned int cpu);

#endif
