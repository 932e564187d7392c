/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef LATCH_KERNEL_PAGING_CHOICE_H
#define LATCH_KERNEL_PAGING_CHOICE_H
/*
 * How a vCPU's paging is enforced, by what its model has and its host. Pure; paging_choice.c has
 * the table, a line for each property of a model.
 */
#include "cpuid/paging_props.h"
#include <stddef.h>

enum vcpu_paging {
    PAGED_DIRECT, /* the hardware walks the guest's tables, and that is exact */
    PAGED_NARROW, /* the same, with a smaller MAXPHYADDR that Latch checks: VMX only */
    PAGED_SHADOW, /* the hardware walks Latch's tables */
};

/* What may be had; auto has both. */
enum paging_wanted { WANTED_AUTO, WANTED_DIRECT, WANTED_SHADOW };

struct paging_question {
    const struct paging_props *model;
    const struct paging_props *host; /* the most that the model could have been */
    uint64_t cr4, efer;              /* the bits that the model lets the guest set */
    bool narrow;                     /* the back end has PAGED_NARROW */
    bool marks;      /* but A and D bits are set before it has found an address beyond the limit */
    bool checks_cr3; /* the back end can have loads of CR3 exit and walk the guest's tables */
    bool lam;        /* the CPU has LAM, which no model has: CR3[62:61] are not reserved */
    enum paging_wanted wanted;
};

struct paging_choice {
    enum vcpu_paging paging;
    bool checks_cr3;       /* PAGED_DIRECT, but loads of CR3 exit; PAGED_NARROW has them anyway */
    uint32_t unlike;       /* the table's lines in which model and host differ, where it matters */
    uint32_t not_enforced; /* of these, what the guest will notice */
};

struct paging_choice paging_choose(const struct paging_question *question);

#define PAGING_TEXT 100U /* leaves a line of the console room for what is said of them */

/* The lines of a set in words, separated by ", ": "MAXPHYADDR 36 of 40, 1 GiB pages hidden"; as many
 * as `text`, of PAGING_TEXT or more, has room for. Returns the rest of the set. */
uint32_t paging_describe(const struct paging_question *question, uint32_t set, char *text,
                         size_t size);

#endif
