/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef LATCH_TESTS_REFERENCE_NESTED_H
#define LATCH_TESTS_REFERENCE_NESTED_H
/*
 * What a host's CPU makes of nested page tables, written from the manuals a second time (SDM vol. 3
 * §29.3, APM vol. 2 §15.25) and from nothing in mmu/, for tests to compare with.
 */
#include "tests/reference/walk.h"

struct reference_nested {
    uint64_t root; /* the first table, its C-bit included */
    unsigned int levels;
    bool npt;                 /* else EPT */
    bool execute_only;        /* EPT: the CPU can grant execution alone */
    bool nxe;                 /* NPT: the host's EFER.NXE */
    struct paging_props host; /* gbpages: 1 GiB leaves of this format */
};

enum reference_nested_outcome {
    NESTED_MAPPED,
    NESTED_ABSENT,        /* EPT violation, or #NPF with P=0: an entry is not present */
    NESTED_FORBIDDEN,     /* EPT violation, or #NPF with P=1: the access has no right */
    NESTED_MISCONFIGURED, /* EPT misconfiguration, or #NPF with RSVD */
    NESTED_OUTCOMES
};

struct reference_nested_result {
    enum reference_nested_outcome outcome;
    unsigned int level;  /* of the entry that decided */
    uint64_t address;    /* if mapped, as all below: physical */
    uint64_t page_size;  /* in bytes */
    unsigned int rights; /* of REFERENCE_READ, _WRITE, _FETCH */
    unsigned int type;   /* EPT: the memory type; NPT: by the PAT of power-on, UC- as UC */
    unsigned int entries;
    uint64_t entry[REFERENCE_LEVELS]; /* as read, root first, whatever the outcome */
};

/* One access, READ, WRITE or FETCH, to a guest-physical address. Only memory->read is used. */
void reference_nested_walk(const struct reference_nested *nested,
                           const struct reference_memory *memory, uint64_t address,
                           unsigned int access, struct reference_nested_result *result);

#endif
