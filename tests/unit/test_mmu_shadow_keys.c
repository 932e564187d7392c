/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Guards what SMAP and keys guard while CR0.WP=0 lets a supervisor write to what is read-only (SDM
 * vol. 3 §4.6): a vCPU's private tables, and that nothing else is looser for them.
 */
#include "tests/unit/shadow_machine.h"

#define ALL     (P | W | U | A | D)
#define KEY(k)  ((uint64_t)(k) << 59)
#define DENY(k) (1U << 2U * (k))
#define KEEP(k) (2U << 2U * (k)) /* from being written */
#define DATA    (40 * PAGE_SIZE)
#define LEAVES  (4 * PAGE_SIZE)

/* Guests in long mode that share tables: the first page has this entry, behind tables with all
 * rights. All of them run with the same registers. */
static struct vcpu *guests_with(uint64_t entry, uint64_t cr0, uint64_t cr4)
{
    static const struct paging_props model = {.maxphyaddr = 40, .gbpages = true, .nx = true};
    struct paging_props props[CPUS];

    for (unsigned int i = 0; i < CPUS; i++)
        props[i] = model;
    machine_new(props, 256, true, 1);
    for (unsigned int table = 1; table < 4; table++)
        guest_store(table * PAGE_SIZE, 8, (table + 1) * PAGE_SIZE | ALL);
    guest_store(LEAVES, 8, entry);
    for (unsigned int i = 0; i < CPUS; i++) {
        struct paging_state *state = &m.cpu[i].shadow.state;

        state->cr0 = CR0_PG | cr0;
        state->cr4 = CR4_PAE | cr4;
        state->efer = EFER_LME | EFER_LMA | EFER_NXE;
        state->cr3 = PAGE_SIZE;
        flush_all(&m.cpu[i]);
    }
    return &m.cpu[0];
}

/* END_DONE, or the error code of a #PF above it. */
static unsigned int go_at(struct vcpu *c, uint64_t linear, unsigned int access)
{
    struct walk_result result;
    enum access_end end = guest_access(c, linear, access, &result);

    return end == END_FAULT ? END_FAULT | result.error_code << 8 : end;
}

static unsigned int go(struct vcpu *c, unsigned int access)
{
    return go_at(c, 0, access);
}

#define FAULT(code) (END_FAULT | (code) << 8)

/* Private tables are what a write needs that only WP=0 allows, and last until the guest flushes. */
static void only_such_writes_need_private_tables(void)
{
    for (unsigned int i = 0; i < 64; i++) {
        uint64_t guard = (i & 1U ? CR4_SMAP : 0) | (i & 2U ? CR4_PKE : 0) | (i & 4U ? CR4_SMEP : 0);
        uint64_t entry = DATA | P | (i & 8U ? W : 0) | (i & 16U ? U : 0);
        struct vcpu *c = guests_with(entry, i & 32U ? CR0_WP : 0, guard);
        bool needed = !(i & 8U) && !(i & 32U);

        c->shadow.state.ac = true;
        CHECK_EQ(go(c, ACCESS_READ), END_DONE);
        CHECK(!c->shadow.private.on);
        (void)go(c, ACCESS_WRITE);
        CHECK_EQ(c->shadow.private.on, needed);
        (void)go(c, ACCESS_READ | ACCESS_USER);
        guest_invlpg(c, 0);
        CHECK_EQ(c->shadow.private.on, needed);
        flush_all(c);
        CHECK(!c->shadow.private.on);
        CHECK_EQ(go(c, ACCESS_READ), END_DONE);
    }
}

/* The fault that started it: a write with AC must not open the page to accesses without. */
static void smap_guards_after_a_write(void)
{
    struct vcpu *c = guests_with(DATA | P | U, 0, CR4_SMAP);

    for (unsigned int i = 0; i < 3; i++) {
        c->shadow.state.ac = true;
        CHECK_EQ(go(c, ACCESS_READ), END_DONE);
        CHECK_EQ(go(c, ACCESS_WRITE), END_DONE);
        c->shadow.state.ac = false;
        CHECK_EQ(go(c, ACCESS_READ), FAULT(PF_PRESENT));
        CHECK_EQ(go(c, ACCESS_WRITE), FAULT(PF_PRESENT | PF_WRITE));
        CHECK_EQ(go(c, ACCESS_WRITE | ACCESS_USER), FAULT(PF_PRESENT | PF_WRITE | PF_USER));
        CHECK_EQ(go(c, ACCESS_READ | ACCESS_USER), END_DONE);
    }
}

/* Nor to the user's writes on another vCPU, whose registers are the same. */
static void no_other_vcpu_sees_it(void)
{
    struct vcpu *c = guests_with(DATA | P | U, 0, CR4_SMAP);

    c->shadow.state.ac = true;
    CHECK_EQ(go(c, ACCESS_WRITE), END_DONE);
    for (unsigned int i = 0; i < 2; i++) {
        CHECK_EQ(go(&m.cpu[1], ACCESS_WRITE | ACCESS_USER), FAULT(PF_PRESENT | PF_WRITE | PF_USER));
        CHECK_EQ(go(&m.cpu[1], ACCESS_READ), FAULT(PF_PRESENT));
        CHECK_EQ(go(&m.cpu[1], ACCESS_READ | ACCESS_USER), END_DONE);
    }
}

/* A page that was only read is not written before the guest's D is set, whatever W says. */
static void a_write_sets_d_first(void)
{
    for (unsigned int i = 0; i < 4; i++) {
        uint64_t entry = DATA | P | (i & 1U ? W : 0) | (i & 2U ? U : 0);
        struct vcpu *c = guests_with(entry, 0, CR4_SMAP);

        c->shadow.state.ac = true;
        CHECK_EQ(go(c, ACCESS_READ), END_DONE);
        CHECK_EQ(m.ram[LEAVES / 8], entry | A);
        CHECK_EQ(go(c, ACCESS_READ), END_DONE);
        CHECK_EQ(m.ram[LEAVES / 8], entry | A);
        CHECK_EQ(go(c, ACCESS_WRITE), END_DONE);
        CHECK_EQ(m.ram[LEAVES / 8], entry | A | D);
    }
}

/* One instruction may read by one mapping of a frame what it writes by another. */
static void each_mapping_has_its_own_d(void)
{
    struct vcpu *c = guests_with(DATA | P | U, 0, CR4_SMAP);

    guest_store(LEAVES + 8, 8, DATA | P | U);
    flush_all(c);
    c->shadow.state.ac = true;
    CHECK_EQ(go_at(c, PAGE_SIZE, ACCESS_READ), END_DONE);
    CHECK_EQ(go_at(c, PAGE_SIZE, ACCESS_WRITE), END_DONE);
    CHECK_EQ(go_at(c, 0, ACCESS_READ), END_DONE);
    unsigned long exits = m.exits;
    CHECK_EQ(go_at(c, 0, ACCESS_READ), END_DONE);
    CHECK_EQ(go_at(c, PAGE_SIZE, ACCESS_WRITE), END_DONE);
    CHECK_EQ(m.exits, exits); /* both at once, or it would never end */
    CHECK_EQ(m.ram[LEAVES / 8], DATA | P | U | A);
    CHECK_EQ(m.ram[LEAVES / 8 + 1], DATA | P | U | A | D);
}

/* More pages than there are slots, and than there are tables. */
static void what_is_full_begins_anew(void)
{
    struct vcpu *c = guests_with(DATA | P | U, 0, CR4_SMAP);

    for (unsigned int i = 0; i < 512; i++)
        guest_store(LEAVES + 8UL * i, 8, DATA | P | U);
    for (unsigned int i = 1; i < 512; i++)
        guest_store(2 * PAGE_SIZE + 8UL * i, 8, 3 * PAGE_SIZE | ALL);
    flush_all(c);
    c->shadow.state.ac = true;
    for (unsigned int i = 0; i < 2048; i++) {
        uint64_t linear = (i * 37UL % 512U) << 12 | (i * 11UL % 512U) << 30;

        CHECK_EQ(go_at(c, linear, i % 3U ? ACCESS_READ : ACCESS_WRITE), END_DONE);
    }
    CHECK(c->shadow.private.pages <= SHADOW_PRIVATE_PAGES);
}

/* A CPL-3 instruction that lies in one page with the descriptor whose A bit it sets. */
static void one_page_for_a_user_and_a_write(void)
{
    for (unsigned int i = 0; i < 8; i++) {
        uint64_t guard = (i & 1U ? CR4_SMAP : 0) | (i & 2U ? CR4_PKE : 0);
        struct vcpu *c = guests_with(DATA | P | U | (i & 4U ? A | D : 0), 0, guard);
        unsigned int write = ACCESS_WRITE | (guard & CR4_SMAP ? 0 : WALK_IMPLICIT);

        c->shadow.state.ac = true;
        CHECK_EQ(go(c, ACCESS_EXECUTE | ACCESS_USER), END_DONE);
        CHECK_EQ(go(c, write), END_DONE);
        CHECK_EQ(go(c, ACCESS_EXECUTE | ACCESS_USER), END_DONE);
        unsigned long exits = m.exits;
        CHECK_EQ(go(c, ACCESS_EXECUTE | ACCESS_USER), END_DONE);
        CHECK_EQ(go(c, write), END_DONE);
        CHECK_EQ(m.exits, exits); /* both at once, or it would never end */
    }
}

/* The pages go back when WP is 1 again, or paging off. */
static void nothing_is_kept(void)
{
    struct vcpu *c = guests_with(DATA | P | U, 0, CR4_SMAP);
    unsigned int unused = m.shadow.unused_count + m.shadow.limbo_count;

    c->shadow.state.ac = true;
    for (unsigned int i = 0; i < 2; i++) {
        CHECK_EQ(go(c, ACCESS_WRITE), END_DONE);
        CHECK(m.shadow.unused_count + m.shadow.limbo_count < unused);
        c->shadow.state.cr0 = i ? 0 : CR0_PG | CR0_WP;
        flush_all(c);
        CHECK(!c->shadow.private.on);
        if (i == 0)
            CHECK_EQ(go(c, ACCESS_WRITE), FAULT(PF_PRESENT | PF_WRITE));
        c->shadow.state.cr0 = CR0_PG;
        flush_all(c);
    }
    CHECK_EQ(c->shadow.private.pages, 0U);
}

static void wp_heeds_the_key(void)
{
    struct vcpu *c = guests_with(DATA | P | W | A | D | KEY(3), CR0_WP, CR4_PKS | CR4_PKE);

    c->shadow.state.pkrs = KEEP(3) | DENY(4);
    CHECK_EQ(go(c, ACCESS_READ), END_DONE);
    CHECK_EQ(go(c, ACCESS_WRITE), FAULT(PF_PRESENT | PF_WRITE | PF_KEY));
    c->shadow.state.pkrs = DENY(3);
    CHECK_EQ(go(c, ACCESS_READ), FAULT(PF_PRESENT | PF_KEY));
}

/* Read-only to the entry, or to the key alone; and whatever the other keys deny. */
static void without_wp_the_key_keeps_nothing(void)
{
    for (unsigned int i = 0; i < 8; i++) {
        uint64_t entry = DATA | P | (i & 1U ? W : 0) | (i & 2U ? U : 0) | A | D | KEY(3);
        struct vcpu *c = guests_with(entry, 0, CR4_PKS | CR4_PKE);
        uint32_t *keys = i & 2U ? &c->shadow.state.pkru : &c->shadow.state.pkrs;

        *keys = i & 4U ? 0xaaaaaaaaU : DENY(0) | KEEP(1) | KEEP(3);
        CHECK_EQ(go(c, ACCESS_READ), END_DONE);
        CHECK_EQ(go(c, ACCESS_WRITE), END_DONE);
        CHECK(go(c, ACCESS_WRITE | ACCESS_USER) != END_DONE);
        *keys = DENY(3); /* no exit tells of it */
        CHECK_EQ(go(c, ACCESS_READ), FAULT(PF_PRESENT | PF_KEY));
        CHECK_EQ(go(c, ACCESS_WRITE), FAULT(PF_PRESENT | PF_WRITE | PF_KEY));
        *keys = KEEP(3);
        CHECK_EQ(go(c, ACCESS_WRITE), END_DONE);
        c->shadow.state.cr0 |= CR0_WP;
        flush_all(c);
        CHECK(go(c, ACCESS_WRITE) != END_DONE);
    }
}

int main(void)
{
    RUN(only_such_writes_need_private_tables);
    RUN(smap_guards_after_a_write);
    RUN(no_other_vcpu_sees_it);
    RUN(a_write_sets_d_first);
    RUN(each_mapping_has_its_own_d);
    RUN(what_is_full_begins_anew);
    RUN(one_page_for_a_user_and_a_write);
    RUN(nothing_is_kept);
    RUN(wp_heeds_the_key);
    RUN(without_wp_the_key_keeps_nothing);
    return unit_end();
}
