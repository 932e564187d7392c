/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Guards the keys of supervisor pages (CR4.PKS) in shadow tables: with CR0.WP=0 they do not deny
 * writes (SDM vol. 3 §4.6.2), but the hardware, whose WP is 1, would heed them.
 */
#include "tests/unit/shadow_machine.h"

#define ALL     (P | W | U | A | D)
#define KEY(k)  ((uint64_t)(k) << 59)
#define DENY(k) (1U << 2U * (k))
#define KEEP(k) (2U << 2U * (k)) /* from being written */

/* A guest in long mode whose first page has this entry, behind tables with all rights. */
static struct vcpu *guest_with(uint64_t entry, uint64_t cr0, uint32_t pkrs)
{
    static const struct paging_props model = {.maxphyaddr = 40, .gbpages = true, .nx = true};
    struct paging_props props[CPUS];
    struct vcpu *c = &m.cpu[0];

    for (unsigned int i = 0; i < CPUS; i++)
        props[i] = model;
    machine_new(props, 256, true, 1);
    for (unsigned int table = 1; table < 4; table++)
        guest_store(table * PAGE_SIZE, 8, (table + 1) * PAGE_SIZE | ALL);
    guest_store(4 * PAGE_SIZE, 8, entry);
    c->shadow.state.cr0 = CR0_PG | cr0;
    c->shadow.state.cr4 = CR4_PAE | CR4_PKS | CR4_PKE;
    c->shadow.state.efer = EFER_LME | EFER_LMA | EFER_NXE;
    c->shadow.state.cr3 = PAGE_SIZE;
    c->shadow.state.pkrs = pkrs;
    flush_all(c);
    return c;
}

/* END_DONE, or the error code of a #PF above it. */
static unsigned int go(struct vcpu *c, unsigned int access)
{
    struct walk_result result;
    enum access_end end = guest_access(c, 0, access, &result);

    return end == END_FAULT ? END_FAULT | result.error_code << 8 : end;
}

#define FAULT(code) (END_FAULT | (code) << 8)

static void wp_heeds_the_key(void)
{
    struct vcpu *c = guest_with(40 * PAGE_SIZE | P | W | A | D | KEY(3), CR0_WP, KEEP(3) | DENY(4));

    CHECK_EQ(go(c, ACCESS_READ), END_DONE);
    CHECK_EQ(go(c, ACCESS_WRITE), FAULT(PF_PRESENT | PF_WRITE | PF_KEY));
    c->shadow.state.pkrs = DENY(3);
    CHECK_EQ(go(c, ACCESS_READ), FAULT(PF_PRESENT | PF_KEY));
    CHECK_EQ(m.shadow.opened, 0U);
}

/* Read-only to the entry, or to the key alone. */
static void without_wp_the_key_keeps_nothing(void)
{
    for (unsigned int writable = 0; writable < 2; writable++) {
        struct vcpu *c = guest_with(40 * PAGE_SIZE | P | (writable ? W : 0) | A | D | KEY(3), 0,
                                    DENY(0) | KEEP(1) | KEEP(3));

        CHECK_EQ(go(c, ACCESS_READ), END_DONE);
        CHECK_EQ(go(c, ACCESS_WRITE), END_DONE);
        CHECK_EQ(go(c, ACCESS_WRITE | ACCESS_USER), FAULT(PF_PRESENT | PF_WRITE | PF_USER));
        CHECK_EQ(m.shadow.opened, 1U);
        c->shadow.state.cr0 |= CR0_WP;
        flush_all(c);
        CHECK_EQ(go(c, ACCESS_WRITE), FAULT(PF_PRESENT | PF_WRITE | PF_KEY));
    }
}

static void without_wp_a_denying_key_denies(void)
{
    struct vcpu *c = guest_with(40 * PAGE_SIZE | P | W | A | D | KEY(3), 0, DENY(3));

    CHECK_EQ(go(c, ACCESS_WRITE), FAULT(PF_PRESENT | PF_WRITE | PF_KEY));
    CHECK_EQ(m.shadow.opened, 0U);
}

/* A user's page that is opened is the supervisor's to the hardware, but not its key. */
static void an_opened_page_has_no_supervisors_key(void)
{
    struct vcpu *c = guest_with(40 * PAGE_SIZE | P | U | A | D | KEY(3), 0, DENY(3) | DENY(0));

    CHECK_EQ(go(c, ACCESS_WRITE), END_DONE);
    CHECK_EQ(go(c, ACCESS_READ | ACCESS_USER), END_DONE);
    CHECK_EQ(go(c, ACCESS_WRITE), END_DONE);
    guest_invlpg(c, 0);
    CHECK_EQ(go(c, ACCESS_READ | ACCESS_USER), END_DONE);
}

/* A part of a large page that is split, as Latch's pages lie in it. */
static void a_split_page_too(void)
{
    struct vcpu *c = guest_with(0, 0, KEEP(3) | DENY(0));

    guest_store(3 * PAGE_SIZE, 8, (TABLES & ~(LARGE_PAGE_SIZE - 1)) | PS | P | W | A | D | KEY(3));
    flush_all(c);
    CHECK_EQ(go(c, ACCESS_READ), END_DONE);
    CHECK_EQ(go(c, ACCESS_WRITE), END_DONE);
}

/* No key lets the hardware write: the guest gets the fault of WP=1, and Latch counts it. */
static void no_key_is_left(void)
{
    struct vcpu *c = guest_with(40 * PAGE_SIZE | P | W | A | D | KEY(3), 0, 0xaaaaaaaaU);

    CHECK_EQ(go(c, ACCESS_READ), END_DONE);
    CHECK_EQ(go(c, ACCESS_WRITE), FAULT(PF_PRESENT | PF_WRITE | PF_KEY));
    CHECK(m.shadow.opened != 0);
}

int main(void)
{
    RUN(wp_heeds_the_key);
    RUN(without_wp_the_key_keeps_nothing);
    RUN(without_wp_a_denying_key_denies);
    RUN(an_opened_page_has_no_supervisors_key);
    RUN(a_split_page_too);
    RUN(no_key_is_left);
    return unit_end();
}
