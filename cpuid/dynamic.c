/* SPDX-License-Identifier: BSD-2-Clause */
#include "cpuid/dynamic.h"
#include "cpuid/rules.h"

#include <string.h>

#define APIC_BASE_ENABLE     (1ULL << 11)
#define MISC_ENABLE_MONITOR  (1ULL << 18)
#define TSX_CTRL_CPUID_CLEAR (1ULL << 1)

#define MC0_CTL 0x400U

#define LEAF1_ECX_MONITOR (1U << 3)
#define LEAF1_ECX_OSXSAVE (1U << 27)
#define LEAF1_EDX_APIC    (1U << 9) /* of 80000001H too */
#define EXT1_EDX_SYSCALL  (1U << 11)
#define LEAF7_EBX_HLE     (1U << 4)
#define LEAF7_EBX_RTM     (1U << 11)
#define LEAF7_ECX_OSPKE   (1U << 4)
#define XSAVE1_EAX_XSAVEC (1U << 1)
#define XSAVE1_EAX_XSAVES (1U << 3)
#define SGX_EAX_SGX1      (1U << 0)

#define XSAVE_LEGACY_SIZE 576U /* FXSAVE area and XSAVE header */
#define XSAVE_ALIGNED     (1U << 1)

void cpuid_dynamic_reset(struct cpuid_dynamic *d, const struct model *m, uint32_t apic_id)
{
    *d = (struct cpuid_dynamic){
        .apic_base = 0xfee00000U | APIC_BASE_ENABLE,
        .misc_enable = MISC_ENABLE_MONITOR,
        .xcr0 = 1,
        .apic_id = apic_id,
        .core_id = m->core_id,
        .node_id = m->node_id,
    };
    cpuid_dynamic_resize(d, m);
    cpuid_dynamic_settle(d, m);
}

void cpuid_dynamic_resize(struct cpuid_dynamic *d, const struct model *m)
{
    uint32_t standard = XSAVE_LEGACY_SIZE;
    uint32_t compact = XSAVE_LEGACY_SIZE;

    for (uint32_t i = 2; i < 63; i++) {
        if (!((d->xcr0 | d->xss) >> i & 1))
            continue;
        const struct cpuid_regs *r = &model_lookup(m, 0xd, i)->regs;
        if (d->xcr0 >> i & 1 && r->ebx + r->eax > standard)
            standard = r->ebx + r->eax;
        if (r->ecx & XSAVE_ALIGNED)
            compact = (compact + 63U) & ~63U;
        compact += r->eax;
    }
    d->xsave_size = standard;
    d->xsaves_size = compact;
}

void cpuid_dynamic_machine_check(struct cpuid_dynamic *d)
{
    d->sgx_off = true;
}

void cpuid_dynamic_mci_ctl(struct cpuid_dynamic *d, uint64_t old, uint64_t value)
{
    if (old & ~value)
        d->sgx_off = true;
}

bool cpuid_dynamic_is_mci_ctl(uint32_t msr, unsigned int banks)
{
    return msr >= MC0_CTL && msr % 4 == 0 && (msr - MC0_CTL) / 4 < banks;
}

struct cpuid_regs cpuid_dynamic_clearable(const struct model *m, uint32_t leaf, uint32_t subleaf)
{
    if (leaf == 0x1)
        return (struct cpuid_regs){.ecx = LEAF1_ECX_MONITOR, .edx = LEAF1_EDX_APIC};
    if (leaf == 0x80000001U)
        return (struct cpuid_regs){.edx =
                                       LEAF1_EDX_APIC | (model_is_amd(m) ? 0 : EXT1_EDX_SYSCALL)};
    if (leaf == 0x7 && subleaf == 0)
        return (struct cpuid_regs){.ebx = LEAF7_EBX_HLE | LEAF7_EBX_RTM};
    if (leaf == 0x12 && subleaf == 0)
        return (struct cpuid_regs){.eax = SGX_EAX_SGX1};
    return (struct cpuid_regs){.eax = 0};
}

enum cpuid_dynamic_row cpuid_dynamic_row(uint32_t leaf, uint32_t subleaf)
{
    switch (leaf) {
    case 0xb:
    case 0x1f:
    case 0x80000026U:
        return DYNAMIC_LEVEL;
    case 0x1:
        return DYNAMIC_FEATURES;
    case 0x80000001U:
        return DYNAMIC_EXTENDED;
    case 0x8000001eU:
        return DYNAMIC_TOPOLOGY;
    case 0x7:
        return subleaf == 0 ? DYNAMIC_STRUCTURED : DYNAMIC_NONE;
    case 0x12:
        return subleaf == 0 ? DYNAMIC_SGX : DYNAMIC_NONE;
    case 0xd:
        return subleaf == 0 ? DYNAMIC_XSAVE : subleaf == 1 ? DYNAMIC_XSAVES : DYNAMIC_NONE;
    default:
        return DYNAMIC_NONE;
    }
}

static void overlay_features(struct cpuid_regs *regs, const struct cpuid_dynamic *d)
{
    if (d->cr4 & CPU_CR4_OSXSAVE)
        regs->ecx |= LEAF1_ECX_OSXSAVE;
    if (!(d->misc_enable & MISC_ENABLE_MONITOR))
        regs->ecx &= ~LEAF1_ECX_MONITOR;
    if (!(d->apic_base & APIC_BASE_ENABLE))
        regs->edx &= ~LEAF1_EDX_APIC;
    regs->ebx |= d->apic_id << 24;
}

static void overlay_structured(struct cpuid_regs *regs, const struct cpuid_dynamic *d)
{
    if (d->cr4 & CPU_CR4_PKE)
        regs->ecx |= LEAF7_ECX_OSPKE;
    if (d->tsx_ctrl & TSX_CTRL_CPUID_CLEAR)
        regs->ebx &= ~(LEAF7_EBX_HLE | LEAF7_EBX_RTM);
}

static void overlay_xsave(uint32_t subleaf, struct cpuid_regs *regs, const struct cpuid_dynamic *d)
{
    if (subleaf == 0)
        regs->ebx = d->xsave_size;
    else if (regs->eax & (XSAVE1_EAX_XSAVEC | XSAVE1_EAX_XSAVES))
        regs->ebx = d->xsaves_size;
}

void cpuid_overlay(uint32_t leaf, uint32_t subleaf, struct cpuid_regs *regs,
                   const struct cpuid_dynamic *d)
{
    switch (cpuid_dynamic_row(leaf, subleaf)) {
    case DYNAMIC_FEATURES:
        overlay_features(regs, d);
        break;
    case DYNAMIC_STRUCTURED:
        overlay_structured(regs, d);
        break;
    case DYNAMIC_XSAVE:
    case DYNAMIC_XSAVES:
        overlay_xsave(subleaf, regs, d);
        break;
    case DYNAMIC_LEVEL:
        regs->edx = d->apic_id;
        regs->ecx |= subleaf & 0xff;
        break;
    case DYNAMIC_SGX:
        if (d->sgx_off)
            regs->eax &= ~SGX_EAX_SGX1;
        break;
    case DYNAMIC_EXTENDED:
        if (!(d->apic_base & APIC_BASE_ENABLE))
            regs->edx &= ~LEAF1_EDX_APIC;
        if (d->no_syscall)
            regs->edx &= ~EXT1_EDX_SYSCALL;
        break;
    case DYNAMIC_TOPOLOGY:
        regs->eax = d->apic_id;
        regs->ebx |= d->core_id;
        regs->ecx |= d->node_id;
        break;
    case DYNAMIC_NONE:
    case DYNAMIC_ROWS:
        break;
    }
}

void cpuid_dynamic_settle(struct cpuid_dynamic *d, const struct model *m)
{
    static const struct {
        uint32_t leaf, subleaf;
    } rows[DYNAMIC_ROWS] = {
        [DYNAMIC_XSAVE] = {.leaf = 0xd},
        [DYNAMIC_XSAVES] = {.leaf = 0xd, .subleaf = 1},
        [DYNAMIC_FEATURES] = {.leaf = 0x1},
        [DYNAMIC_STRUCTURED] = {.leaf = 0x7},
        [DYNAMIC_SGX] = {.leaf = 0x12},
        [DYNAMIC_EXTENDED] = {.leaf = 0x80000001U},
        [DYNAMIC_TOPOLOGY] = {.leaf = 0x8000001eU},
    };

    for (unsigned int i = DYNAMIC_LEVEL + 1; i < DYNAMIC_ROWS; i++)
        model_query(m, d, rows[i].leaf, rows[i].subleaf, &d->answer[i]);
}

bool cpuid_dynamic_is_settled(const struct cpuid_dynamic *d, const struct model *m)
{
    const unsigned int first = DYNAMIC_LEVEL + 1;
    struct cpuid_dynamic again = *d;

    cpuid_dynamic_settle(&again, m);
    return memcmp(&again.answer[first], &d->answer[first],
                  (DYNAMIC_ROWS - first) * sizeof(d->answer[0])) == 0;
}
