/* SPDX-License-Identifier: BSD-2-Clause */
#include "tests/guest/lib/msrs.h"
#include "tests/guest/lib/kept.h"
#include "tests/guest/lib/payload.h"

#include <stdio.h>

#define MSR_TSC            0x10U
#define X2APIC_FIRST       0x800U
#define X2APIC_LAST        0x8ffU
#define LVT_MASKED         0x10000U
#define LVT_DEADLINE       0x40000U
#define DEADLINE_FAR       (1UL << 60)
#define FIRST_BIT          12U /* first the ones that say nothing of a range's size or type */
#define MTRR_FIRST         0x200U
#define MTRR_LAST          0x21fU
#define MTRR_VALID_BIT     11U
#define BITS               64U
#define LEAF1_TSC_DEADLINE (1U << 24)

const struct msr_span possible_msrs[MSR_SPANS] = {
    {0x10, 0x10},
    {0x17, 0x17},
    {0x1b, 0x1b},
    {0x3b, 0x3b},
    {0x48, 0x49},
    {0x8b, 0x8b},
    {0xe1, 0xe1},
    {0xfe, 0xfe},
    {0x10a, 0x10b},
    {0x122, 0x122},
    {0x174, 0x176},
    {0x179, 0x17b},
    {0x1a0, 0x1a0},
    {0x1c4, 0x1c5},
    {0x1d9, 0x1d9},
    {0x200, 0x21f},
    {0x250, 0x250},
    {0x258, 0x259},
    {0x268, 0x26f},
    {0x277, 0x277},
    {0x2ff, 0x2ff},
    {0x400, 0x47f},
    {0x6a0, 0x6a8},
    {0x6e0, 0x6e1},
    {0x802, 0x83f},
    {0xda0, 0xda0},
    {0x40000000, 0x40000000}, /* write-only: the hypercall page */
    {0xc0000080, 0xc0000084},
    {0xc0000100, 0xc0000103},
    {0xc0010010, 0xc0010010},
    {0xc0010015, 0xc0010015},
    {0xc001001a, 0xc001001a},
    {0xc001001d, 0xc001001d},
    {0xc0010020, 0xc0010020},
    {0xc001011f, 0xc001011f},
    {0xc0010131, 0xc0010131},
    {0xc0010140, 0xc0010141},
    {0xc0011029, 0xc0011029},
};

typedef void each_fn(uint32_t msr, uint64_t value, void *argument);

static void each_msr(each_fn *each, void *argument)
{
    for (unsigned int i = 0; i < MSR_SPANS; i++) {
        for (uint32_t msr = possible_msrs[i].first; msr <= possible_msrs[i].last; msr++) {
            uint64_t value;
            if (msr != MSR_TSC && msr != MSR_APIC_BASE &&
                (msr < X2APIC_FIRST || msr > X2APIC_LAST) && rdmsr_safe(msr, &value) == 0)
                each(msr, value, argument);
        }
    }
}

/* Of an MTRR's address as much as every model has: the next may be narrower. */
static void add(uint32_t msr, uint64_t value, void *sum)
{
    uint32_t *total = sum;
    if (msr >= MTRR_FIRST && msr <= MTRR_LAST)
        value &= UINT32_MAX;
    *total = (*total ^ msr ^ (uint32_t)value ^ (uint32_t)(value >> 32)) * 0x9e3779b1U;
    *total ^= *total >> 15;
}

static uint16_t msrs_sum(void)
{
    uint32_t sum = 0;
    each_msr(add, &sum);
    return (uint16_t)(sum ^ sum >> 16);
}

/* Of an MTRR's mask the valid bit: one with a hole in it would be a range for each page. */
static bool is_mtrr_mask(uint32_t msr)
{
    return msr >= MTRR_FIRST && msr <= MTRR_LAST && (msr & 1);
}

static void change_bit(uint32_t msr, uint64_t value, void *changed)
{
    const unsigned int first = is_mtrr_mask(msr) ? MTRR_VALID_BIT : FIRST_BIT;
    for (unsigned int i = 0; i < BITS; i++) {
        uint64_t now, wanted = value ^ 1UL << (i + first) % BITS;
        if (wrmsr_safe(msr, wanted) == 0 && rdmsr_safe(msr, &now) == 0 && now != value) {
            ++*(unsigned int *)changed;
            return;
        }
    }
}

/* Only in that mode a deadline can be written. */
bool msrs_deadline_mode(uint32_t lvt)
{
    uint32_t a, b, c, d;
    cpuid_raw(1, 0, &a, &b, &c, &d);
    if (!(c & LEAF1_TSC_DEADLINE))
        return false;
    apic_write(APIC_LVT_TIMER, lvt | LVT_DEADLINE);
    __asm__ volatile("mfence");
    return true;
}

static void set_deadline(unsigned int *changed)
{
    uint64_t now;
    if (!msrs_deadline_mode(LVT_MASKED))
        return;
    wrmsr(MSR_TSC_DEADLINE, DEADLINE_FAR);
    if (rdmsr_safe(MSR_TSC_DEADLINE, &now) != 0 || now != DEADLINE_FAR)
        broken("the deadline reads back as 0x%lx", now);
    ++*changed;
}

unsigned int msrs_change(void)
{
    unsigned int changed = 0;
    each_msr(change_bit, &changed);
    set_deadline(&changed);
    return changed;
}

static void print(uint32_t msr, uint64_t value, void *argument)
{
    (void)argument;
    printf("msr %x: %lx\n", msr, value);
}

bool msrs_are_as_kept(unsigned int index, bool first)
{
    const bool same = is_as_kept(index, first, msrs_sum());
    if (!same)
        each_msr(print, NULL);
    return same;
}
