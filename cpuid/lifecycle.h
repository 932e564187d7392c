/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * When models may be set and when vCPUs may run: the lock's states, and a table of what is refused
 * in which. All that changes them asks here, and nothing else decides, so that the table is what
 * runs; tests/unit/test_cpuid_lifecycle.c explores all orders of events of it. The caller sees to
 * it that one CPU at a time is in here.
 */
#ifndef LATCH_CPUID_LIFECYCLE_H
#define LATCH_CPUID_LIFECYCLE_H

#include <stddef.h>
#include <stdint.h>

#define LIFE_MAX_VCPUS 64U

/* Of the VM. */
enum life_vm {
    LIFE_OPEN,   /* models are set; no vCPU runs */
    LIFE_SEALED, /* the models stay, and vCPUs run */
    LIFE_ENDING, /* the guest reset its machine: vCPUs stop, and none enters the guest any more */
};

/* Of one vCPU. */
enum life_vcpu {
    LIFE_BARE,    /* without a model */
    LIFE_STOPPED, /* in Latch: before its start, at an INIT, at a reset */
    LIFE_RUNNING,
    LIFE_NESTED, /* it runs a guest of the guest's */
};

enum life_event {
    LIFE_SET,       /* of a vCPU: another model */
    LIFE_SET_SAME,  /* the one that it has */
    LIFE_SEAL,      /* of the VM */
    LIFE_RUN,       /* into the guest */
    LIFE_STOP,      /* out of the guest, for an INIT or a reset */
    LIFE_NEST,      /* into a guest of the guest's */
    LIFE_UNNEST,    /* and out of it */
    LIFE_RESET,     /* a vCPU resets the guest's machine */
    LIFE_OPEN_NEXT, /* of the VM: the next generation begins */
    LIFE_EVENTS,
};

/* One reason to refuse an event: in these states of the VM, of the vCPU, or of any vCPU at all.
 * Sets of states, as bits; 0 stands for none of them. */
struct life_rule {
    uint8_t event, vm, own, any;
    int error;
    const char *why;
};

struct life {
    const struct life_rule *rules;
    size_t rule_count;
    uint32_t vcpus;
    uint8_t vm;                   /* enum life_vm */
    uint8_t vcpu[LIFE_MAX_VCPUS]; /* enum life_vcpu */
};

/* The rules that hold. */
extern const struct life_rule life_rules[];
extern const size_t life_rule_count;

/* Open, no vCPU with a model. */
void life_init(struct life *life, unsigned int vcpus);

/* The first rule that refuses an event now; NULL for none. `vcpu` is that of the event, and does not
 * matter for those of the VM. */
const struct life_rule *life_refusal(const struct life *life, unsigned int vcpu,
                                     enum life_event event);

/* Let an event happen: 0, or the error of the rule that refuses it, with nothing changed. */
int life_step(struct life *life, unsigned int vcpu, enum life_event event);

/* A running vCPU leaves the guest: out of its own guest first, if it is in one. As life_step(). */
int life_leave(struct life *life, unsigned int vcpu);

#endif
