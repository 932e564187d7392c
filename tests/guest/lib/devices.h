/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef LATCH_TESTS_GUEST_LIB_DEVICES_H
#define LATCH_TESTS_GUEST_LIB_DEVICES_H
/* The state of the machine's devices, as far as it can be read, and changed where a reset must change
 * it back. */
#include "tests/guest/lib/payload.h"

enum device {
    DEVICE_PIC,
    DEVICE_ELCR,
    DEVICE_DMA,
    DEVICE_PIT,
    DEVICE_KEYBOARD,
    DEVICE_CLOCK,
    DEVICE_UART,
    DEVICE_IOAPIC,
    DEVICE_APIC, /* this processor's */
    DEVICE_PCI,
    DEVICES
};

const char *device_name(enum device device);
/* A sum over its state. Of the interrupt controllers and COM1, which payloads set up themselves, it
 * is as they found it. */
uint16_t device_sum(enum device device);
/* Gives it another state, and no interrupt with it. */
void device_change(enum device device);
/* What PCI configuration space shows. */
struct pci_counts {
    unsigned int functions, buses, last; /* the last: the highest bus with a function */
    unsigned int idle;                   /* virtio devices without a driver */
};
struct pci_counts device_pci(void);
/* PCI functions but bridges that may write to memory. */
unsigned int device_bus_masters(void);

#endif
