/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Whole trees of guest page tables, walked by Latch's walker and by the reference one: the same
 * outcome of each access, and the same memory afterwards; and of nested tables, nested_trees.h. An
 * input's bytes make the choices from the mode downwards; where they end, numbers that follow from
 * them go on, so that each input is a full tree. The tree is hostile by chance: entries lead to any
 * of a few pages, themselves among them, and outside memory, which reads as ones.
 */
#include "mmu/registers.h"
#include "mmu/reserved.h"
#include "mmu/walk.h"
#include "tests/fuzz/nested_trees.h"
#include "tests/fuzz/trees.h"
#include "tests/reference/walk.h"
#include <errno.h>
#include <stdio.h>

#define PCIDE (1UL << 17)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static bool exchange(struct memory *memory, uint64_t address, unsigned int size, uint64_t expected,
                     uint64_t value)
{
    unsigned char *place = at(memory, address);

    if (load(memory, address, size) != expected)
        return false;
    if (place)
        memcpy(place, &value, size);
    return true;
}

static int latch_read(void *ctx, gpa_t address, unsigned int size, uint64_t *value)
{
    *value = load(ctx, address.raw, size);
    return 0;
}

static int latch_exchange(void *ctx, gpa_t address, unsigned int size, uint64_t expected,
                          uint64_t value)
{
    return exchange(ctx, address.raw, size, expected, value) ? 0 : -EAGAIN;
}

static uint64_t reference_read(void *ctx, uint64_t address, unsigned int size)
{
    return load(ctx, address, size);
}

static bool reference_exchange(void *ctx, uint64_t address, unsigned int size, uint64_t expected,
                               uint64_t value)
{
    return exchange(ctx, address, size, expected, value);
}

static struct reference_cpu reference_cpu(const struct paging_state *state)
{
    struct reference_cpu cpu = {.cr0 = state->cr0,
                                .cr3 = state->cr3,
                                .cr4 = state->cr4,
                                .efer = state->efer,
                                .pkru = state->pkru,
                                .pkrs = state->pkrs,
                                .pdpte_held = state->pdpte_held,
                                .ac = state->ac,
                                .props = *state->props};

    memcpy(cpu.pdpte, state->pdpte, sizeof(cpu.pdpte));
    return cpu;
}

/* One bit in four set, so that most keys let something through. */
static uint32_t key_rights(struct source *from)
{
    uint64_t r = bits64(from);

    return (uint32_t)r & (uint32_t)(r >> 32);
}

/* A value that both agree on loading into CR3. */
static void choose_root(struct source *from, struct paging_state *state, enum paging_mode mode)
{
    struct reference_cpu cpu = reference_cpu(state);
    uint64_t reserved = cr3_reserved_mask(mode, state->props);

    if (mode < MODE_4LEVEL) {
        state->cr3 &= 0xffffffffUL;
        return;
    }
    if (once_in(from, 4))
        state->cr3 ^= 1UL << below(from, 64);
    if (state->cr4 & PCIDE)
        reserved &= ~(1UL << 63);
    if (reference_cr3_faults(&cpu, state->cr3) != ((state->cr3 & reserved) != 0))
        abort();
    state->cr3 &= ~reserved & ~(1UL << 63); /* which is never kept */
}

static struct paging_state choose_state(struct source *from, const struct memory *memory,
                                        enum paging_mode mode, const struct paging_props *props)
{
    static const uint64_t choices[] = {CR4_SMEP, CR4_SMAP, CR4_PKE, CR4_PKS, CR4_LA57, PCIDE};
    struct paging_state state = {.cr0 = once_in(from, 2) ? CR0_WP : 0,
                                 .cr3 = choose_page(from, memory),
                                 .efer = once_in(from, 3) ? 0 : EFER_NXE,
                                 .pkru = key_rights(from),
                                 .pkrs = key_rights(from),
                                 .pdpte_held = once_in(from, 2),
                                 .ac = once_in(from, 2),
                                 .props = props};

    for (unsigned int i = 0; i < sizeof(choices) / sizeof(choices[0]); i++)
        state.cr4 |= once_in(from, 2) ? choices[i] : 0;
    if (mode == MODE_32BIT_PSE || (mode != MODE_32BIT && once_in(from, 2)))
        state.cr4 |= CR4_PSE;
    if (mode >= MODE_PAE)
        state.cr4 |= CR4_PAE;
    if (mode != MODE_OFF)
        state.cr0 |= CR0_PG;
    if (mode >= MODE_4LEVEL) {
        state.efer |= EFER_LME | EFER_LMA;
        state.cr4 &= ~CR4_LA57;
        state.cr4 |= mode == MODE_5LEVEL ? CR4_LA57 : 0;
        state.cr3 |= props->cbit != 0 && once_in(from, 2) ? 1UL << props->cbit : 0;
    }
    state.cr3 |= below(from, 128) << 5;
    choose_root(from, &state, mode);
    return state;
}

/* Mostly present and leading somewhere, now and then with a bit that should not be there. */
static uint64_t choose_entry(struct source *from, const struct memory *memory,
                             enum paging_mode mode, const struct paging_state *state)
{
    bool large = once_in(from, 4);
    uint64_t entry =
        choose_target(from, memory, large, mode <= MODE_32BIT_PSE ? 1UL << 22 : 1UL << 30);

    entry |= (large ? 0x80U : 0) | (once_in(from, 16) ? 0 : 1U);
    entry |= (once_in(from, 4) ? 0 : 2U) | (once_in(from, 4) ? 0 : 4U);
    entry |= (below(from, 256) & 0x78U) | (uint64_t)below(from, 16) << 8;
    if (mode == MODE_32BIT_PSE && large && once_in(from, 2))
        entry |= (uint64_t)below(from, 256) << 13;
    if (mode >= MODE_4LEVEL)
        entry |= (uint64_t)below(from, 16) << 59;
    if (once_in(from, state->efer & EFER_NXE ? 4 : 32))
        entry |= 1UL << 63;
    if (state->props->cbit != 0 && once_in(from, 2))
        entry |= 1UL << state->props->cbit;
    if (once_in(from, 8))
        entry ^= 1UL << below(from, 64);
    return entry;
}

static uint64_t choose_pdpte(struct source *from, const struct memory *memory,
                             const struct paging_state *state)
{
    uint64_t entry = choose_entry(from, memory, MODE_PAE, state);

    return once_in(from, 8) ? entry : entry & 0xffffffffffe19UL;
}

static void build_tree(struct source *from, struct memory *memory, enum paging_mode mode,
                       struct paging_state *state)
{
    unsigned int size = mode <= MODE_32BIT_PSE ? 4 : 8;

    for (unsigned int page = 0; page < PAGES; page++)
        for (unsigned int i = 0; i < 8; i++) {
            uint64_t entry = choose_entry(from, memory, mode, state);
            unsigned int slot = choose_slot(from, (unsigned int)PAGE_SIZE / size);

            memcpy(&memory->page[page][(size_t)slot * size], &entry, size);
        }
    for (unsigned int i = 0; mode == MODE_PAE && i < 4; i++) {
        uint64_t entry = choose_pdpte(from, memory, state);
        unsigned char *place = at(memory, (state->cr3 & 0xffffffe0U) + i * 8UL);

        state->pdpte[i] = choose_pdpte(from, memory, state);
        if (place)
            memcpy(place, &entry, sizeof(entry));
    }
}

static uint64_t choose_linear(struct source *from, enum paging_mode mode)
{
    unsigned int width = mode <= MODE_32BIT_PSE ? 10 : 9;
    uint64_t linear = bits64(from);

    if (once_in(from, 16))
        return linear;
    linear &= PAGE_OFFSET_MASK;
    for (unsigned int level = 0; level < paging_levels(mode); level++)
        linear |= (uint64_t)choose_slot(from, 1U << width) << (PAGE_SHIFT + width * level);
    if (mode == MODE_4LEVEL && linear >> 47 & 1U)
        linear |= 0xffffUL << 48;
    if (mode == MODE_5LEVEL && linear >> 56 & 1U)
        linear |= 0x7fUL << 57;
    return linear;
}

/* What the accesses ended in; a fuzzer that never meets a case would prove nothing of it. */
enum kind { MAPPED, MAPPED_LARGE, NOT_PRESENT, FORBIDDEN, RESERVED, KEY, NON_CANONICAL, KINDS };
static unsigned long trees, met[KINDS];

static void report(void)
{
    fprintf(stderr, "fuzz_mmu: %lu trees without a difference; accesses: %lu mapped, %lu large, ",
            trees, met[MAPPED], met[MAPPED_LARGE]);
    fprintf(stderr, "%lu not present, %lu forbidden, %lu reserved, %lu by key, %lu non-canonical\n",
            met[NOT_PRESENT], met[FORBIDDEN], met[RESERVED], met[KEY], met[NON_CANONICAL]);
    nested_report();
    for (unsigned int kind = 0; kind < KINDS; kind++)
        if (trees >= 100000 && met[kind] < trees / 1000)
            abort();
}

static enum kind kind_of(const struct reference_result *r)
{
    if (r->outcome == REFERENCE_NON_CANONICAL)
        return NON_CANONICAL;
    if (r->outcome == REFERENCE_OK)
        return r->page_size > PAGE_SIZE ? MAPPED_LARGE : MAPPED;
    if (r->error_code & PF_KEY)
        return KEY;
    if (r->error_code & PF_RESERVED)
        return RESERVED;
    return r->error_code & PF_PRESENT ? FORBIDDEN : NOT_PRESENT;
}

static bool same(int rc, const struct walk_result *latch, const struct reference_result *r)
{
    switch (r->outcome) {
    case REFERENCE_OK:
        return rc == 0 && latch->address.raw == r->address && latch->page_size == r->page_size &&
               latch->rights == r->rights && latch->level == r->level;
    case REFERENCE_PAGE_FAULT:
        return rc == -EFAULT && latch->error_code == r->error_code && latch->level == r->level;
    case REFERENCE_NON_CANONICAL:
        break;
    }
    return rc == -EINVAL;
}

/* An entry that leads to itself is read at two levels, and changes under the first one's mark. */
static void reference(const struct paging_state *state, struct memory *memory, uint64_t linear,
                      unsigned int access, struct reference_result *result)
{
    struct reference_cpu cpu = reference_cpu(state);
    struct reference_memory env = {
        .ctx = memory, .read = reference_read, .compare_exchange = reference_exchange};

    do
        reference_walk(&cpu, &env, linear, access, result);
    while (!reference_mark(&env, result));
}

static void compare(const struct paging_state *state, struct memory *ours, struct memory *theirs,
                    uint64_t linear, unsigned int access)
{
    struct walk_env env = {.ctx = ours, .read = latch_read, .compare_exchange = latch_exchange};
    struct walk_result latch;
    struct reference_result result;
    int rc = guest_walk(&env, state, gla(linear), access, &latch);

    reference(state, theirs, linear, access, &result);
    met[kind_of(&result)]++;
    if (same(rc, &latch, &result) && memcmp(ours->page, theirs->page, sizeof(ours->page)) == 0)
        return;
    fprintf(stderr, "fuzz_mmu: cr0 %lx cr3 %lx cr4 %lx efer %lx, linear %lx, access %x\n",
            state->cr0, state->cr3, state->cr4, state->efer, linear, access);
    fprintf(stderr, "Latch: %d, address %lx, size %lx, rights %x, code %x, level %u, entry %lx\n",
            rc, latch.address.raw, latch.page_size, latch.rights, latch.error_code, latch.level,
            latch.entry);
    fprintf(stderr, "reference: %d, address %lx, size %lx, rights %x, code %x, level %u\n",
            result.outcome, result.address, result.page_size, result.rights, result.error_code,
            result.level);
    abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const unsigned int accesses[] = {ACCESS_READ,
                                            ACCESS_WRITE,
                                            ACCESS_EXECUTE,
                                            ACCESS_READ | ACCESS_USER,
                                            ACCESS_WRITE | ACCESS_USER,
                                            ACCESS_EXECUTE | ACCESS_USER,
                                            ACCESS_READ | WALK_IMPLICIT,
                                            ACCESS_WRITE | WALK_IMPLICIT};
    static struct memory ours, theirs;
    struct source from = {.data = data, .left = size, .seed = 0x9e3779b97f4a7c15UL};
    enum paging_mode mode;
    struct paging_props props;
    struct paging_state state;
    uint64_t high;

    if (trees++ == 0)
        atexit(report);
    for (size_t i = 0; i < size; i++)
        from.seed = (from.seed ^ data[i]) * 0x100000001b3UL;
    mode = (enum paging_mode)below(&from, MODE_NPT + 1);
    props = choose_props(&from);
    high = mode <= MODE_32BIT_PSE ? 1UL << 31 : 1UL << (paging_width(&props) - 1U);
    memset(ours.page, 0, sizeof(ours.page));
    for (unsigned int i = 0; i < PAGES; i++)
        ours.base[i] = (i + PAGES) * PAGE_SIZE + (i > 1 && once_in(&from, 2) ? high : 0);
    if (mode >= MODE_EPT) {
        nested_tree(&from, &ours, mode == MODE_NPT, &props);
        return 0;
    }
    state = choose_state(&from, &ours, mode, &props);
    build_tree(&from, &ours, mode, &state);
    theirs = ours;
    for (unsigned int i = 0; i < ACCESSES; i++)
        compare(&state, &ours, &theirs, choose_linear(&from, mode), accesses[below(&from, 8)]);
    return 0;
}
