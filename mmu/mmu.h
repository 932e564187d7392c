/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef LATCH_MMU_MMU_H
#define LATCH_MMU_MMU_H
/*
 * mmu/: everything about page tables, and nothing else.
 *
 *   reserved.h   which bits of an entry a correct CPU faults on
 *   role.h       what, besides guest memory, decides a table page that Latch builds
 *   cache.h      table pages by (gfn, role), so that equal ones are shared
 *   encryption.h which memory has the host's C-bit
 *   format.h     how entries of each kind of table look
 *   table.h      the one builder and walker of tables, for the host's and for nested ones
 *   guest_map.h  which guest-physical memory is what
 *   mtrr.h       the memory type of physical memory
 *   direct.h     nested tables from guest-physical to host-physical memory
 *   walk.h       a walk of the guest's own tables, as the modelled CPU does it
 *   shadow.h     tables that the hardware walks in the place of the guest's own
 *
 * The folder is pure: no inline assembly, no privileged instruction, no state that is not passed
 * in. What it needs from outside comes through struct mmu_env, so that the same sources compile
 * for the host and are tested there. Nothing here locks: each header says which lock its caller
 * holds. Errors are negative errno values.
 */
#include "cpuid/paging_props.h"
#include "mmu/address.h"

/* What table builders need from outside. All four are set; none may call back into mmu/. */
struct mmu_env {
    void *ctx;
    /* A zeroed page for a table, or -ENOMEM. */
    int (*alloc_page)(void *ctx, hpa_t *page);
    /* Give a page of alloc_page() back. */
    void (*free_page)(void *ctx, hpa_t page);
    /* The pointer at which such a page is read and written. */
    void *(*map)(void *ctx, hpa_t page);
    /*
     * When this returns no CPU uses a translation, or a pointer to a table page, that it read from
     * a table before the call. Called after rights were lost and before a table page is freed.
     */
    void (*flush)(void *ctx);
};

/* Rights, or the kind of one access. USER matters in guests' tables only. */
enum access {
    ACCESS_READ = 1,
    ACCESS_WRITE = 2,
    ACCESS_EXECUTE = 4,
    ACCESS_USER = 8,
    ACCESS_RWX = ACCESS_READ | ACCESS_WRITE | ACCESS_EXECUTE,
};

/* Memory types as MTRRs and EPT entries number them: SDM vol. 3 table 12-8. 2, 3, 7 are reserved. */
enum cache_type {
    CACHE_UC = 0,
    CACHE_WC = 1,
    CACHE_WT = 4,
    CACHE_WP = 5,
    CACHE_WB = 6,
};

/*
 * What of a vCPU's registers, and of its sealed model, paging depends on. A snapshot: nothing here
 * follows the live registers. Values as the guest reads them.
 */
struct paging_state {
    uint64_t cr0, cr3, cr4, efer;
    uint64_t pdpte[4]; /* PAE: as loaded with CR3, if pdpte_held; else they are read from memory */
    uint32_t pkru, pkrs; /* rights by key of user pages, of supervisor pages */
    bool pdpte_held;
    bool ac; /* RFLAGS.AC */
    const struct paging_props *props;
};

/* The paging modes of SDM vol. 3 §4.1.1; 32-bit paging twice, as CR4.PSE changes its entries; and
 * the two nested formats, which have rules of their own for reserved bits. */
enum paging_mode {
    MODE_OFF,
    MODE_32BIT,
    MODE_32BIT_PSE,
    MODE_PAE,
    MODE_4LEVEL,
    MODE_5LEVEL,
    MODE_EPT,
    MODE_NPT,
};

/* The guest's mode by CR0.PG, CR4.PAE, CR4.PSE, CR4.LA57 and EFER.LMA; never EPT or NPT. */
enum paging_mode paging_mode(const struct paging_state *state);

/* Whether a load that takes the registers from `old` to `new` changes how tables are read, or is a flush
 * (SDM vol. 3 §4.10.4.1, APM vol. 2 §5.5.2); of CR3 nothing is looked at. Without paging none of it
 * counts. */
bool paging_changes(const struct paging_state *old, const struct paging_state *new);

/* Levels of its tables: 0 with paging off, 2 to 5. EPT and NPT: 4 (their fifth has no rule of its
 * own). */
unsigned int paging_levels(enum paging_mode mode);

/* Physical address bits of the model: MAXPHYADDR less the reduction while memory is encrypted,
 * never more than 52. */
unsigned int paging_width(const struct paging_props *props);

/* The size in bytes that one entry of a table at `level` (1 to 5) maps, with 8-byte entries. */
static inline uint64_t level_size(unsigned int level)
{
    return 1UL << (PAGE_SHIFT + 9U * (level - 1U));
}

#endif
