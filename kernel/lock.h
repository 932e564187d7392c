/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef LATCH_KERNEL_LOCK_H
#define LATCH_KERNEL_LOCK_H
/* A spin lock, for short sections with interrupts off. Static storage starts it unlocked. */
#include "kernel/x86.h"
#include <stdatomic.h>

struct lock {
    atomic_flag held;
};

static inline void lock(struct lock *l)
{
    while (atomic_flag_test_and_set_explicit(&l->held, memory_order_acquire))
        cpu_pause();
}

static inline void unlock(struct lock *l)
{
    atomic_flag_clear_explicit(&l->held, memory_order_release);
}

#endif
