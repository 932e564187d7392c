/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef LATCH_TESTS_GUEST_LIB_STATE_H
#define LATCH_TESTS_GUEST_LIB_STATE_H
/* Registers given other values than INIT and RESET leave, and looked at again. */
#include "tests/guest/lib/probe.h"

#define STATE_MSRS  14U
#define STATE_MARK  0x5eedf00d12345678UL /* in each half of the vector registers, and CR2 */
#define STATE_FCW   0x27fU
#define STATE_MXCSR 0x9fc0U
#define STATE_XMMS  8U /* XMM8 to XMM15, which only 64-bit code can look at */

/* MSRs that INIT keeps. They fault where the model has none. */
struct state_msr {
    const char *name;
    uint32_t msr;
    uint64_t reset, other;
};
extern const struct state_msr state_msr[STATE_MSRS];

/* What the tables say, where INIT and RESET differ. */
struct state_wanted {
    uint64_t cr0, xcr0, msr[STATE_MSRS], xmm, st;
    uint64_t
        components; /* of XSAVE's, those that are as state_change() left them; others initial */
    uint64_t instruction, data; /* the x87's pointers */
    uint64_t mtrr;              /* 0: not looked at */
    uint64_t tsc;               /* at least, */
    uint64_t tsc_below;         /* and less than this */
    uint32_t mxcsr;
    uint16_t fcw;
    uint8_t tags;
};

/* What only 64-bit code can look at. */
struct state_later {
    bool there[STATE_MSRS];
    uint64_t msr[STATE_MSRS], xmm[STATE_XMMS][2], xcr0, tsc, mtrr;
    uint64_t components, changed, initial; /* of XSAVE's: looked at; as changed; as initialized */
    uint64_t instruction, data;            /* only in what state_change() left */
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
/* Starts this processor, which INIT or RESET has stopped, compares all, and sees that no event of
 * before is left; `unpaged`: it had paging off, so that nothing of its translations may be lost.
 * Prints `ok NAME`, or what differs. */
void state_check_start(unsigned int vcpu, const char *name, const struct state_wanted *wanted,
                       bool unpaged);

#endif
