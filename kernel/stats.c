/* SPDX-License-Identifier: BSD-2-Clause */
/* What a run cost, measured; stats_print.c tells it. */
#include "kernel/stats.h"
#include "kernel/memory.h"
#include "kernel/stats_data.h"
#include "kernel/x86.h"
#include <errno.h>
#include <string.h>

struct stats_boot stats_boot;
static uint64_t stage_start;

void stats_begin(void)
{
    stage_start = rdtsc();
}

void stats_stage(const char *name)
{
    const uint64_t now = rdtsc();
    if (stats_boot.count < STATS_STAGES)
        stats_boot.stage[stats_boot.count++] =
            (struct stats_stage){.name = name, .ticks = now - stage_start};
    stage_start = now;
}

int stats_time(struct vcpu *v)
{
    hpa_t first;
    int error = memory_alloc_pages((sizeof(*v->stats) + PAGE_SIZE - 1) / PAGE_SIZE, &first);
    if (error == 0)
        v->stats = memory_at(first);
    return error;
}

void stats_exit(struct vcpu *v, uint64_t ticks)
{
    unsigned int kind = 0;
    while (kind < EXIT_KINDS && v->exits[kind] == v->stats->seen[kind])
        kind++;
    histogram_add(&v->stats->time[kind], ticks);
    if (kind < EXIT_KINDS)
        memcpy(v->stats->seen, v->exits, sizeof(v->stats->seen));
}

void stats_renew(struct vcpu *v)
{
    if (v->stats != NULL)
        memset(v->stats, 0, sizeof(*v->stats));
}
