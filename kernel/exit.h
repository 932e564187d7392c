/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef LATCH_KERNEL_EXIT_H
#define LATCH_KERNEL_EXIT_H
/*
 * One exit of a guest, in neutral form. A back end decodes its own exit into this, calls
 * exit_dispatch(), and carries out the answer. Nothing on this way prints.
 */
#include "mmu/address.h"

struct vcpu;

/* The name of each kind, for the dump and the statistics, is in exit_name.c. */
enum exit_kind {
    EXIT_CPUID,
    EXIT_HYPERCALL, /* VMCALL or VMMCALL */
    EXIT_RDMSR,
    EXIT_WRMSR,
    EXIT_IO,
    EXIT_XSETBV,
    EXIT_CR_WRITE,   /* a CR0 or CR4 write that changes a bit outside the model or the mask; CR3 */
    EXIT_CR_READ,    /* of a register that differs in hardware: shadow paging only */
    EXIT_PAGE_FAULT, /* a #PF that may be Latch's to resolve: see kernel/paging.h */
    EXIT_INVLPG,     /* shadow paging only, as INVPCID */
    EXIT_INVPCID,
    EXIT_MEMORY,    /* EPT violation or #NPF */
    EXIT_FORBIDDEN, /* an instruction that the model does not have: #UD */
    EXIT_NMI,
    EXIT_NMI_WINDOW, /* NMIs can be delivered again (VMX window, SVM IRET) */
    EXIT_INIT,
    EXIT_SIPI,
    EXIT_TRIPLE_FAULT,
    EXIT_BAD_STATE, /* entry refused: the guest state is invalid */
    EXIT_UNKNOWN,
    EXIT_MACHINE_CHECK, /* #MC, where the model has what it turns off: cpuid/dynamic.h */
    EXIT_RDPMC,         /* no model has a counter: #GP(0) */
    EXIT_TASK_SWITCH,   /* a hardware task switch: always on VMX; on SVM on shadow tables */
    EXIT_KINDS
};

/* An event to deliver to the guest. */
enum event_type { EVENT_NONE, EVENT_EXCEPTION, EVENT_INTERRUPT, EVENT_NMI };
struct event {
    enum event_type type;
    uint8_t vector;
    bool has_error_code;
    uint32_t error_code;
    uint64_t cr2; /* written to CR2 if this is a #PF */
};

struct exit {
    enum exit_kind kind;
    uint8_t length;      /* of the instruction; 0: the back end decodes it if it must be skipped */
    uint64_t raw_reason; /* the hardware's own numbers, for the dump */
    uint64_t raw_info[2];
    struct event event; /* out: what EXIT_FAULT delivers */
    union {
        struct {
            uint16_t port;
            uint8_t size; /* 1, 2 or 4 bytes */
            bool in, string, rep;
        } io;
        struct {
            uint8_t cr;     /* 0, 3 or 4 */
            uint8_t gpr;    /* EXIT_CR_READ: where the value goes, by its encoding */
            uint8_t size;   /* EXIT_CR_READ: 2, 4 or 8 bytes of it are written */
            uint64_t value; /* EXIT_CR_WRITE */
        } cr;
        struct {
            gla_t address;
            uint32_t error_code; /* the hardware's, by its own tables */
            bool delivering;     /* the access was made to deliver an event */
            bool probed;         /* after backend_probe(), so perhaps for want of a table only */
        } page_fault;
        struct {
            gla_t address;   /* INVLPG: what is to be dropped; INVPCID: where its descriptor is */
            uint64_t type;   /* INVPCID: 0 to 3, unchecked */
            bool everything; /* the operand is not known: drop all (INVLPG) */
        } invalidate;
        struct {
            gpa_t gpa;
            gla_t linear;      /* where the instruction's access, or a walk for it, was to */
            bool linear_valid; /* never on SVM */
            bool read, write, fetch;
            bool walk;       /* the access was the CPU's own, to a guest page table */
            bool delivering; /* or it was made to deliver an event, not by the instruction at RIP */
        } memory;
        struct {
            uint8_t vector;
        } sipi;
    };
};

/* What the back end does after exit_dispatch(). */
enum exit_action {
    EXIT_NEXT,  /* go on behind the instruction */
    EXIT_RETRY, /* go on at the same place */
    EXIT_FAULT, /* deliver exit->event instead of the instruction */
    EXIT_STOP,  /* leave the run loop: the vCPU was stopped or reset */
};

/* The one switch. `v` runs on this CPU and its gprs are saved. */
enum exit_action exit_dispatch(struct vcpu *v, struct exit *exit);

/* The name of a kind, padded for nothing, never NULL. */
const char *exit_name(enum exit_kind kind);

/* The back end follows each write of CR4: so do its bits in CPUID. On the vCPU's own CPU. */
void exit_follow_cr4(struct vcpu *v, uint64_t cr4);

/* Fill exit->event with an exception; returns EXIT_FAULT, so that a handler can return it. */
enum exit_action exit_fault(struct exit *exit, uint8_t vector); /* no error code */
enum exit_action exit_fault_code(struct exit *exit, uint8_t vector, uint32_t error_code);

#endif
