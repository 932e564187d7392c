/* SPDX-License-Identifier: BSD-2-Clause */
/* Shadow tables: which of the guest's tables are write-protected, and what that costs the guest. */
#include "tests/unit/shadow_guest.h"

static unsigned long reads;

static int counted_read(void *ctx, gpa_t address, unsigned int size, uint64_t *value)
{
    reads++;
    return guest_read(ctx, address, size, value);
}

static const void *counted_ram(void *ctx, gfn_t frame)
{
    reads++;
    return guest_ram(ctx, frame);
}

/* Tables that the guest leaves alone become read-only, and then a CR3 load reads nothing of them;
 * a store makes them unsynced, and is seen after the next flush. */
static void tracking(void)
{
    struct vcpu *c = simple_guest(POOL);
    struct shadow_stats stats;

    CHECK_EQ(go(c, 0, ACCESS_READ), 40 * PAGE_SIZE);
    for (unsigned int i = 0; i < 3; i++)
        flush_all(c);
    shadow_count(&m.shadow, &stats);
    CHECK_EQ(stats.tracked, 4U);
    CHECK_EQ(stats.unsynced, 0U);
    m.guest.read = counted_read;
    m.guest.ram = counted_ram;
    reads = 0;
    flush_all(c);
    CHECK_EQ(reads, 0U);
    CHECK(shadow_is_tracked(&m.shadow, gfn(4), 1));
    put(4, 0, 41 * PAGE_SIZE | ALL);
    CHECK(!shadow_is_tracked(&m.shadow, gfn(4), 1));
    CHECK(shadow_is_tracked(&m.shadow, gfn(0), 1UL << 40));
    CHECK(!shadow_write(&m.shadow, gfn(4)));
    flush_all(c);
    CHECK_EQ(go(c, 0, ACCESS_READ), 41 * PAGE_SIZE);
}

/* What a table is tracked for after looks, it loses by a store; the more often, the more looks it
 * takes. Never forever: a table at rest is tracked again. */
static void patience(void)
{
    struct vcpu *c = simple_guest(POOL);
    unsigned int looks[8];

    CHECK_EQ(go(c, 0, ACCESS_READ), 40 * PAGE_SIZE);
    for (unsigned int i = 0; i < 8; i++) {
        for (looks[i] = 0; looks[i] < 100 && !shadow_is_tracked(&m.shadow, gfn(4), 1); looks[i]++)
            flush_all(c);
        put(4, 1, i);
        CHECK(i == 0 || looks[i] >= looks[i - 1]);
    }
    CHECK(looks[0] <= 3 && looks[7] > 30 && looks[7] < 100);
}

/* A guest that writes a table often does not exit at each write: not at any behind the first, and with a
 * flush after every few of them ever less often. */
static void writes_seldom_exit(void)
{
    for (unsigned int every = 1; every <= 16; every++) {
        struct vcpu *c = simple_guest(POOL);
        unsigned long halfway = 0;

        CHECK_EQ(go(c, 0, ACCESS_READ), 40 * PAGE_SIZE);
        for (unsigned int i = 0; i < 3; i++)
            flush_all(c);
        CHECK(shadow_is_tracked(&m.shadow, gfn(4), 1));
        for (unsigned int i = 1; i < 512; i++)
            put(4, i, (i % 32U + 8U) * PAGE_SIZE | ALL);
        CHECK_EQ(m.violations, 1U);
        for (unsigned int i = 0; i < 4096; i++) {
            if (i % every == 0)
                put(4, 1, (i % 32U + 8U) * PAGE_SIZE | ALL);
            flush_all(c);
            CHECK_EQ(go(c, PAGE_SIZE, ACCESS_READ), (i / every * every % 32U + 8U) * PAGE_SIZE);
            halfway = i == 2047 ? m.violations : halfway;
        }
        CHECK(m.violations < 10);
        CHECK_EQ(m.violations, halfway);
    }
}

/* Flush until nothing below the root is unsynced. */
static void let_track(struct vcpu *c, unsigned int first)
{
    for (unsigned int i = 0; i < 4; i++)
        put(first + i, 0, (i < 3 ? first + i + 1U : 40U) * PAGE_SIZE | ALL);
    run_long(c, first);
    CHECK_EQ(go(c, 0, ACCESS_READ), 40 * PAGE_SIZE);
    for (unsigned int i = 0; i < 3; i++)
        flush_all(c);
    CHECK(shadow_is_tracked(&m.shadow, gfn(first), 1));
}

/* A frame whose pages were freed is tracked no more, also where another one still is: large pages
 * need not be split about it. */
static void freed_and_not_tracked(void)
{
    struct vcpu *c = simple_guest(POOL);

    let_track(c, 50);
    CHECK(shadow_is_tracked(&m.shadow, gfn(10), 65));
    c->shadow.state.cr0 = 0;
    flush_all(c);
    shadow_clear(&m.shadow);
    let_track(c, 1);
    CHECK(!shadow_is_tracked(&m.shadow, gfn(50), 1));
    CHECK(!shadow_is_tracked(&m.shadow, gfn(10), 65));
}

int main(void)
{
    RUN(tracking);
    RUN(patience);
    RUN(writes_seldom_exit);
    RUN(freed_and_not_tracked);
    return unit_end();
}
