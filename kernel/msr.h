/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef LATCH_KERNEL_MSR_H
#define LATCH_KERNEL_MSR_H
/*
 * The MSRs that the guest has: what no rule names gives #GP(0). A rule counts only if the model
 * has the group that the MSR belongs to. Those of both vendors stand in msr.c, the others in the
 * back ends' lists.
 */
#include "kernel/exit.h"
#include <stdint.h>

/* What an access to an MSR does. */
enum msr_action {
    MSR_PASS,      /* the hardware's own, without an exit */
    MSR_PASS_READ, /* reads are the hardware's; a write gives #GP */
    MSR_READ_HOST, /* reads give what the hardware has at first, or 0; writes are ignored */
    MSR_CONSTANT,  /* reads give `value`; writes are ignored */
    MSR_EFER_RULE,
    MSR_APIC_BASE_RULE,
    MSR_ICR_RULE,            /* passed once no IPI needs to be seen any more */
    MSR_TSC_RULE,            /* kernel/tsc.h follows what is written */
    MSR_MTRR_RULE,           /* as wide as the model's; nested tables follow what is written */
    MSR_HYPERCALL_PAGE_RULE, /* write-only: see kernel/hypercall.h */
    MSR_XSS_RULE,  /* reads are the hardware's; writes only of components that the model has */
    MSR_VIEW_RULE, /* as cpuid/msr_view.h has it; passed where the hardware's is the same */
    MSR_BANK_RULE, /* passed; with SGX in the model, writes that turn it off exit */
};

#define MSR_ANY_GROUP 0xffU

struct msr_rule {
    uint32_t first, last;
    uint8_t group;  /* enum msr_group that the model must have, or MSR_ANY_GROUP */
    uint8_t action; /* enum msr_action */
    uint64_t value;
    const char *reason;
};

/* A line of a list of rules. */
#define MSR_RULE(from, to, in_group, does, why)                                                    \
    {                                                                                              \
        .first = (from), .last = (to), .group = (in_group), .action = (does), .value = 0,          \
        .reason = (why)                                                                            \
    }

struct vcpu;

/* Let the hardware pass what the rules pass, for a vCPU that was just created, on its own CPU. */
void msr_pass_all(struct vcpu *v);
/* What the hardware's MSRs hold that a guest can change, on this CPU: into at most `max` places, the
 * number of which is returned; and the same back. The TSC's are kernel/tsc.h's. */
struct msr_value {
    uint32_t msr;
    uint64_t value;
};
unsigned int msr_save(struct msr_value *to, unsigned int max);
void msr_restore(const struct msr_value *from, unsigned int count);
/* RDMSR and WRMSR that exited. */
enum exit_action msr_read(struct vcpu *v, struct exit *exit);
enum exit_action msr_write(struct vcpu *v, struct exit *exit);

#endif
