/* SPDX-License-Identifier: BSD-2-Clause */
#include "kernel/stats.h"
#include "kernel/x86.h"
#include "vmx/vcpu.h"

bool vmx_exit_timed(struct vcpu *v)
{
    uint64_t begin = rdtsc();
    bool again = vmx_quick(v) || vmx_exit(v);
    stats_exit(v, rdtsc() - begin);
    return again;
}
