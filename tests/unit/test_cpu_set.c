/* SPDX-License-Identifier: BSD-2-Clause */
/* Sets of CPUs in words. */
#include "kernel/cpu_set.h"
#include "tests/unit/unit.h"
#include <stdlib.h>
#include <string.h>

static void check(uint64_t set, const char *wanted)
{
    char text[200];
    CHECK_EQ(cpu_set_describe(set, text, sizeof(text)), 0);
    CHECK(strcmp(text, wanted) == 0);
    if (strcmp(text, wanted) != 0)
        printf("#   '%s', wanted '%s'\n", text, wanted);
}

static void sets_have_their_words(void)
{
    check(0, "");
    check(1, "0");
    check(3, "0-1");
    check(5, "0,2");
    check(0xf1, "0,4-7");
    check(1UL << 63, "63");
    check(3UL << 62, "62-63");
    check(~0UL, "0-63");
    check(~(1UL << 10), "0-9,11-63");
}

/* Every set comes out whole over some lines, no number cut and none twice. */
static void check_lines(uint64_t set)
{
    char text[CPU_SET_TEXT];
    uint64_t left = set, said = 0;
    for (unsigned int lines = 0; left != 0 && lines < 32; lines++) {
        unsigned int first, last;
        left = cpu_set_describe(left, text, sizeof(text));
        CHECK(strlen(text) > 0 && strlen(text) < sizeof(text));
        for (char *at = text; *at != '\0';) {
            first = last = (unsigned int)strtoul(at, &at, 10);
            if (*at == '-')
                last = (unsigned int)strtoul(at + 1, &at, 10);
            for (unsigned int i = first; i <= last && i < 64; i++) {
                CHECK(!(said >> i & 1));
                said |= 1UL << i;
            }
            CHECK(*at == '\0' || (*at == ',' && at[1] != '\0'));
            at += *at == ',';
        }
    }
    CHECK_EQ(left, 0);
    CHECK_EQ(said, set);
}

static void long_lists_take_more_lines(void)
{
    check_lines(0x5555555555555555);
    check_lines(0xaaaaaaaaaaaaaaaa);
    check_lines(0xdb6db6db6db6db6d);
    check_lines(0xfffffffffffffff1);
    for (uint64_t i = 1; i != 0; i <<= 1)
        check_lines(0x9e3779b97f4a7c15 * i);
}

int main(void)
{
    RUN(sets_have_their_words);
    RUN(long_lists_take_more_lines);
    return unit_end();
}
