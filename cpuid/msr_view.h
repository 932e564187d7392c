/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The MSRs that say what a CPU can do, or whose bits exist feature by feature, as a model has
 * them: what a guest reads, and what it may write. What is passed through must be passed only
 * where this view and the hardware's agree.
 *
 *   03AH IA32_FEATURE_CONTROL     absent, as no feature that it locks is in a model; with SGX
 *                                 (which is not offered) locked with SGX on
 *   048H IA32_SPEC_CTRL           the bits of the features that the model has
 *   049H IA32_PRED_CMD            likewise; write-only
 *   0CFH IA32_CORE_CAPABILITIES   what needs no MSR that guests lack
 *   0FEH IA32_MTRRCAP             without SMRRs and other ranges of system management
 *   10AH IA32_ARCH_CAPABILITIES   facts as the host has them; no bit whose MSR guests lack
 *   10BH IA32_FLUSH_CMD           write-only
 *   122H IA32_TSX_CTRL            both bits, where RTM or HLE is in the model
 *   179H IA32_MCG_CAP             banks and recovery; no CMCI, no local machine checks
 *   1A0H IA32_MISC_ENABLE         fast strings and MONITOR are the guest's; hidden features off
 *   C0010010H SYSCFG              on a CPU that has none, beside a C-bit: that the bit counts
 *   C001011FH VIRT_SPEC_CTRL      SSBD, where the model has it
 *   C0010131H SEV_STATUS          beside a C-bit: 0, as SEV is not offered (APM vol. 2 §15.34.10)
 */
#ifndef LATCH_CPUID_MSR_VIEW_H
#define LATCH_CPUID_MSR_VIEW_H

#include "cpuid/rules.h"

enum msr_access {
    MSR_ABSENT, /* any access gives #GP(0) */
    MSR_READ_ONLY,
    MSR_WRITE_ONLY,
    MSR_READ_WRITE,
};

struct msr_view {
    enum msr_access access;
    uint64_t value;    /* what a read gives */
    uint64_t writable; /* bits that a write changes */
    uint64_t ignored;  /* bits that a write may change, without effect; others give #GP(0) */
};

/*
 * The view of an MSR of the list above, in a sealed model and its rules, where the hardware's own
 * holds `host` (0 where it has none). An MSR that is not in the list is MSR_ABSENT.
 */
struct msr_view msr_view(const struct model *m, const struct cpu_rules *rules, uint32_t msr,
                         uint64_t host);

/*
 * What the hardware's MSR must hold after a guest wrote `value`: false if the write gives #GP(0),
 * else *hardware, which keeps of `host` what is not the guest's to change.
 */
bool msr_view_write(const struct msr_view *view, uint64_t host, uint64_t value, uint64_t *hardware);

#endif
