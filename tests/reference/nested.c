/* SPDX-License-Identifier: BSD-2-Clause */
#include "tests/reference/nested.h"
#include "tests/reference/formats.h"

/* Memory types, SDM vol. 3 table 12-2. */
#define TYPE_UC 0U
#define TYPE_WT 4U
#define TYPE_WB 6U

/* By level: the entries' format, and the one for bit 7 set. */
static const struct {
    uint8_t table, leaf; /* enum format */
} ept_formats[] = {
    [5] = {FORMAT_EPT_PML, FORMATS},
    [4] = {FORMAT_EPT_PML, FORMATS},
    [3] = {FORMAT_EPT_TABLE, FORMAT_EPT_PDPTE_1G},
    [2] = {FORMAT_EPT_TABLE, FORMAT_EPT_PDE_2M},
    [1] = {FORMATS, FORMAT_EPT_PTE},
};

/* An EPT entry, read by its format. */
struct decoded {
    unsigned int rights, type;
    uint64_t address;
    bool leaf, bad;
};

static uint64_t span(unsigned int high, unsigned int low)
{
    return (UINT64_MAX >> (63U - high)) & (UINT64_MAX << low);
}

/* The C-bit is no part of an address; nothing from the width on may be set. */
static void decode_address(const struct paging_props *host, uint64_t bits, struct decoded *to)
{
    if (host->cbit != 0)
        bits &= ~span(host->cbit, host->cbit);
    to->address = bits;
    to->bad |= (bits & ~span(reference_width(host) - 1U, 0)) != 0;
}

static void decode_field(const struct paging_props *host, uint64_t value, struct field field,
                         struct decoded *to)
{
    uint64_t bits = value & span(field.high, field.low);
    switch (field.meaning) {
    case READABLE:
        to->rights |= bits ? REFERENCE_READ : 0;
        break;
    case WRITABLE:
        to->rights |= bits ? REFERENCE_WRITE : 0;
        break;
    case EXECUTABLE:
        to->rights |= bits ? REFERENCE_FETCH : 0;
        break;
    case MEMORY_TYPE:
        to->type = (unsigned int)(bits >> field.low);
        to->bad |= to->type == 2 || to->type == 3 || to->type == 7;
        break;
    case RESERVED:
        to->bad |= bits != 0;
        break;
    case ADDRESS:
        decode_address(host, bits, to);
        break;
    default:
        break;
    }
}

/* §29.3.3.1: besides the formats, rights that there are not, and pages of a size without support. */
static struct decoded decode(const struct reference_nested *nested, unsigned int level,
                             uint64_t value)
{
    struct decoded to = {.leaf = ept_formats[level].table == FORMATS};
    if (ept_formats[level].leaf != FORMATS && (value & span(7, 7)))
        to.leaf = true;
    const struct field *field =
        reference_format[to.leaf ? ept_formats[level].leaf : ept_formats[level].table];
    for (; field->meaning != END; field++)
        decode_field(&nested->host, value, *field, &to);
    if ((to.rights & REFERENCE_WRITE) && !(to.rights & REFERENCE_READ))
        to.bad = true;
    if (to.rights == REFERENCE_FETCH && !nested->execute_only)
        to.bad = true;
    if (to.leaf && level == 3 && !nested->host.gbpages)
        to.bad = true;
    return to;
}

/* §29.3.2, §29.3.3: each entry must be present and legal before the rights of all of them count. */
static void ept_walk(const struct reference_nested *nested, const struct reference_memory *memory,
                     uint64_t address, unsigned int access, struct reference_nested_result *r)
{
    struct decoded entry = {.address = nested->root & span(51, 12)};
    if (nested->host.cbit != 0)
        entry.address &= ~span(nested->host.cbit, nested->host.cbit);
    r->rights = REFERENCE_READ | REFERENCE_WRITE | REFERENCE_FETCH;
    for (r->level = nested->levels;; r->level--) {
        unsigned int low = 3U + 9U * r->level;
        uint64_t index = address >> low & span(8, 0);
        uint64_t value = memory->read(memory->ctx, entry.address + index * 8U, 8);
        r->entry[r->entries++] = value;
        entry = decode(nested, r->level, value);
        r->rights &= entry.rights;
        r->outcome = entry.rights == 0 ? NESTED_ABSENT : NESTED_MISCONFIGURED;
        if (entry.rights == 0 || entry.bad)
            return;
        if (entry.leaf) {
            r->page_size = 1UL << low;
            break;
        }
    }
    r->outcome = (r->rights & access) == access ? NESTED_MAPPED : NESTED_FORBIDDEN;
    r->type = entry.type;
    r->address = entry.address | (address & (r->page_size - 1U));
}

/* PWT and PCD choose among four of the PAT; the other four are the same at power-on. */
static unsigned int power_on_type(uint64_t leaf)
{
    if (leaf & span(4, 4))
        return TYPE_UC;
    return leaf & span(3, 3) ? TYPE_WT : TYPE_WB;
}

/* APM vol. 2 §15.25.5: as the host's own long-mode tables, and each access is a user's. There is no
 * canonical form; with the top bit copied upwards the walk takes the same entries. */
static void npt_walk(const struct reference_nested *nested, const struct reference_memory *memory,
                     uint64_t address, unsigned int access, struct reference_nested_result *r)
{
    unsigned int top = 11U + 9U * nested->levels;
    struct reference_cpu cpu = {
        .cr0 = 1UL << 31,                                       /* PG */
        .cr3 = nested->root,                                    /* nCR3 */
        .cr4 = 1UL << 5 | (nested->levels == 5 ? 1U : 0) << 12, /* PAE, LA57 */
        .efer = 1UL << 8 | (nested->nxe ? 1U : 0) << 11,        /* LME, NXE */
        .props = nested->host,
    };
    struct reference_result walk;

    cpu.props.vendor = PAGING_AMD;
    address |= address >> top & 1U ? span(63, top) : 0;
    reference_walk(&cpu, memory, address, access | REFERENCE_USER, &walk);
    r->level = walk.level;
    for (; r->entries < walk.entries; r->entries++)
        r->entry[r->entries] = walk.entry[r->entries].value;
    if (walk.outcome == REFERENCE_OK) {
        r->outcome = NESTED_MAPPED;
        r->address = walk.address;
        r->page_size = walk.page_size;
        r->rights = walk.rights & ~REFERENCE_USER;
        r->type = power_on_type(r->entry[r->entries - 1U]);
    } else if (walk.error_code & 8U) { /* RSVD */
        r->outcome = NESTED_MISCONFIGURED;
    } else {
        r->outcome = walk.error_code & 1U ? NESTED_FORBIDDEN : NESTED_ABSENT; /* P */
    }
}

void reference_nested_walk(const struct reference_nested *nested,
                           const struct reference_memory *memory, uint64_t address,
                           unsigned int access, struct reference_nested_result *result)
{
    *result = (struct reference_nested_result){.entries = 0};
    /* Beyond what the tables reach no entry is read: SDM vol. 3 §28.2.1, of 4-level EPT. */
    if (address >> (12U + 9U * nested->levels) != 0) {
        result->outcome = NESTED_ABSENT;
        return;
    }
    if (nested->npt)
        npt_walk(nested, memory, address, access, result);
    else
        ept_walk(nested, memory, address, access, result);
}
