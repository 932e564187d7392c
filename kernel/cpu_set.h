/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef LATCH_KERNEL_CPU_SET_H
#define LATCH_KERNEL_CPU_SET_H
/* A set of CPUs or vCPUs, a bit for each, in words. Pure. */
#include <stddef.h>
#include <stdint.h>

#define CPU_SET_TEXT 40U /* leaves a line of the console room for what is said of them */

/* "0-1,3" of as much of the set as `text` has room for, from its lowest; returns the rest. */
uint64_t cpu_set_describe(uint64_t set, char *text, size_t size);

#endif
