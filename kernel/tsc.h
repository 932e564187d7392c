/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef LATCH_KERNEL_TSC_H
#define LATCH_KERNEL_TSC_H
/*
 * Time from the TSC.
 *
 * RESET makes it 0 (SDM vol. 3 table 10-1, APM vol. 2 table 14-1), and so does a relaunch, on all CPUs
 * by the same to the tick: by IA32_TSC_ADJUST, which the guest then sees as 0 (reads of it exit from
 * there on), without that register by a TSC offset. A deadline that the CPU compares with the TSC
 * without it (by an offset, and on Bochs in any case) exits from there on, and is set as far off.
 */
#include <stdbool.h>
#include <stdint.h>

/* Measure the TSC against the PIT; where no PIT ticks it stays unknown. Also sets time zero. */
void tsc_calibrate_pit(void);
/* Measure it against ACPI's PM timer at `port`, if it is still unknown. */
void tsc_calibrate_pm_timer(uint16_t port);
/* Its frequency in kHz; 0 while unknown. */
uint64_t tsc_khz(void);
/* Microseconds since time zero; TSC ticks in thousands while the frequency is unknown. */
uint64_t tsc_microseconds(void);
/* This CPU's TSC as if it had never been moved: what Latch itself measures time by. */
uint64_t tsc_host(void);
/* The TSC of a guest that has never written to it. */
uint64_t tsc_guest(void);
/* How far this CPU's guest has moved its TSC from that. */
uint64_t tsc_guest_moved(void);
/* A guest's RDMSR and WRMSR of IA32_TSC, IA32_TSC_ADJUST and IA32_TSC_DEADLINE of this CPU. -EIO if
 * the CPU does not take it. */
int tsc_read(uint32_t msr, uint64_t *value);
int tsc_write(uint32_t msr, uint64_t value);
/* Whether the hardware itself reads it as the guest is to see it, and takes what it writes. */
bool tsc_reads_pass(uint32_t msr);
bool tsc_writes_pass(uint32_t msr);
/* The guest's RESET is now. Once, then tsc_reset() on each CPU. */
void tsc_begin_again(void);
/* This CPU's TSC counts from there; where by an offset, it is this_cpu()->tsc_offset now. */
void tsc_reset(void);
/* Spin for at least that long. */
void tsc_delay(uint64_t microseconds);

#endif
