/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The closed list of cpuid/dynamic.h: each cause is toggled on each vCPU, and of all that CPUID
 * answers there the bits that follow from it change, and nothing else; on another vCPU nothing
 * changes. A table taken in between is identical to the sealed one. In the end all that can be toggled
 * is so at once, SGX turned off with it.
 *
 * The words: `one-way-apic`, an APIC that was turned off stays dead; `apic-once`, the same, but it may;
 * `tsx-ctrl`, IA32_TSX_CTRL is there though no MSR says so, and keeps nothing (tests/fake/sgx.c);
 * `cet-states`, IA32_XSS takes them though no feature of the model does (tests/fake/states.c).
 */
#include "cpuid/dynamic.h"
#include "cpuid/capture.h"
#include "tests/guest/lib/payload.h"
#include "tests/guest/model/sealed.h"

#include <stdatomic.h>
#include <stdio.h>
#include <string.h>

#define LEAF1_ECX_MONITOR   (1U << 3)
#define LEAF1_ECX_OSXSAVE   (1U << 27)
#define LEAF1_EDX_APIC      (1U << 9)
#define LEAF7_EBX_TSX       (1U << 4 | 1U << 11)
#define LEAF7_ECX_OSPKE     (1U << 4)
#define LEAF7_EBX_SGX       (1U << 2)
#define XSAVE1_EAX_COMPACT  (1U << 1 | 1U << 3)
#define CET_STATES          (1UL << 11 | 1UL << 12)
#define MSR_MISC_ENABLE     0x1a0U
#define MSR_MC0_CTL         0x400U
#define MISC_ENABLE_MONITOR (1UL << 18)
#define TSX_CTRL_CLEAR      (1UL << 1)
#define APIC_BASE_ON        (1UL << 11)

/* What an answer is to be XORed with while the cause is toggled. */
struct change {
    uint32_t leaf, subleaf;
    struct cpuid_regs flip;
};

struct cause {
    const char *name;
    void (*toggle)(void); /* and, called again, back */
    bool (*possible)(void);
    struct change change[2];
};

static struct cpu_rules rules;
static const struct cause *cause;
static const struct cause all;
static unsigned int toggler_index;
static bool observed;
static atomic_uint stage;
static struct model before, during, after, other_before, other_during;
static int64_t set_during, set_other_model;

static void capture_one(void *ctx, uint32_t leaf, uint32_t subleaf, struct cpuid_regs *regs)
{
    (void)ctx;
    *regs = cpuid_here(leaf, subleaf);
}

static void capture(struct model *m)
{
    if (model_capture(m, capture_one, NULL) != 0)
        broken("CPUID has more answers than a model holds");
}

/* ---- The causes ---- */

static bool may_osxsave(void)
{
    return rules.cr4_allowed & CR4_OSXSAVE;
}

static void toggle_osxsave(void)
{
    write_cr4(read_cr4() ^ CR4_OSXSAVE);
}

static bool may_pke(void)
{
    return rules.cr4_allowed & CR4_PKE;
}

static void toggle_pke(void)
{
    write_cr4(read_cr4() ^ CR4_PKE);
}

/* An APIC that was off may stay so until RESET (SDM vol. 3 §11.4.3), as Bochs' does. */
static bool may_apic(void)
{
    return !boot_word("one-way-apic", NULL) && (cause != &all || !boot_word("apic-once", NULL));
}

/* One that comes on again is as after RESET. On QEMU its MSR goes on saying that it is off. */
static void toggle_apic(void)
{
    static uint32_t svr[PROCESSORS_MAX];
    static bool off[PROCESSORS_MAX];
    unsigned int here = this_processor()->index;
    off[here] = !off[here];
    if (off[here])
        svr[here] = apic_read(APIC_SVR);
    wrmsr(MSR_APIC_BASE, (rdmsr(MSR_APIC_BASE) & ~APIC_BASE_ON) | (off[here] ? 0 : APIC_BASE_ON));
    if (!off[here])
        apic_write(APIC_SVR, svr[here]);
}

static bool may_monitor(void)
{
    return (cpuid_here(1, 0).ecx & LEAF1_ECX_MONITOR) && !vendor_is_amd();
}

static void toggle_monitor(void)
{
    wrmsr(MSR_MISC_ENABLE, rdmsr(MSR_MISC_ENABLE) ^ MISC_ENABLE_MONITOR);
}

static bool may_avx(void)
{
    return may_osxsave() && rules_xcr0_valid(&rules, 7);
}

static void toggle_avx(void)
{
    write_cr4(read_cr4() | CR4_OSXSAVE);
    write_xcr0(read_xcr0() ^ 6);
    write_cr4(read_cr4() & ~CR4_OSXSAVE);
}

static bool may_xss(void)
{
    return rules.xss_allowed != 0;
}

static void toggle_xss(void)
{
    wrmsr(MSR_XSS, rdmsr(MSR_XSS) ^ (rules.xss_allowed & -rules.xss_allowed));
}

static bool may_tsx_ctrl(void)
{
    return (rules.msr_groups >> MSR_GROUP_TSX_CTRL & 1) || boot_word("tsx-ctrl", NULL);
}

static void toggle_tsx_ctrl(void)
{
    static bool set[PROCESSORS_MAX];
    bool *here = &set[this_processor()->index];
    *here = !*here;
    wrmsr(MSR_TSX_CTRL, (rdmsr(MSR_TSX_CTRL) & ~TSX_CTRL_CLEAR) | (*here ? TSX_CTRL_CLEAR : 0));
}

/* As they may be toggled one after the other, and in the other order back: AVX needs CR4.OSXSAVE and
 * leaves it off. */
enum { XCR0, XSS, OSXSAVE, OSPKE, MONITOR, TSX_CTRL, APIC, CAUSES };

static struct cause causes[CAUSES] = {
    [OSXSAVE] = {.name = "osxsave",
                 .toggle = toggle_osxsave,
                 .possible = may_osxsave,
                 .change = {{.leaf = 1, .flip = {.ecx = LEAF1_ECX_OSXSAVE}}}},
    [OSPKE] = {.name = "ospke",
               .toggle = toggle_pke,
               .possible = may_pke,
               .change = {{.leaf = 7, .flip = {.ecx = LEAF7_ECX_OSPKE}}}},
    [APIC] = {.name = "apic",
              .toggle = toggle_apic,
              .possible = may_apic,
              .change = {{.leaf = 1, .flip = {.edx = LEAF1_EDX_APIC}}}},
    [MONITOR] = {.name = "monitor",
                 .toggle = toggle_monitor,
                 .possible = may_monitor,
                 .change = {{.leaf = 1, .flip = {.ecx = LEAF1_ECX_MONITOR}}}},
    [XCR0] = {.name = "xcr0", .toggle = toggle_avx, .possible = may_avx},
    [XSS] = {.name = "xss", .toggle = toggle_xss, .possible = may_xss},
    [TSX_CTRL] = {.name = "tsx-ctrl", .toggle = toggle_tsx_ctrl, .possible = may_tsx_ctrl},
};

/* What depends on the machine. 576 bytes are FXSAVE's area and the header (SDM vol. 1 §13.4). */
static void complete_causes(void)
{
    struct cpuid_regs avx = cpuid_here(0xd, 2), compact = cpuid_here(0xd, 1);
    if (cpuid_here(0x80000001U, 0).edx & LEAF1_EDX_APIC)
        causes[APIC].change[1] =
            (struct change){.leaf = 0x80000001U, .flip = {.edx = LEAF1_EDX_APIC}};
    causes[XCR0].change[0] =
        (struct change){.leaf = 0xd, .flip = {.ebx = 576U ^ (avx.eax + avx.ebx)}};
    if (compact.eax & XSAVE1_EAX_COMPACT)
        causes[XCR0].change[1] =
            (struct change){.leaf = 0xd, .subleaf = 1, .flip = {.ebx = 576U ^ (576U + avx.eax)}};
    if (rules.xss_allowed != 0) {
        unsigned int first = (unsigned int)__builtin_ctzl(rules.xss_allowed);
        causes[XSS].change[0] = (struct change){
            .leaf = 0xd, .subleaf = 1, .flip = {.ebx = 576U ^ (576U + cpuid_here(0xd, first).eax)}};
    }
    causes[TSX_CTRL].change[0] =
        (struct change){.leaf = 7, .flip = {.ebx = cpuid_here(7, 0).ebx & LEAF7_EBX_TSX}};
}

static bool in_all[CAUSES]; /* asked before: a toggled MONITOR looks as if it were not there */

static void toggle_all(void)
{
    static bool toggled[PROCESSORS_MAX];
    bool *back = &toggled[this_processor()->index];
    for (unsigned int i = 0; i < CAUSES; i++) {
        unsigned int next = *back ? CAUSES - 1 - i : i;
        if (in_all[next])
            causes[next].toggle();
    }
    *back = !*back;
}

static const struct cause all = {.name = "all", .toggle = toggle_all};

/* ---- The comparison ---- */

static void add_flip(struct cpuid_regs *sum, const struct cpuid_regs *flip)
{
    sum->eax ^= flip->eax;
    sum->ebx ^= flip->ebx;
    sum->ecx ^= flip->ecx;
    sum->edx ^= flip->edx;
}

static struct cpuid_regs expected_flip(const struct cause *c, uint32_t leaf, uint32_t subleaf)
{
    struct cpuid_regs sum = {.eax = 0};
    for (unsigned int i = 0; c == &all && i < CAUSES; i++) {
        struct cpuid_regs flip = {.eax = 0};
        if (in_all[i])
            flip = expected_flip(&causes[i], leaf, subleaf);
        add_flip(&sum, &flip);
    }
    if (c == &all)
        return sum;
    for (unsigned int i = 0; c != NULL && i < 2; i++)
        if (c->change[i].leaf == leaf && c->change[i].subleaf == subleaf && leaf != 0)
            return c->change[i].flip;
    return (struct cpuid_regs){.eax = 0};
}

static bool row_as_expected(const struct model *a, const struct model *b, const struct cause *c,
                            const struct cpuid_leaf *row)
{
    struct cpuid_regs x = model_get(a, row->leaf, row->subleaf);
    struct cpuid_regs y = model_get(b, row->leaf, row->subleaf);
    struct cpuid_regs flip = expected_flip(c, row->leaf, row->subleaf);
    return (x.eax ^ y.eax) == flip.eax && (x.ebx ^ y.ebx) == flip.ebx &&
           (x.ecx ^ y.ecx) == flip.ecx && (x.edx ^ y.edx) == flip.edx;
}

/* `a` and `b` differ by what `c` (NULL: nothing) changes, and by nothing else. */
static void check_change(const char *what, const struct model *a, const struct model *b,
                         const struct cause *c)
{
    const struct cpuid_leaf *wrong = NULL;
    char name[64];
    for (uint32_t i = 0; i < a->count && wrong == NULL; i++)
        wrong = row_as_expected(a, b, c, &a->leaves[i]) ? NULL : &a->leaves[i];
    for (uint32_t i = 0; i < b->count && wrong == NULL; i++)
        wrong = row_as_expected(a, b, c, &b->leaves[i]) ? NULL : &b->leaves[i];
    snprintf(name, sizeof(name), "dynamic.%s.vcpu%u.%s", cause->name, toggler_index, what);
    check(wrong == NULL, name, "leaf 0x%x subleaf 0x%x", wrong == NULL ? 0 : wrong->leaf,
          wrong == NULL ? 0 : wrong->subleaf);
}

/* ---- The two vCPUs: each waits for the other's stage ---- */

enum { BEGIN, OTHER_READY, TOGGLED, OTHER_DONE };

static void await(unsigned int wanted)
{
    while (observed && atomic_load(&stage) != wanted)
        __asm__ volatile("pause");
}

static int64_t set_model(const struct model *m, uint32_t flip)
{
    static struct hypercall_leaf row[MODEL_MAX_LEAVES];
    for (uint32_t i = 0; i < m->count; i++) {
        const struct cpuid_leaf *leaf = &m->leaves[i];
        row[i] = (struct hypercall_leaf){.leaf = leaf->leaf,
                                         .subleaf = leaf->subleaf,
                                         .eax = leaf->regs.eax ^ (leaf->leaf == 1 ? flip : 0),
                                         .ebx = leaf->regs.ebx,
                                         .ecx = leaf->regs.ecx,
                                         .edx = leaf->regs.edx};
    }
    return latch_hypercall(HYPERCALL_MODEL_SET, toggler_index, (uint64_t)row, m->count, 0);
}

/* It stays so until the next reset. */
static void turn_sgx_off(void)
{
    if (cpuid_here(7, 0).ebx & LEAF7_EBX_SGX)
        wrmsr(MSR_MC0_CTL, 0);
}

static void toggler(void *unused)
{
    (void)unused;
    await(OTHER_READY);
    if (cause == &all)
        turn_sgx_off();
    capture(&before);
    cause->toggle();
    capture(&during);
    set_during = set_model(&during, 0);
    set_other_model = set_model(&during, 1);
    atomic_store(&stage, TOGGLED);
    await(OTHER_DONE);
    cause->toggle();
    capture(&after);
}

static void observer(void *unused)
{
    (void)unused;
    capture(&other_before);
    atomic_store(&stage, OTHER_READY);
    await(TOGGLED);
    capture(&other_during);
    atomic_store(&stage, OTHER_DONE);
}

static void run_cause(void)
{
    char name[64];
    job_fn *own = toggler_index == 0 ? toggler : observer;
    unsigned int other = toggler_index == 0 ? 1 : toggler_index;
    atomic_store(&stage, BEGIN);
    if (observed)
        start_on(other, toggler_index == 0 ? observer : toggler, NULL);
    own(NULL);
    if (observed && !wait_on(other))
        broken("vCPU %u did not come back", other);
    check_change("follows", &before, &during, cause);
    check_change("comes-back", &before, &after, NULL);
    if (observed)
        check_change("not-on-another", &other_before, &other_during, NULL);
    snprintf(name, sizeof(name), "dynamic.%s.vcpu%u.identical", cause->name, toggler_index);
    check_equal(name, 0, (uint64_t)set_during);
    snprintf(name, sizeof(name), "dynamic.%s.vcpu%u.not-another", cause->name, toggler_index);
    check(set_other_model < 0, name, "another stepping was accepted");
}

int main(void)
{
    if (!under_latch()) {
        check_skip("dynamic", "no Latch, so no sealed model");
        return 0;
    }
    (void)sealed_model(0, &rules);
    if (boot_word("cet-states", NULL))
        rules.xss_allowed = CET_STATES;
    unsigned int vcpus = processor_start_all();
    observed = vcpus > 1;
    complete_causes();
    for (unsigned int i = 0; i < CAUSES; i++) {
        char name[32];
        cause = &causes[i];
        snprintf(name, sizeof(name), "dynamic.%s", cause->name);
        if (!cause->possible()) {
            check_absent(name, "the model does not have it");
            continue;
        }
        for (toggler_index = 0; toggler_index < vcpus; toggler_index++)
            run_cause();
    }
    cause = &all;
    for (unsigned int i = 0; i < CAUSES; i++)
        in_all[i] = causes[i].possible();
    for (toggler_index = 0; toggler_index < vcpus; toggler_index++)
        run_cause();
    return 0;
}
