/* SPDX-License-Identifier: BSD-2-Clause */
#include "tests/guest/lib/state.h"

#include <string.h>

#define DR6_OTHER         0xffff4ff0UL
#define DR7_OTHER         0x4aaUL
#define PAT_RESET         0x0007040600070406UL
#define CR4_TSD           (1UL << 2)
#define MSR_MTRR_DEF_TYPE 0x2ffU
#define MSR_TSC_AUX       0xc0000103U
#define LEAF_XSAVE        0xdU
#define XCR0_FPU_SSE      3U
#define COMPONENT_LAST    9U     /* YMM, MPX, opmask, ZMM, PKRU */
#define COMPONENTS        0x2e4U /* of these, those that are looked at: not MPX */
#define AREA_SIZE         4096U
#define FILL              0x55U /* each byte of them; PKRU is half of its eight */

const struct state_msr state_msr[STATE_MSRS] = {
    {"pat", MSR_PAT, PAT_RESET, 0}, /* all UC */
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
    {"tsc-adjust", 0x3b, 0, 0x10000000},
    {"mtrr-base7", 0x20e, 0, 0x80000006}, /* not valid without its mask, and firmware's no more */
    {"xss", MSR_XSS, 0, 0x100},
};
struct state_later state_before;

static bool has_xsave(void)
{
    uint32_t a, b, c, d;
    cpuid_raw(1, 0, &a, &b, &c, &d);
    return c >> 26 & 1;
}

static struct {
    uint8_t bytes[AREA_SIZE];
} area[PROCESSORS_MAX] __attribute__((aligned(64)));

/* The components that the CPU has; it must have XSAVE. */
static uint64_t all_components(void)
{
    uint32_t a, b, c, d;
    cpuid_raw(LEAF_XSAVE, 0, &a, &b, &c, &d);
    if (c > AREA_SIZE)
        broken("XSAVE wants %u bytes", c);
    return (uint64_t)d << 32 | a;
}

/* One component's bytes in an area: SDM vol. 1 §13.2; of PKRU the half that there is. */
static uint8_t *component_at(unsigned int component, uint32_t *size)
{
    uint32_t offset, c, d;
    cpuid_raw(LEAF_XSAVE, component, size, &offset, &c, &d);
    if (component == COMPONENT_LAST)
        *size = 4;
    return area[this_processor()->index].bytes + offset;
}

static uint64_t *area_bits(void)
{
    return (uint64_t *)(area[this_processor()->index].bytes + 512);
}

static bool filled(const uint8_t *bytes, uint32_t size, uint8_t with)
{
    for (uint32_t i = 0; i < size; i++)
        if (bytes[i] != with)
            return false;
    return true;
}

static void look_at_components(struct state_later *found)
{
    const uint64_t all = all_components();
    write_xcr0(all);
    memset(area_bits(), 0, 64);
    __asm__ volatile("xsave %0"
                     : "+m"(area[this_processor()->index])
                     : "a"((uint32_t)(all & COMPONENTS)), "d"(0));
    write_xcr0(found->xcr0);
    found->components = all & COMPONENTS;
    for (unsigned int i = 2; i <= COMPONENT_LAST; i++) {
        uint32_t size;
        const uint8_t *bytes = component_at(i, &size);
        if (!(found->components >> i & 1))
            continue;
        if (!(*area_bits() >> i & 1) || filled(bytes, size, 0))
            found->initial |= 1UL << i;
        else if (filled(bytes, size, FILL))
            found->changed |= 1UL << i;
    }
}

static void change_components(void)
{
    const uint64_t components = all_components() & COMPONENTS;
    memset(area_bits(), 0, 64);
    *area_bits() = components;
    for (unsigned int i = 2; i <= COMPONENT_LAST; i++) {
        uint32_t size;
        uint8_t *bytes = component_at(i, &size);
        if (components >> i & 1)
            memset(bytes, FILL, size);
    }
    __asm__ volatile("xrstor %0"
                     :
                     : "m"(area[this_processor()->index]), "a"((uint32_t)components), "d"(0));
}

void state_look(void *argument)
{
    struct state_later *found = argument;
    *found = (struct state_later){.mtrr = 0};
#define LOOK_AT_XMM(n) __asm__ volatile("movups %%xmm" #n ", %0" : "=m"(found->xmm[(n)-8]))
    LOOK_AT_XMM(8);
    LOOK_AT_XMM(9);
    LOOK_AT_XMM(10);
    LOOK_AT_XMM(11);
    LOOK_AT_XMM(12);
    LOOK_AT_XMM(13);
    LOOK_AT_XMM(14);
    LOOK_AT_XMM(15);
    found->tsc = rdtsc();
    for (unsigned int i = 0; i < STATE_MSRS; i++)
        found->there[i] = rdmsr_safe(state_msr[i].msr, &found->msr[i]) == 0;
    if (rdmsr_safe(MSR_MTRR_DEF_TYPE, &found->mtrr) != 0)
        found->mtrr = 0;
    if (!has_xsave())
        return;
    write_cr4(read_cr4() | CR4_OSXSAVE);
    found->xcr0 = read_xcr0();
    look_at_components(found);
}

/* Last of all that reads memory by the x87, so that its pointers stay. */
static void change_fpu(void)
{
    static const uint64_t mark[2] = {STATE_MARK, STATE_MARK};
    const uint16_t fcw = STATE_FCW;
    const uint32_t mxcsr = STATE_MXCSR;
    const float one = 1;
    struct probe saved __attribute__((aligned(16)));
    if (has_xsave())
        change_components();
    __asm__ volatile("fninit; fldcw %0; ldmxcsr %1" : : "m"(fcw), "m"(mxcsr));
    for (unsigned int i = 0; i < 8; i++)
        __asm__ volatile("flds %0" : : "m"(one));
    __asm__ volatile("fxsave %0" : "=m"(saved.fpu));
    state_before.instruction = saved.fpu.instruction;
    state_before.data = saved.fpu.data;
#define CHANGE_XMM(n) __asm__ volatile("movups %0, %%xmm" #n : : "m"(mark))
    CHANGE_XMM(0);
    CHANGE_XMM(1);
    CHANGE_XMM(2);
    CHANGE_XMM(3);
    CHANGE_XMM(4);
    CHANGE_XMM(5);
    CHANGE_XMM(6);
    CHANGE_XMM(7);
    CHANGE_XMM(8);
    CHANGE_XMM(9);
    CHANGE_XMM(10);
    CHANGE_XMM(11);
    CHANGE_XMM(12);
    CHANGE_XMM(13);
    CHANGE_XMM(14);
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
        write_xcr0(all_components());
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
    for (unsigned int i = 0; i < STATE_XMMS; i++)
        for (unsigned int half = 0; half < 2; half++)
            wrong += probe_differs(name, "xmm8-15", wanted->xmm, found->xmm[i][half]);
    if (wanted->mtrr != 0)
        wrong += probe_differs(name, "mtrr-def-type", wanted->mtrr, found->mtrr);
    wrong += probe_differs(name, "tsc-goes-on", true, found->tsc >= wanted->tsc);
    if (wanted->tsc_below != 0)
        wrong += probe_differs(name, "tsc-is-back", true, found->tsc < wanted->tsc_below);
    if (has_xsave()) {
        const uint64_t kept = found->components & wanted->components;
        wrong += probe_differs(name, "xcr0", wanted->xcr0, found->xcr0);
        wrong += probe_differs(name, "components-kept", kept, found->changed);
        wrong += probe_differs(name, "components-reset", found->components & ~kept, found->initial);
    }
    return wrong;
}

unsigned int state_compare_fpu(const char *name, const struct probe *found,
                               const struct state_wanted *wanted)
{
    unsigned int wrong = 0;
    wrong += probe_differs(name, "fcw", wanted->fcw, found->fpu.control);
    wrong += probe_differs(name, "tags", wanted->tags, found->fpu.tags);
    wrong += probe_differs(name, "mxcsr", wanted->mxcsr, found->fpu.mxcsr);
    for (unsigned int i = 0; i < 8; i++) {
        wrong += probe_differs(name, "st", wanted->st, found->fpu.st[i][0]);
        for (unsigned int half = 0; half < 2; half++)
            wrong += probe_differs(name, "xmm0-7", wanted->xmm, found->fpu.xmm[i][half]);
    }
    wrong += probe_differs(name, "fip", wanted->instruction, found->fpu.instruction);
    wrong += probe_differs(name, "fdp", wanted->data, found->fpu.data);
    return wrong;
}

static volatile unsigned int interrupts, traps;

static void count_interrupt(struct frame *frame)
{
    (void)frame;
    interrupts++;
    apic_write(APIC_EOI, 0);
}

/* QEMU's TCG takes this one at once. */
static void count_trap(struct frame *frame)
{
    (void)frame;
    traps++;
}

void state_check_start(unsigned int vcpu, const char *name, const struct state_wanted *wanted,
                       bool unpaged)
{
    struct probe found;
    unsigned int wrong = 0;
    struct state_later later = {.xmm = 0};
    unsigned int nmis = processors[vcpu].nmis;
    interrupts = 0;
    traps = 0;
    set_handler(VECTOR_NMI, NULL);
    set_handler(VECTOR_TEST, count_interrupt);
    set_handler(VECTOR_DB, count_trap);
    const bool kept = unpaged && under_latch();
    uint64_t faults = kept ? latch_exits(EXIT_PAGE_FAULT, vcpu) : 0;
    int64_t pool = kept ? latch_hypercall(HYPERCALL_POOL, 0, 0, 0, 0) : 0;
    if (!probe_start(vcpu, &found))
        broken("%s: it did not start", name);
    if (kept) { /* its way back finds all tables as they were, nested and shadow */
        wrong +=
            probe_differs(name, "page-fault-exits", faults, latch_exits(EXIT_PAGE_FAULT, vcpu));
        wrong += probe_differs(name, "table-pages", (uint64_t)pool,
                               (uint64_t)latch_hypercall(HYPERCALL_POOL, 0, 0, 0, 0));
    }
    wrong += probe_compare(name, &found, processors[0].x2apic);
    wrong += probe_differs(name, "cr0", wanted->cr0, found.cr[0]);
    wrong += state_compare_fpu(name, &found, wanted);
    (void)run_on(vcpu, state_look, &later);
    wrong += state_compare(name, &later, wanted);
    wrong += probe_differs(name, "no-interrupt-left", 0, interrupts);
    wrong += probe_differs(name, "no-trap-left", 0, traps);
    wrong += probe_differs(name, "no-nmi-left", nmis, processors[vcpu].nmis);
    apic_send(processors[vcpu].apic_id, ICR_NMI);
    for (unsigned int ms = 0; ms < 500 && processors[vcpu].nmis == nmis; ms++)
        delay_us(1000);
    wrong += probe_differs(name, "nmis-open", nmis + 1, processors[vcpu].nmis);
    check(wrong == 0, name, "%u registers differ", wrong);
}
