/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef LATCH_TESTS_FAKE_SPEC_APPLY_H
#define LATCH_TESTS_FAKE_SPEC_APPLY_H
/* For the images that give their models what no CPU here has: spec_apply(), and what stands in its
 * place. */
#include "cpuid/spec.h"

int __real_spec_apply(const char *spec, struct model *m, const struct model *host,
                      const struct enforceable *can, char *message, size_t size);
int __wrap_spec_apply(const char *spec, struct model *m, const struct model *host,
                      const struct enforceable *can, char *message, size_t size);

#endif
