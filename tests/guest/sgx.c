/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * For the test image with a faked SGX: SGX1 goes when the guest clears a bit of an IA32_MCi_CTL, on
 * that vCPU, stays away when the bit is set again, and is back after the next reset. On QEMU the
 * whole register is 0 or all ones.
 */
#include "tests/guest/lib/payload.h"
#include "tests/guest/model/sealed.h"

#define MSR_MC0_CTL   0x400U
#define MSR_MC0_ADDR  0x402U
#define LEAF7_EBX_SGX (1U << 2)
#define RESET_PORT    0xcf9U

static uint32_t found;

static void ask_sgx1(void *unused)
{
    (void)unused;
    found = cpuid_here(0x12, 0).eax & 1U;
}

static void check_sgx1(const char *name, unsigned int vcpu, uint32_t wanted)
{
    if (!run_on(vcpu, ask_sgx1, NULL))
        broken("vCPU %u did not run", vcpu);
    check_equal(name, wanted, found);
}

static void check_first_generation(void)
{
    uint64_t ctl = rdmsr(MSR_MC0_CTL);
    check(ctl != 0, "sgx.bank-is-on", "IA32_MC0_CTL is 0");
    wrmsr(MSR_MC0_CTL, ctl);
    check_sgx1("sgx.same-value-keeps-it", 0, 1);
    wrmsr(MSR_MC0_ADDR, 0);
    check_sgx1("sgx.another-register-keeps-it", 0, 1);
    wrmsr(MSR_MC0_CTL, 0);
    check_equal("sgx.bank-is-written", 0, rdmsr(MSR_MC0_CTL));
    check_sgx1("sgx.a-cleared-bit-turns-it-off", 0, 0);
    check_sgx1("sgx.on-that-vcpu-alone", 1, 1);
    wrmsr(MSR_MC0_CTL, ctl);
    check_sgx1("sgx.until-reset", 0, 0);
    outb(RESET_PORT, 0x02);
    outb(RESET_PORT, 0x06);
    broken("the machine was not reset");
}

int main(void)
{
    if (processor_start_all() < 2)
        broken("two vCPUs are needed");
    check_equal("sgx.shown", LEAF7_EBX_SGX, cpuid_here(7, 0).ebx & LEAF7_EBX_SGX);
    check_sgx1("sgx.on-at-first", 0, 1);
    check_sgx1("sgx.on-at-first-elsewhere", 1, 1);
    if (latch_hypercall(HYPERCALL_GENERATION, 0, 0, 0, 0) == 1)
        check_first_generation();
    check_sgx1("sgx.back-after-reset", 0, 1);
    check(rdmsr(MSR_MC0_CTL) != 0, "sgx.bank-is-on-again", "IA32_MC0_CTL is 0");
    return 0;
}
