/* SPDX-License-Identifier: BSD-2-Clause */
#include "tests/guest/model/follows.h"
#include "cpuid/policy.h"
#include "tests/guest/lib/payload.h"

#include <stdio.h>
#include <stdlib.h>

#define CR4_CET (1UL << 23)

static struct cpu_rules rules;

/* ---- Registers ---- */

static void set_cr4(void *value)
{
    write_cr4(*(uint64_t *)value);
}

static void set_xcr0(void *value)
{
    write_xcr0(*(uint64_t *)value);
}

static void set_efer(void *value)
{
    wrmsr(MSR_EFER, *(uint64_t *)value);
}

static void set_xss(void *value)
{
    wrmsr(MSR_XSS, *(uint64_t *)value);
}

/* Sets each bit alone: the allowed ones can be set, save where the payload could not go on, and the
 * others give #GP. */
static void check_bits(const char *name, job_fn *set, uint64_t base, uint64_t allowed,
                       uint64_t left_out)
{
    uint64_t wrong = 0;
    for (unsigned int i = 0; i < 64; i++) {
        uint64_t bit = 1UL << i, value = base | bit;
        if (bit & left_out)
            continue;
        unsigned int vector = fault_of(set, &value, NULL, NULL);
        set(&base);
        if (vector != (allowed & bit ? NO_FAULT : (unsigned int)VECTOR_GP))
            wrong |= bit;
    }
    check(wrong == 0, name, "wanted exactly the bits %#lx, others for %#lx", allowed, wrong);
}

/* SMEP and SMAP would take the payload's own pages, LA57 cannot change in long mode, CET needs more
 * than its bit. */
static void check_control_registers(void)
{
    const uint64_t efer = rdmsr(MSR_EFER);
    check_bits("features.cr4", set_cr4, read_cr4(), rules.cr4_allowed,
               rules.cr4_allowed & (CR4_SMEP | CR4_SMAP | CR4_LA57 | CR4_CET));
    const char *value;
    const uint64_t unsettable = boot_word("unsettable-efer", &value) ? strtoul(value, NULL, 16) : 0;
    check_bits("features.efer", set_efer, efer, rules.efer_allowed & ~unsettable, EFER_LMA);
}

static void check_xcr0(void)
{
    static const uint64_t sets[] = {0, 1, 2, 3, 5, 7, 0x1b, 0x23, 0xe3, 0xe7, 0x203, 0x60003};
    uint64_t bad = 0, first = 0, cr4 = read_cr4(), one = 1;
    unsigned int wrong = 0;
    check_equal("features.xsetbv-without-osxsave", VECTOR_UD, fault_of(set_xcr0, &one, NULL, NULL));
    if (!(rules.cr4_allowed & CR4_OSXSAVE))
        return;
    write_cr4(cr4 | CR4_OSXSAVE);
    for (unsigned int i = 0; i < 64 + sizeof(sets) / sizeof(sets[0]); i++) {
        uint64_t value = i < 64 ? 1UL << i | 1 : sets[i - 64];
        bool done = fault_of(set_xcr0, &value, NULL, NULL) == NO_FAULT;
        write_xcr0(1);
        bad |= done == rules_xcr0_valid(&rules, value) ? 0 : value;
        if (done != rules_xcr0_valid(&rules, value) && wrong++ == 0)
            first = value;
    }
    write_cr4(cr4);
    if (boot_word("unchecked-xcr0", NULL))
        printf("info xcr0: %u values unlike the model's, bits %#lx\n", wrong, bad);
    else
        check(wrong == 0, "features.xcr0", "%u values, first %#lx", wrong, first);
}

static void check_xss(void)
{
    if (rules.msr_groups >> MSR_GROUP_XSS & 1)
        check_bits("features.xss", set_xss, 0, rules.xss_allowed, 0);
}

/* ---- MSRs ---- */

struct group {
    enum msr_group group;
    uint32_t first, last;
    enum {
        READABLE,
        WRITE_ONLY,
        OPTIONAL, /* the group alone does not make it be there */
    } kind;
};

#define GROUP(name, from, to, as)                                                                  \
    {                                                                                              \
        .group = MSR_GROUP_##name, .first = (from), .last = (to), .kind = (as)                     \
    }

/* As enum msr_group says. */
static const struct group groups[] = {
    GROUP(TSC, 0x10, 0x10, READABLE),
    GROUP(INTEL, 0x17, 0x17, READABLE),
    GROUP(APIC_BASE, 0x1b, 0x1b, READABLE),
    GROUP(TSC_ADJUST, 0x3b, 0x3b, READABLE),
    GROUP(SPEC_CTRL, 0x48, 0x48, READABLE),
    GROUP(PRED_CMD, 0x49, 0x49, WRITE_ONLY),
    GROUP(CORE_CAPABILITIES, 0xcf, 0xcf, READABLE),
    GROUP(UMWAIT, 0xe1, 0xe1, READABLE),
    GROUP(MTRR, 0xfe, 0xfe, READABLE),
    GROUP(MTRR, 0x2ff, 0x2ff, READABLE),
    GROUP(ARCH_CAPABILITIES, 0x10a, 0x10a, READABLE),
    GROUP(FLUSH_CMD, 0x10b, 0x10b, WRITE_ONLY),
    GROUP(TSX_CTRL, 0x122, 0x122, READABLE),
    GROUP(SYSENTER, 0x174, 0x176, READABLE),
    GROUP(MCA, 0x179, 0x179, READABLE),
    GROUP(MCA, 0x17a, 0x17b, OPTIONAL),
    GROUP(MCA, 0x400, 0x47f, OPTIONAL),
    GROUP(XFD, 0x1c4, 0x1c5, READABLE),
    GROUP(FRED, 0x1cc, 0x1d4, READABLE),
    GROUP(PAT, 0x277, 0x277, READABLE),
    GROUP(CET, 0x6a0, 0x6a8, READABLE),
    GROUP(TSC_DEADLINE, 0x6e0, 0x6e0, READABLE),
    GROUP(PKS, 0x6e1, 0x6e1, READABLE),
    GROUP(X2APIC, 0x802, 0x83f, OPTIONAL),
    GROUP(XSS, 0xda0, 0xda0, READABLE),
    GROUP(SYSCALL, 0xc0000081, 0xc0000084, READABLE),
    GROUP(LONG_MODE, 0xc0000100, 0xc0000102, READABLE),
    GROUP(TSC_AUX, 0xc0000103, 0xc0000103, READABLE),
    GROUP(AMD, 0xc0010015, 0xc0010015, READABLE),
    GROUP(AMD, 0xc001001a, 0xc001001a, READABLE),
    GROUP(AMD, 0xc001001d, 0xc001001d, READABLE),
    GROUP(AMD, 0xc0011029, 0xc0011029, READABLE),
    GROUP(VIRT_SPEC_CTRL, 0xc001011f, 0xc001011f, READABLE),
    GROUP(OSVW, 0xc0010140, 0xc0010141, READABLE),
};

/* Why an MSR is not as its group says, or NULL. */
static const char *wrong_msr(const struct group *g, uint32_t msr, bool has)
{
    uint64_t value = 0;
    bool read = rdmsr_safe(msr, &value) == 0;
    if (read != (has && g->kind != WRITE_ONLY) && !(has && g->kind == OPTIONAL))
        return read ? "reading it does not fault" : "reading it faults";
    if (!has && wrmsr_safe(msr, value) == 0)
        return "writing it does not fault";
    if (has && g->kind == WRITE_ONLY && wrmsr_safe(msr, 0) != 0)
        return "writing it faults";
    return NULL;
}

static void check_msrs(void)
{
    uint32_t seen = 0;
    for (size_t i = 0; i < sizeof(groups) / sizeof(groups[0]); i++) {
        bool has = rules.msr_groups >> groups[i].group & 1;
        seen |= 1U << groups[i].group;
        for (uint32_t msr = groups[i].first; msr <= groups[i].last; msr++) {
            char name[32];
            const char *why = wrong_msr(&groups[i], msr, has);
            snprintf(name, sizeof(name), "features.msr.0x%x", msr);
            if (why != NULL)
                check(false, name, "%s, and is %s the model", why, has ? "in" : "not in");
        }
    }
    check_equal("features.msr-groups", (1U << MSR_GROUPS) - 1U, seen);
}

/* ---- Instructions ---- */

#define INSTRUCTION(name, text, ...)                                                               \
    static void name(void *argument)                                                               \
    {                                                                                              \
        __asm__ volatile(text                                                                      \
                         :                                                                         \
                         : "S"(argument), ##__VA_ARGS__                                            \
                         : "rax", "rbx", "rcx", "rdx", "memory", "cc");                            \
    }
/* RSI is a buffer of a page. The operands that are zero: leaf or type 0, no features to save. */
#define ZERO "xor %%eax, %%eax; xor %%ecx, %%ecx; xor %%edx, %%edx; "
INSTRUCTION(run_rdtsc, "rdtsc")
INSTRUCTION(run_rdtscp, "rdtscp")
INSTRUCTION(run_rdpid, "rdpid %%rax")
INSTRUCTION(run_invpcid, "mov $2, %%eax; invpcid (%%rsi), %%rax")
INSTRUCTION(run_xsaves, ZERO "xsaves (%%rsi)")
INSTRUCTION(run_waitpkg, ZERO "tpause %%ecx")
INSTRUCTION(run_rdrand, "rdrand %%eax")
INSTRUCTION(run_rdseed, "rdseed %%eax")
INSTRUCTION(run_monitor, ZERO "mov %%rsi, %%rax; monitor")
INSTRUCTION(run_monitorx, ZERO "mov %%rsi, %%rax; monitorx")
INSTRUCTION(run_encls, ZERO "encls")
INSTRUCTION(run_pconfig, ZERO "pconfig")
INSTRUCTION(run_xgetbv, ZERO "xgetbv")
INSTRUCTION(run_rdpru, ZERO "rdpru")
INSTRUCTION(run_mcommit, "mcommit")
INSTRUCTION(run_invlpgb, ZERO "invlpgb")

static job_fn *const instructions[INSTRUCTION_GROUPS] = {
    [INSTRUCTION_RDTSCP] = run_rdtscp,   [INSTRUCTION_INVPCID] = run_invpcid,
    [INSTRUCTION_XSAVES] = run_xsaves,   [INSTRUCTION_WAITPKG] = run_waitpkg,
    [INSTRUCTION_RDRAND] = run_rdrand,   [INSTRUCTION_RDSEED] = run_rdseed,
    [INSTRUCTION_MONITOR] = run_monitor, [INSTRUCTION_MWAITX] = run_monitorx,
    [INSTRUCTION_ENCLS] = run_encls,     [INSTRUCTION_PCONFIG] = run_pconfig,
    [INSTRUCTION_XSAVE] = run_xgetbv,    [INSTRUCTION_RDPRU] = run_rdpru,
    [INSTRUCTION_MCOMMIT] = run_mcommit, [INSTRUCTION_INVLPGB] = run_invlpgb,
    [INSTRUCTION_RDPID] = run_rdpid,     [INSTRUCTION_RDTSC] = run_rdtsc,
};

/* Shown: no #UD. Hidden: #UD, or a line for the suite. */
static void check_instruction(const struct policy_feature *f)
{
    static uint8_t buffer[4096] __attribute__((aligned(4096)));
    char name[48];
    unsigned int group = (unsigned int)__builtin_ctz(f->instructions);
    unsigned int vector = fault_of(instructions[group], buffer, NULL, NULL);
    snprintf(name, sizeof(name), "features.instruction.%s", f->name);
    bool has = rules.instructions >> group & 1;
    if (!has && vector != VECTOR_UD)
        printf("works %s\n", f->name);
    else
        check(has == (vector != VECTOR_UD), name, "it is in the model, and gives #UD");
}

static void check_instructions(void)
{
    uint64_t cr4 = read_cr4();
    if (rules.cr4_allowed & CR4_OSXSAVE)
        write_cr4(cr4 | CR4_OSXSAVE);
    for (size_t i = 0; i < policy_feature_count; i++)
        if (policy_features[i].instructions != 0)
            check_instruction(&policy_features[i]);
    write_cr4(cr4);
}

void follows_check(const struct cpu_rules *of)
{
    rules = *of;
    check_control_registers();
    check_xcr0();
    check_xss();
    check_msrs();
    check_instructions();
}
