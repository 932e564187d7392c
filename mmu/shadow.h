/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef LATCH_MMU_SHADOW_H
#define LATCH_MMU_SHADOW_H
/*
 * Shadow tables: what the hardware walks instead of the guest's own, from guest-linear to
 * guest-physical addresses; the nested tables (direct.h) go on from there. So a shadow entry can
 * never reach what is not the guest's, a guest page may be of any size whatever the nested ones
 * are, and a write to one guest page is caught in the nested tables: there is no reverse map.
 *
 * A shadow page stands for one of the guest's tables, found by (gfn, canonical role), and all that
 * it holds follows from that table's entries and from its role. Or, direct, it splits a large guest
 * page where that cannot be mapped whole.
 *
 * Shadow tables are a TLB that the guest does not see. Each page is either
 *   tracked    the guest's table is read-only in the nested tables: the shadow is up to date, or
 *   unsynced   the guest writes the table without an exit, and the shadow follows when the guest
 *              flushes: INVLPG looks at the entries on one address' way, a CR3 load at all unsynced
 *              pages below the root. A page that nobody wrote between two looks becomes tracked; the
 *              first write to a tracked one makes it unsynced again.
 * An entry exists only when the guest's has A set, and is writable only when it has D set: the
 * first use faults, and shadow_fault() sets them as the modelled CPU would.
 *
 * Locking: every function under the VM's table lock. CPUs may run the guest on the tables.
 */
#include "mmu/direct.h"
#include "mmu/walk.h"

struct shadow_page;
struct shadow; /* defined in this header once it is there */

/* One vCPU's part. `state` is the caller's, changed only before shadow_load() or _unload(). */
struct shadow_cpu {
    struct paging_state state; /* the guest's registers, as it reads them, PDPTEs held if Intel's */
    struct role_context context;
    struct shadow_page *root; /* NULL while paging is off */
    struct shadow_page *pae_root; /* the vCPU's own page of four PDPTEs */
    /* Out: what the hardware is to load. `changed`: anew, before the next entry. */
    hpa_t cr3;
    uint64_t pdpte[4];
    bool changed;
};

enum shadow_outcome {
    SHADOW_RETRY,  /* the tables have it now, or the guest's tables moved: run it again */
    SHADOW_FAULT,  /* the guest's own #PF: error code in the result, CR2 is the address */
    SHADOW_ABSENT, /* the address means memory of Latch's: result->address */
};

/*
 * An empty set of shadow tables in `count` physically contiguous pages from `first` on, which the
 * nested tables that `direct` builds for roles with `tables` set map too. `descriptors` has `count`
 * elements. Guest memory is read and marked through `guest`. `track` false: no page is ever
 * tracked, for VMs some of whose vCPUs walk the guest's tables in hardware.
 */
void shadow_init(struct shadow *s, const struct mmu_env *env, const struct walk_env *guest,
                 struct direct *direct, hpa_t first, unsigned int count,
                 struct shadow_page *descriptors, bool track);

/* A vCPU's part, with paging off. Takes one page for its PDPTEs: -ENOMEM. */
int shadow_cpu_init(struct shadow *s, struct shadow_cpu *cpu, const struct paging_props *props,
                    const struct role_context *context);

/* CR3, CR0, CR4 or EFER was loaded with CR0.PG=1, or the guest flushed more than one address:
 * everything that the guest changed in its tables until now is seen from here on. Sets cpu->changed;
 * the caller flushes the linear translations of this vCPU. Cannot fail. */
void shadow_load(struct shadow *s, struct shadow_cpu *cpu);

/* Paging was turned off: cpu->state.cr0.PG is 0. What it used stays for others, or for later. */
void shadow_unload(struct shadow *s, struct shadow_cpu *cpu);

/*
 * The hardware's walk of the shadow tables faulted; `access` as for guest_walk(). Walks the guest's
 * tables, sets A and D there, and puts the translation into the shadow. The caller need not flush:
 * the fault has dropped what the TLB had of the address.
 */
enum shadow_outcome shadow_fault(struct shadow *s, struct shadow_cpu *cpu, gla_t address,
                                 unsigned int access, struct walk_result *result);

/* The guest's INVLPG. The caller flushes the address on this vCPU. */
void shadow_invalidate(struct shadow *s, struct shadow_cpu *cpu, gla_t address);

/* The guest is about to write a page that the nested tables have read-only. True if that was
 * because it is tracked: it now is writable, and the guest may go on. */
bool shadow_write(struct shadow *s, gfn_t frame);

/* Whether any page of [first, first + count) is tracked, and so is not to be mapped writable. */
bool shadow_is_tracked(const struct shadow *s, gfn_t first, uint64_t count);

/* Drop all tables (guest reset); every vCPU has been unloaded and none runs. */
void shadow_clear(struct shadow *s);

/* Figures for the console. */
struct shadow_stats {
    unsigned int capacity, pages, peak; /* of table pages */
    unsigned int tracked, unsynced;
    uint64_t fills, evictions;
};
void shadow_count(const struct shadow *s, struct shadow_stats *stats);

#endif
