/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Guards the lock on the models by exploring all orders of events: one to four vCPUs set either of
 * two models, seal, run, stop, enter and leave nested-guest mode, reset and open the next
 * generation, each at any time and again and again, on the code and the table that Latch runs. In
 * every state that is reached each vCPU that runs does so on the model that was sealed for it. And
 * each rule is needed: without it a promise breaks.
 *
 * Why four stand for any number. Each promise is about one vCPU and the VM, and only one other vCPU
 * at a time can break it, by an event of its own. So it is enough that what two of N vCPUs and the VM
 * can look like together, two alone can. Take any run of N, leave out the events of all but the two,
 * and let one of the two do what resets the others did: what refuses a reset looks at the VM alone.
 * Then each event that is left happens as before, as what refuses it looks at the VM, at its own
 * vCPU, and at whether any vCPU is in some state, which is true of two less often than of N; and a
 * set finds a place at least as often, since a place is free unless another vCPU uses it. Rules of
 * another kind would break this, and those that are explored would show it: what each
 * pair of three or four looks like has to be something that two alone came to.
 */
#include "cpuid/seal.h"
#include "tests/unit/cpuid_data.h"
#include "tests/unit/unit.h"

#include <errno.h>
#include <string.h>

#define VCPUS      4U
#define MODELS     2U
#define SLOTS      2U /* of the sealed memory; less one no set could fail */
#define STATES_MAX 65536U
#define NONE       3U /* no model, or no slot */

/* What was promised, kept apart from the code under test. */
struct promise {
    bool sealed, reset; /* of this generation */
    bool nested[VCPUS];
    uint8_t model[VCPUS];               /* that was sealed */
    const struct model *derived[VCPUS]; /* what the vCPU uses from then on */
};

struct state {
    struct seal seal;
    uint8_t slot[SLOTS]; /* which model the memory holds */
    struct promise promise;
};

static struct model models[MODELS], stored[MODELS];
static struct model storage[SLOTS];
static struct life_rule rules[32]; /* of a mutation */
static size_t rule_count;

static struct state queue[STATES_MAX];
static uint64_t keys[STATES_MAX];
static uint32_t seen[4U * STATES_MAX]; /* index + 1 into queue[], by key */
static unsigned int reached;
static uint64_t transitions;
static const char *broken;

static void promise_broken(const char *what)
{
    if (!broken)
        broken = what;
}

/* --- states --- */

static uint8_t content_of(const struct model *m)
{
    for (uint8_t i = 0; i < MODELS; i++)
        if (model_equal(m, &stored[i]))
            return i;
    return NONE;
}

static uint64_t slot_of(const struct model *m)
{
    return m ? (uint64_t)(m - storage) : NONE;
}

static uint64_t key_of(const struct state *s)
{
    uint64_t key = s->seal.life.vm;

    for (unsigned int i = 0; i < s->seal.vcpus; i++) {
        key = key << 2 | s->seal.life.vcpu[i];
        key = key << 2 | slot_of(s->seal.vcpu[i].model);
        key = key << 2 | s->promise.model[i];
        key = key << 2 | slot_of(s->promise.derived[i]);
        key = key << 1 | s->promise.nested[i];
    }
    for (unsigned int i = 0; i < SLOTS; i++)
        key = key << 2 | s->slot[i];
    return key << 2 | (uint64_t)s->promise.sealed << 1 | s->promise.reset;
}

/* The sealed memory as it is in a state. */
static void restore(const struct state *s)
{
    for (unsigned int i = 0; i < SLOTS; i++)
        if (s->slot[i] == NONE)
            model_init(&storage[i]);
        else
            model_copy(&storage[i], &stored[s->slot[i]]);
}

static void add(struct state *s)
{
    uint64_t key, slot;

    for (unsigned int i = 0; i < SLOTS; i++)
        s->slot[i] = content_of(&storage[i]);
    key = key_of(s);
    slot = (key * 0x9e3779b97f4a7c15UL >> 32) % (sizeof(seen) / sizeof(seen[0]));
    while (seen[slot] != 0) {
        if (keys[seen[slot] - 1] == key)
            return;
        slot = (slot + 1) % (sizeof(seen) / sizeof(seen[0]));
    }
    if (reached == STATES_MAX) {
        promise_broken("more states than there is room for");
        return;
    }
    queue[reached] = *s;
    keys[reached] = key;
    seen[slot] = ++reached;
}

/* --- promises --- */

static void check(const struct state *s)
{
    const struct promise *p = &s->promise;

    for (unsigned int i = 0; i < s->seal.vcpus; i++) {
        const struct model *m = seal_model(&s->seal, i);
        uint8_t is = s->seal.life.vcpu[i];
        bool runs = is == LIFE_RUNNING || is == LIFE_NESTED;

        if (runs && !p->sealed)
            promise_broken("a vCPU runs while the models are not sealed");
        if (runs && (!m || m != p->derived[i] || content_of(m) != p->model[i]))
            promise_broken("a vCPU runs on another model than the sealed one");
        if (p->sealed && !p->reset && content_of(m) != p->model[i])
            promise_broken("a model changed between seal and reset");
        if (p->nested[i] != (is == LIFE_NESTED))
            promise_broken("a vCPU was forgotten in nested-guest mode");
    }
}

/* --- events --- */

static int set(struct state *s, unsigned int vcpu, unsigned int model)
{
    int error = seal_set_model(&s->seal, vcpu, &models[model]);

    if (error == 0 && s->promise.nested[vcpu])
        promise_broken("a model was set in nested-guest mode");
    return error;
}

static int close_seal(struct state *s)
{
    int error = seal_close(&s->seal);

    if (error != 0)
        return error;
    if (s->promise.reset)
        promise_broken("a generation was sealed again after its reset");
    s->promise.sealed = true;
    for (unsigned int i = 0; i < s->seal.vcpus; i++) {
        s->promise.derived[i] = seal_model(&s->seal, i);
        if (!s->promise.derived[i]) {
            promise_broken("a vCPU is sealed without a model");
            return 0;
        }
        s->promise.model[i] = content_of(s->promise.derived[i]);
    }
    return 0;
}

static int open_next(struct state *s)
{
    uint64_t generation = s->seal.generation;
    int error = seal_open_next(&s->seal);

    if (error != 0)
        return error;
    CHECK_EQ(s->seal.generation, generation + 1);
    s->seal.generation = generation; /* else states would never be equal */
    if (!s->promise.sealed)
        promise_broken("a generation ended that was never sealed");
    if (!s->promise.reset)
        promise_broken("a generation ended without a reset");
    s->promise.sealed = s->promise.reset = false;
    for (unsigned int i = 0; i < s->seal.vcpus; i++) {
        s->promise.model[i] = NONE;
        s->promise.derived[i] = NULL;
    }
    return 0;
}

static int step(struct state *s, unsigned int vcpu, enum life_event event)
{
    struct promise *p = &s->promise;
    int error = life_step(&s->seal.life, vcpu, event);

    if (error != 0)
        return error;
    if (p->reset && (event == LIFE_RUN || event == LIFE_NEST))
        promise_broken("a vCPU entered its guest after a reset");
    if (p->reset && event == LIFE_RESET)
        promise_broken("a generation was reset twice");
    p->reset = p->reset || event == LIFE_RESET;
    if (event == LIFE_NEST || event == LIFE_UNNEST)
        p->nested[vcpu] = event == LIFE_NEST;
    return 0;
}

/* As the kernel does when a vCPU comes back to Latch. */
static int leave(struct state *s, unsigned int vcpu)
{
    int error = life_leave(&s->seal.life, vcpu);

    if (error == 0)
        s->promise.nested[vcpu] = false;
    return error;
}

#define VCPU_EVENTS (MODELS + 6U)

static int vcpu_event(struct state *s, unsigned int vcpu, unsigned int which)
{
    static const enum life_event events[] = {LIFE_RUN, LIFE_STOP, LIFE_NEST, LIFE_UNNEST,
                                             LIFE_RESET};

    if (which < MODELS)
        return set(s, vcpu, which);
    if (which < MODELS + 5)
        return step(s, vcpu, events[which - MODELS]);
    return leave(s, vcpu);
}

static bool changed(const struct state *a, const struct state *b)
{
    const struct seal *x = &a->seal, *y = &b->seal;

    for (unsigned int i = 0; i < SLOTS; i++)
        if (content_of(&storage[i]) != a->slot[i])
            return true;
    return x->generation != y->generation || x->life.vm != y->life.vm ||
           memcmp(x->life.vcpu, y->life.vcpu, sizeof(x->life.vcpu)) != 0 || key_of(a) != key_of(b);
}

static void try_event(const struct state *from, unsigned int which)
{
    static struct state to;
    unsigned int events = from->seal.vcpus * VCPU_EVENTS;
    int error;

    to = *from;
    restore(from);
    if (which < events)
        error = vcpu_event(&to, which / VCPU_EVENTS, which % VCPU_EVENTS);
    else
        error = which == events ? close_seal(&to) : open_next(&to);
    transitions++;
    if (error != 0 && changed(from, &to))
        promise_broken("a refused event changed something");
    if (!broken)
        check(&to);
    if (!broken)
        add(&to);
}

static void explore(unsigned int vcpus)
{
    struct state first;

    memset(seen, 0, sizeof(seen));
    memset(&first, 0, sizeof(first));
    reached = 0;
    broken = NULL;
    CHECK_EQ(seal_init(&first.seal, storage, SLOTS, vcpus), 0);
    if (rule_count != 0) {
        first.seal.life.rules = rules;
        first.seal.life.rule_count = rule_count;
    }
    for (unsigned int i = 0; i < SLOTS; i++)
        model_init(&storage[i]);
    memset(first.promise.model, NONE, sizeof(first.promise.model));
    add(&first);
    for (unsigned int i = 0; i < reached && !broken; i++)
        for (unsigned int k = 0; k < vcpus * VCPU_EVENTS + 2 && !broken; k++)
            try_event(&queue[i], k);
}

/* --- tests --- */

static void load_models(void)
{
    static const char *const names[MODELS] = {"zen3", "skylake-server"};
    struct seal seal;

    for (unsigned int i = 0; i < MODELS; i++) {
        load_model(&models[i], names[i], 0);
        CHECK_EQ(model_finish(&models[i]), 0);
        CHECK_EQ(seal_init(&seal, storage, 1, 1), 0);
        CHECK_EQ(seal_set_model(&seal, 0, &models[i]), 0);
        model_copy(&stored[i], &storage[0]);
    }
    CHECK(!model_equal(&stored[0], &stored[1]));
}

static bool was_reached(enum life_vm vm, enum life_vcpu vcpu)
{
    for (unsigned int i = 0; i < reached; i++)
        for (unsigned int k = 0; k < queue[i].seal.vcpus; k++)
            if (queue[i].seal.life.vm == vm && queue[i].seal.life.vcpu[k] == vcpu)
                return true;
    return false;
}

/* Refused promises are easy to keep: what is to be possible is. */
static void check_reached(void)
{
    for (enum life_vcpu vcpu = LIFE_BARE; vcpu <= LIFE_NESTED; vcpu++) {
        CHECK_EQ(was_reached(LIFE_OPEN, vcpu), vcpu <= LIFE_STOPPED);
        CHECK_EQ(was_reached(LIFE_SEALED, vcpu), vcpu != LIFE_BARE);
        CHECK_EQ(was_reached(LIFE_ENDING, vcpu), vcpu != LIFE_BARE);
    }
}

/* All that a promise about a vCPU looks at; which place its model has is not of it. */
static unsigned int view_of(const struct state *s, unsigned int vcpu)
{
    const struct model *m = seal_model(&s->seal, vcpu);
    unsigned int view = s->seal.life.vcpu[vcpu];

    view = view << 2 | (m ? s->slot[slot_of(m)] : NONE);
    view = view << 2 | s->promise.model[vcpu];
    view = view << 1 | s->promise.nested[vcpu];
    return view << 1 | (m == s->promise.derived[vcpu]);
}

/* Whether each pair of vCPUs looks as one of two alone did; those are remembered. */
static bool pairs_are_known(unsigned int vcpus)
{
    static bool known[1U << 20];
    bool all = true;

    for (unsigned int n = 0; n < reached; n++)
        for (unsigned int i = 0; i < vcpus; i++)
            for (unsigned int k = 0; k < vcpus; k++) {
                const struct state *s = &queue[n];
                unsigned int pair = view_of(s, i) << 8 | view_of(s, k);
                if (i == k)
                    continue;
                pair =
                    pair << 4 | s->seal.life.vm << 2U | s->promise.sealed << 1U | s->promise.reset;
                known[pair] = known[pair] || vcpus == 2;
                all = all && known[pair];
            }
    return all;
}

static void each_running_vcpu_has_its_sealed_model(void)
{
    for (unsigned int vcpus = 1; vcpus <= VCPUS; vcpus++) {
        explore(vcpus);
        CHECK(!broken);
        CHECK(pairs_are_known(vcpus));
        printf("# %u vCPUs: %u states, %lu transitions so far%s%s\n", vcpus, reached, transitions,
               broken ? ": " : "", broken ? broken : "");
        check_reached();
    }
}

static void each_rule_is_needed(void)
{
    for (size_t without = 0; without < life_rule_count; without++) {
        rule_count = 0;
        for (size_t i = 0; i < life_rule_count; i++)
            if (i != without)
                rules[rule_count++] = life_rules[i];
        explore(2);
        CHECK(broken);
        printf("# without \"%s\": %s\n", life_rules[without].why, broken ? broken : "nothing");
    }
    rule_count = 0;
}

static void a_nested_vcpu_is_forced_out_first(void)
{
    struct seal s;

    CHECK_EQ(seal_init(&s, storage, 1, 1), 0);
    CHECK_EQ(seal_set_model(&s, 0, &models[0]), 0);
    CHECK_EQ(seal_close(&s), 0);
    CHECK_EQ(life_step(&s.life, 0, LIFE_RUN), 0);
    CHECK_EQ(seal_set_model(&s, 0, &models[0]), 0);
    CHECK_EQ(life_step(&s.life, 0, LIFE_NEST), 0);
    CHECK_EQ(seal_set_model(&s, 0, &models[0]), -EBUSY);
    CHECK_EQ(seal_set_model(&s, 0, &models[1]), -EBUSY);
    CHECK_EQ(life_step(&s.life, 0, LIFE_RESET), 0);
    CHECK_EQ(life_step(&s.life, 0, LIFE_STOP), -EBUSY);
    CHECK_EQ(seal_open_next(&s), -EBUSY);
    CHECK_EQ(life_leave(&s.life, 0), 0);
    CHECK_EQ(seal_open_next(&s), 0);
    CHECK_EQ(seal_set_model(&s, 0, &models[1]), 0);
}

int main(void)
{
    RUN(load_models);
    RUN(each_running_vcpu_has_its_sealed_model);
    RUN(each_rule_is_needed);
    RUN(a_nested_vcpu_is_forced_out_first);
    return unit_end();
}
