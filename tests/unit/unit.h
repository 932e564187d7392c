/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Unit tests on the host. A test is a function without arguments; RUN() calls it and prints
 * `ok NAME` or `FAIL NAME`, after a line for each check that did not hold. A program's main() ends
 * with `return unit_end();`, which is 0 only if all held and something was checked.
 */
#ifndef LATCH_TESTS_UNIT_UNIT_H
#define LATCH_TESTS_UNIT_UNIT_H

#include <stdio.h>

static unsigned long unit_checks, unit_failures, unit_failed_tests;

/* A condition that must hold; goes on if it does not. */
#define CHECK(condition)                                                                           \
    do {                                                                                           \
        unit_checks++;                                                                             \
        if (!(condition))                                                                          \
            unit_fail(__FILE__, __LINE__, #condition);                                             \
    } while (0)

/* Two integers that must be equal. */
#define CHECK_EQ(found, wanted)                                                                    \
    do {                                                                                           \
        unsigned long long unit_found = (unsigned long long)(found);                               \
        unsigned long long unit_wanted = (unsigned long long)(wanted);                             \
        unit_checks++;                                                                             \
        if (unit_found != unit_wanted) {                                                           \
            unit_fail(__FILE__, __LINE__, #found " == " #wanted);                                  \
            printf("#   found 0x%llx, wanted 0x%llx\n", unit_found, unit_wanted);                  \
        }                                                                                          \
    } while (0)

#define RUN(test) unit_run(#test, test)

static inline void unit_fail(const char *file, int line, const char *what)
{
    unit_failures++;
    if (unit_failures <= 50)
        printf("# %s:%d: %s\n", file, line, what);
}

static inline void unit_run(const char *name, void (*test)(void))
{
    unsigned long failures = unit_failures;
    unsigned long checks = unit_checks;

    test();
    int good = unit_failures == failures && unit_checks > checks;
    unit_failed_tests += !good;
    printf("%s %s\n", good ? "ok" : "FAIL", name);
    fflush(stdout);
}

static inline int unit_end(void)
{
    return unit_failed_tests != 0 || unit_checks == 0;
}

#endif
