/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef LATCH_CPUID_CAPTURE_H
#define LATCH_CPUID_CAPTURE_H

#include "cpuid/model.h"

/* The CPUID instruction, as the caller runs it: fills *regs for EAX=leaf, ECX=subleaf. */
typedef void cpuid_fn(void *ctx, uint32_t leaf, uint32_t subleaf, struct cpuid_regs *regs);

/*
 * Reads every leaf and subleaf of the CPU behind `fn` into *m, which is open afterwards (see
 * model_finish()). Leaves beyond the model's ranges are left out. -E2BIG if there are too many.
 */
int model_capture(struct model *m, cpuid_fn *fn, void *ctx);

#endif
