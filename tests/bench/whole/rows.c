/* SPDX-License-Identifier: BSD-2-Clause */
#include "tests/bench/whole/whole.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>
#include <x86intrin.h>

#define ROUNDS 200

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
static int row(const char *name, int (*in_child)(void))
{
    static long figures[ROUNDS];
    for (int i = 0; i < ROUNDS; i++) {
        unsigned long start = __rdtsc();
        int child = fork();
        if (child == 0)
            _exit(in_child());
        if (await(child) != 0)
            return 1;
        figures[i] = (long)(__rdtsc() - start);
    }
    qsort(figures, ROUNDS, sizeof(figures[0]), ascending);
    printf("bench: %s median %ld min %ld rounds %d\n", name, figures[ROUNDS / 2], figures[0],
           ROUNDS);
    return 0;
}

int measure_rows(void)
{
    return row("linux-fork", end) | row("linux-fork-exec", run_true);
}
