/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The guest's memory types: its MTRRs take what the CPU takes (SDM vol. 3 §12.11), the nested tables
 * are built anew for it while all vCPUs run, and memory stays what it was.
 */
#include "tests/guest/lib/payload.h"

#include <string.h>

#define MSR_MTRRCAP     0xfeU
#define MSR_PHYSBASE(n) (0x200U + 2U * (n))
#define MSR_PHYSMASK(n) (0x201U + 2U * (n))
#define MSR_FIX64K      0x250U
#define MSR_DEF_TYPE    0x2ffU
#define DEF_TYPE_ENABLE (1UL << 11)
#define MASK_VALID      (1UL << 11)
#define TYPE_UC         0UL
#define TYPE_WT         4UL
#define TYPE_WB         6UL
#define ROUNDS          3U
#define REGION          0x8000000UL /* 128 MiB: RAM of every machine here, aligned to its size */
#define REGION_SIZE     0x200000UL
#define PAGE            4096UL

static uint64_t address_mask;

static void check_write(const char *name, bool taken, uint32_t msr, uint64_t value)
{
    uint64_t before = rdmsr(msr);
    bool ok = wrmsr_safe(msr, value) == 0;
    check(ok == taken, name, "MSR 0x%x, 0x%lx: wanted %s, found %s", msr, value,
          taken ? "taken" : "#GP", ok ? "taken" : "#GP");
    check_equal("mtrr.reads-back", taken ? value : before, rdmsr(msr));
    wrmsr(msr, before);
}

static void check_values(unsigned int pairs)
{
    uint64_t def_type = rdmsr(MSR_DEF_TYPE);
    check_write("mtrr.def-type-same", true, MSR_DEF_TYPE, def_type);
    check_write("mtrr.def-type-2", false, MSR_DEF_TYPE, (def_type & ~0xffUL) | 2);
    check_write("mtrr.def-type-reserved", false, MSR_DEF_TYPE, def_type | 1UL << 12);
    check_write("mtrr.base-type-3", false, MSR_PHYSBASE(pairs - 1), REGION | 3);
    check_write("mtrr.base-too-high", false, MSR_PHYSBASE(pairs - 1),
                (address_mask | (PAGE - 1)) + 1);
    check_write("mtrr.mask-reserved", false, MSR_PHYSMASK(pairs - 1), 1);
    check_write("mtrr.base", true, MSR_PHYSBASE(pairs - 1), REGION | TYPE_UC);
    check(wrmsr_safe(MSR_MTRRCAP, rdmsr(MSR_MTRRCAP)) != 0, "mtrr.cap-is-read-only",
          "wanted #GP, found none");
    if (rdmsr(MSR_MTRRCAP) >> 8 & 1U)
        check_write("mtrr.fixed-type-7", false, MSR_FIX64K, 0x0606060606060607UL);
}

/* What the firmware set has no bits that this CPU has not, and may be written as it was read. */
static void check_read_back(unsigned int pairs)
{
    for (uint32_t msr = MSR_PHYSBASE(0); msr <= MSR_PHYSMASK(pairs - 1); msr++) {
        const uint64_t value = rdmsr(msr);
        check((value & ~(address_mask | (PAGE - 1))) == 0, "mtrr.width", "MSR 0x%x is 0x%lx", msr,
              value);
        check(wrmsr_safe(msr, value) == 0 && rdmsr(msr) == value, "mtrr.written-as-read",
              "MSR 0x%x, 0x%lx", msr, value);
    }
}

static void set_region(unsigned int pair, uint64_t base, uint64_t mask)
{
    wrmsr(MSR_PHYSMASK(pair), 0);
    wrmsr(MSR_PHYSBASE(pair), base);
    wrmsr(MSR_PHYSMASK(pair), mask);
}

static void fill(uint64_t seed)
{
    for (uint64_t page = REGION - PAGE; page <= REGION + REGION_SIZE; page += PAGE)
        *(volatile uint64_t *)page = page * seed;
}

static uint64_t wrong(uint64_t seed)
{
    uint64_t count = 0;
    for (uint64_t page = REGION - PAGE; page <= REGION + REGION_SIZE; page += PAGE)
        count += *(volatile uint64_t *)page != page * seed;
    return count;
}

static volatile bool stop;
static volatile uint64_t turns;

/* Another vCPU works in that memory while its tables change. */
static void keep_writing(void *bad)
{
    while (!stop) {
        volatile uint64_t *word = (volatile uint64_t *)(REGION + 8 + turns % 512 * PAGE);
        *word = turns;
        if (*word != turns)
            ++*(uint64_t *)bad;
        turns++;
    }
}

static void change_types(unsigned int pair)
{
    static const uint64_t types[] = {TYPE_UC, TYPE_WT, TYPE_WB};
    uint64_t bad = 0;
    for (unsigned int round = 1; round <= ROUNDS; round++) {
        fill(round);
        set_region(pair, REGION | types[round % 3],
                   (address_mask & ~(REGION_SIZE - 1)) | MASK_VALID);
        bad += wrong(round);
        fill(round + 100);
        set_region(pair, 0, 0);
        bad += wrong(round + 100);
    }
    check_equal("mtrr.memory-stays", 0, bad);
}

/* The same while another vCPU uses that memory. */
static void change_types_under_others(unsigned int pair)
{
    uint64_t bad = 0;
    if (processor_start_all() < 2) {
        check_skip("mtrr.other-vcpu", "the guest has one vCPU");
        return;
    }
    start_on(1, keep_writing, &bad);
    for (unsigned int waited = 0; turns == 0 && waited < 10000; waited++)
        delay_us(1000); /* until it does write */
    change_types(pair);
    stop = true;
    check(wait_on(1) && bad == 0 && turns > 0, "mtrr.other-vcpu", "%lu of %lu words wrong", bad,
          turns);
}

int main(void)
{
    uint32_t a, b, c, d;
    cpuid_raw(1, 0, &a, &b, &c, &d);
    unsigned int pairs = d >> 12 & 1U ? (unsigned int)rdmsr(MSR_MTRRCAP) & 0xffU : 0;
    if (!under_latch() || pairs == 0) {
        check_skip("mtrr", under_latch() ? "CPUID has no MTRRs" : "no Latch, so no nested tables");
        return 0;
    }
    cpuid_raw(0x80000008U, 0, &a, &b, &c, &d);
    address_mask = ((1UL << (a & 0xffU)) - 1) & ~(PAGE - 1);
    if (rdmsr(MSR_PHYSMASK(pairs - 1)) & MASK_VALID)
        broken("the firmware uses all %u pairs", pairs);
    uint64_t def_type = rdmsr(MSR_DEF_TYPE);
    check_read_back(pairs);
    check_values(pairs);
    wrmsr(MSR_DEF_TYPE, def_type | DEF_TYPE_ENABLE);
    change_types(pairs - 1);
    change_types_under_others(pairs - 1);
    wrmsr(MSR_DEF_TYPE, def_type);
    return 0;
}
