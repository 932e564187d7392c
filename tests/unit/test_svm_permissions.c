/* SPDX-License-Identifier: BSD-2-Clause */
/* The MSR permission map: each covered MSR has two bits of its own, the others none. */
#include "svm/permissions.h"
#include "tests/unit/unit.h"
#include <stdlib.h>

#define MAP_BITS (MSRPM_PAGES * 4096UL * 8UL)

static void known_places(void)
{
    CHECK_EQ(msrpm_bit(0), 0);
    CHECK_EQ(msrpm_bit(0x1b), 0x36);
    CHECK_EQ(msrpm_bit(0x1fff), 0x800 * 8 - 2);
    CHECK_EQ(msrpm_bit(0xc0000080), 0x800 * 8 + 0x100);
    CHECK_EQ(msrpm_bit(0xc0010117), 0x1000 * 8 + 0x22e);
    CHECK_EQ(msrpm_bit(0x2000), -1);
    CHECK_EQ(msrpm_bit(0x40000000), -1);
    CHECK_EQ(msrpm_bit(0xc0002000), -1);
    CHECK_EQ(msrpm_bit(0xc0012000), -1);
    CHECK_EQ(msrpm_bit(0xffffffff), -1);
}

/* Every MSR below each multiple of 64 KiB that has any, and the edges of the others. */
static void no_overlap(void)
{
    unsigned char *taken = calloc(MAP_BITS, 1);
    unsigned long covered = 0;

    CHECK(taken);
    for (uint32_t high = 0; taken && high <= 0xffff; high++) {
        uint32_t step = high == 0 || high == 0xc000 || high == 0xc001 ? 1 : 0x1fff;
        for (uint32_t low = 0; low <= 0xffff; low += step) {
            int bit = msrpm_bit(high << 16 | low);
            if (bit < 0)
                continue;
            covered++;
            CHECK((unsigned int)bit + 1 < MAP_BITS && !(bit & 1) && !taken[bit]);
            taken[bit] = 1;
        }
    }
    CHECK_EQ(covered, 3 * 0x2000);
    free(taken);
}

int main(void)
{
    RUN(known_places);
    RUN(no_overlap);
    return unit_end();
}
