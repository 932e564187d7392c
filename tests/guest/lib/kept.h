/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef LATCH_TESTS_GUEST_LIB_KEPT_H
#define LATCH_TESTS_GUEST_LIB_KEPT_H
/* What outlasts a reset: the clock's RAM from 60H on, beyond what firmware uses. */
#include <stdint.h>

#define KEPT_BYTES 32U

uint16_t kept_word(unsigned int index);
void keep_word(unsigned int index, uint16_t value);

#endif
