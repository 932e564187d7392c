/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef LATCH_TESTS_GUEST_LIB_LINGER_H
#define LATCH_TESTS_GUEST_LIB_LINGER_H
/* Where an INIT or a RESET may find a processor, its registers changed: what it did last in 64-bit
 * mode, or another mode that it is in. */
#include "tests/guest/lib/state.h"

enum linger_last {
    LAST_LOOP,
    LAST_HALT,
    LAST_HALT_OPEN, /* to interrupts */
    LAST_INTERRUPT, /* in the handler of one, with one more pending */
    LAST_NMI,
    LAST_NMI_SELF, /* and then its own INIT; so too the two below, in that shadow */
    LAST_STI,
    LAST_MOV_SS, /* with a #DB pending */
    LASTS
};
extern const char *const linger_last_name[LASTS];

struct linger_mode {
    const char *name;
    enum probe_mode mode;
    void *root;
    uint32_t cr4;
    bool halt;
};
#define LINGER_MODES 10U
extern const struct linger_mode linger_modes[LINGER_MODES];

/* Tables of 32-bit and of PAE paging that map the payload, as these modes have them. */
extern uint32_t linger_directory[1024];
extern uint64_t linger_pdpt[4];
/* Fills the page tables; to be called first. */
void linger_prepare(void);
/* Whether this processor, and this emulator by its words, can be found so. */
bool linger_can_last(enum linger_last last);
bool linger_can_mode(const struct linger_mode *mode);
/* Jobs: the argument is an enum linger_last, or a struct linger_mode. The processor says that it is
 * there, by `lingers` or by struct probe's, and goes on for ever. */
void linger_after(void *last);
void linger_in(void *mode);
extern volatile bool lingers;

/* Starts that job on a processor and waits until it is there; false if it does not get there. */
bool linger_start(unsigned int vcpu, job_fn *job, void *argument);

#endif
