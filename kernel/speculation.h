/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef LATCH_KERNEL_SPECULATION_H
#define LATCH_KERNEL_SPECULATION_H
/*
 * What is flushed at entry and exit because this CPU speculates past its own rules. The guest owns
 * its CPUs, so between guests there is nothing to guard; what is guarded is what Latch itself has
 * read or written, and where its returns go.
 *
 *   L1D_FLUSH   entry  L1TF: a not-present entry of the guest's reads what Latch left in the cache
 *   VERW        entry  MDS, TAA, MMIO stale data, RFDS, TSA: the same from the CPU's buffers
 *   IBPB        exit   branch type confusion and SRSO on AMD: a RET of Latch's goes where the guest
 *                      trained it to go
 *
 * Nothing else is needed: there is no indirect branch on an exit's way to be mistrained; each RET
 * follows its own CALL, so the return stack is never used beyond what Latch pushed; SPEC_CTRL, and
 * with it SSBD and IBRS, is the guest's, for Latch has no code of another's to contain.
 */
#include <stdbool.h>
#include <stdint.h>

enum measure {
    MEASURE_L1D_FLUSH = 1U << 0, /* IA32_FLUSH_CMD[0] */
    MEASURE_VERW = 1U << 1,
    MEASURE_IBPB = 1U << 2, /* IA32_PRED_CMD[0] */
};

/* What a CPU says of itself. */
struct speculation_facts {
    bool intel, amd; /* Hygon is AMD's here */
    uint32_t family;
    uint32_t features_ebx, features_edx; /* CPUID.7.0 */
    uint32_t amd_ebx;                    /* CPUID.80000008H:EBX */
    uint32_t amd_eax2, amd_ecx2;         /* CPUID.80000021H:EAX, ECX */
    uint64_t arch_capabilities;          /* IA32_ARCH_CAPABILITIES, 0 where there is none */
};

/* The set of measures (enum measure) that such a CPU needs and has. Pure. */
uint32_t speculation_measures(const struct speculation_facts *facts);

/* The measures in words, with what each is for; "none ..." for none. */
void speculation_describe(uint32_t measures, char *text, unsigned int size);

#endif
