/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * cpuid/: what the guest's CPU is.
 *
 * A model is one CPU as CPUID shows it: a sorted table of leaves, the paging properties that
 * follow from it, and an index that answers any leaf in constant time. A model is captured from
 * the host (capture.h) or read from text (text.h), cut to what a guest may see (policy.h), changed
 * by a spec (spec.h), finished, and sealed (seal.h), at the moments that lifecycle.h allows. What
 * may move after that is the closed list of dynamic.h; what the model means for control registers
 * and MSRs is derived (rules.h).
 *
 * The folder is pure: no instruction that a user program could not run, no state but what is
 * passed in, no allocation. It compiles for the host as it stands.
 */
#ifndef LATCH_CPUID_MODEL_H
#define LATCH_CPUID_MODEL_H

#include "cpuid/paging_props.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define MODEL_MAX_LEAVES    192U
#define MODEL_RANGE_LEAVES  64U /* leaves that a range can have, from its first */
#define MODEL_SUBLEAF_SLOTS 512U
#define MODEL_SLOTS         (4U * MODEL_RANGE_LEAVES + 1U)

#define CPUID_BASIC      0x00000000U
#define CPUID_HYPERVISOR 0x40000000U
#define CPUID_EXTENDED   0x80000000U

/* A subleaf that stands for all beyond the last one, in leaves whose answer there is not zero. */
#define MODEL_SUBLEAF_REST UINT32_MAX

struct cpuid_regs {
    uint32_t eax, ebx, ecx, edx;
};

struct cpuid_leaf {
    struct cpuid_regs regs;
    uint32_t leaf, subleaf;
    uint32_t dynamic; /* not 0: enum cpuid_dynamic_row, whose bits cpuid_overlay() lays over it */
    uint32_t reserved;
};

_Static_assert(sizeof(struct cpuid_leaf) == 32, "a shift, not a multiplication, finds a leaf");

/* Where the answers of one leaf are: sub[first + min(subleaf, last)] is the table's row. `last` is 0
 * where the leaf does not look at ECX. */
struct model_slot {
    uint16_t first;
    uint16_t last;
};

/*
 * `leaves` up to `count` and `paging` are the model; in a finished model they are canonical, so that
 * models which answer alike are equal byte for byte. `slots` and `sub` follow from them. `apic_id` is
 * the vCPU's, and no part of what models have in common.
 */
struct model {
    uint32_t count;
    uint32_t finished;
    uint32_t apic_id;      /* of the CPU that the leaves came from, kept apart by model_finish() */
    uint32_t core_id;      /* CPUID.8000001EH:EBX[7:0] of that CPU */
    uint32_t node_id;      /* CPUID.8000001EH:ECX[7:0] of that CPU */
    int16_t paging_vendor; /* enum paging_vendor, or -1: by the vendor of leaf 0 */
    struct paging_props paging;
    uint8_t pad[5];
    struct cpuid_leaf leaves[MODEL_MAX_LEAVES];
    struct model_slot slots[MODEL_SLOTS];
    uint8_t sub[MODEL_SUBLEAF_SLOTS];
};

_Static_assert(sizeof(struct model) <= 8192, "a model takes at most two pages");

/* Makes *m the empty model. */
void model_init(struct model *m);

/* Copies a model, finished or not. */
void model_copy(struct model *to, const struct model *from);

/*
 * Puts one answer into an unfinished table, in its order, or replaces it. -E2BIG when the table is
 * full, -ERANGE when the leaf lies outside the basic, hypervisor and extended ranges (64 leaves
 * each), -EROFS when the model is finished.
 */
int model_set(struct model *m, uint32_t leaf, uint32_t subleaf, const struct cpuid_regs *regs);

/* True if model_set() has a place for the leaf. */
bool model_has_place(uint32_t leaf);

/* The row of exactly (leaf, subleaf), or NULL: by the index once there is one, before by bisection. */
struct cpuid_leaf *model_find(struct model *m, uint32_t leaf, uint32_t subleaf);
const struct cpuid_leaf *model_find_const(const struct model *m, uint32_t leaf, uint32_t subleaf);

/* The registers of exactly (leaf, subleaf), zeros if the table has none; for building. */
struct cpuid_regs model_get(const struct model *m, uint32_t leaf, uint32_t subleaf);

/* Removes all rows of a leaf, or the one row; nothing happens if there is none. */
void model_remove_leaf(struct model *m, uint32_t leaf);
void model_remove(struct model *m, uint32_t leaf, uint32_t subleaf);

/*
 * Makes the table canonical, derives `paging`, and builds the index: rows beyond a range's maximum
 * and rows of zeros go, dynamic bits are blanked (the APIC id is kept aside), subleaves of a leaf
 * stand next to each other. Once done the model no longer changes. -EINVAL if the table has no
 * leaf 0, -ERANGE if a range's maximum exceeds 64 leaves, -E2BIG if the index cannot hold it.
 * Finishing a finished model does nothing.
 */
int model_finish(struct model *m);

/* True if two finished models answer alike and read page tables alike, on any vCPU. */
bool model_equal(const struct model *a, const struct model *b);

/*
 * True for AMD's and Hygon's vendor string in leaf 0: a leaf out of range then answers zeros
 * (APM vol. 3 §E.2), with every other vendor the highest basic leaf (SDM vol. 2A, CPUID).
 */
bool model_is_amd(const struct model *m);

/* The leaf's place in `slots`: the range's two bits, which are a leaf's highest, are the lowest
 * there. All leaves outside the ranges have the last one. */
static inline uint32_t model_slot_index(uint32_t leaf)
{
    uint32_t slot = leaf << 2 | leaf >> 30;
    return slot < MODEL_SLOTS - 1U ? slot : MODEL_SLOTS - 1U;
}

/*
 * The answer of a finished model to CPUID, without the dynamic bits: never NULL, whatever the leaf
 * and subleaf. If `dynamic` is set in it, cpuid_overlay() goes over the copy of its registers,
 * with the row's own `leaf` (which differs from the one asked for when that was out of range).
 */
static inline const struct cpuid_leaf *model_lookup(const struct model *m, uint32_t leaf,
                                                    uint32_t subleaf)
{
    const struct model_slot *s = &m->slots[model_slot_index(leaf)];
    size_t index = s->last, asked = subleaf;
    if (asked < index)
        index = asked;
    return &m->leaves[m->sub[s->first + index]];
}

#endif
