/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef LATCH_TESTS_BENCH_WHOLE_WHOLE_H
#define LATCH_TESTS_BENCH_WHOLE_WHOLE_H
/*
 * What the bench runs in Debian's user space, in place of the default guest's report. Words of the
 * kernel's command line say what: `bench.load=NAME bench.seconds=N` puts a load on each CPU,
 * `bench.rows rounds=N` measures what processes cost; else it is the report, with the time of its verdict.
 */

/* Runs the load on each CPU for so many seconds, and says how often each went round; 0, or 1 where
 * there is no load of that name or it failed. */
int run_load(const char *name, unsigned int seconds);

/* Prints what a process costs by the TSC, as rows of the bench, each of up to 2048 rounds; 0, or 1
 * where a process failed or the number is none. */
int measure_rows(unsigned int rounds);

/* Waits for a child: 0 where it ended with 0. */
int await(int child);

#endif
