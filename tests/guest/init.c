/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * INIT from each mode: what it leaves of every register that was changed before, at the SIPI vector
 * (SDM vol. 3 table 10-1, APM vol. 2 table 14-1). With `x2apic` on the command line in that
 * mode. RESET is reset.c's.
 */
#include "tests/guest/lib/linger.h"

#include <stdio.h>

static struct state_wanted after_init;

struct from {
    const char *name;
    job_fn *enter;
    void *argument;
    bool cache_off, unpaged;
};

static void check_from(unsigned int vcpu, const struct from *how)
{
    char name[48];
    snprintf(name, sizeof(name), "init.vcpu%u.%s", vcpu, how->name);
    if (!linger_start(vcpu, how->enter, how->argument))
        broken("%s: the processor did not get there", name);
    after_init.cr0 = CR0_ET | (how->cache_off ? CR0_CD : 0);
    for (unsigned int i = 0; i < STATE_MSRS; i++)
        after_init.msr[i] = state_before.msr[i];
    after_init.xcr0 = state_before.xcr0;
    after_init.mtrr = state_before.mtrr;
    after_init.tsc = state_before.tsc;
    after_init.instruction = state_before.instruction;
    after_init.data = state_before.data;
    state_check_start(vcpu, name, &after_init, how->unpaged);
}

static void check_init(unsigned int vcpu)
{
    for (enum linger_last i = LAST_LOOP; i < LASTS; i++)
        if (linger_can_last(i))
            check_from(vcpu, &(struct from){.name = linger_last_name[i],
                                            .enter = linger_after,
                                            .argument = &i,
                                            .cache_off = i & 1});
    for (unsigned int i = 0; i < LINGER_MODES; i++) {
        struct linger_mode one = linger_modes[i];
        if (one.mode == PROBE_LONG5 && !linger_can_mode(&one)) {
            check_absent(one.name, "CPUID has no LA57");
            continue;
        }
        if (linger_can_mode(&one))
            check_from(vcpu, &(struct from){.name = one.name,
                                            .enter = linger_in,
                                            .argument = &one,
                                            .cache_off = one.halt,
                                            .unpaged = one.mode >= PROBE_PROTECTED});
    }
}

int main(void)
{
    after_init = (struct state_wanted){.xmm = STATE_MARK,
                                       .components = UINT64_MAX,
                                       .st = 1UL << 63,
                                       .mxcsr = STATE_MXCSR,
                                       .fcw = STATE_FCW,
                                       .tags = 0xff};
    linger_prepare();
    if (boot_word("x2apic", NULL))
        apic_enter_x2apic();
    check_equal("init.all-started", processor_count, processor_start_all());
    for (unsigned int i = 1; i < processor_count; i++)
        check_init(i);
    return 0;
}
