/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef LATCH_KERNEL_SPECULATION_H
#define LATCH_KERNEL_SPECULATION_H
/*
 * What is flushed at entry and exit because this CPU speculates past its own rules. The guest owns
 * its CPUs, so between guests there is nothing to guard; what is guarded is what Latch itself has
 * read or written, and where its branches go.
 *
 *   L1D_FLUSH   entry  L1TF: a not-present entry of the guest's reads what Latch left in the cache
 *   VERW        entry  MDS, TAA, MMIO stale data, RFDS, TSA: the same from the CPU's buffers
 *   IBPB        exit   branch type confusion and SRSO on AMD: a RET of Latch's goes where the guest
 *                      trained it to go
 *
 * The rest holds on every CPU, and costs an exit that is answered quickly nothing. A call by pointer
 * is a retpoline (kernel.mk refuses any other). Within the run loop each RET follows its own CALL;
 * where Latch leaves the loop the return stack is filled (return_stack.inc). SPEC_CTRL, and with it
 * SSBD and IBRS, is the guest's, for Latch has no code of another's to contain.
 */
#include <stdbool.h>
#include <stdint.h>

enum measure {
    MEASURE_L1D_FLUSH = 1U << 0, /* IA32_FLUSH_CMD[0] */
    MEASURE_VERW = 1U << 1,
    MEASURE_IBPB = 1U << 2, /* IA32_PRED_CMD[0] */
};

enum weakness {
    WEAKNESS_L1TF = 1U << 0,
    WEAKNESS_MDS = 1U << 1,
    WEAKNESS_TAA = 1U << 2,
    WEAKNESS_MMIO = 1U << 3,
    WEAKNESS_RFDS = 1U << 4,
    WEAKNESS_TSA = 1U << 5,
    WEAKNESS_CONFUSION = 1U << 6, /* of branch types */
    WEAKNESS_SRSO = 1U << 7,
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

/* The set of enum weakness that such a CPU has, or does not say that it has not. Pure. */
uint32_t speculation_weaknesses(const struct speculation_facts *facts);

/* The set of enum measure that helps such a CPU against these weaknesses, and that it has; *unmet
 * becomes those against which it has none. Pure. */
uint32_t speculation_measures(const struct speculation_facts *facts, uint32_t weaknesses,
                              uint32_t *unmet);

/* All measures that the CPU can execute, whether they help it or not. Pure. */
uint32_t speculation_possible(const struct speculation_facts *facts);

/* The measures in words, with what of `weaknesses` each is for. The text is cut at `size`. */
void speculation_describe(uint32_t measures, uint32_t weaknesses, char *text, unsigned int size);

/* The weaknesses by name, with what each would need. The text is cut at `size`. */
void speculation_describe_unmet(uint32_t weaknesses, char *text, unsigned int size);

#endif
