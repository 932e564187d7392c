/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef LATCH_TESTS_REFERENCE_FORMATS_H
#define LATCH_TESTS_REFERENCE_FORMATS_H
/* The manuals' tables of paging-structure entries, bit by bit. */
#include <stdbool.h>
#include <stdint.h>

enum meaning {
    END, /* of a format's list */
    PRESENT,
    WRITABLE,
    USER,
    CACHING, /* PWT, PCD, G: nothing that a walk depends on */
    ACCESSED,
    DIRTY,
    IGNORED,
    RESERVED,
    RESERVED_BY_AMD, /* ignored by Intel */
    PAGE_SIZE_BIT,   /* the list is already the one for its value */
    PAT,
    ADDRESS, /* of the table or page; reserved from MAXPHYADDR on */
    PSE36,   /* address bits from 32 on, as many as there are */
    KEY,
    EXECUTE_DISABLE,
    READABLE, /* of EPT alone, as the next two */
    EXECUTABLE,
    MEMORY_TYPE,
};

struct field {
    uint8_t high, low; /* bits */
    uint8_t meaning;   /* enum meaning */
};

enum format {
    FORMAT_32_PDE,
    FORMAT_32_PDE_4M,
    FORMAT_32_PTE,
    FORMAT_PAE_PDPTE,
    FORMAT_PAE_PDE,
    FORMAT_PAE_PDE_2M,
    FORMAT_PAE_PTE,
    FORMAT_LONG_PML, /* PML5E and PML4E */
    FORMAT_LONG_PDPTE,
    FORMAT_LONG_PDPTE_1G,
    FORMAT_LONG_PDE,
    FORMAT_LONG_PDE_2M,
    FORMAT_LONG_PTE,
    FORMAT_EPT_PML,   /* PML5E and PML4E */
    FORMAT_EPT_TABLE, /* PDPTE and PDE that lead to a table */
    FORMAT_EPT_PDPTE_1G,
    FORMAT_EPT_PDE_2M,
    FORMAT_EPT_PTE,
    FORMATS
};

extern const struct field *const reference_format[FORMATS];

#endif
