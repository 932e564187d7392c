/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef LATCH_KERNEL_PRISTINE_H
#define LATCH_KERNEL_PRISTINE_H
/*
 * What is in the guest's memory before it starts and is not loaded by Latch: the tables and data of
 * the firmware. Copies are kept, so that a relaunched guest finds all of it as the first one did,
 * and nothing else.
 */
#include "kernel/acpi.h"
#include "kernel/memory_map.h"
#include "kernel/refusal.h"

/*
 * Keep copies, in pages of the pool, of all ACPI ranges of `map`, of the ACPI tables elsewhere, and
 * of the firmware's data in the first MiB; once, after the tables were edited for the guest.
 * -ENOMEM, -ENOSPC.
 */
int pristine_save(const struct memory_map *map, const struct acpi_info *acpi, struct refusal *why);

/* Clear all RAM of `map` and put the copies back. No vCPU runs. */
void pristine_restore(const struct memory_map *map);

/* Remember a digest of what `modules` modules hold; and whether it is still the same: images of a
 * guest that never changes lie where the guest cannot reach, and this shows it. */
struct boot_module;
void pristine_digest(const struct boot_module *module, unsigned int modules);
bool pristine_check(const struct boot_module *module, unsigned int modules);

#endif
