/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef LATCH_KERNEL_PCI_H
#define LATCH_KERNEL_PCI_H
/*
 * PCI functions, so that they can be brought back to how the firmware left them: their standard
 * headers through ports CF8H and CFCH. While the guest runs these ports are its own. Found is what
 * bridges lead to from bus 0, by the numbers that their buses had at launch: not what is behind a
 * further host bridge, nor what a guest has given other numbers.
 */
#include <stdint.h>

#define PCI_FUNCTIONS_MAX 256U

/* Find all functions and keep their headers. -E2BIG if there are more than the maximum. */
int pci_save(void);
/* Stop all bus mastering; reset what can be reset; put the kept headers back, without bus mastering. */
void pci_restore(void);

#endif
