/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef LATCH_KERNEL_MMIO_H
#define LATCH_KERNEL_MMIO_H
/* Accesses to memory that the nested tables do not let through. */
#include "kernel/exit.h"

struct vcpu;

/*
 * An EPT violation or #NPF: memory beyond what was filled at launch is mapped, writes to the local
 * APIC's page, and that of ACPI's reset register, are carried out, and an access to Latch's own memory gives nothing (reads give all
 * ones, writes go nowhere) and is counted.
 */
enum exit_action mmio_access(struct vcpu *v, struct exit *exit);

/* The page of ACPI's reset register if it lies in memory and a reset is not simply the hardware's,
 * to be mapped read-only; else 0. Says so where one cannot be watched. Once, at launch. */
uint64_t mmio_watch_reset(void);

#endif
