/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef LATCH_TESTS_UNIT_MMU_REFERENCE_H
#define LATCH_TESTS_UNIT_MMU_REFERENCE_H
/*
 * The reserved bits once more, as rows in the manuals' own form and not as code, for tests to
 * compare with. One row: in this mode, at these levels, for leaves or tables or both, bits
 * high:low are reserved if the condition holds. WIDTH stands for MAXPHYADDR.
 */
#include "mmu/mmu.h"

#define WIDTH       100
#define WIDTH_PSE36 101 /* where 4 MiB leaves keep the address bits from MAXPHYADDR on */

enum reference_when {
    ALWAYS,
    NO_NXE,
    NO_GBPAGES,
    NO_PSE36,
    WITH_PSE36,
    NO_PAT,
    ON_AMD,
};

struct reference_row {
    enum paging_mode mode;
    unsigned int low_level, high_level;
    bool tables, leaves;
    unsigned int high, low;
    enum reference_when when;
};

static const struct reference_row reference_rows[] = {
    /* mode, levels, tables, leaves, bits, condition: SDM vol. 3 §4.3 */
    {MODE_32BIT_PSE, 2, 2, false, true, 21, 13, NO_PSE36},
    {MODE_32BIT_PSE, 2, 2, false, true, 21, WIDTH_PSE36, WITH_PSE36},
    {MODE_32BIT_PSE, 2, 2, false, true, 12, 12, NO_PAT},
    {MODE_32BIT_PSE, 1, 1, false, true, 7, 7, NO_PAT},
    /* §4.4.1, §4.4.2 */
    {MODE_PAE, 3, 3, true, true, 2, 1, ALWAYS},
    {MODE_PAE, 3, 3, true, true, 8, 5, ALWAYS},
    {MODE_PAE, 3, 3, true, true, 63, WIDTH, ALWAYS},
    {MODE_PAE, 1, 2, true, true, 62, WIDTH, ALWAYS},
    {MODE_PAE, 1, 2, true, true, 63, 63, NO_NXE},
    {MODE_PAE, 2, 2, false, true, 20, 13, ALWAYS},
    {MODE_PAE, 2, 2, false, true, 12, 12, NO_PAT},
    {MODE_PAE, 1, 1, false, true, 7, 7, NO_PAT},
    /* §4.5.4; bit 8: APM vol. 2 §5.3.3 */
    {MODE_4LEVEL, 1, 5, true, true, 51, WIDTH, ALWAYS},
    {MODE_4LEVEL, 1, 5, true, true, 63, 63, NO_NXE},
    {MODE_4LEVEL, 4, 5, true, true, 7, 7, ALWAYS},
    {MODE_4LEVEL, 4, 5, true, true, 8, 8, ON_AMD},
    {MODE_4LEVEL, 3, 3, true, true, 7, 7, NO_GBPAGES},
    {MODE_4LEVEL, 3, 3, false, true, 29, 13, ALWAYS},
    {MODE_4LEVEL, 2, 2, false, true, 20, 13, ALWAYS},
    /* §29.3.2 */
    {MODE_EPT, 1, 5, true, true, 51, WIDTH, ALWAYS},
    {MODE_EPT, 4, 5, true, true, 7, 3, ALWAYS},
    {MODE_EPT, 2, 3, true, false, 6, 3, ALWAYS},
    {MODE_EPT, 3, 3, true, true, 7, 7, NO_GBPAGES},
    {MODE_EPT, 3, 3, false, true, 29, 12, ALWAYS},
    {MODE_EPT, 2, 2, false, true, 20, 12, ALWAYS},
};

static inline bool reference_holds(enum reference_when when, const struct paging_props *props,
                                   bool nxe, bool amd)
{
    switch (when) {
    case ALWAYS:
        return true;
    case NO_NXE:
        return !nxe;
    case NO_GBPAGES:
        return !props->gbpages;
    case NO_PSE36:
        return !props->pse36;
    case WITH_PSE36:
        return props->pse36;
    case NO_PAT:
        return !props->pat;
    case ON_AMD:
        return amd;
    }
    return false;
}

/* Whether one bit of an entry is reserved. */
static inline bool reference_reserved(enum paging_mode mode, unsigned int level, bool leaf,
                                      const struct paging_props *props, bool nxe, unsigned int bit)
{
    bool amd = mode == MODE_NPT || props->vendor == PAGING_AMD;
    unsigned int width = props->maxphyaddr;

    if (props->cbit)
        width = width - props->reduction > 32U && width > props->reduction
                    ? width - props->reduction
                    : 32U;
    if (mode == MODE_5LEVEL || mode == MODE_NPT)
        mode = MODE_4LEVEL;
    if (props->cbit == bit && bit != 0 && mode >= MODE_PAE)
        return false;
    for (unsigned int i = 0; i < sizeof(reference_rows) / sizeof(reference_rows[0]); i++) {
        const struct reference_row *row = &reference_rows[i];
        unsigned int low = row->low;

        if (low == WIDTH)
            low = width;
        if (low == WIDTH_PSE36)
            low = width >= 40 ? 21 : 13 + (width - 32);
        if (row->mode == mode && level >= row->low_level && level <= row->high_level &&
            (leaf ? row->leaves : row->tables) && bit <= row->high && bit >= low &&
            reference_holds(row->when, props, nxe, amd))
            return true;
    }
    return false;
}

#endif
