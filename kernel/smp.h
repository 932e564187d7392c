/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef LATCH_KERNEL_SMP_H
#define LATCH_KERNEL_SMP_H
/* The machine's CPUs: starting them, and having them do something. */
#include "kernel/acpi.h"
#include "kernel/cpu.h"
#include "kernel/memory_map.h"
#include "kernel/refusal.h"

/* After so many microseconds without an effect a kick is repeated. */
#define KICK_AGAIN_US 1000U

/* All CPUs that run Latch, by index; constant after smp_start(). */
extern struct cpu *cpus[CPUS_MAX];
extern unsigned int cpu_count;

/* Make the boot processor cpus[0], on its early state, before anything is printed. */
void smp_init_boot_cpu(void);
/* Give the boot processor its tables and stacks. -ENOMEM. */
int smp_load_boot_cpu(void);
/*
 * Start every other CPU that the MADT has enabled and wait, for a bounded time, until each answers.
 * A page of RAM below 1 MiB serves for it and is then as it was.
 * -ENOMEM, -ETIMEDOUT, -ENOSPC, -ENOTSUP, with the reason.
 */
int smp_start(const struct acpi_info *acpi, const struct memory_map *map, struct refusal *why);
/* Have an idle CPU, or this one, call work(argument) and wait until it has returned; its result. */
int smp_call(struct cpu *cpu, int (*work)(void *argument), void *argument);
/* The same without waiting: the CPU need never return. */
void smp_send(struct cpu *cpu, int (*work)(void *argument), void *argument);
/* Make a CPU look at what was set for it, wherever it is, by an NMI. */
void smp_kick(struct cpu *cpu);

#endif
