/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Generation after generation, by each way to reset a machine: nothing of one shows in the next. The
 * words `rounds=N` and `ways=WORD` (letters of reset_by() below) say how many and by which; `keep-msrs`
 * leaves all MSRs as they are, as MTRRs that change cost a relaunch all tables; `all-buses` looks at
 * the PCI functions behind bridges too. What must outlast a reset lies in the clock's RAM, which no
 * reset clears.
 */
#include "kernel/xen_layout.h"
#include "tests/guest/lib/devices.h"
#include "tests/guest/lib/kept.h"
#include "tests/guest/lib/msrs.h"
#include "tests/guest/lib/probe.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MARK             0x5eedf00d12345678UL
#define CMOS_POOL        0U  /* two bytes for each of two generations */
#define CMOS_DEVICES     4U  /* two bytes for each, */
#define CMOS_APIC        24U /* for another processor's, */
#define CMOS_MSRS        26U /* for the MSRs of both, */
#define CMOS_LOW         30U /* and for the firmware's memory below 1 MiB */
#define LEAF1_POPCNT     (1U << 23)
#define PAT_RESET        0x0007040600070406UL
#define MSR_SYSENTER     0x174U
#define MARK_BYTE        0xeeU
#define HYPERCALL_MSR    0x40000000U
#define APIC_ENABLE      0x800U
#define MSR_TSC          0x10U
#define TSC_FAR          (1UL << 50) /* no machine here runs for so long */
#define ACPI_RESET_VALUE 0x5aU
#define PAGE             0x1000UL
#define FIRST_MARK       0x100000UL
#define VECTORS_END      0x500UL /* of interrupt vectors and the BIOS data area, */
#define EBDA_WORD        0x40cUL /* in whose upper half here is its extension's segment */
#define LOW_END          0xa0000UL
#define MSRS_AT_LEAST    16U         /* that any machine here lets its guest change */
#define LARGE_GLOBAL     0x183UL     /* present, writable, large, global */
#define BEYOND           (5UL << 30) /* a linear address that the payload does not map */
#define THOROUGH         6U          /* generations that look at devices and all processors */
_Static_assert(CMOS_DEVICES + 2 * DEVICES <= CMOS_APIC, "each has its place");
_Static_assert(CMOS_LOW + 2 <= KEPT_BYTES, "and all are there");

static volatile uint64_t low_start; /* 0, an address as any other here */
static const char *ways = "fcpkda"; /* see reset_by() */

/* MSRs that the guest owns, with what it finds in them. */
static const struct {
    const char *name;
    uint32_t msr;
    uint64_t reset, other;
} msrs[] = {
    {"pat", 0x277, PAT_RESET, 0x0606060606060606},
    {"sysenter-cs", MSR_SYSENTER, 0, 8},
    {"sysenter-esp", MSR_SYSENTER + 1, 0, 0x1234},
    {"sysenter-eip", MSR_SYSENTER + 2, 0, 0x5678},
    {"star", 0xc0000081, 0, 0x0008000800000000},
    {"lstar", 0xc0000082, 0, 0x123456},
    {"cstar", 0xc0000083, 0, 0x654321},
    {"sfmask", 0xc0000084, 0, 0x200},
    {"fs-base", 0xc0000100, 0, 0x1111},
    {"tsc-adjust", 0x3b, 0, 0x10000000},
    {"spec-ctrl", 0x48, 0, 1},
    {"xss", 0xda0, 0, 0x100},
    {"kernel-gs-base", 0xc0000102, 0, 0x7777},
    {"tsc-aux", 0xc0000103, 0, 77},
};
#define MSRS (sizeof(msrs) / sizeof(msrs[0]))

static void check_quiet(bool ok, const char *name, uint64_t generation, uint64_t found)
{
    if (!ok)
        check(false, name, "generation %lu: found 0x%lx", generation, found);
}

/* Of each page in RAM one word, in another place from page to page, where the payload itself is not. */
static void each_mark(void (*each)(uint64_t *mark, uint64_t generation), uint64_t generation)
{
    extern char payload_end[];
    for (unsigned int i = 0; i < boot.ranges; i++) {
        const struct ram_range *range = &boot.range[i];
        if (range->type != 1)
            continue;
        for (uint64_t at = range->start; at + PAGE <= range->end && at < 1UL << 32; at += PAGE) {
            if (at >= FIRST_MARK && at > (uint64_t)payload_end)
                each((uint64_t *)(at + (at / PAGE * 8) % PAGE), generation);
        }
    }
}

static void check_mark(uint64_t *mark, uint64_t generation)
{
    check_quiet(*mark != MARK, "relaunch.memory-cleared", generation, (uint64_t)mark);
}

static void set_mark(uint64_t *mark, uint64_t generation)
{
    (void)generation;
    *mark = MARK;
}

/* The firmware's memory below 1 MiB is as the first generation found it. */
static void check_low(uint64_t generation)
{
    uint64_t extension = LOW_END, left = LOW_END;
    uint32_t sum = 0;
    for (uint64_t at = low_start; at < LOW_END; at += sizeof(uint32_t)) {
        const uint32_t word = *(volatile uint32_t *)at;
        if (at == EBDA_WORD)
            extension = word >> 16 << 4;
        if (at < VECTORS_END || at >= extension)
            sum = (sum ^ (uint32_t)at ^ word) * 0x9e3779b1U;
        if (left == LOW_END && (word == (uint32_t)MARK || word == MARK >> 32))
            left = at;
    }
    check_quiet(left == LOW_END, "relaunch.low-memory-cleared", generation, left);
    check_quiet(is_as_kept(CMOS_LOW, generation == 1, (uint16_t)(sum >> 16)),
                "relaunch.firmware-memory", generation, sum);
}

static void change_low(void)
{
    for (uint64_t at = low_start; at < LOW_END; at += sizeof(uint64_t))
        *(volatile uint64_t *)at = MARK;
}

/* Of the processor that runs this; all that there are, by name or not. */
static void check_msrs(void *generation)
{
    const unsigned int place = CMOS_MSRS + 2U * this_processor()->index;
    const uint64_t number = *(uint64_t *)generation;
    check_quiet(msrs_are_as_kept(place, number == 1), "relaunch.msrs", number, place);
}

static void check_registers(uint64_t generation)
{
    uint64_t dr[4], xmm[2];
    __asm__ volatile("mov %%dr0, %0" : "=r"(dr[0]));
    __asm__ volatile("mov %%dr1, %0" : "=r"(dr[1]));
    __asm__ volatile("mov %%dr2, %0" : "=r"(dr[2]));
    __asm__ volatile("mov %%dr3, %0" : "=r"(dr[3]));
    for (unsigned int i = 0; i < 4; i++)
        check_quiet(dr[i] == 0, "relaunch.debug-registers", generation, dr[i]);
    check_quiet(read_dr6() == DR6_RESET, "relaunch.dr6", generation, read_dr6());
    check_quiet(read_dr7() == DR7_RESET, "relaunch.dr7", generation, read_dr7());
    __asm__ volatile("movups %%xmm15, %0" : "=m"(xmm));
    check_quiet(xmm[0] == 0 && xmm[1] == 0, "relaunch.vector-registers", generation, xmm[0]);
    check_quiet(rdtsc() < TSC_FAR, "relaunch.tsc", generation, rdtsc());
    check_quiet(read_cr2() == 0, "relaunch.cr2", generation, read_cr2());
    for (unsigned int i = 0; i < MSRS; i++) {
        uint64_t value = 0;
        if (rdmsr_safe(msrs[i].msr, &value) == 0)
            check_quiet(value == msrs[i].reset, msrs[i].name, generation, value);
    }
}

static void dirty_registers(void)
{
    const uint64_t mark[2] = {MARK, ~MARK};
    __asm__ volatile("mov %0, %%dr0; mov %0, %%dr1; mov %0, %%dr2; mov %0, %%dr3"
                     :
                     : "r"(0x1000UL));
    write_dr6(DR6_RESET | 0x4000UL);
    write_dr7(DR7_RESET | 0x80UL);
    __asm__ volatile("movups %0, %%xmm15" : : "m"(mark) : "xmm15");
    write_cr2(MARK);
    for (unsigned int i = 0; i < MSRS; i++)
        (void)wrmsr_safe(msrs[i].msr, msrs[i].other);
    (void)wrmsr_safe(MSR_TSC, TSC_FAR);
}

static void check_model(uint64_t generation)
{
    uint32_t a, b, c, d;
    cpuid_raw(1, 0, &a, &b, &c, &d);
    bool wanted = !boot_word("alternating", NULL) || generation % 2 == 1;
    check_quiet(!(c & LEAF1_POPCNT) == !wanted, "relaunch.model", generation, c);
}

/* From its third generation on each set of models has all that it takes of the pool; without the
 * thorough ones' MTRRs, two generations of each later, another number. */
static void check_pool(uint64_t generation)
{
    unsigned int place = CMOS_POOL + 2U * (generation & 1);
    uint16_t pool = (uint16_t)latch_hypercall(HYPERCALL_POOL, 0, 0, 0, 0);
    const bool settles = generation == THOROUGH + 3 || generation == THOROUGH + 4;
    if (generation >= 3)
        check_quiet(is_as_kept(place, generation <= 4 || settles, pool), "relaunch.pool",
                    generation, pool);
}

static void check_sum(enum device device, unsigned int place, uint64_t generation, uint16_t sum)
{
    char name[48];
    snprintf(name, sizeof(name), "relaunch.%s", device_name(device));
    check_quiet(is_as_kept(place, generation == 1, sum), name, generation, sum);
}

static void sum_apic(void *sum)
{
    *(uint16_t *)sum = device_sum(DEVICE_APIC);
}

static void change_msrs(void)
{
    if (boot_word("keep-msrs", NULL))
        return;
    const unsigned int changed = msrs_change();
    check_quiet(changed >= MSRS_AT_LEAST, "relaunch.msrs-changed", 0, changed);
}

static void change_apic(void *unused)
{
    (void)unused;
    change_msrs();
    device_change(DEVICE_APIC);
    (void)wrmsr_safe(MSR_TSC, 1000);
}

/* A byte for the keyboard is that, whatever was announced to its controller before the reset. */
static void check_devices(uint64_t generation)
{
    uint16_t sum;
    if (generation > THOROUGH)
        return;
    check_msrs(&generation);
    const struct pci_counts pci = device_pci();
    printf("info pci: %u functions on %u buses to %u, %u virtio devices without a driver\n",
           pci.functions, pci.buses, pci.last, pci.idle);
    outb(0x60, 0xf4);
    delay_us(2000);
    while (inb(0x64) & 1)
        (void)inb(0x60);
    for (enum device device = 0; device < DEVICES; device++)
        check_sum(device, CMOS_DEVICES + 2U * device, generation, device_sum(device));
    if (generation > 1)
        check_quiet(device_bus_masters() == 0, "relaunch.bus-masters", generation,
                    device_bus_masters());
    if (processor_count < 2)
        return;
    if (!processor_start(1) || !run_on(1, sum_apic, &sum))
        broken("generation %lu: the other processor did not start", generation);
    check_sum(DEVICE_APIC, CMOS_APIC, generation, sum);
    (void)run_on(1, check_msrs, &generation);
}

static void change_devices(uint64_t generation, char way)
{
    if (generation > THOROUGH)
        return;
    if (processor_count > 1)
        (void)run_on(1, change_apic, NULL);
    change_msrs();
    for (enum device device = 0; device < DEVICES; device++)
        device_change(device);
    /* Some CPUs let it be written. Where another processor resets, Latch calls this one by it. */
    if (way != 'a' && !this_processor()->x2apic)
        apic_write(APIC_ID, apic_read(APIC_ID) ^ 0x0f000000U);
}

static void touch(void *address)
{
    (void)*(volatile uint8_t *)address;
}

/* In the TLB of the last generation it was mapped, by a global page. */
static void check_tlb(uint64_t generation)
{
    static uint64_t directory[512] __attribute__((aligned(4096)));
    uint64_t *pdpt = (uint64_t *)(*(uint64_t *)(read_cr3() & ~0xfffUL) & ~0xfffUL);
    check_quiet(fault_of(touch, (void *)BEYOND, NULL, NULL) == VECTOR_PF, "relaunch.tlb",
                generation, BEYOND);
    write_cr4(read_cr4() | CR4_PGE);
    directory[0] = LARGE_GLOBAL;
    pdpt[BEYOND >> 30] = (uint64_t)directory | 3;
    touch((void *)BEYOND);
}

static void check_sealed_pages(void)
{
    uint64_t pages = 0;
    int64_t result;
    while ((result = latch_hypercall(HYPERCALL_SEAL_TEST, pages, 0, 0, 0)) == -EFAULT)
        pages++;
    check(result == -EINVAL && pages > 0, "relaunch.sealed-pages-not-writable", "page %lu gave %ld",
          pages, (long)result);
}

static int64_t vcpu_op(enum xen_vcpu_op op, const void *argument)
{
    return latch_hypercall(HYPERCALL_VCPU_OP, op, 0, (uint64_t)argument, 0);
}

/* Areas that the last generation registered are forgotten: a write to all that there are does not
 * reach where they were, and the vCPU info, which is registered once only, can be again. */
static void check_areas(uint64_t generation)
{
    static uint8_t area[PAGE] __attribute__((aligned(PAGE)));
    static uint8_t page[PAGE] __attribute__((aligned(PAGE)));
    const uint64_t runstate = (uint64_t)area, info[2] = {(uint64_t)area / PAGE, PAGE / 2};
    memset(area, MARK_BYTE, sizeof(area));
    (void)wrmsr_safe(HYPERCALL_MSR, (uint64_t)page);
    check_quiet(area[8] == MARK_BYTE && area[PAGE / 2] == MARK_BYTE, "relaunch.areas-forgotten",
                generation, area[8]);
    int64_t result = vcpu_op(XEN_REGISTER_RUNSTATE_PHYS_AREA, &runstate);
    if (result == 0)
        result = vcpu_op(XEN_REGISTER_VCPU_INFO, info);
    check_quiet(result == 0 && area[15] == 0 && area[PAGE / 2] == 0, "relaunch.areas-registered",
                generation, (uint64_t)result);
}

static void triple_fault(void *unused)
{
    const struct {
        uint16_t limit;
        uint64_t base;
    } __attribute__((packed)) none = {0, 0};
    (void)unused;
    __asm__ volatile("lidt %0; ud2" : : "m"(none));
}

static void reset_by(char way)
{
    const char *value;
    uint64_t reset_at;
    switch (way) {
    case 'f':
        triple_fault(NULL);
        break;
    case 'c': /* the reset control register */
        outb(0xcf9, 2);
        outb(0xcf9, 6);
        break;
    case 'p': /* system control port A */
        outb(0x92, (uint8_t)(inb(0x92) | 1));
        break;
    case 'o': /* the same, by a processor whose local APIC is off */
        wrmsr(MSR_APIC_BASE, rdmsr(MSR_APIC_BASE) & ~(uint64_t)APIC_ENABLE);
        outb(0x92, (uint8_t)(inb(0x92) | 1));
        break;
    case 'r': /* ACPI's reset register, where the word `at=` says */
        reset_at = boot_word("at", &value) ? strtoul(value, NULL, 16) : 0;
        if (reset_at > UINT16_MAX)
            *(volatile uint8_t *)reset_at = ACPI_RESET_VALUE;
        else
            outb((uint16_t)reset_at, ACPI_RESET_VALUE);
        break;
    case 'k': /* the keyboard controller's reset pulse, */
        outb(0x64, 0xfe);
        break;
    case 'd': /* and its output port */
        outb(0x64, 0xd1);
        outb(0x60, 0xfe);
        break;
    case 'w': /* announced by the last byte of a wider write */
        outl(0x61, 0xd1U << 24 | inb(0x61));
        outb(0x60, 0xfe);
        break;
    default: /* another processor */
        if (processor_start_all() > 1)
            start_on(1, triple_fault, NULL);
        else
            triple_fault(NULL);
        break;
    }
    delay_us(2000000);
    broken("the machine was not reset by way '%c'", way);
}

int main(void)
{
    const char *value;
    if (!under_latch()) {
        check_skip("relaunch", "no Latch, so no generations");
        return 0;
    }
    uint64_t generation = (uint64_t)latch_hypercall(HYPERCALL_GENERATION, 0, 0, 0, 0);
    uint64_t rounds = boot_word("rounds", &value) ? strtoul(value, NULL, 10) : 12;
    if (boot_word("ways", &value))
        ways = value;
    check_registers(generation);
    check_low(generation);
    check_model(generation);
    check_devices(generation);
    check_areas(generation);
    check_pool(generation);
    each_mark(check_mark, generation);
    check_tlb(generation);
    if (generation <= 2)
        check_sealed_pages();
    if (generation >= rounds) {
        check(generation == rounds, "relaunch.generations", "at generation %lu of %lu", generation,
              rounds);
        return 0;
    }
    each_mark(set_mark, generation);
    change_low();
    if (boot_word("x2apic", NULL))
        apic_enter_x2apic();
    const char way = ways[generation % strcspn(ways, " ")];
    change_devices(generation, way);
    dirty_registers();
    reset_by(way);
    return 0;
}
