/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * For the test image with a faked SGX: SGX1 goes when the guest clears a bit of an IA32_MCi_CTL, on
 * that vCPU, stays away when the bit is set again, and is back after the next reset. In the second
 * generation a machine check does the same, and arrives. On QEMU the whole register is 0 or all ones.
 */
#include "tests/fake/sgx.h"
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

static _Noreturn void reset(void)
{
    outb(RESET_PORT, 0x02);
    outb(RESET_PORT, 0x06);
    broken("the machine was not reset");
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
    reset();
}

static struct frame machine_check;
static unsigned int machine_checks;

static void on_machine_check(struct frame *frame)
{
    machine_check = *frame;
    machine_checks++;
    frame->rip += 2; /* behind the RDMSR that the test image made one of */
}

static void meet_machine_check(void *unused)
{
    uint64_t value;
    (void)unused;
    (void)rdmsr_safe(FAKE_MSR_MACHINE_CHECK, &value);
}

static void check_second_generation(void)
{
    set_handler(VECTOR_MC, on_machine_check);
    if (!run_on(1, meet_machine_check, NULL))
        broken("vCPU 1 did not come back from its machine check");
    check_equal("sgx.machine-check-arrives", 1, machine_checks);
    check_equal("sgx.machine-check-at-its-place", 0x320f, *(const uint16_t *)machine_check.rip);
    check_equal("sgx.machine-check-is-no-fault", 0, machine_check.rflags & RFLAGS_RF);
    check_equal("sgx.machine-check-exits", 1, latch_exits(EXIT_MACHINE_CHECK, 1));
    check_sgx1("sgx.a-machine-check-turns-it-off", 1, 0);
    check_sgx1("sgx.a-machine-check-on-that-vcpu-alone", 0, 1);
    reset();
}

int main(void)
{
    if (processor_start_all() < 2)
        broken("two vCPUs are needed");
    check_equal("sgx.shown", LEAF7_EBX_SGX, cpuid_here(7, 0).ebx & LEAF7_EBX_SGX);
    check_sgx1("sgx.on-at-first", 0, 1);
    check_sgx1("sgx.on-at-first-elsewhere", 1, 1);
    int64_t generation = latch_hypercall(HYPERCALL_GENERATION, 0, 0, 0, 0);
    if (generation == 1)
        check_first_generation();
    if (generation == 2)
        check_second_generation();
    check_sgx1("sgx.back-after-reset", 0, 1);
    check(rdmsr(MSR_MC0_CTL) != 0, "sgx.bank-is-on-again", "IA32_MC0_CTL is 0");
    return 0;
}
