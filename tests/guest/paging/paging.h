/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef LATCH_TESTS_GUEST_PAGING_PAGING_H
#define LATCH_TESTS_GUEST_PAGING_PAGING_H
/*
 * tests/guest/paging/: for payloads that compare what the CPU makes of page tables with what the
 * reference walker says. An access is tried under chosen registers, in long mode or in one of the
 * 32-bit modes, and what came of it is a struct outcome, as is what should have come of it.
 */
#include "tests/guest/lib/payload.h"
#include "tests/reference/walk.h"

#define PAGE_P           (1UL << 0)
#define PAGE_W           (1UL << 1)
#define PAGE_U           (1UL << 2)
#define PAGE_A           (1UL << 5)
#define PAGE_D           (1UL << 6)
#define PAGE_PS          (1UL << 7)
#define PAGE_G           (1UL << 8)
#define PAGE_XD          (1UL << 63)
#define PAGE_OFFSET_BITS 0xfffUL

#define CR4_PKS (1UL << 24)

#define PF_PRESENT  0x01U
#define PF_WRITE    0x02U
#define PF_RESERVED 0x08U

/* Within each page that a test maps: a word that tells its physical address, and code. */
#define DATA_OFFSET 0x800UL
#define CODE_OFFSET 0x900UL

struct outcome {
    unsigned int vector; /* or NO_FAULT */
    uint64_t error_code, cr2;
    uint32_t value;    /* that a read found, if it met no fault */
    uint64_t cr0, cr4; /* after it; 32-bit modes alone */
};

/* What is done to PAE's PDPTEs after CR3 was loaded and before the access: one is written in
 * memory, then CR0 or CR4 has two values in turn. */
struct pdpte_change {
    uint64_t pdpte_place, pdpte;
    unsigned int cr;
    uint64_t value[2];
    uint64_t kept;   /* what it has where the load faults */
    bool reloads;    /* one of them loads the PDPTEs where they are held */
    bool invalidate; /* INVLPG follows: the change flushes nothing */
};

/* ---- The model (model.c) ---- */

struct model {
    struct paging_props props;
    bool pdptes_held; /* loaded and checked with CR3, else read by each walk */
    bool smep, smap, pge, pku;
};
/* What this CPU's CPUID shows, and the command line's vendor=intel|amd (vendorN= for that of vCPU
 * N alone) and pdptes=load|demand. */
void model_read(struct model *model);
/* As many bits of CR4 as are set here, of those that can be. */
uint64_t model_cr4(const struct model *model);
void model_print(const char *who, const struct model *model);

/* ---- Physical memory (memory.c) ---- */

/* RAM by the boot loader's map, below 4 GiB and not Latch's: the payload reads and writes it. */
bool is_ram(uint64_t address);
/* Latch's own, of which a guest reads ones; after find_nothing(). */
bool is_latch(uint64_t address);
/* For reference_walk(): RAM as it is; all else as find_nothing() found it. */
extern const struct reference_memory physical_memory;
/* Finds out whether addresses without memory read as ones or zeros, under the runtime's own tables;
 * as tables they read as ones if the command line has nothing=ones. */
void find_nothing(void);
/* Whether a read that leads there may give that: ones of Latch's memory; where the guest has none above
 * 4 GiB, what find_nothing() found, or ones. Anything elsewhere below. */
bool may_read_as(uint64_t address, uint32_t value);
/* A pointer for the compiler not to reason about. */
void *at(uint64_t address);
/* Gives the page, and each that differs from it in one address bit, the content that
 * DATA_OFFSET and CODE_OFFSET speak of; `blank` ones: zeros. */
void fill_neighbours(uint64_t page, bool blank);
/* DATA_OFFSET's and CODE_OFFSET's content in a page, if it is RAM. */
void lay_page(uint64_t page);
uint32_t page_word(uint64_t address);

/* ---- Trying (attempt.c, attempt.asm) ---- */

/* Where user-mode code is mapped, in every mode; the kernel is mapped to itself. */
#define STUB_LINEAR_LONG   (7UL << 39)
#define STUB_LINEAR_LEGACY 0xa0000000UL

void attempt_init(void);
/* The physical page with the code that accesses: to be mapped at STUB_LINEAR for users. Data that may
 * change is at STUB_DATA. */
#define STUB_DATA 0x800UL
uint64_t stub_page(void);
/* Under the registers as they are, in 64-bit mode. `cpu` says whether AC is to be set. */
struct outcome attempt(const struct reference_cpu *cpu, uint64_t linear, unsigned int access,
                       uint32_t value);
/* The same by another instruction than MOV: the order is that of the code in attempt.asm. */
enum form {
    FORM_MOV,
    FORM_PUSH, /* with the stack at `linear`: users only */
    FORM_CALL, /* the same */
    FORM_STOS,
    FORM_MOVS,
    FORM_SSE,
    FORM_INS, /* supervisors only */
    FORM_LAR, /* at CPL 3 the CPU itself reads a descriptor there */
    FORM_DS,  /* at CPL 3 it sets A in one whose second half is there, DATA_DPL3 */
};
#define DATA_DPL3    0x00cff200U
#define DESCRIPTOR_A 0x100U
struct outcome attempt_by(enum form form, const struct reference_cpu *cpu, uint64_t linear,
                          unsigned int access, uint32_t value);
/* What it stores, given `value`. */
uint32_t attempt_stores(enum form form, uint32_t value);
/* In a 32-bit mode and back: entered with `first_cr3`, then CR3 loaded from cpu, then the change
 * made if there is one. */
struct outcome attempt_legacy(const struct reference_cpu *cpu, uint64_t first_cr3, uint64_t linear,
                              unsigned int access, uint32_t value,
                              const struct pdpte_change *change);
/* What should come of it: the walk, and the outcome by it. */
struct outcome expected(const struct reference_cpu *cpu, uint64_t linear, unsigned int access,
                        struct reference_result *walk);

/* Loads CR0, CR3, CR4 and EFER of a state in long mode, 4 or 5 levels. */
void enter_long(const struct reference_cpu *cpu);
/* The registers of this CPU now. */
void read_registers(struct reference_cpu *cpu);

/* ---- Tables that map the payload itself, for supervisors only (tables.c) ---- */

/* PML4 entries: [0] the first 4 GiB to themselves, [7] the stub. */
void fill_kernel_pml4(uint64_t *pml4);
/* PDPTEs: [0] the first GiB to itself, [2] the stub. */
void fill_kernel_pdpt(uint64_t *pdpt);
/* 32-bit PDEs: the first 4 MiB to themselves, and the stub. */
void fill_kernel_directory(uint32_t *directory);

#endif
