/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef LATCH_KERNEL_XEN_LAYOUT_H
#define LATCH_KERNEL_XEN_LAYOUT_H
/*
 * The areas of Xen's public ABI (public/vcpu.h, public/xen.h) that Latch keeps for a guest, in the
 * 64-bit and the 32-bit layout. Pure: the same numbers, whatever the compiler aligns.
 *
 * A 32-bit guest aligns 8-byte members to 4 bytes only, so the run state is 4 bytes shorter there.
 * All checks of address and length take the longer one, so that an address is good or bad in either
 * mode alike; which layout is written is the caller's to say, each time.
 */
#include <stdbool.h>
#include <stdint.h>

enum xen_vcpu_op {
    XEN_GET_RUNSTATE_INFO = 4,
    XEN_REGISTER_RUNSTATE_AREA = 5, /* by linear address */
    XEN_REGISTER_VCPU_INFO = 10,
    XEN_REGISTER_RUNSTATE_PHYS_AREA = 14,
};

enum xen_runstate { XEN_RUNNING, XEN_RUNNABLE, XEN_BLOCKED, XEN_OFFLINE, XEN_RUNSTATES };

#define XEN_RUNSTATE_SIZE   0x30U
#define XEN_RUNSTATE_SIZE32 0x2cU
#define XEN_VCPU_INFO_SIZE  64U
#define XEN_AREA_ALIGNMENT  8U

/* state_entry_time has this bit set while the area is being written. */
#define XEN_RUNSTATE_UPDATE (1UL << 63)

/* Times in nanoseconds of the system time that struct xen_time scales the TSC to. */
struct xen_run_times {
    enum xen_runstate state;
    uint64_t since; /* when the state was entered */
    uint64_t time[XEN_RUNSTATES];
};

/* How a guest gets the system time from the TSC: ((tsc - timestamp) shifted by `shift`, right if
 * negative) * multiplier >> 32. */
struct xen_time {
    uint32_t version; /* odd while it is written */
    uint64_t timestamp, system_time;
    uint32_t multiplier;
    int8_t shift;
};

/* Where state_entry_time begins in the area. */
uint32_t xen_entry_time_offset(bool long_mode);
/* Where the vCPU info has its xen_time's version. */
uint32_t xen_time_version_offset(void);
/* The length of the area that is written: one of the two sizes. */
uint32_t xen_runstate_size(bool long_mode);
/* Write the run state into `area`, which has XEN_RUNSTATE_SIZE bytes; `update` sets the bit. */
void xen_put_run_times(uint8_t *area, const struct xen_run_times *times, bool long_mode,
                       bool update);
/* Write a whole vCPU info, XEN_VCPU_INFO_SIZE bytes: no event is pending or masked. */
void xen_put_vcpu_info(uint8_t *area, const struct xen_time *time, bool long_mode);

/* The scale of a TSC of this frequency in kHz, not 0. */
void xen_scale(uint64_t khz, struct xen_time *time);
/* Nanoseconds of that many ticks. */
uint64_t xen_nanoseconds(const struct xen_time *time, uint64_t ticks);

#endif
