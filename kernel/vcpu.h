/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef LATCH_KERNEL_VCPU_H
#define LATCH_KERNEL_VCPU_H
/*
 * A virtual CPU and the VM that it belongs to. A vCPU stays on its CPU for ever.
 *
 * Legend of the members: (c) constant after launch; (o) only the CPU that runs the vCPU touches it;
 * (a) atomic, any CPU; (v) under the VM's lock.
 */
#include "cpuid/dynamic.h"
#include "cpuid/model.h"
#include "cpuid/paging_props.h"
#include "cpuid/policy.h"
#include "cpuid/rules.h"
#include "kernel/cpu.h"
#include "kernel/exit.h"
#include "kernel/paging_choice.h"
#include "kernel/xen.h"
#include "mmu/address.h"
#include <stdatomic.h>

/* General registers in the order of their encoding, so that a decoded number indexes `r`. */
union gprs {
    uint64_t r[16];
    struct {
        uint64_t rax, rcx, rdx, rbx, rsp, rbp, rsi, rdi, r8, r9, r10, r11, r12, r13, r14, r15;
    };
};

/*
 * A segment register. `attributes` is the descriptor's bits 55:52 and 47:40 packed into 12 bits
 * (the VMCB's form): type 3:0, S 4, DPL 6:5, P 7, AVL 8, L 9, D/B 10, G 11. P=0 means unusable.
 */
struct segment {
    uint16_t selector;
    uint16_t attributes;
    uint32_t limit; /* in bytes */
    uint64_t base;
};
#define SEGMENT_L  0x200U
#define SEGMENT_DB 0x400U
#define SEGMENT_P  0x80U

enum segment_index { SEG_ES, SEG_CS, SEG_SS, SEG_DS, SEG_FS, SEG_GS, SEG_LDTR, SEG_TR, SEGMENTS };

/* The architectural state besides the general registers (RSP is in gprs). Values as the guest
 * reads them: EFER without SVME, CR4 without VMXE, CR0 as it would read it. */
struct vcpu_state {
    uint64_t rip, rflags;
    uint64_t cr0, cr2, cr3, cr4, efer;
    uint64_t dr6, dr7;
    uint64_t pat;
    struct segment segment[SEGMENTS];
    struct {
        uint32_t limit;
        uint64_t base;
    } gdtr, idtr;
    uint64_t sysenter_cs, sysenter_esp, sysenter_eip;
    uint64_t star, lstar, cstar, sfmask, kernel_gs_base;
    bool nmi_blocked, interrupt_shadow;
};

enum vcpu_status {
    VCPU_ABSENT,
    VCPU_WAIT_FOR_SIPI, /* its CPU waits in Latch for `sipi_vector` */
    VCPU_RUNNING,
    VCPU_STOPPED,
};

struct vm;

/* What the rules say of one MSR, remembered by its lowest bits. */
#define MSR_SLOTS 16U
struct msr_slot {
    uint32_t msr;
    bool constant; /* reads give `value`, writes are ignored */
    uint64_t value;
    const struct msr_rule *rule; /* NULL: the guest has no such MSR */
    uint64_t reserved;
};
_Static_assert(sizeof(struct msr_slot) == 32, "a shift finds it");

/* What a model hides, and its CPU lets a guest use nevertheless. */
struct unenforced {
    struct policy_set features; /* with instructions that no control makes fault */
    uint32_t instructions;      /* 1 << enum instruction_group: this CPU has not the control */
    uint32_t late;              /* or it comes only after the instruction's own faults */
    uint64_t xcr0;              /* state components that this CPU lets XSETBV enable */
};

struct vcpu {
    union gprs regs;                  /* (o) first: the entry stubs rely on offset 0 */
    void *backend;                    /* (c) struct vmx_vcpu or struct svm_vcpu */
    struct vm *vm;                    /* (c) */
    struct cpu *cpu;                  /* (c) */
    unsigned int index;               /* (c) 0 is the boot processor */
    uint32_t apic_id;                 /* (c) */
    const struct model *model;        /* (c) sealed, read-only page */
    struct paging_props props;        /* (c) derived from the model */
    uint64_t cr3_reserved;            /* (c) derived from them: of CR3 in long mode */
    struct cpu_rules rules;           /* (c) derived from the model */
    uint64_t exits[EXIT_KINDS];       /* (o) read by others without a lock: statistics */
    _Atomic(enum vcpu_status) status; /* (a) */
    _Atomic int sipi_vector;          /* (a) -1: none yet */
    _Atomic bool kicked;         /* (a) an NMI by Latch is on its way; cleared by who takes it */
    _Atomic bool init_pending;   /* (a) an INIT came for it: stop and wait for a SIPI */
    _Atomic bool at_lock;        /* (a) it waits in Latch: for the VM's lock, or in vm_call() */
    _Atomic bool flush;          /* (a) the nested tables lost rights: the back end flushes, and
                                    * clears it, before the next entry */
    uint8_t measures;            /* (c) enum measure: what the entry stub flushes; behind `flush`,
                                     * so that it looks at both at once */
    struct paging_props host;    /* (c) the most that props could have been on its CPU */
    bool host_lam;               /* (c) its CPU has LAM, which no model has */
    uint32_t host_spec_ctrl;     /* (c) bits of these MSRs that its CPU has */
    uint32_t host_pred_cmd;      /* (c) */
    bool foreign;                /* (c) leaf 0 spells another vendor than its CPU's */
    enum vcpu_paging paging;     /* (c) */
    struct paging_choice choice; /* (c) why */
    struct shadow_cpu *shadow;   /* (c) NULL unless PAGED_SHADOW; what it points to: (v) */
    uint64_t cr3;                /* (o) PAGED_SHADOW: the guest's own */
    uint64_t pdpte[4];           /* (o) PAGED_SHADOW: as the guest loaded them, if Intel's */
    uint64_t pdpte_next[4];      /* (o) what the write that is carried out will have loaded, */
    bool pdpte_loaded;           /* (o) if it loads them */
    struct table_page *root;     /* (c) of the nested tables; PAGED_SHADOW: while CR0.PG is 0 */
    struct table_page *shadow_root; /* (c) PAGED_SHADOW: of those that map shadow tables too */
    struct cpuid_dynamic dynamic;   /* (o) what CPUID shows beside the model; cr4 and XCR0 late */
    uint32_t rows_late;             /* (c) enum cpuid_dynamic_row: the last one that is not simply
                                     * dynamic.answer[] while its CR4 is the guest's */
    struct msr_slot msr_slot[MSR_SLOTS]; /* (o) */
    uint32_t apic_ldr, apic_dfr;  /* the logical APIC id, as far as its own writes were trapped */
    volatile bool wake;           /* set, before a kick, by who wants it to look up from waiting */
    struct xen_vcpu xen;          /* (v) areas that Latch keeps in the guest's memory */
    uint32_t host_instructions;   /* (c) 1 << enum instruction_group: those that its CPU has */
    uint64_t host_xcr0;           /* (c) state components that its CPU has */
    struct unenforced unenforced; /* (c) */
    struct vcpu_stats *stats;     /* (c) NULL: its exits are not timed; what it points to: (o) */
    bool ran;                     /* (o) it has entered the guest since launch */
    _Atomic bool icr_passed;      /* (a) its writes to the x2APIC ICR are no longer trapped */
    struct {
        uint64_t msr, page, late; /* by WRMSR, by MMIO; of both, those for which no trap was left */
    } apic_writes;                /* (o) that exited */
};

/* The model has SGX (CPUID.7:EBX[2]), which machine-check state turns off: cpuid/dynamic.h. */
static inline bool vcpu_has_sgx(const struct vcpu *v)
{
    return model_get(v->model, 7, 0).ebx >> 2 & 1U;
}

/* rows_late of a CPU that changes nothing which CPUID shows without an exit but its mode, by which an
 * Intel model shows SYSCALL or not. */
static inline uint32_t vcpu_rows_late(const struct vcpu *v)
{
    return model_is_amd(v->model) ? DYNAMIC_LEVEL : DYNAMIC_EXTENDED;
}

/* What RESET leaves of that which INIT keeps: CR0.CD and NW, and the MSRs but EFER. */
void vcpu_reset_state(struct vcpu_state *state);
/* Fill `state` and the gprs with what INIT leaves (SDM vol. 3 table 10-1, APM vol. 2 §14.1.3),
 * CS:IP at vector:0000 as after a SIPI. The FPU, XCR0 etc. that INIT keeps are left alone; the MSRs
 * but EFER, and CR0.CD and NW, which it keeps too, are taken from what `state` holds. */
void vcpu_init_state(struct vcpu *v, struct vcpu_state *state, uint8_t sipi_vector);

/*
 * Copy `size` bytes of guest memory at a guest-linear address, through the guest's page tables as
 * a supervisor or user access of its current mode. Returns how many bytes could be read; fewer
 * than asked for when a page is absent, not the guest's, or not RAM.
 */
unsigned int vcpu_fetch(struct vcpu *v, const struct vcpu_state *state, uint64_t linear,
                        void *buffer, unsigned int size);

/* The guest-physical address that a linear one means for a supervisor's access (enum access) by the
 * guest's page tables, A and D bits left as they are. -EFAULT, -EINVAL as guest_walk(). */
int vcpu_translate(struct vcpu *v, uint64_t linear, unsigned int access, gpa_t *address);

/* The walk of the guest's page tables to a linear address, in words, by `line`. */
void vcpu_dump_walk(struct vcpu *v, const struct vcpu_state *state, uint64_t linear,
                    void (*line)(const char *text));

/* The paging part of a state. */
struct paging_state;
void vcpu_paging_state(const struct vcpu *v, const struct vcpu_state *state,
                       struct paging_state *paging);

/* Wait in Latch for SIPIs and run from each on; for the boot vCPU run from `entry` first. The work
 * of the vCPU's CPU for the whole run. */
int vcpu_main(void *vcpu);

/*
 * Length of the instruction at CS:RIP, for CPUs that do not save the next RIP: 1 to 15, or 0 when
 * it can no longer be read or is not one that exits (the back end then retries).
 * If `out` is not NULL it gets the decoded instruction.
 */
struct insn;
unsigned int vcpu_decode(struct vcpu *v, const struct vcpu_state *state, struct insn *out);

#endif
