/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The first touch of memory; and what a guest's memory manager does, in a window of its own: free
 * without shadow paging.
 */
#include "tests/bench/payload/bench.h"

#include <string.h>

#define PAGE        4096UL
#define PAGE_LARGE  0x200000UL
#define WINDOW_SLOT 8U /* in the page-directory-pointer table; the runtime uses the first four */
#define WINDOW      ((uint64_t)WINDOW_SLOT << 30)
#define RIGHTS      7UL /* present, writable, the user's */

extern uint64_t long_pml4[512], long_pdpt[512];

static uint64_t other_root[512] __attribute__((aligned(4096)));
static uint64_t directory[512] __attribute__((aligned(4096)));
static uint64_t table[512] __attribute__((aligned(4096)));
static uint64_t spare_table[512] __attribute__((aligned(4096)));
/* The page that a copy-on-write maps instead has an address that differs in one bit. */
static uint8_t pages[2 * PAGE] __attribute__((aligned(8192)));

static void map_window(void)
{
    memcpy(other_root, long_pml4, sizeof(other_root));
    directory[0] = (uint64_t)table | RIGHTS;
    table[0] = (uint64_t)pages | RIGHTS;
    long_pdpt[WINDOW_SLOT] = (uint64_t)directory | RIGHTS;
    new_table = (uint64_t)spare_table;
    new_table_first = (uint64_t)pages | RIGHTS;
    write_cr3(read_cr3());
}

static int64_t measure_touch(unsigned int round)
{
    return ticks_of(op_read_memory, FRESH + round * FRESH_STEP, 0);
}

static int64_t measure_touch_write(unsigned int round)
{
    return ticks_of(op_write_memory, FRESH + (ROUNDS_MAX + round) * FRESH_STEP, 1);
}

static bool has_fresh(void)
{
    for (unsigned int i = 0; i < boot.ranges; i++)
        if (boot.range[i].type == 1 && boot.range[i].start <= FRESH &&
            boot.range[i].end >= FRESH + FRESH_SIZE)
            return true;
    return false;
}

void measure_first_touch(void)
{
    if (!has_fresh()) {
        row_absent("first-touch-read", "no RAM there");
        row_absent("first-touch-write", "no RAM there");
        return;
    }
    row_measured("first-touch-read", measure_touch);
    row_measured("first-touch-write", measure_touch_write);
}

void measure_paging(void)
{
    map_window();
    row("cr3-twice", op_cr3, (uint64_t)other_root, (uint64_t)long_pml4);
    row("invlpg", op_invlpg, WINDOW, 0);
    row("remap", op_remap, WINDOW, (uint64_t)&table[0]);
    row("new-table", op_new_table, WINDOW + PAGE_LARGE, (uint64_t)&directory[1]);
    set_gate(VECTOR_PF, skip_fault);
    row("page-fault", op_page_fault, WINDOW + PAGE, 0);
    set_gate(VECTOR_PF, give_page);
    row("copy-on-write", op_copy_on_write, WINDOW, (uint64_t)&table[0]);
    restore_gate(VECTOR_PF);
}
