/* SPDX-License-Identifier: BSD-2-Clause */
#include "cpuid/dynamic.h"
#include "cpuid/rules.h"
#include "cpuid/seal.h"
#include "tests/unit/cpuid_data.h"
#include "tests/unit/unit.h"

#include <errno.h>
#include <string.h>

static struct model storage[3];

static void finished(struct model *m, const char *name, unsigned int cpu)
{
    load_model(m, name, cpu);
    CHECK_EQ(model_finish(m), 0);
}

static void equal_models_are_one(void)
{
    struct seal s;
    struct model a, b, c;
    finished(&a, "zen3", 0);
    finished(&b, "zen3", 1);
    finished(&c, "skylake-server", 0);
    CHECK_EQ(seal_init(&s, storage, 3, 4), 0);
    CHECK(seal_model(&s, 0) == NULL);
    CHECK_EQ(seal_set_model(&s, 0, &a), 0);
    CHECK_EQ(seal_set_model(&s, 1, &b), 0);
    CHECK_EQ(seal_set_model(&s, 2, &c), 0);
    CHECK_EQ(seal_close(&s), -EINVAL);
    CHECK_EQ(seal_set_model(&s, 3, &c), 0);
    CHECK_EQ(seal_models(&s), 2);
    CHECK(seal_model(&s, 0) == seal_model(&s, 1));
    CHECK(seal_model(&s, 2) == seal_model(&s, 3));
    CHECK(seal_model(&s, 0) != seal_model(&s, 2));
    CHECK(s.vcpu[0].apic_id != s.vcpu[1].apic_id);
    CHECK(seal_model(&s, 4) == NULL);
    CHECK_EQ(seal_close(&s), 0);
    CHECK_EQ(seal_close(&s), -EBUSY);
}

static void a_sealed_model_stays(void)
{
    static struct model before[3];
    struct seal s;
    struct model a, b, c, raw;
    finished(&a, "epyc-kvm", 0);
    finished(&b, "epyc-kvm", 1);
    finished(&c, "zen3", 0);
    CHECK_EQ(seal_init(&s, storage, 2, 2), 0);
    CHECK_EQ(seal_set_model(&s, 0, &a), 0);
    CHECK_EQ(seal_set_model(&s, 1, &b), 0);
    CHECK_EQ(seal_close(&s), 0);
    memcpy(before, storage, sizeof(before));
    CHECK_EQ(seal_set_model(&s, 0, &a), 0);
    CHECK_EQ(seal_set_model(&s, 1, &b), 0);
    CHECK_EQ(seal_set_model(&s, 1, &a), -EBUSY); /* another APIC id */
    CHECK_EQ(seal_set_model(&s, 0, &c), -EBUSY);
    CHECK_EQ(seal_set_model(&s, 2, &a), -EINVAL);
    load_model(&raw, "epyc-kvm", 0);
    CHECK_EQ(seal_set_model(&s, 0, &raw), -EINVAL); /* not finished */
    CHECK_EQ(memcmp(before, storage, sizeof(before)), 0);
    CHECK(seal_model(&s, 0) == seal_model(&s, 1));
}

/* Every bit of every register of every leaf: a change is refused unless the bit is dynamic. */
static void one_bit_is_enough_to_refuse(void)
{
    struct seal s;
    struct model a, raw;
    unsigned long accepted = 0;
    load_model(&raw, "zen3", 0);
    model_copy(&a, &raw);
    CHECK_EQ(model_finish(&a), 0);
    CHECK_EQ(seal_init(&s, storage, 1, 1), 0);
    CHECK_EQ(seal_set_model(&s, 0, &a), 0);
    CHECK_EQ(seal_close(&s), 0);
    for (uint32_t i = 0; i < a.count; i++) {
        uint32_t leaf = a.leaves[i].leaf, subleaf = a.leaves[i].subleaf;
        if (subleaf == MODEL_SUBLEAF_REST || (leaf & 0x7fffffff) == 0)
            continue;
        for (unsigned int bit = 0; bit < 128; bit++) {
            struct model m;
            model_copy(&m, &raw);
            struct cpuid_leaf *row = model_find(&m, leaf, subleaf);
            *cpuid_register(&row->regs, bit / 32) ^= 1U << bit % 32;
            if (model_finish(&m))
                continue;
            int error = seal_set_model(&s, 0, &m);
            struct cpuid_regs clearable = cpuid_dynamic_clearable(&a, leaf, subleaf);
            struct cpuid_regs was = model_get(&raw, leaf, subleaf);
            bool cleared =
                (*cpuid_register(&clearable, bit / 32) & *cpuid_register(&was, bit / 32)) >>
                    bit % 32 &
                1;
            bool changed = !model_equal(&a, &m) || m.apic_id != a.apic_id ||
                           m.core_id != a.core_id || m.node_id != a.node_id;
            CHECK_EQ(-error, changed && !cleared ? EBUSY : 0);
            accepted += error == 0;
        }
    }
    /* OSXSAVE, OSPKE, two sizes; of 1:EBX[31:24], 0BH and 8000001EH:EAX what repeats the id; and
     * MONITOR and two copies of APIC, cleared. */
    CHECK_EQ(accepted, 1 + 1 + 32 + 32 + 8 + (8 + 8) + 32 + 32 + 3);
}

/* What the guest reads of its CPU in this state, as a model that it could ask for. */
static void read_back(struct model *m, const struct model *sealed, const struct cpuid_dynamic *d)
{
    model_init(m);
    for (uint32_t i = 0; i < sealed->count; i++) {
        const struct cpuid_leaf *row = &sealed->leaves[i];
        struct cpuid_regs r;
        if (row->subleaf == MODEL_SUBLEAF_REST)
            continue;
        model_query(sealed, d, row->leaf, row->subleaf, &r);
        CHECK_EQ(model_set(m, row->leaf, row->subleaf, &r), 0);
    }
    CHECK_EQ(model_finish(m), 0);
}

/* A CPU with all that can move: MONITOR, HLE, RTM and SGX among it. */
static void load_movable(struct model *m, const char *name)
{
    static const char *const names[] = {"monitor", "hle", "rtm", "pku", "sgx", "arch_capabilities"};
    struct cpuid_regs sgx = {.eax = 1, .ebx = 0x36, .edx = 0x241f}, zero;
    load_model(m, name, 0);
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
        CHECK_EQ(policy_set(m, policy_find(names[i], strlen(names[i])), true), 0);
    CHECK_EQ(model_set(m, 0x12, 0, &sgx), 0);
    zero = model_get(m, 0, 0);
    zero.eax = zero.eax < 0x12 ? 0x12 : zero.eax;
    CHECK_EQ(model_set(m, 0, 0, &zero), 0);
    CHECK_EQ(model_finish(m), 0);
}

static void set_state(struct cpuid_dynamic *d, const struct model *m, unsigned int bits)
{
    cpuid_dynamic_reset(d, m, m->apic_id);
    d->cr4 = (bits & 1 ? CPU_CR4_OSXSAVE : 0) | (bits & 2 ? CPU_CR4_PKE : 0);
    d->xcr0 = bits & 4 ? 0x207 : 1;
    d->xss = bits & 8 ? 0x1800 : 0;
    d->apic_base &= bits & 16 ? ~(1ULL << 11) : ~0ULL;
    d->misc_enable &= bits & 32 ? ~(1ULL << 18) : ~0ULL;
    d->tsx_ctrl = bits & 64 ? 2 : 0;
    if (bits & 128)
        cpuid_dynamic_machine_check(d);
    cpuid_dynamic_resize(d, m);
}

/* Whatever the guest has toggled, what it reads is the model that is sealed; one more bit is not. */
static void dynamic_bits_do_not_count(void)
{
    struct seal s;
    struct model a, m;
    struct cpuid_dynamic d;
    for (size_t i = 0; i < DUMPS; i++) {
        load_movable(&a, dumps[i]);
        CHECK_EQ(seal_init(&s, storage, 1, 1), 0);
        CHECK_EQ(seal_set_model(&s, 0, &a), 0);
        CHECK_EQ(seal_close(&s), 0);
        for (unsigned int bits = 0; bits < 256; bits++) {
            set_state(&d, &a, bits);
            read_back(&m, &a, &d);
            CHECK_EQ(seal_set_model(&s, 0, &m), 0);
            m.leaves[1].regs.edx ^= 1;
            CHECK_EQ(seal_set_model(&s, 0, &m), -EBUSY);
        }
    }
}

/* SGX1 may be all that 12H.0 says, and RTM with HLE all that 7.0 does: the row stands without. */
static void a_row_may_become_zeros(void)
{
    struct seal s;
    struct model a, m;
    struct cpuid_dynamic d;
    const struct cpuid_regs sgx1 = {.eax = 1}, tsx = {.ebx = 1 << 4 | 1 << 11};
    load_movable(&m, "skylake-server");
    set_state(&d, &m, 0);
    read_back(&a, &m, &d);
    a.finished = 0;
    CHECK_EQ(model_set(&a, 0x12, 0, &sgx1), 0);
    CHECK_EQ(model_set(&a, 7, 0, &tsx), 0);
    model_remove(&a, 7, 1);
    CHECK_EQ(model_finish(&a), 0);
    CHECK_EQ(seal_init(&s, storage, 1, 1), 0);
    CHECK_EQ(seal_set_model(&s, 0, &a), 0);
    CHECK_EQ(seal_close(&s), 0);
    set_state(&d, &a, 64 | 128);
    read_back(&m, &a, &d);
    CHECK_EQ(model_lookup(&m, 0x12, 0)->regs.eax, 0);
    CHECK_EQ(seal_set_model(&s, 0, &m), 0);
}

/* A bit that can be turned off cannot be turned on where the sealed model has none. */
static void a_hidden_bit_cannot_come_back(void)
{
    struct seal s;
    struct model a, m;
    struct cpuid_dynamic d;
    load_movable(&m, "skylake-server");
    set_state(&d, &m, 16 | 32 | 64 | 128);
    read_back(&a, &m, &d);
    CHECK_EQ(seal_init(&s, storage, 1, 1), 0);
    CHECK_EQ(seal_set_model(&s, 0, &a), 0);
    CHECK_EQ(seal_close(&s), 0);
    for (unsigned int bit = 16; bit < 256; bit *= 2) {
        set_state(&d, &m, 240 - bit);
        read_back(&a, &m, &d);
        CHECK_EQ(seal_set_model(&s, 0, &a), -EBUSY);
    }
}

static void a_generation_follows(void)
{
    struct seal s;
    struct model a, b;
    finished(&a, "zen3", 0);
    finished(&b, "skylake-server", 0);
    CHECK_EQ(seal_init(&s, storage, 2, 2), 0);
    CHECK_EQ(s.generation, 1);
    CHECK_EQ(seal_open_next(&s), -EINVAL);
    CHECK_EQ(seal_set_model(&s, 0, &a), 0);
    CHECK_EQ(seal_set_model(&s, 1, &a), 0);
    for (uint64_t round = 1; round <= 1000; round++) {
        CHECK_EQ(seal_close(&s), 0);
        CHECK_EQ(seal_set_model(&s, 0, round & 1 ? &b : &a), -EBUSY);
        CHECK_EQ(seal_open_next(&s), -EBUSY); /* without a reset */
        CHECK_EQ(life_step(&s.life, 0, LIFE_RESET), 0);
        CHECK_EQ(seal_open_next(&s), 0);
        CHECK_EQ(s.generation, round + 1);
        CHECK_EQ(seal_set_model(&s, 0, round & 1 ? &b : &a), 0);
        CHECK_EQ(seal_models(&s), 2);
        CHECK_EQ(seal_set_model(&s, 1, round & 1 ? &b : &a), 0);
        CHECK_EQ(seal_models(&s), 1);
        CHECK(model_equal(seal_model(&s, 0), round & 1 ? &b : &a));
    }
}

static void storage_can_run_out(void)
{
    struct seal s;
    struct model a, b;
    finished(&a, "zen3", 0);
    finished(&b, "skylake-server", 0);
    CHECK_EQ(seal_init(&s, storage, 1, 2), 0);
    CHECK_EQ(seal_set_model(&s, 0, &a), 0);
    CHECK_EQ(seal_set_model(&s, 1, &b), -ENOSPC);
    CHECK_EQ(seal_set_model(&s, 1, &a), 0);
    CHECK_EQ(seal_init(&s, storage, 1, 0), -EINVAL);
    CHECK_EQ(seal_init(&s, storage, 1, SEAL_MAX_VCPUS + 1), -EINVAL);
    CHECK_EQ(seal_init(&s, NULL, 1, 1), -EINVAL);
    CHECK_EQ(seal_init(&s, storage, 0, 1), -EINVAL);
}

int main(void)
{
    RUN(equal_models_are_one);
    RUN(a_sealed_model_stays);
    RUN(one_bit_is_enough_to_refuse);
    RUN(dynamic_bits_do_not_count);
    RUN(a_row_may_become_zeros);
    RUN(a_hidden_bit_cannot_come_back);
    RUN(a_generation_follows);
    RUN(storage_can_run_out);
    return unit_end();
}
