/* SPDX-License-Identifier: BSD-2-Clause */
#include "tests/bench/whole/whole.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>
#include <x86intrin.h>

#define ROUNDS_MAX 2048U
#define EXEC_LESS  5U /* one program for so many processes: it takes many times as long */

static int ascending(const void *a, const void *b)
{
    long left = *(const long *)a, right = *(const long *)b;
    return (left > right) - (left < right);
}

static int end(void)
{
    return 0;
}

static int run_true(void)
{
    execl("/bin/busybox", "true", (char *)NULL);
    return 127;
}

/* From fork() to what waitpid() returns. */
static int row(const char *name, int (*in_child)(void), unsigned int rounds)
{
    static long figures[ROUNDS_MAX];
    for (unsigned int i = 0; i < rounds; i++) {
        unsigned long start = __rdtsc();
        int child = fork();
        if (child == 0)
            _exit(in_child());
        if (await(child) != 0)
            return 1;
        figures[i] = (long)(__rdtsc() - start);
    }
    qsort(figures, rounds, sizeof(figures[0]), ascending);
    printf("bench: %s median %ld min %ld rounds %u\n", name, figures[rounds / 2], figures[0],
           rounds);
    return 0;
}

int measure_rows(unsigned int rounds)
{
    if (rounds == 0 || rounds > ROUNDS_MAX)
        return 1;
    return row("linux-fork", end, rounds) |
           row("linux-fork-exec", run_true, (rounds + EXEC_LESS - 1) / EXEC_LESS);
}
