/* SPDX-License-Identifier: BSD-2-Clause */
#include "vmx/controls.h"
#include "cpuid/rules.h"

#define CONTROL(in_word, mask, called, needed)                                                     \
    {                                                                                              \
        .word = (in_word), .bit = (mask), .name = (called), .required = (needed)                   \
    }

/* Names as in SDM vol. 3 tables 25-5 to 25-7, 25-13 and 25-15. */
const struct control controls_wanted[CONTROLS_WANTED] = {
    CONTROL(WORD_PIN, PIN_NMI_EXITING, "NMI exiting", true),
    CONTROL(WORD_PIN, PIN_VIRTUAL_NMIS, "virtual NMIs", true),
    CONTROL(WORD_PROC, PROC_NMI_WINDOW_EXITING, "NMI-window exiting", true),
    CONTROL(WORD_PROC, PROC_RDPMC_EXITING, "RDPMC exiting", true),
    CONTROL(WORD_PROC, PROC_IO_BITMAPS, "use I/O bitmaps", true),
    CONTROL(WORD_PROC, PROC_MSR_BITMAPS, "use MSR bitmaps", true),
    CONTROL(WORD_PROC, PROC_SECONDARY, "activate secondary controls", true),
    CONTROL(WORD_PROC2, PROC2_EPT, "enable EPT", true),
    CONTROL(WORD_PROC2, PROC2_UNRESTRICTED_GUEST, "unrestricted guest", true),
    CONTROL(WORD_PROC2, PROC2_VPID, "enable VPID", false),
    CONTROL(WORD_EXIT, VMEXIT_SAVE_DEBUG, "save debug controls", true),
    CONTROL(WORD_EXIT, VMEXIT_HOST_64BIT, "host address-space size", true),
    CONTROL(WORD_EXIT, VMEXIT_SAVE_PAT, "save IA32_PAT", true),
    CONTROL(WORD_EXIT, VMEXIT_LOAD_PAT, "load IA32_PAT (exit)", true),
    CONTROL(WORD_EXIT, VMEXIT_SAVE_EFER, "save IA32_EFER", true),
    CONTROL(WORD_EXIT, VMEXIT_LOAD_EFER, "load IA32_EFER (exit)", true),
    CONTROL(WORD_ENTRY, VMENTRY_LOAD_DEBUG, "load debug controls", true),
    CONTROL(WORD_ENTRY, VMENTRY_IA32E_GUEST, "IA-32e mode guest", true),
    CONTROL(WORD_ENTRY, VMENTRY_LOAD_PAT, "load IA32_PAT (entry)", true),
    CONTROL(WORD_ENTRY, VMENTRY_LOAD_EFER, "load IA32_EFER (entry)", true),
};

/* What follows from one group of instructions. */
struct instruction_control {
    enum instruction_group group;
    uint32_t bit;
    bool when_hidden; /* an intercept for a hidden one; else the enable of one that the model has */
};

static const struct instruction_control primary[] = {
    {.group = INSTRUCTION_RDTSC, .bit = PROC_RDTSC_EXITING, .when_hidden = true},
    {.group = INSTRUCTION_MONITOR, .bit = PROC_MONITOR_EXITING, .when_hidden = true},
    {.group = INSTRUCTION_MONITOR, .bit = PROC_MWAIT_EXITING, .when_hidden = true},
};

static const struct instruction_control secondary[] = {
    {.group = INSTRUCTION_RDTSCP, .bit = PROC2_RDTSCP, .when_hidden = false},
    {.group = INSTRUCTION_INVPCID, .bit = PROC2_INVPCID, .when_hidden = false},
    {.group = INSTRUCTION_XSAVES, .bit = PROC2_XSAVES, .when_hidden = false},
    {.group = INSTRUCTION_WAITPKG, .bit = PROC2_WAITPKG, .when_hidden = false},
    {.group = INSTRUCTION_PCONFIG, .bit = PROC2_PCONFIG, .when_hidden = false},
    {.group = INSTRUCTION_RDRAND, .bit = PROC2_RDRAND_EXITING, .when_hidden = true},
    {.group = INSTRUCTION_RDSEED, .bit = PROC2_RDSEED_EXITING, .when_hidden = true},
    {.group = INSTRUCTION_ENCLS, .bit = PROC2_ENCLS_EXITING, .when_hidden = true},
};

uint32_t control_msr(enum control_word word, bool true_controls)
{
    switch (word) {
    case WORD_PIN:
        return true_controls ? MSR_VMX_TRUE_PIN : MSR_VMX_PIN;
    case WORD_PROC:
        return true_controls ? MSR_VMX_TRUE_PROC : MSR_VMX_PROC;
    case WORD_PROC2:
        return MSR_VMX_PROC2;
    case WORD_EXIT:
        return true_controls ? MSR_VMX_TRUE_EXIT : MSR_VMX_EXIT;
    case WORD_ENTRY:
    case CONTROL_WORDS:
        break;
    }
    return true_controls ? MSR_VMX_TRUE_ENTRY : MSR_VMX_ENTRY;
}

const char *control_msr_name(enum control_word word, bool true_controls)
{
    switch (word) {
    case WORD_PIN:
        return true_controls ? "IA32_VMX_TRUE_PINBASED_CTLS" : "IA32_VMX_PINBASED_CTLS";
    case WORD_PROC:
        return true_controls ? "IA32_VMX_TRUE_PROCBASED_CTLS" : "IA32_VMX_PROCBASED_CTLS";
    case WORD_PROC2:
        return "IA32_VMX_PROCBASED_CTLS2";
    case WORD_EXIT:
        return true_controls ? "IA32_VMX_TRUE_EXIT_CTLS" : "IA32_VMX_EXIT_CTLS";
    case WORD_ENTRY:
    case CONTROL_WORDS:
        break;
    }
    return true_controls ? "IA32_VMX_TRUE_ENTRY_CTLS" : "IA32_VMX_ENTRY_CTLS";
}

uint32_t control_adjust(uint32_t wanted, uint64_t msr, uint32_t *missing)
{
    uint32_t allowed1 = (uint32_t)(msr >> 32);
    *missing = wanted & ~allowed1;
    return (wanted & allowed1) | (uint32_t)msr;
}

/* The two that Latch sets only at times have their place in the table, not in each VMCS. */
uint32_t control_required(enum control_word word)
{
    uint32_t bits = 0;
    for (unsigned int i = 0; i < CONTROLS_WANTED; i++) {
        if (controls_wanted[i].word == word && controls_wanted[i].required)
            bits |= controls_wanted[i].bit;
    }
    if (word == WORD_PROC)
        bits &= ~PROC_NMI_WINDOW_EXITING;
    if (word == WORD_ENTRY)
        bits &= ~VMENTRY_IA32E_GUEST;
    return bits;
}

/* A guest whose interrupts, HLTs and CR3 loads exit would not be a guest without exits. */
uint32_t control_forbidden(enum control_word word, uint64_t msr)
{
    uint32_t unwanted = 0;
    if (word == WORD_PIN)
        unwanted = PIN_INTERRUPT_EXITING;
    else if (word == WORD_PROC)
        unwanted = PROC_HLT_EXITING | PROC_CR3_LOAD_EXITING | PROC_CR3_STORE_EXITING;
    return (uint32_t)msr & unwanted;
}

const char *control_name(enum control_word word, uint32_t bit)
{
    static const struct control others[] = {
        CONTROL(WORD_PROC, PROC_MONITOR_EXITING, "MONITOR exiting", false),
        CONTROL(WORD_PIN, PIN_INTERRUPT_EXITING, "external-interrupt exiting", false),
        CONTROL(WORD_PROC, PROC_HLT_EXITING, "HLT exiting", false),
        CONTROL(WORD_PROC, PROC_TSC_OFFSETTING, "use TSC offsetting", false),
        CONTROL(WORD_PROC, PROC_RDTSC_EXITING, "RDTSC exiting", false),
        CONTROL(WORD_PROC, PROC_INVLPG_EXITING, "INVLPG exiting", false),
        CONTROL(WORD_PROC, PROC_MWAIT_EXITING, "MWAIT exiting", false),
        CONTROL(WORD_PROC, PROC_CR3_LOAD_EXITING, "CR3-load exiting", false),
        CONTROL(WORD_PROC, PROC_CR3_STORE_EXITING, "CR3-store exiting", false),
        CONTROL(WORD_PROC2, PROC2_RDTSCP, "enable RDTSCP", false),
        CONTROL(WORD_PROC2, PROC2_INVPCID, "enable INVPCID", false),
        CONTROL(WORD_PROC2, PROC2_XSAVES, "enable XSAVES/XRSTORS", false),
        CONTROL(WORD_PROC2, PROC2_WAITPKG, "enable user wait and pause", false),
        CONTROL(WORD_PROC2, PROC2_PCONFIG, "enable PCONFIG", false),
    };
    for (unsigned int i = 0; i < CONTROLS_WANTED; i++) {
        if (controls_wanted[i].word == word && controls_wanted[i].bit == bit)
            return controls_wanted[i].name;
    }
    for (unsigned int i = 0; i < sizeof(others) / sizeof(others[0]); i++) {
        if (others[i].word == word && others[i].bit == bit)
            return others[i].name;
    }
    return "reserved";
}

static uint32_t follow(const struct instruction_control *table, unsigned int count,
                       uint32_t instructions, uint32_t allowed1)
{
    uint32_t bits = 0;
    for (unsigned int i = 0; i < count; i++) {
        bool has = instructions >> table[i].group & 1U;
        if (table[i].when_hidden && !has)
            bits |= table[i].bit & allowed1;
        else if (!table[i].when_hidden && has)
            bits |= table[i].bit;
    }
    return bits;
}

uint32_t control_instructions(uint32_t instructions, uint32_t allowed1)
{
    return follow(primary, sizeof(primary) / sizeof(primary[0]), instructions, allowed1);
}

uint32_t control_instructions2(uint32_t instructions, uint32_t allowed1)
{
    return follow(secondary, sizeof(secondary) / sizeof(secondary[0]), instructions, allowed1);
}

static uint32_t lacking(const struct instruction_control *table, unsigned int count,
                        uint32_t allowed1)
{
    uint32_t groups = 0;
    for (unsigned int i = 0; i < count; i++) {
        if (table[i].when_hidden && !(table[i].bit & allowed1))
            groups |= 1U << table[i].group;
    }
    return groups;
}

/* "Enable RDTSCP" is the only control over RDPID: SDM vol. 3 §26.3. */
uint32_t control_unenforced(uint32_t hidden, uint32_t shown, uint32_t proc1, uint32_t proc2)
{
    uint32_t groups = lacking(primary, sizeof(primary) / sizeof(primary[0]), proc1) |
                      lacking(secondary, sizeof(secondary) / sizeof(secondary[0]), proc2);
    if (shown >> INSTRUCTION_RDTSCP & 1U)
        groups |= 1U << INSTRUCTION_RDPID;
    return groups & hidden;
}
