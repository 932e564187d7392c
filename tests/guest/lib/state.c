/* SPDX-License-Identifier: BSD-2-Clause */
#include "tests/guest/lib/state.h"

#include <string.h>

#define DR6_OTHER         0xffff4ff0UL
#define DR7_OTHER         0x4aaUL
#define PAT_RESET         0x0007040600070406UL
#define CR4_TSD           (1UL << 2)
#define MSR_MTRR_DEF_TYPE 0x2ffU
#define MSR_TSC_AUX       0xc0000103U
#define XCR0_AVX          7U

const struct state_msr state_msr[STATE_MSRS] = {
    {"pat", MSR_PAT, PAT_RESET, 0x0606060606060606},
    {"sysenter-cs", MSR_SYSENTER_CS, 0, 8},
    {"sysenter-esp", MSR_SYSENTER_ESP, 0, 0x1234},
    {"sysenter-eip", MSR_SYSENTER_EIP, 0, 0x5678},
    {"star", MSR_STAR, 0, 0x0008000800000000},
    {"lstar", MSR_LSTAR, 0, 0x123456},
    {"cstar", MSR_CSTAR, 0, 0x654321},
    {"sfmask", MSR_SFMASK, 0, 0x300},
    {"kernel-gs-base", MSR_KERNEL_GS_BASE, 0, 0x7777},
    {"tsc-aux", MSR_TSC_AUX, 0, 77},
    {"spec-ctrl", 0x48, 0, 1},
    {"xss", MSR_XSS, 0, 0x100},
};
struct state_later state_before;

static bool has_xsave(void)
{
    uint32_t a, b, c, d;
    cpuid_raw(1, 0, &a, &b, &c, &d);
    return c >> 26 & 1;
}

static bool has_avx(void)
{
    uint32_t a, b, c, d;
    if (!has_xsave())
        return false;
    cpuid_raw(0xd, 0, &a, &b, &c, &d);
    return (a & XCR0_AVX) == XCR0_AVX;
}

void state_look(void *argument)
{
    struct state_later *found = argument;
    uint64_t half[2];
    __asm__ volatile("movups %%xmm15, %0" : "=m"(half));
    found->xmm = half[0] & half[1];
    found->tsc = rdtsc();
    for (unsigned int i = 0; i < STATE_MSRS; i++)
        found->there[i] = rdmsr_safe(state_msr[i].msr, &found->msr[i]) == 0;
    if (rdmsr_safe(MSR_MTRR_DEF_TYPE, &found->mtrr) != 0)
        found->mtrr = 0;
    found->xcr0 = 0;
    found->ymm = 0;
    if (!has_xsave())
        return;
    write_cr4(read_cr4() | CR4_OSXSAVE);
    found->xcr0 = read_xcr0();
    if (!has_avx())
        return;
    write_xcr0(XCR0_AVX);
    __asm__ volatile("vextractf128 $1, %%ymm15, %0" : "=m"(half));
    found->ymm = half[0] & half[1];
    write_xcr0(found->xcr0);
}

static void change_fpu(void)
{
    static const uint64_t mark[2] = {STATE_MARK, STATE_MARK};
    const uint16_t fcw = STATE_FCW;
    const uint32_t mxcsr = STATE_MXCSR;
    if (has_avx())
        __asm__ volatile("vbroadcastf128 %0, %%ymm15" : : "m"(mark));
    __asm__ volatile("fninit; fld1; fldcw %0; ldmxcsr %1" : : "m"(fcw), "m"(mxcsr));
#define CHANGE_XMM(n) __asm__ volatile("movups %0, %%xmm" #n : : "m"(mark))
    CHANGE_XMM(0);
    CHANGE_XMM(1);
    CHANGE_XMM(7);
    CHANGE_XMM(15);
}

static void change_segments(void)
{
    static uint64_t gdt[64];
    struct {
        uint16_t limit;
        uint64_t base;
    } __attribute__((packed)) pointer;
    __asm__ volatile("sgdt %0" : "=m"(pointer));
    unsigned int ldt = (pointer.limit + 1U) / 8U;
    memcpy(gdt, (const void *)pointer.base, pointer.limit + 1U);
    gdt[ldt] = 0x0000820010000fffUL; /* a base of 1000H */
    gdt[ldt + 1] = 0;
    pointer.base = (uint64_t)gdt;
    pointer.limit = (uint16_t)(ldt * 8U + 15U);
    __asm__ volatile("lgdt %0; lldt %w1" : : "m"(pointer), "r"(ldt * 8U));
    wrmsr(MSR_FS_BASE, 0x1111);
    wrmsr(MSR_GS_BASE, 0x2222);
}

static void change_apic(void)
{
    for (uint32_t offset = 0x320; offset <= 0x370; offset += 0x10)
        if (offset != 0x330) /* thermal: not on each machine */
            apic_write(offset, LVT_MASKED | 0x40);
    apic_write(APIC_TIMER_DIVIDE, 3);
    apic_write(APIC_TIMER_COUNT, UINT32_MAX);
    apic_write(0x80, 0x10);
    if (!this_processor()->x2apic)
        apic_write(0xd0, 0x01000000);
}

/* CR0.CD and NW that INIT keeps: the caller varies CD. */
void state_change(bool cache_off)
{
    __asm__ volatile("cli");
    if (has_xsave()) {
        write_cr4(read_cr4() | CR4_OSXSAVE);
        write_xcr0(has_avx() ? XCR0_AVX : 3);
    }
    write_cr4(read_cr4() | CR4_TSD | CR4_PGE);
    wrmsr(MSR_EFER, rdmsr(MSR_EFER) | EFER_SCE);
    for (unsigned int i = 0; i < STATE_MSRS; i++)
        (void)wrmsr_safe(state_msr[i].msr, state_msr[i].other);
    change_segments();
    change_apic();
    write_cr2(STATE_MARK);
    write_dr0(0x1000);
    write_dr1(0x2000);
    write_dr2(0x3000);
    write_dr3(0x4000);
    write_dr6(DR6_OTHER);
    write_dr7(DR7_OTHER);
    write_cr0((read_cr0() & ~CR0_CD) | CR0_AM | (cache_off ? CR0_CD : 0));
    change_fpu();
    state_look(&state_before);
    change_fpu();
}

unsigned int state_compare(const char *name, const struct state_later *found,
                           const struct state_wanted *wanted)
{
    unsigned int wrong = 0;
    for (unsigned int i = 0; i < STATE_MSRS; i++)
        if (found->there[i])
            wrong += probe_differs(name, state_msr[i].name, wanted->msr[i], found->msr[i]);
    wrong += probe_differs(name, "xmm15", wanted->xmm, found->xmm);
    if (wanted->mtrr != 0)
        wrong += probe_differs(name, "mtrr-def-type", wanted->mtrr, found->mtrr);
    wrong += probe_differs(name, "tsc-goes-on", true, found->tsc >= wanted->tsc);
    if (has_xsave())
        wrong += probe_differs(name, "xcr0", wanted->xcr0, found->xcr0);
    if (has_avx())
        wrong += probe_differs(name, "ymm15", wanted->ymm, found->ymm);
    return wrong;
}

unsigned int state_compare_fpu(const char *name, const struct probe *found,
                               const struct state_wanted *wanted)
{
    unsigned int wrong = 0;
    wrong += probe_differs(name, "fcw", wanted->fcw, found->fpu.control);
    wrong += probe_differs(name, "tags", wanted->tags, found->fpu.tags);
    wrong += probe_differs(name, "mxcsr", wanted->mxcsr, found->fpu.mxcsr);
    wrong += probe_differs(name, "st0", wanted->st0, found->fpu.st[0][0]);
    wrong += probe_differs(name, "xmm0", wanted->xmm, found->fpu.xmm[0][0]);
    wrong += probe_differs(name, "xmm7", wanted->xmm, found->fpu.xmm[7][1]);
    return wrong;
}
