/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef LATCH_KERNEL_XEN_H
#define LATCH_KERNEL_XEN_H
/*
 * The cached guest pages: for each vCPU its run state and its vCPU info, with the numbers and the
 * layouts of Xen's public ABI (xen_layout.h), registered by a hypercall.
 *
 * A vCPU is `running` in the guest and in the exits that Latch answers by itself; `runnable` while
 * it waits for another vCPU in Latch, which is time stolen from it; `offline` while it waits for a
 * SIPI; and never `blocked`, for HLT is the guest's own. The four times add up to the system time,
 * which is the TSC's since the vCPU first ran.
 *
 * Locking: the VM's lock, except for xen_time().
 */
#include "kernel/xen_layout.h"
#include "mmu/guest_page.h"

struct vcpu;

struct xen_vm {
    bool latched, long_mode; /* which layout is written: by the hypercall page's MSR, or the first
                                registration before that */
    struct guest_pages pages;
    struct xen_time scale;
};

struct xen_vcpu {
    struct guest_page_cache runstate, info;
    struct xen_run_times times;
    uint64_t last_tsc;  /* to which the times are counted */
    uint64_t tsc_moved; /* by its guest, since RESET: the info's timestamp is in its own TSC */
    uint32_t version;   /* of the info */
};

/* Nothing is registered, nothing latched: at launch and at each relaunch, before a vCPU runs. */
void xen_start(void);

/* The vCPU_OP hypercall: `op` is an enum xen_vcpu_op, `argument` the guest-physical address of its
 * structure. 0, -ENOSYS for another op, -ENOENT for no such vCPU, -EINVAL for an address that is not
 * aligned or an info that crosses a page or is there already, -EFAULT for what is not RAM. */
int64_t xen_vcpu_op(struct vcpu *v, uint64_t op, uint64_t vcpu, uint64_t argument, bool long_mode);

/* The hypercall page's MSR was written: fill that page (-EINVAL if it is not RAM) and latch the
 * guest's mode, in which all areas are written anew. */
int xen_hypercall_page(struct vcpu *v, uint64_t value, bool long_mode);

/* The vCPU entered another state. */
void xen_enter_state(struct vcpu *v, enum xen_runstate state);
/* Its guest may have moved its TSC, on this CPU: what tells the time by it follows. */
void xen_follow_tsc(struct vcpu *v);
/* It was kept waiting in Latch for that many ticks of the TSC until now. */
void xen_stolen(struct vcpu *v, uint64_t ticks);

#endif
