/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef LATCH_TESTS_UNIT_TLB_PRIVATE_H
#define LATCH_TESTS_UNIT_TLB_PRIVATE_H
/*
 * Private tables: how Latch follows accesses by a vCPU's window; and their source, here once more so that
 * each of its flushes can be left out by itself: where it asks for one with the next entry, and where a
 * slot of the window shows another frame.
 */
#include "mmu/registers.h"
#include "mmu/shadow_private.h"
#include "mmu/shadow_root.h"
#include "tests/unit/tlb_guest.h"

static int show_frame(struct direct *direct, gpa_t page, gfn_t frame)
{
    int rc;

    sites.showing = true;
    rc = direct_show(direct, page, frame);
    sites.showing = false;
    return rc;
}

/* `cpu->changed = true` asks where it stands, and is not done for the one that is left out. */
#define LINE_TEXT(line) #line
#define PLACE(line)     __FILE__ ":" LINE_TEXT(line)
#define changed         changed |= place_flushes(PLACE(__LINE__)), sites.asked
#define direct_show     show_frame

#include "mmu/shadow_private.c" /* NOLINT(bugprone-suspicious-include) */

#undef changed
#undef direct_show

/* The page that the hardware's walk of the shadow tables gives, or UINT64_MAX. */
static uint64_t hardware_page(struct vcpu *c, uint64_t address)
{
    struct step step = {.to = c->cr3};

    for (unsigned int level = long_mode() ? paging_levels(m.mode) : 3; level > 0; level--) {
        if (!shadow_step(c, step.to, level, address, &step))
            return UINT64_MAX;
        if (step.leaf)
            return step.to + (address & (step.size - 1U) & ~PAGE_OFFSET_MASK);
    }
    return UINT64_MAX;
}

/* Whether the nested tables stop an access by the window. */
static bool window_stops(const struct vcpu *c, uint64_t slot, unsigned int access)
{
    const struct table_space space = {
        .env = &m.env, .format = m.direct.format, .root = c->root[1]->page};
    struct table_leaf leaf;

    return in_window(c, slot) && ((access & ACCESS_WRITE) || !table_lookup(&space, slot, &leaf));
}

/* The exit of an access that got as far as the window. Intel's CPUs have dropped what they held of
 * the linear address (SDM vol. 3 §29.4.3.1), and AMD's need not. */
static void window_fault(struct vcpu *c, uint64_t address, unsigned int access)
{
    uint64_t slot = hardware_page(c, address);

    m.in_latch = c;
    if (m.intel)
        cache_drop_part(&c->linear, address);
    c->shadow.state.ac = one_in(2);
    shadow_window_fault(&m.shadow, &c->shadow, gpa(slot), access);
    m.window_faults++;
    if (c->shadow.changed)
        enter(c, CALLER_WINDOW);
    for (unsigned int i = 0; i < c->linear.leaves && hardware_page(c, address) != slot; i++) {
        const struct held *h = &c->linear.leaf[i];

        if (h->valid && h->first == address && h->to == slot)
            stale("a translation is held that exits for ever");
    }
}

/* An access that exits, or might. */
static void access_linear(struct vcpu *c, uint64_t address, unsigned int access)
{
    unsigned int by_window = access & ACCESS_WRITE ? ACCESS_WRITE : ACCESS_READ;

    if (window_stops(c, hardware_page(c, address), by_window) && !one_in(8))
        window_fault(c, address, by_window);
    else
        fault(c, address, access);
}

#endif
