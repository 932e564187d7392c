/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef LATCH_KERNEL_MEASURES_H
#define LATCH_KERNEL_MEASURES_H

struct vcpu;

/* Choose what the entry stub flushes for this vCPU (v->measures): by its CPU, on which it is called,
 * or nothing with mitigations=off, or all that it has. See kernel/speculation.h. */
void measures_choose(struct vcpu *v);
/* One line: what is on, and why. */
void measures_print(const struct vcpu *v);

#endif
