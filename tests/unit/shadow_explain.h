/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef LATCH_TESTS_UNIT_SHADOW_EXPLAIN_H
#define LATCH_TESTS_UNIT_SHADOW_EXPLAIN_H
/*
 * Which translations a CPU may use after the guest changed its tables and did not flush: put
 * together from all versions of the entries since the flush, by a walker apart from Latch's.
 */
#include "tests/unit/shadow_machine.h"

static unsigned int index_shift(enum paging_mode mode, unsigned int level)
{
    return 12 + (mode <= MODE_32BIT_PSE ? 10 : 9) * (level - 1);
}

static bool allowed(const struct paging_state *state, unsigned int rights, uint64_t leaf,
                    unsigned int access)
{
    bool user = access & ACCESS_USER, user_page = rights & ACCESS_USER;
    bool write = access & ACCESS_WRITE;
    unsigned int key = 0;

    if ((state->cr4 & CR4_PKE) && (state->efer & EFER_LMA) && user_page)
        key = state->pkru >> (leaf >> 59 & 15U) * 2U & 3U;
    if (user && !user_page)
        return false;
    if (access & ACCESS_EXECUTE)
        return (rights & ACCESS_EXECUTE) && !(user_page && !user && (state->cr4 & CR4_SMEP));
    if (write && !(rights & ACCESS_WRITE) && (user || (state->cr0 & CR0_WP)))
        return false;
    if (user_page && !user && (state->cr4 & CR4_SMAP) && !state->ac)
        return false;
    return !(key & 1U) && !((key & 2U) && write && (user || (state->cr0 & CR0_WP)));
}

/* A translation that a CPU may still use, as it is put together from the top down. */
struct chain {
    const struct vcpu *c;
    uint64_t linear, wanted;
    unsigned int access;
};

/* What is left of rights, and whether one of the links was gone when paging-structure caches were
 * last dropped, or one of the entries came after that: both together no CPU can hold. */
struct sofar {
    unsigned int rights;
    bool gone, later;
};

static bool explained(const struct chain *chain, uint64_t table, unsigned int level,
                      struct sofar sofar);

/* Whether one version of an entry leads there. */
static bool version_explains(const struct chain *chain, uint64_t entry, unsigned int level,
                             struct sofar sofar)
{
    const struct paging_state *state = &chain->c->shadow.state;
    enum paging_mode mode = paging_mode(state);
    bool pdpte = mode == MODE_PAE && level == 3;
    bool leaf = level == 1 || (level == 2 && (entry & PS) && mode != MODE_32BIT) ||
                (level == 3 && (entry & PS) && mode >= MODE_4LEVEL);
    uint64_t mask = (1UL << index_shift(mode, level)) - 1U;
    uint64_t address = entry & (mode <= MODE_32BIT_PSE ? 0xfffff000UL : 0x000ffffffffff000UL);

    if (!(entry & P) || (!pdpte && !(entry & A)) ||
        (entry & reserved_mask(mode, level, leaf, state->props, state->efer & EFER_NXE)))
        return false;
    if (!pdpte && !(entry & W))
        sofar.rights &= ~2U;
    if (!pdpte && !(entry & U))
        sofar.rights &= ~8U;
    if (entry & NX)
        sofar.rights &= ~4U;
    if (state->props->cbit && mode >= MODE_PAE)
        address &= ~(1UL << state->props->cbit);
    if (!leaf)
        return explained(chain, address, level - 1, sofar);
    address &= ~mask;
    if (mode == MODE_32BIT_PSE && level == 2 && state->props->pse36)
        address |= (entry & 0x1fe000UL) << 19;
    return allowed(state, sofar.rights, entry, chain->access) &&
           !((chain->access & ACCESS_WRITE) && !(entry & D)) &&
           (address | (chain->linear & mask)) == chain->wanted;
}

/* The same for an entry that was there from one store to another. */
static bool lifetime_explains(const struct chain *chain, uint64_t entry, unsigned int level,
                              struct sofar sofar, uint64_t from, uint64_t to)
{
    sofar.later |= from >= chain->c->dropped;
    if (sofar.gone && sofar.later)
        return false;
    sofar.gone |= level > 1 && to < chain->c->dropped;
    return version_explains(chain, entry, level, sofar);
}

static bool explained(const struct chain *chain, uint64_t table, unsigned int level,
                      struct sofar sofar)
{
    const struct vcpu *c = chain->c;
    const struct paging_state *state = &c->shadow.state;
    enum paging_mode mode = paging_mode(state);
    unsigned int size = mode <= MODE_32BIT_PSE ? 4 : 8;
    uint64_t index = (chain->linear >> index_shift(mode, level)) & (PAGE_SIZE / size - 1);
    uint64_t place = table + index * size;
    uint64_t from = 0;

    if (mode == MODE_PAE && level == 3) {
        place = table + (index & 3U) * 8U;
        if (state->pdpte_held)
            return version_explains(chain, state->pdpte[index & 3U], 3, sofar);
    }
    for (uint64_t i = c->flushed; i < m.stores; i++) {
        const struct store *store = &m.store[i % STORES_MAX];

        if (store->address != (place & ~7UL))
            continue;
        if (lifetime_explains(chain, part_of(store->old, place, size), level, sofar, from, i))
            return true;
        from = i;
    }
    return lifetime_explains(chain,
                             part_of(ram_at(place) ? *ram_at(place) : UINT64_MAX, place, size),
                             level, sofar, from, UINT64_MAX);
}

/* Whether a TLB could have this translation, by all that the vCPU flushed. */
static bool is_explained(const struct vcpu *c, uint64_t linear, unsigned int access,
                         uint64_t wanted)
{
    const struct chain chain = {.c = c, .linear = linear, .wanted = wanted, .access = access};
    const struct paging_state *state = &c->shadow.state;
    enum paging_mode mode = paging_mode(state);
    uint64_t table = state->cr3 & 0x000ffffffffff000UL;

    if (mode <= MODE_PAE)
        table = state->cr3 & (mode == MODE_PAE ? 0xffffffe0UL : 0xfffff000UL);
    else if (state->props->cbit)
        table &= ~(1UL << state->props->cbit);
    if (m.stores - c->flushed > STORES_MAX)
        return true;
    return explained(&chain, table, paging_levels(mode), (struct sofar){.rights = 15});
}

#endif
