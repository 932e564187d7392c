/* SPDX-License-Identifier: BSD-2-Clause */
#include "kernel/cpu_set.h"
#include <stdio.h>
#include <string.h>

#define RANGE_TEXT 16U

uint64_t cpu_set_describe(uint64_t set, char *text, size_t size)
{
    size_t used = 0;
    text[0] = '\0';
    while (set != 0) {
        char range[RANGE_TEXT];
        const unsigned int first = (unsigned int)__builtin_ctzl(set);
        unsigned int last = first;
        while (last < 63 && (set >> (last + 1) & 1))
            last++;
        snprintf(range, sizeof(range), first == last ? "%s%u" : "%s%u-%u", used == 0 ? "" : ",",
                 first, last);
        if (used + strlen(range) >= size)
            break;
        memcpy(text + used, range, strlen(range) + 1);
        used += strlen(range);
        set &= last == 63 ? 0 : ~0UL << (last + 1);
    }
    return set;
}
