/* SPDX-License-Identifier: BSD-2-Clause */
#include "cpuid/policy.h"
#include "cpuid/rules.h"

#include <errno.h>
#include <string.h>

#define LEAF1_ECX_XSAVE   (1U << 26)
#define LEAF7_ECX_LA57    (1U << 16)
#define EXT1_EDX_LM       (1U << 29)
#define XSAVE1_EAX_XSAVES (1U << 3)
#define XSAVE_LEGACY_BITS 3U
#define XSAVE_LEGACY_SIZE 576U

#define HYPERCALL_ABI 2U

uint32_t *cpuid_register(struct cpuid_regs *regs, unsigned int reg)
{
    switch (reg) {
    case CPUID_EAX:
        return &regs->eax;
    case CPUID_EBX:
        return &regs->ebx;
    case CPUID_ECX:
        return &regs->ecx;
    default:
        return &regs->edx;
    }
}

const struct policy_feature *policy_find(const char *name, size_t length)
{
    for (size_t i = 0; i < policy_feature_count; i++) {
        const char *candidate = policy_features[i].name;
        if (candidate[0] == name[0] && strncmp(candidate, name, length) == 0 &&
            candidate[length] == '\0')
            return &policy_features[i];
    }
    return NULL;
}

bool policy_has(const struct model *m, const struct policy_feature *f)
{
    struct cpuid_regs regs = model_get(m, f->leaf, f->subleaf);
    return *cpuid_register(&regs, f->reg) >> f->bit & 1;
}

/* Makes a leaf whose EAX says how far something goes say at least `last`. */
static int raise_last(struct model *m, uint32_t leaf, uint32_t last)
{
    struct cpuid_regs regs = model_get(m, leaf, 0);

    if (regs.eax >= last)
        return 0;
    regs.eax = last;
    return model_set(m, leaf, 0, &regs);
}

static void clear_feature(struct model *m, const struct policy_feature *f)
{
    struct cpuid_leaf *row = model_find(m, f->leaf, f->subleaf);

    if (row)
        *cpuid_register(&row->regs, f->reg) &= ~(1U << f->bit);
}

int policy_set(struct model *m, const struct policy_feature *f, bool on)
{
    struct cpuid_regs regs = model_get(m, f->leaf, f->subleaf);

    if (m->finished)
        return -EROFS;
    if (!on) {
        clear_feature(m, f);
        return 0;
    }
    *cpuid_register(&regs, f->reg) |= 1U << f->bit;
    int error = model_set(m, f->leaf, f->subleaf, &regs);
    if (!error)
        error = raise_last(m, f->leaf & CPUID_EXTENDED, f->leaf);
    /* Subleaf 0's EAX is the last subleaf, save in 0DH. */
    bool counted = f->subleaf != 0 && f->leaf != 0xd;
    return !error && counted ? raise_last(m, f->leaf, f->subleaf) : error;
}

static void or_regs(struct cpuid_regs *to, const struct cpuid_regs *bits)
{
    to->eax |= bits->eax;
    to->ebx |= bits->ebx;
    to->ecx |= bits->ecx;
    to->edx |= bits->edx;
}

struct cpuid_regs policy_data_mask(uint32_t leaf, uint32_t subleaf)
{
    struct cpuid_regs mask = {.eax = 0};
    bool exact = false;

    for (size_t i = 0; i < policy_data_count; i++) {
        const struct policy_data *d = &policy_data[i];
        if (d->leaf != leaf)
            continue;
        bool holds = d->subleaf == subleaf || (d->subleaf == MODEL_SUBLEAF_REST && !exact);
        if (holds && d->disposition == FEATURE_PASSED)
            or_regs(&mask, &d->mask);
        exact = exact || d->subleaf == subleaf;
    }
    return mask;
}

static bool is_passed(const struct policy_feature *f, const struct policy_input *input)
{
    if (f->disposition != FEATURE_PASSED)
        return false;
    return !(f->limit == LIMIT_EMULATOR && input->emulator) &&
           !(f->limit == LIMIT_MONITOR && input->no_monitor);
}

static void apply_row(struct cpuid_leaf *row, const struct policy_input *input)
{
    struct cpuid_regs mask = policy_data_mask(row->leaf, row->subleaf);

    for (size_t i = 0; i < policy_feature_count; i++) {
        const struct policy_feature *f = &policy_features[i];
        if (f->leaf == row->leaf && f->subleaf == row->subleaf && is_passed(f, input))
            *cpuid_register(&mask, f->reg) |= 1U << f->bit;
    }
    row->regs.eax &= mask.eax;
    row->regs.ebx &= mask.ebx;
    row->regs.ecx &= mask.ecx;
    row->regs.edx &= mask.edx;
}

static void remove_hypervisor(struct model *m)
{
    for (uint32_t i = 0; i < MODEL_RANGE_LEAVES; i++)
        model_remove_leaf(m, CPUID_HYPERVISOR + i);
}

int policy_own(struct model *m)
{
    struct cpuid_regs signature = {.eax = CPUID_HYPERVISOR + 1};
    struct cpuid_regs abi = {.eax = HYPERCALL_ABI};

    memcpy(&signature.ebx, "Latc", 4);
    memcpy(&signature.ecx, "hLat", 4);
    memcpy(&signature.edx, "ch\0\0", 4);
    remove_hypervisor(m);
    int error = model_set(m, CPUID_HYPERVISOR, 0, &signature);
    if (!error)
        error = model_set(m, CPUID_HYPERVISOR + 1, 0, &abi);
    for (size_t i = 0; i < policy_feature_count && !error; i++)
        if (policy_features[i].disposition == FEATURE_EMULATED)
            error = policy_set(m, &policy_features[i], true);
    return error;
}

/* A host may have more leaves than a model has places; what is beyond them is hidden. */
static void cut_range(struct model *m, uint32_t base)
{
    struct cpuid_leaf *row = model_find(m, base, 0);
    uint32_t last = base + MODEL_RANGE_LEAVES - 1;

    if (row && row->regs.eax > last)
        row->regs.eax = last;
}

/* Which of these states the CPU lists, but with no size. */
static uint32_t without_size(const struct model *m, uint32_t states, uint32_t listed)
{
    uint32_t lost = 0;

    for (uint32_t left = states & listed & ~XSAVE_LEGACY_BITS; left; left &= left - 1) {
        uint32_t i = (uint32_t)__builtin_ctz(left);
        if (model_get(m, 0xd, i).eax == 0)
            lost |= 1U << i;
    }
    return lost;
}

/* No guest can save a state of unknown size, so the feature goes (Bochs: protection keys). */
static void hide_unsaved(struct model *m)
{
    uint32_t user = model_get(m, 0xd, 0).eax;
    uint32_t supervisor = model_get(m, 0xd, 1).ecx;

    for (size_t i = 0; i < policy_feature_count; i++) {
        const struct policy_feature *f = &policy_features[i];
        if (without_size(m, f->xcr0, user) || without_size(m, f->xss, supervisor))
            clear_feature(m, f);
    }
}

int policy_apply(struct model *m, const struct policy_input *input)
{
    if (m->finished)
        return -EROFS;
    for (uint32_t i = 0; i < m->count; i++)
        apply_row(&m->leaves[i], input);
    cut_range(m, CPUID_BASIC);
    cut_range(m, CPUID_EXTENDED);
    hide_unsaved(m);
    int error = policy_own(m);
    return error ? error : policy_settle(m, NULL);
}

static void feature_states(const struct model *m, uint32_t *user, uint32_t *supervisor)
{
    *user = 0;
    *supervisor = 0;
    for (size_t i = 0; i < policy_feature_count; i++) {
        const struct policy_feature *f = &policy_features[i];
        bool has_state = f->disposition == FEATURE_PASSED && (f->xcr0 | f->xss) != 0;
        if (has_state && policy_has(m, f)) {
            *user |= f->xcr0;
            *supervisor |= f->xss;
        }
    }
}

/* The numbers of a leaf that came with a feature are the host's, in rows where the model has none
 * (but for the highest subleaf, which came with the feature too). */
static int fill_leaf(struct model *m, const struct model *host, uint32_t leaf)
{
    int error = 0;

    for (uint32_t i = 0; i < host->count && !error; i++) {
        const struct cpuid_leaf *row = &host->leaves[i];
        if (row->leaf != leaf || row->subleaf == MODEL_SUBLEAF_REST)
            continue;
        const struct cpuid_regs mask = policy_data_mask(leaf, row->subleaf);
        struct cpuid_regs regs = model_get(m, leaf, row->subleaf);
        if ((regs.ebx & mask.ebx) | (regs.ecx & mask.ecx) | (regs.edx & mask.edx))
            continue;
        regs.eax |= regs.eax & mask.eax ? 0 : row->regs.eax & mask.eax;
        regs.ebx |= row->regs.ebx & mask.ebx;
        regs.ecx |= row->regs.ecx & mask.ecx;
        regs.edx |= row->regs.edx & mask.edx;
        error = model_set(m, leaf, row->subleaf, &regs);
    }
    return error ? error : raise_last(m, leaf & CPUID_EXTENDED, leaf);
}

static bool has_named(const struct model *m, const char *name)
{
    return policy_has(m, policy_find(name, strlen(name)));
}

/* Leaves that say more of a feature: without it they go, and with it they are there. */
static int settle_leaves(struct model *m, const struct model *host)
{
    static const struct {
        const char *feature;
        uint32_t leaf;
        bool list; /* of caches or the like, which a model has as a whole */
    } leaves[] = {
        {"monitor", 0x5, false}, {"amx_tile", 0x1d, false},      {"amx_tile", 0x1e, false},
        {"avx10", 0x24, false},  {"topoext", 0x8000001dU, true}, {"topoext", 0x8000001eU, false},
    };
    int error = 0;

    if (!has_named(m, "hypervisor"))
        remove_hypervisor(m);
    for (size_t i = 0; i < sizeof(leaves) / sizeof(leaves[0]) && !error; i++) {
        if (!has_named(m, leaves[i].feature))
            model_remove_leaf(m, leaves[i].leaf);
        else if (leaves[i].list && model_find_const(m, leaves[i].leaf, 0))
            continue;
        else if (host && model_find_const(host, leaves[i].leaf, 0))
            error = fill_leaf(m, host, leaves[i].leaf);
    }
    return error;
}

/* States of the model's features that it does not list, as the host has them. */
static int fill_xsave(struct model *m, const struct model *host)
{
    struct cpuid_regs zero = model_get(m, 0xd, 0);
    struct cpuid_regs one = model_get(m, 0xd, 1);
    uint32_t user;
    uint32_t supervisor;
    int error = 0;

    if (!model_find_const(host, 0xd, 0))
        return 0;
    feature_states(m, &user, &supervisor);
    zero.eax |= user & model_get(host, 0xd, 0).eax;
    error = model_set(m, 0xd, 0, &zero);
    if (one.eax & XSAVE1_EAX_XSAVES && !error) {
        one.ecx |= supervisor & model_get(host, 0xd, 1).ecx;
        error = model_set(m, 0xd, 1, &one);
    }
    for (uint32_t i = 2; i < 32 && !error; i++) {
        const struct cpuid_leaf *row = model_find_const(host, 0xd, i);
        if (row && (zero.eax | one.ecx) >> i & 1 && !model_find_const(m, 0xd, i))
            error = model_set(m, 0xd, i, &row->regs);
    }
    return error ? error : raise_last(m, CPUID_BASIC, 0xd);
}

static void cut_xsave(struct model *m)
{
    struct cpuid_leaf *zero = model_find(m, 0xd, 0);
    struct cpuid_leaf *one = model_find(m, 0xd, 1);
    uint32_t user;
    uint32_t supervisor;
    uint32_t size = XSAVE_LEGACY_SIZE;

    feature_states(m, &user, &supervisor);
    zero->regs.eax &= user;
    zero->regs.edx = 0;
    supervisor &= one && one->regs.eax & XSAVE1_EAX_XSAVES ? one->regs.ecx : 0;
    if (one) {
        one->regs.ecx = supervisor;
        one->regs.edx = 0;
    }
    for (uint32_t i = 2; i < 64; i++) {
        bool in_user = i < 32 && zero->regs.eax >> i & 1;
        bool in_supervisor = i < 32 && supervisor >> i & 1;
        const struct cpuid_leaf *row = model_find_const(m, 0xd, i);
        if (row && !in_user && !in_supervisor)
            model_remove(m, 0xd, i);
        else if (row && in_user && row->regs.ebx + row->regs.eax > size)
            size = row->regs.ebx + row->regs.eax;
    }
    zero->regs.ecx = size;
}

static int settle_xsave(struct model *m, const struct model *host)
{
    bool has = model_get(m, 1, 0).ecx & LEAF1_ECX_XSAVE;
    int error = has && host ? fill_xsave(m, host) : 0;

    if (error)
        return error;
    if (has && model_find_const(m, 0xd, 0))
        cut_xsave(m);
    else
        model_remove_leaf(m, 0xd);
    return 0;
}

/* Linear addresses are as wide as paging is deep: SDM vol. 3 §4.1.4, APM vol. 3 §E.4.7. */
static void settle_width(struct model *m, const struct model *host)
{
    struct cpuid_leaf *row = model_find(m, 0x80000008U, 0);
    uint32_t real = host ? model_get(host, 0x80000008U, 0).eax >> 8 & 0xff : 0;
    bool la57 = model_get(m, 7, 0).ecx & LEAF7_ECX_LA57;
    uint32_t most = la57 ? 57 : 48;

    if (!(model_get(m, 0x80000001U, 0).edx & EXT1_EDX_LM))
        most = 32;
    if (!row)
        return;
    uint32_t width = row->regs.eax >> 8 & 0xff;
    if (la57 && real > width)
        width = real;
    if (width > most)
        width = most;
    row->regs.eax = (row->regs.eax & ~0xff00U) | width << 8;
}

int policy_settle(struct model *m, const struct model *host)
{
    struct cpuid_leaf *extended = model_find(m, 0x80000001U, 0);

    if (extended)
        extended->regs.edx &= ~POLICY_REPEATED | model_get(m, 1, 0).edx;
    settle_width(m, host);
    int error = settle_leaves(m, host);
    return error ? error : settle_xsave(m, host);
}
