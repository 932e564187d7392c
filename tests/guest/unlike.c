/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * All vCPUs, each with a model of its own, over the same page tables: in turns, with entries that
 * change between, and all at once. Each access must come out as that vCPU's own model says, in
 * whatever order the vCPUs made their translations.
 *
 * A round is one access by each vCPU through the same tables. A quarter of them are in turns, but at
 * most 50,000: those are slow, since there the others wait.
 *
 * Words: rounds=N; vendor=, vendorN= (model.c); tcg-faults, bochs-faults, narrow-faults, all with a
 * vCPU's number behind them or not (known.c).
 */
#include "tests/guest/paging/known.h"

#include <stdio.h>
#include <stdlib.h>

#define PROBES         8U
#define LEVELS         4U
#define FIRST_INDEX    16U  /* of the first probe in the PML4 */
#define KINDS          6U   /* of access: read, write and fetch, by supervisors and by users */
#define BATCH          256U /* rounds between two changes, all at once */
#define IN_TURN        32U  /* rounds in which each vCPU has one turn */
#define DEFAULT_ROUNDS 20000UL
#define TURNS_MAX      50000UL
#define SIGNS          100U /* of life in each phase */

typedef uint64_t table[512] __attribute__((aligned(4096)));

/* A way of its own to the one page. */
struct probe {
    table level3, level2, level1;
    volatile unsigned int version; /* counts the changes */
};

struct difference {
    uint64_t linear, entry, found_entry;
    unsigned int access, level;
    struct outcome wanted, found;
};

/* A probe by one kind of access, for as long as no entry changes. */
struct way {
    uint64_t linear;
    unsigned int access;
    struct outcome wanted;
    struct reference_result walk;
    bool unlike; /* another model would have another outcome */
    bool none;   /* no access to be made: a fetch from where no code is */
    bool made;
};

/* What one vCPU keeps. */
struct participant {
    struct model model;
    unsigned int known; /* faults of its kind of paging */
    struct reference_cpu cpu, runtime;
    uint64_t seed;
    unsigned int seen[PROBES]; /* the versions for which it has no stale translation */
    unsigned long accesses, faults, unlike, differences;
    struct difference first;
    struct way ways[PROBES][KINDS];
};

static table root;
static struct probe probes[PROBES];
static uint8_t page[4096] __attribute__((aligned(4096)));
static struct participant participants[PROCESSORS_MAX];
static unsigned int count;
static volatile unsigned long turn, arrived;
static unsigned long rounds, in_turns;
static unsigned long cases, differences, made; /* accesses; of them wrong; rounds */

static uint64_t next_random(uint64_t *seed)
{
    *seed ^= *seed >> 12;
    *seed ^= *seed << 25;
    *seed ^= *seed >> 27;
    return *seed * 0x2545f4914f6cdd1dUL >> 16;
}

static uint64_t linear_of(unsigned int probe)
{
    return (uint64_t)(FIRST_INDEX + probe) << 39 | (uint64_t)page;
}

static uint64_t *entry_of(unsigned int probe, unsigned int level)
{
    struct probe *p = &probes[probe];
    uint64_t linear = linear_of(probe);
    uint64_t *const way[LEVELS] = {p->level1, p->level2, p->level3, root};
    return &way[level - 1][linear >> (12U + 9U * (level - 1U)) & 511U];
}

static void lay_probe(unsigned int probe)
{
    struct probe *p = &probes[probe];
    *entry_of(probe, 1) = (uint64_t)page | PAGE_P | PAGE_W | PAGE_U;
    *entry_of(probe, 2) = (uint64_t)p->level1 | PAGE_P | PAGE_W | PAGE_U;
    *entry_of(probe, 3) = (uint64_t)p->level2 | PAGE_P | PAGE_W | PAGE_U;
    *entry_of(probe, 4) = (uint64_t)p->level3 | PAGE_P | PAGE_W | PAGE_U;
}

/* Another way: a page of any size, and one bit of one entry that may be reserved, or a right. */
static void change_probe(unsigned int probe, uint64_t *seed)
{
    static const uint8_t bits[] = {0, 1, 2, 5, 8, 63};
    lay_probe(probe);
    unsigned int leaf = 1U + (unsigned int)next_random(seed) % 3U;
    if (leaf > 1)
        *entry_of(probe, leaf) = ((uint64_t)page & ~((1UL << (12U + 9U * (leaf - 1U))) - 1U)) |
                                 PAGE_PS | PAGE_P | PAGE_W | PAGE_U;
    uint64_t choice = next_random(seed) % 32;
    unsigned int level = leaf + (unsigned int)next_random(seed) % (LEVELS + 1U - leaf);
    if (choice < 20)
        *entry_of(probe, level) ^= 1UL << (32U + choice);
    else if (choice < 26)
        *entry_of(probe, level) ^= 1UL << bits[choice - 20U];
    else if (choice < 28)
        *entry_of(probe, 4) ^= PAGE_G; /* bit 8, reserved there by AMD's rules */
    probes[probe].version++;
}

static bool may_fetch(const struct outcome *wanted, const struct reference_result *walk)
{
    return wanted->vector != NO_FAULT || walk->address == (uint64_t)page + CODE_OFFSET;
}

static struct outcome expect(const struct participant *of, uint64_t linear, unsigned int access,
                             struct reference_result *walk)
{
    struct reference_cpu cpu = of->cpu;
    known_bend_model(of->known, &cpu);
    struct outcome wanted = expected(&cpu, linear, access, walk);
    known_bend_outcome(of->known, &cpu, linear, access, &wanted, walk);
    return wanted;
}

/* Another model would have another outcome. */
static bool is_unlike(const struct participant *me, const struct way *way)
{
    struct reference_result walk;
    for (unsigned int i = 0; i < count; i++) {
        if (paging_props_equal(&participants[i].cpu.props, &me->cpu.props))
            continue;
        struct outcome other = expect(&participants[i], way->linear, way->access, &walk);
        if (other.vector != way->wanted.vector || other.error_code != way->wanted.error_code)
            return true;
    }
    return false;
}

static void look(const struct participant *me, unsigned int probe, unsigned int kind,
                 struct way *way)
{
    way->access = REFERENCE_READ << kind % 3U | (kind < 3U ? 0 : REFERENCE_USER);
    const bool fetch = way->access & REFERENCE_FETCH;
    way->linear = linear_of(probe) + (fetch ? CODE_OFFSET : DATA_OFFSET);
    way->wanted = expect(me, way->linear, way->access, &way->walk);
    way->unlike = is_unlike(me, way);
    way->none = fetch && !may_fetch(&way->wanted, &way->walk);
    way->made = false;
}

/* What the entries must look like now; while others walk too, they may have marked them. */
static const struct reference_entry *wrong_entry(const struct reference_result *walk, bool alone,
                                                 uint64_t *found)
{
    for (unsigned int i = 0; i < walk->entries; i++) {
        const struct reference_entry *e = &walk->entry[i];
        uint64_t may = e->may | (alone ? 0 : (PAGE_A | PAGE_D) & ~e->set);
        if (!is_ram(e->address))
            continue;
        *found = *(volatile uint64_t *)at(e->address);
        if ((*found & ~may) != ((e->value | e->set) & ~may))
            return e;
    }
    return NULL;
}

static void differs(struct participant *me, const struct way *way, const struct outcome *found,
                    const struct reference_entry *wrong, uint64_t found_entry)
{
    const unsigned int entries = way->walk.entries;
    const struct reference_entry *last = entries ? &way->walk.entry[entries - 1U] : NULL;
    const struct reference_entry *shown = wrong != NULL ? wrong : last;
    if (me->differences++ != 0)
        return;
    me->first = (struct difference){
        .linear = way->linear,
        .access = way->access,
        .wanted = way->wanted,
        .found = *found,
        .level = shown != NULL ? shown->level : 0,
        .entry = shown != NULL ? shown->value : 0,
        .found_entry = found_entry,
    };
}

/* A translation of the entries as they were before is not to be used; one as they are may be. */
static void flush(struct participant *me, unsigned int probe, uint64_t linear, bool anyhow)
{
    if (me->seen[probe] != probes[probe].version || anyhow)
        invlpg(linear);
    me->seen[probe] = probes[probe].version;
}

/* Makes the access. Where the entries are wrong behind it is the caller's to say. */
static struct outcome go(struct participant *me, struct way *way, bool *good)
{
    struct outcome found = attempt(&me->cpu, way->linear, way->access, page_word((uint64_t)page));
    const bool reads = found.vector == NO_FAULT && (way->access & REFERENCE_READ);
    const bool reads_page = reads && way->walk.address == (uint64_t)page + DATA_OFFSET;
    way->made = true;
    me->accesses++;
    me->faults += way->wanted.vector != NO_FAULT;
    me->unlike += way->unlike;
    *good = found.vector == way->wanted.vector && found.error_code == way->wanted.error_code &&
            found.cr2 == way->wanted.cr2 &&
            (!reads || may_read_as(way->walk.address, found.value)) &&
            (!reads_page || found.value == page_word((uint64_t)page));
    return found;
}

/* Its part of a round: the probe is everybody's, the kind of access its own. */
static void take_part_alone(struct participant *me, uint64_t *everybodys)
{
    const unsigned int probe = (unsigned int)next_random(everybodys) % PROBES;
    uint64_t choice, found_entry = 0;
    struct way way;
    bool good;
    do {
        choice = next_random(&me->seed);
        look(me, probe, (unsigned int)(choice % KINDS), &way);
    } while (way.none);
    flush(me, probe, way.linear, (choice & 0x300U) == 0);
    const struct outcome found = go(me, &way, &good);
    const struct reference_entry *wrong = wrong_entry(&way.walk, true, &found_entry);
    if (!good || wrong != NULL)
        differs(me, &way, &found, wrong, found_entry);
}

/* The same while the others take theirs: the entries are looked at behind the last. */
static void take_part_together(struct participant *me, uint64_t *everybodys)
{
    const unsigned int probe = (unsigned int)next_random(everybodys) % PROBES;
    struct way *way;
    uint64_t choice;
    bool good;
    do {
        choice = next_random(&me->seed);
        way = &me->ways[probe][choice % KINDS];
    } while (way->none);
    flush(me, probe, way->linear, (choice & 0x3f00U) == 0);
    const struct outcome found = go(me, way, &good);
    if (!good)
        differs(me, way, &found, NULL, 0);
}

static void look_at_all(struct participant *me)
{
    for (unsigned int probe = 0; probe < PROBES; probe++)
        for (unsigned int kind = 0; kind < KINDS; kind++)
            look(me, probe, kind, &me->ways[probe][kind]);
}

static void check_entries(struct participant *me)
{
    for (unsigned int i = 0; i < PROBES * KINDS; i++) {
        const struct way *way = &me->ways[i / KINDS][i % KINDS];
        uint64_t found_entry = 0;
        const struct reference_entry *wrong =
            way->made ? wrong_entry(&way->walk, false, &found_entry) : NULL;
        if (wrong != NULL)
            differs(me, way, &way->wanted, wrong, found_entry);
    }
}

/* A sign of life, for whoever waits for one. */
static void print_progress(const char *phase, unsigned long done, unsigned long last)
{
    if (done % (last / SIGNS + 1U) == 0)
        printf("info unlike: %s %lu of %lu\n", phase, done, last);
}

/* By HLT: who spins is given as much of an emulator's host as the one whose turn it is. */
static void wait_for_turn(unsigned long wanted)
{
    __asm__ volatile("cli");
    while (turn < wanted)
        __asm__ volatile("sti; hlt; cli");
}

static void pass_turn(unsigned int index)
{
    __atomic_thread_fence(__ATOMIC_SEQ_CST);
    turn = turn + 1;
    for (unsigned int i = 0; i < count; i++)
        if (i != index)
            apic_send(processors[i].apic_id, ICR_FIXED | VECTOR_WAKE);
}

/* Each in turn, in an order that changes; who is first may change an entry. */
static void take_turns(struct participant *me, unsigned int index)
{
    const unsigned long last = (in_turns + IN_TURN - 1U) / IN_TURN;
    uint64_t seed = 1;
    for (unsigned long round = 0; round < last; round++) {
        if (index == 0)
            print_progress("turns", round, last);
        unsigned int place = (unsigned int)((index + round / 3U) % count);
        if (round & 1U)
            place = count - 1U - place;
        wait_for_turn(round * count + place);
        for (unsigned int i = 0; place == 0 && i < PROBES / 2U; i++)
            change_probe((unsigned int)next_random(&me->seed) % PROBES, &me->seed);
        for (unsigned int i = 0; i < IN_TURN; i++)
            take_part_alone(me, &seed);
        pass_turn(index);
    }
}

/* Without PAUSE, at which TCG gives the CPU away for long. */
static void barrier(unsigned long *passed)
{
    *passed += count;
    __atomic_add_fetch(&arrived, 1, __ATOMIC_SEQ_CST);
    while (arrived < *passed)
        continue;
}

static void go_together(struct participant *me, unsigned int index)
{
    const unsigned long last = (rounds - in_turns + BATCH - 1U) / BATCH;
    unsigned long passed = 0;
    uint64_t seed = 2;
    for (unsigned long round = 0; round < last; round++) {
        if (index == 0)
            print_progress("all", round, last);
        for (unsigned int i = 0; index == round % count && i < PROBES; i++)
            change_probe(i, &me->seed);
        barrier(&passed);
        look_at_all(me);
        for (unsigned int i = 0; i < BATCH; i++)
            take_part_together(me, &seed);
        barrier(&passed);
        check_entries(me);
        barrier(&passed);
    }
}

static void begin(void *argument)
{
    unsigned int index = this_processor()->index;
    struct participant *me = &participants[index];
    (void)argument;
    model_read(&me->model);
    me->known = known_faults_of(index);
    read_registers(&me->runtime);
    me->cpu = me->runtime;
    me->cpu.props = me->model.props;
    me->cpu.cr3 = (uint64_t)root;
    me->cpu.cr0 |= CR0_WP;
    me->cpu.efer |= me->model.props.nx ? EFER_NXE : 0;
    me->seed = 0x9e3779b97f4a7c15UL * (index + 1U);
}

static void participate(void *together)
{
    unsigned int index = this_processor()->index;
    struct participant *me = &participants[index];
    enter_long(&me->cpu);
    if (*(bool *)together)
        go_together(me, index);
    else
        take_turns(me, index);
    enter_long(&me->runtime);
}

/* wait_on() gives up after ten seconds; this does not, as a million rounds take longer. */
static void run_all(bool together)
{
    static bool how;
    how = together;
    for (unsigned int i = 1; i < count; i++)
        start_on(i, participate, &how);
    participate(&how);
    for (unsigned int i = 1; i < count; i++)
        while (processors[i].job != NULL)
            cpu_pause();
}

/* And makes the counts those of the next phase. */
static void report(const char *phase)
{
    struct participant sum = {.accesses = 0};
    unsigned long least = participants[0].accesses;
    for (unsigned int i = 0; i < count; i++) {
        struct participant *p = &participants[i];
        const struct difference *d = &p->first;
        if (p->differences != 0)
            printf("difference: %s vcpu %u access %x at %lx: wanted vector %u error %lx, found "
                   "vector %u error %lx cr2 %lx value %x, level %u entry %lx then %lx\n",
                   phase, i, d->access, d->linear, d->wanted.vector, d->wanted.error_code,
                   d->found.vector, d->found.error_code, d->found.cr2, d->found.value, d->level,
                   d->entry, d->found_entry);
        least = p->accesses < least ? p->accesses : least;
        sum.accesses += p->accesses;
        sum.faults += p->faults;
        sum.unlike += p->unlike;
        sum.differences += p->differences;
        p->accesses = p->faults = p->unlike = p->differences = 0;
    }
    cases += sum.accesses;
    differences += sum.differences;
    made += least;
    printf("unlike: %s %lu rounds, %lu cases %lu differences, %lu faults, %lu differ by model\n",
           phase, least, sum.accesses, sum.differences, sum.faults, sum.unlike);
}

int main(void)
{
    const char *value;
    rounds = boot_word("rounds", &value) ? strtoul(value, NULL, 10) : DEFAULT_ROUNDS;
    in_turns = rounds / 4UL < TURNS_MAX ? rounds / 4UL : TURNS_MAX;
    attempt_init();
    find_nothing();
    __asm__ volatile("sti");
    count = processor_start_all();
    check(count > 1, "unlike.vcpus", "only %u", count);
    fill_kernel_pml4(root);
    *(volatile uint32_t *)(page + DATA_OFFSET) = page_word((uint64_t)page);
    *(volatile uint16_t *)(page + CODE_OFFSET) = 0x80cd;
    for (unsigned int i = 0; i < PROBES; i++)
        lay_probe(i);
    for (unsigned int i = 0; i < count; i++) {
        char name[16];
        run_on(i, begin, NULL);
        snprintf(name, sizeof(name), "vcpu %u", i);
        model_print(name, &participants[i].model);
    }
    run_all(false);
    report("turns");
    run_all(true);
    report("all");
    printf("unlike: %lu rounds\n", made);
    printf("unlike: total %lu cases %lu differences\n", cases, differences);
    check(differences == 0 && made >= rounds, "unlike.outcomes",
          "%lu differences in %lu cases, %lu rounds of %lu", differences, cases, made, rounds);
    return 0;
}
