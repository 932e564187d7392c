/* SPDX-License-Identifier: BSD-2-Clause */
#include "kernel/machine.h"
#include "kernel/x86.h"
#include <string.h>

struct machine {
    const char *name;
    const char *signature; /* of CPUID leaf 4000_0000, "" for none */
    const char *oem;       /* of the RSDP, NULL: whichever */
    bool emulated, catches_init, keeps_mwait, intercepts_xsetbv, checks_cr4, marks_pdptes;
    bool intercepts_task_switch, tells_interrupts, reads_zeros, marks_before_violations;
    bool moves_deadlines, ends_bad_cr3;
};

/* The first line that fits. */
static const struct machine machines[] = {
    /* INIT resets the CPU under the hypervisor's feet: the intercept is never looked at. */
    {.name = "QEMU TCG",
     .signature = "TCGTCGTCGTCG",
     .emulated = true,
     .keeps_mwait = true,
     .marks_pdptes = true,
     .tells_interrupts = true,
     .reads_zeros = true,
     .moves_deadlines = true,
     .ends_bad_cr3 = true},
    /* The INIT exit comes again at every entry; MWAIT misses writes of other CPUs; EXITINTINFO is
     * that of an earlier event where an interrupt was being delivered that was not injected; a walk
     * sets A and D before the EPT violation of the address that it leads to; and a deadline is
     * compared with a TSC that was never moved. */
    {.name = "Bochs",
     .signature = "",
     .oem = "BOCHS ",
     .emulated = true,
     .intercepts_xsetbv = true,
     .checks_cr4 = true,
     .intercepts_task_switch = true,
     .marks_before_violations = true},
    {.name = "a machine without known faults",
     .signature = NULL,
     .catches_init = true,
     .keeps_mwait = true,
     .intercepts_xsetbv = true,
     .checks_cr4 = true,
     .intercepts_task_switch = true,
     .tells_interrupts = true,
     .moves_deadlines = true},
};
static const struct machine *machine = &machines[sizeof(machines) / sizeof(machines[0]) - 1];
static bool hypervisor;

void machine_detect(const char oem[6])
{
    uint32_t a, text[4] = {0};
    cpuid_raw(1, 0, &a, &text[0], &text[1], &text[2]);
    hypervisor = text[1] >> 31;
    memset(text, 0, sizeof(text));
    if (hypervisor)
        cpuid_raw(0x40000000U, 0, &a, &text[0], &text[1], &text[2]);
    for (machine = machines; machine->signature != NULL; machine++) {
        if (strncmp((const char *)text, machine->signature, 12) == 0 &&
            (machine->oem == NULL || memcmp(oem, machine->oem, 6) == 0))
            break;
    }
}

const char *machine_name(void)
{
    return machine->name;
}
bool machine_has_hypervisor(void)
{
    return hypervisor;
}
bool machine_emulated(void)
{
    return machine->emulated;
}
bool machine_catches_init(void)
{
    return machine->catches_init;
}
bool machine_keeps_mwait(void)
{
    return machine->keeps_mwait;
}
bool machine_intercepts_xsetbv(void)
{
    return machine->intercepts_xsetbv;
}
bool machine_intercepts_task_switch(void)
{
    return machine->intercepts_task_switch;
}
bool machine_marks_pdptes(void)
{
    return machine->marks_pdptes;
}

bool machine_checks_cr4(void)
{
    return machine->checks_cr4;
}

bool machine_tells_interrupts(void)
{
    return machine->tells_interrupts;
}

bool machine_reads_zeros(void)
{
    return machine->reads_zeros;
}

bool machine_marks_before_violations(void)
{
    return machine->marks_before_violations;
}

bool machine_moves_deadlines(void)
{
    return machine->moves_deadlines;
}

bool machine_ends_bad_cr3(void)
{
    return machine->ends_bad_cr3;
}
