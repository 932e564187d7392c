/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef LATCH_KERNEL_IPI_H
#define LATCH_KERNEL_IPI_H
/*
 * INIT and SIPI between the guest's vCPUs. The sender's write to the ICR is trapped: an INIT stops
 * the other vCPU, a SIPI starts it, both in software; all other interrupts are handed on to the
 * hardware. Once all vCPUs have started, the trap goes away (icr-trap=): where the CPU catches a
 * later INIT by an exit it is set up again then.
 */
#include "kernel/exit.h"
#include <stdint.h>

struct vcpu;

/* Whether the trap is set at launch: there are other CPUs, parked ones too, or told to keep it. */
bool ipi_trap_needed(void);
/* A write to the x2APIC's ICR. */
enum exit_action ipi_x2apic_write(struct vcpu *v, struct exit *exit, uint64_t value);
/* A write to a register of the xAPIC's page, by byte offset. */
enum exit_action ipi_xapic_write(struct vcpu *v, uint32_t offset, uint32_t value);
/* Latch called this vCPU: its writes to the x2APIC's ICR may have to be trapped again. */
void ipi_follow_trap(struct vcpu *v);
/* An INIT reached a running vCPU by its own exit: SIPIs must be seen again. */
void ipi_init_arrived(struct vcpu *v);

#endif
