/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef LATCH_KERNEL_STATS_ROLES_H
#define LATCH_KERNEL_STATS_ROLES_H

/* Print how many table pages there are of each role; part of stats_print(). */
void stats_print_roles(void);

#endif
