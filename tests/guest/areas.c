/* SPDX-License-Identifier: BSD-2-Clause */
/* The areas that Latch keeps in guest pages, in Xen's layouts; and what else the hypercalls say. */
#include "kernel/xen_layout.h"
#include "tests/guest/lib/payload.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#define PAGE               4096UL
#define HYPERCALL_MSR      0x40000000U
#define LINEAR             (1UL << 39) /* the second PML4 entry, which nothing else uses */
#define PRESENT_WRITABLE   3UL
#define STUB_SIZE          32U
#define LEAVES_MAX         512U
#define VECTOR_PF          14U
#define ENTRY_TIME(layout) (*(volatile uint64_t *)((layout) == 64 ? area + 8 : area + 4))

static uint8_t pages[5][PAGE] __attribute__((aligned(4096)));
static uint64_t tables[3][512] __attribute__((aligned(4096)));
static uint8_t *const area = pages[0]; /* pages[1] follows it */

static int64_t vcpu_op(enum xen_vcpu_op op, unsigned int vcpu, const void *argument)
{
    return latch_hypercall(HYPERCALL_VCPU_OP, op, vcpu, (uint64_t)argument, 0);
}

static int64_t vcpu_op32(enum xen_vcpu_op op, unsigned int vcpu, const void *argument)
{
    return latch_hypercall32(HYPERCALL_VCPU_OP, op, vcpu, (uint32_t)(uint64_t)argument);
}

static int64_t register_at(enum xen_vcpu_op op, unsigned int vcpu, uint64_t address, bool narrow)
{
    const uint64_t argument = address;
    return narrow ? vcpu_op32(op, vcpu, &argument) : vcpu_op(op, vcpu, &argument);
}

static int64_t register_info(unsigned int vcpu, uint64_t frame, uint32_t offset)
{
    const struct {
        uint64_t frame;
        uint32_t offset, reserved;
    } argument = {.frame = frame, .offset = offset};
    return vcpu_op(XEN_REGISTER_VCPU_INFO, vcpu, &argument);
}

static void latch_mode(bool narrow)
{
    if (narrow)
        wrmsr32(HYPERCALL_MSR, (uint32_t)(uint64_t)pages[3]);
    else
        (void)wrmsr_safe(HYPERCALL_MSR, (uint64_t)pages[3]);
}

/* The layout that stands in the page: the entry time is never 0, and its place tells. */
static unsigned int layout_at(const uint8_t *at, bool *nothing_beyond)
{
    *nothing_beyond = at[XEN_RUNSTATE_SIZE] == 0xee;
    if (at[XEN_RUNSTATE_SIZE32] == 0xee) {
        *nothing_beyond = *nothing_beyond && at[XEN_RUNSTATE_SIZE - 1] == 0xee;
        return 32;
    }
    return 64;
}

static unsigned int width(bool narrow)
{
    return narrow ? 32 : 64;
}

/* The registering mode does not decide the layout; the latched one does, and again when it moves. */
static void check_layouts(void)
{
    for (unsigned int i = 0; i < 8; i++) {
        bool narrow_caller = i & 1, narrow_before = i & 2, narrow_after = i & 4, clean;
        char name[64];
        memset(pages, 0xee, 2 * PAGE);
        latch_mode(narrow_before);
        int64_t result =
            register_at(XEN_REGISTER_RUNSTATE_PHYS_AREA, 0, (uint64_t)area, narrow_caller);
        unsigned int before = layout_at(area, &clean);
        snprintf(name, sizeof(name), "areas.layout-latched-%u-caller-%u", width(narrow_before),
                 width(narrow_caller));
        check(result == 0 && before == width(narrow_before) && clean, name, "result %ld, layout %u",
              (long)result, before);
        memset(pages, 0xee, 2 * PAGE);
        latch_mode(narrow_after);
        unsigned int after = layout_at(area, &clean);
        snprintf(name, sizeof(name), "areas.latched-again-%u-then-%u", width(narrow_before),
                 width(narrow_after));
        check(after == width(narrow_after) && clean, name, "layout %u", after);
    }
    latch_mode(false);
}

/* The same offset is good or bad in every mode; what crosses goes on in the next page. */
static void check_offsets(void)
{
    unsigned int wrong = 0, torn = 0;
    for (uint32_t offset = PAGE - 64; offset < PAGE; offset++) {
        int64_t wanted = offset % XEN_AREA_ALIGNMENT ? -EINVAL : 0;
        for (unsigned int mode = 0; mode < 4; mode++) {
            latch_mode(mode & 2);
            memset(pages, 0xee, 2 * PAGE);
            int64_t found = register_at(XEN_REGISTER_RUNSTATE_PHYS_AREA, 0,
                                        (uint64_t)(area + offset), mode & 1);
            bool clean = true;
            wrong += found != wanted;
            if (found == 0)
                torn += layout_at(area + offset, &clean) != (mode & 2 ? 32U : 64U) || !clean ||
                        area[offset - 1] != 0xee;
        }
    }
    check(wrong == 0, "areas.offset-good-or-bad-in-every-mode", "%u differ", wrong);
    check(torn == 0, "areas.written-across-a-page", "%u not whole", torn);
    latch_mode(false);
    for (uint32_t offset = PAGE - 64 - 8; offset <= PAGE; offset += 4) {
        int64_t wanted = offset % 8 == 0 && offset <= PAGE - XEN_VCPU_INFO_SIZE ? 0 : -EINVAL;
        int64_t found = register_info(1, (uint64_t)pages[4] / PAGE, offset);
        if (wanted == 0) { /* that one stays; a second is refused */
            check_equal("areas.info-registered", 0, (uint64_t)found);
            check_equal("areas.info-twice", (uint64_t)-EINVAL,
                        (uint64_t)register_info(1, (uint64_t)pages[4] / PAGE, 0));
            break;
        }
    }
    check_equal("areas.info-across-a-page", (uint64_t)-EINVAL,
                (uint64_t)register_info(0, (uint64_t)pages[4] / PAGE, PAGE - 56));
    check_equal("areas.info-unaligned", (uint64_t)-EINVAL,
                (uint64_t)register_info(0, (uint64_t)pages[4] / PAGE, 4));
}

static void check_refused(void)
{
    uint64_t latch = (uint64_t)latch_hypercall(HYPERCALL_LATCH_RANGE, 0, 0, 0, 0);
    check_equal("areas.no-such-vcpu", (uint64_t)-ENOENT,
                (uint64_t)register_at(XEN_REGISTER_RUNSTATE_PHYS_AREA, 999, (uint64_t)area, false));
    check_equal("areas.no-such-op", (uint64_t)-ENOSYS,
                (uint64_t)register_at((enum xen_vcpu_op)99, 0, (uint64_t)area, false));
    check_equal("areas.outside-ram", (uint64_t)-EFAULT,
                (uint64_t)register_at(XEN_REGISTER_RUNSTATE_PHYS_AREA, 0, 1UL << 51, false));
    check_equal("areas.beyond-all-addresses", (uint64_t)-EFAULT,
                (uint64_t)register_at(XEN_REGISTER_RUNSTATE_PHYS_AREA, 0, UINT64_MAX - 7, false));
    check_equal("areas.in-latch", (uint64_t)-EFAULT,
                (uint64_t)register_at(XEN_REGISTER_RUNSTATE_PHYS_AREA, 0, latch, false));
    check_equal("areas.crossing-into-latch", (uint64_t)-EFAULT,
                (uint64_t)register_at(XEN_REGISTER_RUNSTATE_PHYS_AREA, 0, latch - 8, false));
    check_equal("areas.argument-outside-ram", (uint64_t)-EFAULT,
                (uint64_t)vcpu_op(XEN_REGISTER_RUNSTATE_AREA, 0, (void *)(1UL << 51)));
    check_equal("areas.linear-not-mapped", (uint64_t)-EFAULT,
                (uint64_t)register_at(XEN_REGISTER_RUNSTATE_AREA, 0, LINEAR, false));
    check(wrmsr_safe(HYPERCALL_MSR, latch) != 0, "areas.page-in-latch", "WRMSR did not fault");
    check(wrmsr_safe(HYPERCALL_MSR, (uint64_t)pages[3] + 1) != 0, "areas.second-page",
          "WRMSR did not fault");
}

/* Two frames that do not follow each other, at linear addresses that do. */
static void check_linear(void)
{
    uint64_t *root = (uint64_t *)(read_cr3() & ~0xfffUL);
    bool clean;
    memset(pages, 0xee, sizeof(pages));
    tables[0][0] = (uint64_t)tables[1] | PRESENT_WRITABLE;
    tables[1][0] = (uint64_t)tables[2] | PRESENT_WRITABLE;
    tables[2][0] = (uint64_t)pages[2] | PRESENT_WRITABLE;
    tables[2][1] = (uint64_t)pages[0] | PRESENT_WRITABLE;
    root[1] = (uint64_t)tables[0] | PRESENT_WRITABLE;
    check_equal("areas.linear-across-two-frames", 0,
                (uint64_t)register_at(XEN_REGISTER_RUNSTATE_AREA, 0, LINEAR + PAGE - 16, false));
    check(pages[2][PAGE - 16] == XEN_RUNNING && pages[2][PAGE - 15] == 0 && pages[0][31] != 0xee &&
              pages[0][32] == 0xee && pages[1][0] == 0xee,
          "areas.linear-frames-written", "not as mapped");
    /* The area is the frames; the mapping was asked for once. */
    tables[2][0] = tables[2][1] = 0;
    root[1] = 0;
    write_cr3(read_cr3());
    memset(pages, 0xee, 3 * PAGE);
    latch_mode(false);
    check(pages[2][PAGE - 15] == 0 && pages[0][32] == 0xee, "areas.linear-unmapped-later",
          "the frames are no longer written");
    (void)register_at(XEN_REGISTER_RUNSTATE_PHYS_AREA, 0, (uint64_t)area, false);
    check(layout_at(area, &clean) == 64, "areas.registered-twice", "the second is not written");
}

/* The nanoseconds that the guest makes of the TSC with what the vCPU info says. */
static uint64_t system_time(const uint8_t *info)
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

static void check_times(unsigned int vcpu, const uint8_t *info)
{
    static uint8_t answer[XEN_RUNSTATE_SIZE] __attribute__((aligned(8)));
    char name[48];
    uint64_t before = system_time(info), sum = 0;
    int64_t result = vcpu_op(XEN_GET_RUNSTATE_INFO, vcpu, answer);
    uint64_t after = system_time(info);
    for (unsigned int i = 0; i < XEN_RUNSTATES; i++)
        sum += ((const uint64_t *)answer)[2 + i];
    snprintf(name, sizeof(name), "areas.times-add-up-vcpu-%u", vcpu);
    check(result == 0 && sum >= before && sum <= after, name, "%lu <= %lu <= %lu", before, sum,
          after);
}

static uint8_t second_area[2 * PAGE] __attribute__((aligned(4096)));

static void register_own(void *result)
{
    *(int64_t *)result = register_at(XEN_REGISTER_RUNSTATE_PHYS_AREA, this_processor()->index,
                                     (uint64_t)second_area + PAGE - 24, false);
}

static void check_two_vcpus(const uint8_t *info)
{
    int64_t result = -1;
    memset(second_area, 0xee, sizeof(second_area));
    if (processor_start_all() < 2 || !run_on(1, register_own, &result)) {
        check_absent("areas.second-vcpu", "there is one processor");
        return;
    }
    uint64_t offline;
    memcpy(&offline, second_area + PAGE, sizeof(offline)); /* crosses; time[0] is before it */
    check_equal("areas.second-vcpu-registers", 0, (uint64_t)result);
    check(second_area[PAGE - 24] == XEN_RUNNING, "areas.second-vcpu-runs", "state %u",
          second_area[PAGE - 24]);
    check_equal(
        "areas.for-another-vcpu", 0,
        (uint64_t)register_at(XEN_REGISTER_RUNSTATE_PHYS_AREA, 1, (uint64_t)second_area, false));
    uint64_t times[4];
    memcpy(times, second_area + 16, sizeof(times));
    check(times[XEN_OFFLINE] > 0 && times[XEN_BLOCKED] == 0, "areas.second-vcpu-was-offline",
          "offline %lu ns, blocked %lu ns", times[XEN_OFFLINE], times[XEN_BLOCKED]);
    check_times(1, info);
}

/* A stub of the hypercall page does what the instruction does. */
static void check_hypercall_page(void)
{
    latch_mode(false);
    uint64_t (*version)(void) =
        (uint64_t(*)(void))(uint64_t)(pages[3] + HYPERCALL_VERSION * (size_t)STUB_SIZE);
    uint64_t (*generation)(void) =
        (uint64_t(*)(void))(uint64_t)(pages[3] + HYPERCALL_GENERATION * (size_t)STUB_SIZE);
    check_equal("areas.page-version", HYPERCALL_ABI, version());
    check_equal("areas.page-generation", 1, generation());
    check_equal("areas.version-32", HYPERCALL_ABI,
                (uint64_t)latch_hypercall32(HYPERCALL_VERSION, 0, 0, 0));
    check_equal("areas.no-such-number-32", (uint64_t)-ENOSYS,
                (uint64_t)latch_hypercall32(4711, 0, 0, 0));
}

static void check_digest(void)
{
    static uint8_t digest[2][40] __attribute__((aligned(8)));
    uint8_t any = 0;
    check_equal("areas.digest", 0,
                (uint64_t)latch_hypercall(HYPERCALL_DIGEST, (uint64_t)digest[0], 0, 0, 0));
    check_equal("areas.digest-32", 0,
                (uint64_t)latch_hypercall32(HYPERCALL_DIGEST, (uint32_t)(uint64_t)digest[1], 0, 0));
    for (unsigned int i = 0; i < 32; i++)
        any |= digest[0][i];
    check(any != 0 && memcmp(digest[0], digest[1], 32) == 0, "areas.digest-same",
          "two calls, two digests");
    check_equal("areas.digest-unaligned", (uint64_t)-EINVAL,
                (uint64_t)latch_hypercall(HYPERCALL_DIGEST, (uint64_t)digest[0] + 1, 0, 0, 0));
    check_equal("areas.digest-outside-ram", (uint64_t)-EFAULT,
                (uint64_t)latch_hypercall(HYPERCALL_DIGEST, 1UL << 51, 0, 0, 0));
    printf("info digest: ");
    for (unsigned int i = 0; i < 32; i++)
        printf("%02x", digest[0][i]);
    printf("\n");
}

static void touch(void *address)
{
    (void)*(volatile uint8_t *)address;
}

/* A page table of the guest's, which may be tracked for shadow tables, is what Latch writes to. */
static void check_written_table(void)
{
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

int main(void)
{
    if (!under_latch()) {
        check_skip("areas", "no Latch, so no areas");
        return 0;
    }
    check_refused();
    check_layouts();
    check_offsets();
    check_linear();
    check_hypercall_page();
    check_digest();
    check_written_table();
    check_equal("areas.info", 0, (uint64_t)register_info(0, (uint64_t)pages[1] / PAGE, 0));
    check_times(0, pages[1]);
    check_two_vcpus(pages[1]);
    return 0;
}
