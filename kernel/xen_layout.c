/* SPDX-License-Identifier: BSD-2-Clause */
#include "kernel/xen_layout.h"
#include <string.h>

/* Offsets of both layouts; what is not here is 0 or the same. */
#define STATE         0U
#define ENTRY_TIME_64 8U
#define ENTRY_TIME_32 4U
#define INFO_TIME     32U

/* struct vcpu_time_info, the same in both. */
#define TIME_VERSION     0U
#define TIME_TIMESTAMP   8U
#define TIME_SYSTEM_TIME 16U
#define TIME_MULTIPLIER  24U
#define TIME_SHIFT       28U

uint32_t xen_time_version_offset(void)
{
    return INFO_TIME + TIME_VERSION;
}

uint32_t xen_entry_time_offset(bool long_mode)
{
    return long_mode ? ENTRY_TIME_64 : ENTRY_TIME_32;
}

uint32_t xen_runstate_size(bool long_mode)
{
    return long_mode ? XEN_RUNSTATE_SIZE : XEN_RUNSTATE_SIZE32;
}

static void put32(uint8_t *area, uint32_t offset, uint32_t value)
{
    memcpy(area + offset, &value, sizeof(value));
}

static void put64(uint8_t *area, uint32_t offset, uint64_t value)
{
    memcpy(area + offset, &value, sizeof(value));
}

void xen_put_run_times(uint8_t *area, const struct xen_run_times *times, bool long_mode,
                       bool update)
{
    uint32_t entry = xen_entry_time_offset(long_mode);

    memset(area, 0, XEN_RUNSTATE_SIZE);
    put32(area, STATE, times->state);
    put64(area, entry, times->since | (update ? XEN_RUNSTATE_UPDATE : 0));
    for (uint32_t i = 0; i < XEN_RUNSTATES; i++)
        put64(area, entry + 8U * (i + 1U), times->time[i]);
}

void xen_put_vcpu_info(uint8_t *area, const struct xen_time *time, bool long_mode)
{
    (void)long_mode; /* what differs, the pending events and CR2, is 0 */
    memset(area, 0, XEN_VCPU_INFO_SIZE);
    put32(area, INFO_TIME + TIME_VERSION, time->version);
    put64(area, INFO_TIME + TIME_TIMESTAMP, time->timestamp);
    put64(area, INFO_TIME + TIME_SYSTEM_TIME, time->system_time);
    put32(area, INFO_TIME + TIME_MULTIPLIER, time->multiplier);
    area[INFO_TIME + TIME_SHIFT] = (uint8_t)time->shift;
}

void xen_scale(uint64_t khz, struct xen_time *time)
{
    /* Ticks are first brought to between 2^31 and 2^32 a second, so that the multiplier, which is
     * 2^32 nanoseconds a tick, has 32 bits or one less. */
    uint64_t hz = khz * 1000U;
    int shift = 0;

    for (; hz > UINT32_MAX; shift--)
        hz >>= 1;
    for (; hz <= UINT32_MAX / 2U; shift++)
        hz <<= 1;
    time->shift = (int8_t)shift;
    time->multiplier = (uint32_t)((1000000000UL << 32) / hz);
}

uint64_t xen_nanoseconds(const struct xen_time *time, uint64_t ticks)
{
    ticks = time->shift < 0 ? ticks >> -time->shift : ticks << time->shift;
    return (uint64_t)((unsigned __int128)ticks * time->multiplier >> 32);
}
