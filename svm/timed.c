/* SPDX-License-Identifier: BSD-2-Clause */
#include "kernel/stats.h"
#include "kernel/x86.h"
#include "svm/internal.h"

bool svm_exit_timed(struct vcpu *v)
{
    uint64_t begin = rdtsc();
    bool again = svm_quick(v) || svm_exit(v);
    stats_exit(v, rdtsc() - begin);
    return again;
}
