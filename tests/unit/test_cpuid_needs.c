/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A walk over the policy's table: each feature that guests have is hidden by a spec, from a host
 * that has all there are. It goes, with what needs it and with what follows from it, and nothing
 * else does.
 */
#include "cpuid/rules.h"
#include "cpuid/spec.h"
#include "tests/unit/cpuid_data.h"
#include "tests/unit/unit.h"

#include <errno.h>
#include <string.h>

static const struct enforceable can = {.memory_bits = 34};

static char message[256];

/* A host with every bit set that a guest may see. */
static void load_rich(struct model *m)
{
    const struct policy_input everything = {.emulator = false};
    const struct cpuid_regs ones = {.eax = ~0U, .ebx = ~0U, .ecx = ~0U, .edx = ~0U};
    struct cpuid_regs last = {.eax = 0x24, .ebx = 0x756e6547, .ecx = 0x6c65746e, .edx = 0x49656e69};
    const struct cpuid_regs widths = {.eax = 57 << 8 | 52, .ebx = ~0U};
    model_init(m);
    for (uint32_t leaf = 1; leaf <= 0x26; leaf++) {
        CHECK_EQ(model_set(m, leaf, 0, &ones), 0);
        CHECK_EQ(model_set(m, 0x80000000 + leaf, 0, &ones), 0);
    }
    static const uint32_t subleaves[][2] = {{7, 1}, {7, 2}, {0xd, 1}, {0x1e, 1}, {0x24, 1}};
    for (size_t i = 0; i < sizeof(subleaves) / sizeof(subleaves[0]); i++)
        CHECK_EQ(model_set(m, subleaves[i][0], subleaves[i][1], &ones), 0);
    for (uint32_t i = 2; i < 20; i++) {
        const struct cpuid_regs state = {.eax = 64, .ebx = 576 + 64 * i};
        CHECK_EQ(model_set(m, 0xd, i, &state), 0);
    }
    CHECK_EQ(model_set(m, 0x80000008, 0, &widths), 0);
    CHECK_EQ(model_set(m, 0, 0, &last), 0);
    last.eax = 0x80000026;
    CHECK_EQ(model_set(m, 0x80000000, 0, &last), 0);
    CHECK_EQ(policy_apply(m, &everything), 0);
}

static bool needs(const struct policy_feature *f, const struct policy_feature *needed)
{
    for (size_t i = 0; i < policy_dependency_count; i++) {
        const struct policy_dependency *d = &policy_dependencies[i];
        char list[512], *rest = list;
        if (strcmp(d->needs, needed->name) != 0)
            continue;
        snprintf(list, sizeof(list), "%s", d->features);
        for (char *name; (name = strtok_r(rest, " ", &rest)) != NULL;)
            if (strcmp(name, f->name) == 0)
                return true;
    }
    return false;
}

/* Marks all that cannot stand without what is marked. */
static void mark_dependents(bool *gone)
{
    for (bool more = true; more;) {
        more = false;
        for (size_t i = 0; i < policy_feature_count; i++)
            for (size_t k = 0; k < policy_feature_count && !gone[i]; k++)
                if (gone[k] && needs(&policy_features[i], &policy_features[k]))
                    gone[i] = more = true;
    }
}

static void each_line_names_features_once(void)
{
    for (size_t i = 0; i < policy_dependency_count; i++) {
        const struct policy_dependency *d = &policy_dependencies[i];
        char list[512], *rest = list;
        CHECK(policy_find(d->needs, strlen(d->needs)) != NULL);
        CHECK(d->reason && strlen(d->reason) > 4);
        for (size_t k = 0; k < i; k++)
            CHECK(strcmp(policy_dependencies[k].needs, d->needs) != 0);
        CHECK(strlen(d->features) < sizeof(list));
        snprintf(list, sizeof(list), "%s", d->features);
        for (char *name; (name = strtok_r(rest, " ", &rest)) != NULL;) {
            const struct policy_feature *f = policy_find(name, strlen(name));
            CHECK(f != NULL);
            if (!f)
                printf("#   %s is no feature\n", name);
        }
    }
}

/* Nothing needs itself, however far around. */
static void no_feature_needs_itself(void)
{
    for (size_t i = 0; i < policy_feature_count; i++) {
        static bool gone[1024];
        memset(gone, 0, sizeof(gone));
        for (size_t k = 0; k < policy_feature_count; k++)
            gone[k] = needs(&policy_features[k], &policy_features[i]);
        if (i % 8 == 0 || gone[i])
            mark_dependents(gone);
        CHECK(!gone[i]);
    }
}

/* Leaves that go with a feature, and the features in them with the leaf. */
static bool leaf_is_gone(const struct model *m, uint32_t leaf)
{
    return (leaf == 0xd || leaf == 0x1e || leaf == 0x24) && !model_find_const(m, leaf, 0);
}

static void check_features(const struct model *host, const struct model *m, const bool *gone)
{
    for (size_t i = 0; i < policy_feature_count; i++) {
        const struct policy_feature *f = &policy_features[i];
        bool stays = policy_has(host, f) && !gone[i] && !leaf_is_gone(m, f->leaf);
        CHECK_EQ(policy_has(m, f), stays);
        if (policy_has(m, f) != stays)
            printf("#   %s, message '%s'\n", f->name, message);
    }
}

/* All but feature bits and the leaves that are cut to the features. */
static void check_numbers(const struct model *host, const struct model *m)
{
    for (uint32_t i = 0; i < host->count; i++) {
        const struct cpuid_leaf *row = &host->leaves[i];
        struct cpuid_regs was = row->regs, now = model_get(m, row->leaf, row->subleaf);
        if (row->leaf == 5 || row->leaf == 0xd || row->leaf == 0x1d || row->leaf == 0x1e ||
            row->leaf == 0x24 || row->leaf == 0x8000001d || row->leaf == 0x8000001e)
            continue;
        for (size_t k = 0; k < policy_feature_count; k++) {
            const struct policy_feature *f = &policy_features[k];
            if (f->leaf != row->leaf || f->subleaf != row->subleaf)
                continue;
            *cpuid_register(&was, f->reg) &= ~(1U << f->bit);
            *cpuid_register(&now, f->reg) &= ~(1U << f->bit);
        }
        if (row->leaf == 0x80000001) /* AMD's second copy of leaf 1 */
            was.edx &= model_get(m, 1, 0).edx | ~0x0183f3ffU;
        if (row->leaf == 0x80000008)
            was.eax = narrowed(was.eax, m);
        CHECK_EQ(memcmp(&was, &now, sizeof(was)), 0);
    }
}

static void check_rules(struct model *m)
{
    struct cpu_rules rules, wanted = {.cr4_allowed = CPU_CR4_PCE};
    wanted.msr_groups = 1U << (model_is_amd(m) ? MSR_GROUP_AMD : MSR_GROUP_INTEL);
    for (size_t i = 0; i < policy_feature_count; i++) {
        const struct policy_feature *f = &policy_features[i];
        if (!policy_has(m, f) || f->disposition != FEATURE_PASSED)
            continue;
        wanted.cr4_allowed |= f->cr4;
        wanted.efer_allowed |= f->efer;
        wanted.xcr0_allowed |= f->xcr0;
        wanted.xss_allowed |= f->xss;
        wanted.msr_groups |= f->msrs;
        wanted.instructions |= f->instructions;
        wanted.spec_ctrl |= f->spec_ctrl;
        wanted.pred_cmd |= f->pred_cmd;
    }
    if (!(wanted.msr_groups >> MSR_GROUP_ARCH_CAPABILITIES & 1))
        wanted.msr_groups &= ~(1U << MSR_GROUP_TSX_CTRL);
    if (!(wanted.cr4_allowed & CPU_CR4_OSXSAVE))
        wanted.xcr0_allowed = 0;
    CHECK_EQ(model_finish(m), 0);
    rules_derive(&rules, m);
    CHECK_EQ(rules.cr4_allowed, wanted.cr4_allowed);
    CHECK_EQ(rules.efer_allowed, wanted.efer_allowed);
    CHECK_EQ(rules.xcr0_allowed, wanted.xcr0_allowed);
    CHECK_EQ(rules.xss_allowed & ~wanted.xss_allowed, 0);
    CHECK_EQ(rules.msr_groups, wanted.msr_groups);
    CHECK_EQ(rules.instructions, wanted.instructions);
    CHECK_EQ(rules.spec_ctrl, wanted.spec_ctrl);
    CHECK_EQ(rules.pred_cmd, wanted.pred_cmd);
}

/* Whether, with feature `but` alone gone, something is left that cannot stand. */
static bool anything_else(const struct model *host, const bool *gone, size_t but)
{
    struct model m;
    model_copy(&m, host);
    CHECK_EQ(policy_set(&m, &policy_features[but], false), 0);
    CHECK_EQ(policy_settle(&m, NULL), 0);
    for (size_t i = 0; i < policy_feature_count; i++)
        if (gone[i] && policy_has(&m, &policy_features[i]))
            return true;
    return false;
}

static void each_feature_goes_with_what_needs_it(void)
{
    struct model host, m;
    unsigned int refused = 0;
    load_rich(&host);
    for (size_t i = 0; i < policy_feature_count; i++) {
        const struct policy_feature *f = &policy_features[i];
        static bool gone[1024];
        char spec[64], named[64];
        if (!policy_has(&host, f) || f->disposition != FEATURE_PASSED)
            continue;
        memset(gone, 0, sizeof(gone));
        gone[i] = true;
        mark_dependents(gone);
        snprintf(spec, sizeof(spec), "host,-%s", f->name);
        snprintf(named, sizeof(named), "without %s, which that needs", f->name);
        model_copy(&m, &host);
        int error = spec_apply(spec, &m, &host, &can, message, sizeof(message));
        bool others = anything_else(&host, gone, i);
        CHECK_EQ(-error, others ? EINVAL : 0);
        CHECK(!others || strstr(message, named) != NULL);
        refused += error != 0;
        snprintf(spec, sizeof(spec), "host,-%s,trim", f->name);
        model_copy(&m, &host);
        CHECK_EQ(spec_apply(spec, &m, &host, &can, message, sizeof(message)), 0);
        check_features(&host, &m, gone);
        check_numbers(&host, &m);
        check_rules(&m);
    }
    CHECK(refused > 20);
}

/* Emulators have CPUs that no maker would build; a guest's CPU may be as its host's is. */
static void what_the_host_breaks_is_accepted(void)
{
    struct model host, m;
    for (size_t i = 0; i < policy_dependency_count; i++) {
        const char *name = policy_dependencies[i].needs;
        load_rich(&host);
        CHECK_EQ(policy_set(&host, policy_find(name, strlen(name)), false), 0);
        CHECK_EQ(policy_settle(&host, NULL), 0);
        model_copy(&m, &host);
        CHECK_EQ(spec_apply("host", &m, &host, &can, message, sizeof(message)), 0);
        model_copy(&m, &host);
        CHECK_EQ(spec_apply("host,-fsrm", &m, &host, &can, message, sizeof(message)), 0);
    }
}

static void a_file_that_contradicts_itself_is_named(void)
{
    struct model host, m;
    load_host(&host, "zen3");
    model_copy(&m, &host);
    CHECK_EQ(policy_set(&m, policy_find("ssse3", 5), false), 0);
    CHECK_EQ(spec_apply("f", &m, &host, &can, message, sizeof(message)), -EINVAL);
    CHECK(strstr(message, "it has sse4_1 without ssse3, which that needs") != NULL);
    CHECK(strstr(message, "add -sse4_1") != NULL);
    /* What was asked for by name is not dropped in silence. */
    CHECK_EQ(spec_apply("f,trim,+sse4_2", &m, &host, &can, message, sizeof(message)), -EINVAL);
    CHECK(strstr(message, "it has sse4_2 without sse4_1") != NULL);
    CHECK_EQ(spec_apply("f,trim", &m, &host, &can, message, sizeof(message)), 0);
    CHECK(!policy_has(&m, policy_find("sse4_2", 6)));
}

/* Pairs that are refused by both names. */
static void pairs_are_named(void)
{
    static const struct {
        const char *spec, *says;
    } pairs[] = {
        {"host,-pcid", "it has invpcid without pcid, which that needs"},
        {"host,-aes", "it has vaes without aes"},
        {"host,-pclmulqdq", "it has vpclmulqdq without pclmulqdq"},
        {"host,-amx_tile", "it has xfd without amx_tile"},
        {"host,-xsave", "it has avx without xsave"},
    };
    struct model host, m;
    load_rich(&host);
    for (size_t i = 0; i < sizeof(pairs) / sizeof(pairs[0]); i++) {
        model_copy(&m, &host);
        CHECK_EQ(spec_apply(pairs[i].spec, &m, &host, &can, message, sizeof(message)), -EINVAL);
        CHECK(strstr(message, pairs[i].says) != NULL);
        if (!strstr(message, pairs[i].says))
            printf("#   %s: %s\n", pairs[i].spec, message);
    }
    CHECK(!policy_has(&host, policy_find("apx_f", 5))); /* the decoder does not know REX2 */
}

static unsigned int dropped, hypervisors;
static char topology[160];

static void count_dropped(void *ctx, const char *line)
{
    (void)ctx;
    CHECK(strlen(line) > 20 && strchr(line, '\n') == NULL);
    if (strncmp(line, "dropped: ", 9) == 0)
        dropped++;
    else if (strncmp(line, "the leaves from 0x40000000", 26) == 0)
        hypervisors++;
    else
        snprintf(topology, sizeof(topology), "%s", line);
}

/* What trim drops is said, a line for each, whether the host or the model itself rules it out. */
static void each_thing_that_goes_is_said(void)
{
    const struct enforceable say = {.memory_bits = 34, .say = count_dropped};
    struct model host, m;
    load_host(&host, "zen3");
    model_copy(&m, &host);
    dropped = 0;
    CHECK_EQ(spec_apply("host,trim", &m, &host, &say, message, sizeof(message)), 0);
    CHECK_EQ(dropped, 0);
    CHECK_EQ(spec_apply("host,-sse4_1,trim", &m, &host, &say, message, sizeof(message)), 0);
    CHECK_EQ(dropped, 1);
    load_model(&m, "skylake-server", 0);
    model_remove_leaf(&m, 0x40000000);
    dropped = 0;
    CHECK_EQ(spec_apply("f,trim", &m, &host, &say, message, sizeof(message)), 0);
    CHECK(dropped > 20);
    CHECK_EQ(strcmp(topology, "topology is this CPU's own, not the file's: leaves 0x1 0xb "
                              "0x80000008"),
             0);
    dropped = 0;
    topology[0] = 0;
    CHECK_EQ(spec_apply("f,trim", &m, &host, &say, message, sizeof(message)), 0);
    CHECK_EQ(dropped, 0);
    CHECK_EQ(topology[0], 0); /* it is the host's by now */
    CHECK_EQ(hypervisors, 0);
    load_model(&m, "epyc-kvm", 0);
    CHECK_EQ(spec_apply("f,trim", &m, &host, &say, message, sizeof(message)), 0);
    CHECK_EQ(hypervisors, 1);
}

/* AMD's second copy of leaf 1's EDX follows it both ways, where the host has one. */
static void a_second_copy_follows(void)
{
    const struct enforceable can = {.memory_bits = 34};
    struct model host, m;
    load_host(&host, "zen3");
    const uint32_t pge = 1U << 13;
    CHECK(model_get(&host, 0x80000001U, 0).edx & pge);
    model_copy(&m, &host);
    CHECK_EQ(spec_apply("f,-pge", &m, &host, &can, message, sizeof(message)), 0);
    CHECK_EQ(model_get(&m, 0x80000001U, 0).edx & pge, 0);
    CHECK_EQ(spec_apply("f,+pge", &m, &host, &can, message, sizeof(message)), 0);
    CHECK_EQ(model_get(&m, 0x80000001U, 0).edx, model_get(&host, 0x80000001U, 0).edx);
    /* A file that has another one keeps it. */
    model_copy(&m, &host);
    struct cpuid_regs r = model_get(&m, 0x80000001U, 0);
    r.edx &= ~pge;
    CHECK_EQ(model_set(&m, 0x80000001U, 0, &r), 0);
    CHECK_EQ(spec_apply("f", &m, &host, &can, message, sizeof(message)), 0);
    CHECK_EQ(model_get(&m, 0x80000001U, 0).edx & pge, 0);
    load_model(&m, "skylake-server", 0); /* Intel's CPUs have none */
    CHECK_EQ(spec_apply("f,trim", &m, &host, &can, message, sizeof(message)), 0);
    CHECK_EQ(model_get(&m, 0x80000001U, 0).edx & pge, 0);
}

/* The host's caches come with a feature that a spec turns on, and not into a file that has its own. */
static void a_file_gets_no_cache(void)
{
    const struct enforceable can = {.memory_bits = 34};
    const struct cpuid_regs none = {.eax = 0};
    struct model host, m;
    load_host(&host, "zen3");
    CHECK(model_get(&host, 0x8000001dU, 3).eax != 0);
    model_copy(&m, &host);
    CHECK_EQ(model_set(&m, 0x8000001dU, 3, &none), 0);
    CHECK_EQ(spec_apply("f", &m, &host, &can, message, sizeof(message)), 0);
    CHECK_EQ(model_get(&m, 0x8000001dU, 3).eax, 0);
    CHECK_EQ(spec_apply("f,-topoext", &m, &host, &can, message, sizeof(message)), 0);
    CHECK_EQ(model_get(&m, 0x8000001dU, 0).eax, 0);
    CHECK_EQ(spec_apply("f,+topoext", &m, &host, &can, message, sizeof(message)), 0);
    CHECK_EQ(model_get(&m, 0x8000001dU, 3).eax, model_get(&host, 0x8000001dU, 3).eax);
}

static char listed[1024];

/* The names of what the model hides and the CPU runs, in `listed`. */
static void list(const struct model *m, const struct model *cpu)
{
    struct policy_set found;
    size_t used = 0;
    policy_unenforced(m, cpu, &found);
    listed[0] = '\0';
    for (size_t i = 0; i < policy_feature_count && used < sizeof(listed); i++)
        if (policy_set_has(&found, i))
            used += (size_t)snprintf(listed + used, sizeof(listed) - used, " %s",
                                     policy_features[i].name);
    CHECK(used < sizeof(listed));
}

/* What is listed runs though it is hidden; what faults in any way is not. */
static void what_runs_though_hidden_is_listed(void)
{
    static const struct {
        const char *spec, *listed;
    } cases[] = {
        {"host", ""},
        {"host,-avx2", " avx2"},
        {"host,-avx512f,trim", ""},
        {"host,-avx,trim", ""},
        {"host,-rdrand,-invpcid,-fsgsbase,-nx,-rdtscp,-rdpid", ""},
        {"host,-tsc,trim", ""},
        {"host,-smap", " smap"},
        {"host,-sep,-hle", " sep hle"},
        {"host,-rtm,trim", " rtm tsxldtrk"},
        {"host,-sha_ni,-rdrand,-erms", " erms sha_ni"},
        {"host,-avx512vl,-xsavec", " avx512vl xsavec"},
        {"host,-ibpb,trim", ""},
        {"host,-xsave,trim", ""},
    };
    struct model host, m;
    load_rich(&host);
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        model_copy(&m, &host);
        CHECK_EQ(spec_apply(cases[i].spec, &m, &host, &can, message, sizeof(message)), 0);
        list(&m, &host);
        CHECK_EQ(strcmp(listed, cases[i].listed), 0);
        if (strcmp(listed, cases[i].listed) != 0)
            printf("#   %s lists%s\n", cases[i].spec, listed);
    }
}

/* The CPU's own features, that the policy hides from everybody. */
static void what_the_policy_hides_is_listed(void)
{
    static const char *const names[] = {"pt_ptwrite", "wrmsrns", "enqcmd", "svm",
                                        "uintr",      "lam",     "uai"};
    struct model cpu, host, m;
    load_rich(&host);
    model_copy(&cpu, &host);
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
        CHECK_EQ(policy_set(&cpu, policy_find(names[i], strlen(names[i])), true), 0);
    model_copy(&m, &host);
    list(&m, &cpu);
    CHECK_EQ(strcmp(listed, " enqcmd wrmsrns pt_ptwrite"), 0);
    CHECK_EQ(spec_apply("host,-fxsr,trim", &m, &host, &can, message, sizeof(message)), 0);
    list(&m, &host);
    CHECK(strstr(listed, " fxsr sse sse2") != NULL);
    model_copy(&m, &host);
    CHECK_EQ(spec_apply("host,-msr,trim", &m, &host, &can, message, sizeof(message)), 0);
    list(&m, &host);
    CHECK(strstr(listed, " msr ") != NULL);
}

/* A model with nothing in it: each need is absent, whatever needs it. */
static void of_nothing_much_is_listed(void)
{
    struct model host, m;
    load_rich(&host);
    model_copy(&m, &host);
    for (size_t i = 0; i < policy_feature_count; i++)
        CHECK_EQ(policy_set(&m, &policy_features[i], false), 0);
    list(&m, &host);
    CHECK(strstr(listed, " popcnt") != NULL);
    CHECK(strstr(listed, "avx") == NULL);
    CHECK(strstr(listed, " xsaveopt") == NULL);
}

int main(void)
{
    RUN(each_line_names_features_once);
    RUN(no_feature_needs_itself);
    RUN(each_feature_goes_with_what_needs_it);
    RUN(what_the_host_breaks_is_accepted);
    RUN(a_file_that_contradicts_itself_is_named);
    RUN(pairs_are_named);
    RUN(each_thing_that_goes_is_said);
    RUN(a_second_copy_follows);
    RUN(a_file_gets_no_cache);
    RUN(what_runs_though_hidden_is_listed);
    RUN(what_the_policy_hides_is_listed);
    RUN(of_nothing_much_is_listed);
    return unit_end();
}
