/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The shadow tables under a guest whose tables, registers, accesses and flushes the input chooses (as
 * far as it goes), on simulated CPUs with TLBs: no access may come out otherwise than by the guest's own tables, no
 * link be left to a page that is given away, and nothing loop or abort.
 */
#define FUZZED
#include "tests/unit/test_mmu_shadow_random.c" /* NOLINT(bugprone-suspicious-include) */

#define STEPS 400U
#define TINY  (SHADOW_PAGES_PER_CPU * (CPUS + 1U))

static unsigned long machines, steps, evictions;

static void report(void)
{
    fprintf(stderr,
            "fuzz_shadow: %lu machines, %lu steps without a difference; accesses: ", machines,
            steps);
    fprintf(stderr, "%lu done, %lu faults, %lu absent, %lu by old entries; %lu evictions\n",
            strict_done, strict_faults, strict_absent, relaxed_done, evictions);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    uint64_t seed = 1;
    const bool few = size & 2U; /* pages, for many tables */

    if (machines++ == 0)
        atexit(report);
    for (size_t i = 0; i < size; i++)
        seed = (seed ^ data[i]) * 0x100000001b3UL;
    m.choices = 0;
    random_machine(size & 1U ? unlike : alike, few ? TINY : POOL_MAX, true, seed, few ? 4000 : 200);
    m.choice = data;
    m.choices = size;
    for (unsigned int i = 0; i < (few ? 5U * STEPS : STEPS); i++) {
        step();
        steps++;
        if (i % 16U == 0)
            check_unused();
    }
    m.choices = 0;
    check_shadow();
    evictions += m.shadow.evictions;
    if (unit_failures != 0)
        abort();
    return 0;
}
