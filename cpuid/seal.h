/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The lock on the models. Before the seal each vCPU is given one; equal models are one, in storage
 * that the caller gives, so that it can make those pages read-only. After it nothing but an
 * identical model is accepted. At guest reset, and only there, the next generation opens. What may
 * be done when is lifecycle.h's table. The caller sees to it that one CPU at a time is in here.
 */
#ifndef LATCH_CPUID_SEAL_H
#define LATCH_CPUID_SEAL_H

#include "cpuid/lifecycle.h"
#include "cpuid/model.h"

#define SEAL_MAX_VCPUS LIFE_MAX_VCPUS

struct seal_vcpu {
    const struct model *model; /* interned; NULL until set */
    uint32_t apic_id, core_id, node_id;
};

struct seal {
    struct model *storage; /* the caller's, page-aligned: interned models, without gaps */
    uint32_t capacity;     /* models that fit there */
    uint32_t vcpus;        /* that the guest has */
    uint64_t generation;   /* from 1: one more at each seal_open_next() */
    struct life life;      /* whether they are sealed, and which vCPUs run */
    struct seal_vcpu vcpu[SEAL_MAX_VCPUS];
};

/*
 * Begins with no model for any of `vcpus`. `storage` has room for `capacity` models and stays the
 * caller's to protect. -EINVAL for no or too many vCPUs, or no storage.
 */
int seal_init(struct seal *s, struct model *storage, uint32_t capacity, unsigned int vcpus);

/*
 * Gives a vCPU a finished model, which is copied. Before the seal a model may be replaced; storage
 * that no vCPU uses any longer is used again. After it: 0 if the model is identical, else -EBUSY.
 * Dynamic bits do not count, so that a table taken from the guest is identical whatever the guest
 * had set when it was taken: those that only the vCPU's state sets are blanked in both, and those
 * that it can turn off may be off in *m. The APIC id must be the same. While the vCPU is in
 * nested-guest mode -EBUSY in any case. -EINVAL for a vCPU that is not there or a model that is not
 * finished, -ENOSPC when the storage is full.
 */
int seal_set_model(struct seal *s, unsigned int vcpu, const struct model *m);

/* Seals. -EINVAL if a vCPU has no model, -EBUSY if already sealed. Then vCPUs may run. */
int seal_close(struct seal *s);

/*
 * After guest reset, with the storage writable again: the next generation may be set, and a vCPU's
 * model stays until it is replaced. -EINVAL if not sealed; -EBUSY without a reset (LIFE_RESET), or
 * while a vCPU still runs.
 */
int seal_open_next(struct seal *s);

/* How many different models the vCPUs have. */
uint32_t seal_models(const struct seal *s);

/* The sealed model of a vCPU, NULL before it has one. */
static inline const struct model *seal_model(const struct seal *s, unsigned int vcpu)
{
    return vcpu < s->vcpus ? s->vcpu[vcpu].model : NULL;
}

#endif
