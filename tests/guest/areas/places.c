/* SPDX-License-Identifier: BSD-2-Clause */
/* Where an area may lie: each offset near a page's end, in each mode, by each kind of address. */
#include "tests/guest/areas/areas.h"
#include "tests/guest/lib/runtime.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#define LINEAR         (1UL << 39)  /* the second PML4 entry, which nothing else uses */
#define LINEAR_32      0x80000000UL /* where 32-bit code can ask for it too: no RAM is there */
#define LARGE_PAGE     0x200000UL
#define FIRST_OFFSET   (PAGE - 64)
#define USER_WRITABLE  7UL
#define USER_READ_ONLY 5UL

static uint64_t tables[3][512] __attribute__((aligned(4096)));

struct wrong {
    unsigned int results, areas;
    uint32_t offset;
    unsigned int mode; /* bit 0: a 32-bit caller, bit 1: the 32-bit layout is latched */
};

static void count_wrong(struct wrong *w, unsigned int *what, uint32_t offset, unsigned int mode)
{
    if (w->results + w->areas == 0) {
        w->offset = offset;
        w->mode = mode;
    }
    ++*what;
}

static void say_wrong(const char *name, const struct wrong *w)
{
    check(w->results + w->areas == 0, name, "%u results, %u areas; first at offset 0x%x, mode %u",
          w->results, w->areas, w->offset, w->mode);
}

/* The area as it lies in two pages. */
static void gather(uint8_t area[64], const uint8_t *first, const uint8_t *second, uint32_t offset)
{
    for (uint32_t i = 0; i < 64; i++)
        area[i] = offset + i < PAGE ? first[offset + i] : second[offset + i - PAGE];
}

/* Registered at an offset of the first of two pages, it is good or bad as the offset alone says, and
 * written whole, in the layout that is latched, and nothing beside it. */
static void try_offset(struct wrong *w, enum xen_vcpu_op op, uint64_t linear, const uint8_t *first,
                       const uint8_t *second, uint32_t offset)
{
    int64_t wanted = offset % XEN_AREA_ALIGNMENT ? -EINVAL : 0;
    for (unsigned int mode = 0; mode < 4; mode++) {
        uint8_t area[64];
        bool clean;
        latch_mode(mode & 2);
        poison();
        if (register_at(op, 0, linear + offset, mode & 1) != wanted)
            count_wrong(w, &w->results, offset, mode);
        gather(area, first, second, offset);
        unsigned int layout = layout_at(area, &clean);
        bool untouched = area[0] == POISON && layout == 32 && clean;
        bool whole = area[0] == XEN_RUNNING && layout == width(mode & 2) && clean &&
                     first[offset - 1] == POISON;
        if (!(wanted == 0 ? whole : untouched))
            count_wrong(w, &w->areas, offset, mode);
    }
}

/* A refused registration leaves the one before it. */
static void forget_area(void)
{
    (void)register_at(XEN_REGISTER_RUNSTATE_PHYS_AREA, 0, (uint64_t)pages[PAGE_ELSEWHERE], false);
}

static void check_info_offsets(void)
{
    struct wrong w = {0};
    const uint32_t last = PAGE - XEN_VCPU_INFO_SIZE;
    const uint64_t frame = (uint64_t)pages[PAGE_INFO] / PAGE;
    /* First all bad ones, then the last good one, which stays: then none is good any more. */
    for (unsigned int pass = 0; pass < 2; pass++) {
        for (uint32_t offset = last - 64; offset <= PAGE + 64; offset++)
            for (unsigned int narrow = 0; narrow < 2; narrow++) {
                bool good = offset % XEN_AREA_ALIGNMENT == 0 && offset <= last;
                if ((pass == 1 || !good) && register_info(1, frame, offset, narrow) != -EINVAL)
                    count_wrong(&w, &w.results, offset, narrow);
            }
        if (pass == 0)
            check_equal("areas.info-at-the-last-place", 0,
                        (uint64_t)register_info(1, frame, last, true));
    }
    say_wrong("areas.info-bad-in-every-mode-or-twice", &w);
    check(pages[PAGE_INFO][last + 32] == 2, "areas.info-written", "its version is %u",
          pages[PAGE_INFO][last + 32]);
}

void check_offsets(void)
{
    struct wrong physical = {0}, linear = {0};
    for (uint32_t offset = FIRST_OFFSET; offset < PAGE; offset++) {
        forget_area();
        try_offset(&physical, XEN_REGISTER_RUNSTATE_PHYS_AREA, (uint64_t)pages[0], pages[0],
                   pages[1], offset);
        forget_area();
        try_offset(&linear, XEN_REGISTER_RUNSTATE_AREA, (uint64_t)pages[0], pages[0], pages[1],
                   offset);
    }
    say_wrong("areas.offset-good-or-bad-in-every-mode", &physical);
    say_wrong("areas.linear-offset-good-or-bad-in-every-mode", &linear);
    latch_mode(false);
    check_info_offsets();
}

/* Two frames that do not follow each other, at linear addresses that do: for 64-bit code where only
 * that can be, and for 32-bit code. */
static void map_frames(uint64_t first, uint64_t second)
{
    tables[0][0] = (uint64_t)tables[1] | USER_WRITABLE;
    tables[1][0] = (uint64_t)tables[2] | USER_WRITABLE;
    tables[2][0] = first;
    tables[2][1] = second;
    long_pml4[1] = (uint64_t)tables[0] | USER_WRITABLE;
    long_directories[LINEAR_32 / LARGE_PAGE] = (uint64_t)tables[2] | USER_WRITABLE;
    write_cr3(read_cr3());
}

static void unmap_frames(void)
{
    map_frames(0, 0);
    long_pml4[1] = 0;
    long_directories[LINEAR_32 / LARGE_PAGE] = LINEAR_32 | 0x87U;
    write_cr3(read_cr3());
}

static void check_refused_linear(void)
{
    const uint64_t first = (uint64_t)pages[2] | USER_WRITABLE;
    const struct {
        const char *name;
        uint64_t first, second;
        uint32_t offset;
        int64_t wanted;
    } tries[] = {
        {"second-page-absent", first, 0, PAGE - 16, -EFAULT},
        {"second-page-not-needed", first, 0, PAGE - XEN_RUNSTATE_SIZE, 0},
        {"second-page-read-only", first, (uint64_t)pages[0] | USER_READ_ONLY, PAGE - 16, -EFAULT},
        {"first-page-read-only", (uint64_t)pages[2] | USER_READ_ONLY, first, 0, -EFAULT},
        {"frame-outside-ram", LINEAR_32 | USER_WRITABLE, 0, 0, -EFAULT},
    };
    for (unsigned int i = 0; i < sizeof(tries) / sizeof(tries[0]); i++)
        for (unsigned int narrow = 0; narrow < 2; narrow++) {
            char name[64];
            map_frames(tries[i].first, tries[i].second);
            snprintf(name, sizeof(name), "areas.linear-%s-%u", tries[i].name, width(narrow));
            check_equal(name, (uint64_t)tries[i].wanted,
                        (uint64_t)register_at(XEN_REGISTER_RUNSTATE_AREA, 0,
                                              (narrow ? LINEAR_32 : LINEAR) + tries[i].offset,
                                              narrow));
        }
}

void check_linear(void)
{
    struct wrong w = {0};
    bool clean;
    map_frames((uint64_t)pages[2] | USER_WRITABLE, (uint64_t)pages[0] | USER_WRITABLE);
    for (uint32_t offset = FIRST_OFFSET; offset < PAGE; offset += 4) {
        forget_area();
        try_offset(&w, XEN_REGISTER_RUNSTATE_AREA, LINEAR_32, pages[2], pages[0], offset);
    }
    say_wrong("areas.linear-across-two-frames", &w);
    latch_mode(false);
    poison();
    check_equal("areas.linear-above-4-gib", 0,
                (uint64_t)register_at(XEN_REGISTER_RUNSTATE_AREA, 0, LINEAR + PAGE - 16, false));
    check(pages[2][PAGE - 16] == XEN_RUNNING && pages[2][PAGE - 15] == 0 &&
              pages[0][31] != POISON && pages[0][32] == POISON && pages[1][0] == POISON,
          "areas.linear-frames-written", "not as mapped");
    /* The area is the frames; the mapping was asked for once. */
    unmap_frames();
    poison();
    latch_mode(false);
    check(pages[2][PAGE - 15] == 0 && pages[0][32] == POISON, "areas.linear-unmapped-later",
          "the frames are no longer written");
    check_refused_linear();
    unmap_frames();
    poison();
    (void)register_at(XEN_REGISTER_RUNSTATE_PHYS_AREA, 0, (uint64_t)pages[0], false);
    check(layout_at(pages[0], &clean) == 64, "areas.registered-twice", "the second is not written");
}

/* The caller's mode decides the layout here, and any address does. */
void check_get(void)
{
    struct wrong w = {0};
    uint64_t latch = (uint64_t)latch_hypercall(HYPERCALL_LATCH_RANGE, 0, 0, 0, 0);
    forget_area();
    for (uint32_t offset = FIRST_OFFSET; offset < PAGE; offset++)
        for (unsigned int narrow = 0; narrow < 2; narrow++) {
            bool clean;
            poison();
            if (vcpu_op(XEN_GET_RUNSTATE_INFO, 0, (uint64_t)(pages[0] + offset), narrow) != 0)
                count_wrong(&w, &w.results, offset, narrow);
            if (layout_at(pages[0] + offset, &clean) != width(narrow) || !clean ||
                pages[0][offset - 1] != POISON)
                count_wrong(&w, &w.areas, offset, narrow);
        }
    say_wrong("areas.get-across-a-page", &w);
    for (unsigned int narrow = 0; narrow < 2; narrow++) {
        char name[48];
        volatile uint64_t *below = (volatile uint64_t *)(latch - 8);
        uint64_t kept = *below;
        snprintf(name, sizeof(name), "areas.get-in-latch-%u", width(narrow));
        check_equal(name, (uint64_t)-EFAULT,
                    (uint64_t)vcpu_op(XEN_GET_RUNSTATE_INFO, 0, latch, narrow));
        snprintf(name, sizeof(name), "areas.get-crossing-into-latch-%u", width(narrow));
        check_equal(name, (uint64_t)-EFAULT,
                    (uint64_t)vcpu_op(XEN_GET_RUNSTATE_INFO, 0, latch - 8, narrow));
        check(*below == kept, "areas.get-refused-writes-nothing", "0x%lx is now 0x%lx", kept,
              *below);
    }
    check_equal("areas.get-outside-ram", (uint64_t)-EFAULT,
                (uint64_t)vcpu_op(XEN_GET_RUNSTATE_INFO, 0, NOWHERE, false));
}
