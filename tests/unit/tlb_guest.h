/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef LATCH_TESTS_UNIT_TLB_GUEST_H
#define LATCH_TESTS_UNIT_TLB_GUEST_H
/*
 * What a guest does on the machine of tlb_machine.h, and how Latch follows it. The modelled CPU's
 * TLB drops no more than the manuals say, the hardware's what Latch tells it to.
 */
#include "tests/unit/tlb_new.h"

#define TABLE_FIRST 1U /* RAM frames: two roots, then tables, then data */
#define TABLE_LAST  14U

/* The hardware loads what Latch says, and flushes what the caller of mmu/ is to flush. */
static void enter(struct vcpu *c, enum caller_site site)
{
    c->active = c->root[paging_on(c)];
    c->cr3 = c->shadow.cr3.raw;
    memcpy(c->pdpte, c->shadow.pdpte, sizeof(c->pdpte));
    c->no_wp = c->shadow.private.on;
    c->shadow.changed = false;
    if (site == m.without_caller)
        return;
    if (site == m.local_caller)
        cache_drop_local(&c->linear);
    else
        cache_drop(&c->linear);
    if (!m.intel)
        cache_drop(&c->nested); /* the ASID's */
}

static uint64_t random_entry(bool root)
{
    static const uint64_t large[] = {0, 0x400000, 0x800000, 0x600000};
    uint64_t entry = 0;

    if (one_in(12))
        return 0;
    root = root && !is_narrow(); /* whose directory has pages too */
    if (m.mode == MODE_PAE && root)
        return P | (TABLE_FIRST + 2 + draw(2)) * PAGE_SIZE; /* few, so that one is used twice */
    entry =
        P | (one_in(3) ? 0 : W) | (one_in(4) ? 0 : U) | (one_in(12) ? 0 : A) | (one_in(3) ? 0 : D);
    if (!is_narrow() && one_in(8))
        entry |= NX;
    if (long_mode() && one_in(8))
        entry |= 5UL << 59;    /* a key */
    if (one_in(root ? 16 : 4)) /* reserved in AMD's root */
        entry |= G;
    if (m.unlike && !is_narrow() && one_in(12))
        entry |= 1UL << (one_in(2) ? 33 : CBIT); /* an address to one model or two */
    if (m.unlike && !root && one_in(4))
        return entry | PS; /* legal at each level, to some */
    if (!root && one_in(6))
        return entry | PS | large[draw(COUNT(large))];
    if (!root && one_in(3))
        return entry | (TABLE_LAST + 1 + draw(RAM_FRAMES - TABLE_LAST - 1)) * PAGE_SIZE;
    return entry | (TABLE_FIRST + 2 + draw(TABLE_LAST - TABLE_FIRST - 1)) * PAGE_SIZE;
}

/* The frame is mapped by what the CPU holds, or by an exit that fills or untracks it. */
static bool may_store(struct vcpu *c, uint64_t address, bool may_exit)
{
    struct direct_result result;

    if (holds_writable(c, address & ~PAGE_OFFSET_MASK))
        return true;
    if (!may_exit)
        return false;
    m.in_latch = c;
    (void)shadow_write(&m.shadow, gfn(address >> PAGE_SHIFT));
    CHECK_EQ(direct_fill(&m.direct, c->active, gpa(address), &result), 0);
    m.in_latch = NULL;
    crawl_nested(c);
    return holds_writable(c, address & ~PAGE_OFFSET_MASK);
}

/* PDPTEs are the first four. */
static void put_entry(uint64_t frame, bool second)
{
    unsigned int size = is_narrow() ? 4 : 8;
    bool root = frame < TABLE_FIRST + 2, pdpte = m.mode == MODE_PAE && root;
    uint64_t index = !second ? 0 : pdpte ? 1 : m.second;

    if (is_narrow() && root && one_in(4))
        index = 256;
    ram_write(frame * PAGE_SIZE + index * size, size, random_entry(root));
}

static void random_store(struct vcpu *c, bool may_exit)
{
    uint64_t frame = TABLE_FIRST + draw(TABLE_LAST - TABLE_FIRST + 1);

    if (!may_store(c, frame * PAGE_SIZE, may_exit))
        return;
    put_entry(frame, one_in(2));
    m.stores++;
}

/* Load the tables, as after a load of CR3 alone where that is all that changed. */
static void load_tables(struct vcpu *c, bool flush)
{
    const struct paging_state *now = &c->shadow.state, *old = &c->loaded;

    if (c->shadow.root && now->cr0 == old->cr0 && now->cr4 == old->cr4 && now->efer == old->efer)
        shadow_load_cr3(&m.shadow, &c->shadow, flush);
    else
        shadow_load(&m.shadow, &c->shadow);
    c->loaded = *now;
}

/* The modelled CPU's TLB has lost what the operation drops. */
static void load(struct vcpu *c, enum caller_site site, bool flush)
{
    struct paging_state *state = &c->shadow.state;

    state->pdpte_held = c->props.vendor == PAGING_INTEL && m.mode == MODE_PAE;
    for (unsigned int i = 0; i < 4 && state->pdpte_held; i++)
        state->pdpte[i] = ram_entry(state->cr3 + i * 8UL, 8);
    m.in_latch = c;
    crawl_guest(c);
    if (paging_on(c))
        load_tables(c, flush);
    else
        shadow_unload(&m.shadow, &c->shadow);
    CHECK(c->shadow.changed || sites.without);
    enter(c, site);
}

static void load_cr3(struct vcpu *c, uint64_t value, bool flush)
{
    c->shadow.state.cr3 = value;
    if (flush)
        cache_drop_tag(&c->guest, pcid(c));
    if (paging_on(c))
        load(c, CALLER_LOAD, flush);
}

/* No register was loaded, or none that says how the tables are read. */
static void flush(struct vcpu *c)
{
    m.in_latch = c;
    crawl_guest(c);
    shadow_flush(&m.shadow, &c->shadow);
    c->loaded = c->shadow.state;
    CHECK(c->shadow.changed || sites.without);
    enter(c, CALLER_LOAD);
}

static void toggle_global(struct vcpu *c)
{
    c->shadow.state.cr4 ^= CR4_PGE;
    cache_drop(&c->guest);
    if (paging_on(c) && long_mode())
        flush(c);
    else if (paging_on(c)) /* PDPTEs are loaded, too */
        load(c, CALLER_LOAD, true);
}

static void toggle_paging(struct vcpu *c)
{
    static const uint64_t cr4[] = {[MODE_32BIT_PSE] = CR4_PSE,
                                   [MODE_PAE] = CR4_PAE,
                                   [MODE_4LEVEL] = CR4_PAE,
                                   [MODE_5LEVEL] = CR4_PAE | CR4_LA57};
    struct paging_state *state = &c->shadow.state;

    if (m.third_off && c == &m.cpu[2])
        return;
    state->cr4 |= cr4[m.mode];
    state->cr0 ^= CR0_PG;
    state->cr3 &= ~PCID_MASK;
    if (m.pcids) /* changed just after, or before */
        state->cr4 = paging_on(c) ? state->cr4 | CR4_PCIDE : state->cr4 & ~CR4_PCIDE;
    cache_drop(&c->guest);
    if (long_mode())
        state->efer = (state->efer & EFER_NXE) | EFER_LME | (paging_on(c) ? EFER_LMA : 0);
    load(c, paging_on(c) ? CALLER_LOAD : CALLER_UNLOAD, true);
}

static void invalidate(struct vcpu *c, uint64_t address)
{
    m.in_latch = c;
    crawl_guest(c);
    shadow_invalidate(&m.shadow, &c->shadow, gla(address));
    if (c->shadow.changed)
        enter(c, CALLER_LINKS);
    if (m.without_caller != CALLER_ADDRESS)
        cache_drop_part(&c->linear, address);
}

static void invlpg(struct vcpu *c, uint64_t address)
{
    if (!paging_on(c))
        return;
    cache_drop_page(&c->guest, pcid(c), address, true);
    invalidate(c, address);
}

enum { INVPCID_ADDRESS, INVPCID_PCID, INVPCID_ALL, INVPCID_ALL_BUT_GLOBAL };

static void invpcid_with(struct vcpu *c, uint64_t type, uint64_t which, uint64_t address)
{
    if (type == INVPCID_ADDRESS)
        cache_drop_page(&c->guest, which, address, false);
    else if (type == INVPCID_PCID)
        cache_drop_tag(&c->guest, which);
    else if (type == INVPCID_ALL)
        cache_drop(&c->guest);
    else
        cache_drop_local(&c->guest);
    if (type > INVPCID_PCID)
        flush(c);
    else if (which != pcid(c))
        shadow_forget_pcid(&c->shadow, which);
    else if (type == INVPCID_ADDRESS)
        invalidate(c, address);
    else
        load(c, CALLER_LOAD, true);
}

/* This CPU drops nothing by itself, and the modelled one drops the address if the #PF is the guest's own
 * (SDM vol. 3 §4.10.4.1): as that comes first, only if nobody has stored anything since. */
static void fault(struct vcpu *c, uint64_t address, unsigned int access)
{
    struct walk_result result;
    enum shadow_outcome outcome;
    const unsigned long stores = m.stores;

    m.in_latch = c;
    c->shadow.state.ac = one_in(2);
    outcome = shadow_fault(&m.shadow, &c->shadow, gla(address), access, &result);
    if (c->shadow.changed)
        enter(c, CALLER_FAULT);
    if (outcome != SHADOW_FAULT)
        return;
    if (m.stores == stores) {
        cache_drop_fault(&c->guest, pcid(c), address);
        crawl_guest(c);
    }
    if (m.without_caller != CALLER_PAGE_FAULT)
        cache_drop_part(&c->linear, address);
}

#endif
