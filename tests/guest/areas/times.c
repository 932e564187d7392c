/* SPDX-License-Identifier: BSD-2-Clause */
/* The four times of a vCPU, against what the guest itself sees of the TSC. */
#include "tests/guest/areas/areas.h"
#include "tests/guest/lib/runtime.h"

#include <stdio.h>
#include <string.h>

#define SPIN_TICKS  2000000UL
#define DELAY_US    10000U
#define STEAL_TRIES 20000U

struct times {
    uint64_t earliest, latest; /* system time around the call that gave them */
    uint64_t time[XEN_RUNSTATES];
};

static const uint8_t *info;

static struct times times_of(unsigned int vcpu)
{
    static uint64_t answer[2][XEN_RUNSTATE_SIZE / 8];
    uint64_t *mine = answer[this_processor()->index];
    struct times t = {.earliest = system_time(info)};
    if (vcpu_op(XEN_GET_RUNSTATE_INFO, vcpu, (uint64_t)mine, false) != 0)
        broken("GET_RUNSTATE_INFO of vCPU %u failed", vcpu);
    t.latest = system_time(info);
    memcpy(t.time, mine + 2, sizeof(t.time));
    return t;
}

static uint64_t sum(const struct times *t)
{
    uint64_t all = 0;
    for (unsigned int i = 0; i < XEN_RUNSTATES; i++)
        all += t->time[i];
    return all;
}

static void check_sum(const char *name, unsigned int vcpu)
{
    struct times t = times_of(vcpu);
    check(sum(&t) >= t.earliest && sum(&t) <= t.latest, name, "%lu <= %lu <= %lu", t.earliest,
          sum(&t), t.latest);
}

/* While it spins here a vCPU runs, and nothing else, for as long as its own TSC says. */
static void check_running(void)
{
    struct times a = times_of(0);
    for (uint64_t begin = rdtsc(); rdtsc() - begin < SPIN_TICKS;)
        cpu_pause();
    struct times b = times_of(0);
    uint64_t ran = b.time[XEN_RUNNING] - a.time[XEN_RUNNING];
    check(ran >= b.earliest - a.latest && ran <= b.latest - a.earliest, "areas.running-by-the-tsc",
          "%lu <= %lu <= %lu", b.earliest - a.latest, ran, b.latest - a.earliest);
    check(a.time[XEN_RUNNABLE] == b.time[XEN_RUNNABLE] &&
              a.time[XEN_BLOCKED] == b.time[XEN_BLOCKED] &&
              a.time[XEN_OFFLINE] == b.time[XEN_OFFLINE],
          "areas.running-and-nothing-else", "another time moved too");
}

/* A nanosecond is one by the timer too; how late the delay ends is not known. */
static void check_scale(void)
{
    uint64_t begin = system_time(info);
    delay_us(DELAY_US);
    uint64_t took = system_time(info) - begin;
    check(took >= DELAY_US * 900UL && took <= DELAY_US * 1000000UL, "areas.scale-is-nanoseconds",
          "%u us took %lu ns", DELAY_US, took);
}

/* A vCPU that was sent an INIT is offline until its SIPI. */
static void check_offline(void)
{
    struct times a = times_of(1);
    processors[1].online = false;
    apic_send(processors[1].apic_id, ICR_INIT);
    struct times b = times_of(1);
    for (uint64_t begin = rdtsc(); rdtsc() - begin < SPIN_TICKS;)
        cpu_pause();
    struct times c = times_of(1);
    if (!processor_start(1))
        broken("vCPU 1 does not start again");
    struct times d = times_of(1);
    uint64_t spun = c.time[XEN_OFFLINE] - b.time[XEN_OFFLINE];
    check(spun >= c.earliest - b.latest && spun <= c.latest - b.earliest,
          "areas.offline-by-the-tsc", "%lu <= %lu <= %lu", c.earliest - b.latest, spun,
          c.latest - b.earliest);
    check(b.time[XEN_RUNNING] == c.time[XEN_RUNNING] && d.time[XEN_OFFLINE] > c.time[XEN_OFFLINE] &&
              d.time[XEN_OFFLINE] - a.time[XEN_OFFLINE] <= d.latest - a.earliest &&
              d.time[XEN_RUNNING] > c.time[XEN_RUNNING],
          "areas.offline-and-nothing-else", "it ran, or was offline for longer");
}

static volatile bool contends;

/* What holds Latch's lock for long. */
static void contend(void *unused)
{
    (void)unused;
    while (contends)
        latch_mode(false);
}

/* Time in Latch, waiting for another vCPU to leave it, is stolen; it is part of what the guest's own
 * TSC says that its calls took, and no more than that. */
static void check_stolen(void)
{
    uint64_t called = 0;
    unsigned int tries = 0;
    contends = true;
    struct times a = times_of(0), b = a;
    start_on(1, contend, NULL);
    while (b.time[XEN_RUNNABLE] == a.time[XEN_RUNNABLE] && tries++ < STEAL_TRIES) {
        b = times_of(0);
        called += b.latest - b.earliest + 1;
    }
    contends = false;
    if (!wait_on(1))
        broken("vCPU 1 does not come back");
    uint64_t stolen = b.time[XEN_RUNNABLE] - a.time[XEN_RUNNABLE];
    printf("info stolen: %lu ns, after %u calls\n", stolen, tries);
    check(stolen > 0 && stolen <= called, "areas.stolen-by-the-tsc",
          "%lu ns of %lu in its calls were stolen", stolen, called);
    check(b.time[XEN_RUNNING] - a.time[XEN_RUNNING] + stolen <= b.latest - a.earliest,
          "areas.stolen-is-not-run", "%lu ns ran, %lu stolen, in %lu",
          b.time[XEN_RUNNING] - a.time[XEN_RUNNING], stolen, b.latest - a.earliest);
}

void check_run_times(const uint8_t *vcpu_info)
{
    info = vcpu_info;
    check_sum("areas.times-add-up-vcpu-0", 0);
    check_running();
    check_scale();
    if (processor_start_all() < 2) {
        check_absent("areas.second-vcpu", "there is one processor");
        return;
    }
    struct times t = times_of(1);
    check(t.time[XEN_OFFLINE] > 0 && t.time[XEN_BLOCKED] == 0, "areas.second-vcpu-was-offline",
          "offline %lu ns, blocked %lu ns", t.time[XEN_OFFLINE], t.time[XEN_BLOCKED]);
    check_offline();
    check_stolen();
    check_sum("areas.times-add-up-vcpu-0-again", 0);
    check_sum("areas.times-add-up-vcpu-1", 1);
}
