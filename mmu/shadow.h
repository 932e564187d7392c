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
 *              flushes: INVLPG looks at the entry for one address in its leaf table, and at all
 *              unsynced tables above leaf tables (the CPU drops all its paging-structure caches: SDM
 *              vol. 3 §4.10.4.1); a #PF of the guest's at the entries on the way to its address; a CR3
 *              load at all unsynced pages below the root, or, if it flushes nothing, at those that got
 *              something since its PCID was last current.
 * A page that nobody wrote between a few looks becomes tracked; the first write to a tracked one
 * makes it unsynced again. All pages of one guest frame are in the same state.
 * An entry exists only when the guest's has A set, and is writable only when it has D set: the
 * first use faults, and shadow_fault() sets them as the modelled CPU would.
 *
 * CR0.WP is 1 in hardware. A supervisor's write that only the guest's WP=0 allows puts the vCPU on
 * tables of its own, with WP=0 in hardware too, until the guest loads a control register or flushes
 * more than an address: shadow_private.h.
 *
 * Whatever writes guest memory besides the guest's own stores calls shadow_write() first. Devices do
 * not: what DMA writes into a tracked table is not noticed, and the shadow stays as it was until a
 * store of the guest's to that frame, or until the page is dropped. A CPU follows such a change after
 * the guest's next flush. So a guest whose devices write page tables, as a loader might that reads
 * them from a disk over old ones, is not served exactly.
 *
 * Flushes. A page that was unlinked waits in limbo for env->flush() before it is used again, and
 * frames are tracked only after one. All else is the caller's, on one vCPU: cpu->changed means that
 * all its linear translations go, with what the CPU holds of tables on the way to them.
 *
 * Locking: every function under the VM's table lock. CPUs may run the guest on the tables.
 */
#include "mmu/direct.h"
#include "mmu/shadow_entry.h"
#include "mmu/walk.h"

#define SHADOW_BUCKETS 4096U
/* Fewer pages than this for each vCPU, and as many once more, do not do: one instruction can use twelve
 * pages anywhere, each with four tables below the root. So does a far CALL through a gate: code, operand,
 * gate, descriptor, TSS and stack may all lie across a boundary. */
#define SHADOW_PAGES_PER_CPU 53U
/* Of them, what a vCPU holds besides private tables: the page that it keeps, and PAE's four roots. */
#define SHADOW_PINNED_PAGES 5U
/* What a vCPU's private tables can be (shadow_private.h), and its window in bytes. */
#define SHADOW_PRIVATE_PAGES 64U
#define SHADOW_SLOTS         32U
#define SHADOW_WINDOW        (SHADOW_SLOTS * PAGE_SIZE)

struct shadow_link {
    struct shadow_link *previous, *next;
};

/* What Latch remembers of one shadow page; descriptor i is page i's. */
struct shadow_page {
    struct shadow_link sync;  /* unsynced: in unsynced[], candidates, or an idle page's stale;
                               * or in tracked_pages */
    struct shadow_link idle;  /* without users, in one of the other lists of struct shadow */
    struct shadow_link stale; /* without users: unsynced pages that only it leads to, or itself */
    struct shadow_page *next; /* in its bucket */
    struct shadow_page
        *parent;          /* the one page that links to it; none, or `many`, vCPUs among them */
    gfn_t frame;          /* the guest's table; direct: the first frame that it maps */
    union page_role role; /* canonical */
    struct shadow_rules rules; /* unless direct */
    uint32_t users;            /* entries and vCPUs that point to it */
    uint8_t used;              /* a bit for each 64 entries: one may be there */
    uint8_t looks;             /* in a row that found it as it was, by what they cost */
    uint8_t patience;          /* looks after which it is to be tracked */
    uint8_t mark;              /* of a count */
    bool live, many, tracked;
    bool global; /* has had a global leaf */
    uint64_t
        news; /* by shadow.clock, when an entry came, or the page or what leads to it was linked,
                    * or it became unsynced */
};

struct shadow {
    const struct mmu_env *env;
    const struct walk_env *guest;
    struct direct *direct;
    struct shadow_page *pages;
    hpa_t first;
    uint8_t *tables; /* at `first`; the others follow in memory as they do physically */
    unsigned int count;
    bool track;
    /* Live pages are in a bucket, by frame alone, and without users in one of three lists. */
    struct shadow_link unused, limbo;
    struct shadow_link dead;        /* lost their last user in this call */
    struct shadow_link orphans;     /* tracked leaf tables, to be linked again; oldest first */
    struct shadow_link inactive;    /* roots without vCPU, with all below; oldest first */
    struct shadow_link unsynced[2]; /* leaf tables; others; what no vCPU can reach is left out */
    struct shadow_link candidates;  /* to be tracked at the end of this call */
    struct shadow_link tracked_pages;
    unsigned int kept;  /* the vCPUs' own pages: the first ones, for ever */
    unsigned int fresh; /* from here on no page was used since all were dropped */
    unsigned int unused_count, limbo_count, tracked, peak;
    uint64_t unlinked; /* links to tables, and large pages, dropped so far */
    uint64_t fills, evictions;
    uint64_t clock; /* counts loads of CR3 */
    struct shadow_cpu *cpus;
    struct shadow_page *bucket[SHADOW_BUCKETS];
};

#define SHADOW_STAYS 16U

/* The last time that a PCID was a vCPU's current one, if not flushed since. */
struct shadow_stay {
    uint64_t cr3, end; /* end: by shadow.clock, or 0 */
};

/* A vCPU's private tables, below its page of PDPTEs. */
struct shadow_private {
    bool on;
    unsigned int pages, used, slots; /* had, and those of them with something in them */
    struct shadow_page *page[SHADOW_PRIVATE_PAGES];
    gla_t linear[SHADOW_SLOTS]; /* the page that each slot is mapped at */
};

/* One vCPU's part. `state` is the caller's, changed only before shadow_load() or _unload(), but for
 * PKRU, PKRS and AC, which are those of the access before each shadow_fault() and _walk(). */
struct shadow_cpu {
    struct paging_state state; /* the guest's registers, as it reads them, PDPTEs held if Intel's */
    struct role_context context;
    union page_role role;          /* of the root, not yet canonical */
    union page_role root_role;     /* the same, canonical; long mode */
    uint64_t reserved[6][2];       /* reserved_mask() of the state, by level and leaf */
    struct shadow_page *root;      /* NULL while paging is off; PAE and 32-bit: pae_root */
    struct shadow_page *pae_root;  /* the vCPU's own: four PDPTEs, or the root of private tables */
    struct shadow_private private; /* on: the hardware's CR0.WP is to be 0 */
    struct shadow_cpu *next;
    struct shadow_stay stay[SHADOW_STAYS]; /* each PCID in a place of its own, or shared */
    uint64_t stay_cr3;                     /* of the one that lasts */
    uint64_t forgotten;                    /* stays that ended until then are not known any more */
    uint64_t unlinked; /* of struct shadow when all linear translations were last flushed */
    /* Out: what the hardware is to load. `changed`: anew, with a flush of all linear translations,
     * before the next entry; the caller clears it. */
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
 * An empty set of shadow tables in `count` pages from `first` on, contiguous physically and as
 * env->map() has them, which the nested tables that `direct` builds for roles with `tables` set map
 * too, at that same guest-physical address. Neither there nor in the SHADOW_WINDOW bytes for each of
 * `cpus` vCPUs that follow may the guest have memory. The first page for each vCPU must lie below
 * 4 GiB. `descriptors` has `count` elements. Guest memory is read and marked through `guest`. `track`
 * false: no page is ever tracked, for VMs some of whose vCPUs walk the guest's tables in hardware. `s`
 * must stay where it is, and `guest` has all functions.
 */
void shadow_init(struct shadow *s, const struct mmu_env *env, const struct walk_env *guest,
                 struct direct *direct, hpa_t first, unsigned int count, unsigned int cpus,
                 struct shadow_page *descriptors, bool track);

/* A vCPU's part, with paging off. Takes one page for its PDPTEs, and keeps it if called again:
 * -ENOMEM if there are fewer pages than SHADOW_PAGES_PER_CPU demands; -EBUSY for a new vCPU when other
 * pages are in use already. */
int shadow_cpu_init(struct shadow *s, struct shadow_cpu *cpu, const struct paging_props *props,
                    const struct role_context *context);

/* CR3, CR0, CR4 or EFER was loaded with CR0.PG=1: everything that the guest changed in its tables
 * until now is seen from here on. Sets cpu->changed; the caller flushes the linear translations of this
 * vCPU. Cannot fail. */
void shadow_load(struct shadow *s, struct shadow_cpu *cpu);

/* The same where nothing but CR3 was loaded; or with CR4.PCIDE all of its PCID was flushed. Without
 * `flush` (bit 63 of the operand, SDM vol. 3 §4.10.4.1) only what the CPU cannot hold of that PCID is
 * looked at. */
void shadow_load_cr3(struct shadow *s, struct shadow_cpu *cpu, bool flush);

/* The same where no register was loaded, or CR4 and only PGE changed: the guest flushed all linear
 * addresses, those of global pages and of other PCIDs too or not. */
void shadow_flush(struct shadow *s, struct shadow_cpu *cpu);

/* The guest flushed anything of a PCID that is not the current one. */
void shadow_forget_pcid(struct shadow_cpu *cpu, uint64_t pcid);

/* Paging was turned off: cpu->state.cr0.PG is 0. What it used stays for others, or for later. */
void shadow_unload(struct shadow *s, struct shadow_cpu *cpu);

/*
 * The hardware's walk of the shadow tables faulted; `access` as for guest_walk(). Walks the guest's
 * tables, sets A and D there, and puts the translation into the shadow. The caller need not flush, unless
 * cpu->changed: the CPU finds out by itself what has become of the address. After SHADOW_FAULT it flushes
 * that address, as not every CPU drops it with a #PF.
 */
enum shadow_outcome shadow_fault(struct shadow *s, struct shadow_cpu *cpu, gla_t address,
                                 unsigned int access, struct walk_result *result);

/* The vCPU's window: SHADOW_WINDOW bytes of guest-physical addresses. */
gpa_t shadow_window(const struct shadow *s, const struct shadow_cpu *cpu);

/* The nested tables did not let an access to an address in its window through. `access` as for
 * shadow_fault(). The guest is to try again; cpu->changed is set. */
void shadow_window_fault(struct shadow *s, struct shadow_cpu *cpu, gpa_t address,
                         unsigned int access);

/* An access that Latch makes for the guest's instruction: the walk of the guest's own tables, which
 * sets A and D, and puts nothing into the shadow. State and errors as for guest_walk(); after -EAGAIN
 * the instruction is to run again. */
int shadow_walk(struct shadow *s, const struct shadow_cpu *cpu, gla_t address, unsigned int access,
                struct walk_result *result);

/* The guest's INVLPG. The caller flushes the address on this vCPU, or all if cpu->changed. */
void shadow_invalidate(struct shadow *s, struct shadow_cpu *cpu, gla_t address);

/* The guest is about to write a page that the nested tables have read-only. True if that was
 * because it is tracked: it now is writable, and the guest may go on. False also if another vCPU
 * came first: then the nested tables already map it writable. */
bool shadow_write(struct shadow *s, gfn_t frame);

/* Whether any page of [first, first + count) is tracked, and so is not to be mapped writable. */
bool shadow_is_tracked(const struct shadow *s, gfn_t first, uint64_t count);

/* Drop all tables (guest reset), in no more time for many than for few, but for tracked ones; every
 * vCPU has been unloaded, and none runs before it has flushed all linear translations. */
void shadow_clear(struct shadow *s);

/* Figures for the console: begin to count. */
void shadow_count_begin(struct shadow *s);

/* Table pages that a vCPU reaches now, and that none counted for `model` (1 to 64) has reached since
 * then; its page of PDPTEs among them. All vCPUs of a model are counted before another's. */
unsigned int shadow_count_cpu(struct shadow *s, const struct shadow_cpu *cpu, unsigned int model);

struct shadow_stats {
    unsigned int capacity, pages, peak; /* of table pages */
    unsigned int shared;                /* that were counted for more than one model */
    unsigned int tracked, unsynced;
    uint64_t fills, evictions;
};
void shadow_count(const struct shadow *s, struct shadow_stats *stats);

#endif
