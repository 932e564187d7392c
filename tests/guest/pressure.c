/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * More page tables than Latch has table pages for, each in a large page of its own, so that neither
 * the shadow tables nor the nested ones have room: all vCPUs use them at the same time, round after
 * round, and in each find what the tables say now. `tables=` is how many.
 */
#include "tests/guest/lib/payload.h"

#include <stdio.h>
#include <stdlib.h>

#define PAGE       4096UL
#define LARGE_PAGE 0x200000UL
#define LINEAR     (1UL << 39) /* the second PML4 entry, which nothing else uses */
#define LOW        (16UL << 20)
#define BITS       0x63UL /* present, writable, accessed, dirty */
#define PARTS      16U    /* in which a round changes the tables and looks at them */
#define ROUNDS     3U
#define DATA       8U
#define TABLES_MAX 1024U

static uint64_t data[DATA][512] __attribute__((aligned(4096)));
static uint64_t pdpt[512] __attribute__((aligned(4096)));
static uint64_t directory[TABLES_MAX / 512][512] __attribute__((aligned(4096)));
static unsigned int tables, round;
static uint64_t top; /* the tables lie below it */
static volatile unsigned int wrong[PROCESSORS_MAX];

static void flush(void)
{
    write_cr3(read_cr3());
}

static volatile uint64_t *table_of(unsigned int i)
{
    return (volatile uint64_t *)(top - (i + 1) * LARGE_PAGE);
}

/* Scattered over the table, so that what is about it is seldom used. */
static unsigned int index_of(unsigned int i)
{
    return i * 37U % 512U;
}

static uint64_t *data_of(unsigned int i)
{
    return data[(i + round) % DATA];
}

static void write_tables(void)
{
    for (unsigned int i = 0; i < tables; i++)
        table_of(i)[index_of(i)] = (uint64_t)data_of(i) | BITS;
}

static void visit(void *unused)
{
    const unsigned int self = this_processor()->index;
    (void)unused;
    for (unsigned int i = 0; i < tables; i++) {
        if (i % (tables / PARTS) == 0)
            flush();
        const uint64_t linear = LINEAR + i * LARGE_PAGE + index_of(i) * PAGE;
        if (*(volatile uint64_t *)linear != *data_of(i))
            wrong[self]++;
    }
}

/* The first table: what all have in use at the end. */
static void touch(void *unused)
{
    (void)unused;
    if (*(volatile uint64_t *)(LINEAR + index_of(0) * PAGE) != *data_of(0))
        wrong[this_processor()->index]++;
}

static void find_memory(void)
{
    for (unsigned int i = 0; i < boot.ranges; i++) {
        const struct ram_range *range = &boot.range[i];
        const uint64_t end = range->end & ~(LARGE_PAGE - 1);
        if (range->type == 1 && range->start < LOW && end <= 1UL << 32 &&
            end >= LOW + tables * LARGE_PAGE)
            top = end;
    }
    if (top == 0)
        broken("wanted %lu MiB of memory in one piece", (LOW + tables * LARGE_PAGE) >> 20);
}

static void link_tables(void)
{
    uint64_t *pml4 = (uint64_t *)(read_cr3() & ~(PAGE - 1));
    for (unsigned int i = 0; i < tables; i++) {
        for (unsigned int k = 0; k < 512; k++)
            table_of(i)[k] = 0;
        directory[i / 512][i % 512] = (uint64_t)table_of(i) | BITS;
    }
    for (unsigned int i = 0; i < TABLES_MAX / 512; i++)
        pdpt[i] = (uint64_t)directory[i] | BITS;
    pml4[LINEAR >> 39] = (uint64_t)pdpt | BITS;
    for (unsigned int i = 0; i < DATA; i++)
        data[i][0] = 0x1234567 * (i + 1UL);
}

int main(void)
{
    const char *value = "600";
    (void)boot_word("tables", &value);
    tables = (unsigned int)strtoul(value, NULL, 10);
    if (tables < PARTS || tables > TABLES_MAX)
        broken("tables=%s: wanted %u to %u", value, PARTS, TABLES_MAX);
    find_memory();
    link_tables();
    const unsigned int running = processor_start_all();
    check(running == processor_count, "pressure.vcpus", "found %u", running);
    for (; round < ROUNDS; round++) {
        write_tables();
        for (unsigned int i = 1; i < running; i++)
            start_on(i, visit, NULL);
        visit(NULL);
        for (unsigned int i = 0; i < running; i++) {
            char name[40];
            snprintf(name, sizeof(name), "pressure.round%u.vcpu%u", round, i);
            check((i == 0 || wait_on(i)) && wrong[i] == 0, name, "%u pages of %u wrong", wrong[i],
                  tables);
        }
    }
    round--;
    for (unsigned int i = 0; i < 2 * running; i++)
        (void)run_on(i % running, touch, NULL);
    return 0;
}
