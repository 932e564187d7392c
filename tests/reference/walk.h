/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef LATCH_TESTS_REFERENCE_WALK_H
#define LATCH_TESTS_REFERENCE_WALK_H
/*
 * What a CPU with given paging properties makes of page tables, written from the manuals a second
 * time (SDM vol. 3 ch. 4, APM vol. 2 ch. 5) and from nothing in mmu/, for tests to compare with.
 * Every bit of every kind of entry is spelled as in the manuals' tables; formats.c has them.
 *
 * Pure, and compiled for the host and for guest payloads alike. Addresses are plain numbers: a
 * payload's, the guest's physical ones.
 */
#include "cpuid/paging_props.h"

/* The registers of which paging takes notice, as the guest reads them. */
struct reference_cpu {
    uint64_t cr0, cr3, cr4, efer;
    uint64_t pdpte[4]; /* PAE paging: as checked and loaded with CR3, if pdpte_held */
    uint32_t pkru, pkrs;
    bool pdpte_held; /* else PDPTEs are read, and checked, by each walk */
    bool ac;         /* RFLAGS.AC */
    struct paging_props props;
};

struct reference_memory {
    void *ctx;
    /* An entry of 4 or 8 bytes, naturally aligned; what reads as there is no memory. */
    uint64_t (*read)(void *ctx, uint64_t address, unsigned int size);
    /* Replaces it if it is still `expected`, or returns false. For reference_mark() only. */
    bool (*compare_exchange)(void *ctx, uint64_t address, unsigned int size, uint64_t expected,
                             uint64_t value);
};

/* One of READ, WRITE, FETCH; with USER at CPL 3; with IMPLICIT for the CPU's own accesses to
 * descriptor tables and the like, which are a supervisor's. The first four are rights, too. */
#define REFERENCE_READ     1U
#define REFERENCE_WRITE    2U
#define REFERENCE_FETCH    4U
#define REFERENCE_USER     8U
#define REFERENCE_IMPLICIT 16U

#define REFERENCE_LEVELS 5U

enum reference_outcome {
    REFERENCE_OK,
    REFERENCE_PAGE_FAULT,
    REFERENCE_NON_CANONICAL, /* #GP, or #SS for the stack */
};

/* An entry that the walk read from memory. */
struct reference_entry {
    uint64_t address, value;
    uint64_t set;  /* A and D: what the access must set in it */
    uint64_t may;  /* and may: A of tables above the entry with which a walk failed */
    uint8_t level; /* 5 to 1 */
    uint8_t size;  /* 4 or 8 bytes */
};

struct reference_result {
    enum reference_outcome outcome;
    uint32_t error_code; /* of the #PF; CR2 is the linear address */
    uint64_t address;    /* OK: physical */
    uint64_t page_size;  /* OK: in bytes; 4096 with paging off */
    unsigned int rights; /* OK: what the entries grant; FETCH unless XD */
    unsigned int level;  /* of the entry that decided, also where PDPTEs are held; 0: none */
    unsigned int entries;
    struct reference_entry entry[REFERENCE_LEVELS]; /* root first */
};

/* Reads at most five entries, each once, and writes none. */
void reference_walk(const struct reference_cpu *cpu, const struct reference_memory *memory,
                    uint64_t linear, unsigned int access, struct reference_result *result);

/* Sets the A and D bits that a walk asks for; false if an entry changed since: walk again. */
bool reference_mark(const struct reference_memory *memory, const struct reference_result *result);

/* Whether MOV to CR3 of this value gives #GP(0), PDPTEs left aside (SDM vol. 3 §4.5.1; APM vol. 2
 * §3.1.2). Outside long mode CR3 has 32 bits and takes all. */
bool reference_cr3_faults(const struct reference_cpu *cpu, uint64_t value);

/* Whether a PDPTE of PAE paging is present and has a reserved bit set. */
bool reference_pdpte_bad(const struct reference_cpu *cpu, uint64_t pdpte);

/* Whether loading these four gives #GP(0), as it does by Intel's rules (SDM vol. 3 §4.4.1). By
 * AMD's, as under nested paging, they are read when they are used (APM vol. 2 §15.25.10). */
bool reference_pdpte_faults(const struct reference_cpu *cpu, const uint64_t pdpte[4]);

/* Physical address bits: MAXPHYADDR, less the reduction where the model has a C-bit. */
unsigned int reference_width(const struct paging_props *props);

#endif
