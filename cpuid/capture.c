/* SPDX-License-Identifier: BSD-2-Clause */
#include "cpuid/capture.h"

#include <errno.h>

/* How a leaf says which subleaves it has (SDM vol. 2A, CPUID; APM vol. 3 appendix E). */
enum subleaf_rule {
    LAST_IN_EAX,  /* subleaf 0's EAX is the last one */
    UNTIL_TYPE,   /* EAX[4:0] is 0 in the first that is not there */
    UNTIL_LEVEL,  /* EBX[15:0] is 0 in the first that is not there */
    UNTIL_SGX,    /* from 2 on, EAX[3:0] is 0 in the first that is not there */
    BITS_IN_EAX,  /* subleaf 0's EAX has a bit for each */
    BITS_IN_EBX,  /* subleaf 0's EBX has a bit for each */
    BITS_IN_EDX,  /* subleaf 0's EDX has a bit for each */
    XSAVE_STATES, /* a bit for each in 0.EDX:EAX and 1.EDX:ECX, after 0 and 1 */
};

struct indexed_leaf {
    uint32_t leaf;
    enum subleaf_rule rule;
};

static const struct indexed_leaf indexed_leaves[] = {
    {.leaf = 0x4, .rule = UNTIL_TYPE},          {.leaf = 0x7, .rule = LAST_IN_EAX},
    {.leaf = 0xb, .rule = UNTIL_LEVEL},         {.leaf = 0xd, .rule = XSAVE_STATES},
    {.leaf = 0xf, .rule = BITS_IN_EDX},         {.leaf = 0x10, .rule = BITS_IN_EBX},
    {.leaf = 0x12, .rule = UNTIL_SGX},          {.leaf = 0x14, .rule = LAST_IN_EAX},
    {.leaf = 0x17, .rule = LAST_IN_EAX},        {.leaf = 0x18, .rule = LAST_IN_EAX},
    {.leaf = 0x1b, .rule = UNTIL_TYPE},         {.leaf = 0x1d, .rule = LAST_IN_EAX},
    {.leaf = 0x1e, .rule = LAST_IN_EAX},        {.leaf = 0x1f, .rule = UNTIL_LEVEL},
    {.leaf = 0x20, .rule = LAST_IN_EAX},        {.leaf = 0x23, .rule = BITS_IN_EAX},
    {.leaf = 0x24, .rule = LAST_IN_EAX},        {.leaf = 0x8000001dU, .rule = UNTIL_TYPE},
    {.leaf = 0x80000020U, .rule = BITS_IN_EBX}, {.leaf = 0x80000026U, .rule = UNTIL_LEVEL},
};

struct capture {
    struct model *m;
    cpuid_fn *fn;
    void *ctx;
};

static struct cpuid_regs ask(const struct capture *c, uint32_t leaf, uint32_t subleaf)
{
    struct cpuid_regs regs = {.eax = 0};
    c->fn(c->ctx, leaf, subleaf, &regs);
    return regs;
}

static int capture_bits(const struct capture *c, uint32_t leaf, uint64_t bits)
{
    for (uint32_t i = 1; i < 64; i++) {
        if (!(bits >> i & 1))
            continue;
        struct cpuid_regs regs = ask(c, leaf, i);
        int error = model_set(c->m, leaf, i, &regs);
        if (error)
            return error;
    }
    return 0;
}

static bool is_last(enum subleaf_rule rule, uint32_t subleaf, const struct cpuid_regs *regs)
{
    if (rule == UNTIL_TYPE)
        return (regs->eax & 0x1f) == 0;
    if (rule == UNTIL_LEVEL)
        return (regs->ebx & 0xffff) == 0;
    return subleaf >= 2 && (regs->eax & 0xf) == 0;
}

static int capture_until(const struct capture *c, uint32_t leaf, enum subleaf_rule rule)
{
    for (uint32_t i = 1; i < 64; i++) {
        struct cpuid_regs regs = ask(c, leaf, i);
        if (is_last(rule, i, &regs))
            return 0;
        int error = model_set(c->m, leaf, i, &regs);
        if (error)
            return error;
    }
    return -E2BIG;
}

static int capture_xsave(const struct capture *c, const struct cpuid_regs *zero)
{
    struct cpuid_regs one = ask(c, 0xd, 1);
    uint64_t user = (uint64_t)zero->edx << 32 | zero->eax;
    uint64_t supervisor = (uint64_t)one.edx << 32 | one.ecx;
    return capture_bits(c, 0xd, ((user | supervisor) & ~3ULL) | 2);
}

static int capture_subleaves(const struct capture *c, const struct indexed_leaf *l,
                             const struct cpuid_regs *zero)
{
    switch (l->rule) {
    case LAST_IN_EAX:
        if (zero->eax >= 64)
            return -E2BIG;
        return capture_bits(c, l->leaf, (2ULL << zero->eax) - 1);
    case UNTIL_TYPE:
    case UNTIL_LEVEL:
        return is_last(l->rule, 0, zero) ? 0 : capture_until(c, l->leaf, l->rule);
    case UNTIL_SGX:
        return zero->eax == 0 ? 0 : capture_until(c, l->leaf, l->rule);
    case BITS_IN_EAX:
        return capture_bits(c, l->leaf, zero->eax);
    case BITS_IN_EBX:
        return capture_bits(c, l->leaf, zero->ebx);
    case BITS_IN_EDX:
        return capture_bits(c, l->leaf, zero->edx);
    case XSAVE_STATES:
        return zero->eax == 0 ? 0 : capture_xsave(c, zero);
    }
    return -EINVAL;
}

static int capture_leaf(const struct capture *c, uint32_t leaf)
{
    struct cpuid_regs zero = ask(c, leaf, 0);
    int error = model_set(c->m, leaf, 0, &zero);
    for (size_t i = 0; i < sizeof(indexed_leaves) / sizeof(indexed_leaves[0]) && !error; i++)
        if (indexed_leaves[i].leaf == leaf)
            error = capture_subleaves(c, &indexed_leaves[i], &zero);
    return error;
}

static int capture_range(const struct capture *c, uint32_t base)
{
    uint32_t last = ask(c, base, 0).eax;
    if (last < base || last - base > 0xffffU)
        return 0; /* the range is absent */
    if (last - base >= MODEL_RANGE_LEAVES)
        last = base + MODEL_RANGE_LEAVES - 1;
    for (uint32_t leaf = base; leaf <= last; leaf++) {
        int error = capture_leaf(c, leaf);
        if (error)
            return error;
    }
    return 0;
}

int model_capture(struct model *m, cpuid_fn *fn, void *ctx)
{
    struct capture c = {.m = m, .fn = fn, .ctx = ctx};

    model_init(m);
    int error = capture_range(&c, CPUID_BASIC);
    if (!error && ask(&c, 1, 0).ecx >> 31)
        error = capture_range(&c, CPUID_HYPERVISOR);
    return error ? error : capture_range(&c, CPUID_EXTENDED);
}
