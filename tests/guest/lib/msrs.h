/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef LATCH_TESTS_GUEST_LIB_MSRS_H
#define LATCH_TESTS_GUEST_LIB_MSRS_H
/* All MSRs that a guest can have: msr_port.c sees that there is none beside them. */
#include <stdbool.h>
#include <stdint.h>

struct msr_span {
    uint32_t first, last;
};
#define MSR_SPANS 38U
/* Which of them there are is the model's to say. */
extern const struct msr_span possible_msrs[MSR_SPANS];

/*
 * Whether this processor's hold what they held the first time; but the TSC, and what is the local
 * APIC's. Their sum is kept at `index` (kept.h); where it is another, all are printed.
 */
bool msrs_are_as_kept(unsigned int index, bool first);

/* Has the local APIC's timer go by IA32_TSC_DEADLINE, with this (vector, mask) in its LVT entry. False
 * where there is none. */
#define MSR_TSC_DEADLINE 0x6e0U
bool msrs_deadline_mode(uint32_t lvt);

/* Gives each of those that can be written one bit another value. Returns how many took it. */
unsigned int msrs_change(void);

#endif
