/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What must be gone from the TLB is gone: after INVLPG, each type of INVPCID, MOV to CR3 with and
 * without bit 63, and CR4.PGE, PCIDE and SMEP turned off and on (SDM vol. 3 §4.10.4.1); on Intel's
 * CPUs after a #PF there, on AMD's after CR4.PSE and a write of an MTRR (APM vol. 2 §5.5). A translation
 * is used by a vCPU, vCPU 0 changes an entry, the first one flushes and must then use the new entry; what
 * was not flushed may be the old or the new one, and nothing else.
 */
#include "tests/guest/paging/paging.h"

#include <stdio.h>

#define LINEAR            (16UL << 39)
#define CR3_NO_FLUSH      (1UL << 63)
#define MSR_MTRR_DEF_TYPE 0x2ffU
#define CR4_PCIDE         (1UL << 17)
#define OWN_PCID          1UL
#define OTHER_PCID        2UL
#define CPUID_PCID        (1U << 17) /* leaf 1 ECX */
#define CPUID_INVPCID     (1U << 10) /* leaf 7 EBX */
#define CPUID_SMEP        (1U << 7)

enum invpcid { INVPCID_ADDRESS, INVPCID_PCID, INVPCID_ALL, INVPCID_ALL_BUT_GLOBAL };

typedef uint64_t table[512] __attribute__((aligned(4096)));
static table root, level3, level2, level1, other_level1;
static uint32_t old_page[1024] __attribute__((aligned(4096)));
static uint32_t new_page[1024] __attribute__((aligned(4096)));
#define OLD_WORD 0x01d01d01U
#define NEW_WORD 0x4e304e30U

static bool has_pcid, has_invpcid, has_smep;

/* ---- Flushes ---- */

static uint64_t cr3_of(uint64_t pcid)
{
    return (uint64_t)root | (has_pcid ? pcid : 0);
}

static void invpcid(uint64_t type, uint64_t pcid, uint64_t address)
{
    const struct {
        uint64_t pcid, address;
    } descriptor = {pcid, address};
    __asm__ volatile("invpcid %0, %1" : : "m"(descriptor), "r"(type) : "memory");
}

static void by_invlpg(void)
{
    invlpg(LINEAR);
}

static void by_cr3(void)
{
    write_cr3(cr3_of(OWN_PCID));
}

static void by_pge(void)
{
    write_cr4(read_cr4() & ~CR4_PGE);
    write_cr4(read_cr4() | CR4_PGE);
}

/* What is mapped here is supervisors'. */
static void by_smep(void)
{
    write_cr4(read_cr4() | CR4_SMEP);
    write_cr4(read_cr4() & ~CR4_SMEP);
}

static void by_pse(void)
{
    write_cr4(read_cr4() ^ CR4_PSE);
}

/* A user may not read there. */
static void by_page_fault(void)
{
    const struct reference_cpu cpu = {.ac = false};
    const struct outcome found = attempt(&cpu, LINEAR, REFERENCE_READ | REFERENCE_USER, 0);
    check(found.vector == VECTOR_PF && found.cr2 == LINEAR, "tlb.page-fault", "vector %u CR2 %lx",
          found.vector, found.cr2);
}

/* PCIDE can be set only while CR3 has PCID 0. */
static void by_pcide(void)
{
    write_cr3(cr3_of(0) | CR3_NO_FLUSH);
    write_cr4(read_cr4() & ~CR4_PCIDE);
    write_cr4(read_cr4() | CR4_PCIDE);
    write_cr3(cr3_of(OWN_PCID) | CR3_NO_FLUSH);
}

static void by_cr3_from_another(void)
{
    write_cr3(cr3_of(OTHER_PCID) | CR3_NO_FLUSH);
    write_cr3(cr3_of(OWN_PCID));
}

static void by_invpcid_address(void)
{
    invpcid(INVPCID_ADDRESS, OWN_PCID, LINEAR);
}

static void by_invpcid_pcid(void)
{
    invpcid(INVPCID_PCID, OWN_PCID, 0);
}

static void by_invpcid_all(void)
{
    invpcid(INVPCID_ALL, 0, 0);
}

static void by_invpcid_all_but_global(void)
{
    invpcid(INVPCID_ALL_BUT_GLOBAL, 0, 0);
}

static void by_invpcid_address_from_another(void)
{
    write_cr3(cr3_of(OTHER_PCID) | CR3_NO_FLUSH);
    invpcid(INVPCID_ADDRESS, OWN_PCID, LINEAR);
    write_cr3(cr3_of(OWN_PCID) | CR3_NO_FLUSH);
}

static void by_invpcid_pcid_from_another(void)
{
    write_cr3(cr3_of(OTHER_PCID) | CR3_NO_FLUSH);
    invpcid(INVPCID_PCID, OWN_PCID, 0);
    write_cr3(cr3_of(OWN_PCID) | CR3_NO_FLUSH);
}

static void not_at_all(void)
{
    write_cr3(cr3_of(OWN_PCID) | CR3_NO_FLUSH);
}

static void not_of_this_pcid(void)
{
    invpcid(INVPCID_PCID, OTHER_PCID, 0);
    write_cr3(cr3_of(OTHER_PCID));
    write_cr3(cr3_of(OWN_PCID) | CR3_NO_FLUSH);
}

static void by_mtrr(void)
{
    wrmsr(MSR_MTRR_DEF_TYPE, rdmsr(MSR_MTRR_DEF_TYPE));
}

enum drops { DROPS_NOTHING, DROPS_ALL_BUT_GLOBAL, DROPS_ALL };

static const struct flush {
    const char *name;
    void (*make)(void);
    enum drops drops;
    bool pcid, invpcid, smep, intel, amd; /* what it needs; with invpcid PCIDs too */
} flushes[] = {
    {"invlpg", by_invlpg, DROPS_ALL, .pcid = false},
    {"cr3", by_cr3, DROPS_ALL_BUT_GLOBAL, .pcid = false},
    {"pge", by_pge, DROPS_ALL, .pcid = false},
    {"smep", by_smep, DROPS_ALL_BUT_GLOBAL, .smep = true},
    {"page-fault", by_page_fault, DROPS_ALL_BUT_GLOBAL, .intel = true},
    {"pse", by_pse, DROPS_ALL, .amd = true},
    {"mtrr", by_mtrr, DROPS_ALL, .amd = true},
    {"pcide", by_pcide, DROPS_ALL, .pcid = true},
    {"cr3-from-another-pcid", by_cr3_from_another, DROPS_ALL_BUT_GLOBAL, .pcid = true},
    {"cr3-bit-63", not_at_all, DROPS_NOTHING, .pcid = true},
    {"invpcid-address", by_invpcid_address, DROPS_ALL_BUT_GLOBAL, .invpcid = true},
    {"invpcid-pcid", by_invpcid_pcid, DROPS_ALL_BUT_GLOBAL, .invpcid = true},
    {"invpcid-all", by_invpcid_all, DROPS_ALL, .invpcid = true},
    {"invpcid-all-but-global", by_invpcid_all_but_global, DROPS_ALL_BUT_GLOBAL, .invpcid = true},
    {"invpcid-address-from-another-pcid", by_invpcid_address_from_another, DROPS_ALL_BUT_GLOBAL,
     .invpcid = true},
    {"invpcid-pcid-from-another-pcid", by_invpcid_pcid_from_another, DROPS_ALL_BUT_GLOBAL,
     .invpcid = true},
    {"invpcid-of-another-pcid", not_of_this_pcid, DROPS_NOTHING, .invpcid = true},
};

/* ---- Changes, and what shows them ---- */

enum change { REMAPPED, READ_ONLY, ABSENT, OTHER_TABLE, CHANGES };
static const char *const change_names[CHANGES] = {"remapped", "read-only", "absent", "other-table"};

static void lay(bool global)
{
    const uint64_t flags = PAGE_P | PAGE_W | PAGE_A | PAGE_D | (global ? PAGE_G : 0);
    old_page[0] = OLD_WORD;
    new_page[0] = NEW_WORD;
    level1[0] = (uint64_t)old_page | flags;
    other_level1[0] = (uint64_t)new_page | flags;
    level2[0] = (uint64_t)level1 | PAGE_P | PAGE_W | PAGE_A;
    level3[0] = (uint64_t)level2 | PAGE_P | PAGE_W | PAGE_A;
    root[16] = (uint64_t)level3 | PAGE_P | PAGE_W | PAGE_A;
}

static void make_change(enum change change)
{
    volatile uint64_t *leaf = level1, *directory = level2;
    if (change == REMAPPED)
        *leaf = (*leaf & (PAGE_OFFSET_BITS | PAGE_XD)) | (uint64_t)new_page;
    else if (change == READ_ONLY)
        *leaf &= ~PAGE_W;
    else if (change == ABSENT)
        *leaf &= ~PAGE_P;
    else
        *directory = (uint64_t)other_level1 | PAGE_P | PAGE_W | PAGE_A;
}

static void read_word(void *word)
{
    *(uint32_t *)word = *(volatile uint32_t *)at(LINEAR);
}

static void write_word(void *word)
{
    *(volatile uint32_t *)at(LINEAR) = *(uint32_t *)word;
}

/* The translation as it was before the change, or as it is after. */
static bool is_old(enum change change, unsigned int vector, uint32_t word)
{
    return vector == NO_FAULT && (word == OLD_WORD || change == READ_ONLY);
}

static bool is_new(enum change change, unsigned int vector, uint64_t error_code, uint32_t word)
{
    if (change == READ_ONLY)
        return vector == VECTOR_PF && error_code == (PF_PRESENT | PF_WRITE);
    if (change == ABSENT)
        return vector == VECTOR_PF && error_code == 0;
    return vector == NO_FAULT && word == NEW_WORD;
}

/* ---- One case ---- */

struct test {
    const struct flush *flush;
    enum change change;
    unsigned int vector;
    uint64_t error_code;
    uint32_t word;
};

/* To have it cached, for reads and for writes, under a clean TLB. */
static void use(void *argument)
{
    struct test *t = argument;
    uint32_t word = OLD_WORD;
    by_pge();
    t->vector = fault_of(write_word, &word, NULL, NULL);
    if (t->vector == NO_FAULT)
        t->vector = fault_of(read_word, &t->word, NULL, NULL);
}

static void flush_and_use(void *argument)
{
    struct test *t = argument;
    uint32_t word = OLD_WORD;
    t->flush->make();
    if (t->change == READ_ONLY)
        t->vector = fault_of(write_word, &word, &t->error_code, NULL);
    else
        t->vector = fault_of(read_word, &t->word, &t->error_code, NULL);
}

static void try_case(unsigned int vcpu, const struct flush *flush, enum change change, bool global)
{
    struct test t = {.flush = flush, .change = change};
    char name[96];
    lay(global);
    run_on(vcpu, use, &t);
    bool used = t.vector == NO_FAULT && t.word == OLD_WORD;
    make_change(change);
    run_on(vcpu, flush_and_use, &t);
    bool dropped = flush->drops == DROPS_ALL || (flush->drops != DROPS_NOTHING && !global);
    bool right = is_new(change, t.vector, t.error_code, t.word) ||
                 (!dropped && is_old(change, t.vector, t.word));
    snprintf(name, sizeof(name), "tlb.vcpu%u.%s.%s%s", vcpu, flush->name, change_names[change],
             global ? ".global" : "");
    check(used && right, name, "used %d, then vector %u error %lx word %x", used, t.vector,
          t.error_code, t.word);
}

static void begin(void *argument)
{
    (void)argument;
    write_cr4(read_cr4() & ~(CR4_SMEP | CR4_SMAP));
    write_cr3((uint64_t)root);
    write_cr4(read_cr4() | CR4_PGE | (has_pcid ? CR4_PCIDE : 0));
    write_cr3(cr3_of(OWN_PCID));
    write_cr0(read_cr0() | CR0_WP);
}

static void try_vcpu(unsigned int vcpu)
{
    run_on(vcpu, begin, NULL);
    for (unsigned int i = 0; i < sizeof(flushes) / sizeof(flushes[0]); i++) {
        const struct flush *f = &flushes[i];
        if (((f->pcid || f->invpcid) && !has_pcid) || (f->invpcid && !has_invpcid) ||
            (f->smep && !has_smep) || (f->amd && !vendor_is_amd()) || (f->intel && vendor_is_amd()))
            continue;
        for (unsigned int change = 0; change < CHANGES; change++) {
            try_case(vcpu, &flushes[i], change, false);
            try_case(vcpu, &flushes[i], change, true);
        }
    }
}

/* ---- What is refused: SDM vol. 2, INVPCID and MOV to control registers ---- */

static uint64_t bad_type, bad_pcid, bad_address;

static void bad_invpcid(void *argument)
{
    (void)argument;
    invpcid(bad_type, bad_pcid, bad_address);
}

static void check_refused(const char *name, uint64_t type, uint64_t pcid, uint64_t address)
{
    uint64_t error_code = 0;
    bad_type = type;
    bad_pcid = pcid;
    bad_address = address;
    unsigned int vector = fault_of(bad_invpcid, NULL, &error_code, NULL);
    check(vector == VECTOR_GP && error_code == 0, name, "vector %u error %lx", vector, error_code);
}

static void set_pcide(void *argument)
{
    (void)argument;
    write_cr4(read_cr4() | CR4_PCIDE);
}

static void load_cr3_no_flush(void *argument)
{
    (void)argument;
    write_cr3((uint64_t)root | CR3_NO_FLUSH);
}

static void try_refusals(void)
{
    if (has_invpcid) {
        check_refused("tlb.invpcid.type-4", 4, 0, 0);
        check_refused("tlb.invpcid.pcid-of-13-bits", INVPCID_PCID, 0x1000, 0);
        check_refused("tlb.invpcid.address-not-canonical", INVPCID_ADDRESS, 1, 1UL << 60);
    }
    write_cr3((uint64_t)root);
    write_cr4(read_cr4() & ~CR4_PCIDE);
    if (has_invpcid)
        check_refused("tlb.invpcid.pcid-without-pcide", INVPCID_PCID, 1, 0);
    check_equal("tlb.cr3-bit-63-without-pcide", VECTOR_GP,
                fault_of(load_cr3_no_flush, NULL, NULL, NULL));
    write_cr3((uint64_t)root | 0x18U);
    check_equal("tlb.pcide-with-low-bits-of-cr3", VECTOR_GP, fault_of(set_pcide, NULL, NULL, NULL));
    write_cr3((uint64_t)root);
}

int main(void)
{
    uint32_t a, b, c, d;
    cpuid_raw(1, 0, &a, &b, &c, &d);
    has_pcid = c & CPUID_PCID;
    cpuid_raw(7, 0, &a, &b, &c, &d);
    has_invpcid = b & CPUID_INVPCID;
    has_smep = b & CPUID_SMEP;
    attempt_init();
    __asm__ volatile("sti");
    check_equal("tlb.vcpus", processor_count, processor_start_all());
    fill_kernel_pml4(root);
    for (unsigned int i = 0; i < processor_count; i++)
        try_vcpu(i);
    if (has_pcid)
        try_refusals();
    else
        check_absent("tlb.pcid", "CPUID has no PCIDs");
    if (!has_invpcid)
        check_absent("tlb.invpcid", "CPUID has no INVPCID");
    return 0;
}
