/* SPDX-License-Identifier: BSD-2-Clause */
/* As many vCPUs as a pool may have, all with private tables of their full share: nobody runs dry. */
#define CPUS 18U
#include "tests/unit/shadow_machine.h"

#define POOL (SHADOW_PAGES_PER_CPU * (CPUS + 1U))
/* Frames: tables up to this one, as many as there are levels, each of which leads to the next. */
#define LEAVES  5UL
#define OTHER   6UL /* another root */
#define PAGE    40UL
#define SPREAD  70U /* accesses, each through a table of its own: more than any share */
#define AT_ONCE 12U /* by one instruction */

_Static_assert(POOL <= POOL_MAX, "the pool fits");

static void fill_table(uint64_t frame, uint64_t below, uint64_t w)
{
    for (unsigned int i = 0; i < 512; i++)
        guest_store(frame * PAGE_SIZE + 8UL * i, 8, below * PAGE_SIZE | P | w | U | A | D);
}

static void new_guest(uint64_t root)
{
    static const struct paging_props model = {.maxphyaddr = 40, .gbpages = true, .nx = true};
    struct paging_props props[CPUS];

    for (unsigned int i = 0; i < CPUS; i++)
        props[i] = model;
    machine_new(props, POOL, true, 1);
    for (uint64_t frame = root; frame < LEAVES; frame++)
        fill_table(frame, frame + 1U, W);
    fill_table(LEAVES, PAGE, 0);
    fill_table(OTHER, root + 1U, W);
}

/* Only WP=0 allows to write there. */
static void access_at(struct vcpu *c, uint64_t linear)
{
    const bool wp = c->shadow.state.cr0 & CR0_WP;
    struct walk_result result;

    CHECK_EQ(guest_access(c, linear, wp ? ACCESS_READ : ACCESS_WRITE, &result), END_DONE);
}

/* Pages that share no table but the root. */
static void access_at_once(struct vcpu *c)
{
    unsigned long exits = 0;

    for (unsigned int pass = 0; pass < 4; pass++) {
        exits = m.exits;
        for (uint64_t i = 0; i < AT_ONCE; i++)
            access_at(c, c->shadow.state.cr4 & CR4_LA57 ? i << 48 : i << 39);
    }
    CHECK_EQ(m.exits, exits); /* or the instruction would never end */
}

static void run(struct vcpu *c, uint64_t root, uint64_t wp, uint64_t la57)
{
    c->shadow.state.cr0 = CR0_PG | wp;
    c->shadow.state.cr4 = CR4_PAE | CR4_SMAP | la57;
    c->shadow.state.efer = EFER_LME | EFER_LMA | EFER_NXE;
    c->shadow.state.cr3 = root * PAGE_SIZE;
    c->shadow.state.ac = true;
    flush_all(c);
    for (uint64_t i = 0; i < SPREAD; i++)
        access_at(c, i << 21 | i << 39);
    CHECK_EQ(c->shadow.private.on, wp == 0);
    access_at_once(c);
}

/* All private; then, one by one, with tables that all share, by two roots. */
static void private_then_shared(unsigned int levels)
{
    const uint64_t root = LEAVES + 1U - levels;
    const uint64_t la57 = levels == 5 ? CR4_LA57 : 0;

    new_guest(root);
    for (unsigned int i = 0; i < CPUS; i++)
        run(&m.cpu[i], root, 0, la57);
    for (unsigned int i = CPUS; i-- > 0;) {
        run(&m.cpu[i], i & 1U ? root : OTHER, CR0_WP, la57);
        run(&m.cpu[0], root, i & 1U ? 0 : CR0_WP, la57);
    }
}

static void four_levels(void)
{
    private_then_shared(4);
}

static void five_levels(void)
{
    private_then_shared(5);
}

int main(void)
{
    RUN(four_levels);
    RUN(five_levels);
    return unit_end();
}
