/* SPDX-License-Identifier: BSD-2-Clause */
#include "cpuid/seal.h"
#include "cpuid/dynamic.h"

#include <errno.h>
#include <string.h>

int seal_init(struct seal *s, struct model *storage, uint32_t capacity, unsigned int vcpus)
{
    if (vcpus == 0 || vcpus > SEAL_MAX_VCPUS || !storage || capacity == 0)
        return -EINVAL;
    *s = (struct seal){.storage = storage, .capacity = capacity, .vcpus = vcpus, .generation = 1};
    life_init(&s->life, vcpus);
    return 0;
}

/* Which vCPUs other than `vcpu` have this model. */
static bool used_by_others(const struct seal *s, const struct model *m, unsigned int vcpu)
{
    for (unsigned int i = 0; i < s->vcpus; i++)
        if (i != vcpu && s->vcpu[i].model == m)
            return true;
    return false;
}

/* The stored model that is equal to *m, else a place that no other vCPU uses, else NULL. */
static struct model *find_place(struct seal *s, unsigned int vcpu, const struct model *m)
{
    struct model *vacant = NULL;

    for (uint32_t i = 0; i < s->capacity; i++) {
        struct model *stored = &s->storage[i];
        if (!used_by_others(s, stored, vcpu))
            vacant = vacant ? vacant : stored;
        else if (model_equal(stored, m))
            return stored;
    }
    return vacant;
}

static bool same_ids(const struct seal_vcpu *v, const struct model *m)
{
    return v->apic_id == m->apic_id && v->core_id == m->core_id && v->node_id == m->node_id;
}

static bool same_but_cleared(uint32_t sealed, uint32_t given, uint32_t clearable)
{
    return ((sealed ^ given) & ~(sealed & clearable)) == 0;
}

/* Identical, save for bits that the guest's own state had turned off in the one that is given. */
static bool same_model(const struct model *sealed, const struct model *given)
{
    if (sealed->count != given->count || !paging_props_equal(&sealed->paging, &given->paging))
        return false;
    for (uint32_t i = 0; i < sealed->count; i++) {
        const struct cpuid_leaf *a = &sealed->leaves[i];
        const struct cpuid_leaf *b = &given->leaves[i];
        struct cpuid_regs clearable = cpuid_dynamic_clearable(sealed, a->leaf, a->subleaf);
        if (a->leaf != b->leaf || a->subleaf != b->subleaf ||
            !same_but_cleared(a->regs.eax, b->regs.eax, clearable.eax) ||
            !same_but_cleared(a->regs.ebx, b->regs.ebx, clearable.ebx) ||
            !same_but_cleared(a->regs.ecx, b->regs.ecx, clearable.ecx) ||
            !same_but_cleared(a->regs.edx, b->regs.edx, clearable.edx))
            return false;
    }
    return true;
}

int seal_set_model(struct seal *s, unsigned int vcpu, const struct model *m)
{
    if (vcpu >= s->vcpus || !m->finished)
        return -EINVAL;
    struct seal_vcpu *v = &s->vcpu[vcpu];
    const struct life_rule *refused = life_refusal(&s->life, vcpu, LIFE_SET);
    if (refused && v->model && same_model(v->model, m) && same_ids(v, m))
        return life_step(&s->life, vcpu, LIFE_SET_SAME);
    if (refused)
        return refused->error;
    struct model *place = find_place(s, vcpu, m);
    if (!place)
        return -ENOSPC;
    if (!used_by_others(s, place, vcpu)) {
        model_copy(place, m);
        place->apic_id = 0;
        place->core_id = 0;
        place->node_id = 0;
        place->paging_vendor = -1; /* `paging.vendor` says it */
    }
    *v = (struct seal_vcpu){
        .model = place, .apic_id = m->apic_id, .core_id = m->core_id, .node_id = m->node_id};
    return life_step(&s->life, vcpu, LIFE_SET);
}

int seal_close(struct seal *s)
{
    return life_step(&s->life, 0, LIFE_SEAL);
}

int seal_open_next(struct seal *s)
{
    int error = life_step(&s->life, 0, LIFE_OPEN_NEXT);
    if (error == 0)
        s->generation++;
    return error;
}

uint32_t seal_models(const struct seal *s)
{
    uint32_t models = 0;
    for (unsigned int i = 0; i < s->vcpus; i++) {
        bool counted = false;
        for (unsigned int k = 0; k < i; k++)
            counted = counted || s->vcpu[k].model == s->vcpu[i].model;
        if (s->vcpu[i].model && !counted)
            models++;
    }
    return models;
}
