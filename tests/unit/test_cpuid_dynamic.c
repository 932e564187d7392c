/* SPDX-License-Identifier: BSD-2-Clause */
#include "cpuid/dynamic.h"
#include "cpuid/rules.h"
#include "tests/unit/cpuid_data.h"
#include "tests/unit/unit.h"

#include <string.h>

static struct model m;

/* What of all answers differs between two states: one register of one leaf, by these bits. */
static void check_moves(const struct cpuid_dynamic *from, const struct cpuid_dynamic *to,
                        uint32_t leaf, uint32_t subleaf, unsigned int reg, uint32_t bits)
{
    for (uint32_t i = 0; i < m.count; i++) {
        struct cpuid_regs before, after;
        uint32_t l = m.leaves[i].leaf, s = m.leaves[i].subleaf;
        model_query(&m, from, l, s, &before);
        model_query(&m, to, l, s, &after);
        for (unsigned int r = CPUID_EAX; r <= CPUID_EDX; r++) {
            uint32_t moved = *cpuid_register(&before, r) ^ *cpuid_register(&after, r);
            bool here = l == leaf && s == subleaf && r == reg;
            if (l == 0x80000001 && leaf == 1 && reg == CPUID_EDX && r == reg)
                here = model_is_amd(&m); /* AMD repeats the APIC bit there */
            CHECK_EQ(moved, here ? bits : 0);
        }
    }
}

static void load_finished(const char *name, struct cpuid_dynamic *d)
{
    load_model(&m, name, 0);
    if (strcmp(name, "skylake-server") == 0) {
        struct cpuid_regs sgx = {.eax = 1, .ebx = 0x36, .edx = 0x241f};
        CHECK_EQ(model_set(&m, 0x12, 0, &sgx), 0);
    }
    CHECK_EQ(model_finish(&m), 0);
    cpuid_dynamic_reset(d, &m, 0);
}

static void each_cause_moves_its_bit_alone(void)
{
    for (size_t i = 0; i < DUMPS; i++) {
        struct cpuid_dynamic base, d;
        load_finished(dumps[i], &base);
        d = base;
        d.cr4 = CPU_CR4_OSXSAVE;
        check_moves(&base, &d, 1, 0, CPUID_ECX, 1U << 27);
        d = base;
        d.cr4 = CPU_CR4_PKE;
        check_moves(&base, &d, 7, 0, CPUID_ECX, 1U << 4);
        d = base;
        d.cr4 = ~(uint64_t)(CPU_CR4_PKE | CPU_CR4_OSXSAVE);
        check_moves(&base, &d, 0, 0, CPUID_EAX, 0);
        d = base;
        d.apic_base &= ~(1ULL << 11);
        check_moves(&base, &d, 1, 0, CPUID_EDX, 1U << 9);
        d = base;
        d.misc_enable = 0;
        check_moves(&base, &d, 1, 0, CPUID_ECX, model_get(&m, 1, 0).ecx & 8);
        d = base;
        d.tsx_ctrl = 2;
        check_moves(&base, &d, 7, 0, CPUID_EBX, model_get(&m, 7, 0).ebx & 0x810);
        d = base;
        d.tsx_ctrl = 1;
        check_moves(&base, &d, 0, 0, CPUID_EAX, 0);
        d = base;
        d.sgx_off = true;
        check_moves(&base, &d, 0x12, 0, CPUID_EAX, model_get(&m, 0x12, 0).eax & 1);
    }
}

static void sizes_follow_the_states(void)
{
    struct cpuid_dynamic d;
    struct cpuid_regs r;
    load_finished("epyc-kvm", &d);
    model_query(&m, &d, 0xd, 0, &r);
    CHECK_EQ(r.ebx, 576);
    static const struct {
        uint64_t xcr0, xss;
        uint32_t standard, compact;
    } sizes[] = {
        {0x1, 0, 0x240, 0x240},      {0x3, 0, 0x240, 0x240},      {0x7, 0, 0x340, 0x340},
        {0xe7, 0, 0x980, 0x980},     {0xe7, 0x800, 0x980, 0x990}, {0xe7, 0x1800, 0x980, 0x9a8},
        {0x7, 0x1800, 0x340, 0x368},
    };
    for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
        d.xcr0 = sizes[i].xcr0;
        d.xss = sizes[i].xss;
        cpuid_dynamic_resize(&d, &m);
        model_query(&m, &d, 0xd, 0, &r);
        CHECK_EQ(r.ebx, sizes[i].standard);
        model_query(&m, &d, 0xd, 1, &r);
        CHECK_EQ(r.ebx, sizes[i].compact);
    }
}

static void aligned_states_are_aligned(void)
{
    struct cpuid_dynamic d;
    struct cpuid_regs odd = {.eax = 8, .ebx = 0x340}, tile = {.eax = 64, .ebx = 0x380, .ecx = 2};
    load_model(&m, "epyc-kvm", 0);
    CHECK_EQ(model_set(&m, 0xd, 9, &odd), 0);
    CHECK_EQ(model_set(&m, 0xd, 17, &tile), 0);
    CHECK_EQ(model_finish(&m), 0);
    cpuid_dynamic_reset(&d, &m, 0);
    d.xcr0 = 1 | 1 << 9 | 1 << 17;
    cpuid_dynamic_resize(&d, &m);
    CHECK_EQ(d.xsaves_size, 576 + 64 + 64);
    CHECK_EQ(d.xsave_size, 0x380 + 64);
}

static void ids_are_the_vcpus(void)
{
    struct cpuid_dynamic d;
    struct cpuid_regs r;
    load_finished("zen3", &d);
    d.apic_id = 0x12345;
    d.core_id = 0x22;
    d.node_id = 3;
    model_query(&m, &d, 1, 0, &r);
    CHECK_EQ(r.ebx >> 24, 0x45);
    for (uint32_t subleaf = 0; subleaf < 600; subleaf++) {
        model_query(&m, &d, 0xb, subleaf, &r);
        CHECK_EQ(r.edx, 0x12345);
        CHECK_EQ(r.ecx & 0xff, subleaf & 0xff);
        CHECK_EQ(r.ecx >> 8, subleaf == 0 ? 1 : subleaf == 1 ? 2 : 0);
    }
    model_query(&m, &d, 0x8000001e, 0, &r);
    CHECK_EQ(r.eax, 0x12345);
    CHECK_EQ(r.ebx, 0x122);
    CHECK_EQ(r.ecx, 3);
}

/* A machine check, or one bit of a bank's control cleared, turns SGX off; only reset brings it back. */
static void machine_checks_turn_sgx_off(void)
{
    struct cpuid_dynamic base, d;
    load_finished("skylake-server", &base);
    d = base;
    cpuid_dynamic_machine_check(&d);
    check_moves(&base, &d, 0x12, 0, CPUID_EAX, model_get(&m, 0x12, 0).eax & 1);
    cpuid_dynamic_mci_ctl(&d, 0, ~0ULL);
    check_moves(&base, &d, 0x12, 0, CPUID_EAX, model_get(&m, 0x12, 0).eax & 1);
    cpuid_dynamic_reset(&d, &m, 0);
    check_moves(&base, &d, 0, 0, CPUID_EAX, 0);
    for (unsigned int bit = 0; bit < 64; bit++) {
        uint64_t one = 1ULL << bit;
        d = base;
        cpuid_dynamic_mci_ctl(&d, ~one, ~0ULL); /* sets it */
        cpuid_dynamic_mci_ctl(&d, one, one);    /* leaves it */
        cpuid_dynamic_mci_ctl(&d, 0, 0);
        check_moves(&base, &d, 0, 0, CPUID_EAX, 0);
        cpuid_dynamic_mci_ctl(&d, ~0ULL, ~one); /* clears it */
        check_moves(&base, &d, 0x12, 0, CPUID_EAX, model_get(&m, 0x12, 0).eax & 1);
        d = base;
        cpuid_dynamic_mci_ctl(&d, one, ~one); /* clears it and sets all others */
        check_moves(&base, &d, 0x12, 0, CPUID_EAX, model_get(&m, 0x12, 0).eax & 1);
    }
}

static void bank_controls_are_every_fourth(void)
{
    for (uint32_t msr = 0; msr < 0x600; msr++) {
        bool control = msr == 0x400 || msr == 0x404 || msr == 0x408;
        CHECK_EQ(cpuid_dynamic_is_mci_ctl(msr, 3), control);
        CHECK(!cpuid_dynamic_is_mci_ctl(msr, 0));
    }
    CHECK(!cpuid_dynamic_is_mci_ctl(0xc0002000, 32));
    CHECK(cpuid_dynamic_is_mci_ctl(0x47c, 32) && !cpuid_dynamic_is_mci_ctl(0x480, 32));
}

static void settled_answers_are_the_overlaid(const char *dump, uint32_t state)
{
    const uint32_t ranges[] = {0, 0x40000000, 0x80000000U, 0xc0000000U};
    struct cpuid_dynamic d;
    load_finished(dump, &d);
    d.cr4 = state & 1 ? CPU_CR4_OSXSAVE : CPU_CR4_PKE;
    d.apic_base = state & 2 ? 0 : d.apic_base;
    d.misc_enable = state & 4 ? 0 : d.misc_enable;
    d.tsx_ctrl = state & 2;
    d.sgx_off = state & 1;
    d.xcr0 = state & 4 ? 7 : 1;
    d.apic_id = state * 0x1001;
    cpuid_dynamic_resize(&d, &m);
    cpuid_dynamic_settle(&d, &m);
    for (uint32_t k = 0; k < 4 * 80 * 6; k++) {
        uint32_t leaf = ranges[k % 4] + k / 4 % 80, subleaf = k / 320 ^ (k & 0x100);
        struct cpuid_regs whole;
        model_query(&m, &d, leaf, subleaf, &whole);
        const struct cpuid_regs *quick = cpuid_answer(model_lookup(&m, leaf, subleaf), &d, subleaf);
        CHECK_EQ(memcmp(&whole, quick, sizeof(whole)), 0);
    }
}

/* What an exit answers from is what the overlay says, for all leaves and each state of the vCPU. */
static void quick_answers_are_the_whole_ones(void)
{
    for (size_t i = 0; i < DUMPS; i++)
        for (uint32_t state = 0; state < 8; state++)
            settled_answers_are_the_overlaid(dumps[i], state);
}

/* On Intel a leaf out of range is the highest basic one, dynamic bits and all. */
static void a_leaf_out_of_range_moves_too(void)
{
    struct cpuid_dynamic d;
    struct cpuid_regs far, near;
    load_model(&m, "skylake-server", 0);
    struct cpuid_regs zero = model_get(&m, 0, 0);
    zero.eax = 0xb;
    CHECK_EQ(model_set(&m, 0, 0, &zero), 0);
    CHECK_EQ(model_finish(&m), 0);
    cpuid_dynamic_reset(&d, &m, 0x77);
    for (uint32_t subleaf = 0; subleaf < 5; subleaf++) {
        model_query(&m, &d, 0xb, subleaf, &near);
        model_query(&m, &d, 0x1234, subleaf, &far);
        CHECK_EQ(memcmp(&near, &far, sizeof(near)), 0);
        CHECK_EQ(far.edx, 0x77);
    }
}

int main(void)
{
    RUN(each_cause_moves_its_bit_alone);
    RUN(sizes_follow_the_states);
    RUN(aligned_states_are_aligned);
    RUN(ids_are_the_vcpus);
    RUN(machine_checks_turn_sgx_off);
    RUN(bank_controls_are_every_fourth);
    RUN(quick_answers_are_the_whole_ones);
    RUN(a_leaf_out_of_range_moves_too);
    return unit_end();
}
