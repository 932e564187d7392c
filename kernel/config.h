/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef LATCH_KERNEL_CONFIG_H
#define LATCH_KERNEL_CONFIG_H
/*
 * Latch's configuration: `key=value` words on its command line. config.c has one table, a line
 * for each key with its kind, range, default and help.
 */
#include "kernel/refusal.h"
#include <stddef.h>
#include <stdint.h>

#define CONFIG_MODEL_MAX 256U
#define CONFIG_CPUS      64U

enum config_paging { PAGING_AUTO, PAGING_DIRECT, PAGING_SHADOW };
enum config_end { ON_END_POWEROFF, ON_END_RESET, ON_END_HALT };
enum config_reset { ON_RESET_RESET, ON_RESET_RELAUNCH, ON_RESET_POWEROFF, ON_RESET_HALT };
enum config_icr { ICR_TRAP_AUTO, ICR_TRAP_KEEP, ICR_TRAP_STARTUP };
enum config_switch { SWITCH_OFF, SWITCH_ON };
enum config_mitigations { MITIGATIONS_OFF, MITIGATIONS_AUTO, MITIGATIONS_ALL };

struct config {
    uint32_t console;         /* I/O port of Latch's console UART, 0: none */
    uint32_t vcpus;           /* 0: as many as there are CPUs */
    uint32_t paging;          /* enum config_paging */
    uint32_t exit_port;       /* debug-exit port that gets the verdict's status, 0: none */
    uint32_t on_end;          /* enum config_end */
    uint32_t on_reset;        /* enum config_reset: what a reset by the guest does */
    uint32_t icr_trap;        /* enum config_icr: how long writes to the ICR are trapped */
    uint32_t print_model;     /* enum config_switch: latch.model= is print */
    uint32_t stats;           /* enum config_switch: the run is measured */
    uint32_t mitigations;     /* enum config_mitigations: flush what the CPU's speculation needs */
    uint32_t test_hypercalls; /* enum config_switch */
    uint32_t pool;            /* MiB for page tables */
    uint32_t shadow;          /* MiB for shadow tables, if there are any */
    char model[CONFIG_MODEL_MAX];
    char generation2[CONFIG_MODEL_MAX];            /* of every second generation; empty: none */
    char cpu_model[CONFIG_CPUS][CONFIG_MODEL_MAX]; /* of one vCPU, instead of `model`, or empty */
    char cpu_generation2[CONFIG_CPUS][CONFIG_MODEL_MAX]; /* the same for `generation2` */
};

/*
 * Sets *config from the defaults and `command_line` (words separated by blanks). Returns 0, or
 * with the word and the allowed range in *why: -EINVAL (unknown key, no value, bad value),
 * -ERANGE (out of range, too long), -EEXIST (repeated), -ENOTSUP (a key of a later version).
 */
int config_parse(const char *command_line, struct config *config, struct refusal *why);

/*
 * Writes the help line of key number `index` into text. Returns 0, or -ENOENT after the last.
 */
int config_help(unsigned index, char *text, size_t size);

#endif
