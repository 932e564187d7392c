/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef LATCH_TESTS_GUEST_PAGING_KNOWN_H
#define LATCH_TESTS_GUEST_PAGING_KNOWN_H
#include "tests/guest/paging/paging.h"

/* Faults of the emulators. Each changes what is expected, exactly; some meet in one access. */
enum known {
    RESERVED_WITHOUT_PRESENT, /* TCG: the error code of a reserved bit lacks P */
    PML4E_BIT_8_IGNORED,      /* TCG, Bochs: reserved by AMD's rules */
    PDPTE_AS_TABLE,           /* TCG: PAE's has an A bit there, and 2:1 and 8:5 are not reserved */
    HUGE_ACCESSED_EARLY,      /* TCG: sets A in a 1 GiB page's entry, then refuses the access */
    LEAF_MARKED_EARLY,        /* Bochs' EPT: A and D of a leaf, before its address is refused */
    KNOWN
};
#define WALK_FAULTS ((1U << KNOWN) - 1U)

extern unsigned int known_allowed; /* a bit for each */
/* By the command line: tcg-faults, bochs-faults, narrow-faults (direct, with a smaller
 * MAXPHYADDR); with a vCPU's number behind, that one's alone. Those of vCPU `index`, and the boot
 * processor's into known_allowed. */
unsigned int known_faults_of(unsigned int index);
void known_faults_init(void);
/* Counts each of a set. */
void known_count(unsigned int faults);
/* ", known NAME COUNT" of each that was met since the last time, on the current line. */
void known_faults_print(void);

/* What a CPU with these faults makes of it: first the model is bent, then the outcome. */
void known_bend_model(unsigned int faults, struct reference_cpu *cpu);
void known_bend_outcome(unsigned int faults, const struct reference_cpu *cpu, uint64_t linear,
                        unsigned int access, struct outcome *wanted, struct reference_result *walk);

#endif
