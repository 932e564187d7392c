/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef LATCH_KERNEL_INTERRUPTS_H
#define LATCH_KERNEL_INTERRUPTS_H
/*
 * Latch's own GDT, TSS and IDT. Latch runs with interrupts off; what comes is NMIs (other CPUs'
 * calls), exceptions at places that expect them (rdmsr_safe, write_safe), and Latch's own faults, which are
 * fatal. NMI, #DF and #MC have stacks of their own (IST 1 to 3).
 */
#include "kernel/cpu.h"
#include <stdbool.h>

/* Interrupt stack table indices, 0-based in struct tss. */
enum ist { IST_NMI, IST_DF, IST_MC, IST_COUNT };

/* Fill the IDT; once, on the boot processor. */
void interrupts_init(void);
/* Load GDT, TSS, IDT and GS base on this CPU; cpu->tss.ist must be set. */
void interrupts_load(struct cpu *cpu);
/* Only GS base and newlib's state: enough to print, before the stacks exist. */
void interrupts_load_early(struct cpu *cpu);
/* Sleep until *flag is true, woken by an NMI; no wake-up can be lost. */
void wait_for_nmi(const volatile bool *flag);
/* Take the interrupts that are requested of this CPU, and forget them. */
void interrupts_drop(void);
/* Let NMIs in again where a guest in its handler of one had them blocked; Latch's own is not to be
 * left so. */
void nmis_open(void);

#endif
