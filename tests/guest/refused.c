/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What the modelled CPU refuses, with the faults that it gives: reserved bits of control registers
 * and of XCR0, performance counters, instructions of the virtualization that the model does not
 * have, and hypercalls from outside CPL 0.
 */
#include "tests/guest/lib/payload.h"

#include <errno.h>
#include <stdio.h>

static void load_cr0(void *value)
{
    write_cr0((uint64_t)value);
}
static void load_cr4(void *value)
{
    write_cr4((uint64_t)value);
}
static void load_xcr0(void *value)
{
    write_xcr0((uint64_t)value);
}

static void check_faults(const char *name, unsigned int vector, job_fn *fn, uint64_t value)
{
    uint64_t error_code = 0;
    unsigned int found = fault_of(fn, (void *)value, &error_code, NULL);
    check(found == vector && error_code == 0, name, "wanted vector %u, found %u, error code 0x%lx",
          vector, found, error_code);
}

static void check_control_registers(void)
{
    uint64_t cr0 = read_cr0(), cr4 = read_cr4();
    if (boot_word("unchecked-cr0", NULL)) {
        check_absent("refused.cr0", "the emulated CPU does not check what a guest loads into CR0");
    } else {
        check_faults("refused.cr0-pg-without-pe", VECTOR_GP, load_cr0, cr0 & ~CR0_PE);
        check_faults("refused.cr0-nw-without-cd", VECTOR_GP, load_cr0, cr0 | CR0_NW);
        check_faults("refused.cr0-upper-half", VECTOR_GP, load_cr0, cr0 | 1UL << 32);
    }
    check_faults("refused.cr4-vmxe", VECTOR_GP, load_cr4, cr4 | CR4_VMXE);
    check_faults("refused.cr4-bit-15", VECTOR_GP, load_cr4, cr4 | 1UL << 15);
    check_faults("refused.cr4-bit-31", VECTOR_GP, load_cr4, cr4 | 1UL << 31);
    check_faults("refused.cr4-upper-half", VECTOR_GP, load_cr4, cr4 | 1UL << 40);
    check_faults("refused.cr4-pae-in-long-mode", VECTOR_GP, load_cr4, cr4 & ~CR4_PAE);
    check_equal("refused.cr0-as-before", cr0, read_cr0());
    check_equal("refused.cr4-as-before", cr4, read_cr4());
    write_cr0(cr0 | CR0_TS);
    check_equal("refused.cr0-ts-set", cr0 | CR0_TS, read_cr0());
    write_cr0(cr0 & ~CR0_NE);
    check_equal("refused.cr0-ne-cleared", cr0 & ~CR0_NE, read_cr0());
    write_cr0(cr0);
    check_equal("refused.cr4-vmxe-reads-0", 0, read_cr4() & CR4_VMXE);
    check_equal("refused.efer-svme-reads-0", 0, rdmsr(MSR_EFER) & EFER_SVME);
}

static void load_xcr0_by_user(void *value)
{
    run_at_cpl3(load_xcr0, value);
}

static void check_xcr0(void)
{
    uint32_t a, b, c, d;
    cpuid_raw(1, 0, &a, &b, &c, &d);
    if (!(c >> 26 & 1U)) {
        check_absent("refused.xcr0", "CPUID has no XSAVE");
        return;
    }
    uint64_t cr4 = read_cr4();
    check_faults("refused.xsetbv-without-osxsave", VECTOR_UD, load_xcr0, 1);
    write_cr4(cr4 | CR4_OSXSAVE);
    check_faults("refused.xcr0-without-x87", VECTOR_GP, load_xcr0, 2);
    check_faults("refused.xcr0-avx-without-sse", VECTOR_GP, load_xcr0, 5);
    check_faults("refused.xcr0-bit-62", VECTOR_GP, load_xcr0, 3UL | 1UL << 62);
    check_faults("refused.xcr0-by-user", VECTOR_GP, load_xcr0_by_user, 3);
    check_equal("refused.xcr0-as-before", 1, read_xcr0());
    check_faults("refused.xcr0-sse-taken", NO_FAULT, load_xcr0, 3);
    check_equal("refused.xcr0-sse-reads", 3, read_xcr0());
    write_xcr0(1);
    write_cr4(cr4);
}

static void read_counter(void *counter)
{
    uint32_t low, high;
    __asm__ volatile("rdpmc" : "=a"(low), "=d"(high) : "c"((uint32_t)(uint64_t)counter));
}

static void read_counter_by_user(void *counter)
{
    run_at_cpl3(read_counter, counter);
}

/* The first programmable ones, AMD's of the northbridge and the L3, and Intel's fixed ones. */
static void check_counters(void)
{
    static const uint32_t counters[] = {0, 1, 2, 3, 5, 6, 9, 10, 1U << 30, 1U << 29, 1U << 31};
    const uint64_t cr4 = read_cr4();
    for (size_t i = 0; i < sizeof(counters) / sizeof(counters[0]); i++) {
        check_faults("refused.rdpmc", VECTOR_GP, read_counter, counters[i]);
        write_cr4(cr4 | CR4_PCE);
        check_faults("refused.rdpmc-by-user", VECTOR_GP, read_counter_by_user, counters[i]);
        write_cr4(cr4);
    }
}

static uint64_t operand[512] __attribute__((aligned(4096)));

static void do_vmxon(void *argument)
{
    (void)argument;
    __asm__ volatile("vmxon (%0)" : : "r"(operand) : "memory", "cc");
}

static void do_vmptrld(void *argument)
{
    (void)argument;
    __asm__ volatile("vmptrld (%0)" : : "r"(operand) : "memory", "cc");
}

static void do_vmread(void *argument)
{
    uint64_t value;
    __asm__ volatile("vmread %1, %0" : "=r"(value) : "r"(argument) : "cc");
}

static void do_invept(void *argument)
{
    __asm__ volatile("invept (%0), %1" : : "r"(operand), "r"(argument) : "memory", "cc");
}

/* Those whose operand, if any, is RAX. */
#define INSTRUCTION(name)                                                                          \
    static void do_##name(void *argument)                                                          \
    {                                                                                              \
        (void)argument;                                                                            \
        __asm__ volatile(#name : : "a"(operand) : "memory", "cc");                                 \
    }
INSTRUCTION(vmlaunch)
INSTRUCTION(vmrun)
INSTRUCTION(vmload)
INSTRUCTION(vmsave)
INSTRUCTION(stgi)
INSTRUCTION(clgi)
INSTRUCTION(skinit)

static void check_instructions(void)
{
    static const struct {
        const char *name;
        job_fn *fn;
        bool amd;
    } instructions[] = {
        {"refused.vmxon", do_vmxon, false},   {"refused.vmptrld", do_vmptrld, false},
        {"refused.vmread", do_vmread, false}, {"refused.vmlaunch", do_vmlaunch, false},
        {"refused.invept", do_invept, false}, {"refused.vmrun", do_vmrun, true},
        {"refused.vmload", do_vmload, true},  {"refused.vmsave", do_vmsave, true},
        {"refused.stgi", do_stgi, true},      {"refused.clgi", do_clgi, true},
        {"refused.skinit", do_skinit, true},
    };
    for (size_t i = 0; i < sizeof(instructions) / sizeof(instructions[0]); i++)
        if (instructions[i].amd == vendor_is_amd())
            check_faults(instructions[i].name, VECTOR_UD, instructions[i].fn, 0);
}

struct call {
    uint64_t number;
    int64_t result;
};

static void call_from_cpl3(void *argument)
{
    struct call *call = argument;
    call->result = latch_hypercall(call->number, 0, 0, 0, 0);
}

static void at_cpl3(void *argument)
{
    run_at_cpl3(call_from_cpl3, argument);
}

/* Intel's and AMD's both exit at any CPL. */
static void check_hypercalls(void)
{
    struct call call = {.number = HYPERCALL_VERSION, .result = 0};
    check_equal("refused.hypercall-at-cpl3.fault", NO_FAULT, fault_of(at_cpl3, &call, NULL, NULL));
    check_equal("refused.hypercall-at-cpl3", (uint64_t)-EPERM, (uint64_t)call.result);
    call.number = HYPERCALL_VERDICT;
    check_equal("refused.verdict-at-cpl3.fault", NO_FAULT, fault_of(at_cpl3, &call, NULL, NULL));
    check_equal("refused.verdict-at-cpl3", (uint64_t)-EPERM, (uint64_t)call.result);
    check_equal("refused.verdict-unknown", (uint64_t)-EINVAL,
                (uint64_t)latch_hypercall(HYPERCALL_VERDICT, 4, 0, 0, 0));
    check_equal("refused.exits-unknown-kind", (uint64_t)-EINVAL,
                (uint64_t)latch_hypercall(HYPERCALL_EXITS, EXIT_KINDS, 0, 0, 0));
    check_equal("refused.exits-unknown-vcpu", (uint64_t)-EINVAL,
                (uint64_t)latch_hypercall(HYPERCALL_EXITS, 0, 64, 0, 0));
}

int main(void)
{
    if (!under_latch()) {
        check_skip("refused", "no Latch, so the CPU is not a model");
        return 0;
    }
    check_control_registers();
    check_xcr0();
    check_counters();
    check_instructions();
    check_hypercalls();
    return 0;
}
