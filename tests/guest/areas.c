/* SPDX-License-Identifier: BSD-2-Clause */
/* The areas that Latch keeps in guest pages, in Xen's layouts; and what else the hypercalls say. */
#include "tests/guest/areas/areas.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#define LINEAR           (1UL << 39) /* the second PML4 entry, which nothing else uses */
#define PRESENT_WRITABLE 3UL
#define STUB_SIZE        32U
#define LEAVES_MAX       512U
#define VECTOR_PF        14U
#define MSR_TSC          0x10U
#define TSC_MOVE         (1UL << 40)
#define SECOND           1000000000UL
#define INFO_VERSION     32U /* its lowest byte */

static uint8_t *const area = pages[0]; /* pages[1] follows it */

/* The registering mode does not decide the layout; the latched one does, and again when it moves. */
static void check_layouts(void)
{
    for (unsigned int i = 0; i < 8; i++) {
        bool narrow_caller = i & 1, narrow_before = i & 2, narrow_after = i & 4, clean;
        char name[64];
        poison();
        latch_mode(narrow_before);
        int64_t result =
            register_at(XEN_REGISTER_RUNSTATE_PHYS_AREA, 0, (uint64_t)area, narrow_caller);
        unsigned int before = layout_at(area, &clean);
        snprintf(name, sizeof(name), "areas.layout-latched-%u-caller-%u", width(narrow_before),
                 width(narrow_caller));
        check(result == 0 && before == width(narrow_before) && clean, name, "result %ld, layout %u",
              (long)result, before);
        poison();
        latch_mode(narrow_after);
        unsigned int after = layout_at(area, &clean);
        snprintf(name, sizeof(name), "areas.latched-again-%u-then-%u", width(narrow_before),
                 width(narrow_after));
        check(after == width(narrow_after) && clean, name, "layout %u", after);
    }
    latch_mode(false);
}

/* Before anything is latched: what was refused latches nothing. */
static void check_refused_first(void)
{
    bool clean;
    check_equal("areas.refused-first", (uint64_t)-EFAULT,
                (uint64_t)register_at(XEN_REGISTER_RUNSTATE_PHYS_AREA, 0, NOWHERE, true));
    poison();
    check_equal("areas.taken-first", 0,
                (uint64_t)register_at(XEN_REGISTER_RUNSTATE_PHYS_AREA, 0, (uint64_t)area, false));
    check_equal("areas.refused-latched-nothing", width(false), layout_at(area, &clean));
}

static void check_refused(void)
{
    uint64_t latch = (uint64_t)latch_hypercall(HYPERCALL_LATCH_RANGE, 0, 0, 0, 0);
    check_equal("areas.no-such-vcpu", (uint64_t)-ENOENT,
                (uint64_t)register_at(XEN_REGISTER_RUNSTATE_PHYS_AREA, 999, (uint64_t)area, false));
    check_equal("areas.no-such-op", (uint64_t)-ENOSYS,
                (uint64_t)register_at((enum xen_vcpu_op)99, 0, (uint64_t)area, false));
    check_equal("areas.outside-ram", (uint64_t)-EFAULT,
                (uint64_t)register_at(XEN_REGISTER_RUNSTATE_PHYS_AREA, 0, NOWHERE, false));
    check_equal("areas.beyond-all-addresses", (uint64_t)-EFAULT,
                (uint64_t)register_at(XEN_REGISTER_RUNSTATE_PHYS_AREA, 0, UINT64_MAX - 7, false));
    check_equal("areas.in-latch", (uint64_t)-EFAULT,
                (uint64_t)register_at(XEN_REGISTER_RUNSTATE_PHYS_AREA, 0, latch, false));
    check_equal("areas.crossing-into-latch", (uint64_t)-EFAULT,
                (uint64_t)register_at(XEN_REGISTER_RUNSTATE_PHYS_AREA, 0, latch - 8, false));
    check_equal("areas.argument-outside-ram", (uint64_t)-EFAULT,
                (uint64_t)vcpu_op(XEN_REGISTER_RUNSTATE_AREA, 0, NOWHERE, false));
    check_equal("areas.linear-not-mapped", (uint64_t)-EFAULT,
                (uint64_t)register_at(XEN_REGISTER_RUNSTATE_AREA, 0, LINEAR, false));
    check(wrmsr_safe(HYPERCALL_MSR, latch) != 0, "areas.page-in-latch", "WRMSR did not fault");
    check(wrmsr_safe(HYPERCALL_MSR, (uint64_t)pages[PAGE_HYPERCALLS] + 1) != 0, "areas.second-page",
          "WRMSR did not fault");
}

/* A stub of the hypercall page does what the instruction does. */
static void check_hypercall_page(void)
{
    latch_mode(false);
    uint64_t (*version)(void) = (uint64_t(*)(void))(
        uint64_t)(pages[PAGE_HYPERCALLS] + HYPERCALL_VERSION * (size_t)STUB_SIZE);
    uint64_t (*generation)(void) = (uint64_t(*)(void))(
        uint64_t)(pages[PAGE_HYPERCALLS] + HYPERCALL_GENERATION * (size_t)STUB_SIZE);
    check_equal("areas.page-version", HYPERCALL_ABI, version());
    check_equal("areas.page-generation", 1, generation());
    check_equal("areas.version-32", HYPERCALL_ABI,
                (uint64_t)latch_hypercall32(HYPERCALL_VERSION, 0, 0, 0));
}

static void touch(void *address)
{
    (void)*(volatile uint8_t *)address;
}

/* A page table of the guest's, which may be tracked for shadow tables, is what Latch writes to. */
static void check_written_table(void)
{
    static uint64_t tables[2][512] __attribute__((aligned(4096)));
    static uint64_t written[3 * LEAVES_MAX] __attribute__((aligned(4096)));
    uint64_t *root = (uint64_t *)(read_cr3() & ~0xfffUL);
    tables[0][0] = (uint64_t)tables[1] | PRESENT_WRITABLE;
    tables[1][0] = (uint64_t)written | PRESENT_WRITABLE;
    written[0] = (uint64_t)pages[2] | PRESENT_WRITABLE;
    root[1] = (uint64_t)tables[0] | PRESENT_WRITABLE;
    for (unsigned int i = 0; i < 32; i++) {
        touch((void *)LINEAR);
        write_cr3(read_cr3());
    }
    int64_t count = latch_hypercall(HYPERCALL_MODEL_GET, 0, (uint64_t)written, LEAVES_MAX, 0);
    write_cr3(read_cr3());
    check(count > 0 && written[0] == 0, "areas.model-in-a-table", "leaf 0 is not the first");
    check_equal("areas.written-table-followed", VECTOR_PF,
                fault_of(touch, (void *)LINEAR, NULL, NULL));
    root[1] = 0;
    write_cr3(read_cr3());
}

/* It is the same time by a TSC that the guest has moved. */
static void check_moved_tsc(const uint8_t *info)
{
    const uint64_t tsc = rdtsc(), before = system_time(info);
    wrmsr(MSR_TSC, tsc + TSC_MOVE);
    if (rdtsc() - tsc < TSC_MOVE) {
        check_absent("areas.moved-tsc", "the TSC does not take what is written to it");
        return;
    }
    const uint64_t after = system_time(info);
    check(after >= before && after - before < SECOND, "areas.moved-tsc", "%lu ns, then %lu ns",
          before, after);
    check(info[INFO_VERSION] != 0 && info[INFO_VERSION] % 2 == 0, "areas.moved-tsc-version",
          "it is %u", info[INFO_VERSION]);
}

int main(void)
{
    static uint8_t info[PAGE] __attribute__((aligned(4096)));

    if (!under_latch()) {
        check_skip("areas", "no Latch, so no areas");
        return 0;
    }
    check_refused_first();
    check_refused();
    check_layouts();
    check_offsets();
    check_linear();
    check_get();
    check_hypercall_page();
    check_calls();
    check_written_table();
    check_equal("areas.info", 0, (uint64_t)register_info(0, (uint64_t)info / PAGE, 0, false));
    check_run_times(info);
    check_updates();
    check_moved_tsc(info);
    return 0;
}
