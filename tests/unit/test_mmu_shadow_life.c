/* SPDX-License-Identifier: BSD-2-Clause */
/* Shadow tables: paging turned on and off, INIT, RESET, and how many pages there are to be. */
#include "tests/unit/shadow_guest.h"

/* A guest reset gives all back, and lets the guest write to all. */
static void clearing(void)
{
    struct vcpu *c = simple_guest(POOL);
    struct shadow_stats stats;

    CHECK_EQ(go(c, 0, ACCESS_READ), 40 * PAGE_SIZE);
    for (unsigned int i = 0; i < 3; i++)
        flush_all(c);
    c->shadow.state.cr0 = 0;
    flush_all(c);
    shadow_clear(&m.shadow);
    shadow_count(&m.shadow, &stats);
    CHECK_EQ(stats.pages, CPUS);
    CHECK_EQ(stats.tracked + stats.unsynced, 0U);
    CHECK(!shadow_write(&m.shadow, gfn(1)));
    put(1, 0, 2 * PAGE_SIZE | ALL);
    run_long(c, 1);
    CHECK_EQ(go(c, 0, ACCESS_READ), 40 * PAGE_SIZE);
}

/* However many tables there are: their descriptors are not looked at one by one. */
static void clearing_at_once(void)
{
    static struct shadow_page before[POOL];
    struct vcpu *c = simple_guest(POOL);
    struct shadow_stats stats;

    CHECK_EQ(go(c, 0, ACCESS_READ), 40 * PAGE_SIZE);
    c->shadow.state.cr0 = 0;
    flush_all(c);
    shadow_count(&m.shadow, &stats);
    CHECK(stats.pages > CPUS);
    CHECK_EQ(stats.tracked, 0U);
    memcpy(before, m.pages, sizeof(before));
    shadow_clear(&m.shadow);
    for (unsigned int i = 0; i < POOL; i++)
        CHECK(m.pages[i].live == before[i].live && m.pages[i].users == before[i].users);
    shadow_count(&m.shadow, &stats);
    CHECK_EQ(stats.pages, CPUS);
    run_long(c, 1);
    CHECK_EQ(go(c, 0, ACCESS_READ), 40 * PAGE_SIZE);
}

/* With paging turned off nothing is held for the vCPU but what may serve again, which a load finds. */
static void unloading(void)
{
    struct vcpu *c = simple_guest(POOL);
    struct shadow_page *root = c->shadow.root;
    uint64_t fills;

    CHECK_EQ(go(c, 0, ACCESS_READ), 40 * PAGE_SIZE);
    CHECK_EQ(root->users, 1U);
    c->shadow.state.cr0 = 0;
    flush_all(c);
    CHECK(c->shadow.root == NULL);
    CHECK_EQ(root->users, 0U);
    fills = m.shadow.fills;
    run_long(c, 1);
    CHECK(c->shadow.root == root);
    CHECK_EQ(go(c, 0, ACCESS_READ), 40 * PAGE_SIZE);
    CHECK_EQ(m.shadow.fills, fills);
}

/* An INIT: registers as after RESET; and as its caller follows it (kernel/paging.c). */
static void take_init(struct vcpu *c)
{
    const struct paging_state old = c->shadow.state;

    c->shadow.state = (struct paging_state){.cr0 = 1UL << 4, .props = &c->props}; /* ET */
    if (paging_changes(&old, &c->shadow.state))
        shadow_unload(&m.shadow, &c->shadow);
}

/* A vCPU that had paging on, and has it off; another goes on with the same tables. */
static struct vcpu *guest_without_paging(void)
{
    struct vcpu *c = simple_guest(POOL);

    run_long(&m.cpu[1], 1);
    CHECK_EQ(go(c, 0, ACCESS_READ), 40 * PAGE_SIZE);
    c->shadow.state.cr0 = CR0_WP;
    flush_all(c);
    return c;
}

static bool no_table_went(const struct shadow *before)
{
    const struct shadow *now = &m.shadow;

    return now->unlinked == before->unlinked && now->fresh == before->fresh &&
           now->unused_count == before->unused_count && now->limbo_count == before->limbo_count &&
           now->tracked == before->tracked && now->fills == before->fills;
}

/* INIT with paging off keeps the context, whatever the other registers were: nothing is to be loaded
 * or flushed that was not before, no table goes, and the tables of before serve again. */
static void init_without_paging(void)
{
    for (unsigned int changed = 0; changed < 2; changed++) {
        struct vcpu *c = guest_without_paging();
        const struct shadow before = m.shadow;
        const struct shadow_cpu context = c->shadow;
        struct shadow_page *root = m.cpu[1].shadow.root;
        const unsigned long flushes = m.flushes;

        c->shadow.changed = changed;
        take_init(c);
        CHECK_EQ(c->shadow.changed, changed);
        CHECK(c->shadow.root == NULL && c->shadow.cr3.raw == context.cr3.raw);
        CHECK(memcmp(c->shadow.pdpte, context.pdpte, sizeof(context.pdpte)) == 0);
        CHECK(role_equal(c->shadow.role, context.role));
        CHECK_EQ(m.flushes, flushes);
        CHECK(no_table_went(&before));
        CHECK(m.cpu[1].shadow.root == root && root->users == 1);
        run_long(c, 1);
        CHECK(c->shadow.root == root);
        CHECK_EQ(go(c, 0, ACCESS_READ), 40 * PAGE_SIZE);
        CHECK_EQ(m.shadow.fills, before.fills);
    }
}

/* Each bit toggled in each mode: with paging off none counts but PG, and with paging on those that say
 * how tables are read, or flush. */
static void registers_that_count(void)
{
    static const uint64_t cr4[] = {0, CR4_PSE, CR4_PAE, CR4_PAE, CR4_PAE | CR4_LA57};
    static const uint64_t efer[] = {0, 0, 0, EFER_LMA, EFER_LMA};
    static const uint64_t counting[3] = {CR0_PG | CR0_WP,
                                         CR4_PSE | CR4_PAE | CR4_PGE | CR4_LA57 | CR4_PCIDE |
                                             CR4_SMEP | CR4_SMAP | CR4_PKE | CR4_PKS,
                                         EFER_LMA | EFER_NXE};

    for (unsigned int i = 0; i < COUNT(cr4) * 4; i++)
        for (unsigned int bit = 0; bit < 64 * 3; bit++) {
            const bool paging = i & 1U;
            const uint64_t set = i & 2U ? UINT64_MAX & ~CR0_PG : 0, toggled = 1UL << bit % 64U;
            const struct paging_state old = {.cr0 = (set & CR0_WP) | (paging ? CR0_PG : 0),
                                             .cr4 = cr4[i / 4] | (set & (CR4_SMEP | CR4_PGE)),
                                             .efer = efer[i / 4] | (set & EFER_NXE)};
            struct paging_state new = old;
            uint64_t *registers[3] = {&new.cr0, &new.cr4, &new.efer};

            *registers[bit / 64U] ^= toggled;
            CHECK_EQ(paging_changes(&old, &new), paging ? (counting[bit / 64U] & toggled) != 0
                                                        : bit / 64U == 0 && toggled == CR0_PG);
        }
}

/* With paging on it drops the context: the hardware is to load another one, with a flush. The tables
 * stay for others, and for later. */
static void init_with_paging(void)
{
    struct vcpu *c = simple_guest(POOL);
    struct shadow_page *root = c->shadow.root;

    CHECK_EQ(go(c, 0, ACCESS_READ), 40 * PAGE_SIZE);
    const uint64_t fills = m.shadow.fills;
    CHECK(!c->shadow.changed);
    take_init(c);
    CHECK(c->shadow.changed && c->shadow.root == NULL);
    CHECK_EQ(root->users, 0U);
    enter(c);
    run_long(c, 1);
    CHECK(c->shadow.root == root);
    CHECK_EQ(go(c, 0, ACCESS_READ), 40 * PAGE_SIZE);
    CHECK_EQ(m.shadow.fills, fills);
}

/* A vCPU keeps its page over a reset; too few pages are refused. */
static void too_few_pages(void)
{
    static struct shadow_cpu another;
    static const struct role_context context = {.format = FORMAT_SHADOW_LONG};
    struct shadow_page *page;

    fresh(SHADOW_PAGES_PER_CPU * (CPUS + 1U));
    page = m.cpu[2].shadow.pae_root;
    CHECK_EQ(shadow_cpu_init(&m.shadow, &m.cpu[2].shadow, &model, &context), 0);
    CHECK(m.cpu[2].shadow.pae_root == page);
    CHECK_EQ(shadow_cpu_init(&m.shadow, &another, &model, &context), -ENOMEM);
}

int main(void)
{
    RUN(unloading);
    RUN(init_without_paging);
    RUN(init_with_paging);
    RUN(registers_that_count);
    RUN(clearing);
    RUN(clearing_at_once);
    RUN(too_few_pages);
    return unit_end();
}
