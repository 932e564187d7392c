/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef LATCH_TESTS_BENCH_KVM_MONITOR_H
#define LATCH_TESTS_BENCH_KVM_MONITOR_H
/*
 * The parts of the monitor: memory.c makes the guest's memory, linux.c loads a kernel there,
 * monitor.c runs it, uart.c is its console, and counters.c tells its exits.
 */
#include "tests/bench/entry/entry.h"

/* Prints `broken: monitor: ...` with errno's text and the verdict, and exits. */
_Noreturn void fail(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* The guest's memory, by 4 KiB pages; those that the bench touches first are resident. */
uint8_t *memory_create(void);
/* Linux's memory, all resident and by as large pages as there are: KVM at its best. */
uint8_t *memory_create_linux(void);
/* A file, read only, and its size. */
const uint8_t *file_map(const char *path, size_t *size);
/* Loads an ELF at its physical addresses; returns its entry. */
uint32_t memory_load(const char *path);

/* Linux's memory, and where in it its boot_params are. */
#define LINUX_MEMORY (512UL << 20)
#define LINUX_PARAMS 0x10000U
/* Loads a bzImage with its initramfs and the words as command line; returns its 32-bit entry. */
uint32_t linux_load(uint8_t *memory, const char *kernel, const char *initrd, char *const *words);

#define UART_IRQ 4U
/* COM1's registers, by their offset from its first port; true at the last line of a guest. */
bool uart_write(unsigned int offset, uint8_t value);
uint8_t uart_read(unsigned int offset);
/* The level of a pin of the interrupt controllers. */
void set_irq(unsigned int pin, bool level);

/* Prints what a vCPU has exited for, by KVM's names, in the words in which Latch does. */
void counters_print(int vcpu);

#endif
