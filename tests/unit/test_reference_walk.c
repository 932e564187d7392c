/* SPDX-License-Identifier: BSD-2-Clause */
/* The reference walker on cases worked out by hand from the manuals' text. */
#include "tests/reference/nested.h"
#include "tests/reference/walk.h"
#include "tests/unit/unit.h"

#include <string.h>

#define BASE  0x10000UL
#define PAGES 8U
#define PG    (1UL << 31)
#define WP    (1UL << 16)
#define PSE   (1UL << 4)
#define PAE   (1UL << 5)
#define LA57  (1UL << 12)
#define SMEP  (1UL << 20)
#define SMAP  (1UL << 21)
#define PKE   (1UL << 22)
#define PKS   (1UL << 24)
#define LME   (1UL << 8)
#define NXE   (1UL << 11)
#define XD    (1UL << 63)
#define TABLE 0x7UL /* present, writable, user */

static unsigned char memory_bytes[PAGES * 4096];

static uint64_t memory_read(void *ctx, uint64_t address, unsigned int size)
{
    uint64_t value = 0;
    (void)ctx;
    if (address < BASE || address - BASE + size > sizeof(memory_bytes))
        return 0; /* not present, so that a fault of an entry is that entry's own */
    memcpy(&value, &memory_bytes[address - BASE], size);
    return value;
}

static void memory_write(uint64_t address, unsigned int size, uint64_t value)
{
    memcpy(&memory_bytes[address - BASE], &value, size);
}

static bool memory_exchange(void *ctx, uint64_t address, unsigned int size, uint64_t expected,
                            uint64_t value)
{
    if (memory_read(ctx, address, size) != expected)
        return false;
    memory_write(address, size, value);
    return true;
}

static const struct reference_memory memory = {
    .read = memory_read,
    .compare_exchange = memory_exchange,
};

static const struct paging_props intel_40 = {
    .maxphyaddr = 40,
    .vendor = PAGING_INTEL,
    .gbpages = true,
    .nx = true,
    .pse36 = true,
    .pat = true,
    .la57 = true,
};

/* A page of tables for each level, the root first; the last entry as given. */
static struct reference_cpu chain(uint64_t cr4, uint64_t efer, unsigned int tables, uint64_t last)
{
    unsigned int size = cr4 & PAE ? 8 : 4;
    memset(memory_bytes, 0, sizeof(memory_bytes));
    for (unsigned int i = 0; i < tables; i++) {
        bool pdpte = i == 0 && (cr4 & PAE) && !(efer & LME);
        uint64_t next = (BASE + (i + 1) * 4096UL) | (pdpte ? 1 : TABLE);
        memory_write(BASE + i * 4096UL, size, i + 1 == tables ? last : next);
    }
    return (struct reference_cpu){
        .cr0 = PG | WP, .cr3 = BASE, .cr4 = cr4, .efer = efer, .props = intel_40};
}

static struct reference_result walk(const struct reference_cpu *cpu, uint64_t linear,
                                    unsigned int access)
{
    struct reference_result result;
    reference_walk(cpu, &memory, linear, access, &result);
    return result;
}

#define CHECK_FAULT(cpu, access, code)                                                             \
    do {                                                                                           \
        struct reference_result fault_result = walk(cpu, 0, access);                               \
        CHECK_EQ(fault_result.outcome, REFERENCE_PAGE_FAULT);                                      \
        CHECK_EQ(fault_result.error_code, code);                                                   \
    } while (0)

#define CHECK_ADDRESS(cpu, linear, access, wanted, size)                                           \
    do {                                                                                           \
        struct reference_result good_result = walk(cpu, linear, access);                           \
        CHECK_EQ(good_result.outcome, REFERENCE_OK);                                               \
        CHECK_EQ(good_result.address, wanted);                                                     \
        CHECK_EQ(good_result.page_size, size);                                                     \
    } while (0)

static void test_unpaged(void)
{
    struct reference_cpu cpu = {.props = intel_40};
    CHECK_ADDRESS(&cpu, 0x123456789UL, REFERENCE_WRITE, 0x23456789UL, 4096);
}

static void test_addresses(void)
{
    struct reference_cpu cpu = chain(0, 0, 2, 0x12345000UL | TABLE);
    CHECK_ADDRESS(&cpu, 0x678, REFERENCE_READ, 0x12345678UL, 4096);
    cpu = chain(PSE, 0, 1, 0xc0000000UL | 0x21UL << 13 | 0x80 | TABLE);
    CHECK_ADDRESS(&cpu, 0x345678, REFERENCE_READ, 0x21c0345678UL, 4UL << 20);
    cpu = chain(PAE, 0, 2, 0xff40000000UL | 0x80 | TABLE);
    CHECK_ADDRESS(&cpu, 0x145678, REFERENCE_READ, 0xff40145678UL, 2UL << 20);
    cpu = chain(PAE, LME, 2, 0xff40000000UL | 0x80 | TABLE);
    CHECK_ADDRESS(&cpu, 0x12345678, REFERENCE_READ, 0xff52345678UL, 1UL << 30);
    cpu = chain(PAE | LA57, LME, 5, 0xff40000000UL | TABLE);
    CHECK_ADDRESS(&cpu, 0x678, REFERENCE_READ, 0xff40000678UL, 4096);
    CHECK_EQ(walk(&cpu, 1UL << 47, REFERENCE_READ).outcome, REFERENCE_PAGE_FAULT);
    CHECK_EQ(walk(&cpu, 1UL << 56, REFERENCE_READ).outcome, REFERENCE_NON_CANONICAL);
    cpu = chain(PAE, LME, 4, TABLE);
    CHECK_EQ(walk(&cpu, 1UL << 47, REFERENCE_READ).outcome, REFERENCE_NON_CANONICAL);
}

static bool last_entry_is_reserved(uint64_t cr4, uint64_t efer, unsigned int tables, uint64_t last,
                                   const struct paging_props *props)
{
    struct reference_cpu cpu = chain(cr4, efer, tables, last);
    cpu.props = *props;
    struct reference_result result = walk(&cpu, 0, REFERENCE_READ);
    return result.outcome == REFERENCE_PAGE_FAULT && result.error_code == 9;
}

/* The bits of one entry that are reserved, each tried alone; the rest is present. */
static uint64_t reserved(uint64_t cr4, uint64_t efer, unsigned int tables, uint64_t leaf,
                         const struct paging_props *props)
{
    uint64_t mask = 0;
    for (unsigned int i = 1; i < (cr4 & PAE ? 64U : 32U); i++) {
        uint64_t last = leaf | 1UL << i | 1U;
        if (last_entry_is_reserved(cr4, efer, tables, last, props))
            mask |= 1UL << i;
    }
    return mask;
}

static uint64_t bits(unsigned int high, unsigned int low)
{
    return ((2UL << (high - low)) - 1U) << low;
}

static void test_reserved_legacy(void)
{
    struct paging_props props = intel_40;
    CHECK_EQ(reserved(0, 0, 1, 0x80, &props), 0);
    CHECK_EQ(reserved(0, 0, 2, 0, &props), 0);
    CHECK_EQ(reserved(PSE, 0, 2, 0, &props), 0);
    CHECK_EQ(reserved(PSE, 0, 1, 0x80, &props), bits(21, 21));
    props.maxphyaddr = 36;
    CHECK_EQ(reserved(PSE, 0, 1, 0x80, &props), bits(21, 17));
    CHECK_EQ(reserved(PAE, 0, 1, 0, &props), bits(63, 36) | bits(8, 5) | bits(2, 1));
    CHECK_EQ(reserved(PAE, NXE, 2, 0, &props), bits(62, 36));
    CHECK_EQ(reserved(PAE, 0, 2, 0x80, &props), bits(63, 36) | bits(20, 13));
    CHECK_EQ(reserved(PAE, 0, 3, 0, &props), bits(63, 36));
    props.pat = props.pse36 = false;
    CHECK_EQ(reserved(PSE, 0, 1, 0x80, &props), bits(21, 12));
    CHECK_EQ(reserved(PSE, 0, 2, 0, &props), bits(7, 7));
    CHECK_EQ(reserved(PAE, NXE, 3, 0, &props), bits(62, 36) | bits(7, 7));
}

static void test_reserved_long(void)
{
    struct paging_props props = intel_40;
    uint64_t top = bits(51, 40);
    CHECK_EQ(reserved(PAE, LME, 1, 0, &props), bits(63, 63) | top | bits(7, 7));
    CHECK_EQ(reserved(PAE, LME | NXE, 2, 0, &props), top);
    CHECK_EQ(reserved(PAE, LME | NXE, 2, 0x80, &props), top | bits(29, 13));
    CHECK_EQ(reserved(PAE, LME | NXE, 3, 0x80, &props), top | bits(20, 13));
    CHECK_EQ(reserved(PAE, LME | NXE, 4, 0, &props), top);
    props.gbpages = false;
    CHECK_EQ(reserved(PAE, LME | NXE, 2, 0, &props), top | bits(7, 7));
    props.vendor = PAGING_AMD;
    CHECK_EQ(reserved(PAE, LME | NXE, 1, 0, &props), top | bits(8, 7));
    CHECK_EQ(reserved(PAE | LA57, LME | NXE, 1, 0, &props), top | bits(8, 7));
    props.maxphyaddr = 48;
    props.cbit = 47;
    props.reduction = 5;
    CHECK_EQ(reserved(PAE, LME | NXE, 4, 0, &props), bits(51, 43) & ~bits(47, 47));
}

static void test_cbit_is_no_address(void)
{
    struct reference_cpu cpu = chain(PAE, LME, 4, 0x812345000UL | TABLE);
    cpu.props.cbit = 35;
    cpu.cr3 |= 1UL << 35;
    CHECK_ADDRESS(&cpu, 0x678, REFERENCE_READ, 0x12345678UL, 4096);
}

static void test_rights(void)
{
    struct reference_cpu cpu = chain(PAE, LME | NXE, 4, 0x1000 | XD | 1U);
    CHECK_FAULT(&cpu, REFERENCE_WRITE, 0x03);
    CHECK_FAULT(&cpu, REFERENCE_READ | REFERENCE_USER, 0x05);
    CHECK_FAULT(&cpu, REFERENCE_FETCH, 0x11);
    CHECK_FAULT(&cpu, REFERENCE_FETCH | REFERENCE_USER, 0x15);
    cpu.cr0 &= ~WP;
    CHECK_EQ(walk(&cpu, 0, REFERENCE_WRITE).outcome, REFERENCE_OK);
    cpu = chain(PAE | SMEP | SMAP, LME, 4, 0x1000 | TABLE);
    CHECK_FAULT(&cpu, REFERENCE_READ, 0x01);
    CHECK_FAULT(&cpu, REFERENCE_FETCH, 0x11);
    CHECK_FAULT(&cpu, REFERENCE_READ | REFERENCE_USER | REFERENCE_IMPLICIT, 0x01);
    CHECK_EQ(walk(&cpu, 0, REFERENCE_FETCH | REFERENCE_USER).outcome, REFERENCE_OK);
    cpu.ac = true;
    CHECK_EQ(walk(&cpu, 0, REFERENCE_WRITE).outcome, REFERENCE_OK);
    CHECK_FAULT(&cpu, REFERENCE_READ | REFERENCE_IMPLICIT, 0x01);
    cpu = chain(0, 0, 1, 0);
    CHECK_FAULT(&cpu, REFERENCE_FETCH | REFERENCE_USER, 0x04);
}

static void test_keys(void)
{
    struct reference_cpu cpu = chain(PAE | PKE, LME, 4, 2UL << 59 | 0x1000 | TABLE);
    CHECK_EQ(walk(&cpu, 0, REFERENCE_WRITE).outcome, REFERENCE_OK);
    cpu.pkru = 2U << 4;
    CHECK_FAULT(&cpu, REFERENCE_WRITE, 0x23);
    CHECK_EQ(walk(&cpu, 0, REFERENCE_READ).outcome, REFERENCE_OK);
    cpu.cr0 &= ~WP;
    CHECK_FAULT(&cpu, REFERENCE_WRITE | REFERENCE_USER, 0x27);
    CHECK_EQ(walk(&cpu, 0, REFERENCE_WRITE).outcome, REFERENCE_OK);
    cpu.pkru = 1U << 4;
    CHECK_FAULT(&cpu, REFERENCE_READ, 0x21);
    CHECK_EQ(walk(&cpu, 0, REFERENCE_FETCH).outcome, REFERENCE_OK);
}

/* IA32_PKRS.WD does nothing with CR0.WP=0, not even to a user's access: §4.6.2. */
static void test_supervisor_keys(void)
{
    struct reference_cpu cpu = chain(PAE | PKS, LME, 4, 2UL << 59 | 0x1003);
    cpu.pkru = ~0U;
    CHECK_EQ(walk(&cpu, 0, REFERENCE_WRITE).outcome, REFERENCE_OK);
    cpu.pkrs = 2U << 4;
    CHECK_FAULT(&cpu, REFERENCE_WRITE, 0x23);
    CHECK_FAULT(&cpu, REFERENCE_WRITE | REFERENCE_USER, 0x27);
    cpu.cr0 &= ~WP;
    CHECK_EQ(walk(&cpu, 0, REFERENCE_WRITE).outcome, REFERENCE_OK);
    CHECK_FAULT(&cpu, REFERENCE_WRITE | REFERENCE_USER, 0x07);
    cpu.pkrs = 1U << 4;
    CHECK_FAULT(&cpu, REFERENCE_READ, 0x21);
    CHECK_FAULT(&cpu, REFERENCE_READ | REFERENCE_USER, 0x25);
}

static void test_marks(void)
{
    struct reference_cpu cpu = chain(PAE, LME, 4, 0x1000 | TABLE);
    struct reference_result result = walk(&cpu, 0, REFERENCE_WRITE);
    CHECK_EQ(result.entries, 4);
    CHECK_EQ(result.entry[0].set, 0x20);
    CHECK_EQ(result.entry[3].set, 0x60);
    CHECK(reference_mark(&memory, &result));
    CHECK(!reference_mark(&memory, &result));
    CHECK_EQ(memory_read(NULL, BASE + 3 * 4096UL, 8), 0x1000 | TABLE | 0x60);
    result = walk(&cpu, 0, REFERENCE_WRITE);
    for (unsigned int i = 0; i < 4; i++)
        CHECK_EQ(result.entry[i].set, 0);
    cpu = chain(PAE, LME, 4, 0);
    result = walk(&cpu, 0, REFERENCE_READ);
    CHECK_EQ(result.entry[2].set, 0);
    CHECK_EQ(result.entry[2].may, 0x20);
    CHECK_EQ(result.entry[3].may, 0);
}

static void test_roots(void)
{
    struct reference_cpu cpu = chain(PAE, LME, 4, TABLE);
    CHECK(!reference_cr3_faults(&cpu, 0xffffffffffUL));
    CHECK(reference_cr3_faults(&cpu, 1UL << 40));
    CHECK(reference_cr3_faults(&cpu, 1UL << 63));
    cpu.cr4 |= 1UL << 17;
    CHECK(!reference_cr3_faults(&cpu, 1UL << 63));
    cpu.props.cbit = 47;
    CHECK(!reference_cr3_faults(&cpu, 1UL << 47));

    uint64_t pdpte[4] = {1, 0, 0xfff0000000000000UL, 1};
    cpu = chain(PAE, 0, 3, 0x1000 | TABLE);
    CHECK(!reference_pdpte_faults(&cpu, pdpte));
    pdpte[2] |= 1;
    CHECK(reference_pdpte_faults(&cpu, pdpte));
    cpu.props.vendor = PAGING_AMD;
    CHECK(!reference_pdpte_faults(&cpu, pdpte));
    memory_write(BASE, 8, (BASE + 4096) | 1 | 1UL << 40);
    CHECK_FAULT(&cpu, REFERENCE_READ, 0x09);
    cpu.pdpte_held = true;
    cpu.pdpte[0] = (BASE + 4096) | 1;
    CHECK_ADDRESS(&cpu, 0x678, REFERENCE_READ, 0x1678, 4096);
}

/* One host for both formats; the last of so many tables' first entries as given. */
static struct reference_nested_result nested(bool npt, unsigned int tables, uint64_t last,
                                             uint64_t address, unsigned int access)
{
    struct reference_nested host = {
        .root = BASE, .levels = 4, .npt = npt, .nxe = true, .host = intel_40};
    struct reference_nested_result result;
    (void)chain(PAE, LME, tables, last);
    reference_nested_walk(&host, &memory, address, access, &result);
    return result;
}

static void test_nested_addresses(void)
{
    for (unsigned int npt = 0; npt < 2; npt++) {
        struct reference_nested_result r =
            nested(npt, 4, 0x12345000UL | TABLE, 0x678, REFERENCE_WRITE);
        CHECK_EQ(r.outcome, NESTED_MAPPED);
        CHECK_EQ(r.address, 0x12345678UL);
        CHECK_EQ(r.rights, 7U);
        CHECK_EQ(r.type, npt ? 6U : 0U);
        CHECK_EQ(r.entries, 4U);
        r = nested(npt, 2, 0xff40000080UL | TABLE, 0x12345678, REFERENCE_READ);
        CHECK_EQ(r.address, 0xff52345678UL);
        CHECK_EQ(r.page_size, 1UL << 30);
        CHECK_EQ(nested(npt, 4, 0x5000, 0, REFERENCE_READ).outcome, NESTED_ABSENT);
        CHECK_EQ(nested(npt, 4, 0x5005, 0, REFERENCE_WRITE).outcome, NESTED_FORBIDDEN);
        CHECK_EQ(nested(npt, 4, 1UL << 40 | TABLE, 0, REFERENCE_READ).outcome,
                 NESTED_MISCONFIGURED);
        CHECK_EQ(nested(npt, 4, 0x5000 | TABLE, 1UL << 47, REFERENCE_READ).level, 4U);
        CHECK_EQ(nested(npt, 4, 0x5000 | TABLE, 1UL << 48, REFERENCE_READ).outcome, NESTED_ABSENT);
    }
}

/* Where the formats differ. */
static void test_nested_formats(void)
{
    CHECK_EQ(nested(false, 4, 0x5002, 0, REFERENCE_READ).outcome, NESTED_MISCONFIGURED);
    CHECK_EQ(nested(true, 4, 0x5002, 0, REFERENCE_READ).outcome, NESTED_ABSENT);
    CHECK_EQ(nested(false, 4, 0x5003, 0, REFERENCE_FETCH).outcome, NESTED_FORBIDDEN);
    CHECK_EQ(nested(true, 4, 0x5003, 0, REFERENCE_READ).outcome, NESTED_FORBIDDEN); /* no user */
    CHECK_EQ(nested(false, 4, 0x5004, 0, REFERENCE_FETCH).outcome, NESTED_MISCONFIGURED);
    CHECK_EQ(nested(false, 4, 0x5037, 0, REFERENCE_READ).type, 6U);
    CHECK_EQ(nested(false, 4, 0x503f, 0, REFERENCE_READ).outcome, NESTED_MISCONFIGURED);
    CHECK_EQ(nested(true, 4, 0x503f, 0, REFERENCE_READ).type, 0U);
    CHECK_EQ(nested(false, 1, 0x5107, 0, REFERENCE_READ).outcome, NESTED_ABSENT); /* behind it */
    CHECK_EQ(nested(true, 1, 0x5107, 0, REFERENCE_READ).outcome, NESTED_MISCONFIGURED);
    CHECK_EQ(nested(false, 3, 0x2010b7, 0, REFERENCE_READ).outcome, NESTED_MISCONFIGURED);
    CHECK_EQ(nested(true, 3, 0x2010b7, 0, REFERENCE_READ).outcome, NESTED_MAPPED); /* PAT */
}

int main(void)
{
    RUN(test_unpaged);
    RUN(test_addresses);
    RUN(test_reserved_legacy);
    RUN(test_reserved_long);
    RUN(test_cbit_is_no_address);
    RUN(test_rights);
    RUN(test_keys);
    RUN(test_supervisor_keys);
    RUN(test_marks);
    RUN(test_roots);
    RUN(test_nested_addresses);
    RUN(test_nested_formats);
    return unit_end();
}
