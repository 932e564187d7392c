/* SPDX-License-Identifier: BSD-2-Clause */
#include "tests/guest/model/hidden.h"

#include <stdio.h>
#include <string.h>

/* Leaves that say more of a feature, and go with it. */
static const struct {
    const char *feature;
    uint32_t leaf;
} leaves[] = {
    {"monitor", 0x5}, {"xsave", 0xd},           {"amx_tile", 0x1d},       {"amx_tile", 0x1e},
    {"avx10", 0x24},  {"topoext", 0x8000001dU}, {"topoext", 0x8000001eU},
};

static bool lists(const struct policy_dependency *d, const char *name)
{
    size_t length = strlen(name);
    for (const char *at = strstr(d->features, name); at != NULL; at = strstr(at + 1, name))
        if ((at == d->features || at[-1] == ' ') && (at[length] == ' ' || at[length] == '\0'))
            return true;
    return false;
}

/* The feature, and all that needs it however far around. */
static void mark_gone(const struct policy_feature *feature, struct policy_set *gone)
{
    *gone = (struct policy_set){.word = {0}};
    policy_set_add(gone, (size_t)(feature - policy_features));
    for (bool more = true; more;) {
        more = false;
        for (size_t i = 0; i < policy_dependency_count; i++) {
            const struct policy_dependency *d = &policy_dependencies[i];
            size_t needs = (size_t)(policy_find(d->needs, strlen(d->needs)) - policy_features);
            for (size_t k = 0; k < policy_feature_count && policy_set_has(gone, needs); k++) {
                if (policy_set_has(gone, k) || !lists(d, policy_features[k].name))
                    continue;
                policy_set_add(gone, k);
                more = true;
            }
        }
    }
}

static bool is_gone(const struct policy_set *gone, const char *name)
{
    return policy_set_has(gone, (size_t)(policy_find(name, strlen(name)) - policy_features));
}

static bool leaf_is_gone(const struct policy_set *gone, uint32_t leaf)
{
    for (size_t i = 0; i < sizeof(leaves) / sizeof(leaves[0]); i++)
        if (leaves[i].leaf == leaf && is_gone(gone, leaves[i].feature))
            return true;
    return false;
}

static uint32_t states_gone(const struct policy_set *gone)
{
    uint32_t states = 0;
    for (size_t i = 0; i < policy_feature_count; i++)
        if (policy_set_has(gone, i))
            states |= policy_features[i].xcr0 | policy_features[i].xss;
    return states;
}

/* What of a row must go: the features' own bits. */
static struct cpuid_regs bits_gone(const struct policy_set *gone, const struct cpuid_leaf *row)
{
    struct cpuid_regs bits = {.eax = 0};
    for (size_t i = 0; i < policy_feature_count; i++) {
        const struct policy_feature *f = &policy_features[i];
        if (policy_set_has(gone, i) && f->leaf == row->leaf && f->subleaf == row->subleaf)
            *cpuid_register(&bits, f->reg) |= 1U << f->bit;
    }
    return bits;
}

/* What must be left of a full row; *may gets what is computed anew and is not looked at. */
static struct cpuid_regs expect(const struct policy_set *gone, const struct cpuid_leaf *row,
                                struct cpuid_regs *may)
{
    struct cpuid_regs bits = bits_gone(gone, row), r = row->regs;
    uint32_t states = states_gone(gone);
    *may = (struct cpuid_regs){.eax = 0};
    if (leaf_is_gone(gone, row->leaf))
        return (struct cpuid_regs){.eax = 0};
    r.eax &= ~bits.eax;
    r.ebx &= ~bits.ebx;
    r.ecx &= ~bits.ecx;
    r.edx &= ~bits.edx;
    if (row->leaf == 0x80000001U) { /* AMD's second copy of leaf 1 */
        const struct cpuid_leaf one = {.leaf = 1};
        r.edx &= ~(bits_gone(gone, &one).edx & 0x0183f3ffU);
    }
    if (row->leaf == 0xd && row->subleaf == 0) {
        r.eax &= ~states;
        may->ecx = states ? UINT32_MAX : 0; /* the largest size */
    }
    if (row->leaf == 0xd && row->subleaf == 1)
        r.ecx &= is_gone(gone, "xsaves") ? 0 : ~states;
    if (row->leaf == 0xd && row->subleaf > 1 && row->subleaf < 32 && states >> row->subleaf & 1)
        return (struct cpuid_regs){.eax = 0};
    if (row->leaf == 0x80000008U && is_gone(gone, "la57"))
        r.eax = (r.eax & ~0xff00U) | (is_gone(gone, "lm") ? 32U : 48U) << 8;
    return r;
}

bool hidden_alone(const struct model *full, const struct model *cut,
                  const struct policy_feature *feature, char *text, size_t size)
{
    struct policy_set gone;
    mark_gone(feature, &gone);
    for (uint32_t i = 0; i < full->count + cut->count; i++) {
        const struct cpuid_leaf *row =
            i < full->count ? &full->leaves[i] : &cut->leaves[i - full->count];
        struct cpuid_leaf was = {.leaf = row->leaf, .subleaf = row->subleaf};
        struct cpuid_regs may, now = model_get(cut, row->leaf, row->subleaf);
        was.regs = model_get(full, row->leaf, row->subleaf);
        struct cpuid_regs wanted = expect(&gone, &was, &may);
        for (unsigned int reg = CPUID_EAX; reg <= CPUID_EDX; reg++) {
            uint32_t a = *cpuid_register(&wanted, reg), b = *cpuid_register(&now, reg);
            if ((a ^ b) & ~*cpuid_register(&may, reg)) {
                snprintf(text, size, "leaf 0x%x 0x%x e%cx: wanted 0x%x, found 0x%x", row->leaf,
                         row->subleaf, "abcd"[reg], a, b);
                return false;
            }
        }
    }
    return true;
}
