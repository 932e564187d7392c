/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef LATCH_TESTS_GUEST_PAGING_TRIAL_H
#define LATCH_TESTS_GUEST_PAGING_TRIAL_H
/*
 * One access under given registers and tables, compared with what the model says of it: vector,
 * error code, CR2, what was read or written where, and the A and D bits afterwards.
 */
#include "tests/guest/paging/known.h"

/* An entry on the way to the page. */
struct slot {
    uint64_t address, value;
};

struct trial {
    const char *mode, *entry; /* for people: which mode, which kind of entry */
    int bit;                  /* that is changed in it, or -1 */
    bool legacy, wide;        /* in a 32-bit mode; entries of 8 bytes */
    bool pdptes_held;
    bool second; /* the entries and the TLB stay as the last trial left them */
    uint64_t first_cr3;
    struct reference_cpu cpu;
    uint64_t linear;
    unsigned int access;
    enum form form;                    /* other than MOV in long mode only */
    const struct pdpte_change *change; /* PAE alone; or NULL */
    unsigned int slots;
    struct slot slot[REFERENCE_LEVELS];
};

struct tally {
    unsigned long cases, skipped, differences;
};

/* With print=all on the command line each outcome is printed, right or wrong. */
void trial_init(void);
/* Counts a load of CR3, and prints it as try_trial() does. */
void count_cr3_load(const char *mode, uint64_t cr3, const struct outcome *wanted,
                    const struct outcome *found, struct tally *tally);
/* The walk that it should make, on a CPU with these known faults. Lays its entries. */
void predict(const struct trial *trial, unsigned int faults, struct reference_result *walk);
/* Makes the access and counts it; prints the first differences in full. A fetch from where no code
 * was laid is skipped. */
void try_trial(const struct trial *trial, struct tally *tally);
/* PAE (pdptes.c): the PDPTE at `place` is made bad, absent and another after CR3 was loaded, and then
 * each bit of CR0 and CR4 changes that loads PDPTEs anew where they are held (SDM vol. 3 §4.4.1),
 * or does not; where they are not held the next walk sees the new one (APM vol. 2 §15.25.10).
 * `cr4`: the bits of CR4 that the model has. */
void try_pdpte_loads(struct trial *trial, uint64_t linear, uint64_t place, uint64_t cr4,
                     struct tally *tally);

#endif
