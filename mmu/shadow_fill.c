/* SPDX-License-Identifier: BSD-2-Clause */
#include "mmu/shadow_private.h"
#include "mmu/shadow_root.h"
#include <errno.h>
#include <stddef.h>

/* What one fault can need: tables at four levels below a root, one of them a split. */
#define FILL_PAGES 6U
/* Entries filled about a fault's: in a table that was there, and in a new one. */
#define NEAR     8U
#define NEAR_NEW 64U

/* Fill what the guest has used before and is likely to use again. */
static void prefetch(struct shadow *s, struct shadow_page *page, unsigned int index,
                     unsigned int count)
{
    const uint64_t used = SHADOW_PRESENT | SHADOW_ACCESSED;
    const void *guest_table = shadow_guest_table(s, page);
    uint64_t *table = shadow_table(s, page);

    index &= ~(count - 1U);
    for (unsigned int i = index; i < index + count && guest_table; i++) {
        uint64_t guest = shadow_entry_in(guest_table, page, i);
        struct shadow_entry wanted;

        if ((guest & used) != used || table[i] != 0)
            continue;
        wanted = shadow_wanted(s, page, i, guest);
        if (wanted.kind == SHADOW_LEAF)
            entry_add(s, page, table, i, wanted.bits);
    }
}

/* Put in an entry; the page that it links to, if it is a link. */
static struct shadow_page *put_entry(struct shadow *s, struct shadow_page *page, unsigned int index,
                                     const struct shadow_entry *wanted, bool *made)
{
    uint64_t *table = shadow_table(s, page), *place = &table[index];
    struct shadow_page *child = NULL;

    *made = false;
    if (shadow_matches(s, page, *place, wanted))
        return shadow_child(s, page, *place);
    page->looks = 0;
    shadow_drop(s, page, index);
    if (wanted->kind == SHADOW_LEAF)
        entry_add(s, page, table, index, wanted->bits);
    if (wanted->kind != SHADOW_TABLE)
        return NULL;
    page->global |= wanted->role.leaf_global; /* a large page, split */
    child = shadow_get_linked(s, page, wanted, made);
    if (child && !*made)
        shadow_sync_linked(s, child);
    if (child)
        entry_add(s, page, table, index, shadow_address(s, child).raw | wanted->bits);
    return child;
}

/* The table below a PDPTE, as it is to be now. */
static struct shadow_page *below_pdpte(struct shadow *s, struct shadow_cpu *cpu, unsigned int index)
{
    const bool linked = root_link_pdpte(s, cpu, index);
    struct shadow_page *page = shadow_child(s, cpu->pae_root, cpu->pdpte[index]);

    if (page && linked)
        shadow_sync_linked(s, page);
    return page;
}

/* The same for a #PF of the guest's: what the CPU holds does not change with it. */
static struct shadow_page *held_pdpte(struct shadow *s, struct shadow_cpu *cpu, unsigned int index)
{
    if (cpu->role.mode != MODE_PAE || cpu->state.pdpte_held)
        return shadow_child(s, cpu->pae_root, cpu->pdpte[index]);
    shadow_reserve(s, 1);
    return below_pdpte(s, cpu, index);
}

/* From the root down, each entry from one read of the guest's. What that read says is right in any
 * case, whether or not it leads where the walk before has been. */
static void fill(struct shadow *s, struct shadow_cpu *cpu, gla_t address)
{
    struct shadow_page *page = cpu->root;
    bool made = false;

    if (page == cpu->pae_root)
        page = below_pdpte(s, cpu, shadow_index(page, address) % 4U);
    while (page) {
        struct shadow_page *at = page;
        unsigned int index = shadow_index(at, address);
        uint64_t guest = at->role.direct ? 0 : shadow_guest_entry(s, at, index);
        struct shadow_entry wanted = shadow_wanted(s, at, index, guest);
        bool made_here = made;

        page = put_entry(s, at, index, &wanted, &made);
        if (wanted.kind == SHADOW_LEAF && !at->role.direct)
            prefetch(s, at, index, made_here ? NEAR_NEW : NEAR);
    }
}

/* The guest's entry may be two here. */
static void look_anew(struct shadow *s, struct shadow_page *page, unsigned int index)
{
    const uint64_t *table = shadow_table(s, page);

    if (page->tracked || page->role.direct)
        return;
    for (unsigned int half = 0; half <= page->rules.halves; half++)
        if (table[index ^ half] != 0)
            shadow_sync_entry(s, page, index ^ half);
}

/* With a #PF of its own a CPU drops what it holds of the address (SDM vol. 3 §4.10.4.1): so does the
 * shadow, and the caller's flush of the address the hardware. That leaves the other half of an entry for
 * 4 MiB, to whichever vCPU it was that dropped it here. */
static void drop_stale(struct shadow *s, struct shadow_cpu *cpu, gla_t address)
{
    struct shadow_page *page = cpu->root;

    if (page == cpu->pae_root)
        page = held_pdpte(s, cpu, shadow_index(page, address) % 4U);
    while (page) {
        const unsigned int index = shadow_index(page, address);

        look_anew(s, page, index);
        page = shadow_child(s, page, shadow_table(s, page)[index]);
    }
    if (cpu->role.mode == MODE_32BIT || cpu->role.mode == MODE_32BIT_PSE)
        shadow_flush_unlinked(s, cpu);
    shadow_track_candidates(s);
    shadow_reap(s);
}

static bool is_absent(const struct shadow *s, gpa_t address)
{
    return address.raw - s->first.raw < s->direct->window_end - s->first.raw ||
           guest_map_find(s->direct->map, address).kind == GUEST_ABSENT;
}

static int read_entry(void *ctx, gpa_t address, unsigned int size, uint64_t *value)
{
    const struct shadow *s = ctx;

    return s->guest->read(s->guest->ctx, address, size, value);
}

/* A table may be one of 4-byte entries to one vCPU and of 8-byte ones to another: then A and D of
 * the former are address bits of the latter. Among entries of one size they take nothing away. */
static int mark_entry(void *ctx, gpa_t address, unsigned int size, uint64_t expected,
                      uint64_t value)
{
    struct shadow *s = ctx;
    struct shadow_page *page = shadow_of_frame(s, gfn_of(address));

    while (page && (!page->tracked || page->rules.size == size))
        page = shadow_next_of_frame(page);
    if (page)
        shadow_write(s, gfn_of(address));
    return s->guest->compare_exchange(s->guest->ctx, address, size, expected, value);
}

int shadow_walk(struct shadow *s, const struct shadow_cpu *cpu, gla_t address, unsigned int access,
                struct walk_result *result)
{
    const struct walk_env env = {
        .ctx = s, .read = read_entry, .compare_exchange = mark_entry, .reserved = cpu->reserved};

    return guest_walk(&env, &cpu->state, address, access, result);
}

enum shadow_outcome shadow_fault(struct shadow *s, struct shadow_cpu *cpu, gla_t address,
                                 unsigned int access, struct walk_result *result)
{
    int rc = shadow_walk(s, cpu, address, access, result);

    if (rc == -EFAULT && cpu->private.on)
        private_drop_leaf(s, cpu, address);
    else if (rc == -EFAULT && cpu->root)
        drop_stale(s, cpu, address);
    if (rc == -EFAULT)
        return SHADOW_FAULT;
    if (rc != 0 || !cpu->root)
        return SHADOW_RETRY;
    if (is_absent(s, result->address))
        return SHADOW_ABSENT;
    if (result->without_wp && !cpu->private.on)
        private_enter(s, cpu);
    shadow_reserve(s, FILL_PAGES);
    s->fills++;
    if (cpu->private.on) {
        private_fill(s, cpu, address, access, result);
        return SHADOW_RETRY;
    }
    fill(s, cpu, address);
    shadow_track_candidates(s);
    shadow_reap(s);
    return SHADOW_RETRY;
}
