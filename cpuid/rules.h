/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What a model means for control registers, MSRs and instructions. It is derived from the finished
 * model through the policy's table, so it cannot disagree with what CPUID shows.
 */
#ifndef LATCH_CPUID_RULES_H
#define LATCH_CPUID_RULES_H

#include "cpuid/model.h"

/* CR4 (SDM vol. 3 §2.5). */
#define CPU_CR4_VME        (1U << 0)
#define CPU_CR4_PVI        (1U << 1)
#define CPU_CR4_TSD        (1U << 2)
#define CPU_CR4_DE         (1U << 3)
#define CPU_CR4_PSE        (1U << 4)
#define CPU_CR4_PAE        (1U << 5)
#define CPU_CR4_MCE        (1U << 6)
#define CPU_CR4_PGE        (1U << 7)
#define CPU_CR4_PCE        (1U << 8)
#define CPU_CR4_OSFXSR     (1U << 9)
#define CPU_CR4_OSXMMEXCPT (1U << 10)
#define CPU_CR4_UMIP       (1U << 11)
#define CPU_CR4_LA57       (1U << 12)
#define CPU_CR4_VMXE       (1U << 13)
#define CPU_CR4_SMXE       (1U << 14)
#define CPU_CR4_FSGSBASE   (1U << 16)
#define CPU_CR4_PCIDE      (1U << 17)
#define CPU_CR4_OSXSAVE    (1U << 18)
#define CPU_CR4_KL         (1U << 19)
#define CPU_CR4_SMEP       (1U << 20)
#define CPU_CR4_SMAP       (1U << 21)
#define CPU_CR4_PKE        (1U << 22)
#define CPU_CR4_CET        (1U << 23)
#define CPU_CR4_PKS        (1U << 24)
#define CPU_CR4_UINTR      (1U << 25)
#define CPU_CR4_LASS       (1U << 27)
#define CPU_CR4_LAM_SUP    (1U << 28)

/* EFER (SDM vol. 3 §2.2.1, APM vol. 2 §3.1.7). */
#define CPU_EFER_SCE     (1U << 0)
#define CPU_EFER_LME     (1U << 8)
#define CPU_EFER_LMA     (1U << 10)
#define CPU_EFER_NXE     (1U << 11)
#define CPU_EFER_SVME    (1U << 12)
#define CPU_EFER_LMSLE   (1U << 13)
#define CPU_EFER_FFXSR   (1U << 14)
#define CPU_EFER_TCE     (1U << 15)
#define CPU_EFER_MCOMMIT (1U << 17)
#define CPU_EFER_INTWB   (1U << 18)
#define CPU_EFER_UAIE    (1U << 20)
#define CPU_EFER_AIBRSE  (1U << 21)

/* MSRs that exist if and only if a feature does. A back end's list of MSRs names its group. */
enum msr_group {
    MSR_GROUP_TSC,               /* 10H */
    MSR_GROUP_APIC_BASE,         /* 1BH */
    MSR_GROUP_TSC_ADJUST,        /* 3BH */
    MSR_GROUP_SPEC_CTRL,         /* 48H */
    MSR_GROUP_PRED_CMD,          /* 49H */
    MSR_GROUP_CORE_CAPABILITIES, /* CFH */
    MSR_GROUP_MTRR,              /* FEH, 200H.., 250H.., 2FFH */
    MSR_GROUP_ARCH_CAPABILITIES, /* 10AH */
    MSR_GROUP_FLUSH_CMD,         /* 10BH */
    MSR_GROUP_TSX_CTRL,          /* 122H: also needs ARCH_CAPABILITIES[7] */
    MSR_GROUP_SYSENTER,          /* 174H..176H */
    MSR_GROUP_MCA,               /* 179H.., 400H.. */
    MSR_GROUP_PAT,               /* 277H */
    MSR_GROUP_CET,               /* 6A0H, 6A2H, 6A4H..6A8H */
    MSR_GROUP_PKS,               /* 6E1H */
    MSR_GROUP_TSC_DEADLINE,      /* 6E0H */
    MSR_GROUP_X2APIC,            /* 800H..83FH */
    MSR_GROUP_XSS,               /* DA0H */
    MSR_GROUP_UMWAIT,            /* E1H */
    MSR_GROUP_XFD,               /* 1C4H, 1C5H */
    MSR_GROUP_SYSCALL,           /* C0000081H..C0000084H */
    MSR_GROUP_LONG_MODE,         /* C0000100H..C0000102H */
    MSR_GROUP_TSC_AUX,           /* C0000103H */
    MSR_GROUP_OSVW,              /* C0010140H, C0010141H */
    MSR_GROUP_VIRT_SPEC_CTRL,    /* C001011FH */
    MSR_GROUP_FRED,              /* 1CCH..1D4H */
    MSR_GROUP_AMD,               /* what all have whose leaf 0 names AMD or Hygon, */
    MSR_GROUP_INTEL,             /* or any other vendor */
    MSR_GROUPS,
};

/* Instructions that a control or an intercept can make fault where the model hides them. */
enum instruction_group {
    INSTRUCTION_RDTSCP, /* and RDPID with it: SDM vol. 3 §25.6.2, "enable RDTSCP" */
    INSTRUCTION_INVPCID,
    INSTRUCTION_XSAVES,
    INSTRUCTION_WAITPKG,
    INSTRUCTION_RDRAND,
    INSTRUCTION_RDSEED,
    INSTRUCTION_MONITOR,
    INSTRUCTION_MWAITX,
    INSTRUCTION_ENCLS,
    INSTRUCTION_PCONFIG,
    INSTRUCTION_XSAVE, /* XSETBV and XGETBV, by CR4.OSXSAVE */
    INSTRUCTION_RDPRU,
    INSTRUCTION_MCOMMIT,
    INSTRUCTION_INVLPGB,
    INSTRUCTION_RDTSC,
    INSTRUCTION_RDPID, /* faults where RDTSCP does; nothing else makes it fault */
    INSTRUCTION_GROUPS,
};

_Static_assert((int)MSR_GROUPS <= 32 && (int)INSTRUCTION_GROUPS <= 32, "each set is one word");

struct cpu_rules {
    uint64_t cr0_allowed;  /* a bit outside them gives #GP(0) or reads as zero, by the register */
    uint64_t cr4_allowed;  /* VMXE never */
    uint64_t efer_allowed; /* SVME never */
    uint64_t xcr0_allowed; /* CPUID.0DH.0, cut to what the features allow; 0 without XSAVE */
    uint64_t xss_allowed;  /* CPUID.0DH.1:EDX:ECX */
    uint32_t msr_groups;   /* 1 << enum msr_group */
    uint32_t instructions; /* 1 << enum instruction_group: those that do not fault */
    uint32_t spec_ctrl;    /* bits of IA32_SPEC_CTRL that may be set */
    uint32_t pred_cmd;     /* bits of IA32_PRED_CMD that may be written */
    struct paging_props paging;
};

/* Derives the rules of a finished model. */
void rules_derive(struct cpu_rules *rules, const struct model *m);

/* True if the leaf is within its range, basic or extended, of a table that is finished or not. */
bool rules_has_leaf(const struct model *m, uint32_t leaf);

/*
 * Derives the paging properties from a table of leaves, finished or not, and from `paging_vendor`
 * where that is set.
 */
struct paging_props rules_paging(const struct model *m);

/* True if a guest may load `xcr0` by XSETBV (SDM vol. 1 §13.3: x87 always, AVX needs SSE ...). */
bool rules_xcr0_valid(const struct cpu_rules *rules, uint64_t xcr0);

#endif
