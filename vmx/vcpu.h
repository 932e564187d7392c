/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef LATCH_VMX_VCPU_H
#define LATCH_VMX_VCPU_H
/* What the files of vmx/ share among themselves. */
#include "kernel/vcpu.h"
#include "kernel/x86.h"

/* cpu->backend */
struct vmx_cpu {
    hpa_t vmxon; /* the VMXON region */
    hpa_t page;  /* that this lies in */
};

/* v->backend. Its own CPU only. */
struct vmx_vcpu {
    hpa_t vmcs;
    uint8_t *msr_bitmap; /* four bitmaps of 1 KiB: SDM vol. 3 §25.6.9 */
    uint64_t eptp;
    uint64_t other_eptp; /* the one before, of which translations may be cached still; or 0 */
    uint64_t ept_cap;    /* IA32_VMX_EPT_VPID_CAP */
    unsigned int levels; /* of the tables that vCPUs share */
    hpa_t probe;         /* PROBE_PAGES: zeros, then tables of levels 1 to 5 (probe.c) */
    bool probing;        /* on those tables, with all #PFs exiting, for one instruction */
    /* What stands in the VMCS, and only Latch changes: the masks, the guest's values of the bits
     * in them, and, with PAGED_SHADOW, CR3. */
    uint64_t cr0_owned, cr0_shadow, cr4_owned, cr4_shadow, shadow_cr3;
    uint64_t efer;        /* PAGED_SHADOW: the guest's */
    bool no_wp;           /* the same: CR0.WP is 0 in hardware too */
    uint16_t vpid;        /* 0: there is none, and each entry flushes by itself */
    bool nmi_pending;     /* for the guest, whose NMIs are blocked or who is taking an event */
    bool nmis_open;       /* NMIs are known not to be blocked in the guest: quick.c */
    _Atomic bool attend;  /* an NMI came in Latch: look what it was before the next entry */
    uint32_t entry_error; /* VM-instruction error of an entry that failed, else 0 */
};

static inline struct vmx_vcpu *vmx_of(struct vcpu *v)
{
    return v->backend;
}

/* VMCLEAR and VMPTRLD (SDM vol. 3 §31.3): a failure is a fault of Latch's own. */
static inline void vmx_clear(hpa_t vmcs)
{
    bool failed;
    __asm__ volatile("vmclear %1" : "=@ccbe"(failed) : "m"(vmcs.raw) : "memory");
    if (failed)
        __builtin_trap();
}

static inline void vmx_make_current(hpa_t vmcs)
{
    bool failed;
    __asm__ volatile("vmptrld %1" : "=@ccbe"(failed) : "m"(vmcs.raw) : "memory");
    if (failed)
        __builtin_trap();
}

/* GUEST_INTERRUPTIBILITY: SDM vol. 3 table 25-3. */
#define BLOCKED_BY_STI    (1U << 0)
#define BLOCKED_BY_MOV_SS (1U << 1)
#define BLOCKED_BY_SMI    (1U << 2)
#define BLOCKED_BY_NMI    (1U << 3)

#define ACTIVITY_ACTIVE 0U

#define ACCESS_DPL      (3U << 5)
#define ACCESS_L        (1U << 13)
#define ACCESS_UNUSABLE (1U << 16)

#define PENDING_DEBUG_BS (1UL << 14)

/* entry.asm. Runs the guest from VMLAUNCH on, with vmx_exit() after each exit, until that or
 * vmx_attend() says false, or an entry fails. */
void vmx_run_guest(struct vcpu *v);
/* Where exits arrive; never called. */
void vmx_exit_entry(void);
/* The same for a vCPU whose exits are timed. */
void vmx_exit_entry_timed(void);
/* From the last look at `attend` to VMLAUNCH or VMRESUME: addresses of code, never called. */
void vmx_launch_window(void);
void vmx_launch_window_end(void);
void vmx_resume_window(void);
void vmx_resume_window_end(void);
void vmx_quick_window(void);
void vmx_quick_window_end(void);

/* exit.c, called by entry.asm with the guest's registers in v->regs; false: leave the loop. */
bool vmx_exit(struct vcpu *v);
/* quick.c: an exit with RAX, RCX, RDX, RBX, RSI and RDI in v->regs, the others in the registers, which
 * it keeps; false: nothing is done, vmx_exit() is to. */
bool vmx_quick(struct vcpu *v);
/* timed.c: both, and tell how long it took. */
bool vmx_exit_timed(struct vcpu *v);
/* `attend` or v->flush is set. */
bool vmx_attend(struct vcpu *v);
/* VMLAUNCH or VMRESUME itself failed. */
void vmx_entry_failed(struct vcpu *v);

/* vcpu.c: the host's state that an exit loads. */
void vmx_load_host_state(struct vcpu *v);

/* state.c */
/* Is the guest in 64-bit mode, CS.L included? */
bool vmx_in_64bit_mode(void);
/* Go on behind an instruction of `length` bytes, as if it had completed. */
void vmx_skip(unsigned int length);
/* The base of a segment register. */
uint64_t vmx_segment_base(enum segment_index segment);

/* event.c. `vectoring` is the interruption information of the event that the exit interrupted, 0
 * for exits that cannot or did not. */
/* Deliver `event` at the next entry instead of the current instruction. False: a triple fault. */
bool vmx_inject(struct vcpu *v, const struct event *event, uint32_t vectoring);
/* Deliver again what the exit interrupted. */
void vmx_redeliver(void);
/* Deliver an NMI as soon as the guest takes one. */
void vmx_pend_nmi(struct vcpu *v);
/* An NMI-window exit: no longer wait for it, and deliver the NMI that did. */
void vmx_nmi_window(struct vcpu *v);
/* An IRET that unblocked NMIs was interrupted and is to run again: block them again (SDM vol. 3
 * §28.2.3). */
void vmx_restore_nmi_blocking(uint32_t qualification, uint32_t vectoring);

/* tlb.c */
void vmx_flush_nested(const struct vmx_vcpu *vmx); /* all that came from the vCPU's EPT */
void vmx_flush_all(uint64_t ept_cap);              /* everything, after VMXON */
void vmx_flush_eptp(const struct vmx_vcpu *vmx, uint64_t eptp); /* what came from these tables */
void vmx_flush_local(struct vcpu *v); /* what MOV to CR3 drops: global pages stay */

/* permissions.c */
hpa_t vmx_io_bitmap(unsigned int half); /* 0: ports 0 to 7FFFH, 1: the rest */

/* probe.c: backend_probe() has made the coming entry a special one; make the next a usual one. */
#define PROBE_PAGES 6U
void vmx_end_probe(struct vcpu *v);

/* paging.c */
/* EPTP for tables whose root is at `root`: those that vCPUs share have vmx->levels. */
uint64_t vmx_eptp(const struct vmx_vcpu *vmx, hpa_t root);
uint64_t vmx_eptp_of_levels(hpa_t root, unsigned int levels);
/* The guest's registers, to where it and the hardware see them; `efer` with the mode that its LMA
 * says. */
void vmx_put_cr0(struct vcpu *v, uint64_t cr0);
/* CD and NW, which neither entries nor exits touch (SDM vol. 3 §27.3.2.1, §28.5.1), on this CPU. */
void vmx_put_cache_control(uint64_t cr0);
void vmx_put_cr3(struct vcpu *v, uint64_t cr3);
void vmx_put_cr4(struct vcpu *v, uint64_t cr4);
void vmx_put_efer(struct vcpu *v, uint64_t efer);
uint64_t vmx_read_cr3(const struct vcpu *v);

/* cr.c */
/* Load the PDPTE fields from guest memory if `cr0`, `cr4` and `efer` mean PAE paging. -EINVAL: a
 * reserved bit is set (#GP, SDM vol. 3 §4.4.1); the fields are then unchanged. */
int vmx_load_pdptes(struct vcpu *v, uint64_t cr0, uint64_t cr3, uint64_t cr4, uint64_t efer);

#endif
