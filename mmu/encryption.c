/* SPDX-License-Identifier: BSD-2-Clause */
#include "mmu/encryption.h"
#include <errno.h>

int encryption_init(struct encryption *e, unsigned int maxphyaddr, unsigned int cbit,
                    unsigned int reduction)
{
    *e = (struct encryption){.cbit = 0};
    if (maxphyaddr > 52 || reduction > maxphyaddr || maxphyaddr - reduction < 32 || cbit > 51 ||
        cbit < maxphyaddr - reduction)
        return -EINVAL;
    e->cbit = 1UL << cbit;
    e->width = maxphyaddr - reduction;
    return 0;
}

void encryption_mark(const struct encryption *e, uint64_t *directories)
{
    for (uint64_t page = e->start; page < e->end; page += LARGE_PAGE_SIZE)
        directories[page / LARGE_PAGE_SIZE] |= e->cbit;
}
