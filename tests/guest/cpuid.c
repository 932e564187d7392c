/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * CPUID equals the sealed model: every leaf of its ranges with every subleaf, and leaves that are
 * not there, twice on each vCPU. The bits that the architecture moves are held against what moves
 * them.
 */
#include "tests/guest/lib/payload.h"

#include <stdio.h>
#include <string.h>

#define ROWS_MAX      160U
#define SUBLEAVES     40U /* more than any leaf has */
#define SUBLEAF_REST  UINT32_MAX
#define LEAF1_OSXSAVE (1U << 27)
#define LEAF7_OSPKE   (1U << 4)
#define LEAF7_PKU     (1U << 3)

struct regs {
    uint32_t a, b, c, d;
};

/* What one vCPU found; it is the first one that prints. */
struct pass {
    unsigned int vcpu, rows;
    struct hypercall_leaf row[ROWS_MAX];
    unsigned int answers, wrong;
    uint32_t leaf, subleaf;
    struct regs wanted, found;
};

static struct regs ask(uint32_t leaf, uint32_t subleaf)
{
    uint64_t a = leaf | 0xdeadbeefUL << 32, b = UINT64_MAX, c = subleaf | 0xdeadbeefUL << 32,
             d = UINT64_MAX;
    __asm__ volatile("cpuid" : "+a"(a), "+b"(b), "+c"(c), "+d"(d));
    if ((a | b | c | d) >> 32)
        return (struct regs){.a = ~0U, .b = ~0U, .c = ~0U, .d = ~0U};
    return (struct regs){.a = (uint32_t)a, .b = (uint32_t)b, .c = (uint32_t)c, .d = (uint32_t)d};
}

/* Leaves whose answer depends on ECX (SDM vol. 2A, CPUID; APM vol. 3 appendix E). */
static bool looks_at_subleaf(uint32_t leaf)
{
    static const uint32_t leaves[] = {
        0x4,  0x7,  0xb,  0xd,  0xf,  0x10, 0x12, 0x14,       0x17,       0x18,
        0x1b, 0x1d, 0x1e, 0x1f, 0x20, 0x23, 0x24, 0x8000001d, 0x80000020, 0x80000026,
    };
    for (size_t i = 0; i < sizeof(leaves) / sizeof(leaves[0]); i++)
        if (leaves[i] == leaf)
            return true;
    return false;
}

static const struct hypercall_leaf *find(const struct pass *p, uint32_t leaf, uint32_t subleaf)
{
    for (unsigned int i = 0; i < p->rows; i++)
        if (p->row[i].leaf == leaf && p->row[i].subleaf == subleaf)
            return &p->row[i];
    return NULL;
}

/* The last leaf of the range that holds `leaf`, or 0 if there is no such range. */
static uint32_t range_end(const struct pass *p, uint32_t leaf)
{
    uint32_t base = leaf & 0xc0000000U;
    const struct hypercall_leaf *first = find(p, base, 0);
    if (first != NULL && first->eax >= base && leaf <= first->eax)
        return first->eax;
    return 0;
}

static bool has_levels(uint32_t leaf)
{
    return leaf == 0xb || leaf == 0x1f || leaf == 0x80000026U;
}

/* The moving bits, for this vCPU as it stands. */
static void lay_over(uint32_t leaf, uint32_t subleaf, struct regs *r)
{
    uint32_t apic_id = this_processor()->apic_id;
    uint64_t cr4 = read_cr4();
    if (leaf == 0x1) {
        r->b |= apic_id << 24;
        if (cr4 & CR4_OSXSAVE)
            r->c |= LEAF1_OSXSAVE;
    }
    if (leaf == 0x7 && subleaf == 0 && (cr4 & CR4_PKE))
        r->c |= LEAF7_OSPKE;
    if (has_levels(leaf)) {
        r->c |= subleaf & 0xffU;
        r->d = apic_id;
    }
}

/* What the sealed model answers. */
static struct regs model_answer(const struct pass *p, uint32_t leaf, uint32_t subleaf)
{
    struct regs r = {0};
    if (range_end(p, leaf) == 0) {
        if (vendor_is_amd())
            return r;
        leaf = find(p, 0, 0)->eax;
    }
    const struct hypercall_leaf *row = find(p, leaf, looks_at_subleaf(leaf) ? subleaf : 0);
    if (row == NULL && has_levels(leaf))
        row = find(p, leaf, SUBLEAF_REST);
    if (row == NULL)
        return r;
    r = (struct regs){.a = row->eax, .b = row->ebx, .c = row->ecx, .d = row->edx};
    lay_over(leaf, subleaf, &r);
    return r;
}

/* Numbers that are judged on their own or that nothing in the model says. */
static void forget(uint32_t leaf, uint32_t subleaf, struct regs *r)
{
    if (leaf == 0xd && subleaf <= 1) /* the sizes by XCR0: check_xsave() */
        r->b = 0;
    if (leaf == 0x8000001eU) /* APIC, core and node id */
        *r = (struct regs){.b = r->b & ~0xffU, .c = r->c & ~0xffU, .d = r->d};
}

static void compare(struct pass *p, uint32_t leaf, uint32_t subleaf)
{
    struct regs found = ask(leaf, subleaf), wanted = model_answer(p, leaf, subleaf);
    forget(leaf, subleaf, &found);
    forget(leaf, subleaf, &wanted);
    p->answers++;
    if (memcmp(&found, &wanted, sizeof(found)) == 0)
        return;
    if (p->wrong++ == 0) {
        p->leaf = leaf;
        p->subleaf = subleaf;
        p->wanted = wanted;
        p->found = found;
    }
}

static void compare_range(struct pass *p, uint32_t base)
{
    const struct hypercall_leaf *first = find(p, base, 0);
    uint32_t last = first == NULL ? base : first->eax;
    for (uint32_t leaf = base; leaf <= last; leaf++)
        for (uint32_t subleaf = 0; subleaf < SUBLEAVES; subleaf++)
            compare(p, leaf, subleaf);
    for (uint32_t leaf = last + 1; leaf < last + 4; leaf++)
        for (uint32_t subleaf = 0; subleaf < 3; subleaf++)
            compare(p, leaf, subleaf);
}

static void compare_all(void *argument)
{
    static const uint32_t elsewhere[] = {0x3fffffff, 0x40001000, 0x40010000, 0x7fffffff,
                                         0x80860000, 0x8fffffff, 0xbfffffff, 0xc0000000,
                                         0xc0000001, 0xffffffff};
    struct pass *p = argument;
    compare_range(p, 0);
    compare_range(p, 0x40000000U);
    compare_range(p, 0x80000000U);
    for (size_t i = 0; i < sizeof(elsewhere) / sizeof(elsewhere[0]); i++)
        compare(p, elsewhere[i], 0);
    compare(p, 0xb, 0x12345678);
    compare(p, 0xd, UINT32_MAX);
}

static void run_pass(unsigned int vcpu, unsigned int number)
{
    static struct pass p;
    char name[32];
    memset(&p, 0, sizeof(p));
    p.vcpu = vcpu;
    snprintf(name, sizeof(name), "cpuid.vcpu%u.pass%u", vcpu, number);
    int64_t rows = latch_hypercall(HYPERCALL_MODEL_GET, vcpu, (uint64_t)p.row, ROWS_MAX, 0);
    if (!check(rows > 0 && rows <= (int64_t)ROWS_MAX, "model-get", "found %ld rows", (long)rows))
        return;
    p.rows = (unsigned int)rows;
    if (!run_on(vcpu, compare_all, &p))
        broken("vCPU %u did not run the comparison", vcpu);
    check(p.wrong == 0, name,
          "%u of %u answers, first leaf 0x%x subleaf 0x%x: wanted %08x %08x %08x %08x, "
          "found %08x %08x %08x %08x",
          p.wrong, p.answers, p.leaf, p.subleaf, p.wanted.a, p.wanted.b, p.wanted.c, p.wanted.d,
          p.found.a, p.found.b, p.found.c, p.found.d);
    printf("info %s: %u rows, %u answers\n", name, p.rows, p.answers);
}

static void check_follows(const char *name, uint64_t cr4_bit, uint32_t leaf, uint32_t bit)
{
    uint64_t cr4 = read_cr4();
    write_cr4(cr4 | cr4_bit);
    check_equal(name, bit, ask(leaf, 0).c & bit);
    write_cr4(cr4 & ~cr4_bit);
    check_equal(name, 0, ask(leaf, 0).c & bit);
    write_cr4(cr4);
}

/* 0DH.0:EBX is the size for XCR0: 576 bytes, or with AVX those of component 2 behind them. */
static void check_xsave(void)
{
    if (!(ask(1, 0).c >> 26 & 1U)) {
        check_absent("cpuid.xsave-size", "CPUID has no XSAVE");
        return;
    }
    uint64_t cr4 = read_cr4();
    write_cr4(cr4 | CR4_OSXSAVE);
    write_xcr0(3);
    check_equal("cpuid.xsave-size.sse", 576, ask(0xd, 0).b);
    if (ask(0xd, 0).a & 4U) {
        struct regs avx = ask(0xd, 2);
        write_xcr0(7);
        check_equal("cpuid.xsave-size.avx", avx.a + avx.b, ask(0xd, 0).b);
        write_xcr0(3);
    }
    write_xcr0(1);
    write_cr4(cr4);
}

/* The sealed model of the first vCPU as `cpuid -r` would write it, for the suite to give back. */
static void print_model(void)
{
    static struct hypercall_leaf row[ROWS_MAX];
    int64_t rows = latch_hypercall(HYPERCALL_MODEL_GET, 0, (uint64_t)row, ROWS_MAX, 0);
    printf("CPU 0:\n");
    for (int64_t i = 0; i < rows; i++)
        if (row[i].subleaf != SUBLEAF_REST)
            printf("   0x%08x 0x%02x: eax=0x%08x ebx=0x%08x ecx=0x%08x edx=0x%08x\n", row[i].leaf,
                   row[i].subleaf, row[i].eax, row[i].ebx, row[i].ecx, row[i].edx);
}

int main(void)
{
    if (!under_latch()) {
        check_skip("cpuid", "no Latch, so no sealed model");
        return 0;
    }
    if (boot_word("print", NULL))
        print_model();
    unsigned int vcpus = processor_start_all();
    check_equal("cpuid.vcpus", processor_count, vcpus);
    for (unsigned int pass = 1; pass <= 2; pass++)
        for (unsigned int vcpu = 0; vcpu < vcpus; vcpu++)
            run_pass(vcpu, pass);
    if (ask(1, 0).c >> 26 & 1U)
        check_follows("cpuid.osxsave-follows-cr4", CR4_OSXSAVE, 1, LEAF1_OSXSAVE);
    if (ask(7, 0).c & LEAF7_PKU)
        check_follows("cpuid.ospke-follows-cr4", CR4_PKE, 7, LEAF7_OSPKE);
    check_xsave();
    return 0;
}
