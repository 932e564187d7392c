/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef LATCH_TESTS_GUEST_LIB_STATE_H
#define LATCH_TESTS_GUEST_LIB_STATE_H
/* Registers given other values than INIT and RESET leave, and looked at again. */
#include "tests/guest/lib/probe.h"

#define STATE_MSRS  12U
#define STATE_MARK  0x5eedf00d12345678UL /* in each half of the vector registers, and CR2 */
#define STATE_FCW   0x27fU
#define STATE_MXCSR 0x9fc0U

/* MSRs that INIT keeps. They fault where the model has none. */
struct state_msr {
    const char *name;
    uint32_t msr;
    uint64_t reset, other;
};
extern const struct state_msr state_msr[STATE_MSRS];

/* What the tables say, where INIT and RESET differ. */
struct state_wanted {
    uint64_t cr0, xcr0, msr[STATE_MSRS], xmm, ymm, st0;
    uint64_t mtrr; /* 0: not looked at */
    uint64_t tsc;  /* at least */
    uint32_t mxcsr;
    uint16_t fcw;
    uint8_t tags;
};

/* What only 64-bit code can look at. */
struct state_later {
    bool there[STATE_MSRS];
    uint64_t msr[STATE_MSRS], xmm, ymm, xcr0, tsc, mtrr;
};

/* What state_change() left. */
extern struct state_later state_before;

/* Gives this processor's registers other values, CR0.CD the one that the caller wants. Interrupts
 * are off afterwards. */
void state_change(bool cache_off);
/* Fills the struct state_later that the argument is. */
void state_look(void *argument);
/* As probe_compare(). */
unsigned int state_compare(const char *name, const struct state_later *found,
                           const struct state_wanted *wanted);
unsigned int state_compare_fpu(const char *name, const struct probe *found,
                               const struct state_wanted *wanted);

#endif
