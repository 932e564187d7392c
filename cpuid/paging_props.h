/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The properties of a CPU model that decide how its page tables are read. They stand alone, so
 * that mmu/ needs nothing else of a model. They are part of the sealed model and never change
 * within a generation.
 */
#ifndef LATCH_CPUID_PAGING_PROPS_H
#define LATCH_CPUID_PAGING_PROPS_H

#include <stdbool.h>
#include <stdint.h>

/* Whose rules for reserved bits and PDPTEs hold; not what CPUID leaf 0 spells. */
enum paging_vendor {
    PAGING_INTEL,
    PAGING_AMD,
};

struct paging_props {
    uint8_t maxphyaddr; /* bits, 32..52: CPUID.80000008H:EAX[7:0], 36 without that leaf */
    uint8_t cbit;       /* position of the C-bit (APM vol. 2 §7.10), 0 for none */
    uint8_t reduction;  /* bits by which maxphyaddr shrinks while memory is encrypted */
    uint8_t vendor;     /* enum paging_vendor */
    bool gbpages;       /* 1 GiB leaves: CPUID.80000001H:EDX[26] */
    bool nx;            /* EFER.NXE can be set: CPUID.80000001H:EDX[20] */
    bool pse36;         /* 36..40-bit addresses in 4 MiB leaves: CPUID.1:EDX[17] */
    bool pat;           /* the PAT bit of leaves is no reserved bit: CPUID.1:EDX[16] */
    bool la57;          /* 5-level paging: CPUID.7.0:ECX[16] */
};

_Static_assert(sizeof(struct paging_props) == 9, "compared as bytes: it may hold no padding");

/* True if the two read every page table alike. */
static inline bool paging_props_equal(const struct paging_props *a, const struct paging_props *b)
{
    return a->maxphyaddr == b->maxphyaddr && a->cbit == b->cbit && a->reduction == b->reduction &&
           a->vendor == b->vendor && a->gbpages == b->gbpages && a->nx == b->nx &&
           a->pse36 == b->pse36 && a->pat == b->pat && a->la57 == b->la57;
}

#endif
