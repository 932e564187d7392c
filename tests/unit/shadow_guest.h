/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef LATCH_TESTS_UNIT_SHADOW_GUEST_H
#define LATCH_TESTS_UNIT_SHADOW_GUEST_H
/* On the machine of shadow_machine.h a guest in long mode with four tables, for tests of one thing. */
#include "tests/unit/shadow_machine.h"

#define POOL   256U
#define BEHIND (TABLES + POOL * PAGE_SIZE + CPUS * SHADOW_WINDOW) /* all that is Latch's there */
#define GIB    (1UL << 30)
#define LARGE  (1UL << 21)
#define ALL    (P | W | U | A | D)

static const struct paging_props model = {
    .maxphyaddr = 40, .gbpages = true, .nx = true, .pse36 = true, .pat = true, .la57 = true};

static void fresh(unsigned int pages)
{
    static uint64_t seed;
    struct paging_props props[CPUS];

    for (unsigned int i = 0; i < CPUS; i++)
        props[i] = model;
    machine_new(props, pages, true, seed++);
}

/* A store to entry `index` of the table at RAM frame `table`. */
static void put(unsigned int table, unsigned int index, uint64_t entry)
{
    guest_store(table * PAGE_SIZE + index * 8UL, 8, entry);
}

static void run_long(struct vcpu *c, unsigned int root)
{
    c->shadow.state.cr0 = CR0_PG | CR0_WP;
    c->shadow.state.cr4 = CR4_PAE;
    c->shadow.state.efer = EFER_LME | EFER_LMA | EFER_NXE;
    c->shadow.state.cr3 = root * PAGE_SIZE;
    flush_all(c);
}

/* Tables 1 to 4 below root 1, whose first entries lead to frame 40. */
static struct vcpu *simple_guest(unsigned int pages)
{
    fresh(pages);
    put(1, 0, 2 * PAGE_SIZE | ALL);
    put(2, 0, 3 * PAGE_SIZE | ALL);
    put(3, 0, 4 * PAGE_SIZE | ALL);
    put(4, 0, 40 * PAGE_SIZE | ALL);
    run_long(&m.cpu[0], 1);
    return &m.cpu[0];
}

/* Where an access ends: an address, or one of these. */
#define FAULTS  (~0UL)
#define NOT_RAM (~1UL)

static uint64_t go(struct vcpu *c, uint64_t linear, unsigned int access)
{
    struct walk_result result;

    switch (guest_access(c, linear, access, &result)) {
    case END_DONE:
        return result.address.raw;
    case END_FAULT:
        return FAULTS;
    case END_ABSENT:
        return NOT_RAM;
    case END_LOOP:
        break;
    }
    return ~2UL;
}

#endif
