/* SPDX-License-Identifier: BSD-2-Clause */
#include "mmu/walk.h"
#include "mmu/registers.h"
#include "mmu/reserved.h"
#include <errno.h>

#define ENTRY_PRESENT  (1UL << 0)
#define ENTRY_WRITE    (1UL << 1)
#define ENTRY_USER     (1UL << 2)
#define ENTRY_ACCESSED (1UL << 5)
#define ENTRY_DIRTY    (1UL << 6)
#define ENTRY_PS       (1UL << 7)
#define ENTRY_NX       (1UL << 63)
#define ADDRESS_MASK   0x000ffffffffff000UL

#define LEVELS_MAX 5U
#define ATTEMPTS   16U

struct walk {
    const struct walk_env *env;
    const struct paging_state *state;
    enum paging_mode mode;
    unsigned int size;       /* of an entry */
    unsigned int index_bits; /* of the linear address, for each level */
    bool nx;                 /* entries can deny execution */
    uint64_t table_bits;     /* of an entry: the address of the next table */
    uint64_t linear;
    unsigned int access;
    struct walk_result *result;
    /* What was read, by level: for the A and D bits. */
    gpa_t place[LEVELS_MAX + 1];
    uint64_t entry[LEVELS_MAX + 1];
};

static bool is_32bit(enum paging_mode mode)
{
    return mode == MODE_32BIT || mode == MODE_32BIT_PSE;
}

static bool is_long(enum paging_mode mode)
{
    return mode == MODE_4LEVEL || mode == MODE_5LEVEL;
}

static bool nxe(const struct walk *walk)
{
    return walk->state->efer & EFER_NXE;
}

static uint64_t reserved(const struct walk *walk, unsigned int level, bool leaf)
{
    if (walk->env->reserved)
        return walk->env->reserved[level][leaf];
    return reserved_mask(walk->mode, level, leaf, walk->state->props, nxe(walk));
}

static uint64_t table_bits(const struct walk *walk)
{
    unsigned int cbit = walk->state->props->cbit;

    if (is_32bit(walk->mode))
        return 0xfffff000UL;
    return cbit != 0 && cbit < 64U ? ADDRESS_MASK & ~(1UL << cbit) : ADDRESS_MASK;
}

static uint64_t table_address(const struct walk *walk, uint64_t entry)
{
    return entry & walk->table_bits;
}

static uint64_t root_address(const struct walk *walk)
{
    if (walk->mode == MODE_PAE)
        return walk->state->cr3 & 0xffffffe0UL;
    return table_address(walk, walk->state->cr3);
}

/* What one entry at `level` maps. */
static unsigned int entry_shift(const struct walk *walk, unsigned int level)
{
    return PAGE_SHIFT + walk->index_bits * (level - 1U);
}

static bool is_leaf(const struct walk *walk, uint64_t entry, unsigned int level)
{
    if (level == 1)
        return true;
    if (!(entry & ENTRY_PS))
        return false;
    return level == 2 ? walk->mode != MODE_32BIT : level == 3 && is_long(walk->mode);
}

static int read_entry(struct walk *walk, uint64_t table, unsigned int level)
{
    unsigned int size = walk->size;
    uint64_t index = walk->linear >> entry_shift(walk, level);
    uint64_t *entry = &walk->entry[level];

    index &= (1U << walk->index_bits) - 1U;
    walk->place[level] = gpa(table + index * size);
    if (walk->mode == MODE_PAE && level == 3 && walk->state->pdpte_held) {
        *entry = walk->state->pdpte[index & 3U];
        return 0;
    }
    return walk->env->read(walk->env->ctx, walk->place[level], size, entry);
}

/* A #PF; SDM vol. 3 §4.7. */
static int fault(struct walk *walk, uint32_t cause)
{
    uint64_t cr4 = walk->state->cr4;

    if (walk->access & ACCESS_WRITE)
        cause |= PF_WRITE;
    if (walk->access & ACCESS_USER)
        cause |= PF_USER;
    if ((walk->access & ACCESS_EXECUTE) && ((cr4 & CR4_SMEP) || ((cr4 & CR4_PAE) && nxe(walk))))
        cause |= PF_FETCH;
    walk->result->error_code = cause;
    return -EFAULT;
}

/* The rights that an entry takes away. PAE's PDPTEs have none to give or take. */
static unsigned int denied(const struct walk *walk, uint64_t entry, unsigned int level)
{
    unsigned int rights = 0;

    if (walk->mode == MODE_PAE && level == 3)
        return 0;
    if (!(entry & ENTRY_WRITE))
        rights |= ACCESS_WRITE;
    if (!(entry & ENTRY_USER))
        rights |= ACCESS_USER;
    if (walk->nx && (entry & ENTRY_NX))
        rights |= ACCESS_EXECUTE;
    return rights;
}

/* Whether a write is forbidden that is a user's, or that only CR0.WP=0 allows. */
static bool write_forbidden(const struct walk *walk, bool user)
{
    if (user || (walk->state->cr0 & CR0_WP))
        return true;
    walk->result->without_wp = true;
    return false;
}

/* Whether the protection key forbids a data access: SDM vol. 3 §4.6.2. */
static bool key_forbids(const struct walk *walk, uint64_t leaf)
{
    const struct paging_state *state = walk->state;
    bool user_page = walk->result->rights & ACCESS_USER;
    unsigned int shift = (unsigned int)(leaf >> 59 & 15U) * 2U;
    uint32_t rights = (user_page ? state->pkru : state->pkrs) >> shift;

    if (!is_long(walk->mode) || !(state->cr4 & (user_page ? CR4_PKE : CR4_PKS)) ||
        (walk->access & ACCESS_EXECUTE))
        return false;
    if (rights & 1U)
        return true;
    return (rights & 2U) && (walk->access & ACCESS_WRITE) &&
           write_forbidden(walk, user_page && (walk->access & ACCESS_USER));
}

/* Whether the rights forbid the access, keys left aside: SDM vol. 3 §4.6.1. */
static bool rights_forbid(const struct walk *walk)
{
    const struct paging_state *state = walk->state;
    unsigned int rights = walk->result->rights;
    bool user = walk->access & ACCESS_USER;
    bool user_page = rights & ACCESS_USER;

    if (user && !user_page)
        return true;
    if (walk->access & ACCESS_EXECUTE)
        return !(rights & ACCESS_EXECUTE) || (!user && user_page && (state->cr4 & CR4_SMEP));
    if ((walk->access & ACCESS_WRITE) && !(rights & ACCESS_WRITE) && write_forbidden(walk, user))
        return true;
    return !user && user_page && (state->cr4 & CR4_SMAP) &&
           (!state->ac || (walk->access & WALK_IMPLICIT));
}

static int check_rights(struct walk *walk, uint64_t leaf)
{
    bool key = key_forbids(walk, leaf);

    if (!key && !rights_forbid(walk))
        return 0;
    return fault(walk, PF_PRESENT | (key ? PF_KEY : 0));
}

/* Set A in all entries that were used, and D in the leaf if it is written: SDM vol. 3 §4.8. */
static int mark_entries(const struct walk *walk, unsigned int leaf_level)
{
    unsigned int top = paging_levels(walk->mode);

    if (!walk->env->compare_exchange)
        return 0;
    for (unsigned int level = walk->mode == MODE_PAE ? 2 : top; level >= leaf_level; level--) {
        uint64_t marked = walk->entry[level] | ENTRY_ACCESSED;
        int rc = 0;

        if (level == leaf_level && (walk->access & ACCESS_WRITE))
            marked |= ENTRY_DIRTY;
        if (marked != walk->entry[level])
            rc = walk->env->compare_exchange(walk->env->ctx, walk->place[level], walk->size,
                                             walk->entry[level], marked);
        if (rc != 0)
            return rc;
    }
    return 0;
}

/* The address that a leaf gives. Bits 20:13 of a 4 MiB PDE are bits 39:32 (SDM vol. 3 §4.3). */
static void set_address(struct walk *walk, uint64_t leaf, unsigned int level)
{
    uint64_t size = 1UL << entry_shift(walk, level);
    uint64_t page = table_address(walk, leaf) & ~(size - 1UL);

    if (is_32bit(walk->mode) && level == 2 && walk->state->props->pse36)
        page |= (leaf & 0x1fe000UL) << 19;
    walk->result->page_size = size;
    walk->result->address = gpa(page | (walk->linear & (size - 1UL)));
}

static int walk_once(struct walk *walk)
{
    uint64_t table = root_address(walk);
    unsigned int level = paging_levels(walk->mode);
    int rc;

    *walk->result = (struct walk_result){.rights = ACCESS_RWX | ACCESS_USER};
    for (;; level--) {
        uint64_t entry;
        bool leaf;

        rc = read_entry(walk, table, level);
        if (rc != 0)
            return rc;
        entry = walk->entry[level];
        walk->result->level = level;
        walk->result->entry = entry;
        if (!(entry & ENTRY_PRESENT))
            return fault(walk, 0);
        leaf = is_leaf(walk, entry, level);
        if (entry & reserved(walk, level, leaf))
            return fault(walk, PF_PRESENT | PF_RESERVED);
        walk->result->rights &= ~denied(walk, entry, level);
        if (leaf)
            break;
        table = table_address(walk, entry);
    }
    rc = check_rights(walk, walk->entry[level]);
    if (rc != 0)
        return rc;
    set_address(walk, walk->entry[level], level);
    return mark_entries(walk, level);
}

static bool canonical(uint64_t address, enum paging_mode mode)
{
    unsigned int shift = mode == MODE_5LEVEL ? 56 : 47;
    uint64_t top = address >> shift;

    return top == 0 || top == ~0UL >> shift;
}

int guest_walk(const struct walk_env *env, const struct paging_state *state, gla_t address,
               unsigned int access, struct walk_result *result)
{
    struct walk walk; /* what was read is left out: it is written before it is looked at */
    int rc = -EAGAIN;

    walk.env = env;
    walk.state = state;
    walk.mode = paging_mode(state);
    walk.linear = address.raw;
    walk.access = access;
    walk.result = result;

    *result = (struct walk_result){.rights = ACCESS_RWX | ACCESS_USER};
    walk.size = is_32bit(walk.mode) ? 4 : 8;
    walk.index_bits = is_32bit(walk.mode) ? 10 : 9;
    walk.nx = !is_32bit(walk.mode) && nxe(&walk);
    walk.table_bits = table_bits(&walk);
    if (!is_long(walk.mode))
        walk.linear &= 0xffffffffUL;
    else if (!canonical(address.raw, walk.mode))
        return -EINVAL;
    if (walk.mode == MODE_OFF) {
        result->address = gpa(walk.linear);
        result->page_size = PAGE_SIZE;
        return 0;
    }
    for (unsigned int i = 0; rc == -EAGAIN && i < ATTEMPTS; i++)
        rc = walk_once(&walk);
    return rc;
}
