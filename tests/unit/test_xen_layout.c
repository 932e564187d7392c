/* SPDX-License-Identifier: BSD-2-Clause */
/* Guest-page caches and the layouts of Xen's areas, which lie in them. */
#include "kernel/xen_layout.h"
#include "mmu/guest_page.h"
#include "tests/unit/unit.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* The layouts as a 64-bit and a 32-bit compiler make them. */
struct times64 {
    int32_t state;
    uint64_t entry, time[4];
};
struct times32 {
    int32_t state;
    uint64_t entry __attribute__((packed, aligned(4)));
    uint64_t time[4] __attribute__((packed, aligned(4)));
};
_Static_assert(sizeof(struct times64) == XEN_RUNSTATE_SIZE, "public/vcpu.h, 64-bit");
_Static_assert(sizeof(struct times32) == XEN_RUNSTATE_SIZE32, "public/vcpu.h, 32-bit");

static const struct xen_run_times times = {
    .state = XEN_RUNNABLE, .since = 0x1122334455667788, .time = {11, 22, 33, 44}};

static void layouts_are_the_compilers(void)
{
    uint8_t area[XEN_RUNSTATE_SIZE];
    struct times64 wide;
    struct times32 narrow;

    xen_put_run_times(area, &times, true, true);
    memcpy(&wide, area, sizeof(wide));
    CHECK_EQ(wide.state, XEN_RUNNABLE);
    CHECK_EQ(wide.entry, times.since | XEN_RUNSTATE_UPDATE);
    CHECK(memcmp(wide.time, times.time, sizeof(wide.time)) == 0);
    xen_put_run_times(area, &times, false, false);
    memcpy(&narrow, area, sizeof(narrow));
    CHECK_EQ(narrow.state, XEN_RUNNABLE);
    CHECK_EQ(narrow.entry, times.since);
    CHECK(memcmp(narrow.time, times.time, sizeof(narrow.time)) == 0);
    CHECK_EQ(xen_entry_time_offset(true), offsetof(struct times64, entry));
    CHECK_EQ(xen_entry_time_offset(false), offsetof(struct times32, entry));
}

static void scale_is_that_of_the_tsc(void)
{
    static const uint64_t khz[] = {1, 999, 4000, 999999, 1000000, 2596169, 3500000, 9000000};

    for (unsigned int i = 0; i < sizeof(khz) / sizeof(khz[0]); i++) {
        struct xen_time time = {.version = 0};

        xen_scale(khz[i], &time);
        for (uint64_t seconds = 1; seconds < 4; seconds++) {
            uint64_t wanted = seconds * 1000000000U;
            uint64_t found = xen_nanoseconds(&time, seconds * khz[i] * 1000U);

            CHECK(found <= wanted && wanted - found < wanted / 1000000000U + 2U);
        }
    }
}

/* A guest of a few frames, some of which can go. */
#define FRAMES 4U
struct guest {
    uint8_t *frame[FRAMES];
    bool gone[FRAMES];
};

static void *map_frame(void *ctx, gfn_t frame)
{
    struct guest *guest = ctx;

    return frame.raw < FRAMES && !guest->gone[frame.raw] ? guest->frame[frame.raw] : NULL;
}

static struct guest_pages make_guest(struct guest *guest)
{
    for (unsigned int i = 0; i < FRAMES; i++)
        guest->frame[i] = aligned_alloc(PAGE_SIZE, PAGE_SIZE);
    return (struct guest_pages){.ctx = guest, .map = map_frame, .generation = 1};
}

static void free_guest(struct guest *guest)
{
    for (unsigned int i = 0; i < FRAMES; i++)
        free(guest->frame[i]);
}

static uint8_t guest_byte(const struct guest *guest, gfn_t first, gfn_t second, uint32_t offset)
{
    return offset < PAGE_SIZE ? guest->frame[first.raw][offset]
                              : guest->frame[second.raw][offset - PAGE_SIZE];
}

static void every_offset_is_split_right(void)
{
    struct guest guest = {.gone = {false}};
    struct guest_pages pages = make_guest(&guest);
    const gfn_t first = gfn(2), second = gfn(1);

    for (uint32_t offset = 0; offset < PAGE_SIZE; offset++) {
        struct guest_page_cache cache;
        uint8_t wanted[XEN_RUNSTATE_SIZE], found[XEN_RUNSTATE_SIZE];
        bool same = true, beyond = false;

        for (unsigned int i = 0; i < FRAMES; i++)
            memset(guest.frame[i], 0xee, PAGE_SIZE);
        for (uint32_t i = 0; i < sizeof(wanted); i++)
            wanted[i] = (uint8_t)(offset + i);
        guest_page_cache_init(&cache, sizeof(wanted));
        CHECK_EQ(guest_page_cache_set(&cache, &pages, first, second, offset), 0);
        guest_page_cache_write(&cache, 0, wanted, sizeof(wanted));
        for (uint32_t i = 0; i < sizeof(wanted); i++)
            same = same && guest_byte(&guest, first, second, offset + i) == wanted[i];
        if (offset > 0)
            beyond = guest_byte(&guest, first, second, offset - 1) != 0xee;
        beyond = beyond || guest_byte(&guest, first, second, offset + sizeof(wanted)) != 0xee;
        CHECK(same && !beyond);
        guest_page_cache_read(&cache, 0, found, sizeof(found));
        CHECK(memcmp(found, wanted, sizeof(found)) == 0);
    }
    free_guest(&guest);
}

static void memory_that_goes_is_let_go(void)
{
    struct guest guest = {.gone = {false}};
    struct guest_pages pages = make_guest(&guest);
    struct guest_page_cache cache;

    guest_page_cache_init(&cache, 64);
    CHECK(!guest_page_cache_refresh(&cache, &pages));
    CHECK_EQ(guest_page_cache_set(&cache, &pages, gfn(9), gfn(0), 0), -EFAULT);
    CHECK_EQ(guest_page_cache_set(&cache, &pages, gfn(0), gfn(9), PAGE_SIZE - 8), -EFAULT);
    CHECK(!cache.set);
    CHECK_EQ(guest_page_cache_set(&cache, &pages, gfn(0), gfn(9), PAGE_SIZE - 64), 0);
    CHECK_EQ(guest_page_cache_set(&cache, &pages, gfn(9), gfn(0), 0), -EFAULT);
    CHECK(cache.set && cache.frame[0].raw == 0); /* as it was */
    CHECK_EQ(guest_page_cache_set(&cache, &pages, gfn(0), gfn(3), PAGE_SIZE - 8), 0);
    guest.gone[3] = true;
    CHECK(guest_page_cache_refresh(&cache, &pages)); /* nobody has said so yet */
    pages.generation++;
    CHECK(!guest_page_cache_refresh(&cache, &pages));
    CHECK_EQ(cache.size, 64);
    guest.gone[3] = false;
    pages.generation++;
    CHECK(!guest_page_cache_refresh(&cache, &pages)); /* once let go it does not come back */
    free_guest(&guest);
}

int main(void)
{
    RUN(layouts_are_the_compilers);
    RUN(scale_is_that_of_the_tsc);
    RUN(every_offset_is_split_right);
    RUN(memory_that_goes_is_let_go);
    return unit_end();
}
