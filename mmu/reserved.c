/* SPDX-License-Identifier: BSD-2-Clause */
#include "mmu/reserved.h"

static uint64_t bit(unsigned int n)
{
    return 1UL << n;
}

/* Bits high:low; none if low is above high. Both are 0 to 63. */
static uint64_t bits(unsigned int high, unsigned int low)
{
    return low > high ? 0 : (~0UL >> (63U - high)) & (~0UL << low);
}

static uint64_t cbit_mask(const struct paging_props *props)
{
    return props->cbit != 0 && props->cbit < 64U ? bit(props->cbit) : 0;
}

/* SDM vol. 3 §4.3: with CR4.PSE only; bits 20:13 of a 4 MiB PDE are address bits 39:32. */
static uint64_t mask_32bit_pse(unsigned int level, bool leaf, const struct paging_props *props)
{
    unsigned int width = paging_width(props);
    uint64_t no_pat;

    if (!leaf)
        return 0;
    if (level == 1)
        return props->pat ? 0 : bit(7);
    no_pat = props->pat ? 0 : bit(12);
    if (!props->pse36)
        return bits(21, 13) | no_pat;
    return bits(21, width < 40U ? width - 19U : 21U) | no_pat;
}

static uint64_t mask_pae(unsigned int level, bool leaf, const struct paging_props *props, bool nxe)
{
    unsigned int width = paging_width(props);
    uint64_t mask;

    if (level == 3)
        return bits(2, 1) | bits(8, 5) | bits(63, width);
    mask = bits(62, width) | (nxe ? 0 : bit(63));
    if (leaf && level == 2)
        mask |= bits(20, 13);
    if (leaf && !props->pat)
        mask |= level == 2 ? bit(12) : bit(7);
    return mask;
}

/* The table formats of long mode, which NPT shares; only the vendors' PML4E and PML5E differ. */
static uint64_t mask_long(unsigned int level, bool leaf, const struct paging_props *props, bool amd,
                          bool nxe)
{
    uint64_t mask = bits(51, paging_width(props)) | (nxe ? 0 : bit(63));

    if (level >= 4)
        return mask | bit(7) | (amd ? bit(8) : 0);
    if (level == 3 && !props->gbpages)
        mask |= bit(7);
    if (leaf && level == 3)
        mask |= bits(29, 13);
    if (leaf && level == 2)
        mask |= bits(20, 13);
    return mask;
}

static uint64_t mask_ept(unsigned int level, bool leaf, const struct paging_props *props)
{
    uint64_t mask = bits(51, paging_width(props));

    if (level >= 4)
        return mask | bits(7, 3);
    if (level == 3 && !props->gbpages)
        mask |= bit(7);
    if (!leaf)
        return mask | bits(6, 3);
    if (level == 3)
        mask |= bits(29, 12);
    if (level == 2)
        mask |= bits(20, 12);
    return mask;
}

uint64_t reserved_mask(enum paging_mode mode, unsigned int level, bool leaf,
                       const struct paging_props *props, bool nxe)
{
    switch (mode) {
    case MODE_OFF:
    case MODE_32BIT:
        return 0;
    case MODE_32BIT_PSE:
        return mask_32bit_pse(level, leaf, props);
    case MODE_PAE:
        return mask_pae(level, leaf, props, nxe) & ~cbit_mask(props);
    case MODE_4LEVEL:
    case MODE_5LEVEL:
        return mask_long(level, leaf, props, props->vendor == PAGING_AMD, nxe) & ~cbit_mask(props);
    case MODE_EPT:
        return mask_ept(level, leaf, props) & ~cbit_mask(props);
    case MODE_NPT:
        return mask_long(level, leaf, props, true, nxe) & ~cbit_mask(props);
    }
    return 0;
}

static bool ept_reserved(uint64_t entry, unsigned int level, bool leaf,
                         const struct paging_props *host)
{
    return entry & reserved_mask(MODE_EPT, level, leaf, host, true);
}

bool ept_misconfigured(uint64_t entry, unsigned int level, const struct paging_props *host,
                       bool execute_only)
{
    uint64_t rights = entry & 7U;
    uint64_t type = (entry >> 3) & 7U;
    bool leaf = level == 1 || (level <= 3 && (entry & bit(7)));

    if (rights == 0)
        return false;
    if (rights == ACCESS_WRITE || rights == (ACCESS_WRITE | ACCESS_EXECUTE))
        return true;
    if (rights == ACCESS_EXECUTE && !execute_only)
        return true;
    if (ept_reserved(entry, level, leaf, host))
        return true;
    return leaf && (type == 2 || type == 3 || type == 7);
}

uint64_t cr3_reserved_mask(enum paging_mode mode, const struct paging_props *props)
{
    if (mode == MODE_4LEVEL || mode == MODE_5LEVEL)
        return bits(63, paging_width(props)) & ~cbit_mask(props);
    return bits(63, 32);
}
