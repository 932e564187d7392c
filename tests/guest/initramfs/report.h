/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The default guest's report on the machine that it finds. Each check prints lines that begin with
 * "report: " and returns its result; the worst one is the verdict.
 */
#ifndef LATCH_TESTS_GUEST_INITRAMFS_REPORT_H
#define LATCH_TESTS_GUEST_INITRAMFS_REPORT_H

#include <stddef.h>
#include <stdint.h>

/* In the order in which a later one outweighs an earlier one. */
enum result { SUCCESS, SKIP, ERROR, FAILURE };

/* Print one line "report: ok ..." (or skip, error, FAIL) and return result. */
enum result say(enum result result, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* The worse of two results. */
enum result worse(enum result a, enum result b);

/* The value of "key=value" on the kernel's command line, or NULL. Valid until the end. */
const char *argument(const char *key);

/* Run the calling thread on this CPU alone; 0, or -1 with errno where it does not exist. */
int run_on(int cpu);

/* The number of CPUs that are online; they are numbered from 0 without gaps. */
int online_cpus(void);

/* The number of CPUs against expect.cpus=. */
enum result check_cpus(void);

/*
 * CPUID, leaf by leaf, the same twice and on every CPU; /proc/cpuinfo says nothing that CPUID does
 * not; expect.maxphyaddr= and expect.noflags=.
 */
enum result check_cpuid(void);

/* Sleeps take their time by the monotonic clock, and each CPU's local APIC timer ticks. */
enum result check_timer(void);

/* Most of the free memory (report.mem= in MiB: so much of it) written and read back, page by page,
 * from different CPUs. */
enum result check_memory(void);

#endif
