/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef LATCH_TESTS_UNIT_TLB_CHECK_H
#define LATCH_TESTS_UNIT_TLB_CHECK_H
/* What must be so on the machine of tlb_machine.h after each operation: nothing stale is held, and
 * nothing that makes an access exit for ever. */
#include "tests/unit/tlb_machine.h"

/* A page of a window shows what Latch has there now, read-only, and as the map and the MTRRs have it. */
static void check_window(const struct vcpu *c, const struct held *h, uint64_t root)
{
    const struct table_space space = {
        .env = &m.env, .format = m.direct.format, .root = c->root[1]->page};
    struct table_leaf leaf;

    if (root != c->root[1]->page.raw)
        stale("a window is mapped where it is not to be");
    else if (!table_lookup(&space, h->first, &leaf) || leaf.page.raw != h->to)
        stale("a nested page is held that has moved");
    else if (h->rights & ACCESS_WRITE)
        stale("a page of a window is held writable");
    else if (guest_map_find(&m.map, gpa(h->to - RAM_HOST)).kind == GUEST_ABSENT)
        stale("what is absent is held by a window");
    else if (m.direct.format.id == FORMAT_EPT &&
             h->rights >> TYPE_SHIFT != (unsigned int)mtrr_type(&m.mtrr, hpa(h->to)))
        stale("a type is held by a window that has changed");
}

static void check_nested(const struct vcpu *c, const struct held *h)
{
    uint64_t root = m.intel ? h->tag : c->active->page.raw;
    struct guest_range range = guest_map_find(&m.map, gpa(h->first));
    unsigned int access = range.kind == GUEST_PASS ? ACCESS_RWX : ACCESS_READ | ACCESS_EXECUTE;
    uint64_t to = range.base.raw + (h->first - range.start);

    if (h->first - TABLES < m.shadow_pages * PAGE_SIZE) {
        if (root != c->root[1]->page.raw || h->to != h->first)
            stale("a shadow page is mapped where it is not to be");
        return;
    }
    if (h->first - m.direct.tables_end < m.direct.window_end - m.direct.tables_end) {
        check_window(c, h, root);
        return;
    }
    if (shadow_is_tracked(&m.shadow, gfn(h->first >> PAGE_SHIFT), 1))
        access &= ~(unsigned int)ACCESS_WRITE;
    if (range.kind == GUEST_ABSENT)
        stale("what is absent is held");
    else if (h->to != to)
        stale("a nested page is held that has moved");
    else if (h->rights & ACCESS_RWX & ~access)
        stale("nested rights are held that were lost");
    else if (m.direct.format.id == FORMAT_EPT &&
             h->rights >> TYPE_SHIFT != (unsigned int)mtrr_type(&m.mtrr, hpa(to)))
        stale("a type is held that has changed");
}

/* The kinds of access that a translation permits, and that leave no trace in the tables; without and
 * with RFLAGS.AC where that counts. What a key forbids depends on registers that no TLB holds. */
static unsigned int kinds(const struct vcpu *c, unsigned int rights, bool wp)
{
    bool u = rights & RIGHT_USER, x = rights & RIGHT_EXECUTE, d = rights & RIGHT_DIRTY;
    bool w = rights & RIGHT_WRITE, smep = c->shadow.state.cr4 & CR4_SMEP;
    bool smap = u && (c->shadow.state.cr4 & CR4_SMAP), write = (w || !wp) && d;

    return (smap ? 0 : 1U) | (u ? 2U : 0) | (write && !smap ? 4U : 0) | (u && w && d ? 8U : 0) |
           (x && !(u && smep) ? 16U : 0) | (u && x ? 32U : 0) | 64U | (write ? 128U : 0);
}

/* Whether the modelled CPU may have what the hardware has. */
static void check_translation(const struct vcpu *c, uint64_t first, uint64_t to,
                              unsigned int rights)
{
    unsigned int allowed = 0;
    uint64_t slot = leaf_slot(first);

    for (; paging_on(c) && c->guest.slot[slot] != 0; slot = (slot + 1) % CACHE_LEAVES) {
        const struct held *g = &c->guest.leaf[c->guest.slot[slot] - 1U];

        if (g->valid && g->first == first && g->to == to && !((g->rights ^ rights) & RIGHT_KEY) &&
            (g->global || g->tag == pcid(c)))
            allowed |= kinds(c, g->rights, c->shadow.state.cr0 & CR0_WP);
    }
    if (allowed == 0)
        stale("a translation is held that the modelled CPU would not have");
    else if (kinds(c, rights, !c->no_wp) & ~allowed)
        stale("a translation is held with rights that the modelled CPU would not have");
}

/* By the window, to whatever its page is held to show; it lets no write through. */
static void check_by_window(const struct vcpu *c, const struct held *h)
{
    uint64_t slot = leaf_slot(h->to);

    for (; c->nested.slot[slot] != 0; slot = (slot + 1) % CACHE_LEAVES) {
        const struct held *n = &c->nested.leaf[c->nested.slot[slot] - 1U];

        if (n->valid && n->first == h->to && (!m.intel || n->tag == c->active->page.raw))
            check_translation(c, h->first, n->to - RAM_HOST, h->rights & ~RIGHT_DIRTY);
    }
}

static void check_linear(const struct vcpu *c, const struct held *h)
{
    if (m.intel && h->tag != c->active->page.raw)
        return; /* of use only when paging is on again, which flushes */
    if (!paging_on(c) && h->to == h->first)
        return;
    if (in_window(c, h->to))
        check_by_window(c, h);
    else
        check_translation(c, h->first, h->to, h->rights);
}

/* Without this what is there would be missed for ever, or used by other rules. */
static void check_registers(const struct vcpu *c)
{
    const struct shadow_cpu *wanted = &c->shadow;

    if (paging_on(c) &&
        (c->cr3 != wanted->cr3.raw || c->no_wp != wanted->private.on ||
         (m.intel && !long_mode() && memcmp(c->pdpte, wanted->pdpte, sizeof(c->pdpte)) != 0)))
        stale("registers are not as Latch says");
}

static void check_all(void)
{
    m.in_latch = NULL;
    crawl_others();
    for (unsigned int i = 0; i < m.cpus && !m.stale; i++) {
        const struct vcpu *c = &m.cpu[i];

        check_registers(c);
        for (unsigned int k = 0; k < c->nested.leaves; k++)
            if (c->nested.leaf[k].valid)
                check_nested(c, &c->nested.leaf[k]);
        for (unsigned int k = 0; k < c->linear.leaves; k++)
            if (c->linear.leaf[k].valid)
                check_linear(c, &c->linear.leaf[k]);
    }
}

#endif
