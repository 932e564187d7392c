/* SPDX-License-Identifier: BSD-2-Clause */
#include "tests/guest/paging/trial.h"

#include <stdio.h>
#include <string.h>

#define PRINTED 20U

static bool print_all;

void trial_init(void)
{
    const char *value;
    print_all = boot_word("print", &value) && strncmp(value, "all", 3) == 0;
}

/* What an attempt should give, what it gave, and the entries that it went through. */
struct comparison {
    struct reference_result walk;
    struct outcome wanted, found;
    uint64_t after[REFERENCE_LEVELS];
    uint64_t pdpte_address, pdpte_after; /* as TCG leaves it, or 0 */
    bool code_is_missing, memory_is_wrong;
};

static void write_entry(const struct trial *t, uint64_t address, uint64_t value)
{
    if (t->wide)
        *(volatile uint64_t *)at(address) = value;
    else
        *(volatile uint32_t *)at(address) = (uint32_t)value;
}

static uint64_t read_entry(const struct trial *t, uint64_t address)
{
    return physical_memory.read(NULL, address, t->wide ? 8 : 4);
}

static void lay(const struct trial *t)
{
    for (unsigned int i = 0; i < t->slots && !t->second; i++)
        if (read_entry(t, t->slot[i].address) != t->slot[i].value)
            write_entry(t, t->slot[i].address, t->slot[i].value);
}

/* A PDPTE as the CPU holds it: what a change wrote in memory only if it also loads them anew. */
static uint64_t held_pdpte(const struct trial *t, uint64_t address)
{
    if (t->change && t->change->pdpte_place == address && t->change->reloads)
        return t->change->pdpte;
    return read_entry(t, address);
}

/* PDPTEs that are loaded with CR3 are checked then: a bad one is that instruction's #GP(0). */
static void expect(const struct trial *t, struct reference_cpu *cpu, struct comparison *c)
{
    bool pae = t->legacy && t->wide;
    cpu->pdpte_held = pae && t->pdptes_held;
    for (unsigned int i = 0; i < 4 && cpu->pdpte_held; i++) {
        cpu->pdpte[i] = held_pdpte(t, cpu->cr3 + 8UL * i);
        if (!reference_pdpte_bad(cpu, cpu->pdpte[i]))
            continue;
        c->wanted = (struct outcome){.vector = VECTOR_GP};
        c->walk = (struct reference_result){.entries = 0};
        return;
    }
    c->wanted = expected(cpu, t->linear, t->access, &c->walk);
}

/* TCG's walk of PAE paging: the bits that it does not check are taken out of the PDPTE. */
static void expect_as_table(const struct trial *t, struct reference_cpu *cpu, struct comparison *c)
{
    unsigned int index = t->linear >> 30 & 3U;
    uint64_t address = cpu->cr3 + 8UL * index;
    uint64_t pdpte = read_entry(t, address);
    cpu->pdpte[index] = pdpte & ~0x1e6UL;
    cpu->pdpte_held = (pdpte & PAGE_P) && !reference_pdpte_bad(cpu, cpu->pdpte[index]);
    c->wanted = expected(cpu, t->linear, t->access, &c->walk);
    if (!cpu->pdpte_held)
        return;
    c->pdpte_address = address;
    c->pdpte_after = pdpte | PAGE_A;
}

static uint64_t old_content(const struct trial *t, struct comparison *c)
{
    c->code_is_missing = false;
    c->memory_is_wrong = false;
    if (c->wanted.vector != NO_FAULT)
        return 0;
    bool ram = is_ram(c->walk.address);
    if (t->access & REFERENCE_FETCH)
        c->code_is_missing = !ram || *(volatile uint16_t *)at(c->walk.address) != 0x80cdU;
    return ram ? *(volatile uint32_t *)at(c->walk.address) : 0;
}

static void check_memory(const struct trial *t, struct comparison *c, uint32_t old, uint32_t value)
{
    if (c->wanted.vector != NO_FAULT || c->found.vector != NO_FAULT)
        return;
    const bool reads = (t->access & REFERENCE_READ) && t->form != FORM_LAR;
    if (reads)
        c->memory_is_wrong = !may_read_as(c->walk.address, c->found.value);
    if (!is_ram(c->walk.address))
        return;
    volatile uint32_t *word = at(c->walk.address);
    if (reads)
        c->memory_is_wrong = c->found.value != old;
    if (t->access & REFERENCE_WRITE) {
        c->memory_is_wrong = *word != attempt_stores(t->form, value);
        *word = old;
    }
}

/* An entry may stand at several levels at once. */
static bool entry_agrees(const struct comparison *c, unsigned int index)
{
    const struct reference_entry *e = &c->walk.entry[index];
    uint64_t set = 0, may = 0;
    for (unsigned int i = 0; i < c->walk.entries; i++)
        if (c->walk.entry[i].address == e->address) {
            set |= c->walk.entry[i].set;
            may |= c->walk.entry[i].may;
        }
    return (c->after[index] & ~(may & ~set)) == (e->value | set);
}

static bool entries_agree(const struct trial *t, const struct comparison *c)
{
    if (c->pdpte_address != 0 && read_entry(t, c->pdpte_address) != c->pdpte_after)
        return false;
    for (unsigned int i = 0; i < c->walk.entries; i++)
        if (is_ram(c->walk.entry[i].address) && !entry_agrees(c, i))
            return false;
    return true;
}

/* Lays the tables and says what should come of it. `faults`: the known ones to expect. Returns
 * what is in memory where the access leads. */
static uint32_t prepare(const struct trial *t, unsigned int faults, struct comparison *c)
{
    struct reference_cpu cpu = t->cpu;
    lay(t);
    known_bend_model(faults, &cpu);
    c->pdpte_address = 0;
    if (t->change && !t->pdptes_held)
        write_entry(t, t->change->pdpte_place, t->change->pdpte);
    if ((faults & 1U << PDPTE_AS_TABLE) && t->legacy && t->wide)
        expect_as_table(t, &cpu, c);
    else
        expect(t, &cpu, c);
    known_bend_outcome(faults, &cpu, t->linear, t->access, &c->wanted, &c->walk);
    if (t->change)
        lay(t);
    return (uint32_t)old_content(t, c);
}

void predict(const struct trial *t, unsigned int faults, struct reference_result *walk)
{
    struct comparison c;
    prepare(t, faults, &c);
    *walk = c.walk;
}

/* CR0 and CR4 after a change: as they were before the load that faults, else as written. */
static bool change_agrees(const struct trial *t, const struct outcome *found)
{
    const struct pdpte_change *change = t->change;
    if (!change)
        return true;
    uint64_t wanted = found->vector == VECTOR_GP ? change->kept : change->value[1];
    return found->cr0 == (change->cr == 0 ? wanted : t->cpu.cr0) &&
           found->cr4 == (change->cr == 4 ? wanted : t->cpu.cr4);
}

static bool agrees(const struct trial *t, unsigned int faults, struct comparison *c)
{
    static uint32_t value = 0x1000;
    uint32_t old = prepare(t, faults, c);
    if (c->code_is_missing)
        return false;
    value++;
    if (t->legacy) {
        c->found = attempt_legacy(&t->cpu, t->first_cr3, t->linear, t->access, value, t->change);
    } else {
        if (!t->second)
            invlpg(t->linear);
        c->found = attempt_by(t->form, &t->cpu, t->linear, t->access, value);
    }
    for (unsigned int i = 0; i < c->walk.entries; i++)
        c->after[i] = read_entry(t, c->walk.entry[i].address);
    check_memory(t, c, old, value);
    return c->found.vector == c->wanted.vector && c->found.error_code == c->wanted.error_code &&
           c->found.cr2 == c->wanted.cr2 && !c->memory_is_wrong && entries_agree(t, c) &&
           change_agrees(t, &c->found);
}

/* The fewest known faults that explain it. */
static bool is_known(const struct trial *t)
{
    struct comparison c;
    for (int count = 1; count < KNOWN; count++)
        for (unsigned int faults = 1; faults <= WALK_FAULTS; faults++) {
            if ((faults & ~known_allowed) || __builtin_popcount(faults) != count ||
                !agrees(t, faults, &c))
                continue;
            known_count(faults);
            return true;
        }
    return false;
}

static void print_outcome(const char *which, const struct outcome *o)
{
    if (o->vector == NO_FAULT)
        printf(" %s no fault", which);
    else
        printf(" %s vector %u error %lx cr2 %lx", which, o->vector, o->error_code, o->cr2);
}

static void print_trial(const char *what, const struct trial *t, const struct comparison *c)
{
    static const char *const forms[] = {"",     " PUSH", " CALL", " STOS", " MOVS",
                                        " SSE", " INS",  " LAR",  " DS"};
    printf("%s: %s %s bit %d, %s%s%s%s%s%s at %lx, cr0 %lx cr3 %lx cr4 %lx efer %lx pkru %x:", what,
           t->mode, t->entry, t->bit, t->second ? "then " : "",
           t->access & REFERENCE_USER ? "user " : "supervisor ",
           t->access & REFERENCE_READ ? "read" : "", t->access & REFERENCE_WRITE ? "write" : "",
           t->access & REFERENCE_FETCH ? "fetch"
           : t->cpu.ac                 ? " (AC)"
                                       : "",
           forms[t->form], t->linear, t->cpu.cr0, t->cpu.cr3, t->cpu.cr4, t->cpu.efer, t->cpu.pkru);
    print_outcome("wanted", &c->wanted);
    print_outcome("found", &c->found);
    if (t->change)
        printf(", PDPTE %lx, cr%u %lx then %lx, found cr0 %lx cr4 %lx", t->change->pdpte,
               t->change->cr, t->change->value[0], t->change->value[1], c->found.cr0, c->found.cr4);
    if (c->memory_is_wrong)
        printf(", other memory than %lx", c->walk.address);
    printf("; entries:");
    for (unsigned int i = 0; i < c->walk.entries; i++) {
        const struct reference_entry *e = &c->walk.entry[i];
        printf(" %u: %lx set %lx may %lx found %lx", e->level, e->value, e->set, e->may,
               c->after[i]);
    }
    printf("\n");
}

void count_cr3_load(const char *mode, uint64_t cr3, const struct outcome *wanted,
                    const struct outcome *found, struct tally *tally)
{
    const bool agreed = wanted->vector == found->vector && wanted->error_code == found->error_code;
    tally->cases++;
    tally->differences += !agreed;
    if (agreed && !print_all)
        return;
    printf("%s: %s load of CR3 %lx:", agreed ? "outcome" : "difference", mode, cr3);
    print_outcome("wanted", wanted);
    print_outcome("found", found);
    printf("\n");
}

/* Nothing may be executed where no code was laid, neither rightly nor by a known fault. */
static bool may_run(const struct trial *t)
{
    struct comparison c;
    if (!(t->access & REFERENCE_FETCH))
        return true;
    prepare(t, 0, &c);
    bool missing = c.code_is_missing;
    prepare(t, known_allowed, &c);
    return !missing && !c.code_is_missing;
}

void try_trial(const struct trial *t, struct tally *tally)
{
    static unsigned int printed;
    struct comparison c;
    if (!may_run(t)) {
        tally->skipped++;
        return;
    }
    tally->cases++;
    bool agreed = agrees(t, 0, &c);
    if (print_all)
        print_trial("outcome", t, &c);
    if (agreed || is_known(t))
        return;
    tally->differences++;
    if (printed++ < PRINTED)
        print_trial("difference", t, &c);
}
