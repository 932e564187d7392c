/* SPDX-License-Identifier: BSD-2-Clause */
#include "cpuid/rules.h"
#include "tests/unit/cpuid_data.h"
#include "tests/unit/unit.h"

#include <errno.h>
#include <string.h>

static const struct policy_input everything = {.emulator = false};

static void each_line_names_one_bit_once(void)
{
    for (size_t i = 0; i < policy_feature_count; i++) {
        const struct policy_feature *f = &policy_features[i];
        CHECK(f->bit < 32 && f->reg <= CPUID_EDX && f->reason[0]);
        CHECK(strlen(f->name) > 0 && strlen(f->name) < 32);
        for (const char *c = f->name; *c; c++)
            CHECK((*c >= 'a' && *c <= 'z') || (*c >= '0' && *c <= '9') || *c == '_');
        CHECK(policy_find(f->name, strlen(f->name)) == f);
        for (size_t k = 0; k < i; k++) {
            const struct policy_feature *g = &policy_features[k];
            CHECK(f->leaf != g->leaf || f->subleaf != g->subleaf || f->reg != g->reg ||
                  f->bit != g->bit);
        }
        struct cpuid_regs data = policy_data_mask(f->leaf, f->subleaf);
        CHECK_EQ(*cpuid_register(&data, f->reg) >> f->bit & 1, 0);
    }
    CHECK(policy_find("no_such", 7) == NULL);
    CHECK(policy_find("", 0) == NULL);
}

/* A host with every bit set that any CPU could have. */
static void load_all_ones(struct model *m)
{
    const struct cpuid_regs ones = {.eax = ~0U, .ebx = ~0U, .ecx = ~0U, .edx = ~0U};
    struct cpuid_regs last = {.eax = 0x24, .ebx = 0x756e6547, .ecx = 0x6c65746e, .edx = 0x49656e69};
    model_init(m);
    for (uint32_t leaf = 0; leaf <= 0x26; leaf++) {
        CHECK_EQ(model_set(m, leaf, 0, &ones), 0);
        CHECK_EQ(model_set(m, 0x80000000 + leaf, 0, &ones), 0);
    }
    CHECK_EQ(model_set(m, 7, 1, &ones), 0);
    CHECK_EQ(model_set(m, 7, 2, &ones), 0);
    CHECK_EQ(model_set(m, 0xd, 1, &ones), 0);
    CHECK_EQ(model_set(m, 0x1e, 1, &ones), 0);
    CHECK_EQ(model_set(m, 0x24, 1, &ones), 0);
    for (uint32_t i = 2; i < 20; i++) {
        const struct cpuid_regs state = {.eax = 64, .ebx = 576 + 64 * i};
        CHECK_EQ(model_set(m, 0xd, i, &state), 0);
    }
    const struct cpuid_regs widths = {.eax = 57 << 8 | 52, .ebx = ~0U, .ecx = ~0U, .edx = ~0U};
    CHECK_EQ(model_set(m, 0x80000008, 0, &widths), 0);
    CHECK_EQ(model_set(m, 0, 0, &last), 0);
    last.eax = 0x80000026;
    CHECK_EQ(model_set(m, 0x80000000, 0, &last), 0);
}

static void what_no_line_names_is_hidden(void)
{
    struct model m;
    load_all_ones(&m);
    CHECK_EQ(policy_apply(&m, &everything), 0);
    for (uint32_t i = 0; i < m.count; i++) {
        const struct cpuid_leaf *row = &m.leaves[i];
        struct cpuid_regs known = policy_data_mask(row->leaf, row->subleaf);
        if (row->leaf >> 30 == 1)
            continue;
        for (size_t k = 0; k < policy_feature_count; k++) {
            const struct policy_feature *f = &policy_features[k];
            bool shown = f->disposition == FEATURE_PASSED || f->disposition == FEATURE_EMULATED;
            if (f->leaf == row->leaf && f->subleaf == row->subleaf && shown)
                *cpuid_register(&known, f->reg) |= 1U << f->bit;
        }
        CHECK_EQ(row->regs.eax & ~known.eax, 0);
        CHECK_EQ(row->regs.ebx & ~known.ebx, 0);
        CHECK_EQ(row->regs.ecx & ~known.ecx, 0);
        CHECK_EQ(row->regs.edx & ~known.edx, 0);
    }
    for (size_t k = 0; k < policy_feature_count; k++) {
        const struct policy_feature *f = &policy_features[k];
        bool shown = f->disposition == FEATURE_PASSED || f->disposition == FEATURE_EMULATED;
        CHECK_EQ(policy_has(&m, f), shown);
    }
}

static void machines_hide_what_they_cannot_keep(void)
{
    const struct policy_input limited = {.emulator = true, .no_monitor = true};
    static const char *const gone[] = {"fsrm", "monitor"};
    struct model all, cut;
    load_all_ones(&all);
    model_copy(&cut, &all);
    CHECK_EQ(policy_apply(&all, &everything), 0);
    CHECK_EQ(policy_apply(&cut, &limited), 0);
    for (size_t i = 0; i < 2; i++) {
        const struct policy_feature *f = policy_find(gone[i], strlen(gone[i]));
        CHECK(policy_has(&all, f));
        CHECK(!policy_has(&cut, f));
    }
    CHECK(model_find(&all, 5, 0) != NULL);
    CHECK(model_find(&cut, 5, 0) == NULL);
}

static void latch_shows_itself(void)
{
    for (size_t i = 0; i < DUMPS; i++) {
        struct model m;
        load_host(&m, dumps[i]);
        struct cpuid_regs r = model_get(&m, 0x40000000, 0);
        CHECK_EQ(r.eax, 0x40000001);
        CHECK_EQ(memcmp(&r.ebx, "LatchLatch\0\0", 12), 0);
        CHECK_EQ(model_get(&m, 0x40000001, 0).eax, 2);
        CHECK(model_get(&m, 1, 0).ecx >> 31);
        CHECK_EQ(model_get(&m, 0x80000001, 0).ecx & 1 << 2, 0);
        CHECK_EQ(model_get(&m, 1, 0).ecx & 1 << 5, 0);
        CHECK_EQ(model_get(&m, 6, 0).ecx & 1, 0);
        CHECK_EQ(model_get(&m, 0x15, 0).eax | model_get(&m, 0x16, 0).eax, 0);
        CHECK_EQ(model_get(&m, 0x8000001f, 0).eax, 0);
    }
}

/* Leaves that go when a feature goes, with the features that they hold. */
static bool leaf_goes_with(uint32_t leaf, const struct policy_feature *f)
{
    static const struct {
        const char *name;
        uint32_t leaf;
    } leaves[] = {
        {"monitor", 5},
        {"xsave", 0xd},
        {"amx_tile", 0x1d},
        {"amx_tile", 0x1e},
        {"avx10", 0x24},
        {"topoext", 0x8000001d},
        {"topoext", 0x8000001e},
        {"hypervisor", 0x40000000},
        {"hypervisor", 0x40000001},
    };
    for (size_t i = 0; i < sizeof(leaves) / sizeof(leaves[0]); i++)
        if (leaves[i].leaf == leaf && strcmp(leaves[i].name, f->name) == 0)
            return true;
    return false;
}

/* Other rows than the feature's own, and those that are settled after it, must not change. */
static void check_rows(const struct model *all, const struct model *cut,
                       const struct policy_feature *f)
{
    for (uint32_t i = 0; i < all->count; i++) {
        const struct cpuid_leaf *row = &all->leaves[i];
        struct cpuid_regs was = row->regs;
        struct cpuid_regs now = model_get(cut, row->leaf, row->subleaf);
        if (row->leaf == f->leaf && row->subleaf == f->subleaf)
            *cpuid_register(&was, f->reg) &= ~(1U << f->bit);
        if (row->leaf == 0x80000008)
            was.eax = narrowed(was.eax, cut);
        if (leaf_goes_with(row->leaf, f))
            CHECK(!model_find_const(cut, row->leaf, row->subleaf));
        else if (row->leaf != 0xd && row->leaf != 0x80000001)
            CHECK_EQ(memcmp(&was, &now, sizeof(was)), 0);
    }
    for (size_t k = 0; k < policy_feature_count; k++) {
        const struct policy_feature *g = &policy_features[k];
        CHECK_EQ(policy_has(cut, g), policy_has(all, g) && g != f && !leaf_goes_with(g->leaf, f));
    }
}

/* What only this line brings goes with it, and nothing else does. */
static void check_rules(const struct model *all, const struct model *cut,
                        const struct policy_feature *f)
{
    struct model a, c;
    struct cpu_rules before, after;
    uint64_t cr4 = CPU_CR4_PCE, efer = 0, instructions = 0;
    uint64_t msrs = 1U << (model_is_amd(cut) ? MSR_GROUP_AMD : MSR_GROUP_INTEL);
    model_copy(&a, all);
    model_copy(&c, cut);
    CHECK_EQ(model_finish(&a), 0);
    CHECK_EQ(model_finish(&c), 0);
    rules_derive(&before, &a);
    rules_derive(&after, &c);
    for (size_t k = 0; k < policy_feature_count; k++) {
        const struct policy_feature *g = &policy_features[k];
        if (!policy_has(cut, g) || g->disposition != FEATURE_PASSED)
            continue;
        cr4 |= g->cr4;
        efer |= g->efer;
        msrs |= g->msrs;
        instructions |= g->instructions;
    }
    if (strcmp(f->name, "arch_capabilities") == 0)
        msrs &= ~(1ULL << MSR_GROUP_TSX_CTRL);
    CHECK_EQ(after.cr4_allowed, cr4);
    CHECK_EQ(after.efer_allowed, efer);
    CHECK_EQ(after.msr_groups, msrs);
    CHECK_EQ(after.instructions, instructions);
    CHECK_EQ(after.cr0_allowed, before.cr0_allowed);
    uint64_t gone = before.xcr0_allowed & ~after.xcr0_allowed;
    CHECK_EQ(gone,
             strcmp(f->name, "xsave") == 0 ? before.xcr0_allowed : before.xcr0_allowed & f->xcr0);
}

static void each_feature_hides_alone(void)
{
    struct model all;
    load_all_ones(&all);
    CHECK_EQ(policy_apply(&all, &everything), 0);
    for (size_t i = 0; i < policy_feature_count; i++) {
        const struct policy_feature *f = &policy_features[i];
        struct model cut;
        if (!policy_has(&all, f))
            continue;
        model_copy(&cut, &all);
        CHECK_EQ(policy_set(&cut, f, false), 0);
        CHECK_EQ(policy_settle(&cut, NULL), 0);
        check_rows(&all, &cut, f);
        check_rules(&all, &cut, f);
    }
}

/* As Bochs describes protection keys: listed in 0DH.0:EAX, without a size in 0DH.9. */
static void a_state_without_size_hides_its_feature(void)
{
    struct model whole, broken;
    const struct policy_feature *pku = policy_find("pku", 3);
    load_model(&whole, "skylake-server", 0);
    model_copy(&broken, &whole);
    model_remove(&broken, 0xd, 9);
    CHECK_EQ(policy_apply(&whole, &everything), 0);
    CHECK_EQ(policy_apply(&broken, &everything), 0);
    CHECK(policy_has(&whole, pku) && !policy_has(&broken, pku));
    CHECK_EQ(model_get(&whole, 0xd, 0).eax & ~model_get(&broken, 0xd, 0).eax, 1U << 9);
    CHECK_EQ(model_get(&broken, 0xd, 0).eax & 0xe7, 0xe7);
}

/* Control bits that the manuals tie to one feature: SDM vol. 3 §2.5, APM vol. 2 §3.1.7. */
static void control_bits_have_their_features(void)
{
    static const struct {
        const char *name;
        uint32_t cr4, efer;
    } bits[] = {
        {"umip", 1U << 11, 0},     {"la57", 1U << 12, 0},        {"fsgsbase", 1U << 16, 0},
        {"pcid", 1U << 17, 0},     {"xsave", 1U << 18, 0},       {"smep", 1U << 20, 0},
        {"smap", 1U << 21, 0},     {"pku", 1U << 22, 0},         {"pks", 1U << 24, 0},
        {"vmx", 1U << 13, 0},      {"smx", 1U << 14, 0},         {"pge", 1U << 7, 0},
        {"syscall", 0, 1U << 0},   {"lm", 0, 1U << 8 | 1 << 10}, {"nx", 0, 1U << 11},
        {"svm", 0, 1U << 12},      {"fxsr_opt", 0, 1U << 14},    {"tce", 0, 1U << 15},
        {"mcommit", 0, 1U << 17},  {"int_wbinvd", 0, 1U << 18},  {"uai", 0, 1U << 20},
        {"autoibrs", 0, 1U << 21},
    };
    for (size_t i = 0; i < sizeof(bits) / sizeof(bits[0]); i++) {
        const struct policy_feature *f = policy_find(bits[i].name, strlen(bits[i].name));
        CHECK_EQ(f->cr4, bits[i].cr4);
        CHECK_EQ(f->efer, bits[i].efer);
    }
}

static bool lmsle_allowed(const char *dump, const char *hidden)
{
    struct model m;
    struct cpu_rules r;
    load_model(&m, dump, 0);
    CHECK_EQ(policy_apply(&m, &everything), 0);
    CHECK_EQ(policy_set(&m, policy_find(hidden, strlen(hidden)), false), 0);
    CHECK_EQ(policy_settle(&m, NULL), 0);
    CHECK_EQ(model_finish(&m), 0);
    rules_derive(&r, &m);
    return r.efer_allowed & CPU_EFER_LMSLE;
}

/* EFER.LMSLE came with AMD's long mode, before the bit that says that it is gone (APM vol. 2
 * §4.12.2). Intel never had it. */
static void segment_limits_are_allowed_until_they_are_gone(void)
{
    CHECK(!lmsle_allowed("zen3", "avx2"));
    CHECK(lmsle_allowed("zen3", "efer_lmsle_unsupported"));
    CHECK(lmsle_allowed("epyc-kvm", "avx2"));
    CHECK(!lmsle_allowed("epyc-kvm", "lm"));
    CHECK(!lmsle_allowed("skylake-server", "avx2"));
}

static void some_bits_are_never_allowed(void)
{
    struct model m;
    struct cpu_rules r;
    load_all_ones(&m);
    CHECK_EQ(policy_apply(&m, &everything), 0);
    CHECK_EQ(policy_set(&m, policy_find("vmx", 3), true), 0);
    CHECK_EQ(policy_set(&m, policy_find("svm", 3), true), 0);
    CHECK_EQ(model_finish(&m), 0);
    rules_derive(&r, &m);
    CHECK_EQ(r.cr4_allowed & (CPU_CR4_VMXE | CPU_CR4_SMXE), 0);
    CHECK_EQ(r.efer_allowed & CPU_EFER_SVME, 0);
    CHECK(r.cr4_allowed & CPU_CR4_LA57);
}

static void xcr0_obeys_its_rules(void)
{
    struct cpu_rules r = {.xcr0_allowed = 0x602e7};
    for (uint64_t xcr0 = 0; xcr0 < 1 << 20; xcr0++) {
        bool avx512 = (xcr0 & 0xe0) == 0 || (xcr0 & 0xe4) == 0xe4;
        bool amx = (xcr0 & 0x60000) == 0 || (xcr0 & 0x60000) == 0x60000;
        bool avx = !(xcr0 & 4) || xcr0 & 2;
        bool wanted = xcr0 & 1 && !(xcr0 & ~0x602e7ULL) && avx && avx512 && amx;
        CHECK_EQ(rules_xcr0_valid(&r, xcr0), wanted);
    }
    CHECK(!rules_xcr0_valid(&r, 1ULL << 63 | 1));
}

static int count_notes;

static void note(void *ctx, const char *line)
{
    (void)ctx;
    CHECK(strlen(line) > 10);
    count_notes++;
}

static void a_file_fits_after_a_trim(void)
{
    for (size_t host = 0; host < DUMPS; host++)
        for (size_t file = 0; file < DUMPS; file++) {
            struct model allowed, m;
            load_host(&allowed, dumps[host]);
            load_model(&m, dumps[file], 1);
            CHECK_EQ(policy_own(&m), 0);
            count_notes = 0;
            int found = policy_fit(&m, &allowed, true, note, NULL, NULL);
            CHECK(found > 0);
            CHECK_EQ(found, count_notes);
            CHECK_EQ(policy_fit(&m, &allowed, false, note, NULL, NULL), 0);
            for (size_t k = 0; k < policy_feature_count; k++)
                CHECK(!policy_has(&m, &policy_features[k]) ||
                      policy_has(&allowed, &policy_features[k]));
            CHECK_EQ(model_finish(&m), 0);
            CHECK_EQ(model_finish(&allowed), 0);
            CHECK_EQ(m.apic_id, allowed.apic_id);
            if (file == host)
                CHECK(model_equal(&m, &allowed));
        }
}

int main(void)
{
    RUN(each_line_names_one_bit_once);
    RUN(what_no_line_names_is_hidden);
    RUN(machines_hide_what_they_cannot_keep);
    RUN(latch_shows_itself);
    RUN(each_feature_hides_alone);
    RUN(a_state_without_size_hides_its_feature);
    RUN(control_bits_have_their_features);
    RUN(segment_limits_are_allowed_until_they_are_gone);
    RUN(some_bits_are_never_allowed);
    RUN(xcr0_obeys_its_rules);
    RUN(a_file_fits_after_a_trim);
    return unit_end();
}
