/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef LATCH_KERNEL_CPU_H
#define LATCH_KERNEL_CPU_H
/*
 * A physical CPU: its stacks, descriptor tables and the vCPU that it runs. GS base points to it
 * while Latch runs.
 *
 * Legend: (c) constant once the CPU is up; (o) its own CPU only; (a) atomic.
 */
#include "mmu/address.h"
#include <stdatomic.h>
#include <sys/reent.h>

#define CPUS_MAX 64U

/* Selectors of Latch's GDT. */
#define SELECTOR_CODE 0x08U
#define SELECTOR_DATA 0x10U
#define SELECTOR_TSS  0x18U

struct tss {
    uint32_t reserved0;
    uint64_t rsp[3];
    uint64_t reserved1;
    uint64_t ist[7];
    uint64_t reserved2;
    uint16_t reserved3, iomap_base;
} __attribute__((packed));
_Static_assert(sizeof(struct tss) == 104, "SDM vol. 3 figure 8-11");

struct vcpu;

struct cpu {
    struct cpu *self;          /* (c) first: gs:0 */
    unsigned int index;        /* (c) 0 is the boot processor */
    uint32_t apic_id;          /* (c) */
    struct vcpu *vcpu;         /* (c) NULL: parked */
    void *backend;             /* (c) struct vmx_cpu or struct svm_cpu */
    uint64_t gdt[5];           /* (c) */
    struct tss tss;            /* (c) */
    uint64_t stack_top;        /* (c) of the CPU's main stack */
    _Atomic bool online;       /* (a) */
    uint64_t tsc_moved;        /* (o) by how much its TSC was moved, by its guest or for it */
    uint64_t tsc_offset;       /* (o) of the guest's TSC from this CPU's */
    uint64_t tsc_adjust_zero;  /* (o) what IA32_TSC_ADJUST holds where its guest reads 0 */
    uint64_t tsc_deadline;     /* (o) the last one that its guest wrote, where that exits */
    _Atomic unsigned int nmis; /* (a) NMIs taken in Latch that are the guest's */
    int (*work)(void *);       /* written by the caller before work_ready, read after */
    void *work_argument;
    int work_result; /* written before work_done */
    volatile bool work_ready;
    volatile bool work_done;
    struct _reent reent; /* (o) newlib's; all zeros is its beginning */
};

/* The CPU that this runs on. */
static inline struct cpu *this_cpu(void)
{
    struct cpu *cpu;
    __asm__("mov %%gs:0, %0" : "=r"(cpu));
    return cpu;
}

#endif
