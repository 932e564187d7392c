/* SPDX-License-Identifier: BSD-2-Clause */
#include "mmu/shadow_root.h"
#include "mmu/reserved.h"
#include <stddef.h>

static uint64_t table_address(const struct shadow_cpu *cpu, uint64_t entry)
{
    uint64_t address = entry & ENTRY_ADDRESS;

    return cpu->role.cbit ? address & ~(1UL << cpu->role.cbit) : address;
}

void root_load_long(struct shadow *s, struct shadow_cpu *cpu)
{
    gfn_t frame = gfn(table_address(cpu, cpu->state.cr3) >> PAGE_SHIFT);
    union page_role role = cpu->root_role;
    struct shadow_page *page = cpu->root;
    bool made;

    if (page && page != cpu->pae_root && page->frame.raw == frame.raw &&
        role_equal(page->role, role))
        return;
    page = shadow_get(s, frame, role, &made);
    page->many |= page->parent != NULL;
    root_leave(s, cpu);
    cpu->root = page;
}

/* What a PDPTE leads to, as shadow_derive(); it has no A bit and no rights. */
static struct shadow_entry wanted_pdpte(const struct shadow *s, const struct shadow_cpu *cpu,
                                        unsigned int index)
{
    const struct paging_state *state = &cpu->state;
    gpa_t place = gpa((state->cr3 & 0xffffffe0UL) + index * 8UL);
    union page_role child = cpu->role;
    uint64_t entry = 0;

    if (cpu->role.mode != MODE_PAE) {
        child.quadrant = index & 3U;
        entry = (state->cr3 & 0xfffff000UL) | SHADOW_PRESENT;
    } else {
        if (state->pdpte_held)
            entry = state->pdpte[index];
        else if (s->guest->read(s->guest->ctx, place, 8, &entry) != 0)
            entry = 0;
        if (!(entry & SHADOW_PRESENT) ||
            (entry & reserved_mask(MODE_PAE, 3, false, state->props, cpu->role.nxe)))
            return (struct shadow_entry){.kind = SHADOW_NONE};
    }
    gfn_t frame = gfn(table_address(cpu, entry) >> PAGE_SHIFT);
    return (struct shadow_entry){.kind = SHADOW_TABLE,
                                 .bits = SHADOW_PRESENT,
                                 .frame = frame,
                                 .role = role_at_level(child, 2, frame)};
}

static void set_pdpte(struct shadow *s, struct shadow_cpu *cpu, unsigned int index,
                      struct shadow_page *page)
{
    struct shadow_page *old = shadow_child(s, cpu->pae_root, cpu->pdpte[index]);

    cpu->pdpte[index] = page ? shadow_address(s, page).raw | SHADOW_PRESENT : 0;
    entry_write(&shadow_table(s, cpu->pae_root)[index], cpu->pdpte[index]);
    cpu->changed = true;
    if (old)
        shadow_put_root(s, old);
}

bool root_link_pdpte(struct shadow *s, struct shadow_cpu *cpu, unsigned int index)
{
    struct shadow_entry wanted = wanted_pdpte(s, cpu, index);
    struct shadow_page *page = NULL;
    bool made;

    if (shadow_matches(s, cpu->pae_root, cpu->pdpte[index], &wanted))
        return false;
    if (wanted.kind == SHADOW_TABLE)
        page = shadow_get_linked(s, cpu->pae_root, &wanted, &made);
    set_pdpte(s, cpu, index, page);
    return true;
}

bool root_load_pae(struct shadow *s, struct shadow_cpu *cpu)
{
    bool linked = false;

    if (cpu->root != cpu->pae_root) {
        root_leave(s, cpu);
        cpu->root = cpu->pae_root;
    }
    for (unsigned int i = 0; i < 4; i++)
        linked |= root_link_pdpte(s, cpu, i);
    return linked;
}

void root_leave(struct shadow *s, struct shadow_cpu *cpu)
{
    if (cpu->root && cpu->root != cpu->pae_root)
        shadow_put_root(s, cpu->root);
    for (unsigned int i = 0; cpu->root == cpu->pae_root && i < 4; i++)
        set_pdpte(s, cpu, i, NULL);
    cpu->root = NULL;
}
