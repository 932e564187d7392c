/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef LATCH_KERNEL_GUEST_H
#define LATCH_KERNEL_GUEST_H
/* The guest's memory map, firmware tables and images, made ready for its first instruction. */
#include "kernel/acpi.h"
#include "kernel/multiboot2.h"
#include "kernel/refusal.h"
#include "kernel/vcpu.h"

/* vm.map from what the boot loader told: Latch's own range is reserved in it. -ENOSPC. */
int guest_map_memory(const struct boot_info *info, struct refusal *why);
/* Leave in the ACPI tables only the guest's CPUs, and no IOMMU. */
int guest_edit_acpi(const struct acpi_info *acpi, struct refusal *why);
/* Load the images; the boot vCPU's registers at its first instruction. -errno with the reason. */
int guest_load_images(const struct boot_info *info, struct vcpu *v, struct vcpu_state *state,
                      struct refusal *why);

#endif
