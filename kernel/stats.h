/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef LATCH_KERNEL_STATS_H
#define LATCH_KERNEL_STATS_H
/*
 * What a run cost (stats=on): each exit by its reason, the boot by its stages, the table pages by
 * their roles, told after the end. A vCPU that is timed runs through another exit entry of the back
 * end, so that one that is not pays nothing.
 */
#include <stdint.h>

struct vcpu;

/* The boot begins; and a stage of it has ended, since the last one did. `name` stays. */
void stats_begin(void);
void stats_stage(const char *name);

/* Have the vCPU's exits timed: v->stats. Before it ran. -ENOMEM. */
int stats_time(struct vcpu *v);
/* An exit has been handled in so many ticks of the TSC; its reason is the one that v->exits has
 * counted meanwhile, if any. On the vCPU's CPU. */
void stats_exit(struct vcpu *v, uint64_t ticks);
/* Forget the exits, as v->exits is cleared for the next generation. */
void stats_renew(struct vcpu *v);

/* Print it all, when no other vCPU runs any more; nothing unless exits are timed. */
void stats_print(void);

#endif
