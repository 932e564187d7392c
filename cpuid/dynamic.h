/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The closed list of what CPUID shows that may move after the seal, because the architecture moves
 * it: laid over a copy of the sealed answer, and never stored in the model.
 *
 *   OSXSAVE, OSPKE         follow CR4
 *   APIC                   follows IA32_APIC_BASE[11]
 *   MONITOR                follows IA32_MISC_ENABLE[18]
 *   0DH.0:EBX, 0DH.1:EBX   follow XCR0, and XCR0 with XSS
 *   RTM, HLE               follow IA32_TSX_CTRL[1]
 *   SYSCALL                is 0 outside 64-bit mode by Intel's rules (SDM vol. 2, CPUID, 80000001H)
 *   SGX1                   goes when machine-check state turns SGX off, until the next reset
 *   APIC id, core, node    are the vCPU's (1:EBX[31:24], 0BH and 1FH:EDX, 8000001EH, 80000026H)
 *
 * Topology. A vCPU stays on its CPU and has that CPU's APIC id, so the counts and shifts of the
 * host's topology leaves (1:EBX[23:16], 4, 0BH, 1FH, 80000008H:ECX, 8000001DH) are the truth about
 * it and are passed; a package of which the guest has only some CPUs shows as one whose other CPUs
 * are absent, as it would after a firmware had disabled them.
 */
#ifndef LATCH_CPUID_DYNAMIC_H
#define LATCH_CPUID_DYNAMIC_H

#include "cpuid/model.h"

/* The rows that have dynamic bits. */
enum cpuid_dynamic_row {
    DYNAMIC_NONE,
    DYNAMIC_LEVEL,    /* 0BH, 1FH, 80000026H, all subleaves: the APIC id, and the subleaf itself */
    DYNAMIC_EXTENDED, /* 80000001H */
    DYNAMIC_XSAVE,    /* 0DH.0, 0DH.1 */
    DYNAMIC_XSAVES,
    DYNAMIC_FEATURES,   /* 1 */
    DYNAMIC_STRUCTURED, /* 7.0 */
    DYNAMIC_SGX,        /* 12H.0 */
    DYNAMIC_TOPOLOGY,   /* 8000001EH */
    DYNAMIC_ROWS
};

/* The bits of CR4 that CPUID shows. */
#define CPUID_DYNAMIC_CR4 ((1U << 18) | (1U << 22)) /* OSXSAVE, PKE */

/* One vCPU's moving state, as its exit finds it. */
struct cpuid_dynamic {
    uint64_t cr4;
    uint64_t apic_base;   /* IA32_APIC_BASE */
    uint64_t misc_enable; /* IA32_MISC_ENABLE; bit 18 set where the MSR does not exist */
    uint64_t tsx_ctrl;    /* IA32_TSX_CTRL, 0 where it does not exist */
    uint64_t xcr0, xss;
    uint32_t xsave_size;  /* for XCR0, standard format: cpuid_dynamic_resize() */
    uint32_t xsaves_size; /* for XCR0|XSS, compacted: cpuid_dynamic_resize() */
    uint32_t apic_id;     /* 32 bits */
    uint32_t core_id;     /* CPUID.8000001EH:EBX[7:0] */
    uint32_t node_id;     /* CPUID.8000001EH:ECX[7:0] */
    bool sgx_off;
    bool no_syscall; /* the model is Intel's, and it is not 64-bit code that asks */
    struct cpuid_regs answer[DYNAMIC_ROWS]; /* cpuid_dynamic_settle() */
};

/* The state after RESET (SDM vol. 3 §10.1.1) of a vCPU with this finished model and APIC id. */
void cpuid_dynamic_reset(struct cpuid_dynamic *d, const struct model *m, uint32_t apic_id);

/* Computes the two sizes anew; to be called when xcr0 or xss has changed (SDM vol. 1 §13.2). */
void cpuid_dynamic_resize(struct cpuid_dynamic *d, const struct model *m);

/*
 * A machine check reached the vCPU: SGX is off until the next reset (SDM vol. 3, "Interactions with
 * MCA Events"). Without SGX in the model nothing shows it.
 */
void cpuid_dynamic_machine_check(struct cpuid_dynamic *d);

/*
 * The guest wrote `value` to an IA32_MCi_CTL that held `old`: clearing any bit turns SGX off until
 * the next reset.
 */
void cpuid_dynamic_mci_ctl(struct cpuid_dynamic *d, uint64_t old, uint64_t value);

/* True if the MSR is the IA32_MCi_CTL of one of `banks` banks (IA32_MCG_CAP[7:0]). */
bool cpuid_dynamic_is_mci_ctl(uint32_t msr, unsigned int banks);

/*
 * What of the model's (leaf, subleaf) a guest can turn off by its own state, as features that the model
 * has: such bits may be off in an answer that was taken from the guest.
 */
struct cpuid_regs cpuid_dynamic_clearable(const struct model *m, uint32_t leaf, uint32_t subleaf);

/* Lays the dynamic bits of (leaf, subleaf) over *regs; leaves without any stay as they are. */
void cpuid_overlay(uint32_t leaf, uint32_t subleaf, struct cpuid_regs *regs,
                   const struct cpuid_dynamic *d);

/* Which of the rows with dynamic bits it is; model_finish() marks the rows by it. */
enum cpuid_dynamic_row cpuid_dynamic_row(uint32_t leaf, uint32_t subleaf);

/*
 * Lays the dynamic bits over the rows, for cpuid_answer(); to be called when anything in *d has
 * changed. cpuid_dynamic_reset() does it too.
 */
void cpuid_dynamic_settle(struct cpuid_dynamic *d, const struct model *m);

/* Whether what is settled is still what the model and *d say: a stray write could have changed it. */
bool cpuid_dynamic_is_settled(const struct cpuid_dynamic *d, const struct model *m);

/*
 * The whole answer to CPUID by what was settled, in constant time: `row` is the model's. It stands
 * until the next one.
 */
static inline const struct cpuid_regs *cpuid_answer(const struct cpuid_leaf *row,
                                                    struct cpuid_dynamic *d, uint32_t subleaf)
{
    if (__builtin_expect(row->dynamic == DYNAMIC_NONE, 1))
        return &row->regs;
    struct cpuid_regs *answer = &d->answer[row->dynamic];
    if (row->dynamic == DYNAMIC_LEVEL) {
        *answer = row->regs;
        answer->edx = d->apic_id;
        answer->ecx |= subleaf & 0xffU;
    }
    return answer;
}

/* The whole answer to CPUID. */
static inline void model_query(const struct model *m, const struct cpuid_dynamic *d, uint32_t leaf,
                               uint32_t subleaf, struct cpuid_regs *regs)
{
    const struct cpuid_leaf *row = model_lookup(m, leaf, subleaf);
    *regs = row->regs;
    if (row->dynamic)
        cpuid_overlay(row->leaf, subleaf, regs, d);
}

#endif
