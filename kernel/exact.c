/* SPDX-License-Identifier: BSD-2-Clause */
#include "kernel/exact.h"
#include "kernel/backend.h"
#include "kernel/console.h"
#include "kernel/cpu_set.h"
#include "kernel/end.h"
#include "kernel/machine.h"
#include "kernel/memory.h"
#include "kernel/vm.h"
#include "mmu/mmu.h"
#include <stdio.h>
#include <string.h>

#define NAMES_TEXT 160U

/*
 * What CPUs of the two vendors do differently however their CPUID reads, and nothing that can be
 * intercepted changes: SDM vol. 2 and APM vol. 3, at each instruction.
 */
static const char *const vendor_differences[] = {
    "SYSCALL and SYSRET outside 64-bit mode: AMD has them, Intel #UD",
    "SYSENTER and SYSEXIT in long mode: Intel has them, AMD #UD",
    "SYSRET to an address that is not canonical: #GP at CPL 0 on Intel, at CPL 3 on AMD",
    "near branches with prefix 66H in 64-bit mode: Intel ignores it, AMD takes 16 bits of RIP",
    "a null selector in FS or GS: Intel clears the base, AMD keeps it",
    "VMCALL and VMMCALL: Intel has the one, AMD the other, each #UD elsewhere",
    "MSRs that all of the one vendor's CPUs have (HWCR, IA32_PLATFORM_ID): #GP on the other's",
    "EFER.LMSLE: AMD's CPUs have it if CPUID does not say that it is gone, Intel's never",
    "FXSAVE and XSAVE without an x87 exception pending: Intel saves its address, AMD does not",
};
#define VENDOR_DIFFERENCES (sizeof(vendor_differences) / sizeof(vendor_differences[0]))

static struct paging_question question_of(const struct vcpu *v)
{
    static const enum paging_wanted wanted[] = {
        [PAGING_AUTO] = WANTED_AUTO,
        [PAGING_DIRECT] = WANTED_DIRECT,
        [PAGING_SHADOW] = WANTED_SHADOW,
    };
    struct backend_caps caps = {.format = NULL};
    backend_caps(&caps);
    return (struct paging_question){
        .model = &v->props,
        .host = &v->host,
        .cr4 = v->rules.cr4_allowed,
        .efer = v->rules.efer_allowed,
        .narrow = caps.narrow,
        .marks = machine_marks_before_violations(),
        .checks_cr3 = caps.checks_cr3,
        .lam = v->host_lam,
        .wanted = wanted[v->vm->config->paging],
    };
}

static bool same_unenforced(const struct unenforced *a, const struct unenforced *b)
{
    return a->instructions == b->instructions && a->late == b->late && a->xcr0 == b->xcr0 &&
           memcmp(&a->features, &b->features, sizeof(a->features)) == 0;
}

/* Unlike CPUs can make like models differ in what they ask for. */
static bool alike(const struct vcpu *a, const struct vcpu *b)
{
    return a->model == b->model && paging_props_equal(&a->host, &b->host) &&
           a->host_lam == b->host_lam && a->foreign == b->foreign &&
           same_unenforced(&a->unenforced, &b->unenforced);
}

/* All vCPUs that are like it; none if one before it is, and has spoken for it. */
static uint64_t alike_from(const struct vcpu *v)
{
    uint64_t set = 0;
    _Static_assert(CPUS_MAX <= 64, "a bit for each");
    for (unsigned int i = 0; i < vm.vcpu_count; i++) {
        if (!alike(vm.vcpu[i], v))
            continue;
        if (i < v->index)
            return 0;
        set |= 1UL << i;
    }
    return set;
}

static const char *why_shadow(const struct vcpu *v)
{
    return v->vm->config->paging == PAGING_SHADOW ? "as configured" : "the hardware cannot enforce";
}

static void say_paging_line(const struct vcpu *v, const char *vcpus, const char *format,
                            const char *unlike)
{
    const bool exact = v->choice.not_enforced == 0;
    const char *colon = unlike[0] == '\0' ? "" : ": ";
    switch (v->paging) {
    case PAGED_SHADOW:
        console_line("paging: vcpu %s: shadow, %s%s%s", vcpus, why_shadow(v), colon, unlike);
        break;
    case PAGED_NARROW:
        console_line("paging: vcpu %s: direct (%s), with #PFs and CR3 loads checked%s: %s", vcpus,
                     format, exact ? "" : ", inexact, not enforced", unlike);
        break;
    case PAGED_DIRECT:
        console_line("paging: vcpu %s: direct (%s), %s%s%s%s", vcpus, format,
                     v->choice.checks_cr3 ? "with CR3 loads checked, " : "",
                     exact ? "the hardware enforces the model" : "inexact, not enforced", colon,
                     unlike);
        break;
    }
}

/* A line more for each part of what a line has no room for. */
static void say_paging(const struct vcpu *v, const char *vcpus, const char *format)
{
    const struct paging_question question = question_of(v);
    uint32_t left = v->choice.not_enforced == 0 ? v->choice.unlike : v->choice.not_enforced;
    do {
        char unlike[PAGING_TEXT];
        left = paging_describe(&question, left, unlike, sizeof(unlike));
        say_paging_line(v, vcpus, format, unlike);
    } while (left != 0);
}

/* The host's own, which guests' tables know nothing of, only where there is one. */
static void describe_cbit(const struct paging_props *props, char *text, size_t size)
{
    const uint64_t host = memory_encryption.cbit;
    int used = snprintf(text, size, props->cbit == 0 ? "no" : "%u", props->cbit);
    if (host != 0)
        snprintf(text + used, size - (size_t)used, " (the host's: %d)", __builtin_ctzl(host));
}

static const char *yes_no(bool yes)
{
    return yes ? "yes" : "no";
}

/* With a C-bit addresses can be narrower than CPUID's number: paging works by the smaller one. */
static void describe_reduction(const struct paging_props *props, char *text, size_t size)
{
    const unsigned int width = paging_width(props);
    text[0] = '\0';
    if (width != props->maxphyaddr)
        snprintf(text, size, " reduced to %u", width);
}

static void say_model(const struct vcpu *v, const char *vcpus)
{
    const struct paging_props *props = &v->props;
    char reduction[32], cbit[32];
    describe_reduction(props, reduction, sizeof(reduction));
    describe_cbit(props, cbit, sizeof(cbit));
    console_line(
        "model: vcpu %s: MAXPHYADDR %u%s, 1 GiB pages %s, NX %s, LA57 %s, PSE36 %s, PAT %s, "
        "C-bit %s, rules %s",
        vcpus, props->maxphyaddr, reduction, yes_no(props->gbpages), yes_no(props->nx),
        yes_no(props->la57), yes_no(props->pse36), yes_no(props->pat), cbit,
        props->vendor == PAGING_AMD ? "AMD" : "Intel");
    for (size_t i = 0; i < VENDOR_DIFFERENCES && v->foreign; i++)
        console_line("model: vcpu %s: inexact: %s", vcpus, vendor_differences[i]);
}

/* A line of names, begun anew where it is full. */
struct names {
    const char *vcpus, *but;
    size_t used;
    char text[NAMES_TEXT];
};

static void say_names(struct names *names)
{
    if (names->used != 0)
        console_line("model: vcpu %s: hidden, but %s:%s", names->vcpus, names->but, names->text);
    names->used = 0;
}

static void add_name(struct names *names, const char *name)
{
    if (names->used + strlen(name) + 2 > sizeof(names->text))
        say_names(names);
    names->used +=
        (size_t)snprintf(names->text + names->used, sizeof(names->text) - names->used, " %s", name);
}

/* Exact or refused, and where neither is possible said. */
static void say_unenforced(const struct vcpu *v, const char *vcpus)
{
    const struct unenforced *u = &v->unenforced;
    struct names names = {.vcpus = vcpus, .but = "nothing makes it fault"};
    struct names late = {.vcpus = vcpus, .but = "its own #GP or #PF comes before the #UD"};
    char xcr0[24];
    for (size_t i = 0; i < policy_feature_count; i++) {
        const struct policy_feature *f = &policy_features[i];
        if (policy_set_has(&u->features, i) || (f->instructions & u->instructions))
            add_name(&names, f->name);
        if (f->instructions & u->late)
            add_name(&late, f->name);
    }
    snprintf(xcr0, sizeof(xcr0), "XCR0:%#lx", u->xcr0);
    if (u->xcr0 != 0)
        add_name(&names, xcr0);
    say_names(&names);
    say_names(&late);
}

void exact_choose(void)
{
    struct backend_caps caps = {.format = NULL};
    char vcpus[CPU_SET_TEXT];
    backend_caps(&caps);
    for (unsigned int i = 0; i < vm.vcpu_count; i++) {
        struct vcpu *v = vm.vcpu[i];
        const struct paging_question question = question_of(v);
        v->choice = paging_choose(&question);
        v->paging = v->choice.paging;
        backend_unenforced(v, &v->unenforced);
    }
    for (unsigned int i = 0; i < vm.vcpu_count; i++) {
        for (uint64_t left = alike_from(vm.vcpu[i]); left != 0;) {
            left = cpu_set_describe(left, vcpus, sizeof(vcpus));
            say_model(vm.vcpu[i], vcpus);
            say_paging(vm.vcpu[i], vcpus, caps.format);
            say_unenforced(vm.vcpu[i], vcpus);
        }
    }
}

bool exact_everywhere(void)
{
    bool exact = true;
    for (unsigned int i = 0; i < vm.vcpu_count; i++)
        exact = exact && vm.vcpu[i]->choice.not_enforced == 0 && !vm.vcpu[i]->foreign;
    return exact;
}

void exact_mark_verdict(void)
{
    if (!exact_everywhere())
        end_mark_inexact();
}

static void report(const struct vcpu *v, const char *vcpus)
{
    const struct paging_question question = question_of(v);
    for (uint32_t left = v->choice.not_enforced; left != 0;) {
        char text[PAGING_TEXT];
        left = paging_describe(&question, left, text, sizeof(text));
        console_line("paging: inexact: vcpu %s: not enforced: %s", vcpus, text);
    }
    if (v->foreign)
        console_line("model: inexact: vcpu %s: the instructions are another vendor's", vcpus);
}

void exact_report(void)
{
    char vcpus[CPU_SET_TEXT];
    for (unsigned int i = 0; i < vm.vcpu_count; i++) {
        for (uint64_t left = alike_from(vm.vcpu[i]); left != 0;) {
            left = cpu_set_describe(left, vcpus, sizeof(vcpus));
            report(vm.vcpu[i], vcpus);
        }
    }
    if (exact_everywhere() && end_is_inexact())
        console_line("model: inexact: in another generation, as was said when it began");
}
