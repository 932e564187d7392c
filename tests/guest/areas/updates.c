/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A vCPU that reads another's run state as Linux does (again if the entry time has the update bit, or
 * changed meanwhile) never has a part of the old and a part of the new one.
 */
#include "tests/guest/areas/areas.h"
#include "tests/guest/lib/runtime.h"

#include <stdio.h>
#include <string.h>

#define STARTS      60U
#define ROUNDS      400U
#define POLLS_MAX   100000000U
#define WORDS       (XEN_RUNSTATE_SIZE / 8U)
#define FENCE_BYTES 64U

/* For each vCPU an area that crosses a page, its time[] in the second. */
static uint8_t own[2][2 * PAGE] __attribute__((aligned(4096)));
#define AT (PAGE - 16U)

struct view {
    uint32_t state;
    uint64_t since, time[XEN_RUNSTATES];
};

static struct {
    unsigned int reads, updating, changed, torn;
} seen[2];

static bool read_once(const uint8_t *area, struct view *view, unsigned int reader)
{
    const volatile uint64_t *word = (const volatile uint64_t *)(const void *)area;
    uint64_t since = word[1];
    if (since & XEN_RUNSTATE_UPDATE) {
        seen[reader].updating++;
        return false;
    }
    view->state = (uint32_t)word[0];
    view->since = since;
    for (unsigned int i = 0; i < XEN_RUNSTATES; i++)
        view->time[i] = word[2 + i];
    if (word[1] != since) {
        seen[reader].changed++;
        return false;
    }
    seen[reader].reads++;
    return true;
}

static uint64_t sum(const struct view *v)
{
    return v->time[0] + v->time[1] + v->time[2] + v->time[3];
}

/* At the entry into a state the times add up to when that was: any mixture of two does not. */
static bool whole(const struct view *now, const struct view *before)
{
    if (now->state == before->state)
        return now->since == before->since &&
               memcmp(now->time, before->time, sizeof(now->time)) == 0;
    bool stolen = now->time[XEN_RUNNABLE] != before->time[XEN_RUNNABLE];
    return now->state == XEN_RUNNING && now->since > before->since &&
           now->time[XEN_OFFLINE] > before->time[XEN_OFFLINE] &&
           (stolen ? sum(now) > now->since : sum(now) == now->since);
}

/* vCPU 1 starts, in Latch, while vCPU 0 looks. */
static void watch_start(void)
{
    const uint8_t *area = own[1] + AT;
    struct view before = {0}, now = {0};
    processors[1].online = false;
    apic_send(processors[1].apic_id, ICR_INIT);
    while (!read_once(area, &before, 0))
        cpu_pause();
    if (before.state != XEN_OFFLINE || sum(&before) != before.since)
        seen[0].torn++;
    apic_send(processors[1].apic_id, ICR_SIPI | TRAMPOLINE >> 12);
    for (unsigned int polls = 0; now.since <= before.since || now.state != XEN_RUNNING; polls++) {
        if (polls > POLLS_MAX)
            broken("vCPU 1 does not start");
        if (read_once(area, &now, 0) && !whole(&now, &before))
            seen[0].torn++;
    }
    while (!processors[1].online)
        cpu_pause();
}

static void register_own(void *result)
{
    unsigned int index = this_processor()->index;
    *(int64_t *)result =
        register_at(XEN_REGISTER_RUNSTATE_PHYS_AREA, index, (uint64_t)own[index] + AT, false);
}

/* Both do this at once: have the own area written, and read the other's. */
static void update_and_read(void *unused)
{
    unsigned int index = this_processor()->index;
    struct view now, before = {0};
    (void)unused;
    for (unsigned int i = 0; i < ROUNDS; i++) {
        int64_t result = -1;
        register_own(&result);
        if (result != 0)
            seen[index].torn++;
        if (!read_once(own[!index] + AT, &now, index))
            continue;
        if (now.state != XEN_RUNNING || now.time[XEN_RUNNING] < before.time[XEN_RUNNING] ||
            now.time[XEN_RUNNABLE] < before.time[XEN_RUNNABLE] || sum(&now) < now.since)
            seen[index].torn++;
        before = now;
    }
}

static bool fenced(const uint8_t *area)
{
    for (unsigned int i = 1; i <= FENCE_BYTES; i++)
        if (area[AT - i] != POISON || area[AT + XEN_RUNSTATE_SIZE - 1 + i] != POISON)
            return false;
    return true;
}

static void check_two_at_once(void)
{
    start_on(1, update_and_read, NULL);
    update_and_read(NULL);
    if (!wait_on(1))
        broken("vCPU 1 does not come back");
    for (unsigned int i = 0; i < 2; i++) {
        char name[48];
        snprintf(name, sizeof(name), "areas.two-at-once-vcpu-%u", i);
        check(seen[i].torn == 0 && seen[i].reads > 0, name, "%u of %u reads were torn",
              seen[i].torn, seen[i].reads);
    }
}

void check_updates(void)
{
    int64_t result = -1;
    memset(own, POISON, sizeof(own));
    if (processor_start_all() < 2)
        return; /* said already */
    latch_mode(false);
    register_own(&result);
    check_equal("areas.first-vcpu-registers", 0, (uint64_t)result);
    if (!run_on(1, register_own, &result))
        broken("vCPU 1 does not come back");
    check_equal("areas.second-vcpu-registers", 0, (uint64_t)result);
    check(own[1][AT] == XEN_RUNNING, "areas.second-vcpu-runs", "state %u", own[1][AT]);
    for (unsigned int i = 0; i < STARTS; i++)
        watch_start();
    check(seen[0].torn == 0, "areas.update-never-torn", "%u of %u reads", seen[0].torn,
          seen[0].reads);
    check_two_at_once();
    if (seen[0].updating + seen[1].updating > 0)
        check(true, "areas.update-bit-seen", " ");
    else
        check_absent("areas.update-bit-seen", "no read fell into an update");
    printf("info updates: %u reads, %u saw the update bit, %u another entry time\n",
           seen[0].reads + seen[1].reads, seen[0].updating + seen[1].updating,
           seen[0].changed + seen[1].changed);
    check(fenced(own[0]) && fenced(own[1]), "areas.update-nothing-beside", "beside the area");
    check_equal("areas.for-another-vcpu", 0,
                (uint64_t)register_at(XEN_REGISTER_RUNSTATE_PHYS_AREA, 1, (uint64_t)own[0], false));
    check(own[0][0] == XEN_RUNNING && own[0][1] == 0, "areas.for-another-vcpu-written",
          "nothing is there");
}
