/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * SDM vol. 3 tables 4-4 to 4-6, 4-8 to 4-11, 4-14 to 4-20; APM vol. 2 figures 5-4 to 5-27. The
 * vendors differ in bit 8 of PML5E and PML4E. EPT: SDM vol. 3 tables 29-1 to 29-7; what is ignored
 * unless a control gives it a meaning is ignored here.
 */
#include "tests/reference/formats.h"

/* clang-format off */
#define LOW_FLAGS      {4, 3, CACHING}, {2, 2, USER}, {1, 1, WRITABLE}, {0, 0, PRESENT}, {0, 0, END}
#define TABLE_FLAGS    {6, 6, IGNORED}, {5, 5, ACCESSED}, LOW_FLAGS
#define LEAF_FLAGS     {6, 6, DIRTY}, {5, 5, ACCESSED}, LOW_FLAGS
#define LARGE_FLAGS    {12, 12, PAT}, {11, 9, IGNORED}, {8, 8, CACHING}, {7, 7, PAGE_SIZE_BIT}, LEAF_FLAGS
#define PTE_FLAGS      {11, 9, IGNORED}, {8, 8, CACHING}, {7, 7, PAT}, LEAF_FLAGS
#define EPT_RIGHTS     {2, 2, EXECUTABLE}, {1, 1, WRITABLE}, {0, 0, READABLE}, {0, 0, END}
#define EPT_LEAF       {6, 6, IGNORED}, {5, 3, MEMORY_TYPE}, EPT_RIGHTS

static const struct field pde_32[] = {
    {31, 12, ADDRESS}, {11, 8, IGNORED}, {7, 7, PAGE_SIZE_BIT}, TABLE_FLAGS,
};
static const struct field pde_32_4m[] = {
    {31, 22, ADDRESS}, {21, 13, PSE36}, LARGE_FLAGS,
};
static const struct field pte_32[] = {
    {31, 12, ADDRESS}, PTE_FLAGS,
};
static const struct field pdpte_pae[] = {
    {63, 12, ADDRESS}, {11, 9, IGNORED}, {8, 5, RESERVED}, {4, 3, CACHING}, {2, 1, RESERVED},
    {0, 0, PRESENT}, {0, 0, END},
};
static const struct field pde_pae[] = {
    {63, 63, EXECUTE_DISABLE}, {62, 12, ADDRESS}, {11, 8, IGNORED}, {7, 7, PAGE_SIZE_BIT}, TABLE_FLAGS,
};
static const struct field pde_pae_2m[] = {
    {63, 63, EXECUTE_DISABLE}, {62, 21, ADDRESS}, {20, 13, RESERVED}, LARGE_FLAGS,
};
static const struct field pte_pae[] = {
    {63, 63, EXECUTE_DISABLE}, {62, 12, ADDRESS}, PTE_FLAGS,
};
static const struct field pml_long[] = {
    {63, 63, EXECUTE_DISABLE}, {62, 52, IGNORED}, {51, 12, ADDRESS}, {11, 9, IGNORED},
    {8, 8, RESERVED_BY_AMD}, {7, 7, RESERVED}, TABLE_FLAGS,
};
static const struct field table_long[] = {
    {63, 63, EXECUTE_DISABLE}, {62, 52, IGNORED}, {51, 12, ADDRESS}, {11, 8, IGNORED},
    {7, 7, PAGE_SIZE_BIT}, TABLE_FLAGS,
};
static const struct field pdpte_long_1g[] = {
    {63, 63, EXECUTE_DISABLE}, {62, 59, KEY}, {58, 52, IGNORED}, {51, 30, ADDRESS},
    {29, 13, RESERVED}, LARGE_FLAGS,
};
static const struct field pde_long_2m[] = {
    {63, 63, EXECUTE_DISABLE}, {62, 59, KEY}, {58, 52, IGNORED}, {51, 21, ADDRESS},
    {20, 13, RESERVED}, LARGE_FLAGS,
};
static const struct field pte_long[] = {
    {63, 63, EXECUTE_DISABLE}, {62, 59, KEY}, {58, 52, IGNORED}, {51, 12, ADDRESS}, PTE_FLAGS,
};
static const struct field pml_ept[] = {
    {63, 52, IGNORED}, {51, 12, ADDRESS}, {11, 8, IGNORED}, {7, 3, RESERVED}, EPT_RIGHTS,
};
static const struct field table_ept[] = {
    {63, 52, IGNORED}, {51, 12, ADDRESS}, {11, 8, IGNORED}, {7, 7, PAGE_SIZE_BIT},
    {6, 3, RESERVED}, EPT_RIGHTS,
};
static const struct field pdpte_ept_1g[] = {
    {63, 52, IGNORED}, {51, 30, ADDRESS}, {29, 12, RESERVED}, {11, 8, IGNORED},
    {7, 7, PAGE_SIZE_BIT}, EPT_LEAF,
};
static const struct field pde_ept_2m[] = {
    {63, 52, IGNORED}, {51, 21, ADDRESS}, {20, 12, RESERVED}, {11, 8, IGNORED},
    {7, 7, PAGE_SIZE_BIT}, EPT_LEAF,
};
static const struct field pte_ept[] = {
    {63, 52, IGNORED}, {51, 12, ADDRESS}, {11, 7, IGNORED}, EPT_LEAF,
};
/* clang-format on */

const struct field *const reference_format[FORMATS] = {
    [FORMAT_32_PDE] = pde_32,         [FORMAT_32_PDE_4M] = pde_32_4m,
    [FORMAT_32_PTE] = pte_32,         [FORMAT_PAE_PDPTE] = pdpte_pae,
    [FORMAT_PAE_PDE] = pde_pae,       [FORMAT_PAE_PDE_2M] = pde_pae_2m,
    [FORMAT_PAE_PTE] = pte_pae,       [FORMAT_LONG_PML] = pml_long,
    [FORMAT_LONG_PDPTE] = table_long, [FORMAT_LONG_PDPTE_1G] = pdpte_long_1g,
    [FORMAT_LONG_PDE] = table_long,   [FORMAT_LONG_PDE_2M] = pde_long_2m,
    [FORMAT_LONG_PTE] = pte_long,     [FORMAT_EPT_PML] = pml_ept,
    [FORMAT_EPT_TABLE] = table_ept,   [FORMAT_EPT_PDPTE_1G] = pdpte_ept_1g,
    [FORMAT_EPT_PDE_2M] = pde_ept_2m, [FORMAT_EPT_PTE] = pte_ept,
};
