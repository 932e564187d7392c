/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef LATCH_KERNEL_TSC_H
#define LATCH_KERNEL_TSC_H
/*
 * Time from the TSC.
 *
 * RESET makes it 0 (SDM vol. 3 table 10-1, APM vol. 2 table 14-1). Here the next generation finds it as
 * if no guest had ever written to it: a TSC offset does not move what IA32_TSC_DEADLINE is compared
 * with, so each deadline would have to exit; moved itself, it shows in IA32_TSC_ADJUST, which RESET
 * makes 0, too; and without that register no two CPUs' TSCs can be moved by the same to the tick.
 */
#include <stdint.h>

/* Measure the TSC against the PIT; where no PIT ticks it stays unknown. Also sets time zero. */
void tsc_calibrate_pit(void);
/* Measure it against ACPI's PM timer at `port`, if it is still unknown. */
void tsc_calibrate_pm_timer(uint16_t port);
/* Its frequency in kHz; 0 while unknown. */
uint64_t tsc_khz(void);
/* Microseconds since time zero; TSC ticks in thousands while the frequency is unknown. */
uint64_t tsc_microseconds(void);
/* This CPU's TSC as if no guest had written to it: what Latch itself measures time by. */
uint64_t tsc_host(void);
/* A guest's write to IA32_TSC or IA32_TSC_ADJUST of this CPU. -EIO if the CPU does not take it. */
int tsc_write(uint32_t msr, uint64_t value);
/* Put this CPU's TSC where it would be without them; after IA32_TSC_ADJUST is what it was. */
void tsc_restore(void);
/* Spin for at least that long. */
void tsc_delay(uint64_t microseconds);

#endif
