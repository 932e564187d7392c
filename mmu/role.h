/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef LATCH_MMU_ROLE_H
#define LATCH_MMU_ROLE_H
/*
 * The page role: all that decides the content or the meaning of one table page that Latch builds,
 * besides the guest's memory. Table pages are found by (gfn, canonical role), so two vCPUs share a
 * page if and only if their roles at that level are equal; see role_at_level().
 */
#include "mmu/mmu.h"

/* Whose entries stand in the page. */
enum page_format {
    FORMAT_NONE,
    FORMAT_HOST, /* long-mode tables of Latch's own */
    FORMAT_EPT,
    FORMAT_NPT,
    FORMAT_SHADOW_PAE, /* what the hardware's CR3 has while a guest runs on shadow tables */
    FORMAT_SHADOW_LONG,
};

/* The vendor rule in a role: 0 where both vendors' CPUs read the page alike. */
enum role_vendor { ROLE_VENDOR_ANY, ROLE_VENDOR_INTEL, ROLE_VENDOR_AMD };

union page_role {
    uint64_t raw;
    struct {
        /* What kind of page. */
        uint64_t level : 3;    /* 1 to 5, of the table that the hardware walks */
        uint64_t format : 3;   /* enum page_format */
        uint64_t direct : 1;   /* from guest-physical addresses; else from guest-linear ones */
        uint64_t access : 4;   /* enum access: what the guest's entries above leave */
        uint64_t quadrant : 2; /* which part of a guest's table of 4-byte entries this shadows */
        uint64_t execute_only : 1;   /* the format can grant EXECUTE without READ */
        uint64_t accessed_dirty : 1; /* the hardware keeps A and D bits in this format */
        uint64_t nested : 1;         /* built for the guest of a guest */
        uint64_t tables : 1;         /* nested tables that map Latch's shadow pages too */

        /* The guest's registers. */
        uint64_t mode : 3; /* enum paging_mode: also 4-byte entries, PSE, LA57 */
        uint64_t nxe : 1;  /* EFER.NXE */

        /* The guest's model. */
        uint64_t maxphyaddr : 6; /* paging_width() */
        uint64_t gbpages : 1;
        uint64_t vendor : 2; /* enum role_vendor */
        uint64_t cbit : 6;   /* position, 0 for none */
        uint64_t pse36 : 1;
        uint64_t pat : 1;

        /* Of the leaf that a direct shadow page splits: what its own leaves take over. */
        uint64_t leaf_cache : 3; /* PWT, PCD, PAT */
        uint64_t leaf_global : 1;
        uint64_t leaf_key : 4;
        uint64_t spare : 16; /* 0 */
    };
};

_Static_assert(sizeof(union page_role) == sizeof(uint64_t), "a role is compared as one number");

static inline bool role_equal(union page_role a, union page_role b)
{
    return a.raw == b.raw;
}

/* How a vCPU is paged: the machine's and the launch's part of its roles, constant while it runs. */
struct role_context {
    enum page_format format;
    bool direct; /* nested paging; with FORMAT_SHADOW_* true only while CR0.PG=0 */
    bool execute_only;
    bool accessed_dirty;
    bool nested;
    bool tables; /* nested paging of a vCPU that runs on shadow tables now */
};

/*
 * The role of a vCPU's root page, from a snapshot; not yet canonical, `level` is the root's.
 * CR0.WP never enters it, and with CR0.PG=0 nothing of CR4 and EFER.NXE: the page is then direct. LA57
 * enters only in long mode.
 */
union page_role role_from_state(const struct paging_state *state,
                                const struct role_context *context, unsigned int level);

/*
 * The canonical role of the page at `level` (at or below role.level) that covers `frame`: every
 * field that can decide neither this page nor any page below it is 0, or for MAXPHYADDR of a page
 * wholly beyond the limit 32. Equal canonical roles: equal reserved masks and equal mappings in the
 * whole subtree; unequal ones differ in one. Taken through an intermediate level the result is
 * the same. Quadrant and access are the caller's, and kept in shadow pages only.
 */
union page_role role_at_level(union page_role role, unsigned int level, gfn_t frame);

/*
 * The same for nested tables, where the shadow pages' guest-physical frames are [first, end): a page
 * that covers none of them is that of a model without a limit there, and `tables` 0.
 */
union page_role role_at_nested_level(union page_role role, unsigned int level, gfn_t frame,
                                     gfn_t first, gfn_t end);

/* Properties that read a table of this canonical role as those do that the role was made from. */
struct paging_props role_props(union page_role role);

/* The first frame that a direct page at `level` covering `frame` covers. */
gfn_t role_first_frame(unsigned int level, gfn_t frame);

/* The limit of a direct page: guest-physical addresses from here on are absent. A role without
 * MAXPHYADDR has none, nor has one with `tables`, as shadow entries keep to it: UINT64_MAX. */
uint64_t role_limit(union page_role role);

#endif
