/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef LATCH_KERNEL_TSC_H
#define LATCH_KERNEL_TSC_H
/* Time from the TSC. */
#include <stdint.h>

/* Measure the TSC against the PIT; where no PIT ticks it stays unknown. Also sets time zero. */
void tsc_calibrate_pit(void);
/* Measure it against ACPI's PM timer at `port`, if it is still unknown. */
void tsc_calibrate_pm_timer(uint16_t port);
/* Its frequency in kHz; 0 while unknown. */
uint64_t tsc_khz(void);
/* Microseconds since time zero; TSC ticks in thousands while the frequency is unknown. */
uint64_t tsc_microseconds(void);
/* Spin for at least that long. */
void tsc_delay(uint64_t microseconds);

#endif
