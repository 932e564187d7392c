/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Every bit of every kind of page-table entry, in every paging mode that the model allows: read,
 * write and fetch, as supervisor and user, with WP, SMEP, SMAP and NXE both ways; loads of CR3, and of
 * PDPTEs with CR3, CR0 and CR4. Each outcome is compared with the reference walker's.
 *
 * Words: vendor=intel|amd, pdptes=load|demand (model.c); tcg-faults and the like (known.c);
 * nothing=ones (memory.c); cr0-loads (Bochs' VMX: the CPU loads PDPTEs with each write of CR0, whatever
 * it changes); only=MODE; print=all (each outcome, not the first differences alone);
 * sample=N (of the trials in 32-bit modes one in N, of the others one in N/8+1: up to 32 by turns, so that
 * each bit of each kind of entry meets each way to access).
 */
#include "tests/guest/paging/trial.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MSR_SYSCFG        0xc0010010U
#define SYSCFG_ENCRYPTION (1UL << 23)

/* The page under test, and the tables of levels 1 to 5. Any two differ in three address bits or
 * more, so that no change of one bit leads from one to another or to the same neighbour. */
#define PAGE 0x0d540000UL
static const uint64_t tables[REFERENCE_LEVELS + 1] = {
    PAGE, PAGE | 0x07000, PAGE | 0x19000, PAGE | 0x1e000, PAGE | 0x2a000, PAGE | 0x2d000,
};

struct mode {
    const char *name;
    unsigned int levels;
    bool legacy, wide;
    uint64_t cr4;
    unsigned int large_levels; /* the highest level with leaves */
    uint64_t linear;
};

static const struct mode modes[] = {
    {"32bit", 2, true, false, 0, 1, 1UL << 30 | PAGE},
    {"32bit-pse", 2, true, false, CR4_PSE, 2, 1UL << 30 | PAGE},
    {"pae", 3, true, true, CR4_PAE, 2, 1UL << 30 | PAGE},
    {"4level", 4, false, true, CR4_PAE, 3, 5UL << 39 | 1UL << 30 | PAGE},
    {"5level", 5, false, true, CR4_PAE | CR4_LA57, 3, 3UL << 48 | 5UL << 39 | 1UL << 30 | PAGE},
};

static struct model model;
static struct reference_cpu runtime; /* the registers before and after each mode */
static uint64_t kernel_pml4[512] __attribute__((aligned(4096)));
static uint64_t first_pdpt[4] __attribute__((aligned(32)));
static struct tally total;
/* One trial in so many, where shadow tables make them slow: 32-bit modes most. */
static unsigned int sample_legacy = 1, sample_long = 1;

static unsigned int index_low(const struct mode *mode, unsigned int level)
{
    return 12U + (level - 1U) * (mode->wide ? 9U : 10U);
}

static uint64_t slot_address(const struct mode *mode, unsigned int level)
{
    uint64_t index = mode->linear >> index_low(mode, level) & (mode->wide ? 511U : 1023U);
    if (mode->legacy && mode->wide && level == 3)
        index &= 3U;
    return tables[level] + index * (mode->wide ? 8U : 4U);
}

static uint64_t table_entry(const struct mode *mode, unsigned int level)
{
    if (mode->legacy && mode->wide && level == 3)
        return tables[level - 1] | PAGE_P;
    return tables[level - 1] | PAGE_P | PAGE_W | PAGE_U;
}

static uint64_t leaf_entry(const struct mode *mode, unsigned int level)
{
    uint64_t page = PAGE & ~((1UL << index_low(mode, level)) - 1U);
    return page | (level > 1 ? PAGE_PS : 0) | PAGE_P | PAGE_W | PAGE_U;
}

/* Where an entry that has lost its PS bit leads: nothing may be there. */
static void blank_large_pages(void)
{
    memset(at(PAGE & ~0x1fffffUL), 0, 4096);
    *(volatile uint64_t *)at((PAGE >> 21) * 8U) = 0; /* in the page at 0: a vector of the BIOS */
}

static void lay_tables(const struct mode *mode)
{
    fill_neighbours(tables[0], false);
    for (unsigned int level = 1; level <= REFERENCE_LEVELS; level++)
        fill_neighbours(tables[level], true);
    blank_large_pages();
    uint64_t *root = at(tables[mode->levels]);
    fill_kernel_pml4(kernel_pml4);
    if (mode->levels == 5)
        root[0] = (uint64_t)kernel_pml4 | PAGE_P | PAGE_W | PAGE_U | PAGE_A;
    else if (mode->levels == 4)
        fill_kernel_pml4(root);
    else if (mode->wide)
        fill_kernel_pdpt(root);
    else
        fill_kernel_directory((uint32_t *)root);
    if (mode->legacy && mode->wide)
        memcpy(first_pdpt, root, sizeof(first_pdpt));
}

static struct trial begin_trial(const struct mode *mode)
{
    struct trial t = {
        .mode = mode->name,
        .bit = -1,
        .legacy = mode->legacy,
        .wide = mode->wide,
        .pdptes_held = model.pdptes_held,
        .cpu = runtime,
        .slots = mode->levels,
    };
    t.cpu.props = model.props;
    t.cpu.cr3 = tables[mode->levels];
    t.cpu.cr4 |= mode->cr4;
    t.first_cr3 = mode->wide ? (uint64_t)first_pdpt : t.cpu.cr3;
    if (mode->legacy) {
        t.cpu.efer &= ~(EFER_LME | EFER_LMA);
        t.cpu.cr4 &= ~CR4_PAE | mode->cr4;
    }
    for (unsigned int level = mode->levels; level >= 1; level--)
        t.slot[mode->levels - level] = (struct slot){
            .address = slot_address(mode, level),
            .value = level == 1 ? leaf_entry(mode, 1) : table_entry(mode, level),
        };
    return t;
}

/* There are six ways to access, and with SMAP two more, by AC. */
static unsigned int ways(const struct trial *t)
{
    return t->cpu.cr4 & CR4_SMAP ? 8 : 6;
}

static void choose_access(struct trial *t, const struct mode *mode, unsigned int way)
{
    t->access = way < 6 ? REFERENCE_READ << way % 3U : REFERENCE_READ << way % 2U;
    t->access |= way >= 3 && way < 6 ? REFERENCE_USER : 0;
    t->cpu.ac = way >= 6;
    t->linear = mode->linear + (t->access & REFERENCE_FETCH ? CODE_OFFSET : DATA_OFFSET);
}

/* One in so many, each by its own number: what comes again and again must not be in step with it. */
static bool is_sampled(const struct trial *t)
{
    static uint32_t count;
    const uint32_t spread = ++count * 0x9e3779b1U;
    return (spread >> 8) % (t->legacy ? sample_legacy : sample_long) == 0;
}

/* A kind of entry with one bit changed, or none, and a way to access: how often it came by in this mode,
 * and how often it was tried. */
#define WAYS          8U
#define SAMPLE_OF_ALL 32U
#define UNUSED_PDPTE  0U /* the others by level and leaf, from 2 on */
static struct cell {
    uint16_t met, tried;
} cells[(REFERENCE_LEVELS + 1) * 2 * 65][WAYS];

/* One in so many, and at least one of those that come in the fewest combinations; not where only a few
 * are asked for. */
static bool is_turn(const struct trial *t, unsigned int kind, unsigned int way)
{
    const unsigned int index = kind * 65U + (unsigned int)(t->bit + 1);
    const unsigned int least = kind == UNUSED_PDPTE ? 2U
                               : way >= 6           ? 7U
                                                    : 15U; /* not in step with the variants */
    unsigned int sample = t->legacy ? sample_legacy : sample_long;
    struct cell *cell = &cells[index][way];
    if (sample > least && sample <= SAMPLE_OF_ALL)
        sample = least;
    if ((cell->met++ + index * 7U + way * 3U) % sample != 0)
        return false;
    cell->tried++;
    return true;
}

static void print_cells(const struct mode *mode)
{
    unsigned int met = 0, tried = 0;
    for (unsigned int i = 0; i < sizeof(cells) / sizeof(cells[0]); i++)
        for (unsigned int way = 0; way < WAYS; way++) {
            met += cells[i][way].met != 0;
            tried += cells[i][way].tried != 0;
        }
    printf("info exact: %s: of %u bits of entries by ways to access %u were tried\n", mode->name,
           met, tried);
    memset(cells, 0, sizeof(cells));
}

/* `kind`: of the entry whose bit is changed. */
static void try_accesses(struct trial *t, const struct mode *mode, unsigned int kind,
                         struct tally *tally)
{
    for (unsigned int way = 0; way < ways(t); way++) {
        if (!is_turn(t, kind, way))
            continue;
        choose_access(t, mode, way);
        try_trial(t, tally);
    }
}

/* Other instructions than MOV, of which a hypervisor would have to know what they do. */
static void try_forms(struct trial *t, const struct mode *mode, struct tally *tally)
{
    static const struct {
        enum form form;
        unsigned int access;
    } ways[] = {
        {FORM_PUSH, REFERENCE_WRITE | REFERENCE_USER},
        {FORM_CALL, REFERENCE_WRITE | REFERENCE_USER},
        {FORM_STOS, REFERENCE_WRITE | REFERENCE_USER},
        {FORM_MOVS, REFERENCE_WRITE},
        {FORM_SSE, REFERENCE_WRITE | REFERENCE_USER},
        {FORM_INS, REFERENCE_WRITE},
        {FORM_LAR, REFERENCE_READ | REFERENCE_IMPLICIT},
    };
    t->linear = mode->linear + DATA_OFFSET;
    for (unsigned int i = 0; i < sizeof(ways) / sizeof(ways[0]); i++) {
        if (!is_sampled(t))
            continue;
        t->form = ways[i].form;
        t->access = ways[i].access;
        /* It would not matter to LAR, but does on Bochs. */
        t->cpu.ac = !(t->cpu.cr0 & CR0_WP) && !(t->access & (REFERENCE_USER | REFERENCE_IMPLICIT));
        try_trial(t, tally);
    }
    t->form = FORM_MOV;
}

/* After a load of CR3 Latch is not in a state any more that an access before has brought about. */
static void begin_anew(const struct trial *t)
{
    if (!t->legacy)
        write_cr3(t->cpu.cr3);
}

/* With WP=0 a CPL-3 instruction may lie in the page to which the CPU itself writes for it. */
static void try_descriptor_beside_code(struct trial *t, struct tally *tally)
{
    if ((t->cpu.cr0 & CR0_WP) || (t->cpu.cr4 & CR4_SMAP))
        return;
    *(volatile uint64_t *)at(stub_page() + STUB_DATA) = (uint64_t)DATA_DPL3 << 32 | 0xffffU;
    t->entry = "descriptor beside code";
    t->form = FORM_DS;
    t->access = REFERENCE_WRITE | REFERENCE_IMPLICIT;
    t->linear = STUB_LINEAR_LONG + STUB_DATA + 4;
    begin_anew(t);
    try_trial(t, tally);
    t->form = FORM_MOV;
}

/* Each way to access after each other, with what that left in the TLB and in the entries. */
static void try_pairs(struct trial *t, const struct mode *mode, struct tally *tally)
{
    for (unsigned int first = 0; first < ways(t); first++)
        for (unsigned int second = 0; second < ways(t); second++) {
            if (!is_sampled(t))
                continue;
            t->second = false;
            choose_access(t, mode, first);
            try_trial(t, tally);
            t->second = true;
            choose_access(t, mode, second);
            try_trial(t, tally);
        }
    t->second = false;
}

static void try_entry(struct trial *t, const struct mode *mode, unsigned int level, bool leaf,
                      struct tally *tally)
{
    static char name[16];
    struct slot *slot = &t->slot[mode->levels - level];
    uint64_t usual = slot->value;
    uint64_t entry = leaf ? leaf_entry(mode, level) : table_entry(mode, level);
    t->slots = leaf ? mode->levels - level + 1U : mode->levels;
    snprintf(name, sizeof(name), "level %u %s", level, leaf ? "page" : "table");
    t->entry = name;
    for (unsigned int variant = 0; variant < 2; variant++) {
        if (variant == 1)
            entry &= ~(PAGE_W | PAGE_U);
        for (t->bit = -1; t->bit < (mode->wide ? 64 : 32); t->bit++) {
            slot->value = t->bit < 0 ? entry : entry ^ 1UL << t->bit;
            begin_anew(t);
            try_accesses(t, mode, level * 2U + leaf, tally);
            if (!mode->legacy && t->bit < 3)
                try_pairs(t, mode, tally);
            if (!mode->legacy && (t->bit < 3 || (t->bit >= 30 && (t->cpu.cr0 & CR0_WP))))
                try_forms(t, mode, tally);
        }
    }
    slot->value = usual;
}

static void try_entries(struct trial *t, const struct mode *mode, struct tally *tally)
{
    for (unsigned int level = mode->levels; level >= 1; level--) {
        if (level > 1)
            try_entry(t, mode, level, false, tally);
        if (level <= mode->large_levels)
            try_entry(t, mode, level, true, tally);
    }
}

/* A PDPTE that the access does not use: bad, it matters only where all four are loaded. */
static void try_unused_pdpte(struct trial *t, const struct mode *mode, struct tally *tally)
{
    uint64_t *unused = (uint64_t *)at(tables[3]) + 3;
    t->entry = "unused PDPTE";
    for (t->bit = 0; t->bit < 64; t->bit++) {
        *unused = PAGE_P | 1UL << t->bit;
        try_accesses(t, mode, UNUSED_PDPTE, tally);
        *unused = 1UL << t->bit & ~PAGE_P;
        try_accesses(t, mode, UNUSED_PDPTE, tally);
    }
    *unused = 0;
}

static void write_pkru(uint32_t value)
{
    __asm__ volatile("wrpkru" : : "a"(value), "c"(0), "d"(0));
}

/* Key 1 cannot be accessed, key 2 not be written, key 4 neither, key 8 is free. */
#define PKRU_TESTED (1U << 2 | 2U << 4 | 3U << 8)

static void enter(struct trial *t)
{
    if (t->legacy)
        return;
    enter_long(&t->cpu);
    if (t->cpu.cr4 & CR4_PKE)
        write_pkru(t->cpu.pkru);
}

/* WP, SMEP, SMAP, NXE and, in long mode, protection keys: each on and off, as far as there. */
static void try_combination(const struct mode *mode, unsigned int combination, struct tally *tally)
{
    struct trial t = begin_trial(mode);
    uint64_t cr4 = (combination & 2U ? CR4_SMEP : 0) | (combination & 4U ? CR4_SMAP : 0) |
                   (combination & 16U ? CR4_PKE : 0) | (combination & 1U ? CR4_PGE : 0);
    if ((cr4 & ~CR4_PGE & ~model_cr4(&model)) || (mode->legacy && (cr4 & CR4_PKE)))
        return;
    if ((combination & 8U) && !model.props.nx)
        return;
    t.cpu.cr0 = combination & 1U ? t.cpu.cr0 | CR0_WP : t.cpu.cr0 & ~CR0_WP;
    t.cpu.cr4 |= cr4 & model_cr4(&model);
    t.cpu.efer = combination & 8U ? t.cpu.efer | EFER_NXE : t.cpu.efer & ~EFER_NXE;
    t.cpu.pkru = cr4 & CR4_PKE ? PKRU_TESTED : 0;
    enter(&t);
    try_entries(&t, mode, tally);
    if (!mode->legacy)
        try_descriptor_beside_code(&t, tally);
    if (mode->legacy && mode->wide && combination % 8U == 1)
        try_unused_pdpte(&t, mode, tally);
    if (mode->legacy && mode->wide && (combination == 1 || combination == 11))
        try_pdpte_loads(&t, mode->linear, slot_address(mode, 3), model_cr4(&model), tally);
    if (!mode->legacy)
        enter_long(&runtime);
    printf("info exact: %s cr0 %lx cr4 %lx efer %lx: %lu cases so far\n", mode->name, t.cpu.cr0,
           t.cpu.cr4, t.cpu.efer, tally->cases);
}

static void load_cr3(void *argument)
{
    write_cr3(*(uint64_t *)argument);
}

/* A copy of the root stands wherever a bit that is an address's leads in RAM. Bare, TCG ends at a bad
 * CR3. */
static void try_cr3(const struct mode *mode, struct tally *tally)
{
    struct trial t = begin_trial(mode);
    enter_long(&t.cpu);
    for (unsigned int bit = 3; bit < 64; bit++) {
        uint64_t value = t.cpu.cr3 ^ 1UL << bit;
        bool faults = reference_cr3_faults(&t.cpu, value);
        bool cbit = bit == model.props.cbit;
        bool ends = faults && !under_latch() && (known_allowed & 1U << RESERVED_WITHOUT_PRESENT);
        if (ends || (!faults && !cbit && !is_ram(value & ~PAGE_OFFSET_BITS))) {
            tally->skipped++;
            continue;
        }
        if (!faults && !cbit)
            memcpy(at(value & ~PAGE_OFFSET_BITS), at(t.cpu.cr3), 4096);
        const struct outcome wanted = {.vector = faults ? VECTOR_GP : NO_FAULT};
        struct outcome found = {.error_code = 0};
        found.vector = fault_of(load_cr3, &value, &found.error_code, NULL);
        write_cr3(t.cpu.cr3);
        count_cr3_load(mode->name, value, &wanted, &found, tally);
    }
    enter_long(&runtime);
}

static void try_mode(const struct mode *mode)
{
    struct tally tally = {.cases = 0};
    char name[32];
    lay_tables(mode);
    for (unsigned int combination = 0; combination < 32; combination++)
        try_combination(mode, combination, &tally);
    print_cells(mode);
    if (!mode->legacy)
        try_cr3(mode, &tally);
    printf("exact: %s %lu cases %lu differences, %lu skipped", mode->name, tally.cases,
           tally.differences, tally.skipped);
    known_faults_print();
    printf("\n");
    snprintf(name, sizeof(name), "exact.%s", mode->name);
    check(tally.differences == 0 && tally.cases > 100, name, "%lu differences in %lu cases",
          tally.differences, tally.cases);
    total.cases += tally.cases;
    total.differences += tally.differences;
}

static bool is_wanted(const struct mode *mode)
{
    const char *only;
    if (!boot_word("only", &only))
        return true;
    size_t length = strlen(mode->name);
    return strncmp(only, mode->name, length) == 0 && (only[length] == ' ' || only[length] == '\0');
}

/* A C-bit counts while SYSCFG.MemEncryptionModEn is 1 (APM vol. 2 §7.10.2). */
static void check_syscfg(void)
{
    uint64_t syscfg = 0;
    if (!under_latch() || !vendor_is_amd())
        return;
    int error = rdmsr_safe(MSR_SYSCFG, &syscfg);
    check(error == 0 && (syscfg & SYSCFG_ENCRYPTION ? 1 : 0) == (model.props.cbit != 0),
          "exact.syscfg", "SYSCFG %lx (error %d) with C-bit %u", syscfg, error, model.props.cbit);
}

int main(void)
{
    attempt_init();
    find_nothing();
    model_read(&model);
    model_print("exact", &model);
    check_syscfg();
    known_faults_init();
    trial_init();
    const char *value;
    if (boot_word("sample", &value)) {
        sample_legacy = (unsigned int)strtoul(value, NULL, 10);
        sample_long = sample_legacy / 8U + 1U;
    }
    read_registers(&runtime);
    for (unsigned int i = 0; i < sizeof(modes) / sizeof(modes[0]); i++) {
        if (modes[i].levels == 5 && !model.props.la57)
            check_absent("exact.5level", "CPUID has no LA57");
        else if (is_wanted(&modes[i]))
            try_mode(&modes[i]);
    }
    printf("exact: total %lu cases %lu differences\n", total.cases, total.differences);
    return 0;
}
