/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef LATCH_TESTS_GUEST_LIB_KEPT_H
#define LATCH_TESTS_GUEST_LIB_KEPT_H
/* What outlasts a reset: the clock's RAM from 60H on, beyond what firmware uses. */
#include <stdbool.h>
#include <stdint.h>

#define KEPT_BYTES 32U

/* Keeps a word at `index` if it is the first; afterwards, whether it is the one kept there. */
bool is_as_kept(unsigned int index, bool first, uint16_t value);

#endif
