/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Latch's walk of the guest's tables against the one that was written from the manuals a second
 * time (tests/reference), over whole small spaces: a path with one entry in each table, of which one
 * or two take every value that matters. What comes out, and what A and D bits are left behind.
 */
#include "mmu/registers.h"
#include "mmu/walk.h"
#include "tests/reference/walk.h"
#include "tests/unit/unit.h"
#include <errno.h>
#include <string.h>

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))
#define LEVELS_MAX   5U
#define GOOD         0x67UL /* present, writable, user, accessed, dirty */

/* The table of level n is page n, and the walk uses its second entry. */
struct memory {
    uint64_t entry[LEVELS_MAX + 1];
    unsigned int size;
};

static uint64_t *place(struct memory *m, uint64_t address)
{
    uint64_t level = address / PAGE_SIZE;

    return level >= 1 && level <= LEVELS_MAX && address % PAGE_SIZE == m->size ? &m->entry[level]
                                                                               : NULL;
}

static int latch_read(void *ctx, gpa_t address, unsigned int size, uint64_t *value)
{
    const uint64_t *entry = place(ctx, address.raw);

    *value = !entry ? 0 : size == 4 ? (uint32_t)*entry : *entry;
    return 0;
}

static int latch_mark(void *ctx, gpa_t address, unsigned int size, uint64_t expected,
                      uint64_t value)
{
    uint64_t *entry = place(ctx, address.raw);

    (void)size;
    (void)expected;
    if (entry)
        *entry = value;
    return 0;
}

static uint64_t their_read(void *ctx, uint64_t address, unsigned int size)
{
    uint64_t value;

    (void)latch_read(ctx, gpa(address), size, &value);
    return value;
}

static bool their_mark(void *ctx, uint64_t address, unsigned int size, uint64_t expected,
                       uint64_t value)
{
    return latch_mark(ctx, gpa(address), size, expected, value) == 0;
}

/* The second entry at each level. */
static uint64_t linear_in(enum paging_mode mode)
{
    uint64_t linear = 0x123;

    for (unsigned int level = 0; level < paging_levels(mode); level++)
        linear |= 1UL << (12U + (mode <= MODE_32BIT_PSE ? 10U : 9U) * level);
    return linear;
}

static const unsigned int accesses[] = {ACCESS_READ,
                                        ACCESS_WRITE,
                                        ACCESS_EXECUTE,
                                        ACCESS_READ | ACCESS_USER,
                                        ACCESS_WRITE | ACCESS_USER,
                                        ACCESS_EXECUTE | ACCESS_USER,
                                        ACCESS_READ | WALK_IMPLICIT,
                                        ACCESS_WRITE | WALK_IMPLICIT};

static const struct paging_props models[] = {
    {.maxphyaddr = 36, .nx = true, .pse36 = true, .pat = true},
    {.maxphyaddr = 52, .nx = true, .gbpages = true, .pat = true, .vendor = PAGING_AMD},
    {.maxphyaddr = 40, .nx = true, .pse36 = true, .gbpages = true},
    {.maxphyaddr = 43, .cbit = 47, .reduction = 5, .pat = true, .vendor = PAGING_AMD},
};

static unsigned long walks, differences, outcomes[3];

static void compare(const struct paging_state *state, const struct memory *memory,
                    unsigned int access)
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
    struct memory ours = *memory, theirs = *memory;
    struct walk_env env = {.ctx = &ours, .read = latch_read, .compare_exchange = latch_mark};
    struct reference_memory their_env = {
        .ctx = &theirs, .read = their_read, .compare_exchange = their_mark};
    uint64_t linear = linear_in(paging_mode(state));
    struct walk_result result;
    struct reference_result wanted;
    bool same;
    int rc;

    memcpy(cpu.pdpte, state->pdpte, sizeof(cpu.pdpte));
    rc = guest_walk(&env, state, gla(linear), access, &result);
    reference_walk(&cpu, &their_env, linear, access, &wanted);
    (void)reference_mark(&their_env, &wanted);
    if (wanted.outcome == REFERENCE_OK)
        same = rc == 0 && result.address.raw == wanted.address &&
               result.page_size == wanted.page_size && result.rights == wanted.rights;
    else
        same = wanted.outcome == REFERENCE_PAGE_FAULT && rc == -EFAULT &&
               result.error_code == wanted.error_code;
    same = same && memcmp(ours.entry, theirs.entry, sizeof(ours.entry)) == 0;
    walks++;
    outcomes[rc == 0 ? 0 : result.error_code & PF_RESERVED ? 1 : 2]++;
    if (!same && differences++ < 10)
        printf("# cr0 %lx cr4 %lx efer %lx access %x entries %lx %lx %lx %lx %lx: %d code %x, "
               "wanted %d code %x\n",
               state->cr0, state->cr4, state->efer, access, memory->entry[5], memory->entry[4],
               memory->entry[3], memory->entry[2], memory->entry[1], rc, result.error_code,
               wanted.outcome, wanted.error_code);
}

static struct paging_state state_in(enum paging_mode mode, const struct paging_props *props)
{
    struct paging_state state = {.cr0 = CR0_PG | CR0_WP, .efer = EFER_NXE, .props = props};

    if (mode == MODE_32BIT_PSE)
        state.cr4 |= CR4_PSE;
    if (mode >= MODE_PAE)
        state.cr4 |= CR4_PAE;
    if (mode >= MODE_4LEVEL)
        state.efer |= EFER_LME | EFER_LMA;
    if (mode == MODE_5LEVEL)
        state.cr4 |= CR4_LA57;
    state.cr3 = paging_levels(mode) * PAGE_SIZE;
    return state;
}

/* A path that allows all; the page is the sixth. */
static struct memory path(enum paging_mode mode)
{
    struct memory memory = {.size = mode <= MODE_32BIT_PSE ? 4 : 8};

    for (unsigned int level = 1; level <= paging_levels(mode); level++)
        memory.entry[level] = (level > 1 ? level - 1UL : 6UL) * PAGE_SIZE | GOOD;
    if (mode == MODE_PAE)
        memory.entry[3] &= ~0x66UL;
    return memory;
}

/* One entry: P, W, U, A, D and the size bit in each combination, with each of the others toggled, or
 * none; NXE both ways. */
static void every_bit_of_one_entry(enum paging_mode mode, unsigned int level,
                                   const struct paging_props *props)
{
    const unsigned int bits = mode <= MODE_32BIT_PSE ? 32 : 64;

    for (unsigned int n = 0; n < 64U * (bits - 5U) * 4U; n++) {
        struct paging_state state = state_in(mode, props);
        struct memory memory = path(mode);
        unsigned int other = n / 256U; /* none, PWT, PCD, bit 8 and so on */

        memory.entry[level] = (memory.entry[level] & ~0xffUL) | (n & 7U) | (n & 0x38U) << 2;
        if (other != 0)
            memory.entry[level] ^= 1UL << (other < 3U ? 2U + other : 5U + other);
        state.efer ^= n & 64U ? EFER_NXE : 0;
        compare(&state, &memory, n & 128U ? ACCESS_WRITE | ACCESS_USER : ACCESS_READ);
    }
}

static void reserved_bits(void)
{
    unsigned long before = differences;

    for (unsigned int m = 0; m < COUNT(models); m++)
        for (unsigned int mode = MODE_32BIT; mode <= MODE_5LEVEL; mode++)
            for (unsigned int level = 1; level <= paging_levels((enum paging_mode)mode); level++)
                every_bit_of_one_entry((enum paging_mode)mode, level, &models[m]);
    CHECK_EQ(differences, before);
    CHECK(outcomes[1] > 100000);
}

/* Numbers for what permission depends on. */
enum {
    NXE_BIT = 1,
    WP_BIT = 2,
    SMEP_BIT = 4,
    SMAP_BIT = 8,
    PKE_BIT = 16,
    PKS_BIT = 32,
    AC_BIT = 64
};

static void set_registers(struct paging_state *state, unsigned int bits, unsigned int rights)
{
    state->efer &= bits & NXE_BIT ? ~0UL : ~EFER_NXE;
    state->cr0 &= bits & WP_BIT ? ~0UL : ~CR0_WP;
    state->cr4 |= (bits & SMEP_BIT ? CR4_SMEP : 0) | (bits & SMAP_BIT ? CR4_SMAP : 0) |
                  (bits & PKE_BIT ? CR4_PKE : 0) | (bits & PKS_BIT ? CR4_PKS : 0);
    state->ac = bits & AC_BIT;
    state->pkru = state->pkrs = rights << 10; /* of key 5 */
}

/* W, U, A, D and XD by five bits. */
static uint64_t entry_bits(unsigned int n)
{
    return (n & 1U ? 2U : 0) | (n & 2U ? 4U : 0) | (n & 4U ? 0x20U : 0) | (n & 8U ? 0x40U : 0) |
           (n & 16U ? 1UL << 63 : 0);
}

/* Two entries, the leaf and one above, in each combination of their rights, under each combination
 * of the registers, for each access. */
static void permissions_in(enum paging_mode mode)
{
    const bool keys = mode >= MODE_4LEVEL, narrow = mode <= MODE_32BIT_PSE;
    const unsigned int shapes = narrow ? 16 : 32;

    for (unsigned int bits = 0; bits < 128U; bits++)
        for (unsigned int n = 0; n < shapes * shapes; n++) {
            struct paging_state state = state_in(mode, &models[n % COUNT(models)]);
            struct memory memory = path(mode);
            unsigned int access = accesses[(n ^ n >> 5U ^ bits) % COUNT(accesses)];

            if ((narrow && (bits & NXE_BIT)) || (!keys && (bits & (PKE_BIT | PKS_BIT))))
                continue;
            set_registers(&state, bits, keys ? 1U + n / 7U % 3U : 0);
            memory.entry[1] = 6 * PAGE_SIZE | 1U | entry_bits(n % shapes) | (keys ? 5UL << 59 : 0);
            memory.entry[2] = 1 * PAGE_SIZE | 1U | entry_bits(n / shapes);
            for (unsigned int i = 0; i < (keys ? 1U : COUNT(accesses)); i++)
                compare(&state, &memory, keys ? access : accesses[i]);
            for (unsigned int i = 0; keys && n % 4U == 0 && i < COUNT(accesses); i++)
                compare(&state, &memory, accesses[i]);
        }
}

static void permissions(void)
{
    unsigned long before = differences;

    for (unsigned int mode = MODE_32BIT; mode <= MODE_5LEVEL; mode++)
        permissions_in((enum paging_mode)mode);
    CHECK_EQ(differences, before);
    CHECK(outcomes[0] > 100000);
    CHECK(outcomes[2] > 100000);
}

int main(void)
{
    RUN(reserved_bits);
    RUN(permissions);
    printf("# %lu walks: %lu mapped, %lu reserved, %lu other faults\n", walks, outcomes[0],
           outcomes[1], outcomes[2]);
    return unit_end();
}
