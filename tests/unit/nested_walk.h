/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef LATCH_TESTS_UNIT_NESTED_WALK_H
#define LATCH_TESTS_UNIT_NESTED_WALK_H
/*
 * A walk of nested tables by what mmu/ says of their entries (reserved.h, format.h), to compare
 * with the reference one. Latch itself never walks them as the CPU does: it knows what it built.
 */
#include "mmu/format.h"
#include "mmu/reserved.h"
#include "tests/reference/nested.h"
#include <string.h>

static inline bool nested_bad(const struct reference_nested *nested,
                              const struct table_format *format, uint64_t entry, unsigned int level)
{
    bool leaf = format_is_leaf(format, entry, level);

    if (!nested->npt)
        return ept_misconfigured(entry, level, &nested->host, nested->execute_only);
    return entry & reserved_mask(MODE_NPT, level, leaf, &nested->host, nested->nxe);
}

/* What format_access() leaves aside: NPT is walked as by a user. */
static inline unsigned int nested_access(const struct table_format *format, uint64_t entry)
{
    return format->id == FORMAT_NPT && !(entry & 4U) ? 0 : format_access(format, entry);
}

static inline struct table_format nested_format(const struct reference_nested *nested,
                                                const struct encryption *encryption)
{
    struct table_format format = {.levels = 0};

    (void)format_init(&format, nested->npt ? FORMAT_NPT : FORMAT_EPT, nested->levels,
                      nested->host.gbpages ? 3 : 2, nested->execute_only);
    format.encryption = encryption;
    return format;
}

/* The parameters and the result are those of reference_nested_walk(). */
static inline void nested_walk(const struct reference_nested *nested,
                               const struct reference_memory *memory, uint64_t address,
                               unsigned int access, struct reference_nested_result *result)
{
    const struct encryption encryption = {.cbit = nested->host.cbit != 0 ? 1UL << nested->host.cbit
                                                                         : 0};
    const struct table_format format = nested_format(nested, &encryption);
    uint64_t entry = nested->root;
    unsigned int level = nested->levels;

    *result = (struct reference_nested_result){.rights = ACCESS_RWX};
    for (;; level--) {
        uint64_t index = address / level_size(level) % TABLE_ENTRIES;

        entry = memory->read(memory->ctx, format_table(&format, entry).raw + index * 8U, 8);
        result->entry[result->entries++] = entry;
        result->level = level;
        result->outcome = format_present(&format, entry) ? NESTED_MISCONFIGURED : NESTED_ABSENT;
        if (!format_present(&format, entry) || nested_bad(nested, &format, entry, level))
            return;
        result->rights &= nested_access(&format, entry);
        if (format_is_leaf(&format, entry, level))
            break;
    }
    result->outcome = (result->rights & access) == access ? NESTED_MAPPED : NESTED_FORBIDDEN;
    result->page_size = level_size(level);
    result->address = format_page(&format, entry, level).raw | (address & (result->page_size - 1U));
    result->type = format_type(&format, entry);
}

static inline bool nested_same(const struct reference_nested_result *a,
                               const struct reference_nested_result *b)
{
    if (a->outcome != b->outcome || a->level != b->level || a->entries != b->entries ||
        memcmp(a->entry, b->entry, sizeof(a->entry)) != 0)
        return false;
    return a->outcome != NESTED_MAPPED ||
           (a->address == b->address && a->page_size == b->page_size && a->rights == b->rights &&
            a->type == b->type);
}

#endif
