/* SPDX-License-Identifier: BSD-2-Clause */
#include "tests/guest/areas/areas.h"

#include <string.h>

uint8_t pages[PAGES][PAGE] __attribute__((aligned(4096)));

int64_t vcpu_op(enum xen_vcpu_op op, unsigned int vcpu, uint64_t argument, bool narrow)
{
    if (narrow)
        return latch_hypercall32(HYPERCALL_VCPU_OP, op, vcpu, (uint32_t)argument);
    return latch_hypercall(HYPERCALL_VCPU_OP, op, vcpu, argument, 0);
}

int64_t register_at(enum xen_vcpu_op op, unsigned int vcpu, uint64_t address, bool narrow)
{
    const uint64_t argument = address;
    return vcpu_op(op, vcpu, (uint64_t)&argument, narrow);
}

int64_t register_info(unsigned int vcpu, uint64_t frame, uint32_t offset, bool narrow)
{
    const struct {
        uint64_t frame;
        uint32_t offset, reserved;
    } argument = {.frame = frame, .offset = offset};
    return vcpu_op(XEN_REGISTER_VCPU_INFO, vcpu, (uint64_t)&argument, narrow);
}

void latch_mode(bool narrow)
{
    if (narrow)
        wrmsr32(HYPERCALL_MSR, (uint32_t)(uint64_t)pages[PAGE_HYPERCALLS]);
    else
        (void)wrmsr_safe(HYPERCALL_MSR, (uint64_t)pages[PAGE_HYPERCALLS]);
}

void poison(void)
{
    memset(pages, POISON, 3 * PAGE);
}

unsigned int layout_at(const uint8_t *at, bool *clean)
{
    *clean = at[XEN_RUNSTATE_SIZE] == POISON;
    if (at[XEN_RUNSTATE_SIZE32] != POISON)
        return 64;
    *clean = *clean && at[XEN_RUNSTATE_SIZE - 1] == POISON;
    return 32;
}

unsigned int width(bool narrow)
{
    return narrow ? 32 : 64;
}

uint64_t system_time(const uint8_t *info)
{
    uint64_t timestamp, base;
    uint32_t multiplier;
    memcpy(&timestamp, info + 40, 8);
    memcpy(&base, info + 48, 8);
    memcpy(&multiplier, info + 56, 4);
    uint64_t delta = rdtsc() - timestamp;
    int shift = (int)info[60] - (info[60] > 127 ? 256 : 0);
    delta = shift < 0 ? delta >> -shift : delta << shift;
    return base + (uint64_t)((unsigned __int128)delta * multiplier >> 32);
}
