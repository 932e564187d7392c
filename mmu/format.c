/* SPDX-License-Identifier: BSD-2-Clause */
#include "mmu/format.h"
#include <errno.h>

/* Long-mode entries, for the host's tables and NPT: SDM vol. 3 tables 4-15 to 4-20. */
#define LONG_PRESENT  (1UL << 0)
#define LONG_WRITE    (1UL << 1)
#define LONG_USER     (1UL << 2)
#define LONG_PWT      (1UL << 3)
#define LONG_PCD      (1UL << 4)
#define LONG_ACCESSED (1UL << 5)
#define LONG_DIRTY    (1UL << 6)
#define LONG_NX       (1UL << 63)

/* EPT entries: SDM vol. 3 tables 29-1 to 29-7. */
#define EPT_RIGHTS     7UL
#define EPT_TYPE_SHIFT 3U
#define EPT_TYPE_MASK  7UL

int format_init(struct table_format *format, enum page_format id, unsigned int levels,
                unsigned int max_leaf, bool execute_only)
{
    if (id != FORMAT_HOST && id != FORMAT_EPT && id != FORMAT_NPT)
        return -EINVAL;
    if (levels < 4 || levels > 5 || max_leaf < 1 || max_leaf > 3)
        return -EINVAL;
    *format = (struct table_format){.id = id,
                                    .levels = levels,
                                    .max_leaf = max_leaf,
                                    .execute_only = id == FORMAT_EPT && execute_only};
    return 0;
}

const char *format_name(enum page_format id)
{
    switch (id) {
    case FORMAT_HOST:
        return "host";
    case FORMAT_EPT:
        return "EPT";
    case FORMAT_NPT:
        return "NPT";
    case FORMAT_SHADOW_PAE:
        return "shadow (PAE)";
    case FORMAT_SHADOW_LONG:
        return "shadow (long mode)";
    case FORMAT_NONE:
        break;
    }
    return "none";
}

bool format_present(const struct table_format *format, uint64_t entry)
{
    return (entry & (format->id == FORMAT_EPT ? EPT_RIGHTS : LONG_PRESENT)) != 0;
}

bool format_is_leaf(const struct table_format *format, uint64_t entry, unsigned int level)
{
    return level == 1 || (level <= format->max_leaf && (entry & ENTRY_LEAF));
}

uint64_t format_root(const struct table_format *format, hpa_t root)
{
    return root.raw | encryption_bit(format->encryption, root);
}

hpa_t format_page(const struct table_format *format, uint64_t entry, unsigned int level)
{
    uint64_t cbit = format->encryption ? format->encryption->cbit : 0;

    return hpa(entry & ENTRY_ADDRESS & ~cbit & ~(level_size(level) - 1UL));
}

hpa_t format_table(const struct table_format *format, uint64_t entry)
{
    return format_page(format, entry, 1);
}

bool format_encrypted(const struct table_format *format, uint64_t entry)
{
    return format->encryption && (entry & format->encryption->cbit);
}

uint64_t format_table_entry(const struct table_format *format, hpa_t table)
{
    uint64_t address = format_root(format, table);

    if (format->id == FORMAT_EPT)
        return address | EPT_RIGHTS;
    /* A nested walk is a user access at every level (APM vol. 2 §15.25.5). */
    return address | LONG_PRESENT | LONG_WRITE | LONG_ACCESSED |
           (format->id == FORMAT_NPT ? LONG_USER : 0);
}

/* The PAT entries of power-on: 0 is WB, 1 WT, 3 UC. */
static uint64_t host_type_bits(enum cache_type type)
{
    switch (type) {
    case CACHE_WB:
        return 0;
    case CACHE_WT:
        return LONG_PWT;
    case CACHE_UC:
    case CACHE_WC:
    case CACHE_WP:
        break;
    }
    return LONG_PCD | LONG_PWT;
}

static uint64_t ept_leaf(const struct table_format *format, hpa_t page, unsigned int access,
                         enum cache_type type)
{
    uint64_t rights = access & ACCESS_RWX;

    if (rights & ACCESS_WRITE || (rights == ACCESS_EXECUTE && !format->execute_only))
        rights |= ACCESS_READ;
    return page.raw | rights | (uint64_t)type << EPT_TYPE_SHIFT;
}

/* A and D are set in advance, so that the CPU need not write them. D only where writes are allowed:
 * read-only and dirty is a shadow-stack page (SDM vol. 3 §4.6). */
static uint64_t long_leaf(const struct table_format *format, hpa_t page, unsigned int access,
                          enum cache_type type)
{
    uint64_t entry = page.raw | LONG_PRESENT | LONG_ACCESSED;

    if (access & ACCESS_WRITE)
        entry |= LONG_WRITE | LONG_DIRTY;
    if (!(access & ACCESS_EXECUTE))
        entry |= LONG_NX;
    return entry | (format->id == FORMAT_NPT ? LONG_USER : host_type_bits(type));
}

uint64_t format_leaf_entry(const struct table_format *format, hpa_t page, unsigned int level,
                           unsigned int access, enum cache_type type)
{
    uint64_t common = (level > 1 ? ENTRY_LEAF : 0) | encryption_bit(format->encryption, page);

    if (!(access & ACCESS_RWX))
        return 0;
    if (format->id == FORMAT_EPT)
        return ept_leaf(format, page, access, type) | common;
    return long_leaf(format, page, access, type) | common;
}

unsigned int format_access(const struct table_format *format, uint64_t entry)
{
    if (format->id == FORMAT_EPT)
        return (unsigned int)(entry & EPT_RIGHTS);
    return ACCESS_READ | ((entry & LONG_WRITE) ? ACCESS_WRITE : 0U) |
           ((entry & LONG_NX) ? 0U : ACCESS_EXECUTE);
}

enum cache_type format_type(const struct table_format *format, uint64_t entry)
{
    if (format->id == FORMAT_EPT)
        return (enum cache_type)((entry >> EPT_TYPE_SHIFT) & EPT_TYPE_MASK);
    if (!(entry & (LONG_PCD | LONG_PWT)))
        return CACHE_WB;
    return (entry & LONG_PCD) ? CACHE_UC : CACHE_WT;
}
