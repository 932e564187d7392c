/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Random page tables, in every paging mode: loops, tables that are their own, tables where there is
 * no memory, in a device's, in Latch's, and entries that another vCPU changes during the walk. What
 * is decided by memory must come out as the reference walker says; the rest must be something that
 * a CPU may do, and Latch must survive it.
 *
 * Words: rounds=N (tables in all); crash=ADDRESS (load CR3 with it, at last); walks=latch (Latch
 * reads the tables, and in its own memory nothing; otherwise the CPU does, and gets a #GP there);
 * vendor=, pdptes= (model.c); tcg-faults, bochs-faults, narrow-faults (known.c).
 */
#include "tests/guest/paging/trial.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define DEFAULT_ROUNDS 20000UL
#define BATCH          256U /* rounds under the same registers */
#define PAGES          6U
#define NOWHERE        0x8d540000UL
#define GRAPHICS       0xa0000UL
#define TEXT           0xb8000UL
#define FIRMWARE       0xf0000UL
#define DEVICES_END    0x100000UL

/* All of a large page's neighbours are unused RAM at these addresses; the root is the last. */
#define ARENA 0x0d540000UL
static const uint64_t arena[PAGES] = {
    ARENA,           ARENA + 0x1000UL, ARENA + 0x2000UL, ARENA + 0x3000UL, ARENA + 0x4000UL,
    ARENA + 0x5000UL};
#define ROOT (PAGES - 1U)

/* Where large pages lead with the linear addresses below, besides the arena: unused RAM. */
static const uint64_t landings[] = {0x5000, 0x140000, 0xa05000, (ARENA & ~0x1fffffUL) | 0x5000};

struct mode {
    const char *name;
    bool legacy, wide;
    unsigned int levels;
    uint64_t cr4, linear[2];
};

/* The second linear address of a long mode has the same index at each level. */
static const struct mode modes[] = {
    {"32bit", true, false, 2, 0, {1UL << 30 | ARENA, 1UL << 30 | ARENA}},
    {"32bit-pse", true, false, 2, CR4_PSE, {1UL << 30 | ARENA, 1UL << 30 | ARENA}},
    {"pae", true, true, 3, CR4_PAE, {1UL << 30 | ARENA, 1UL << 30 | ARENA}},
    {"4level", false, true, 4, CR4_PAE, {16UL << 39 | 1UL << 30 | ARENA, 5UL * 0x8040201000UL}},
    {"5level",
     false,
     true,
     5,
     CR4_PAE | CR4_LA57,
     {3UL << 48 | 16UL << 39 | 1UL << 30 | ARENA, 5UL * 0x1008040201000UL}},
};
#define MODES (sizeof(modes) / sizeof(modes[0]))

/* Every index that the linear addresses have at some level; and more, to be as many. */
#define SLOTS 6U
static const uint16_t wide_slots[SLOTS] = {1, 3, 5, 16, 0x6a, 0x140};
static const uint16_t narrow_slots[SLOTS] = {0x135, 0x140, 0x136, 0x141, 0x137, 0x142};

static struct model model;
static struct reference_cpu runtime;
static uint64_t seed = 0x9e3779b97f4a7c15UL, changer_seed = 0xd1b54a32d192ed03UL;
static uint64_t latch_start, latch_end;
static uint64_t first_pdpt[4] __attribute__((aligned(32)));
static uint64_t kernel_pml4[512] __attribute__((aligned(4096)));
static volatile bool stop_changing;
static const struct mode *volatile changed_mode;
static bool latch_walks;
/* Where it holds entries; but TCG's walk never ends where it cannot set an A bit. */
static uint64_t video;
static unsigned long unstable, impossible, refused, tables;

static uint64_t next_random(uint64_t *from)
{
    *from ^= *from >> 12;
    *from ^= *from << 25;
    *from ^= *from >> 27;
    return *from * 0x2545f4914f6cdd1dUL >> 8;
}

static bool one_in(uint64_t *from, unsigned int n)
{
    return next_random(from) % n == 0;
}

/* Where an entry points. `stable`: what a walk finds there is known. */
static uint64_t random_target(const struct mode *mode, uint64_t *from, bool stable)
{
    uint64_t choice = next_random(from) % 20U;
    if (choice < 13)
        return arena[choice % PAGES];
    if (choice < 15)
        return NOWHERE;
    if (choice < 17)
        return mode->wide ? ARENA | 1UL << (32U + next_random(from) % 20U) : NOWHERE;
    if (choice < 19 && latch_end != 0)
        return latch_start + (next_random(from) % (latch_end - latch_start) & ~PAGE_OFFSET_BITS);
    if (choice == 19 && !stable)
        return one_in(from, 2) ? video : FIRMWARE;
    return ARENA;
}

static uint64_t random_entry(const struct mode *mode, uint64_t *from, bool stable)
{
    uint64_t flags = next_random(from) & PAGE_OFFSET_BITS & ~(PAGE_P | PAGE_PS);
    uint64_t target = random_target(mode, from, stable);
    flags |= one_in(from, 16) ? 0 : PAGE_P;
    flags |= one_in(from, 4) ? 0 : PAGE_W | PAGE_U;
    if (one_in(from, 4)) {
        flags |= PAGE_PS;
        target &= one_in(from, 2) ? ~0x1fffffUL : one_in(from, 2) ? ~0x3fffffffUL : ~0UL;
    } else if (one_in(from, 4)) {
        flags &= ~0x1e6UL; /* good for a PDPTE of PAE paging */
    }
    if (!mode->wide)
        return (uint32_t)(target | flags);
    if (one_in(from, 8))
        flags |= PAGE_XD;
    if (one_in(from, 16))
        flags |= 1UL << (40U + next_random(from) % 23U);
    return target | flags;
}

static void write_slot(const struct mode *mode, uint64_t page, unsigned int slot, uint64_t entry)
{
    if (mode->wide)
        ((volatile uint64_t *)at(page))[wide_slots[slot]] = entry;
    else
        ((volatile uint32_t *)at(page))[narrow_slots[slot]] = (uint32_t)entry;
}

/* PAE's third and fourth PDPTEs are not the test's. */
static bool is_kernels(const struct mode *mode, unsigned int page, unsigned int slot)
{
    return page == ROOT && mode->legacy && mode->wide && wide_slots[slot] == 3;
}

static void fill_tables(const struct mode *mode, bool stable)
{
    for (unsigned int page = 0; page < PAGES; page++)
        for (unsigned int slot = 0; slot < SLOTS; slot++)
            if (!is_kernels(mode, page, slot))
                write_slot(mode, arena[page], slot, random_entry(mode, &seed, stable));
    for (unsigned int slot = 0; slot < SLOTS && !stable; slot++)
        write_slot(mode, video, slot, random_entry(mode, &seed, stable));
}

static void lay_kernel(const struct mode *mode)
{
    uint64_t *root = at(arena[ROOT]);
    for (unsigned int page = 0; page < PAGES; page++) {
        memset(at(arena[page]), 0, 4096);
        lay_page(arena[page]);
    }
    for (unsigned int i = 0; i < sizeof(landings) / sizeof(landings[0]); i++)
        lay_page(landings[i]);
    fill_kernel_pml4(kernel_pml4);
    if (mode->levels == 5)
        root[0] = (uint64_t)kernel_pml4 | PAGE_P | PAGE_W | PAGE_U;
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
    uint64_t cr4 = next_random(&seed) & model_cr4(&model) & ~CR4_PKE;
    struct trial t = {
        .mode = mode->name,
        .entry = "random",
        .bit = -1,
        .legacy = mode->legacy,
        .wide = mode->wide,
        .pdptes_held = model.pdptes_held,
        .first_cr3 = mode->wide ? (uint64_t)first_pdpt : arena[ROOT],
        .cpu = runtime,
    };
    t.cpu.props = model.props;
    t.cpu.cr3 = arena[ROOT];
    t.cpu.cr0 = one_in(&seed, 2) ? t.cpu.cr0 | CR0_WP : t.cpu.cr0 & ~CR0_WP;
    t.cpu.cr4 = (t.cpu.cr4 & (mode->legacy ? ~CR4_PAE : ~0UL)) | mode->cr4 | cr4;
    if (model.props.nx && one_in(&seed, 2))
        t.cpu.efer |= EFER_NXE;
    if (mode->legacy)
        t.cpu.efer &= ~(EFER_LME | EFER_LMA);
    return t;
}

/* What a walk reads first of what is neither RAM nor an address without memory. */
enum foreign { NOTHING_FOREIGN, LATCHS, A_DEVICES };

static enum foreign first_foreign(const struct trial *t, unsigned int faults)
{
    struct reference_result walk;
    predict(t, faults, &walk);
    for (unsigned int i = 0; i < walk.entries; i++) {
        uint64_t address = walk.entry[i].address;
        if (is_latch(address) && !latch_walks)
            return LATCHS;
        if (address >= GRAPHICS && address < DEVICES_END)
            return A_DEVICES;
    }
    return NOTHING_FOREIGN;
}

/* So that a known fault can be tried again, the entries are put back as they were. */
static void keep_entries(struct trial *t)
{
    struct reference_result walk;
    predict(t, known_allowed, &walk);
    for (unsigned int i = 0; i < walk.entries; i++)
        if (is_ram(walk.entry[i].address))
            t->slot[t->slots++] = (struct slot){walk.entry[i].address, walk.entry[i].value};
}

static struct outcome make(const struct trial *t)
{
    if (t->legacy)
        return attempt_legacy(&t->cpu, t->first_cr3, t->linear, t->access, 0, NULL);
    invlpg(t->linear);
    return attempt(&t->cpu, t->linear, t->access, 0);
}

/* No fault; a #PF for this access, whatever the entry was; or what bad memory gives. */
static void try_unstable(struct trial *t)
{
    t->access = (t->access & REFERENCE_USER) |
                (t->access & REFERENCE_WRITE ? REFERENCE_WRITE : REFERENCE_READ);
    struct outcome found = make(t);
    uint64_t code = (t->access & REFERENCE_WRITE ? 2U : 0) | (t->access & REFERENCE_USER ? 4U : 0);
    bool fault = found.vector == VECTOR_PF && found.cr2 == t->linear &&
                 (found.error_code & ~(uint64_t)(PF_PRESENT | PF_RESERVED)) == code;
    unstable++;
    if (found.vector == NO_FAULT || fault || found.vector == VECTOR_GP || found.vector == VECTOR_MC)
        return;
    if (impossible++ == 0)
        printf("difference: %s unstable, access %x at %lx: vector %u error %lx cr2 %lx\n", t->mode,
               t->access, t->linear, found.vector, found.error_code, found.cr2);
}

/* Where the CPU's walk comes to Latch's memory it gets a #GP, and nothing of what is there. */
static void try_refused(struct trial *t)
{
    struct outcome found = make(t);
    refused++;
    if ((found.vector == VECTOR_GP && found.error_code == 0) || impossible++ != 0)
        return;
    printf("difference: %s through Latch's memory, access %x at %lx: vector %u error %lx cr2 %lx\n",
           t->mode, t->access, t->linear, found.vector, found.error_code, found.cr2);
}

static void choose_access(struct trial *t, const struct mode *mode)
{
    uint64_t choice = next_random(&seed);
    t->access = REFERENCE_READ << choice % 3U;
    t->access |= choice & 64U ? REFERENCE_USER : 0;
    t->cpu.ac = (choice & 128U) && !(t->access & REFERENCE_FETCH);
    t->linear =
        mode->linear[choice >> 8 & 1U] + (t->access & REFERENCE_FETCH ? CODE_OFFSET : DATA_OFFSET);
}

/* A device's memory as a table may say anything, so that it is only read through. */
static void try_round(struct trial *t, const struct mode *mode, struct tally *tally)
{
    bool stable = !one_in(&seed, 8);
    fill_tables(mode, stable);
    tables++;
    choose_access(t, mode);
    t->slots = 0;
    const enum foreign foreign = first_foreign(t, 0), bent = first_foreign(t, known_allowed);
    if (foreign == LATCHS && bent == LATCHS) {
        try_refused(t);
        return;
    }
    if (foreign != NOTHING_FOREIGN || bent != NOTHING_FOREIGN) {
        t->access = (t->access & REFERENCE_USER) | REFERENCE_READ;
        t->linear = (t->linear & ~PAGE_OFFSET_BITS) | DATA_OFFSET;
        try_unstable(t);
        return;
    }
    keep_entries(t);
    try_trial(t, tally);
}

static void change_for_ever(void *argument)
{
    (void)argument;
    while (!stop_changing) {
        const struct mode *mode = changed_mode;
        unsigned int page = (unsigned int)(next_random(&changer_seed) % PAGES);
        unsigned int slot = (unsigned int)(next_random(&changer_seed) % SLOTS);
        if (!is_kernels(mode, page, slot))
            write_slot(mode, arena[page], slot, random_entry(mode, &changer_seed, true));
    }
}

/* PAE's PDPTEs would make the load of CR3 fault as often as not, where they are loaded with it. */
static void try_changing(struct trial *t, const struct mode *mode, unsigned long rounds)
{
    stop_changing = false;
    changed_mode = mode;
    start_on(1, change_for_ever, NULL);
    for (unsigned long i = 0; i < rounds; i++) {
        choose_access(t, mode);
        t->linear = (t->linear & ~PAGE_OFFSET_BITS) | DATA_OFFSET;
        try_unstable(t);
    }
    stop_changing = true;
    wait_on(1);
}

static void try_mode(const struct mode *mode, unsigned long rounds)
{
    struct tally tally = {.cases = 0};
    char name[32];
    unstable = impossible = refused = 0;
    lay_kernel(mode);
    for (unsigned long i = 0; i < rounds; i += BATCH) {
        struct trial t = begin_trial(mode);
        if (!mode->legacy)
            enter_long(&t.cpu);
        for (unsigned int j = 0; j < BATCH; j++)
            try_round(&t, mode, &tally);
        if (!mode->legacy)
            enter_long(&runtime);
        if (i / BATCH % 256U == 255U)
            printf("info hostile: %s %lu rounds\n", mode->name, i + BATCH);
    }
    struct trial t = begin_trial(mode);
    if (!mode->legacy)
        enter_long(&t.cpu);
    if (processor_count > 1)
        try_changing(&t, mode, rounds / 8U);
    if (!mode->legacy)
        enter_long(&runtime);
    printf("hostile: %s %lu cases %lu differences, %lu skipped, %lu refused, %lu unstable "
           "%lu impossible",
           mode->name, tally.cases, tally.differences, tally.skipped, refused, unstable,
           impossible);
    known_faults_print();
    printf("\n");
    snprintf(name, sizeof(name), "hostile.%s", mode->name);
    check(tally.differences + impossible == 0 && tally.cases > rounds / 4U, name,
          "%lu differences in %lu cases, %lu impossible of %lu", tally.differences, tally.cases,
          impossible, unstable + refused);
}

static void print_forbidden(void)
{
    if (latch_end != 0)
        printf("hostile: %ld accesses to Latch's memory were refused\n",
               latch_hypercall(HYPERCALL_FORBIDDEN, 0, 0, 0, 0));
    printf("hostile: %lu random tables\n", tables);
}

/* The end of this guest: nothing is mapped any more. */
static void crash(const char *value)
{
    uint64_t cr3 = strncmp(value, "latch", 5) == 0 ? latch_start : strtoul(value, NULL, 0);
    printf("hostile: CR3 becomes %lx\n", cr3);
    console_drain();
    write_cr3(cr3);
}

int main(void)
{
    const char *value;
    unsigned long rounds = DEFAULT_ROUNDS;
    if (boot_word("rounds", &value))
        rounds = strtoul(value, NULL, 10);
    attempt_init();
    find_nothing();
    model_read(&model);
    model_print("hostile", &model);
    known_faults_init();
    video = known_allowed & 1U << PDPTE_AS_TABLE ? GRAPHICS : TEXT;
    latch_walks = boot_word("walks", &value) && strncmp(value, "latch", 5) == 0;
    read_registers(&runtime);
    if (under_latch()) {
        latch_start = (uint64_t)latch_hypercall(HYPERCALL_LATCH_RANGE, 0, 0, 0, 0);
        latch_end = (uint64_t)latch_hypercall(HYPERCALL_LATCH_RANGE, 1, 0, 0, 0);
    }
    __asm__ volatile("sti");
    check_equal("hostile.vcpus", processor_count, processor_start_all());
    __asm__ volatile("cli");
    const unsigned long possible = model.props.la57 ? MODES : MODES - 1U;
    for (unsigned int i = 0; i < MODES; i++) {
        if (modes[i].levels == 5 && !model.props.la57)
            check_absent("hostile.5level", "CPUID has no LA57");
        else
            try_mode(&modes[i], rounds / possible);
    }
    print_forbidden();
    if (boot_word("crash", &value))
        crash(value);
    return 0;
}
