/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef LATCH_KERNEL_PORT_H
#define LATCH_KERNEL_PORT_H
/* I/O ports: the machine's are the guest's, but for those that end it and those that are denied. */
#include "kernel/exit.h"

struct vcpu;

/* Trap the ports of the list; once, after the ACPI tables are read and before the first entry. */
void port_trap_all(void);
/* The next generation begins: forget what the last one had announced to a device. */
void port_renew(void);
/* An access that exited. */
enum exit_action port_access(struct vcpu *v, struct exit *exit);

#endif
