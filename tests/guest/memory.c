/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Memory: every page of RAM written and read back, so every page size of the nested tables and
 * every border between two, and the first and last bytes of each range. Latch's own range gives
 * nothing, takes nothing, and each access to it is counted.
 */
#include "tests/guest/lib/payload.h"

#include <stdio.h>

#define PAGE         4096UL
#define LARGE_PAGE   0x200000UL
#define FIRST_USED   0x100000UL /* below it are the firmware's data and the trampoline */
#define IDENTITY_END 0x100000000UL
#define MAP_END      0x400000000UL /* what the tables here reach */
#define LARGE_LEAF   0x87UL

extern uint64_t long_pdpt[512];
extern const char payload_start[], payload_end[];

static uint64_t directories[12][512] __attribute__((aligned(4096)));

/* The runtime maps 4 GiB; this adds 12 more. */
static void map_more(void)
{
    for (unsigned int i = 0; i < 12; i++) {
        for (unsigned int j = 0; j < 512; j++)
            directories[i][j] = (IDENTITY_END + (i * 512UL + j) * LARGE_PAGE) | LARGE_LEAF;
        long_pdpt[4 + i] = (uint64_t)directories[i] | 7U;
    }
    write_cr3(read_cr3());
}

static bool is_used(uint64_t page)
{
    if (page + PAGE > (uint64_t)payload_start && page < (uint64_t)payload_end)
        return true;
    for (unsigned int i = 0; i < boot.modules; i++)
        if (page + PAGE > boot.module[i].start && page < boot.module[i].end)
            return true;
    return false;
}

static uint64_t pattern(uint64_t address, unsigned int round)
{
    uint64_t value = (address + 1) * 0x9e3779b97f4a7c15UL;
    return round == 0 ? value : ~value;
}

typedef void page_fn(uint64_t page, unsigned int round);

static uint64_t pages, wrong, first_wrong;

static void fill_page(uint64_t page, unsigned int round)
{
    *(volatile uint64_t *)page = pattern(page, round);
    *(volatile uint64_t *)(page + PAGE - 8) = pattern(page + PAGE - 8, round);
    pages++;
}

static void verify(uint64_t address, unsigned int round)
{
    if (*(volatile uint64_t *)address != pattern(address, round) && wrong++ == 0)
        first_wrong = address;
}

static void verify_page(uint64_t page, unsigned int round)
{
    verify(page, round);
    verify(page + PAGE - 8, round);
}

static void for_each_page(page_fn *fn, unsigned int round)
{
    for (unsigned int i = 0; i < boot.ranges; i++) {
        const struct ram_range *range = &boot.range[i];
        uint64_t page = (range->start + PAGE - 1) & ~(PAGE - 1);
        if (range->type != 1)
            continue;
        if (page < FIRST_USED)
            page = FIRST_USED;
        for (; page + PAGE <= range->end && page < MAP_END; page += PAGE)
            if (!is_used(page))
                fn(page, round);
    }
}

static void check_every_page(void)
{
    for (unsigned int round = 0; round < 2; round++) {
        pages = wrong = 0;
        for_each_page(fill_page, round);
        for_each_page(verify_page, round);
        check(wrong == 0 && pages > 0, round == 0 ? "memory.pages" : "memory.pages-inverted",
              "%lu of %lu words wrong, first at %lx", wrong, 2 * pages, first_wrong);
    }
    printf("info memory: %lu MiB in 4 KiB steps\n", pages * PAGE >> 20);
}

/* Eight bytes, half of them on each side of a border between two large pages. */
static void check_across_borders(void)
{
    uint64_t borders = 0, bad = 0;
    for (uint64_t border = FIRST_USED + LARGE_PAGE; border < MAP_END; border += PAGE) {
        if (border % LARGE_PAGE != 0 && border > FIRST_USED + 4 * LARGE_PAGE)
            border = (border + LARGE_PAGE - 1) & ~(LARGE_PAGE - 1);
        for (unsigned int i = 0; i < boot.ranges; i++) {
            const struct ram_range *range = &boot.range[i];
            if (range->type != 1 || border - PAGE < range->start || border + PAGE > range->end ||
                is_used(border) || is_used(border - PAGE))
                continue;
            volatile uint64_t *across = (volatile uint64_t *)(border - 4);
            *across = pattern(border, 0);
            uint32_t low = *(volatile uint32_t *)(border - 4);
            uint32_t high = *(volatile uint32_t *)border;
            if (*across != pattern(border, 0) || ((uint64_t)high << 32 | low) != *across)
                bad++;
            borders++;
        }
    }
    check(bad == 0 && borders > 0, "memory.across-borders", "%lu of %lu wrong", bad, borders);
}

static void check_ends(void)
{
    for (unsigned int i = 0; i < boot.ranges; i++) {
        const struct ram_range *range = &boot.range[i];
        if (range->type != 1 || range->start < FIRST_USED || range->end > MAP_END ||
            is_used(range->start))
            continue;
        volatile uint8_t *first = (volatile uint8_t *)range->start;
        volatile uint8_t *last = (volatile uint8_t *)(range->end - 1);
        *first = 0x5a;
        *last = 0xa5;
        char name[64];
        snprintf(name, sizeof(name), "memory.ends.%lx-%lx", range->start, range->end);
        check(*first == 0x5a && *last == 0xa5, name, "found %x and %x", *first, *last);
    }
}

static uint64_t latch_start, latch_end;

static void check_reserved(void)
{
    bool overlaps = false;
    for (unsigned int i = 0; i < boot.ranges; i++)
        if (boot.range[i].type == 1 && boot.range[i].start < latch_end &&
            boot.range[i].end > latch_start)
            overlaps = true;
    check(!overlaps && latch_start < latch_end, "memory.latch-is-reserved",
          "the map has RAM inside %lx-%lx", latch_start, latch_end);
}

static void read_nothing(uint64_t address)
{
    char name[64];
    snprintf(name, sizeof(name), "memory.latch-reads-nothing.%lx", address);
    uint64_t all = *(volatile uint64_t *)address;
    all &= 0xffffffff00000000UL | *(volatile uint32_t *)address;
    all &= 0xffffffffffff0000UL | *(volatile uint16_t *)address;
    all &= 0xffffffffffffff00UL | *(volatile uint8_t *)address;
    check_equal(name, UINT64_MAX, all);
}

static void copy_from_latch(void *address)
{
    uint64_t count = 64;
    static uint8_t copy[64];
    void *from = address, *to = copy;
    __asm__ volatile("rep movsb" : "+c"(count), "+S"(from), "+D"(to) : : "memory");
}

static void run_in_latch(void *address)
{
    ((void (*)(void))address)();
}

static void check_latch_range(void)
{
    uint64_t before = (uint64_t)latch_hypercall(HYPERCALL_FORBIDDEN, 0, 0, 0, 0);
    const uint64_t addresses[] = {latch_start, latch_start + 0x1234, (latch_start + latch_end) / 2,
                                  latch_end - 8};
    for (unsigned int i = 0; i < 4; i++) {
        read_nothing(addresses[i]);
        *(volatile uint64_t *)addresses[i] = 0x4c61746368UL;
        read_nothing(addresses[i]);
    }
    uint64_t after = (uint64_t)latch_hypercall(HYPERCALL_FORBIDDEN, 0, 0, 0, 0);
    check_equal("memory.latch-accesses-counted", 4UL * (2 * 4 + 1), after - before);
    check_equal("memory.latch-copied", VECTOR_GP,
                fault_of(copy_from_latch, (void *)latch_start, NULL, NULL));
    check_equal("memory.latch-executed", VECTOR_GP,
                fault_of(run_in_latch, (void *)latch_start, NULL, NULL));
    uint64_t last = (uint64_t)latch_hypercall(HYPERCALL_FORBIDDEN, 0, 0, 0, 0);
    check_equal("memory.latch-faults-counted", 2, last - after);
}

int main(void)
{
    map_more();
    check_every_page();
    check_across_borders();
    check_ends();
    if (!under_latch()) {
        check_skip("memory.latch", "no Latch, so none of its memory");
        return 0;
    }
    latch_start = (uint64_t)latch_hypercall(HYPERCALL_LATCH_RANGE, 0, 0, 0, 0);
    latch_end = (uint64_t)latch_hypercall(HYPERCALL_LATCH_RANGE, 1, 0, 0, 0);
    check_reserved();
    check_latch_range();
    return 0;
}
