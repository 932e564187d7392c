/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef LATCH_TESTS_GUEST_MODEL_SEALED_H
#define LATCH_TESTS_GUEST_MODEL_SEALED_H
/*
 * tests/guest/model/: for payloads that hold the CPU against its sealed model. They are linked with
 * cpuid/, so that what a model means is asked of the same table as Latch asks.
 */
#include "cpuid/rules.h"

/* The sealed model of a vCPU, as MODEL_GET gives it, finished; and what follows from it, with what
 * the CPU's own registers say: IA32_TSX_CTRL only where IA32_ARCH_CAPABILITIES shows it. Ends the
 * run if there is none. The model is the caller's until the next call. */
const struct model *sealed_model(unsigned int vcpu, struct cpu_rules *rules);

/* The CPUID instruction. */
struct cpuid_regs cpuid_here(uint32_t leaf, uint32_t subleaf);

#endif
