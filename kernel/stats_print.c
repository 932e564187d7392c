/* SPDX-License-Identifier: BSD-2-Clause */
#include "kernel/console.h"
#include "kernel/stats.h"
#include "kernel/stats_data.h"
#include "kernel/stats_roles.h"
#include "kernel/tsc.h"
#include "kernel/vm.h"
#include "kernel/x86.h"
#include <string.h>

#define BAR      "########################################"
#define BAR_SIZE (sizeof(BAR) - 1)
#define COUNTED  4096UL /* instructions that find out what the TSC counts */

static const char *unit;

/* `count` instructions and those that every measurement has. */
static uint64_t ticks_of(uint64_t count)
{
    uint64_t start = rdtsc(), left = count / 2;
    __asm__ volatile("1: dec %0\n\tjnz 1b" : "+r"(left));
    return rdtsc() - start;
}

/* Emulators can have the TSC tick once for each instruction. */
static bool counts_instructions(void)
{
    for (unsigned int i = 1; i <= 3; i++) {
        if (ticks_of((i + 1) * COUNTED) - ticks_of(i * COUNTED) != COUNTED)
            return false;
    }
    return true;
}

static void print_boot(void)
{
    uint64_t total = 0;
    for (unsigned int i = 0; i < stats_boot.count; i++)
        total += stats_boot.stage[i].ticks;
    for (unsigned int i = 0; i < stats_boot.count; i++) {
        const struct stats_stage *stage = &stats_boot.stage[i];
        const uint64_t share = total == 0 ? 0 : stage->ticks * 1000 / total;
        console_line("stats: boot %s: %lu %s, %lu.%lu %%", stage->name, stage->ticks, unit,
                     share / 10, share % 10);
    }
}

static void print_powers(const struct histogram *h)
{
    uint64_t count[HISTOGRAM_POWERS], most = 1;
    unsigned int first = HISTOGRAM_POWERS, last = 0;
    for (unsigned int power = 0; power < HISTOGRAM_POWERS; power++) {
        count[power] = histogram_power(h, power);
        if (count[power] == 0)
            continue;
        first = first < power ? first : power;
        last = power;
        most = most > count[power] ? most : count[power];
    }
    for (unsigned int power = first; power <= last; power++) {
        unsigned int bar = (unsigned int)((count[power] * BAR_SIZE + most - 1) / most);
        console_line("stats: %11lu |%-*.*s %lu", 1UL << power, (int)BAR_SIZE, (int)bar, BAR,
                     count[power]);
    }
}

static void print_exits(unsigned int kind)
{
    static struct histogram all;
    memset(&all, 0, sizeof(all));
    for (unsigned int i = 0; i < vm.vcpu_count; i++)
        histogram_merge(&all, &vm.vcpu[i]->stats->time[kind]);
    if (all.count == 0)
        return;
    console_line("stats: exit %s: %lu, %s min %lu median %lu max %lu",
                 kind == STATS_OTHER ? "other" : exit_name((enum exit_kind)kind), all.count, unit,
                 all.min, histogram_median(&all), all.max);
    print_powers(&all);
}

void stats_print(void)
{
    if (vm.vcpu[0]->stats == NULL)
        return;
    unit = counts_instructions() ? "instructions" : "ticks";
    print_boot();
    for (unsigned int kind = 0; kind <= STATS_OTHER; kind++)
        print_exits(kind);
    stats_print_roles();
}
