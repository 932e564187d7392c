/* SPDX-License-Identifier: BSD-2-Clause */
#include "kernel/measures.h"
#include "kernel/console.h"
#include "kernel/speculation.h"
#include "kernel/vm.h"
#include "kernel/x86.h"

#define MSR_ARCH_CAPABILITIES 0x10aU
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

void measures_choose(struct vcpu *v)
{
    struct speculation_facts facts;
    read_facts(&facts);
    v->measures =
        v->vm->config->mitigations == SWITCH_ON ? (uint8_t)speculation_measures(&facts) : 0;
}

void measures_print(const struct vcpu *v)
{
    char text[160];
    if (v->vm->config->mitigations != SWITCH_ON) {
        console_line("speculation: nothing is flushed at entry or exit: mitigations=off");
        return;
    }
    speculation_describe(v->measures, text, sizeof(text));
    console_line("speculation: %s", text);
}
