/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * INIT from each mode: what it leaves of every register that was changed before, at the SIPI vector
 * (SDM vol. 3 table 10-1, APM vol. 2 table 14-1). With `x2apic` on the command line in that
 * mode. RESET is reset.c's.
 */
#include "tests/guest/lib/state.h"

#include <stdio.h>

static volatile bool lingers;
static struct state_wanted after_init;
static uint32_t directory[1024] __attribute__((aligned(4096)));
static uint64_t pdpt[4] __attribute__((aligned(32)));
static uint64_t pml5[512] __attribute__((aligned(4096)));

enum last {
    LAST_LOOP,
    LAST_HALT,
    LAST_HALT_OPEN,
    LAST_INTERRUPT,
    LAST_NMI,
    LAST_NMI_SELF,
    LAST_STI,
    LAST_MOV_SS
};

static _Noreturn void linger(bool halt)
{
    lingers = true;
    if (halt)
        __asm__ volatile("1: hlt; jmp 1b");
    __asm__ volatile("std; mov %0, %%rbx; mov %%rbx, %%rcx; mov %%rbx, %%rsi; mov %%rbx, %%rbp\n\t"
                     "mov %%rbx, %%rsp; mov %%rbx, %%rax; stc; 1: jmp 1b"
                     :
                     : "r"(STATE_MARK));
    __builtin_unreachable();
}

/* With one more of its kind, which has to wait. */
static void stay_in_handler(struct frame *frame)
{
    const uint32_t id = this_processor()->apic_id;
    apic_send(id, frame->vector == VECTOR_NMI ? ICR_NMI : ICR_FIXED | VECTOR_TEST);
    linger(false);
}

static void init_in_handler(struct frame *frame)
{
    const uint32_t id = this_processor()->apic_id;
    (void)frame;
    lingers = true;
    apic_send(id, ICR_NMI);
    apic_send(id, ICR_INIT);
}

/* An INIT to itself right behind an instruction that holds interrupts, and traps, up. */
static void init_in_shadow(enum last last)
{
    static const uint16_t selector = SELECTOR_DATA;
    const uint64_t id = this_processor()->apic_id;
    lingers = true;
    if (last == LAST_MOV_SS) { /* with a #DB for the word that it reads, which has to wait */
        write_dr0((uint64_t)&selector);
        write_dr7(DR7_RESET | 0x70001UL);
    }
    if (this_processor()->x2apic) {
        uint32_t msr = MSR_X2APIC_ICR;
        if (last == LAST_MOV_SS)
            __asm__ volatile("mov %3, %%ss; wrmsr"
                             :
                             : "a"(ICR_INIT), "d"((uint32_t)id), "c"(msr), "m"(selector));
        else
            __asm__ volatile("sti; wrmsr" : : "a"(ICR_INIT), "d"((uint32_t)id), "c"(msr));
        return;
    }
    volatile uint32_t *icr = (volatile uint32_t *)(0xfee00000UL + APIC_ICR);
    apic_write(APIC_ICR + 0x10U, (uint32_t)id << 24);
    if (last == LAST_MOV_SS)
        __asm__ volatile("mov %2, %%ss; movl %1, %0" : "=m"(*icr) : "r"(ICR_INIT), "m"(selector));
    else
        __asm__ volatile("sti; movl %1, %0" : "=m"(*icr) : "r"(ICR_INIT));
}

static void last_of(void *argument)
{
    const enum last last = *(const enum last *)argument;
    state_change(last & 1);
    switch (last) {
    case LAST_HALT_OPEN:
        __asm__ volatile("sti");
        linger(true);
    case LAST_INTERRUPT:
        set_handler(VECTOR_TEST, stay_in_handler);
        apic_write(0x80, 0);
        apic_send(this_processor()->apic_id, ICR_FIXED | VECTOR_TEST);
        __asm__ volatile("sti; 1: pause; jmp 1b");
        break;
    case LAST_NMI:
    case LAST_NMI_SELF:
        set_handler(VECTOR_NMI, last == LAST_NMI ? stay_in_handler : init_in_handler);
        apic_send(this_processor()->apic_id, ICR_NMI);
        __asm__ volatile("1: pause; jmp 1b");
        break;
    case LAST_STI:
    case LAST_MOV_SS:
        init_in_shadow(last);
        break;
    case LAST_HALT:
        linger(true);
    case LAST_LOOP:
        break;
    }
    linger(false);
}

struct low {
    const char *name;
    enum probe_mode mode;
    void *root;
    uint32_t cr4;
    bool halt;
};

static void stay_low(void *argument)
{
    const struct low *low = argument;
    const uint32_t cr4 = (uint32_t)read_cr4() & ~(uint32_t)CR4_PAE;
    state_change(low->halt);
    probe_linger_in(low->mode, (uint32_t)(uint64_t)low->root, cr4 | low->cr4,
                    low->halt ? PROBE_HALT : PROBE_LOOP);
}

struct from {
    const char *name;
    job_fn *enter;
    void *argument;
    bool cache_off, unpaged;
};

static void check_from(unsigned int vcpu, const struct from *how)
{
    volatile const struct probe *low = probe_copy();
    char name[48];
    snprintf(name, sizeof(name), "init.vcpu%u.%s", vcpu, how->name);
    lingers = false;
    start_on(vcpu, how->enter, how->argument);
    for (unsigned int ms = 0; ms < 2000 && !lingers && !low->lingers; ms++)
        delay_us(1000);
    delay_us(2000);
    if (!lingers && !low->lingers)
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
    static const char *const last[] = {
        [LAST_LOOP] = "long",
        [LAST_HALT] = "halted",
        [LAST_HALT_OPEN] = "halted-interruptible",
        [LAST_INTERRUPT] = "interrupt-pending",
        [LAST_NMI] = "nmi-pending",
        [LAST_NMI_SELF] = "nmi-pending-own-init",
        [LAST_STI] = "sti",
        [LAST_MOV_SS] = "mov-ss-debug-pending",
    };
    static const struct low low[] = {
        {"compatibility", PROBE_COMPATIBILITY, pdpt, CR4_PAE, false},
        {"long-5-level", PROBE_LONG5, pml5, CR4_PAE | CR4_LA57, true},
        {"paging-32", PROBE_PAGING32, directory, CR4_PSE, false},
        {"paging-pae", PROBE_PAGING32, pdpt, CR4_PAE, true},
        {"virtual-8086", PROBE_VIRTUAL8086, directory, CR4_PSE, false},
        {"virtual-8086-pae", PROBE_VIRTUAL8086, pdpt, CR4_PAE, false},
        {"protected", PROBE_PROTECTED, pdpt, CR4_PAE, false},
        {"protected-halted", PROBE_PROTECTED, directory, CR4_PSE, true},
        {"real", PROBE_REAL, directory, CR4_PSE, false},
        {"real-halted", PROBE_REAL, directory, CR4_PSE, true},
    };
    for (enum last i = LAST_LOOP; i <= LAST_MOV_SS; i++)
        /* Bochs blocks real NMIs too in the handler of one that SVM injected. */
        if (i != LAST_NMI || !boot_word("no-call-in-nmi", NULL))
            check_from(vcpu,
                       &(struct from){
                           .name = last[i], .enter = last_of, .argument = &i, .cache_off = i & 1});
    for (unsigned int i = 0; i < sizeof(low) / sizeof(low[0]); i++) {
        struct low one = low[i];
        if (one.mode == PROBE_LONG5 && !has_la57()) {
            check_absent(one.name, "CPUID has no LA57");
            continue;
        }
        if (one.mode == PROBE_VIRTUAL8086 && boot_word("no-exit-in-virtual-8086", NULL))
            continue;
        check_from(vcpu, &(struct from){.name = one.name,
                                        .enter = stay_low,
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
    for (uint32_t i = 0; i < 1024; i++)
        directory[i] = i << 22 | 0x87;
    for (unsigned int i = 0; i < 4; i++)
        pdpt[i] = (uint64_t)&long_directories[512UL * i] | 1;
    pml5[0] = (uint64_t)long_pml4 | 7;
    if (boot_word("x2apic", NULL))
        apic_enter_x2apic();
    check_equal("init.all-started", processor_count, processor_start_all());
    for (unsigned int i = 1; i < processor_count; i++)
        check_init(i);
    return 0;
}
