/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef LATCH_VMX_CONTROLS_H
#define LATCH_VMX_CONTROLS_H
/*
 * The VM-execution, VM-exit and VM-entry controls, and what the capability MSRs (SDM vol. 3
 * appendix A) say about them. Pure: the MSRs' values are passed in.
 */
#include <stdbool.h>
#include <stdint.h>

#define MSR_FEATURE_CONTROL 0x3aU
#define MSR_TME_ACTIVATE    0x982U
#define MSR_VMX_BASIC       0x480U
#define MSR_VMX_PIN         0x481U
#define MSR_VMX_PROC        0x482U
#define MSR_VMX_EXIT        0x483U
#define MSR_VMX_ENTRY       0x484U
#define MSR_VMX_MISC        0x485U
#define MSR_VMX_CR0_FIXED0  0x486U
#define MSR_VMX_CR0_FIXED1  0x487U
#define MSR_VMX_CR4_FIXED0  0x488U
#define MSR_VMX_CR4_FIXED1  0x489U
#define MSR_VMX_PROC2       0x48bU
#define MSR_VMX_EPT_VPID    0x48cU
#define MSR_VMX_TRUE_PIN    0x48dU
#define MSR_VMX_TRUE_PROC   0x48eU
#define MSR_VMX_TRUE_EXIT   0x48fU
#define MSR_VMX_TRUE_ENTRY  0x490U

#define FEATURE_CONTROL_LOCK            (1U << 0)
#define FEATURE_CONTROL_VMX_OUTSIDE_SMX (1U << 2)
#define TME_ENABLED                     (1U << 1)

/* Whether VMXON can work with this IA32_FEATURE_CONTROL, or after Latch has set and locked it:
 * SDM vol. 3 §24.7. */
static inline bool feature_control_allows(uint64_t value)
{
    return !(value & FEATURE_CONTROL_LOCK) || (value & FEATURE_CONTROL_VMX_OUTSIDE_SMX);
}

/* How many address bits, from MAXPHYADDR down, are no address but say the key that memory is encrypted
 * with: bit 1 of IA32_TME_ACTIVATE is "enabled", bits 35:32 are their number (SDM vol. 4; Intel's
 * specification of multi-key total memory encryption). */
static inline unsigned int tme_key_id_bits(uint64_t activate)
{
    return activate & TME_ENABLED ? (unsigned int)(activate >> 32 & 15U) : 0;
}

#define BASIC_REVISION    0x7fffffffU
#define BASIC_SIZE(basic) ((uint32_t)((basic) >> 32 & 0x1fffU))
#define BASIC_TYPE(basic) ((unsigned int)((basic) >> 50 & 15U)) /* 6: write-back */
#define BASIC_32BIT       (1UL << 48)
#define BASIC_TRUE        (1UL << 55)

/* SDM vol. 3 tables 25-5 to 25-7, 25-13, 25-15. */
#define PIN_INTERRUPT_EXITING (1U << 0)
#define PIN_NMI_EXITING       (1U << 3)
#define PIN_VIRTUAL_NMIS      (1U << 5)

#define PROC_TSC_OFFSETTING     (1U << 3)
#define PROC_HLT_EXITING        (1U << 7)
#define PROC_INVLPG_EXITING     (1U << 9)
#define PROC_MWAIT_EXITING      (1U << 10)
#define PROC_RDPMC_EXITING      (1U << 11)
#define PROC_RDTSC_EXITING      (1U << 12)
#define PROC_CR3_LOAD_EXITING   (1U << 15)
#define PROC_CR3_STORE_EXITING  (1U << 16)
#define PROC_NMI_WINDOW_EXITING (1U << 22)
#define PROC_IO_BITMAPS         (1U << 25)
#define PROC_MONITOR_TRAP       (1U << 27)
#define PROC_MSR_BITMAPS        (1U << 28)
#define PROC_MONITOR_EXITING    (1U << 29)
#define PROC_SECONDARY          (1U << 31)

#define PROC2_EPT                (1U << 1)
#define PROC2_RDTSCP             (1U << 3)
#define PROC2_VPID               (1U << 5)
#define PROC2_UNRESTRICTED_GUEST (1U << 7)
#define PROC2_RDRAND_EXITING     (1U << 11)
#define PROC2_INVPCID            (1U << 12)
#define PROC2_ENCLS_EXITING      (1U << 15)
#define PROC2_RDSEED_EXITING     (1U << 16)
#define PROC2_XSAVES             (1U << 20)
#define PROC2_WAITPKG            (1U << 26)
#define PROC2_PCONFIG            (1U << 27)

#define VMEXIT_SAVE_DEBUG (1U << 2)
#define VMEXIT_HOST_64BIT (1U << 9)
#define VMEXIT_SAVE_PAT   (1U << 18)
#define VMEXIT_LOAD_PAT   (1U << 19)
#define VMEXIT_SAVE_EFER  (1U << 20)
#define VMEXIT_LOAD_EFER  (1U << 21)

#define VMENTRY_LOAD_DEBUG  (1U << 2)
#define VMENTRY_IA32E_GUEST (1U << 9)
#define VMENTRY_LOAD_PAT    (1U << 14)
#define VMENTRY_LOAD_EFER   (1U << 15)

/* IA32_VMX_EPT_VPID_CAP, SDM vol. 3 appendix A.10. */
#define EPT_CAP_EXECUTE_ONLY    (1UL << 0)
#define EPT_CAP_4_LEVELS        (1UL << 6)
#define EPT_CAP_5_LEVELS        (1UL << 7)
#define EPT_CAP_WB              (1UL << 14)
#define EPT_CAP_2M              (1UL << 16)
#define EPT_CAP_1G              (1UL << 17)
#define EPT_CAP_INVEPT          (1UL << 20)
#define EPT_CAP_ACCESSED_DIRTY  (1UL << 21)
#define EPT_CAP_INVEPT_SINGLE   (1UL << 25)
#define EPT_CAP_INVEPT_ALL      (1UL << 26)
#define EPT_CAP_INVVPID         (1UL << 32)
#define EPT_CAP_INVVPID_ADDRESS (1UL << 40)
#define EPT_CAP_INVVPID_SINGLE  (1UL << 41)
#define EPT_CAP_INVVPID_ALL     (1UL << 42)
#define EPT_CAP_INVVPID_LOCAL   (1UL << 43) /* all but global */

/* One word of controls: its field, in MSR order. */
enum control_word { WORD_PIN, WORD_PROC, WORD_PROC2, WORD_EXIT, WORD_ENTRY, CONTROL_WORDS };

/* A control that Latch sets in each VMCS, or from time to time. */
struct control {
    enum control_word word;
    uint32_t bit;     /* as a mask */
    const char *name; /* the manual's */
    bool required;
};
#define CONTROLS_WANTED 20U
extern const struct control controls_wanted[CONTROLS_WANTED];

/* The MSR that governs a word, by IA32_VMX_BASIC[55]; and its name. */
uint32_t control_msr(enum control_word word, bool true_controls);
const char *control_msr_name(enum control_word word, bool true_controls);

/*
 * `wanted` with the bits that the MSR's low half forces to 1, and without those that its high half
 * does not allow. Bits of `wanted` that are not allowed are in *missing.
 */
uint32_t control_adjust(uint32_t wanted, uint64_t msr, uint32_t *missing);

/* All required controls of a word. */
uint32_t control_required(enum control_word word);

/* Bits of a word that the MSR forces to 1 though Latch cannot live with them. */
uint32_t control_forbidden(enum control_word word, uint64_t msr);

/* The name of a single bit in controls_wanted, or "reserved". */
const char *control_name(enum control_word word, uint32_t bit);

/*
 * The primary and secondary controls that make instructions fault or exit that a model hides, and
 * let those run that it has. `instructions` is cpu_rules.instructions. `allowed1` are the high
 * halves of the two MSRs: an intercept that they lack is not wanted, for then the CPU has no such
 * instruction. A control that the model *needs* is always wanted.
 */
uint32_t control_instructions(uint32_t instructions, uint32_t allowed1);
uint32_t control_instructions2(uint32_t instructions, uint32_t allowed1);

/*
 * Of the groups `hidden`, which the CPU has and the model has not, those that nothing makes fault:
 * the intercept is missing in `proc1` and `proc2`, the high halves of the two MSRs, or one control
 * is for it and for another that the model has (`shown`).
 */
uint32_t control_unenforced(uint32_t hidden, uint32_t shown, uint32_t proc1, uint32_t proc2);

#endif
