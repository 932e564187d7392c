/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef LATCH_TESTS_GUEST_LIB_RUNTIME_H
#define LATCH_TESTS_GUEST_LIB_RUNTIME_H
/* What the runtime's own files share, and payloads do not need. */
#include "tests/guest/lib/payload.h"

#define TRAMPOLINE 0x8000UL
#define MODES_BASE 0x20000UL
#define PROBE_BASE 0x9000UL

/* What the runtime found in devices that it sets up itself. */
struct found_at_start {
    uint16_t pic_masks;
    uint8_t uart[4]; /* COM1's interrupts, line, modem and scratch */
};
extern struct found_at_start found_at_start;

/* COM1 or another port as it is used here, after the command line is known (console.c). */
void console_init(void);
/* Descriptor tables of the processor that booted (processor.c). */
void processor_init(void);
/* The same for the others. */
void processor_load_tables(unsigned int index);
/* Put the GDT back after a trip. */
void processor_load_gdt(void);
/* APIC of the processor that booted, and the list from the MADT (apic.c). */
void apic_init(void);
/* The APIC ids of the MADT's enabled processors; returns how many (acpi.c). */
unsigned int acpi_processors(uint32_t *apic_ids, unsigned int most);

/* Called by the assembly. */
_Noreturn void payload_main(uint32_t magic, uint32_t info);
_Noreturn void processor_main(void);
void processor_event(struct frame *frame);

/* As processor_start(), by way of code at page `vector` below 1 MiB that ends at TRAMPOLINE. */
bool processor_start_at(unsigned int index, uint8_t vector);

/* start.asm, vectors.asm */
extern uint64_t long_pml4[512], long_directories[4 * 512];
extern const uint8_t trampoline[], trampoline_end[];
extern const uint64_t vector_entries[256];
void ring3_enter(job_fn *fn, void *argument, uint64_t stack, uint64_t *saved);
_Noreturn void ring3_leave(uint64_t *saved);

#endif
