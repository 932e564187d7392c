/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef LATCH_KERNEL_VM_H
#define LATCH_KERNEL_VM_H
/*
 * The one guest: its memory, its vCPUs, and the ways in which it ends.
 *
 * Legend: (c) constant after launch; (a) atomic; (v) under `lock`, which is also the lock of the
 * nested tables (mmu/direct.h).
 */
#include "cpuid/seal.h"
#include "kernel/config.h"
#include "kernel/end.h"
#include "kernel/lock.h"
#include "kernel/memory_map.h"
#include "kernel/vcpu.h"
#include "mmu/shadow.h"

struct vm {
    struct lock lock;
    unsigned int vcpu_count;      /* (c) */
    struct vcpu *vcpu[CPUS_MAX];  /* (c) */
    const struct config *config;  /* (c) */
    const struct acpi_info *acpi; /* (c) */
    struct memory_map map;        /* (c) guest-physical memory; Latch's range is reserved */
    struct memory_range main_ram; /* (c) the largest in the map: most accesses are there */
    struct seal seal;             /* (c) after seal_close(); its `life`: (v) */
    struct mmu_env env;           /* (c) */
    struct table_cache cache;     /* (v) */
    struct guest_map guest_map;   /* (v) */
    struct mtrr_state mtrr;       /* (v) what the tables are built from */
    struct direct direct;         /* (v) */
    struct walk_env walk;         /* (c) the guest's memory, for walks that set A and D */
    struct shadow shadow;         /* (v) no pages unless a vCPU is PAGED_SHADOW */
    struct xen_vm xen;            /* (v) */
    uint64_t filled;              /* (c) below it all is mapped before the guest starts */
    _Atomic unsigned int started; /* (a) vCPUs that have left wait-for-SIPI at least once */
    _Atomic bool icr_trapped;     /* (a) writes to the ICR exit */
    bool init_exits; /* (c) an INIT to a CPU that runs the guest reaches Latch by itself */
    _Atomic uint64_t forbidden;   /* (a) guest accesses to Latch's memory */
    bool relaunching;             /* written before `ender`: the guest begins anew */
    _Atomic(struct vcpu *) ender; /* (a) set under the lock: who ends the run; the others stop */
};

extern struct vm vm;

/*
 * Call another vCPU, which runs, by NMI for as long as waiting() is true of it. A call can fall into
 * the moment before an entry, so it is repeated. A guest that cannot be called ends with ERROR.
 */
void vm_call(struct vcpu *v, bool (*waiting)(const struct vcpu *v));
/* env->flush() of the VM's tables (mmu/mmu.h): until each other vCPU that runs has flushed, or waits
 * in Latch, from where it enters with a flush. Under the lock, or while no vCPU runs. */
void vm_flush(void *ctx);
/* Nested tables, the guest map, and shadow tables where a vCPU wants them; before the first entry.
 * -ENOMEM, -ENOSPC. */
int vm_build_memory(void);
/* Print how many pages the tables have: in all, of more than one model, and of each; of the shadow
 * tables what the vCPUs reach at this moment. Also what made these inexact, if anything did. */
void vm_print_tables(void);
/* The same for a next generation: the models changed, and no vCPU runs. Tables that the new models
 * share with the last ones stay. -ENOMEM, -ENOSPC. */
int vm_renew_memory(void);
/* Pages that the nested tables can still have below their roots, with those that they have and may drop. */
unsigned int vm_pool_left(void);
/* A vCPU wrote an MTRR: have the nested tables follow. Under the lock. */
void vm_follow_mtrrs(void);
/* Take and leave the VM's lock in an exit handler of `v`. */
void vm_lock(struct vcpu *v);
void vm_unlock(struct vcpu *v);
/* Read guest-physical memory; returns how many bytes are RAM of the guest's and were read. */
unsigned int vm_read(const struct vm *from, gpa_t address, void *buffer, unsigned int size);
/* The same for one naturally aligned entry of 4 or 8 bytes, in one access. */
bool vm_read_entry(const struct vm *from, gpa_t address, unsigned int size, uint64_t *value);
/* It as a struct walk_env wants it, with the VM as the context. */
int vm_walk_read(void *ctx, gpa_t address, unsigned int size, uint64_t *value);
/* A pointer to guest RAM, NULL if any of it is not. */
void *vm_memory(const struct vm *of, gpa_t address, uint64_t size);
/* The same to write to: the guest may have its page tables there, and shadow tables hear of it.
 * Under the lock, and for no longer than that. */
void *vm_memory_for_write(struct vm *of, gpa_t address, uint64_t size);

/* End the run from an exit of `v`: stop the other vCPUs, print the exits, then as configured.
 * Returns EXIT_STOP if another vCPU is ending it already. */
enum exit_action vm_end(struct vcpu *v, enum verdict verdict);
/* The guest powered itself off, or reset the machine: the same, but the guest gave the verdict. */
enum exit_action vm_power_off(struct vcpu *v);
/* As on-reset= says; `reason` says by what it was reset. */
enum exit_action vm_reset(struct vcpu *v, const char *reason);
/* The same, but unless the guest begins anew this is no way in which a sound guest ends: it is dumped
 * first, with the verdict ERROR. */
enum exit_action vm_triple_fault(struct vcpu *v, const struct exit *exit);
/* The guest cannot go on: say why, dump, and end with the verdict ERROR. */
enum exit_action vm_crash(struct vcpu *v, const struct exit *exit, const char *reason);

#endif
