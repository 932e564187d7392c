/* SPDX-License-Identifier: BSD-2-Clause */
/* Physical memory as a page walk sees it: RAM, and addresses where there is none. */
#include "tests/guest/lib/runtime.h"
#include "tests/guest/paging/paging.h"

#include <stdio.h>
#include <string.h>

#define IDENTITY_END (1UL << 32)
#define RETURN_CODE  0x80cdU /* INT 80H */

static uint64_t nothing;      /* all ones or zeros: what a walk reads */
static uint64_t data_nothing; /* and what an access does */
static uint64_t latch_start, latch_end;

void *at(uint64_t address)
{
    __asm__("" : "+r"(address));
    return (void *)address;
}

bool is_latch(uint64_t address)
{
    return address >= latch_start && address < latch_end;
}

bool is_ram(uint64_t address)
{
    if (address >= IDENTITY_END || is_latch(address))
        return false;
    for (unsigned int i = 0; i < boot.ranges; i++) {
        const struct ram_range *range = &boot.range[i];
        if (range->type == 1 && address >= range->start && address < range->end)
            return true;
    }
    return false;
}

static uint64_t read_physical(void *ctx, uint64_t address, unsigned int size)
{
    (void)ctx;
    if (!is_ram(address))
        return size == 4 ? (uint32_t)nothing : nothing;
    if (size == 4)
        return *(volatile uint32_t *)at(address);
    return *(volatile uint64_t *)at(address);
}

static bool exchange_physical(void *ctx, uint64_t address, unsigned int size, uint64_t expected,
                              uint64_t value)
{
    (void)ctx;
    if (!is_ram(address))
        return true;
    if (size == 8)
        return __atomic_compare_exchange_n((uint64_t *)at(address), &expected, value, false,
                                           __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST);
    uint32_t expected32 = (uint32_t)expected;
    return __atomic_compare_exchange_n((uint32_t *)at(address), &expected32, (uint32_t)value, false,
                                       __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST);
}

const struct reference_memory physical_memory = {
    .read = read_physical,
    .compare_exchange = exchange_physical,
};

/* By an address between the end of RAM and the PCI devices; but where Latch walks the tables, ones
 * (nothing=ones), because it does not read devices there. */
void find_nothing(void)
{
    if (under_latch()) {
        latch_start = (uint64_t)latch_hypercall(HYPERCALL_LATCH_RANGE, 0, 0, 0, 0);
        latch_end = (uint64_t)latch_hypercall(HYPERCALL_LATCH_RANGE, 1, 0, 0, 0);
    }
    nothing = *(volatile uint64_t *)at(0x8d553000UL);
    data_nothing = nothing;
    if (is_ram(0x8d553000UL) || (nothing != 0 && nothing != UINT64_MAX))
        broken("address 8d553000, where nothing should be, reads as %lx", nothing);
    const char *value;
    if (boot_word("nothing", &value) && strncmp(value, "ones", 4) == 0)
        nothing = UINT64_MAX;
    printf("info paging: addresses without memory read as %lx\n", nothing);
}

bool may_read_as(uint64_t address, uint32_t value)
{
    if (is_latch(address))
        return value == UINT32_MAX;
    return is_ram(address) || address < IDENTITY_END || value == UINT32_MAX ||
           value == (uint32_t)data_nothing;
}

uint32_t page_word(uint64_t address)
{
    return (uint32_t)(address >> 12) * 0x9e3779b9U;
}

void lay_page(uint64_t page)
{
    if (!is_ram(page))
        return;
    *(volatile uint32_t *)at(page + DATA_OFFSET) = page_word(page);
    *(volatile uint16_t *)at(page + CODE_OFFSET) = RETURN_CODE;
}

static void fill_page(uint64_t page, bool blank)
{
    if (!is_ram(page))
        return;
    memset(at(page), 0, 4096);
    if (!blank)
        lay_page(page);
}

void fill_neighbours(uint64_t page, bool blank)
{
    fill_page(page, blank);
    for (unsigned int i = 12; i < 32; i++)
        fill_page(page ^ 1UL << i, blank);
}
