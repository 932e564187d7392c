/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef LATCH_TESTS_BENCH_XEN_DOM0_H
#define LATCH_TESTS_BENCH_XEN_DOM0_H
/*
 * The least dom0 that Xen can have: a 64-bit paravirtual kernel that makes one PVH guest, the
 * bench's, and ends the machine after it. Xen's public headers are those of Debian's libxen-dev.
 */
#include "tests/bench/entry/entry.h"

#include <xen/xen.h>

/* Prints `broken: dom0: WHAT: RESULT` and the verdict, and ends the machine. */
_Noreturn void fail(const char *what, int64_t result);

/* domain.c: a guest with memory and one vCPU that does not run yet. */
void domain_create(void);
/* Into its memory. */
entry_put_fn domain_put;
/* Lets it run from a 32-bit entry. */
void domain_start(uint32_t entry);
/* Sleeps until it has ended; SHUTDOWN_... of xen/sched.h. */
unsigned int domain_wait(void);

/* Up to four arguments; Xen may change the registers that they lie in. */
static inline int64_t hypercall(uint64_t number, uint64_t a, uint64_t b, uint64_t c, uint64_t d)
{
    register uint64_t fourth __asm__("r10") = d;
    int64_t result;
    __asm__ volatile("syscall"
                     : "=a"(result), "+D"(a), "+S"(b), "+d"(c), "+r"(fourth)
                     : "a"(number)
                     : "rcx", "r11", "memory");
    return result;
}

#endif
