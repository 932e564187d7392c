/* SPDX-License-Identifier: BSD-2-Clause */
#include "tests/guest/lib/linger.h"

volatile bool lingers;
uint32_t linger_directory[1024] __attribute__((aligned(4096)));
uint64_t linger_pdpt[4] __attribute__((aligned(32)));
static uint64_t pml5[512] __attribute__((aligned(4096)));

const char *const linger_last_name[LASTS] = {
    [LAST_LOOP] = "long",
    [LAST_HALT] = "halted",
    [LAST_HALT_OPEN] = "halted-interruptible",
    [LAST_INTERRUPT] = "interrupt-pending",
    [LAST_NMI] = "nmi-pending",
    [LAST_NMI_SELF] = "nmi-pending-own-init",
    [LAST_STI] = "sti",
    [LAST_MOV_SS] = "mov-ss-debug-pending",
};

const struct linger_mode linger_modes[LINGER_MODES] = {
    {"compatibility", PROBE_COMPATIBILITY, linger_pdpt, CR4_PAE, false},
    {"long-5-level", PROBE_LONG5, pml5, CR4_PAE | CR4_LA57, true},
    {"paging-32", PROBE_PAGING32, linger_directory, CR4_PSE, false},
    {"paging-pae", PROBE_PAGING32, linger_pdpt, CR4_PAE, true},
    {"virtual-8086", PROBE_VIRTUAL8086, linger_directory, CR4_PSE, false},
    {"virtual-8086-pae", PROBE_VIRTUAL8086, linger_pdpt, CR4_PAE, false},
    {"protected", PROBE_PROTECTED, linger_pdpt, CR4_PAE, false},
    {"protected-halted", PROBE_PROTECTED, linger_directory, CR4_PSE, true},
    {"real", PROBE_REAL, linger_directory, CR4_PSE, false},
    {"real-halted", PROBE_REAL, linger_directory, CR4_PSE, true},
};

void linger_prepare(void)
{
    for (uint32_t i = 0; i < 1024; i++)
        linger_directory[i] = i << 22 | 0x87;
    for (unsigned int i = 0; i < 4; i++)
        linger_pdpt[i] = (uint64_t)&long_directories[512UL * i] | 1;
    pml5[0] = (uint64_t)long_pml4 | 7;
}

/* Bochs blocks real NMIs too in the handler of one that SVM injected. */
bool linger_can_last(enum linger_last last)
{
    return last != LAST_NMI || !boot_word("no-call-in-nmi", NULL);
}

bool linger_can_mode(const struct linger_mode *mode)
{
    if (mode->mode == PROBE_VIRTUAL8086)
        return !boot_word("no-exit-in-virtual-8086", NULL);
    return mode->mode != PROBE_LONG5 || has_la57();
}

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
static void init_in_shadow(enum linger_last last)
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

void linger_after(void *last)
{
    const enum linger_last what = *(const enum linger_last *)last;
    state_change(what & 1);
    switch (what) {
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
        set_handler(VECTOR_NMI, what == LAST_NMI ? stay_in_handler : init_in_handler);
        apic_send(this_processor()->apic_id, ICR_NMI);
        __asm__ volatile("1: pause; jmp 1b");
        break;
    case LAST_STI:
    case LAST_MOV_SS:
        init_in_shadow(what);
        break;
    case LAST_HALT:
        linger(true);
    case LAST_LOOP:
    case LASTS:
        break;
    }
    linger(false);
}

void linger_in(void *mode)
{
    const struct linger_mode *low = mode;
    const uint32_t cr4 = (uint32_t)read_cr4() & ~(uint32_t)CR4_PAE;
    state_change(low->halt);
    probe_linger_in(low->mode, (uint32_t)(uint64_t)low->root, cr4 | low->cr4,
                    low->halt ? PROBE_HALT : PROBE_LOOP);
}

bool linger_start(unsigned int vcpu, job_fn *job, void *argument)
{
    volatile const struct probe *low = probe_copy();
    lingers = false;
    start_on(vcpu, job, argument);
    for (unsigned int ms = 0; ms < 2000 && !lingers && !low->lingers; ms++)
        delay_us(1000);
    delay_us(2000);
    return lingers || low->lingers;
}
