/* SPDX-License-Identifier: BSD-2-Clause */
/* The MSR bitmaps of a vCPU and the I/O bitmaps of the VM: SDM vol. 3 §25.6.9, §25.6.4. */
#include "cpuid/rules.h"
#include "kernel/memory.h"
#include "kernel/msr.h"
#include "vmx/vcpu.h"
#include "vmx/vmx.h"

static const struct msr_rule rules[] = {
    MSR_RULE(0x017, 0x017, MSR_GROUP_INTEL, MSR_READ_HOST, "the platform id goes with microcode's"),
    MSR_RULE(0x0e1, 0x0e1, MSR_GROUP_UMWAIT, MSR_PASS, "how long the guest's own CPU may wait"),
    MSR_RULE(0x1c4, 0x1c5, MSR_GROUP_XFD, MSR_PASS, "Latch has no extended state"),
};

#define MSR_RANGE      0x2000U
#define MSR_HIGH_FIRST 0xc0000000U
#define BITMAP_HIGH    1024U /* offset of the high MSRs' */
#define BITMAP_WRITE   2048U

const struct msr_rule *vmx_msr_rules(size_t *count)
{
    *count = sizeof(rules) / sizeof(rules[0]);
    return rules;
}

static uint8_t io_bitmap[2][PAGE_SIZE] __attribute__((aligned(PAGE_SIZE)));

hpa_t vmx_io_bitmap(unsigned int half)
{
    return memory_address_of(io_bitmap[half]);
}

static void set_bit(uint8_t *bitmap, uint32_t bit, bool value)
{
    uint8_t mask = (uint8_t)(1U << (bit & 7U));
    if (value)
        __atomic_fetch_or(&bitmap[bit >> 3], mask, __ATOMIC_RELAXED);
    else
        __atomic_fetch_and(&bitmap[bit >> 3], (uint8_t)~mask, __ATOMIC_RELAXED);
}

/* An MSR outside of the two ranges always exits. */
void vmx_pass_msr(struct vcpu *v, uint32_t msr, bool read, bool write)
{
    uint8_t *bitmap = vmx_of(v)->msr_bitmap;
    if (msr - MSR_HIGH_FIRST < MSR_RANGE)
        bitmap += BITMAP_HIGH;
    else if (msr >= MSR_RANGE)
        return;
    uint32_t bit = msr & (MSR_RANGE - 1U);
    set_bit(bitmap, bit, !read);
    set_bit(bitmap + BITMAP_WRITE, bit, !write);
}

void vmx_trap_port(uint16_t port, bool trap)
{
    set_bit(io_bitmap[port >> 15], port & 0x7fffU, trap);
}
