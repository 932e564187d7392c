/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef LATCH_TESTS_BENCH_NULL_NULL_H
#define LATCH_TESTS_BENCH_NULL_NULL_H
/*
 * The least work that an exit can cost: a stub that runs the bench's own operations as its guest and
 * answers each exit with constants. Three flavours: *floor* keeps nothing of the guest's and knows
 * but CPUID; *gpr* keeps the general registers; *full* keeps what else a guest could see change.
 */
#include <stdbool.h>
#include <stdint.h>

enum flavour { FLAVOUR_FLOOR, FLAVOUR_GPR, FLAVOUR_FULL };

/* The MSRs and the port that exit, as measure_instructions() uses them. */
#define TRAPPED_MSR  0x8bU
#define TRAPPED_PORT 0x44U

/* Runs entry() as the guest; returns only if the CPU refused. */
void null_svm_run(enum flavour flavour, void (*entry)(void), void *stack);
void null_vmx_run(enum flavour flavour, void (*entry)(void), void *stack);

/*
 * Nested tables: 4 GiB mapped to themselves, but for the fresh memory, whose pages null_fresh[]
 * maps one by one. `table` and `leaf` are the rights of an entry, the latter without the bit for
 * 2 MiB. Returns the root's address.
 */
uint64_t null_nested_tables(uint64_t table, uint64_t leaf);
extern uint64_t null_fresh[];
extern uint64_t null_fresh_rights;

/* The current descriptor tables, as the guest is to have them too. */
struct descriptor_table {
    uint16_t limit;
    uint64_t base;
} __attribute__((packed));
struct descriptor_table null_gdt(void);
struct descriptor_table null_idt(void);

/* svm.asm: VMCB of the guest, and of the host's VMSAVE; physical addresses, which are linear. */
void null_svm_floor(uint64_t vmcb, uint64_t host_vmcb);
void null_svm_gpr(uint64_t vmcb, uint64_t host_vmcb);
void null_svm_full(uint64_t vmcb, uint64_t host_vmcb);

/* vmx.asm: with the current VMCS. */
void null_vmx_floor(void);
void null_vmx_gpr(void);
void null_vmx_full(void);

#endif
