/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * How vCPUs wait for one another, each a thread here: for the lock, for a flush, for another to
 * stop. None of it may wait for the other, and who waited flushes before it enters.
 */
#include "kernel/console.h"
#include "kernel/smp.h"
#include "kernel/tsc.h"
#include "kernel/vm.h"
#include "tests/unit/unit.h"
#include <asm/prctl.h>
#include <pthread.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

/* A second here is ten to Latch. */
#define SPEED 10U

struct vm vm;

static struct cpu place[2];
static struct vcpu vcpu[2];
static _Atomic unsigned int kicks[2], given_up;

/* --- what kernel/vm_call.c needs */

uint64_t tsc_microseconds(void)
{
    struct timespec now;

    (void)clock_gettime(CLOCK_MONOTONIC, &now);
    return ((uint64_t)now.tv_sec * 1000000U + (uint64_t)now.tv_nsec / 1000U) * SPEED;
}

void smp_kick(struct cpu *cpu)
{
    kicks[cpu->index]++;
}

void console_line(const char *format, ...)
{
    (void)format;
}

void xen_stolen(struct vcpu *v, uint64_t ticks)
{
    (void)v;
    (void)ticks;
}

/* Have the other go on, if it waits for this one. */
void end_run(enum verdict verdict)
{
    (void)verdict;
    given_up++;
    for (unsigned int i = 0; i < 2; i++) {
        vcpu[i].init_pending = false;
        vcpu[i].status = VCPU_STOPPED;
    }
    pthread_exit(NULL);
}

/* --- the tests */

static void be_cpu(unsigned int index)
{
    (void)syscall(SYS_arch_prctl, ARCH_SET_GS, &place[index]);
}

static void fresh(void)
{
    vm.vcpu_count = 2;
    given_up = 0;
    for (unsigned int i = 0; i < 2; i++) {
        place[i] = (struct cpu){.self = &place[i], .index = i, .vcpu = &vcpu[i]};
        vcpu[i] = (struct vcpu){.vm = &vm, .cpu = &place[i], .index = i, .status = VCPU_RUNNING};
        vm.vcpu[i] = &vcpu[i];
        kicks[i] = 0;
    }
}

static bool not_stopped(const struct vcpu *target)
{
    return target->init_pending;
}

/* vCPU 1 has sent vCPU 0 an INIT and waits until it stops. */
static void *send_init(void *unused)
{
    be_cpu(1);
    vm_call(&vcpu[0], not_stopped);
    return unused;
}

static void *wait_for_lock(void *unused)
{
    be_cpu(1);
    kicks[0]++; /* is there */
    vm_lock(&vcpu[1]);
    vm_unlock(&vcpu[1]);
    return unused;
}

/* vCPU 0 flushes under the lock, and then lets go of what the other may wait for. */
static void *flush(void *unused)
{
    be_cpu(0);
    while (kicks[0] == 0)
        continue;
    vm_flush(NULL);
    vm_unlock(&vcpu[0]);
    vcpu[0].init_pending = false;
    return unused;
}

static void flush_against(void *(*other)(void *))
{
    pthread_t thread[2];

    fresh();
    vcpu[0].init_pending = true;
    vm_lock(&vcpu[0]);
    CHECK_EQ(pthread_create(&thread[0], NULL, flush, NULL), 0);
    CHECK_EQ(pthread_create(&thread[1], NULL, other, NULL), 0);
    CHECK_EQ(pthread_join(thread[0], NULL), 0);
    if (given_up)
        vm_unlock(&vcpu[0]);
    CHECK_EQ(pthread_join(thread[1], NULL), 0);
    CHECK_EQ(given_up, 0U);
    CHECK(vcpu[1].flush);
    CHECK(!vcpu[1].at_lock);
    CHECK(!vcpu[0].at_lock);
}

static void a_flush_against_an_init(void)
{
    for (unsigned int i = 0; i < 20 && given_up == 0; i++)
        flush_against(send_init);
}

static void a_flush_against_the_lock(void)
{
    for (unsigned int i = 0; i < 20 && given_up == 0; i++)
        flush_against(wait_for_lock);
}

/* Who runs the guest is called until it has flushed; and if it never does the run ends. */
static void *flush_alone(void *unused)
{
    be_cpu(0);
    vm_flush(NULL);
    return unused;
}

static void a_vcpu_that_runs_is_waited_for(void)
{
    pthread_t thread;

    fresh();
    CHECK_EQ(pthread_create(&thread, NULL, flush_alone, NULL), 0);
    while (kicks[1] < 3)
        continue;
    vcpu[1].flush = false;
    CHECK_EQ(pthread_join(thread, NULL), 0);
    CHECK_EQ(given_up, 0U);
    CHECK_EQ(pthread_create(&thread, NULL, flush_alone, NULL), 0);
    CHECK_EQ(pthread_join(thread, NULL), 0);
    CHECK_EQ(given_up, 1U);
}

int main(void)
{
    RUN(a_flush_against_an_init);
    given_up = 0;
    RUN(a_flush_against_the_lock);
    RUN(a_vcpu_that_runs_is_waited_for);
    return unit_end();
}
