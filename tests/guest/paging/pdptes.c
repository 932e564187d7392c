/* SPDX-License-Identifier: BSD-2-Clause */
/* Loads of PAE paging's PDPTEs by other instructions than MOV to CR3. */
#include "tests/guest/paging/trial.h"

#define CR4_TSD  (1UL << 2)
#define NO_FLUSH false
#define FLUSH    true

static const struct {
    const char *name;
    uint64_t bit, with; /* the bit that changes, and one that has to be set then */
    unsigned int cr;
    bool loads, flushes;
} changes[] = {
    {"CR0.PG", CR0_PG, 0, 0, true, FLUSH},         {"CR0.CD", CR0_CD, 0, 0, true, NO_FLUSH},
    {"CR0.NW", CR0_NW, CR0_CD, 0, true, NO_FLUSH}, {"CR0.WP", CR0_WP, 0, 0, false, NO_FLUSH},
    {"CR0.MP", CR0_MP, 0, 0, false, NO_FLUSH},     {"CR4.PGE", CR4_PGE, 0, 4, true, FLUSH},
    {"CR4.PSE", CR4_PSE, 0, 4, true, NO_FLUSH},    {"CR4.SMEP", CR4_SMEP, 0, 4, true, NO_FLUSH},
    {"CR4.TSD", CR4_TSD, 0, 4, false, NO_FLUSH},
};

/* Of bits 2:1 and 8:5 TCG knows nothing; bit 9 is ignored by all. */
static const uint64_t flipped[] = {
    PAGE_P, PAGE_W, PAGE_A, 1UL << 9, 1UL << 51, 1UL << 63,
};

/* Both ways: the registers begin with the bit as it is, and with the other. The trial's first entry is
 * the good PDPTE. */
static void try_change(struct trial *t, unsigned int which, uint64_t place, struct tally *tally)
{
    struct pdpte_change change = {.pdpte_place = place, .cr = changes[which].cr};
    uint64_t good = t->slot[0].value;
    uint64_t *cr = change.cr == 4 ? &t->cpu.cr4 : &t->cpu.cr0;
    uint64_t before = *cr, bit = changes[which].bit;
    t->entry = changes[which].name;
    t->change = &change;
    for (unsigned int way = 0; way < (bit == CR0_PG ? 1 : 2); way++) {
        *cr = (before | changes[which].with) ^ (way ? bit : 0);
        change.kept = bit == CR0_PG ? *cr ^ bit : *cr;
        change.value[0] = *cr ^ bit;
        change.value[1] = bit == CR0_PG ? *cr : *cr ^ bit;
        change.reloads = changes[which].loads || (change.cr == 0 && boot_word("cr0-loads", NULL));
        change.invalidate = !changes[which].flushes;
        for (unsigned int i = 0; i < sizeof(flipped) / sizeof(flipped[0]); i++) {
            change.pdpte = good ^ flipped[i];
            t->bit = __builtin_ctzl(flipped[i]);
            try_trial(t, tally);
        }
    }
    *cr = before;
    t->change = NULL;
    t->bit = -1;
}

void try_pdpte_loads(struct trial *t, uint64_t linear, uint64_t place, uint64_t cr4,
                     struct tally *tally)
{
    const uint64_t always = CR4_PSE | CR4_TSD;
    t->access = REFERENCE_READ;
    t->cpu.ac = false;
    t->linear = linear + DATA_OFFSET;
    for (unsigned int i = 0; i < sizeof(changes) / sizeof(changes[0]); i++)
        if (changes[i].cr == 0 || (changes[i].bit & (cr4 | always)))
            try_change(t, i, place, tally);
}
