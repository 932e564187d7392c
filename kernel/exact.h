/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef LATCH_KERNEL_EXACT_H
#define LATCH_KERNEL_EXACT_H
/* Whether the guest gets what its models describe: said at launch, and again where it did not. */
#include <stdbool.h>

/*
 * Choose how each vCPU of vm is paged, by its sealed model and the configuration; fills v->paging
 * v->choice and v->unenforced. Says so on the console, two lines for each distinct model, and a
 * third where something that it hides cannot be made to fault.
 */
void exact_choose(void);

/* Whether all of every model is enforced. */
bool exact_everywhere(void);

/* Have the run's verdict say so if it is not, in whichever generation. */
void exact_mark_verdict(void);

/* At the end of the run: what was not enforced, if anything. */
void exact_report(void);

#endif
