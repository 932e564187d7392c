/* SPDX-License-Identifier: BSD-2-Clause */
#include "tests/reference/walk.h"
#include "tests/reference/formats.h"

#include <stddef.h>

/* Bit numbers of the control registers. */
#define CR0_WP_BIT    16U
#define CR0_PG_BIT    31U
#define CR4_PSE_BIT   4U
#define CR4_PAE_BIT   5U
#define CR4_LA57_BIT  12U
#define CR4_PCIDE_BIT 17U
#define CR4_SMEP_BIT  20U
#define CR4_SMAP_BIT  21U
#define CR4_PKE_BIT   22U
#define CR4_PKS_BIT   24U
#define EFER_LME_BIT  8U
#define EFER_NXE_BIT  11U

/* #PF error code, SDM vol. 3 §4.7. */
#define CODE_P    0x01U
#define CODE_W    0x02U
#define CODE_U    0x04U
#define CODE_RSVD 0x08U
#define CODE_ID   0x10U
#define CODE_PK   0x20U

enum mode { UNPAGED, PAGED_32, PAGED_PAE, PAGED_LONG4, PAGED_LONG5 };

/* An entry, read by its format. */
struct decoded {
    bool present, writable, user, accessed, dirty, execute_disable, bad;
    uint64_t address;
    unsigned int key;
};

struct walk {
    const struct reference_cpu *cpu;
    const struct reference_memory *memory;
    struct reference_result *result;
    enum mode mode;
    uint64_t linear, table;
    bool writable, user, executable; /* what the entries so far leave */
    struct decoded last;
};

static bool bit(uint64_t value, unsigned int number)
{
    return value >> number & 1U;
}

static uint64_t span(unsigned int high, unsigned int low)
{
    return (UINT64_MAX >> (63U - high)) & (UINT64_MAX << low);
}

unsigned int reference_width(const struct paging_props *props)
{
    int width = props->maxphyaddr;
    if (props->cbit != 0)
        width -= props->reduction;
    return width < 32 ? 32U : width > 52 ? 52U : (unsigned int)width;
}

static enum mode mode_of(const struct reference_cpu *cpu)
{
    if (!bit(cpu->cr0, CR0_PG_BIT))
        return UNPAGED;
    if (!bit(cpu->cr4, CR4_PAE_BIT))
        return PAGED_32;
    if (!bit(cpu->efer, EFER_LME_BIT))
        return PAGED_PAE;
    return bit(cpu->cr4, CR4_LA57_BIT) ? PAGED_LONG5 : PAGED_LONG4;
}

/* §4.3: 32-bit paging has reserved bits only if CR4.PSE=1. §4.5: where there is long mode there is
 * the PAT. */
static bool pat_is_reserved(const struct walk *w)
{
    if (w->cpu->props.pat || w->mode >= PAGED_LONG4)
        return false;
    return w->mode == PAGED_PAE || bit(w->cpu->cr4, CR4_PSE_BIT);
}

static void decode_address(const struct reference_cpu *cpu, uint64_t value, struct field field,
                           struct decoded *to)
{
    unsigned int width = reference_width(&cpu->props);
    uint64_t bits = value & span(field.high, field.low);
    if (cpu->props.cbit != 0)
        bits &= ~span(cpu->props.cbit, cpu->props.cbit);
    if (bits & ~span(width - 1U, 0))
        to->bad = true;
    to->address |= bits;
}

/* Bit 13 is address bit 32, up to 20 for 39; those that the CPU does not have are reserved. */
static void decode_pse36(const struct reference_cpu *cpu, uint64_t value, struct decoded *to)
{
    unsigned int width = reference_width(&cpu->props);
    unsigned int has = !cpu->props.pse36 ? 32U : width > 40U ? 40U : width;
    for (unsigned int number = 13; number <= 21; number++) {
        if (!bit(value, number))
            continue;
        if (number + 19U >= has)
            to->bad = true;
        to->address |= 1UL << (number + 19U);
    }
}

static void decode_field(const struct walk *w, uint64_t value, struct field field,
                         struct decoded *to)
{
    const struct reference_cpu *cpu = w->cpu;
    bool set = value & span(field.high, field.low);
    switch ((enum meaning)field.meaning) {
    case PRESENT:
        to->present = set;
        break;
    case WRITABLE:
        to->writable = set;
        break;
    case USER:
        to->user = set;
        break;
    case ACCESSED:
        to->accessed = set;
        break;
    case DIRTY:
        to->dirty = set;
        break;
    case RESERVED:
        to->bad |= set;
        break;
    case RESERVED_BY_AMD:
        to->bad |= set && cpu->props.vendor == PAGING_AMD;
        break;
    case PAT:
        to->bad |= set && pat_is_reserved(w);
        break;
    case ADDRESS:
        decode_address(cpu, value, field, to);
        break;
    case PSE36:
        decode_pse36(cpu, value, to);
        break;
    case KEY:
        to->key = (unsigned int)(value >> field.low) & 15U;
        break;
    case EXECUTE_DISABLE:
        to->execute_disable = set;
        to->bad |= set && !bit(cpu->efer, EFER_NXE_BIT);
        break;
    case END:
    case CACHING:
    case IGNORED:
    case PAGE_SIZE_BIT:
    case READABLE:
    case EXECUTABLE:
    case MEMORY_TYPE:
        break;
    }
}

static struct decoded decode(const struct walk *w, enum format format, uint64_t value)
{
    struct decoded to = {.present = false};
    for (const struct field *field = reference_format[format]; field->meaning != END; field++)
        decode_field(w, value, *field, &to);
    return to;
}

/* One level of a mode: its entries' format, and the one for PS=1. */
struct step {
    uint8_t level;
    uint8_t index_low, index_bits; /* of the linear address */
    uint8_t table, leaf;           /* enum format; the last level has leaves only */
};

static const struct step steps_32[] = {
    {2, 22, 10, FORMAT_32_PDE, FORMAT_32_PDE_4M},
    {1, 12, 10, FORMATS, FORMAT_32_PTE},
};
static const struct step steps_pae[] = {
    {3, 30, 2, FORMAT_PAE_PDPTE, FORMATS},
    {2, 21, 9, FORMAT_PAE_PDE, FORMAT_PAE_PDE_2M},
    {1, 12, 9, FORMATS, FORMAT_PAE_PTE},
};
static const struct step steps_long[] = {
    {5, 48, 9, FORMAT_LONG_PML, FORMATS},
    {4, 39, 9, FORMAT_LONG_PML, FORMATS},
    {3, 30, 9, FORMAT_LONG_PDPTE, FORMAT_LONG_PDPTE_1G},
    {2, 21, 9, FORMAT_LONG_PDE, FORMAT_LONG_PDE_2M},
    {1, 12, 9, FORMATS, FORMAT_LONG_PTE},
};

static uint32_t access_code(const struct walk *w, unsigned int access)
{
    const struct reference_cpu *cpu = w->cpu;
    uint32_t code = 0;
    if (access & REFERENCE_WRITE)
        code |= CODE_W;
    if ((access & REFERENCE_USER) && !(access & REFERENCE_IMPLICIT))
        code |= CODE_U;
    if ((access & REFERENCE_FETCH) &&
        (bit(cpu->cr4, CR4_SMEP_BIT) ||
         (bit(cpu->cr4, CR4_PAE_BIT) && bit(cpu->efer, EFER_NXE_BIT))))
        code |= CODE_ID;
    return code;
}

/* A fault with an entry: the tables above it may have been marked already. */
static void fault(struct walk *w, unsigned int access, uint32_t why)
{
    struct reference_result *r = w->result;
    r->outcome = REFERENCE_PAGE_FAULT;
    r->error_code = access_code(w, access) | why;
    for (unsigned int i = 0; i < r->entries; i++) {
        if (r->entry[i].level > r->level)
            r->entry[i].may = r->entry[i].set;
        r->entry[i].set = 0;
    }
}

static bool is_leaf(const struct walk *w, const struct step *step, uint64_t value)
{
    if (step->table == FORMATS)
        return true;
    if (step->leaf == FORMATS || !bit(value, 7))
        return false;
    return w->mode != PAGED_32 || bit(w->cpu->cr4, CR4_PSE_BIT);
}

static uint64_t read_entry(struct walk *w, const struct step *step, uint64_t index)
{
    struct reference_result *r = w->result;
    r->level = step->level;
    if (w->mode == PAGED_PAE && step->level == 3 && w->cpu->pdpte_held)
        return w->cpu->pdpte[index];
    unsigned int size = w->mode == PAGED_32 ? 4 : 8;
    struct reference_entry *entry = &r->entry[r->entries++];
    *entry = (struct reference_entry){
        .address = w->table + index * size,
        .level = step->level,
        .size = (uint8_t)size,
    };
    entry->value = w->memory->read(w->memory->ctx, entry->address, size);
    return entry->value;
}

/* PDPTEs of PAE paging have neither rights nor an A bit. */
static void narrow(struct walk *w, const struct step *step)
{
    if (w->mode == PAGED_PAE && step->level == 3)
        return;
    w->writable &= w->last.writable;
    w->user &= w->last.user;
    w->executable &= !w->last.execute_disable;
    struct reference_entry *entry = &w->result->entry[w->result->entries - 1U];
    entry->set = w->last.accessed ? 0 : 1U << 5;
}

/* Down to the leaf: w->last. False: faulted. */
static bool descend(struct walk *w, const struct step *step, unsigned int access, unsigned int *low)
{
    for (;; step++) {
        uint64_t index = w->linear >> step->index_low & span(step->index_bits - 1U, 0);
        uint64_t value = read_entry(w, step, index);
        bool leaf = is_leaf(w, step, value);
        w->last = decode(w, (enum format)(leaf ? step->leaf : step->table), value);
        if (leaf && step->level == 3 && !w->cpu->props.gbpages)
            w->last.bad = true;
        if (!w->last.present || w->last.bad) {
            /* Not present: nothing else of the entry counts. */
            fault(w, access, w->last.present ? CODE_P | CODE_RSVD : 0);
            return false;
        }
        narrow(w, step);
        if (leaf) {
            *low = step->index_low;
            return true;
        }
        w->table = w->last.address;
    }
}

/* §4.6.1: by the rights of the entries. */
static bool rights_allow(const struct walk *w, unsigned int access)
{
    const struct reference_cpu *cpu = w->cpu;
    bool implicit = access & REFERENCE_IMPLICIT;
    if ((access & REFERENCE_USER) && !implicit) {
        if (!w->user)
            return false;
        if (access & REFERENCE_WRITE)
            return w->writable;
        return !(access & REFERENCE_FETCH) || w->executable;
    }
    if (access & REFERENCE_FETCH)
        return w->executable && !(w->user && bit(cpu->cr4, CR4_SMEP_BIT));
    if (w->user && bit(cpu->cr4, CR4_SMAP_BIT) && (implicit || !cpu->ac))
        return false;
    return !(access & REFERENCE_WRITE) || w->writable || !bit(cpu->cr0, CR0_WP_BIT);
}

/* §4.6.2: by the protection key of the leaf. Fetches have no keys. */
static bool key_allows(const struct walk *w, unsigned int access)
{
    const struct reference_cpu *cpu = w->cpu;
    if (w->mode < PAGED_LONG4 || (access & REFERENCE_FETCH))
        return true;
    if (!bit(cpu->cr4, w->user ? CR4_PKE_BIT : CR4_PKS_BIT))
        return true;
    uint32_t rights = (w->user ? cpu->pkru : cpu->pkrs) >> (2U * w->last.key);
    if (bit(rights, 0))
        return false;
    if (!(access & REFERENCE_WRITE) || !bit(rights, 1))
        return true;
    /* Of a supervisor page WP alone decides, whoever writes. */
    bool as_user = w->user && (access & REFERENCE_USER) && !(access & REFERENCE_IMPLICIT);
    return !as_user && !bit(cpu->cr0, CR0_WP_BIT);
}

static void arrive(struct walk *w, unsigned int access, unsigned int low)
{
    struct reference_result *r = w->result;
    bool key = key_allows(w, access);
    if (!rights_allow(w, access) || !key) {
        fault(w, access, CODE_P | (key ? 0 : CODE_PK));
        return;
    }
    if ((access & REFERENCE_WRITE) && !w->last.dirty)
        r->entry[r->entries - 1U].set |= 1U << 6;
    r->outcome = REFERENCE_OK;
    r->page_size = 1UL << low;
    r->address = w->last.address | (w->linear & span(low - 1U, 0));
    r->rights = REFERENCE_READ | (w->writable ? REFERENCE_WRITE : 0) |
                (w->executable ? REFERENCE_FETCH : 0) | (w->user ? REFERENCE_USER : 0);
}

/* §3.3.7.1: the bits above the highest one of the linear address are all copies of it. */
static bool canonical(uint64_t linear, unsigned int bits)
{
    uint64_t above = linear & span(63, bits - 1U);
    return above == 0 || above == span(63, bits - 1U);
}

static void root(struct walk *w, unsigned int access)
{
    const struct reference_cpu *cpu = w->cpu;
    struct decoded cr3 = {.address = 0};
    const struct step *step = steps_32;
    unsigned int low = 12;
    if (w->mode >= PAGED_LONG4) {
        decode_address(cpu, cpu->cr3, (struct field){51, 12, ADDRESS}, &cr3);
        w->table = cr3.address & span(reference_width(&cpu->props) - 1U, 0);
        step = w->mode == PAGED_LONG5 ? steps_long : steps_long + 1;
        if (!canonical(w->linear, w->mode == PAGED_LONG5 ? 57 : 48)) {
            w->result->outcome = REFERENCE_NON_CANONICAL;
            return;
        }
    } else {
        w->linear &= span(31, 0);
        w->table = cpu->cr3 & span(31, w->mode == PAGED_PAE ? 5 : 12);
        step = w->mode == PAGED_PAE ? steps_pae : steps_32;
    }
    if (descend(w, step, access, &low))
        arrive(w, access, low);
}

void reference_walk(const struct reference_cpu *cpu, const struct reference_memory *memory,
                    uint64_t linear, unsigned int access, struct reference_result *result)
{
    struct walk w = {
        .cpu = cpu,
        .memory = memory,
        .result = result,
        .mode = mode_of(cpu),
        .linear = linear,
        .writable = true,
        .user = true,
        .executable = true,
    };
    *result = (struct reference_result){.outcome = REFERENCE_OK};
    if (w.mode != UNPAGED) {
        root(&w, access);
        return;
    }
    result->address = linear & span(31, 0);
    result->page_size = 4096;
    result->rights = REFERENCE_READ | REFERENCE_WRITE | REFERENCE_FETCH | REFERENCE_USER;
}

bool reference_mark(const struct reference_memory *memory, const struct reference_result *result)
{
    for (unsigned int i = 0; i < result->entries; i++) {
        const struct reference_entry *entry = &result->entry[i];
        if (entry->set != 0 && !memory->compare_exchange(memory->ctx, entry->address, entry->size,
                                                         entry->value, entry->value | entry->set))
            return false;
    }
    return true;
}

bool reference_cr3_faults(const struct reference_cpu *cpu, uint64_t value)
{
    if (!bit(cpu->cr0, CR0_PG_BIT) || !bit(cpu->efer, EFER_LME_BIT))
        return false;
    uint64_t reserved = span(63, reference_width(&cpu->props));
    if (bit(cpu->cr4, CR4_PCIDE_BIT))
        reserved &= ~span(63, 63);
    if (cpu->props.cbit != 0)
        reserved &= ~span(cpu->props.cbit, cpu->props.cbit);
    return value & reserved;
}

bool reference_pdpte_bad(const struct reference_cpu *cpu, uint64_t pdpte)
{
    const struct walk w = {.cpu = cpu, .mode = PAGED_PAE};
    struct decoded entry = decode(&w, FORMAT_PAE_PDPTE, pdpte);
    return entry.present && entry.bad;
}

bool reference_pdpte_faults(const struct reference_cpu *cpu, const uint64_t pdpte[4])
{
    if (cpu->props.vendor == PAGING_AMD)
        return false;
    for (unsigned int i = 0; i < 4; i++)
        if (reference_pdpte_bad(cpu, pdpte[i]))
            return true;
    return false;
}
