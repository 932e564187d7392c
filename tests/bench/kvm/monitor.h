/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef LATCH_TESTS_BENCH_KVM_MONITOR_H
#define LATCH_TESTS_BENCH_KVM_MONITOR_H
/* The parts of the monitor: memory.c makes the guest's memory, monitor.c runs it. */
#include "tests/bench/entry/entry.h"

/* Prints `broken: monitor: ...` with errno's text and the verdict, and exits. */
_Noreturn void fail(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* The guest's memory, by 4 KiB pages; those that the bench touches first are resident. */
uint8_t *memory_create(void);
/* Loads an ELF at its physical addresses; returns its entry. */
uint32_t memory_load(const char *path);

#endif
