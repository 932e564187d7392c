/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef LATCH_TESTS_GUEST_MODEL_HIDDEN_H
#define LATCH_TESTS_GUEST_MODEL_HIDDEN_H
#include "cpuid/policy.h"

/*
 * What may differ between two finished models of which the second lacks one feature of the first,
 * and what cannot stand without it, and nothing else: the first bit that differs without leave, or
 * that should differ and does not, is described in text. False then.
 */
bool hidden_alone(const struct model *full, const struct model *cut,
                  const struct policy_feature *feature, char *text, size_t size);

#endif
