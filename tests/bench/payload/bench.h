/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef LATCH_TESTS_BENCH_PAYLOAD_BENCH_H
#define LATCH_TESTS_BENCH_PAYLOAD_BENCH_H
/*
 * The bench's guest: it measures operations by the TSC, where a tick is an instruction, and prints
 * a line for each: `bench: NAME median N min N rounds N`, with what the measuring itself costs
 * taken off. Where an operation faults, or the machine has none, `bench: NAME absent WHY`.
 */
#include "tests/guest/lib/payload.h"

#define ROUNDS_MAX 2048U
/* RAM behind the payload that nothing has touched before measure_first_touch(), which reads and then
 * writes one page in 8 of it: a hypervisor may map some at a time. */
#define FRESH      0x4000000UL
#define FRESH_STEP (8 * 4096UL)
#define FRESH_SIZE (2UL * ROUNDS_MAX * FRESH_STEP)

typedef void operation(uint64_t first, uint64_t second);

/* One figure from now to then; the round tells the operands of those that change. */
typedef int64_t measure_fn(unsigned int round);

/* First of all: takes rounds=N from the command line, and measures what measuring costs. */
void rows_begin(void);

/* Measures `op` with these operands and prints it as `name`. */
void row(const char *name, operation *op, uint64_t first, uint64_t second);
/* The same for what is not one operation with the same operands; the result goes out as it is. */
void row_measured(const char *name, measure_fn *measure);
void row_absent(const char *name, const char *why);
/* Ticks of one operation without those of an empty one. */
int64_t ticks_of(operation *op, uint64_t first, uint64_t second);

/* Puts code of ops.asm straight into the IDT; it sees what the CPU pushed and nothing more. */
void set_gate(uint8_t vector, void (*entry)(void));
/* Back to the runtime's handler. */
void restore_gate(uint8_t vector);

/* The groups of rows. */
void measure_cpuid(void);
void measure_instructions(void); /* the former among them */
void measure_first_touch(void);
void measure_paging(void);
void measure_interrupts(void);
void measure_model(void);
/* With a second processor. */
void measure_processors(void);

/* ops.asm */
uint32_t time_operation(operation *op, uint64_t first, uint64_t second);
operation op_empty, op_cpuid, op_vmcall, op_vmmcall, op_rdmsr, op_wrmsr, op_in, op_out, op_xsetbv,
    op_cr0, op_cr4, op_read_memory, op_write_memory, op_cr3, op_invlpg, op_page_fault, op_remap,
    op_copy_on_write, op_new_table, op_xapic_write, op_xapic_read, op_xapic_ipi, op_x2apic_ipi;
uint64_t halt_until_timer(uint32_t count);
void skip_fault(void);
void give_page(void);
void answer_xapic(void);
void answer_x2apic(void);
void note_time(void);
extern uint64_t new_table, new_table_first;

#endif
