/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The policy's table walked from inside: for each feature that the sealed model hides its bit is
 * gone, what follows from it faults (bits of CR4, EFER, XCR0 and XSS, MSRs, instructions), and what
 * follows from the features that the model has works. Which features there are is printed, so that
 * the suite can compare a run that hides some with one that hides none; and which hidden
 * instructions work nevertheless, which Latch must have said at launch.
 */
#include "cpuid/capture.h"
#include "cpuid/policy.h"
#include "tests/guest/lib/payload.h"
#include "tests/guest/model/follows.h"
#include "tests/guest/model/hidden.h"
#include "tests/guest/model/sealed.h"

#include <stdio.h>
#include <string.h>

static const struct model *model;
static struct cpu_rules rules;

/* ---- CPUID ---- */

static void check_cpuid(void)
{
    unsigned int wrong = 0;
    const char *first = "";
    for (size_t i = 0; i < policy_feature_count; i++) {
        const struct policy_feature *f = &policy_features[i];
        struct cpuid_regs regs = cpuid_here(f->leaf, f->subleaf);
        bool has = *cpuid_register(&regs, f->reg) >> f->bit & 1;
        if (f->leaf > cpuid_here(f->leaf & CPUID_EXTENDED, 0).eax)
            has = false;
        if (has)
            printf("has %s 0x%08x 0x%02x %u %u\n", f->name, f->leaf, f->subleaf, f->reg, f->bit);
        if (f->disposition == FEATURE_DYNAMIC)
            continue;
        bool offered = f->disposition == FEATURE_PASSED || f->disposition == FEATURE_EMULATED;
        if ((has != policy_has(model, f) || (has && !offered)) && wrong++ == 0)
            first = f->name;
    }
    check(wrong == 0, "features.cpuid", "%u bits are not the model's, first %s", wrong, first);
    check_equal("features.hypercall-version", cpuid_here(0x40000001U, 0).eax,
                (uint64_t)latch_hypercall(HYPERCALL_VERSION, 0, 0, 0, 0));
}

/* ---- One feature at a time, on vCPUs that lack one each ---- */

static void read_here(void *ctx, uint32_t leaf, uint32_t subleaf, struct cpuid_regs *regs)
{
    (void)ctx;
    *regs = cpuid_here(leaf, subleaf);
}

/* All of this vCPU's CPUID is its sealed model, which is the first vCPU's without the feature and
 * what needs that; and what follows from it does. */
static void walk_here(void *feature)
{
    static struct model here, full;
    const struct policy_feature *f = feature;
    char name[64], text[120];
    model_copy(&full, sealed_model(0, &rules));
    model = sealed_model(this_processor()->index, &rules);
    snprintf(name, sizeof(name), "features.walk.%s", f->name);
    if (model_capture(&here, read_here, NULL) != 0 || model_finish(&here) != 0)
        broken("CPUID of vCPU %u cannot be read", this_processor()->index);
    check(model_equal(&here, model), name, "CPUID is not the sealed model");
    bool alone = hidden_alone(&full, &here, f, text, sizeof(text));
    check(alone && policy_has(&full, f), name, "%s", text);
    follows_check(&rules);
}

/* `hides=NAME,NAME`: what each vCPU lacks, from the second on. */
static void walk(const char *names)
{
    for (unsigned int i = 1; i < processor_count && *names != '\0'; i++) {
        size_t length = strcspn(names, ", ");
        const struct policy_feature *f = policy_find(names, length);
        if (f == NULL)
            broken("there is no feature %s", names);
        if (!processor_start(i))
            broken("vCPU %u does not start", i);
        printf("walk %s\n", f->name);
        run_on(i, walk_here, (void *)f);
        names += length + (names[length] == ',');
        names = *names == ' ' ? "" : names;
    }
}

int main(void)
{
    const char *names;
    if (!under_latch()) {
        check_skip("features", "no Latch, so no model");
        return 0;
    }
    model = sealed_model(0, &rules);
    check_cpuid();
    follows_check(&rules);
    if (boot_word("hides", &names))
        walk(names);
    return 0;
}
