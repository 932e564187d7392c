/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef LATCH_KERNEL_APIC_H
#define LATCH_KERNEL_APIC_H
/*
 * The local APIC as Latch uses it: its id, and interrupts to other CPUs. While a guest runs it is
 * the guest's, in whichever mode that has put it, so each use asks for the mode anew.
 * SDM vol. 3 ch. 11, APM vol. 2 ch. 16.
 */
#include <stdbool.h>
#include <stdint.h>

#define APIC_BASE_X2APIC   (1U << 10)
#define APIC_BASE_ENABLE   (1U << 11)
#define APIC_REGISTER_STEP 16U /* bytes from one register to the next */
#define APIC_ID            0x20U
#define APIC_EOI           0xb0U
#define APIC_LDR           0xd0U
#define APIC_DFR           0xe0U
#define APIC_ISR           0x100U /* eight registers, 32 vectors each */
#define APIC_ICR           0x300U
#define APIC_ICR_HIGH      0x310U

/* ICR, low half. */
#define ICR_VECTOR       0xffU
#define ICR_MODE         0x700U
#define ICR_MODE_NMI     0x400U
#define ICR_MODE_INIT    0x500U
#define ICR_MODE_STARTUP 0x600U
#define ICR_LOGICAL      (1U << 11)
#define ICR_PENDING      (1U << 12)
#define ICR_ASSERT       (1U << 14)
#define ICR_LEVEL        (1U << 15)
#define ICR_SHORTHAND    (3U << 18)
#define ICR_SELF         (1U << 18)
#define ICR_ALL          (2U << 18)
#define ICR_OTHERS       (3U << 18)

/* Map the registers; once. -ENOMEM. */
int apic_init(void);
/* The physical address of the registers' page. */
uint64_t apic_page(void);
bool apic_is_x2apic(void);
uint32_t apic_id(void);
/* xAPIC registers, by byte offset; only in xAPIC mode. */
uint32_t apic_read(uint32_t offset);
void apic_write(uint32_t offset, uint32_t value);
/* Put this CPU's local APIC into its state after an INIT (SDM vol. 3 §11.4.7.3), in either mode.
 * Lets interrupts in, and so belongs where NMIs may come too. */
void apic_reset(void);
/* The highest vector in service on this CPU is done with, in either mode. */
void apic_end_of_interrupt(void);
/* The highest vector that is in service on this CPU, 0 for none, in either mode. */
uint8_t apic_in_service(void);
/* Send an interrupt to one CPU, in either mode. What the guest may have written into half of the
 * ICR is put back. */
void apic_send(uint32_t id, uint32_t icr);

#endif
