/* SPDX-License-Identifier: BSD-2-Clause */
#include "tests/bench/payload/bench.h"
#include "tests/guest/lib/runtime.h"

#include <stdio.h>
#include <stdlib.h>

struct gate {
    uint16_t offset_low, selector;
    uint8_t ist, type;
    uint16_t offset_middle;
    uint32_t offset_high, reserved;
};

struct table_pointer {
    uint16_t limit;
    uint64_t base;
} __attribute__((packed));

struct call {
    operation *op;
    uint64_t first, second;
};

static unsigned int rounds = 1000;

static int64_t overhead; /* of an empty operation */
static bool counts_exits;
static int64_t figures[ROUNDS_MAX];

static void point_gate(uint8_t vector, uint64_t address)
{
    struct table_pointer pointer;
    __asm__ volatile("sidt %0" : "=m"(pointer));
    struct gate *gate = (struct gate *)pointer.base + vector;
    gate->offset_low = (uint16_t)address;
    gate->offset_middle = (uint16_t)(address >> 16);
    gate->offset_high = (uint32_t)(address >> 32);
}

void set_gate(uint8_t vector, void (*entry)(void))
{
    point_gate(vector, (uint64_t)entry);
}

void restore_gate(uint8_t vector)
{
    point_gate(vector, vector_entries[vector]);
}

static uint64_t exits(void)
{
    uint64_t sum = 0;
    for (unsigned int kind = 0; counts_exits && kind < EXIT_KINDS; kind++)
        if (kind != EXIT_HYPERCALL)
            sum += latch_exits((enum exit_kind)kind, 0);
    return counts_exits ? sum + latch_exits(EXIT_HYPERCALL, 0) : 0;
}

static int ascending(const void *a, const void *b)
{
    int64_t left = *(const int64_t *)a, right = *(const int64_t *)b;
    return (left > right) - (left < right);
}

static void print_row(const char *name, uint64_t exits_before)
{
    /* The counting itself is a hypercall for each kind. */
    uint64_t count = counts_exits ? exits() - exits_before - EXIT_KINDS : 0;
    qsort(figures, rounds, sizeof(figures[0]), ascending);
    printf("bench: %s median %ld min %ld rounds %u", name, figures[rounds / 2], figures[0], rounds);
    if (counts_exits)
        printf(" exits %lu", count);
    printf("\n");
}

void row_absent(const char *name, const char *why)
{
    printf("bench: %s absent %s\n", name, why);
}

int64_t ticks_of(operation *op, uint64_t first, uint64_t second)
{
    return (int64_t)time_operation(op, first, second) - overhead;
}

void row_measured(const char *name, measure_fn *measure)
{
    uint64_t before = exits();
    for (unsigned int i = 0; i < rounds; i++)
        figures[i] = measure(i);
    print_row(name, before);
}

static void try(void *argument)
{
    const struct call *call = argument;
    (void)time_operation(call->op, call->first, call->second);
}

void row(const char *name, operation *op, uint64_t first, uint64_t second)
{
    struct call call = {.op = op, .first = first, .second = second};
    unsigned int vector = fault_of(try, &call, NULL, NULL);
    if (vector != NO_FAULT) {
        printf("bench: %s absent fault, vector %u\n", name, vector);
        return;
    }
    uint64_t before = exits();
    for (unsigned int i = 0; i < rounds; i++)
        figures[i] = ticks_of(op, first, second);
    print_row(name, before);
}

void rows_begin(void)
{
    const char *value;
    if (boot_word("rounds", &value))
        rounds = (unsigned int)strtoul(value, NULL, 10);
    if (rounds == 0 || rounds > ROUNDS_MAX)
        broken("rounds=%s: wanted 1 to %u", value, ROUNDS_MAX);
    counts_exits = under_latch();
    uint64_t start = rdtsc();
    for (unsigned int i = 0; i < rounds; i++)
        figures[i] = time_operation(op_empty, 0, 0);
    qsort(figures, rounds, sizeof(figures[0]), ascending);
    overhead = figures[rounds / 2];
    check(rdtsc() > start, "bench.clock", "the TSC stands still");
    printf("bench: overhead %ld ticks, taken off\n", overhead);
    row("empty", op_empty, 0, 0);
}
