/* SPDX-License-Identifier: BSD-2-Clause */
#include "kernel/measures.h"
#include "kernel/console.h"
#include "kernel/machine.h"
#include "kernel/speculation.h"
#include "kernel/vm.h"
#include "kernel/x86.h"

#define MSR_ARCH_CAPABILITIES 0x10aU
#define TEXT                  200U
#define VENDOR_INTEL_EBX      0x756e6547U /* "Genu" */
#define VENDOR_AMD_EBX        0x68747541U /* "Auth" */
#define VENDOR_HYGON_EBX      0x6f677948U /* "Hygo" */

static uint32_t family_of(uint32_t eax)
{
    uint32_t family = eax >> 8 & 0xfU;
    return family == 0xf ? family + (eax >> 20 & 0xffU) : family;
}

static void read_facts(struct speculation_facts *f)
{
    uint32_t a, b, c, d, highest, vendor;
    cpuid_raw(0, 0, &highest, &vendor, &c, &d);
    *f = (struct speculation_facts){
        .intel = vendor == VENDOR_INTEL_EBX,
        .amd = vendor == VENDOR_AMD_EBX || vendor == VENDOR_HYGON_EBX,
    };
    cpuid_raw(1, 0, &a, &b, &c, &d);
    f->family = family_of(a);
    if (highest >= 7)
        cpuid_raw(7, 0, &a, &f->features_ebx, &c, &f->features_edx);
    cpuid_raw(0x80000000U, 0, &highest, &b, &c, &d);
    if (highest >= 0x80000008U)
        cpuid_raw(0x80000008U, 0, &a, &f->amd_ebx, &c, &d);
    if (highest >= 0x80000021U)
        cpuid_raw(0x80000021U, 0, &f->amd_eax2, &b, &f->amd_ecx2, &d);
    if (rdmsr_safe(MSR_ARCH_CAPABILITIES, &f->arch_capabilities) != 0)
        f->arch_capabilities = 0;
}

/* An emulator speculates nothing, whatever CPU it claims to be. */
static uint32_t weaknesses(const struct speculation_facts *facts)
{
    return machine_emulated() ? 0 : speculation_weaknesses(facts);
}

void measures_choose(struct vcpu *v)
{
    struct speculation_facts facts;
    uint32_t unmet, measures = 0;
    read_facts(&facts);
    if (v->vm->config->mitigations == MITIGATIONS_ALL)
        measures = speculation_possible(&facts);
    else if (v->vm->config->mitigations == MITIGATIONS_AUTO)
        measures = speculation_measures(&facts, weaknesses(&facts), &unmet);
    v->measures = (uint8_t)measures;
}

void measures_print(const struct vcpu *v)
{
    struct speculation_facts facts;
    uint32_t unmet;
    char text[TEXT];
    read_facts(&facts);
    const uint32_t weak = weaknesses(&facts);
    (void)speculation_measures(&facts, weak, &unmet);
    speculation_describe(v->measures, weak & ~unmet, text, sizeof(text));
    if (v->measures)
        console_line("speculation: %s", text);
    else
        console_line("speculation: nothing is flushed at entry or exit: %s",
                     v->vm->config->mitigations == MITIGATIONS_OFF ? "mitigations=off"
                     : machine_emulated() ? "an emulator does not speculate"
                                          : "this CPU asks for nothing");
    if (unmet) {
        speculation_describe_unmet(unmet, text, sizeof(text));
        console_line("speculation: nothing helps this CPU against %s; update its microcode", text);
    }
}
