/* SPDX-License-Identifier: BSD-2-Clause */
#include "cpuid/lifecycle.h"

#include <errno.h>

#define IN(state) (1U << (state))

/* clang-format off */
const struct life_rule life_rules[] = {
    {LIFE_SET, .vm = IN(LIFE_SEALED) | IN(LIFE_ENDING), .error = -EBUSY,
     .why = "a sealed model stays until the guest's reset is through"},
    {LIFE_SET_SAME, .own = IN(LIFE_NESTED), .error = -EBUSY,
     .why = "the CPU would ask two models at once: its own and that of its guest"},
    {LIFE_SEAL, .vm = IN(LIFE_SEALED) | IN(LIFE_ENDING), .error = -EBUSY,
     .why = "a generation is sealed once; after a reset only the next one is"},
    {LIFE_SEAL, .any = IN(LIFE_BARE), .error = -EINVAL,
     .why = "a vCPU without a model could run"},
    {LIFE_RUN, .vm = IN(LIFE_OPEN), .error = -EINVAL,
     .why = "its model could still be set"},
    {LIFE_RUN, .vm = IN(LIFE_ENDING), .error = -EBUSY,
     .why = "after a reset nothing of the old generation runs again"},
    {LIFE_RUN, .own = IN(LIFE_RUNNING) | IN(LIFE_NESTED), .error = -EBUSY,
     .why = "it runs already, and its guest's state would be forgotten"},
    {LIFE_STOP, .own = IN(LIFE_BARE) | IN(LIFE_STOPPED), .error = -EINVAL,
     .why = "it does not run, or has not even a model"},
    {LIFE_STOP, .own = IN(LIFE_NESTED), .error = -EBUSY,
     .why = "it is to leave its guest first, or the next generation would go on in there"},
    {LIFE_NEST, .vm = IN(LIFE_ENDING), .error = -EBUSY,
     .why = "after a reset nothing of the old generation runs again"},
    {LIFE_NEST, .own = IN(LIFE_BARE) | IN(LIFE_STOPPED) | IN(LIFE_NESTED), .error = -EINVAL,
     .why = "only a vCPU that runs can have a guest, and it has one at a time"},
    {LIFE_UNNEST, .own = IN(LIFE_BARE) | IN(LIFE_STOPPED) | IN(LIFE_RUNNING), .error = -EINVAL,
     .why = "it is in none, and would run without being asked whether it may"},
    {LIFE_RESET, .vm = IN(LIFE_OPEN), .error = -EINVAL,
     .why = "nothing has run that could be reset"},
    {LIFE_RESET, .vm = IN(LIFE_ENDING), .error = -EBUSY,
     .why = "another vCPU came first, and it alone begins the next generation"},
    {LIFE_OPEN_NEXT, .vm = IN(LIFE_OPEN), .error = -EINVAL,
     .why = "this generation is not sealed yet"},
    {LIFE_OPEN_NEXT, .vm = IN(LIFE_SEALED), .error = -EBUSY,
     .why = "the guest has not reset its machine"},
    {LIFE_OPEN_NEXT, .any = IN(LIFE_RUNNING) | IN(LIFE_NESTED), .error = -EBUSY,
     .why = "a vCPU has not stopped, and runs on the models that are to go"},
};

/* Where an event leads that no rule refuses. */
static const struct {
    int vm, own; /* the next state, or KEEP */
} moves[LIFE_EVENTS] = {
#define KEEP (-1)
    [LIFE_SET]       = {KEEP,        LIFE_STOPPED},
    [LIFE_SET_SAME]  = {KEEP,        KEEP},
    [LIFE_SEAL]      = {LIFE_SEALED, KEEP},
    [LIFE_RUN]       = {KEEP,        LIFE_RUNNING},
    [LIFE_STOP]      = {KEEP,        LIFE_STOPPED},
    [LIFE_NEST]      = {KEEP,        LIFE_NESTED},
    [LIFE_UNNEST]    = {KEEP,        LIFE_RUNNING},
    [LIFE_RESET]     = {LIFE_ENDING, KEEP},
    [LIFE_OPEN_NEXT] = {LIFE_OPEN,   KEEP},
};
/* clang-format on */

const size_t life_rule_count = sizeof(life_rules) / sizeof(life_rules[0]);

void life_init(struct life *life, unsigned int vcpus)
{
    *life = (struct life){.rules = life_rules,
                          .rule_count = life_rule_count,
                          .vcpus = vcpus,
                          .vm = LIFE_OPEN}; /* and LIFE_BARE throughout */
}

static int any_in(const struct life *life, unsigned int states)
{
    for (uint32_t i = 0; i < life->vcpus; i++)
        if (IN(life->vcpu[i]) & states)
            return 1;
    return 0;
}

const struct life_rule *life_refusal(const struct life *life, unsigned int vcpu,
                                     enum life_event event)
{
    for (size_t i = 0; i < life->rule_count; i++) {
        const struct life_rule *rule = &life->rules[i];
        if (rule->event == event && ((rule->vm & IN(life->vm)) ||
                                     (rule->own & IN(life->vcpu[vcpu])) || any_in(life, rule->any)))
            return rule;
    }
    return NULL;
}

int life_step(struct life *life, unsigned int vcpu, enum life_event event)
{
    const struct life_rule *rule = life_refusal(life, vcpu, event);
    if (rule)
        return rule->error;
    if (moves[event].vm != KEEP)
        life->vm = (uint8_t)moves[event].vm;
    if (moves[event].own != KEEP)
        life->vcpu[vcpu] = (uint8_t)moves[event].own;
    return 0;
}

int life_leave(struct life *life, unsigned int vcpu)
{
    if (life->vcpu[vcpu] == LIFE_NESTED)
        (void)life_step(life, vcpu, LIFE_UNNEST);
    return life_step(life, vcpu, LIFE_STOP);
}
