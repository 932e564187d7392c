/* SPDX-License-Identifier: BSD-2-Clause */
/* A model from elsewhere against the most that a guest may see here. */
#include "cpuid/policy.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#define ENCRYPTION_LEAF   0x8000001fU
#define CBIT_NUMBERS      0xfffU /* its position, and by how much addresses are narrower */
#define WIDTHS_LEAF       0x80000008U
#define EXTENDED_TOPOLOGY 0x8000001eU

struct fit {
    struct model *m;
    const struct model *allowed;
    bool trim;
    policy_note_fn *note;
    void *ctx;
    int found;
    char adopted[96]; /* the leaves of the file whose topology is not this CPU's, as text */
    size_t used;      /* of that */
    uint32_t last_adopted;
};

static void fit_note(struct fit *f, const char *line)
{
    f->found++;
    if (f->note)
        f->note(f->ctx, line);
}

/*
 * A C-bit as cbit= gives one, and as text_print() then writes it, is no feature of the host's: it
 * comes with SME alone, which no CPU has without its kin.
 */
static bool is_cbit_alone(const struct fit *f, uint32_t leaf)
{
    return leaf == ENCRYPTION_LEAF && model_get(f->m, leaf, 0).eax == 1;
}

static int fit_features(struct fit *f)
{
    char line[160];

    for (size_t i = 0; i < policy_feature_count; i++) {
        const struct policy_feature *p = &policy_features[i];
        if (!policy_has(f->m, p) || policy_has(f->allowed, p) || is_cbit_alone(f, p->leaf))
            continue;
        if (p->disposition != FEATURE_DYNAMIC) {
            bool hidden = p->disposition != FEATURE_PASSED;
            snprintf(line, sizeof(line), "feature %s is not to be had: %s", p->name,
                     hidden ? p->reason : "this host does not have it");
            fit_note(f, line);
        }
        if (f->trim || p->disposition == FEATURE_DYNAMIC) {
            int error = policy_set(f->m, p, false);
            if (error)
                return error;
        }
    }
    return 0;
}

/* A line for each bit that is not known. */
static void fit_register(struct fit *f, struct cpuid_leaf *row, unsigned int reg, uint32_t known)
{
    uint32_t *value = cpuid_register(&row->regs, reg);
    char line[160];

    for (uint32_t extra = *value & ~known; extra; extra &= extra - 1) {
        snprintf(line, sizeof(line), "leaf 0x%08x 0x%02x: e%cx bit %d is not shown to guests",
                 (unsigned int)row->leaf, (unsigned int)row->subleaf, "abcd"[reg],
                 __builtin_ctz(extra));
        fit_note(f, line);
    }
    if (f->trim)
        *value &= known;
}

/* Bits that no line of the policy names, whatever the host says there. */
static void fit_unknown(struct fit *f)
{
    for (uint32_t i = 0; i < f->m->count; i++) {
        struct cpuid_leaf *row = &f->m->leaves[i];
        if (row->leaf >> 30 == CPUID_HYPERVISOR >> 30)
            continue; /* Latch's own */
        struct cpuid_regs known = policy_data_mask(row->leaf, row->subleaf);
        if (is_cbit_alone(f, row->leaf))
            known.ebx |= CBIT_NUMBERS;
        for (size_t k = 0; k < policy_feature_count; k++)
            if (policy_features[k].leaf == row->leaf && policy_features[k].subleaf == row->subleaf)
                *cpuid_register(&known, policy_features[k].reg) |= 1U << policy_features[k].bit;
        for (unsigned int reg = CPUID_EAX; reg <= CPUID_EDX; reg++)
            fit_register(f, row, reg, *cpuid_register(&known, reg));
    }
}

/*
 * Addresses that are wider than the host's. Physical ones, which maxphyaddr= can still set, are only
 * cut here: spec_check() refuses them.
 */
static void fit_widths(struct fit *f)
{
    struct cpuid_leaf *row = model_find(f->m, WIDTHS_LEAF, 0);
    uint32_t host = model_get(f->allowed, WIDTHS_LEAF, 0).eax;
    char line[160];

    for (unsigned int shift = 0; shift < 16 && row; shift += 8) {
        unsigned int width = row->regs.eax >> shift & 0xff;
        unsigned int most = host >> shift & 0xff;
        if (width <= most || most == 0 || (shift == 0 && !f->trim))
            continue;
        snprintf(line, sizeof(line), "%s addresses of %u bits are not to be had: the host has %u",
                 shift ? "linear" : "physical", width, most);
        fit_note(f, line);
        if (f->trim)
            row->regs.eax = (row->regs.eax & ~(0xffU << shift)) | most << shift;
    }
}

/* Where the CPU saves each state is the hardware's to say: a model cannot move it. */
static int fit_xsave(struct fit *f)
{
    char line[160];

    for (uint32_t i = 2; i < 64; i++) {
        const struct cpuid_leaf *row = model_find_const(f->m, 0xd, i);
        struct cpuid_regs host = model_get(f->allowed, 0xd, i);
        bool same = !row || (row->regs.eax == host.eax && row->regs.ebx == host.ebx &&
                             row->regs.ecx == host.ecx);
        if (same)
            continue;
        snprintf(line, sizeof(line),
                 "leaf 0x0000000d 0x%02x: state %u has size %u at %u, the host "
                 "has %u at %u",
                 (unsigned int)i, (unsigned int)i, (unsigned int)row->regs.eax,
                 (unsigned int)row->regs.ebx, (unsigned int)host.eax, (unsigned int)host.ebx);
        fit_note(f, line);
        if (!f->trim)
            continue;
        int error = model_set(f->m, 0xd, i, &host);
        if (error)
            return error;
    }
    return 0;
}

/* Each leaf once. */
static void name_adopted(struct fit *f, uint32_t leaf)
{
    const size_t room = sizeof(f->adopted);

    if (leaf == f->last_adopted || f->used >= room)
        return;
    f->last_adopted = leaf;
    f->used += (size_t)snprintf(f->adopted + f->used, room - f->used, " 0x%x", (unsigned int)leaf);
}

/* Replaces what is in `mask` of one register by the host's. */
static int adopt_bits(struct fit *f, uint32_t leaf, uint32_t subleaf, unsigned int reg,
                      uint32_t mask)
{
    struct cpuid_regs to = model_get(f->m, leaf, subleaf);
    struct cpuid_regs from = model_get(f->allowed, leaf, subleaf);
    uint32_t *value = cpuid_register(&to, reg);
    uint32_t adopted = (*value & ~mask) | (*cpuid_register(&from, reg) & mask);

    if (adopted == *value)
        return 0;
    name_adopted(f, leaf);
    *value = adopted;
    return model_set(f->m, leaf, subleaf, &to);
}

static bool same_leaf(const struct fit *f, uint32_t leaf)
{
    for (uint32_t subleaf = 0; subleaf < 8; subleaf++) {
        const struct cpuid_regs a = model_get(f->m, leaf, subleaf);
        const struct cpuid_regs b = model_get(f->allowed, leaf, subleaf);
        if (memcmp(&a, &b, sizeof(a)) != 0)
            return false;
    }
    return true;
}

static int adopt_leaf(struct fit *f, uint32_t leaf)
{
    if (!same_leaf(f, leaf))
        name_adopted(f, leaf);
    model_remove_leaf(f->m, leaf);
    for (uint32_t i = 0; i < f->allowed->count; i++) {
        const struct cpuid_leaf *row = &f->allowed->leaves[i];
        if (row->leaf != leaf || row->subleaf == MODEL_SUBLEAF_REST)
            continue;
        int error = model_set(f->m, leaf, row->subleaf, &row->regs);
        if (error)
            return error;
    }
    return 0;
}

static int adopt_caches(struct fit *f, uint32_t leaf, uint32_t mask)
{
    int error = 0;

    for (uint32_t i = 0; i < 8 && !error; i++) {
        if (model_get(f->m, leaf, i).eax & 0x1f && model_get(f->allowed, leaf, i).eax & 0x1f)
            error = adopt_bits(f, leaf, i, CPUID_EAX, mask);
    }
    return error;
}

/* A vCPU is on its CPU: topology and APIC id are that CPU's, whatever the file's machine had. */
static int adopt_topology(struct fit *f, policy_note_fn *note)
{
    static const uint32_t whole[] = {0xb, 0x1f, EXTENDED_TOPOLOGY, 0x80000026U};
    char line[160];
    int error = adopt_bits(f, 1, 0, CPUID_EBX, 0xffff0000U);

    if (!error)
        error = adopt_caches(f, 4, 0xffffc000U);
    for (size_t i = 0; i < sizeof(whole) / sizeof(whole[0]) && !error; i++) {
        if (whole[i] != EXTENDED_TOPOLOGY || policy_has(f->m, policy_find("topoext", 7)))
            error = adopt_leaf(f, whole[i]);
    }
    if (!error)
        error = adopt_caches(f, 0x8000001dU, 0x03ffc000U);
    if (!error)
        error = adopt_bits(f, 0x80000008U, 0, CPUID_ECX, 0xf0ffU);
    if (f->used == 0 || note == NULL || error)
        return error;
    snprintf(line, sizeof(line), "topology is this CPU's own, not the file's: leaves%s",
             f->adopted);
    note(f->ctx, line);
    return 0;
}

int policy_fit(struct model *m, const struct model *allowed, bool trim, policy_note_fn *note,
               policy_note_fn *adopted, void *ctx)
{
    struct fit f = {.m = m, .allowed = allowed, .trim = trim, .note = note, .ctx = ctx};

    if (m->finished)
        return -EROFS;
    int error = fit_features(&f);
    if (error)
        return error;
    fit_unknown(&f);
    fit_widths(&f);
    error = policy_settle(m, allowed);
    if (!error)
        error = fit_xsave(&f);
    if (!error)
        error = adopt_topology(&f, adopted);
    if (!error)
        error = policy_settle(m, allowed);
    return error ? error : f.found;
}
