/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef LATCH_KERNEL_STATS_DATA_H
#define LATCH_KERNEL_STATS_DATA_H
/* What stats.c fills and stats_print.c reads. */
#include "kernel/histogram.h"
#include "kernel/vcpu.h"

#define STATS_STAGES 32U
#define STATS_OTHER  EXIT_KINDS /* exits that never reach exit_dispatch() */

/* Of one vCPU; its own CPU only, until it has stopped. */
struct vcpu_stats {
    uint64_t seen[EXIT_KINDS]; /* v->exits as the last exit left it */
    struct histogram time[EXIT_KINDS + 1];
};

struct stats_stage {
    const char *name;
    uint64_t ticks;
};

struct stats_boot {
    unsigned int count;
    struct stats_stage stage[STATS_STAGES];
};
extern struct stats_boot stats_boot;

#endif
