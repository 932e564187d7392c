/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef LATCH_KERNEL_MMIO_H
#define LATCH_KERNEL_MMIO_H
/* Accesses to memory that the nested tables do not let through. */
#include "kernel/exit.h"

struct vcpu;

/*
 * An EPT violation or #NPF: memory beyond what was filled at launch is mapped, writes to the local
 * APIC's page are carried out, and an access to Latch's own memory gives nothing (reads give all
 * ones, writes go nowhere) and is counted.
 */
enum exit_action mmio_access(struct vcpu *v, struct exit *exit);

#endif
