/* SPDX-License-Identifier: BSD-2-Clause */
/* Every mode of the CPU, with an instruction that exits and a control register in each. */
#include "tests/guest/lib/payload.h"

#include <stdio.h>

/* The PIT's channel 3, which no PC has: not on the guest's list of ports, so it reads all ones. */
#define NO_PORT 0x44U

static void check_in(const char *mode, const char *what, uint64_t wanted, uint64_t found)
{
    char name[64];
    snprintf(name, sizeof(name), "%s.%s", mode, what);
    check_equal(name, wanted, found);
}

static uint32_t wanted_efer(enum trip_mode mode)
{
    uint64_t efer = rdmsr(MSR_EFER);
    if (mode < TRIP_COMPATIBILITY)
        efer &= ~(EFER_LME | EFER_LMA);
    return (uint32_t)efer;
}

static uint32_t wanted_cr0(enum trip_mode mode)
{
    uint64_t cr0 = read_cr0();
    if (mode == TRIP_REAL)
        cr0 &= ~CR0_PE;
    if (mode <= TRIP_PROTECTED32)
        cr0 &= ~CR0_PG;
    return (uint32_t)cr0;
}

static uint32_t wanted_cr4(enum trip_mode mode)
{
    uint64_t cr4 = read_cr4() & ~(CR4_PAE | CR4_PSE | CR4_LA57);
    if (mode == TRIP_PAGE_4M)
        cr4 |= CR4_PSE;
    if (mode >= TRIP_PAE)
        cr4 |= CR4_PAE;
    if (mode == TRIP_LONG5)
        cr4 |= CR4_LA57;
    return (uint32_t)cr4;
}

static void visit(enum trip_mode mode)
{
    struct trip found;
    uint32_t a, b, c, d;
    bool hypercall = under_latch() && mode >= TRIP_PROTECTED32;
    cpuid_raw(0, 0, &a, &b, &c, &d);
    trip(mode, NO_PORT, hypercall, &found);
    const char *name = trip_name(mode);
    check_in(name, "cpuid-eax", a, found.eax);
    check_in(name, "cpuid-ebx", b, found.ebx);
    check_in(name, "cpuid-ecx", c, found.ecx);
    check_in(name, "cpuid-edx", d, found.edx);
    check_in(name, "efer", wanted_efer(mode), found.efer);
    check_in(name, "cr0", wanted_cr0(mode), found.cr0);
    check_in(name, "cr4", wanted_cr4(mode), found.cr4);
    if (under_latch())
        check_in(name, "port", 0xff, found.in);
    if (hypercall)
        check_in(name, "hypercall", HYPERCALL_ABI, found.version);
}

int main(void)
{
    for (enum trip_mode mode = 0; mode < TRIP_MODES; mode++) {
        if (mode == TRIP_LONG5 && !has_la57())
            check_absent(trip_name(mode), "CPUID has no LA57");
        else
            visit(mode);
    }
    return 0;
}
