/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef LATCH_TESTS_BENCH_ENTRY_ENTRY_H
#define LATCH_TESTS_BENCH_ENTRY_ENTRY_H
/*
 * How each monitor of ours starts the bench's guest: as GRUB does, by multiboot 1 in 32-bit
 * protected mode, with EAX and EBX as below and flat segments.
 */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define VCPUS_MAX       8U
#define MEMORY_SIZE     (256UL << 20)
#define LOW_SIZE        (1UL << 20)  /* what entry_describe() fills */
#define FRESH           (64UL << 20) /* as in the payload's bench.h */
#define MULTIBOOT_MAGIC 0x2badb002U
#define MULTIBOOT_INFO  0x1000U

/* Fills the guest's first LOW_SIZE bytes, which are 0: the multiboot information, with the words as
 * command line, and ACPI tables that name the CPUs. False if the words are too long. */
bool entry_describe(uint8_t *low, unsigned int cpus, char *const *words);

/* To put `size` bytes at a guest-physical address, and zeros behind them up to `whole` bytes. */
typedef void entry_put_fn(uint64_t address, const uint8_t *bytes, size_t size, size_t whole);
/* Has an ELF put at its physical addresses; its entry, or 0 if it reaches beyond FRESH. */
uint32_t entry_load(const uint8_t *image, entry_put_fn *put);

#endif
