/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef LATCH_MMU_SHADOW_ROOT_H
#define LATCH_MMU_SHADOW_ROOT_H
/* What a vCPU's hardware CR3 points to. Inside of the shadow tables' own files only. */
#include "mmu/shadow_sync.h"

/* Which entry of a page translates an address. */
static inline unsigned int shadow_index(const struct shadow_page *page, gla_t address)
{
    return (address.raw / level_size(page->role.level)) % TABLE_ENTRIES;
}

/* Have cpu->root be the page that cpu->role and CR3 mean, with its room reserved. */
void root_load_long(struct shadow *s, struct shadow_cpu *cpu);

/* Have the vCPU's own page of PDPTEs be cpu->root, and link what its four lead to: one each for PAE
 * paging, one for each quarter of 32-bit paging's directory. True if one is another than before. */
bool root_load_pae(struct shadow *s, struct shadow_cpu *cpu);

/* The same for one of them. */
bool root_link_pdpte(struct shadow *s, struct shadow_cpu *cpu, unsigned int index);

/* No root: what was in use stays cached. */
void root_leave(struct shadow *s, struct shadow_cpu *cpu);

#endif
