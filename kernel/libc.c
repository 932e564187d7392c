/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What newlib needs from below: each CPU's reentrancy structure, and an end for what cannot go on.
 */
#include "kernel/console.h"
#include "kernel/cpu.h"
#include "kernel/end.h"
#include <assert.h>
#include <stdlib.h>
#include <string.h>
#include <sys/reent.h>

struct _reent *__getreent(void)
{
    return &this_cpu()->reent;
}

void __assert_func(const char *file, int line, const char *function, const char *expression)
{
    console_break_lock();
    console_line("latch: assertion failed: %s, %s:%d, %s()", expression, file, line, function);
    end_run(VERDICT_ERROR);
}

void abort(void)
{
    console_break_lock();
    console_line("latch: the C library gave up");
    end_run(VERDICT_ERROR);
}
