/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef LATCH_KERNEL_END_H
#define LATCH_KERNEL_END_H
/* How a run ends: the verdict line, the status for the emulator, power-off, reset or halt. */
#include "kernel/acpi.h"
#include "kernel/config.h"

/* Worst last; the numbers are those of the VERDICT hypercall and of the debug-exit port. */
enum verdict { VERDICT_SUCCESS, VERDICT_SKIP, VERDICT_ERROR, VERDICT_FAILURE };

/* What end_run() shall do; before it is told it halts. Both stay the caller's. */
void end_configure(const struct config *config, const struct acpi_info *acpi);
/* The guest's CPUs are not wholly as their models say: the verdict line will say so. */
void end_mark_inexact(void);
bool end_is_inexact(void);
/* Print the verdict line, for what is to follow it. */
void end_say_verdict(enum verdict verdict);
/* Give its number to the debug-exit port, where that ends the machine. */
void end_exit_port(enum verdict verdict);
/* The same, and end the machine as configured. The other CPUs must have stopped. */
_Noreturn void end_machine(enum verdict verdict);
/* The verdict line, and the end of the machine. */
_Noreturn void end_run(enum verdict verdict);
/* Power the machine off, or reset it, without a verdict: the guest asked for it and has given its
 * own. */
_Noreturn void end_power_off(void);
_Noreturn void end_reset(void);
_Noreturn void end_halt(void);
/* Print one line of refusal, then end_run(VERDICT_ERROR). */
_Noreturn void end_refuse(const char *format, ...) __attribute__((format(printf, 1, 2)));

#endif
