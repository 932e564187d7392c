/* SPDX-License-Identifier: BSD-2-Clause */
#include "cpuid/msr_view.h"
#include "tests/unit/cpuid_data.h"
#include "tests/unit/unit.h"

#include <string.h>

#define ALL (~0ULL)

static struct model m;
static struct cpu_rules rules;

/* A finished model: the dump as a host, then features on (+) or off (-) by name. */
static void load(const char *dump, const char *changes)
{
    char list[256], *rest = list;
    load_host(&m, dump);
    snprintf(list, sizeof(list), "%s", changes);
    for (char *word; (word = strtok_r(rest, " ", &rest)) != NULL;) {
        const struct policy_feature *f = policy_find(word + 1, strlen(word + 1));
        CHECK(f != NULL);
        if (f)
            CHECK_EQ(policy_set(&m, f, word[0] == '+'), 0);
    }
    CHECK_EQ(policy_settle(&m, NULL), 0);
    CHECK_EQ(model_finish(&m), 0);
    rules_derive(&rules, &m);
}

struct expected {
    const char *dump, *changes;
    uint32_t msr;
    uint64_t host;
    struct msr_view view;
};

static void check_views(const struct expected *cases, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        const struct expected *e = &cases[i];
        load(e->dump, e->changes);
        struct msr_view v = msr_view(&m, &rules, e->msr, e->host);
        unsigned long failures = unit_failures;
        CHECK_EQ(v.access, e->view.access);
        if (e->view.access == MSR_ABSENT)
            continue;
        CHECK_EQ(v.value, e->view.value);
        CHECK_EQ(v.writable, e->view.writable);
        CHECK_EQ(v.ignored, e->view.ignored);
        if (unit_failures != failures)
            printf("#   MSR 0x%x of %s %s\n", e->msr, e->dump, e->changes);
    }
}

/* What Linux reads as soon as it sees the leaf; SYSCFG turns the C-bit on. */
static void memory_encryption_comes_with_its_leaf(void)
{
    static const struct expected cases[] = {
        {"zen3", "", 0xc0010131, ALL, {.access = MSR_ABSENT}},
        {"zen3", "+sme", 0xc0010131, ALL, {.access = MSR_READ_ONLY, .value = 0}},
        {"zen3", "", 0xc0010010, ALL, {.access = MSR_ABSENT}},
        {"zen3", "+sme", 0xc0010010, ALL, {MSR_READ_WRITE, 0, 0, ALL}},
        {"skylake-server", "", 0xc0010131, ALL, {.access = MSR_ABSENT}},
    };
    uint64_t hardware;
    check_views(cases, sizeof(cases) / sizeof(cases[0]));
    load("zen3", "+sme");
    const struct msr_view status = msr_view(&m, &rules, 0xc0010131, 0);
    CHECK(!msr_view_write(&status, 0, 0, &hardware));
    m.paging.cbit = 47;
    CHECK_EQ(msr_view(&m, &rules, 0xc0010010, 0).value, 1UL << 23);
}

/* Bits whose MSRs are denied do not show, and neither does what the model's features rule out. */
static void capabilities_are_facts(void)
{
    static const struct expected cases[] = {
        {"skylake-server", "-arch_capabilities", 0x10a, ALL, {.access = MSR_ABSENT}},
        {"skylake-server",
         "+arch_capabilities +spec_ctrl -hle -rtm",
         0x10a,
         ALL,
         {.access = MSR_READ_ONLY, .value = 0x400000001d1ae17f}},
        {"skylake-server",
         "+arch_capabilities +spec_ctrl +rtm",
         0x10a,
         ALL,
         {.access = MSR_READ_ONLY, .value = 0x400000001d1ae1ff}},
        {"skylake-server",
         "+arch_capabilities -spec_ctrl -hle -rtm",
         0x10a,
         0x2b,
         {.access = MSR_READ_ONLY, .value = 0x29}},
        {"skylake-server", "", 0xcf, ALL, {.access = MSR_ABSENT}},
        {"skylake-server", "", 0x3a, ALL, {.access = MSR_ABSENT}},
        {"zen3", "", 0x3a, ALL, {.access = MSR_ABSENT}},
        {"skylake-server", "+sgx", 0x3a, 5, {.access = MSR_READ_ONLY, .value = 0x40001}},
        {"zen3", "", 0xfe, 0x1d0a, {.access = MSR_READ_ONLY, .value = 0x50a}},
        {"zen3", "-mtrr", 0xfe, 0x508, {.access = MSR_ABSENT}},
        {"skylake-server", "", 0x179, 0x0f000c14, {.access = MSR_READ_ONLY, .value = 0x01000814}},
        {"skylake-server", "-mca", 0x179, 0x0f000c14, {.access = MSR_ABSENT}},
    };
    check_views(cases, sizeof(cases) / sizeof(cases[0]));
}

static void speculation_controls_follow_their_features(void)
{
    static const struct expected cases[] = {
        {"skylake-server",
         "+spec_ctrl -intel_stibp -spec_ctrl_ssbd",
         0x48,
         ALL,
         {.access = MSR_READ_WRITE, .value = 1, .writable = 1, .ignored = 2}},
        {"skylake-server",
         "+spec_ctrl +intel_stibp +spec_ctrl_ssbd",
         0x48,
         5,
         {.access = MSR_READ_WRITE, .value = 5, .writable = 7}},
        {"skylake-server",
         "-spec_ctrl -intel_stibp -spec_ctrl_ssbd +ipred_ctrl",
         0x48,
         0,
         {.access = MSR_READ_WRITE, .writable = 0x18}},
        {"skylake-server",
         "+intel_psfd +ipred_ctrl +rrsba_ctrl +ddpd_u +bhi_ctrl +spec_ctrl +intel_stibp "
         "+spec_ctrl_ssbd",
         0x48,
         0,
         {.access = MSR_READ_WRITE, .writable = 0x5ff}},
        {"skylake-server", "-spec_ctrl -intel_stibp -spec_ctrl_ssbd", 0x48, 0, {.access = 0}},
        {"zen3", "+ibrs +stibp +ssbd +psfd", 0x48, 0, {.access = MSR_READ_WRITE, .writable = 0x87}},
        {"zen3", "+ibpb -sbpb", 0x49, 0, {.access = MSR_WRITE_ONLY, .writable = 1}},
        {"zen3", "+ibpb +sbpb", 0x49, 0, {.access = MSR_WRITE_ONLY, .writable = 0x81}},
        {"zen3", "-ibpb -sbpb", 0x49, 0, {.access = MSR_ABSENT}},
        {"skylake-server", "+flush_l1d", 0x10b, 0, {.access = MSR_WRITE_ONLY, .writable = 1}},
        {"skylake-server", "-flush_l1d", 0x10b, 0, {.access = MSR_ABSENT}},
        {"skylake-server",
         "+rtm +arch_capabilities",
         0x122,
         2,
         {.access = MSR_READ_WRITE, .value = 2, .writable = 3}},
        {"skylake-server", "+rtm -arch_capabilities", 0x122, 2, {.access = MSR_ABSENT}},
        {"zen3", "", 0xc001011f, 4, {.access = MSR_ABSENT}},
    };
    check_views(cases, sizeof(cases) / sizeof(cases[0]));
}

static void misc_enable_shows_what_the_model_has(void)
{
    static const struct expected cases[] = {
        {"zen3", "", 0x1a0, ALL, {.access = MSR_ABSENT}},
        {"skylake-server",
         "+monitor",
         0x1a0,
         ALL,
         {.access = MSR_READ_WRITE, .value = 0x41801, .writable = 0x40001, .ignored = 0x1880}},
        {"skylake-server",
         "-monitor",
         0x1a0,
         ALL,
         {.access = MSR_READ_WRITE, .value = 0x1801, .writable = 1, .ignored = 0x1880}},
        {"skylake-server", "", 0x1234, ALL, {.access = MSR_ABSENT}},
    };
    check_views(cases, sizeof(cases) / sizeof(cases[0]));
}

/* Each bit alone: changed, dropped or #GP(0), and no other bit of the hardware's moves. */
static void a_write_changes_what_it_may(void)
{
    static const struct msr_view views[] = {
        {.access = MSR_READ_WRITE, .value = 0x41801, .writable = 0x40001, .ignored = 0x1880},
        {.access = MSR_READ_WRITE, .value = 1, .writable = 1, .ignored = 2},
        {.access = MSR_WRITE_ONLY, .writable = 0x81},
    };
    const uint64_t host = 0x850089;
    uint64_t hardware;
    for (size_t i = 0; i < sizeof(views) / sizeof(views[0]); i++)
        for (unsigned int bit = 0; bit < 64; bit++) {
            const struct msr_view *v = &views[i];
            uint64_t change = 1ULL << bit, value = v->value ^ change;
            bool allowed = (v->writable | v->ignored) & change;
            CHECK_EQ(msr_view_write(v, host, value, &hardware), allowed);
            if (!allowed)
                continue;
            CHECK_EQ(hardware & ~v->writable, host & ~v->writable);
            CHECK_EQ(hardware & v->writable, value & v->writable);
        }
    static const struct msr_view closed[] = {{.access = MSR_ABSENT}, {.access = MSR_READ_ONLY}};
    for (size_t i = 0; i < 2; i++)
        CHECK(!msr_view_write(&closed[i], 0, 0, &hardware));
}

int main(void)
{
    RUN(memory_encryption_comes_with_its_leaf);
    RUN(capabilities_are_facts);
    RUN(speculation_controls_follow_their_features);
    RUN(misc_enable_shows_what_the_model_has);
    RUN(a_write_changes_what_it_may);
    return unit_end();
}
