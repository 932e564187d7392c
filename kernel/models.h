/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef LATCH_KERNEL_MODELS_H
#define LATCH_KERNEL_MODELS_H
/* The CPU models of the guest: captured or read, cut to the policy, changed by the spec, sealed. */
#include "kernel/multiboot2.h"
#include "kernel/refusal.h"

/*
 * Give each vCPU of vm its model as vm.config->model says, each captured on its own CPU, and seal
 * them on pages that are read-only from then on. Fills v->model, props, rules, dynamic.
 * -errno with the reason.
 */
int models_seal(const struct boot_info *info, struct refusal *why);
/* Open the seal, and seal the next generation's models: no vCPU runs. Prints nothing but what
 * models_seal() prints. -errno with the reason; the guest can then not go on. */
int models_seal_next(struct refusal *why);
/* Whether each generation has the models of the first. After models_seal(). */
bool models_stay(void);
/* One line with the digest of the sealed models as they lie in memory now; at the end of a run. */
void models_print_digest(void);
/* Whether what each stopped vCPU keeps at hand of CPUID is what its sealed model and its state say; a
 * line for each where it is not. At the end of a run. */
bool models_answer_as_sealed(void);
/* Write to one of the pages, counted from 0, of the sealed models and of those that a generation's
 * are copied from: -EFAULT as it should be, 0 if that was not refused, -EINVAL for no such page. For
 * tests; nothing changes. */
int models_try_write(uint64_t page);

#endif
