/* SPDX-License-Identifier: BSD-2-Clause */
#include "mmu/role.h"
#include "mmu/registers.h"

union page_role role_from_state(const struct paging_state *state,
                                const struct role_context *context, unsigned int level)
{
    const struct paging_props *props = state->props;
    enum paging_mode mode = paging_mode(state);
    union page_role role = {.level = level,
                            .format = context->format,
                            .direct = context->direct || mode == MODE_OFF,
                            .access = ACCESS_RWX | ACCESS_USER,
                            .execute_only = context->execute_only,
                            .accessed_dirty = context->accessed_dirty,
                            .nested = context->nested,
                            .tables = context->tables,
                            .maxphyaddr = paging_width(props)};

    if (mode == MODE_OFF)
        return role;
    role.mode = mode;
    role.nxe = (state->efer & EFER_NXE) != 0;
    role.gbpages = props->gbpages;
    role.vendor = props->vendor == PAGING_AMD ? ROLE_VENDOR_AMD : ROLE_VENDOR_INTEL;
    role.cbit = props->cbit;
    role.pse36 = props->pse36;
    role.pat = props->pat;
    return role;
}

struct paging_props role_props(union page_role role)
{
    return (struct paging_props){.maxphyaddr = role.maxphyaddr,
                                 .cbit = role.cbit,
                                 .vendor =
                                     role.vendor == ROLE_VENDOR_AMD ? PAGING_AMD : PAGING_INTEL,
                                 .gbpages = role.gbpages,
                                 .pse36 = role.pse36,
                                 .pat = role.pat};
}

/* How many frames a page at `level` covers. A level has three bits. */
static uint64_t frames_covered(unsigned int level)
{
    return 1UL << 9U * (level & 7U);
}

gfn_t role_first_frame(unsigned int level, gfn_t frame)
{
    return gfn(frame.raw & ~(frames_covered(level) - 1UL));
}

uint64_t role_limit(union page_role role)
{
    return role.maxphyaddr != 0 && !role.tables ? 1UL << role.maxphyaddr : UINT64_MAX;
}

/* A direct page depends on the guest only by where its MAXPHYADDR cuts it off. Both the limit and
 * what a page covers are powers of two, so the limit lies inside a page only if that begins at 0. */
static union page_role direct_role(union page_role role, unsigned int level, gfn_t frame)
{
    union page_role result = {
        .level = level, .format = role.format, .direct = 1, .tables = role.tables};
    uint64_t first = role_first_frame(level, frame).raw << PAGE_SHIFT;
    uint64_t limit = role_limit(role);

    if (role.format == FORMAT_SHADOW_PAE || role.format == FORMAT_SHADOW_LONG) {
        result.leaf_cache = role.leaf_cache;
        result.leaf_global = role.leaf_global;
        result.leaf_key = role.leaf_key;
        return result;
    }
    if (role.tables)
        return result;
    if (first >= limit)
        result.maxphyaddr = 32;
    else if (first == 0 && role.maxphyaddr < PAGE_SHIFT + 9U * level)
        result.maxphyaddr = role.maxphyaddr;
    return result;
}

/* The fields that no entry of 32-bit paging depends on. */
static void clear_for_32bit(union page_role *role)
{
    bool pse = role->mode == MODE_32BIT_PSE;

    role->nxe = 0;
    role->gbpages = 0;
    role->vendor = ROLE_VENDOR_ANY;
    role->cbit = 0;
    /* A table of 1024 entries is shadowed by two, a directory by four. */
    if (role->level == 1)
        role->quadrant &= 1U;
    else if (role->level > 2)
        role->quadrant = 0;
    /* PSE changes a PTE only where its PAT bit is reserved. */
    if (!pse || (role->level == 1 && role->pat)) {
        role->mode = MODE_32BIT;
        role->pat = 0;
        pse = false;
    }
    /* Only 4 MiB leaves have address bits above 31; at a width of 32 they have none either. */
    if (!pse || role->level == 1 || !role->pse36 || role->maxphyaddr <= 32) {
        role->pse36 = 0;
        role->maxphyaddr = 0;
    } else if (role->maxphyaddr > 40) {
        role->maxphyaddr = 40;
    }
}

/* With the C-bit right above the width, the next width has the same reserved bits. */
static void join_cbit(union page_role *role)
{
    if (role->cbit != 0 && role->cbit == role->maxphyaddr)
        role->maxphyaddr++;
}

static void clear_for_pae(union page_role *role)
{
    join_cbit(role);
    role->quadrant = 0;
    role->gbpages = 0;
    role->vendor = ROLE_VENDOR_ANY;
    role->pse36 = 0;
}

static void clear_for_long(union page_role *role)
{
    join_cbit(role);
    role->quadrant = 0;
    role->pse36 = 0;
    role->pat = 0;
    if (role->level <= 4)
        role->mode = MODE_4LEVEL;
    if (role->level < 4)
        role->vendor = ROLE_VENDOR_ANY;
    if (role->level < 3)
        role->gbpages = 0;
}

union page_role role_at_level(union page_role role, unsigned int level, gfn_t frame)
{
    if (role.direct)
        return direct_role(role, level, frame);
    role.level = level;
    switch ((enum paging_mode)role.mode) {
    case MODE_OFF:
        break;
    case MODE_32BIT:
    case MODE_32BIT_PSE:
        clear_for_32bit(&role);
        break;
    case MODE_PAE:
        clear_for_pae(&role);
        break;
    case MODE_4LEVEL:
    case MODE_5LEVEL:
        clear_for_long(&role);
        break;
    case MODE_EPT: /* shadows of a guest's own nested tables depend on all that the role has */
    case MODE_NPT:
        break;
    }
    return role;
}

union page_role role_at_nested_level(union page_role role, unsigned int level, gfn_t frame,
                                     gfn_t first, gfn_t end)
{
    union page_role result = role_at_level(role, level, frame);
    uint64_t covered = role_first_frame(level, frame).raw;

    if (end.raw <= covered || first.raw >= covered + frames_covered(level))
        result.tables = 0;
    return result;
}
