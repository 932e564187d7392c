/* SPDX-License-Identifier: BSD-2-Clause */
#include "mmu/shadow_private.h"
#include "mmu/shadow_root.h"
#include <errno.h>
#include <string.h>

void private_clear(struct shadow *s, struct shadow_cpu *cpu)
{
    memset(shadow_table(s, cpu->pae_root), 0, PAGE_SIZE);
    memset(cpu->pdpte, 0, sizeof(cpu->pdpte));
    cpu->private.used = cpu->private.slots = 0;
    cpu->changed = true;
}

void private_enter(struct shadow *s, struct shadow_cpu *cpu)
{
    root_leave(s, cpu);
    cpu->root = cpu->pae_root;
    cpu->private.on = true;
    private_clear(s, cpu);
    cpu->cr3 = shadow_address(s, cpu->root);
}

/* The CPU may hold links to the pages until it enters the guest again. */
void private_leave(struct shadow *s, struct shadow_cpu *cpu)
{
    struct shadow_private *p = &cpu->private;

    if (!p->on)
        return;
    private_clear(s, cpu);
    while (p->pages != 0) {
        link_move(&p->page[--p->pages]->idle, &s->limbo);
        s->limbo_count++;
    }
    cpu->root = NULL;
    p->on = false;
}

/* Have as many empty pages as one fill can take, of the vCPU's share; what was there goes if there is
 * no other way. One share is nobody's: as no vCPU holds more than its own, whatever its mode, so much
 * can always be had. */
static bool reserve(struct shadow *s, struct shadow_cpu *cpu, unsigned int pages)
{
    struct shadow_private *p = &cpu->private;
    unsigned int share = s->count / (s->kept + 1U) - SHADOW_PINNED_PAGES;

    if (share > SHADOW_PRIVATE_PAGES)
        share = SHADOW_PRIVATE_PAGES;
    while (p->pages < p->used + pages && p->pages < share) {
        struct shadow_page *page = pool_take(s);

        if (!page)
            break;
        p->page[p->pages++] = page;
    }
    if (p->pages < p->used + pages || p->slots == SHADOW_SLOTS)
        private_clear(s, cpu);
    return p->pages >= p->used + pages;
}

static unsigned int index_at(gla_t address, unsigned int level)
{
    return address.raw / level_size(level) % TABLE_ENTRIES;
}

/* The table that a present entry leads to. */
static uint64_t *table_of(const struct shadow *s, uint64_t entry)
{
    return (uint64_t *)(s->tables + ((entry & ENTRY_ADDRESS) - s->first.raw));
}

/* The table that an entry leads to, a new one if there is none. PAE's PDPTEs have no rights, and the
 * VMCS has a copy of them. */
static uint64_t *table_below(struct shadow *s, struct shadow_cpu *cpu, uint64_t *table,
                             unsigned int level, unsigned int index)
{
    struct shadow_private *p = &cpu->private;
    bool pdpte = cpu->role.level == 3 && level == 3;
    struct shadow_page *page;

    if (table[index] & SHADOW_PRESENT)
        return table_of(s, table[index]);
    page = p->page[p->used++];
    memset(shadow_table(s, page), 0, PAGE_SIZE);
    entry_write(&table[index],
                shadow_address(s, page).raw | (pdpte ? SHADOW_PRESENT : SHADOW_LINK));
    if (pdpte) {
        cpu->pdpte[index % 4U] = table[index];
        cpu->changed = true;
    }
    return shadow_table(s, page);
}

/* A slot that shows a frame read-only; its own address if that has no memory, where no access ends.
 * -ENOMEM: nothing may be mapped. */
static int take_slot(struct shadow *s, struct shadow_cpu *cpu, gla_t address, gpa_t *page)
{
    struct shadow_private *p = &cpu->private;
    gpa_t slot = gpa(shadow_window(s, cpu).raw + p->slots * PAGE_SIZE);
    int rc = direct_show(s->direct, slot, gfn_of(*page));

    if (rc != 0)
        return rc == -ENOENT ? 0 : rc;
    p->linear[p->slots++] = gla(address.raw & ~(PAGE_SIZE - 1UL));
    *page = slot;
    return 0;
}

/* D is set in advance; whether the guest's is, the address and W say. */
static uint64_t leaf_bits(const struct walk_result *result, bool dirty, bool keys)
{
    uint64_t pat = result->level == 1 ? SHADOW_PAT : SHADOW_LARGE_PAT;
    uint64_t bits =
        SHADOW_PRESENT | SHADOW_ACCESSED | SHADOW_DIRTY | (result->entry & SHADOW_CACHE);

    if (result->entry & pat)
        bits |= SHADOW_PAT;
    if (keys)
        bits |= result->entry & SHADOW_KEY;
    if (dirty && (result->rights & ACCESS_WRITE))
        bits |= SHADOW_WRITE;
    if (result->rights & ACCESS_USER)
        bits |= SHADOW_USER;
    if (!(result->rights & ACCESS_EXECUTE))
        bits |= SHADOW_NX;
    return bits;
}

void private_fill(struct shadow *s, struct shadow_cpu *cpu, gla_t address, unsigned int access,
                  const struct walk_result *result)
{
    bool dirty = (result->entry & SHADOW_DIRTY) || (access & ACCESS_WRITE);
    uint64_t bits = leaf_bits(result, dirty, cpu->role.level > 3);
    gpa_t page = gpa(result->address.raw & ~(PAGE_SIZE - 1UL));
    uint64_t *table = shadow_table(s, cpu->pae_root);

    if (!reserve(s, cpu, cpu->role.level - 1U))
        return;
    if (!dirty && take_slot(s, cpu, address, &page) != 0)
        return;
    for (unsigned int level = cpu->role.level; level > 1; level--)
        table = table_below(s, cpu, table, level, index_at(address, level));
    entry_write(&table[index_at(address, 1)], page.raw | bits);
}

/* The table at a level on the way to an address, or NULL. */
static uint64_t *table_at(const struct shadow *s, const struct shadow_cpu *cpu, gla_t address,
                          unsigned int level)
{
    uint64_t *table = shadow_table(s, cpu->pae_root);

    for (unsigned int above = cpu->role.level; above > level; above--) {
        uint64_t entry = table[index_at(address, above)];

        if (!(entry & SHADOW_PRESENT))
            return NULL;
        table = table_of(s, entry);
    }
    return table;
}

/* With all of the 1 GiB about it, the largest page that the guest can mean. Its tables' pages are used
 * again when all goes. */
void private_drop(struct shadow *s, struct shadow_cpu *cpu, gla_t address)
{
    uint64_t *table = table_at(s, cpu, address, 3);
    unsigned int index = index_at(address, 3);

    cpu->changed = true;
    if (!table)
        return;
    entry_write(&table[index], 0);
    if (cpu->role.level == 3)
        cpu->pdpte[index % 4U] = 0;
}

void private_drop_leaf(struct shadow *s, struct shadow_cpu *cpu, gla_t address)
{
    uint64_t *table = table_at(s, cpu, address, 1);

    if (table)
        entry_write(&table[index_at(address, 1)], 0);
}

gpa_t shadow_window(const struct shadow *s, const struct shadow_cpu *cpu)
{
    uint64_t index = (uint64_t)(cpu->pae_root - s->pages);

    return gpa(s->direct->tables_end + index * SHADOW_WINDOW);
}

void shadow_window_fault(struct shadow *s, struct shadow_cpu *cpu, gpa_t address,
                         unsigned int access)
{
    uint64_t offset = address.raw - shadow_window(s, cpu).raw;
    struct walk_result result;
    gla_t linear;

    cpu->changed = true;
    if (!cpu->private.on)
        return;
    if ((access & ACCESS_WRITE) && offset / PAGE_SIZE < cpu->private.slots) {
        linear = gla(cpu->private.linear[offset / PAGE_SIZE].raw | offset % PAGE_SIZE);
        if (shadow_fault(s, cpu, linear, access, &result) == SHADOW_RETRY)
            return;
    }
    private_clear(s, cpu);
}
