/* SPDX-License-Identifier: BSD-2-Clause */
#include "kernel/console.h"
#include "kernel/smp.h"
#include "kernel/tsc.h"
#include "kernel/vm.h"
#include "kernel/x86.h"

#define ANSWER_US 10000000U

static void give_up(const struct vcpu *v)
{
    console_line("guest: vcpu %u does not answer Latch: did it turn its local APIC off, or "
                 "change its id?",
                 v->index);
    end_run(VERDICT_ERROR);
}

/* Who waits here holds nothing of the tables, no more than who waits for the lock: else a vCPU that
 * waits, under the lock, for all to flush would wait for one that waits for it to stop. */
void vm_call(struct vcpu *v, bool (*waiting)(const struct vcpu *v))
{
    struct vcpu *caller = this_cpu()->vcpu;
    if (!waiting(v))
        return;
    for (uint64_t begin = tsc_microseconds(); waiting(v);) {
        uint64_t now = tsc_microseconds();
        if (now - begin > ANSWER_US)
            give_up(v);
        smp_kick(v->cpu);
        while (waiting(v) && tsc_microseconds() - now < KICK_AGAIN_US) {
            caller->at_lock = true;
            cpu_pause();
        }
    }
    caller->at_lock = false;
}

/* A vCPU has let go of old translations when it has flushed, or waits in Latch and will. */
static bool not_flushed(const struct vcpu *v)
{
    return v != vm.ender && v->status == VCPU_RUNNING && v->flush && !v->at_lock;
}

void vm_flush(void *ctx)
{
    (void)ctx;
    for (unsigned int i = 0; i < vm.vcpu_count; i++) {
        vm.vcpu[i]->at_lock = false;
        vm.vcpu[i]->flush = true;
    }
    for (unsigned int i = 0; i < vm.vcpu_count; i++) {
        if (vm.vcpu[i] != this_cpu()->vcpu)
            vm_call(vm.vcpu[i], not_flushed);
    }
}

void vm_lock(struct vcpu *v)
{
    if (!atomic_flag_test_and_set_explicit(&vm.lock.held, memory_order_acquire))
        return;
    uint64_t begin = rdtsc();
    do {
        v->at_lock = true;
        cpu_pause();
    } while (atomic_flag_test_and_set_explicit(&vm.lock.held, memory_order_acquire));
    v->at_lock = false;
    xen_stolen(v, rdtsc() - begin);
}

void vm_unlock(struct vcpu *v)
{
    (void)v;
    unlock(&vm.lock);
}
