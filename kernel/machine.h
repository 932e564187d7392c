/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef LATCH_KERNEL_MACHINE_H
#define LATCH_KERNEL_MACHINE_H
/*
 * Emulators whose known faults Latch must get around. One table in machine.c: how each is told,
 * and what follows. Real machines and KVM have none.
 */
#include <stdbool.h>

/* Find out what machine this is; once. `oem` is the OEM id of the RSDP. */
void machine_detect(const char oem[6]);
/* Its name for the console. */
const char *machine_name(void);
/* CPUID says that a hypervisor is below Latch. */
bool machine_has_hypervisor(void);
/* It is a software emulator. */
bool machine_emulated(void);
/* An INIT to a CPU that runs the guest reaches Latch by an exit. */
bool machine_catches_init(void);
/* MONITOR/MWAIT work between CPUs. */
bool machine_keeps_mwait(void);
/* It takes SVM's intercepts of XSETBV and RDTSCP. */
bool machine_intercepts_xsetbv(void);
/* It takes SVM's intercept of hardware task switches. */
bool machine_intercepts_task_switch(void);
/* It refuses reserved bits in CR4. */
bool machine_checks_cr4(void);
/* Its page walks set the accessed bit in PAE's PDPTEs, where it is reserved. */
bool machine_marks_pdptes(void);
/* SVM's EXITINTINFO is right when an exit broke off the delivery of an interrupt. */
bool machine_tells_interrupts(void);
/* An address without memory reads as zeros, not as all ones. */
bool machine_reads_zeros(void);
/* Its page walks set A and D bits before an EPT violation of the address that they lead to. */
bool machine_marks_before_violations(void);
/* It ends a guest of SVM's that sets reserved bits in CR3, where a CPU raises #GP. */
bool machine_ends_bad_cr3(void);
/* IA32_TSC_DEADLINE is compared with the TSC as it was moved by IA32_TSC_ADJUST. */
bool machine_moves_deadlines(void);

#endif
