/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef LATCH_KERNEL_PCI_H
#define LATCH_KERNEL_PCI_H
/*
 * PCI functions, so that they can be brought back to how the firmware left them: their standard
 * headers through ports CF8H and CFCH, so of the first segment alone. While the guest runs these
 * ports are its own; bridges get the bus numbers and windows back that they had at launch, so that
 * all are found where they were.
 */
#include <stddef.h>

#define PCI_FUNCTIONS_MAX 1024U /* a large server has some hundreds */

/* Find all functions, behind further host bridges too, and keep their headers. -E2BIG if there are
 * more than the maximum. */
int pci_save(void);
/* Stop all bus mastering; reset what can be reset; put the kept headers back, without bus mastering. */
void pci_restore(void);
#define PCI_NAME_SIZE 8U
/* How many functions, bridges aside, have no reset of their own; their names, as " 00:1f.2", as many
 * as `size` bytes hold. */
unsigned int pci_without_reset(char *text, size_t size);

#endif
