/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef LATCH_KERNEL_LEGACY_H
#define LATCH_KERNEL_LEGACY_H
/*
 * The PC's own devices behind I/O ports: 8259s with their ELCR, 8237s, 8254, 8042, real-time clock,
 * 16550s. What of a device cannot be read is set as PC firmware sets it.
 */

/* Look at them, before the guest first runs. */
void legacy_save(void);
/* Bring them back, while no vCPU runs. */
void legacy_restore(void);

#endif
