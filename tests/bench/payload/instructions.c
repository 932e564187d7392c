/* SPDX-License-Identifier: BSD-2-Clause */
/* Instructions that a hypervisor answers, or that it may let pass. */
#include "tests/bench/payload/bench.h"

#define MSR_MICROCODE 0x8bU /* reads give the hardware's, writes are ignored; Latch traps both */
#define PORT_DENIED   0x44U /* no device's: Latch denies it */
#define PORT_SYSTEM   0x61U /* the timer's gate, which other hypervisors have to emulate */

void measure_cpuid(void)
{
    row("cpuid-0", op_cpuid, 0, 0);
    row("cpuid-1", op_cpuid, 1, 0);
    row("cpuid-7", op_cpuid, 7, 0);
    row("cpuid-d", op_cpuid, 0xd, 0);
    row("cpuid-d-1", op_cpuid, 0xd, 1);
    row("cpuid-80000008", op_cpuid, 0x80000008U, 0);
    row("cpuid-80000026", op_cpuid, 0x80000026U, 0);
    row("cpuid-40000000", op_cpuid, 0x40000000U, 0);
}

static void measure_msrs(void)
{
    uint64_t efer = rdmsr(MSR_EFER);
    row("rdmsr-8b", op_rdmsr, MSR_MICROCODE, 0);
    row("wrmsr-8b", op_wrmsr, MSR_MICROCODE, 0);
    row("rdmsr-efer", op_rdmsr, MSR_EFER, 0);
    row("wrmsr-efer", op_wrmsr, MSR_EFER, efer);
    row("rdmsr-lstar", op_rdmsr, MSR_LSTAR, 0);
    row("wrmsr-lstar", op_wrmsr, MSR_LSTAR, 0);
}

static void enable_xsave(void *unused)
{
    (void)unused;
    write_cr4(read_cr4() | CR4_OSXSAVE);
}

/* Tried, not asked for: the stub's CPUID says nothing. */
static void measure_xsetbv(void)
{
    if (fault_of(enable_xsave, NULL, NULL, NULL) != NO_FAULT)
        row_absent("xsetbv", "the CPU does not have it");
    else
        row("xsetbv", op_xsetbv, read_xcr0(), 0);
}

/* Each is two writes, of which the second undoes the first. */
static void measure_control_registers(void)
{
    row("cr0-ts-twice", op_cr0, CR0_TS, 0);
    row("cr0-wp-twice", op_cr0, CR0_WP, 0);
    row("cr0-ne-twice", op_cr0, CR0_NE, 0);
    row("cr4-pge-twice", op_cr4, CR4_PGE, 0);
    row("cr4-osxsave-twice", op_cr4, CR4_OSXSAVE, 0);
}

void measure_instructions(void)
{
    measure_cpuid();
    row("hypercall", vendor_is_amd() ? op_vmmcall : op_vmcall, 0, 0);
    measure_msrs();
    row("in-denied", op_in, PORT_DENIED, 0);
    row("out-denied", op_out, PORT_DENIED, 0);
    row("in-61", op_in, PORT_SYSTEM, 0);
    measure_xsetbv();
    measure_control_registers();
}
