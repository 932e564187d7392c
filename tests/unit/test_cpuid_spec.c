/* SPDX-License-Identifier: BSD-2-Clause */
#include "cpuid/rules.h"
#include "cpuid/spec.h"
#include "tests/unit/cpuid_data.h"
#include "tests/unit/unit.h"

#include <errno.h>
#include <string.h>

static const struct enforceable guest = {.memory_bits = 34}; /* 16 GiB */

#define TEXT_SIZE 32768U

static char message[256];

/* Applies a spec to the dump `base`, on the host that the dump `machine` is. */
static int apply(const char *spec, const char *base, const char *machine, struct model *m)
{
    struct model host;
    bool is_host;
    load_host(&host, machine);
    (void)spec_base(spec, &is_host);
    if (is_host)
        model_copy(m, &host);
    else
        load_model(m, base, 0);
    return spec_apply(spec, m, &host, &guest, message, sizeof(message));
}

static void the_base_is_found(void)
{
    bool is_host;
    CHECK_EQ(spec_base("host", &is_host), 4);
    CHECK(is_host);
    CHECK_EQ(spec_base("host,nx=on", &is_host), 4);
    CHECK(is_host);
    CHECK_EQ(spec_base("hosts", &is_host), 5);
    CHECK(!is_host);
    CHECK_EQ(spec_base("a.cpuid,trim", &is_host), 7);
    CHECK(!is_host);
    CHECK_EQ(spec_base("", &is_host), 0);
}

static void good_specs_are_taken(void)
{
    static const char *const specs[] = {
        "host",
        "host,maxphyaddr=48",
        "host,gbpages=on,nx=on,pse36=on,pat=on,la57=off",
        "host,-fsrm",
        "host,+avx,-avx2",
        "host,vendor=amd,cbit=0,addr-reduction=0",
        "host,-hypervisor",
        "host,cpuid-vendor=AuthenticAMD",
    };
    struct model m;
    for (size_t i = 0; i < sizeof(specs) / sizeof(specs[0]); i++) {
        CHECK_EQ(apply(specs[i], NULL, "zen3", &m), 0);
        CHECK_EQ(strcmp(message, ""), 0);
        CHECK_EQ(model_finish(&m), 0);
    }
    CHECK_EQ(apply("f,trim", "zen3", "zen3", &m), 0);
    CHECK_EQ(apply("f,trim,-hypervisor", "zen3", "zen3", &m), 0);
    CHECK_EQ(model_get(&m, 1, 0).ecx >> 31, 0);
}

struct refusal_case {
    const char *spec;
    int error;
    const char *says; /* part of the message */
};

static void check_refused(const struct refusal_case *cases, size_t count)
{
    struct model m;
    for (size_t i = 0; i < count; i++) {
        int error = apply(cases[i].spec, "skylake-server", "zen3", &m);
        CHECK_EQ(-error, -cases[i].error);
        CHECK(strstr(message, cases[i].says) != NULL);
        CHECK(strchr(message, '\n') == NULL);
        if (error != cases[i].error || !strstr(message, cases[i].says))
            printf("#   '%s': %d '%s'\n", cases[i].spec, error, message);
    }
}

static void bad_specs_are_named(void)
{
    static const struct refusal_case cases[] = {
        {"", -EINVAL, "the text is empty"},
        {",nx=on", -EINVAL, "the text is empty"},
        {"host,", -EINVAL, "''"},
        {"host,,nx=on", -EINVAL, "''"},
        {"host,colour=red", -EINVAL, "'colour=red'"},
        {"host,maxphyaddr", -EINVAL, "'maxphyaddr'"},
        {"host,maxphyaddr=", -EINVAL, "expected maxphyaddr=32 to 52"},
        {"host,maxphyaddr=31", -EINVAL, "'maxphyaddr=31': expected maxphyaddr=32 to 52"},
        {"host,maxphyaddr=53", -EINVAL, "maxphyaddr=53"},
        {"host,maxphyaddr=0x28", -EINVAL, "maxphyaddr=0x28"},
        {"host,maxphyaddr=99999999999999999999", -EINVAL, "maxphyaddr=999"},
        {"host,maxphyaddr=40,maxphyaddr=40", -EINVAL, "given twice"},
        {"host,gbpages=yes", -EINVAL, "expected gbpages=on or gbpages=off"},
        {"host,gbpages=on,gbpages=on", -EINVAL, "given twice"},
        {"host,gbpages=on,-pdpe1gb", -EINVAL, "given twice"},
        {"host,nx", -EINVAL, "'nx'"},
        {"host,vendor=via", -EINVAL, "vendor=intel or vendor=amd"},
        {"host,cbit=31", -EINVAL, "cbit=0"},
        {"host,cbit=52", -EINVAL, "cbit=52"},
        {"host,addr-reduction=17", -EINVAL, "addr-reduction=0 to 16"},
        {"host,cpuid-vendor=short", -EINVAL, "12 printable"},
        {"host,+", -EINVAL, "'+'"},
        {"host,+unknown", -EINVAL, "'+unknown': no feature has this name"},
        {"host,-FSRM", -EINVAL, "'-FSRM'"},
        {"host,-fsrm,-fsrm", -EINVAL, "fsrm is given twice"},
        {"host,+osxsave", -EINVAL, "osxsave"},
        {"host,trim,trim", -EINVAL, "'trim' is given twice"},
        {"host,\n\033[2J", -EINVAL, "'??[2J'"},
        {"host,+avx512f", -ENOTSUP, "wanted avx512f, but this host does not have it"},
        {"host,+svm", -ENOTSUP, "wanted svm, but guests cannot have it: nested guests are not"},
        {"host,+vmx", -ENOTSUP, "wanted vmx, but guests cannot have it: nested guests are not"},
        {"host,la57=on", -ENOTSUP, "wanted la57, but this host does not have it"},
        {"host,maxphyaddr=49", -ENOTSUP, "the host has 48 bits"},
        {"f", -ENOTSUP, "take it out with -, or all such with trim"},
    };
    check_refused(cases, sizeof(cases) / sizeof(cases[0]));
}

static void every_smaller_cpu_is_taken(void)
{
    static const char *const specs[] = {
        "host,maxphyaddr=34",
        "host,maxphyaddr=40",
        "host,gbpages=off",
        "host,-pdpe1gb",
        "host,nx=off",
        "host,pse36=off",
        "host,pat=off",
        "host,vendor=intel",
        "host,cbit=34",
        "host,cbit=47",
        "host,cbit=47,addr-reduction=14",
        "host,cpuid-vendor=GenuineIntel",
    };
    struct model m;
    for (size_t i = 0; i < sizeof(specs) / sizeof(specs[0]); i++) {
        CHECK_EQ(apply(specs[i], NULL, "zen3", &m), 0);
        CHECK_EQ(strcmp(message, ""), 0);
    }
    CHECK_EQ(apply("f,trim", "skylake-server", "zen3", &m), 0);
}

/* The guest's memory must be in reach, and a C-bit must not be a part of its addresses. */
/* By default a feature can go, with what needs it; one that cannot is named. No instruction is so
 * basic that it stays: a guest without fpu, msr or lm is one of another mode. */
static void each_feature_goes_or_is_named(void)
{
    static const char *const dumps[] = {"skylake-server", "zen3"};
    char spec[64];
    struct model m;
    for (size_t i = 0; i < policy_feature_count * 2; i++) {
        const struct policy_feature *f = &policy_features[i / 2];
        load_host(&m, dumps[i % 2]);
        if (!policy_has(&m, f))
            continue;
        snprintf(spec, sizeof(spec), "host,-%s,trim", f->name);
        const int error = apply(spec, "", dumps[i % 2], &m);
        CHECK(error == 0 ? !policy_has(&m, f) : strstr(message, f->name) != NULL);
        CHECK_EQ(error != 0, f->disposition == FEATURE_DYNAMIC);
        if (unit_failures != 0)
            printf("#   %s: %s\n", spec, error != 0 ? message : "");
    }
}

static void what_does_not_agree_is_named(void)
{
    static const struct refusal_case cases[] = {
        {"host,maxphyaddr=33", -ENOTSUP, "memory has addresses of 34 bits: give maxphyaddr=34"},
        {"host,addr-reduction=1", -ENOTSUP, "addr-reduction=1: wanted a C-bit"},
        {"host,cbit=33", -ENOTSUP, "cbit=33: wanted one above the 34 bits"},
        {"host,cbit=48", -ENOTSUP, "below maxphyaddr=48: give cbit=34 to 47"},
        {"host,maxphyaddr=40,cbit=40", -ENOTSUP, "give cbit=34 to 39"},
        {"host,cbit=47,addr-reduction=15", -ENOTSUP, "addr-reduction=15: of maxphyaddr=48"},
    };
    check_refused(cases, sizeof(cases) / sizeof(cases[0]));
}

/* What no spec can say, and no CPU does. Each by itself, and what mends it. */
static void a_file_of_no_cpu_is_named(void)
{
    static const struct {
        uint32_t leaf;
        struct cpuid_regs regs;
        const char *says, *mended;
    } cases[] = {
        {0x8000001f, {.eax = 1}, "C-bit at position 0", "f,cbit=40"},
        {0x8000001f, {.eax = 1}, "C-bit at position 0", "f,cbit=0"},
        {0x8000001f, {.eax = 1, .ebx = 2 << 6}, "addr-reduction=2: wanted a C-bit", "f,cbit=40"},
        {0x8000001f, {.eax = 1, .ebx = 12}, "cbit=12: wanted one above", "f,cbit=40"},
        {0x80000008, {.eax = 48 << 8}, "physical addresses of 0 bits", "f,maxphyaddr=40"},
        {0x80000008, {.eax = 0}, "physical addresses of 0 bits", "f,maxphyaddr=48"},
        {0x80000008, {.eax = 48 << 8 | 20}, "maxphyaddr=20", "f,maxphyaddr=48"},
    };
    struct model host, m;
    load_host(&host, "zen3");
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        model_copy(&m, &host);
        CHECK_EQ(model_set(&m, cases[i].leaf, 0, &cases[i].regs), 0);
        CHECK_EQ(spec_apply("f", &m, &host, &guest, message, sizeof(message)), -ENOTSUP);
        CHECK(strstr(message, cases[i].says) != NULL);
        if (!strstr(message, cases[i].says))
            printf("#   case %zu: '%s'\n", i, message);
        CHECK_EQ(model_set(&m, cases[i].leaf, 0, &cases[i].regs), 0);
        CHECK_EQ(spec_apply(cases[i].mended, &m, &host, &guest, message, sizeof(message)), 0);
    }
    /* Without the leaf, in range, too; and an old CPU has no such range. */
    model_copy(&m, &host);
    model_remove(&m, 0x80000008, 0);
    CHECK_EQ(spec_apply("f", &m, &host, &guest, message, sizeof(message)), -ENOTSUP);
    struct cpuid_regs top = model_get(&m, CPUID_EXTENDED, 0);
    top.eax = 0x80000007;
    CHECK_EQ(model_set(&m, CPUID_EXTENDED, 0, &top), 0);
    CHECK_EQ(spec_apply("f,-topoext", &m, &host, &guest, message, sizeof(message)), 0);
}

static void numbers_reach_the_paging_properties(void)
{
    struct model m;
    CHECK_EQ(apply("host,maxphyaddr=40,gbpages=off,nx=off,pse36=off,pat=off,vendor=intel,cbit=39,"
                   "addr-reduction=5",
                   NULL, "zen3", &m),
             0);
    CHECK_EQ(model_finish(&m), 0);
    const struct paging_props wanted = {
        .maxphyaddr = 40, .cbit = 39, .reduction = 5, .vendor = PAGING_INTEL};
    CHECK(paging_props_equal(&m.paging, &wanted));
    CHECK_EQ(model_lookup(&m, 0x8000001f, 0)->regs.ebx, 39 | 5 << 6);
    CHECK_EQ(model_lookup(&m, 0x80000008, 0)->regs.eax, 48 << 8 | 40);
    CHECK_EQ(model_lookup(&m, 0x80000001, 0)->regs.edx & (1 << 17 | 1 << 16), 0);
    CHECK_EQ(model_lookup(&m, 0, 0)->regs.ebx, 0x68747541);
}

/* A feature that is asked for is seen, also where the file's CPU had no such leaf. */
static void an_added_feature_is_in_reach(void)
{
    static const char old[] = "0x00000000 0x00: eax=0x1 ebx=0x68747541 ecx=0x444d4163 "
                              "edx=0x69746e65\n";
    static const struct enforceable small = {.memory_bits = 32};
    static const char *const names[] = {"fsrm", "pdpe1gb", "autoibrs"};
    struct model host, m;
    struct text_error error;
    load_model(&host, "zen3", 0);
    struct cpuid_regs more = {.eax = 1 << 10};
    CHECK_EQ(model_set(&host, 7, 1, &more), 0);
    const struct policy_input input = {.emulator = false};
    CHECK_EQ(policy_apply(&host, &input), 0);
    CHECK_EQ(policy_set(&host, policy_find("autoibrs", 8), true), 0);
    CHECK_EQ(text_parse(&m, old, sizeof(old) - 1, 0, &error), 0);
    CHECK_EQ(spec_apply("f,trim,+fsrm,+msr,+pae,+lm,+pdpe1gb,+fzrm,+autoibrs,maxphyaddr=36", &m,
                        &host, &small, message, sizeof(message)),
             0);
    CHECK_EQ(model_finish(&m), 0);
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        const struct policy_feature *f = policy_find(names[i], strlen(names[i]));
        struct cpuid_regs r = model_lookup(&m, f->leaf, f->subleaf)->regs;
        CHECK_EQ(*cpuid_register(&r, f->reg) >> f->bit & 1, 1);
    }
    CHECK_EQ(model_lookup(&m, 7, 0)->regs.eax, 1);
    CHECK_EQ(model_lookup(&m, 7, 1)->regs.eax, 1 << 10);
    CHECK(m.paging.gbpages);
}

/* A host with AVX, MONITOR and five-level paging; a file of the same CPU that lost some leaves. */
static void a_bare_file(struct model *host, struct model *m)
{
    const struct policy_feature *la57 = policy_find("la57", 4);
    const struct policy_input input = {.emulator = false};
    load_model(host, "zen3", 0);
    struct cpuid_regs widths = model_get(host, 0x80000008, 0);
    widths.eax = (widths.eax & ~0xff00U) | 57 << 8;
    CHECK_EQ(model_set(host, 0x80000008, 0, &widths), 0);
    CHECK_EQ(policy_set(host, la57, true), 0);
    CHECK_EQ(policy_set(host, policy_find("monitor", 7), true), 0);
    CHECK_EQ(policy_apply(host, &input), 0);
    model_copy(m, host);
    CHECK_EQ(spec_apply("f,-xsave,-monitor,-la57,trim", m, host, &guest, message, sizeof(message)),
             0);
    CHECK(!model_find_const(m, 0xd, 0) && !model_find_const(m, 5, 0));
    CHECK_EQ(model_get(m, 0x80000008, 0).eax >> 8 & 0xff, 48);
}

/* What is added to a file comes with its own leaves, which only the host can tell. */
static void an_added_feature_brings_its_leaves(void)
{
    struct model host, m, own;
    struct cpu_rules rules;
    a_bare_file(&host, &m);
    CHECK_EQ(spec_apply("f,+xsave,+monitor,+la57", &m, &host, &guest, message, sizeof(message)), 0);
    for (uint32_t i = 0; i < 2; i++) {
        struct cpuid_regs leaf = model_get(&m, i ? 0xd : 5, 0), real = model_get(&host, 5, 0);
        CHECK(i == 0 ? memcmp(&leaf, &real, sizeof(leaf)) == 0 : leaf.eax == 3);
    }
    CHECK_EQ(model_get(&m, 0x80000008, 0).eax >> 8 & 0xff, 57);
    CHECK_EQ(model_finish(&m), 0);
    rules_derive(&rules, &m);
    CHECK_EQ(rules.xcr0_allowed, 3);

    a_bare_file(&host, &m);
    CHECK_EQ(spec_apply("f,+xsave,+avx,+xsaveopt", &m, &host, &guest, message, sizeof(message)), 0);
    model_copy(&own, &m);
    CHECK_EQ(model_finish(&own), 0);
    rules_derive(&rules, &own);
    CHECK_EQ(rules.xcr0_allowed, 7);
    CHECK_EQ(model_get(&m, 0xd, 0).ecx, 576 + 256);
    CHECK_EQ(model_get(&m, 0xd, 2).ebx, 576);
    CHECK_EQ(model_get(&m, 0xd, 1).eax, 1);
    /* And where the file itself forgets them. */
    model_remove(&m, 0xd, 2);
    struct cpuid_regs states = model_get(&m, 0xd, 0);
    states.eax = 3;
    CHECK_EQ(model_set(&m, 0xd, 0, &states), 0);
    CHECK_EQ(spec_apply("f", &m, &host, &guest, message, sizeof(message)), 0);
    CHECK_EQ(model_finish(&m), 0);
    CHECK(model_equal(&m, &own));
}

/* Linear addresses are as wide as the paging is deep: SDM vol. 3 §4.1.4. */
static void the_linear_width_follows(void)
{
    struct model host, m;
    a_bare_file(&host, &m);
    model_copy(&m, &host);
    CHECK_EQ(spec_apply("host,la57=off", &m, &host, &guest, message, sizeof(message)), 0);
    CHECK_EQ(model_get(&m, 0x80000008, 0).eax >> 8 & 0xff, 48);
    CHECK_EQ(spec_apply("host,-lm,trim", &m, &host, &guest, message, sizeof(message)), 0);
    CHECK_EQ(model_get(&m, 0x80000008, 0).eax >> 8 & 0xff, 32);
}

static char said[2048];

static void say(void *ctx, const char *line)
{
    size_t used = strlen(said);
    (void)ctx;
    snprintf(said + used, sizeof(said) - used, "%s\n", line);
}

/* Wider addresses than the host's are refused, and with trim cut, each with its line. */
static void wider_addresses_are_cut(void)
{
    static const struct enforceable talk = {.memory_bits = 34, .say = say};
    static const struct {
        uint32_t widths;
        const char *refused, *dropped;
    } cases[] = {
        {57 << 8 | 48, "linear addresses of 57 bits", "linear addresses of 57 bits"},
        {48 << 8 | 52, "maxphyaddr=52", "physical addresses of 52 bits"},
    };
    struct model host, m;
    load_host(&host, "zen3");
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        model_copy(&m, &host);
        struct cpuid_regs r = model_get(&m, 0x80000008, 0);
        r.eax = cases[i].widths;
        CHECK_EQ(model_set(&m, 0x80000008, 0, &r), 0);
        CHECK_EQ(spec_apply("f", &m, &host, &talk, message, sizeof(message)), -ENOTSUP);
        CHECK(strstr(message, cases[i].refused) != NULL);
        said[0] = '\0';
        CHECK_EQ(model_set(&m, 0x80000008, 0, &r), 0);
        CHECK_EQ(spec_apply("f,trim", &m, &host, &talk, message, sizeof(message)), 0);
        CHECK(strstr(said, cases[i].dropped) != NULL);
        CHECK_EQ(model_get(&m, 0x80000008, 0).eax, 48 << 8 | 48);
        /* What is asked for by name is not cut in silence. */
        CHECK_EQ(spec_apply("f,trim,maxphyaddr=49", &m, &host, &talk, message, sizeof(message)),
                 -ENOTSUP);
    }
}

/* With trim each bit that no line of the policy names goes with a line of its own. */
static void unknown_bits_go_one_by_one(void)
{
    static const struct enforceable talk = {.memory_bits = 34, .say = say};
    struct model host, m;
    load_host(&host, "zen3");
    model_copy(&m, &host);
    struct cpuid_regs r = model_get(&m, 1, 0);
    r.ecx |= 1 << 16;
    r.edx |= 1 << 10 | 1 << 20;
    CHECK_EQ(model_set(&m, 1, 0, &r), 0);
    said[0] = '\0';
    CHECK_EQ(spec_apply("f,trim", &m, &host, &talk, message, sizeof(message)), 0);
    CHECK_EQ(strcmp(said, "dropped: leaf 0x00000001 0x00: ecx bit 16 is not shown to guests\n"
                          "dropped: leaf 0x00000001 0x00: edx bit 10 is not shown to guests\n"
                          "dropped: leaf 0x00000001 0x00: edx bit 20 is not shown to guests\n"),
             0);
    CHECK_EQ(model_get(&m, 1, 0).edx & (1 << 10 | 1 << 20), 0);
}

/* Of a leaf that is there for a C-bit alone, the position and the reduction. */
static void no_more_comes_with_a_cbit(void)
{
    static const struct enforceable talk = {.memory_bits = 34, .say = say};
    struct model host, m;
    load_host(&host, "zen3");
    CHECK_EQ(apply("host,cbit=39", NULL, "zen3", &m), 0);
    struct cpuid_regs r = model_get(&m, 0x8000001f, 0);
    r.ebx |= 0xfff00000;
    r.ecx |= 1;
    r.edx |= 4;
    model_copy(&m, &host);
    CHECK_EQ(model_set(&m, 0x8000001f, 0, &r), 0);
    CHECK_EQ(spec_apply("f", &m, &host, &talk, message, sizeof(message)), -ENOTSUP);
    CHECK(strstr(message, "leaf 0x8000001f 0x00: ebx bit 20 is not shown to guests") != NULL);
    CHECK_EQ(spec_apply("f,trim", &m, &host, &talk, message, sizeof(message)), 0);
    r = model_get(&m, 0x8000001f, 0);
    CHECK_EQ(r.eax, 1);
    CHECK_EQ(r.ebx, 39);
    CHECK_EQ(r.ecx | r.edx, 0);
}

static void print_line(void *ctx, const char *line)
{
    char *text = ctx;
    size_t used = strlen(text);
    snprintf(text + used, TEXT_SIZE - used, "%s\n", line);
}

/* What one machine prints of a model, the next takes as it is. */
static void a_printed_model_is_a_file(void)
{
    static const char *const specs[] = {"host",
                                        "host,-fsrm,gbpages=off",
                                        "host,cbit=40",
                                        "host,vendor=intel",
                                        "host,vendor=amd",
                                        "host,cbit=40,addr-reduction=2,maxphyaddr=43"};
    static char text[TEXT_SIZE];
    for (size_t i = 0; i < DUMPS * sizeof(specs) / sizeof(specs[0]); i++) {
        struct model host, m, again;
        struct text_error error;
        const char *spec = specs[i / DUMPS];
        load_host(&host, dumps[i % DUMPS]);
        CHECK_EQ(apply(spec, NULL, dumps[i % DUMPS], &m), 0);
        CHECK_EQ(model_finish(&m), 0);
        text[0] = '\0';
        text_print(&m, 0, print_line, text);
        CHECK_EQ(text_parse(&again, text, strlen(text), 0, &error), 0);
        CHECK_EQ(spec_apply("f", &again, &host, &guest, message, sizeof(message)), 0);
        if (message[0])
            printf("#   %s of %s: %s\n", spec, dumps[i % DUMPS], message);
        CHECK_EQ(model_finish(&again), 0);
        CHECK(model_equal(&m, &again));
    }
}

static void a_short_message_is_cut(void)
{
    struct model host, m;
    char small[8];
    load_host(&host, "zen3");
    model_copy(&m, &host);
    CHECK_EQ(spec_apply("host,x", &m, &host, &guest, small, sizeof(small)), -EINVAL);
    CHECK_EQ(strlen(small), 7);
    CHECK_EQ(spec_apply("host,x", &m, &host, &guest, NULL, 0), -EINVAL);
}

int main(void)
{
    RUN(the_base_is_found);
    RUN(good_specs_are_taken);
    RUN(bad_specs_are_named);
    RUN(every_smaller_cpu_is_taken);
    RUN(each_feature_goes_or_is_named);
    RUN(what_does_not_agree_is_named);
    RUN(a_file_of_no_cpu_is_named);
    RUN(numbers_reach_the_paging_properties);
    RUN(an_added_feature_is_in_reach);
    RUN(an_added_feature_brings_its_leaves);
    RUN(the_linear_width_follows);
    RUN(wider_addresses_are_cut);
    RUN(unknown_bits_go_one_by_one);
    RUN(no_more_comes_with_a_cbit);
    RUN(a_printed_model_is_a_file);
    RUN(a_short_message_is_cut);
    return unit_end();
}
