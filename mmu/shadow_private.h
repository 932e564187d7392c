/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef LATCH_MMU_SHADOW_PRIVATE_H
#define LATCH_MMU_SHADOW_PRIVATE_H
/*
 * What a vCPU runs on from a write that only CR0.WP=0 allows until the guest flushes all. One instruction
 * may write to a page as the supervisor and use it as a user (SDM vol. 3 §4.6), and SMAP and keys
 * guard it all the same: no entry says that to hardware whose WP is 1. So here WP is 0 in hardware
 * too, and all checks are its own.
 *
 * The tables are that vCPU's alone and are filled like a TLB: a leaf of 4 KiB for each page that the
 * guest's tables were walked for, with the rights that the walk found, until the guest flushes. As
 * WP=0 lets a supervisor write whatever W says, what must not be written before the guest's D is set is
 * read-only in the nested tables: a page without D is mapped through a slot of the vCPU's window,
 * guest-physical addresses that the guest has no memory at, and a write there exits. Slower than other
 * tables, and right for as little as a guest runs so.
 *
 * Inside of the shadow tables' own files only.
 */
#include "mmu/shadow_pool.h"

/* Have cpu->root be an empty set of such tables. */
void private_enter(struct shadow *s, struct shadow_cpu *cpu);

/* No root, and all pages given back, if there are such tables now. */
void private_leave(struct shadow *s, struct shadow_cpu *cpu);

/* Drop all translations. */
void private_clear(struct shadow *s, struct shadow_cpu *cpu);

/* Drop those of the page that an address is in. */
void private_drop(struct shadow *s, struct shadow_cpu *cpu, gla_t address);

/* Drop that of an address alone; the caller flushes the address. */
void private_drop_leaf(struct shadow *s, struct shadow_cpu *cpu, gla_t address);

/* Put in the translation that a walk found for this access. Four pages are in reserve. */
void private_fill(struct shadow *s, struct shadow_cpu *cpu, gla_t address, unsigned int access,
                  const struct walk_result *result);

#endif
