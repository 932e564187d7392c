/* SPDX-License-Identifier: BSD-2-Clause */
/* The guest walker on known cases, hostile ones among them; fuzz_mmu.c compares whole trees. */
#include "mmu/registers.h"
#include "mmu/walk.h"
#include "tests/unit/unit.h"
#include <errno.h>
#include <string.h>

#define PAGES 32U
#define BASE  0x10000UL

/* The guest's memory: PAGES pages from BASE; all else reads as ones and cannot be written. */
struct guest {
    unsigned char byte[PAGES * PAGE_SIZE];
    unsigned int reads;
    unsigned int races; /* exchanges that still fail because another CPU was first */
    bool broken;        /* reads end in an error */
};

static int guest_read(void *ctx, gpa_t address, unsigned int size, uint64_t *value)
{
    struct guest *g = ctx;

    g->reads++;
    if (g->broken)
        return -EIO;
    *value = size == 4 ? 0xffffffffUL : ~0UL;
    CHECK(address.raw % size == 0);
    if (address.raw >= BASE && address.raw - BASE < sizeof(g->byte)) {
        *value = 0;
        memcpy(value, &g->byte[address.raw - BASE], size);
    }
    return 0;
}

static int guest_exchange(void *ctx, gpa_t address, unsigned int size, uint64_t expected,
                          uint64_t value)
{
    struct guest *g = ctx;
    uint64_t old = 0;

    if (g->races) {
        g->races--;
        return -EAGAIN;
    }
    if (address.raw < BASE || address.raw - BASE >= sizeof(g->byte))
        return 0;
    memcpy(&old, &g->byte[address.raw - BASE], size);
    if (old != expected)
        return -EAGAIN;
    memcpy(&g->byte[address.raw - BASE], &value, size);
    return 0;
}

static void put(struct guest *g, uint64_t address, uint64_t value)
{
    memcpy(&g->byte[address - BASE], &value, sizeof(value));
}

static const struct paging_props usual = {
    .maxphyaddr = 40, .nx = true, .pse36 = true, .pat = true, .gbpages = true, .la57 = true};

/* A table that leads to itself, tables outside memory, and errors of the environment. */
static void hostile_tables(void)
{
    static struct guest g;
    struct walk_env env = {.ctx = &g, .read = guest_read, .compare_exchange = guest_exchange};
    struct paging_state s = {.cr0 = CR0_PG | CR0_WP,
                             .cr3 = BASE,
                             .cr4 = CR4_PAE | CR4_LA57,
                             .efer = EFER_LMA | EFER_NXE,
                             .props = &usual};
    struct walk_result result;

    put(&g, BASE, BASE | 0x67);
    CHECK_EQ(guest_walk(&env, &s, gla(0x123), ACCESS_READ, &result), 0);
    CHECK_EQ(result.address.raw, BASE + 0x123);
    CHECK_EQ(g.reads, 5U);
    s.cr3 = 0xffffff000; /* reads as ones: bits above the width are set */
    CHECK_EQ(guest_walk(&env, &s, gla(0), ACCESS_WRITE, &result), -EFAULT);
    CHECK_EQ(result.error_code, PF_PRESENT | PF_RESERVED | PF_WRITE);
    s.cr3 = BASE;
    g.races = 3;
    put(&g, BASE, BASE | 0x7);
    CHECK_EQ(guest_walk(&env, &s, gla(0), ACCESS_READ, &result), 0);
    put(&g, BASE, BASE | 0x7);
    g.races = 1000;
    CHECK_EQ(guest_walk(&env, &s, gla(0), ACCESS_READ, &result), -EAGAIN);
    g.races = 0;
    g.broken = true;
    CHECK_EQ(guest_walk(&env, &s, gla(0), ACCESS_READ, &result), -EIO);
}

/* Without an exchange nothing is written. */
static void reads_only(void)
{
    static struct guest g, before;
    struct walk_env env = {.ctx = &g, .read = guest_read};
    struct paging_state s = {
        .cr0 = CR0_PG, .cr3 = BASE, .cr4 = CR4_PAE, .efer = EFER_LMA, .props = &usual};
    struct walk_result result;

    put(&g, BASE, (BASE + PAGE_SIZE) | 7);
    put(&g, BASE + PAGE_SIZE, 0xc0000000UL | 0x87);
    before = g;
    CHECK_EQ(guest_walk(&env, &s, gla(0x3fffffff), ACCESS_WRITE | ACCESS_USER, &result), 0);
    CHECK_EQ(result.address.raw, 0xffffffffUL);
    CHECK_EQ(result.page_size, HUGE_PAGE_SIZE);
    CHECK_EQ(result.level, 3U);
    CHECK_EQ(result.entry, 0xc0000087UL);
    CHECK_EQ(memcmp(g.byte, before.byte, sizeof(g.byte)), 0);
}

/* PSE36: bits 20:13 of a 4 MiB entry are bits 39:32 of the address, as far as the width goes. */
static void pse36(void)
{
    static struct guest g;
    struct walk_env env = {.ctx = &g, .read = guest_read};
    struct paging_props props = usual;
    struct paging_state s = {.cr0 = CR0_PG, .cr3 = BASE, .cr4 = CR4_PSE, .props = &props};
    struct walk_result result;

    put(&g, BASE, 0x80400000UL | 0xabUL << 13 | 0x87);
    CHECK_EQ(guest_walk(&env, &s, gla(0x3fffff), ACCESS_READ, &result), 0);
    CHECK_EQ(result.address.raw, 0xab807fffffUL);
    CHECK_EQ(result.page_size, 1UL << 22);
    props.maxphyaddr = 36;
    CHECK_EQ(guest_walk(&env, &s, gla(0), ACCESS_READ, &result), -EFAULT);
    CHECK_EQ(result.error_code, PF_PRESENT | PF_RESERVED);
    props.pse36 = false;
    put(&g, BASE, 0x80400000UL | 0x1000 | 0x87); /* bit 12 is the PAT bit */
    CHECK_EQ(guest_walk(&env, &s, gla(0), ACCESS_READ, &result), 0);
    CHECK_EQ(result.address.raw, 0x80400000UL);
}

/* Keys of supervisor pages: IA32_PKRS decides, its WD bits only with CR0.WP=1 (§4.6.2). */
static void supervisor_keys(void)
{
    static struct guest g;
    struct walk_env env = {.ctx = &g, .read = guest_read};
    struct paging_state s = {.cr0 = CR0_PG | CR0_WP,
                             .cr3 = BASE,
                             .cr4 = CR4_PAE | CR4_PKE | CR4_PKS,
                             .efer = EFER_LMA,
                             .pkru = ~0U,
                             .pkrs = 2U << 10,
                             .props = &usual};
    struct walk_result result;

    put(&g, BASE, (BASE + PAGE_SIZE) | 7);
    put(&g, BASE + PAGE_SIZE, 5UL << 59 | 0x83);
    CHECK_EQ(guest_walk(&env, &s, gla(0), ACCESS_READ, &result), 0);
    CHECK_EQ(guest_walk(&env, &s, gla(0), ACCESS_EXECUTE, &result), 0);
    CHECK_EQ(guest_walk(&env, &s, gla(0), ACCESS_WRITE, &result), -EFAULT);
    CHECK_EQ(result.error_code, PF_PRESENT | PF_WRITE | PF_KEY);
    s.cr0 = CR0_PG;
    CHECK_EQ(guest_walk(&env, &s, gla(0), ACCESS_WRITE, &result), 0);
    CHECK_EQ(guest_walk(&env, &s, gla(0), ACCESS_WRITE | ACCESS_USER, &result), -EFAULT);
    CHECK_EQ(result.error_code, PF_PRESENT | PF_WRITE | PF_USER);
    s.pkrs = 1U << 10;
    CHECK_EQ(guest_walk(&env, &s, gla(0), ACCESS_READ | WALK_IMPLICIT, &result), -EFAULT);
    CHECK_EQ(result.error_code, PF_PRESENT | PF_KEY);
    s.cr4 &= ~CR4_PKS;
    CHECK_EQ(guest_walk(&env, &s, gla(0), ACCESS_READ, &result), 0);
    s.cr4 |= CR4_PKS;
    s.pkru = 0;
    s.pkrs = ~0U;
    put(&g, BASE + PAGE_SIZE, 5UL << 59 | 0x87); /* a user page is PKRU's */
    CHECK_EQ(guest_walk(&env, &s, gla(0), ACCESS_WRITE, &result), 0);
}

int main(void)
{
    RUN(hostile_tables);
    RUN(reads_only);
    RUN(pse36);
    RUN(supervisor_keys);
    return unit_end();
}
