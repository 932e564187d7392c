/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef LATCH_TESTS_GUEST_AREAS_AREAS_H
#define LATCH_TESTS_GUEST_AREAS_AREAS_H
/*
 * What the parts of the areas payload share. `narrow` is always a caller in 32-bit code.
 */
#include "kernel/xen_layout.h"
#include "tests/guest/lib/payload.h"

#define PAGE    4096UL
#define POISON  0xeeU /* what no area holds where it is looked for */
#define NOWHERE (1UL << 51)

#define HYPERCALL_MSR 0x40000000U

/* pages[1] follows pages[0]; pages[3] is the hypercall page. */
#define PAGES 6U
extern uint8_t pages[PAGES][PAGE];
#define PAGE_HYPERCALLS 3U
#define PAGE_INFO       4U
#define PAGE_ELSEWHERE  5U

int64_t vcpu_op(enum xen_vcpu_op op, unsigned int vcpu, uint64_t argument, bool narrow);
/* A run-state area, by its physical or linear address. */
int64_t register_at(enum xen_vcpu_op op, unsigned int vcpu, uint64_t address, bool narrow);
int64_t register_info(unsigned int vcpu, uint64_t frame, uint32_t offset, bool narrow);
/* By the hypercall page's MSR: which layout is written; all areas are written anew. */
void latch_mode(bool narrow);
void poison(void);
/* 64 or 32; *clean: behind it nothing was written. `at` has XEN_RUNSTATE_SIZE + 1 bytes. */
unsigned int layout_at(const uint8_t *at, bool *clean);
unsigned int width(bool narrow);
/* The nanoseconds that the guest makes of the TSC with what the vCPU info says. */
uint64_t system_time(const uint8_t *info);

/* Where areas may be (places.c), their times (times.c, updates.c), and hypercalls that are none of
 * theirs (calls.c). */
void check_offsets(void);
void check_linear(void);
void check_get(void);
void check_run_times(const uint8_t *info);
void check_updates(void);
void check_calls(void);

#endif
