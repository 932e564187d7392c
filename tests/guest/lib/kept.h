/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef LATCH_TESTS_GUEST_LIB_KEPT_H
#define LATCH_TESTS_GUEST_LIB_KEPT_H
/* What outlasts a reset: the clock's RAM from 60H on, beyond what firmware uses. */
#include <stdbool.h>
#include <stdint.h>

#define KEPT_BYTES 32U

uint16_t kept_word(unsigned int index);
void keep_word(unsigned int index, uint16_t value);
/* Keeps a word at `index` if it is the first; afterwards, whether it is the one kept there. */
bool is_as_kept(unsigned int index, bool first, uint16_t value);

#endif
