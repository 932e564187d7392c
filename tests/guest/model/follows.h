/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef LATCH_TESTS_GUEST_MODEL_FOLLOWS_H
#define LATCH_TESTS_GUEST_MODEL_FOLLOWS_H
#include "cpuid/rules.h"

/*
 * Checks on this processor all that follows from its model: bits of CR4, EFER, XCR0 and XSS, MSRs and
 * instructions work where the model has them and fault where it has not. `works NAME` is printed for
 * a hidden instruction that works, for the suite to compare with what Latch has said. One processor
 * at a time. Words: unsettable-efer=HEX, of which the CPU refuses these whatever its CPUID says;
 * unchecked-xcr0.
 */
void follows_check(const struct cpu_rules *of);

#endif
