/* SPDX-License-Identifier: BSD-2-Clause */
#include "tests/guest/lib/kept.h"
#include "tests/guest/lib/payload.h"

#define CMOS_FIRST   0x60U
#define CMOS_ADDRESS 0x70U
#define CMOS_DATA    0x71U

static uint8_t kept_byte(unsigned int index)
{
    outb(CMOS_ADDRESS, (uint8_t)(CMOS_FIRST + index));
    return inb(CMOS_DATA);
}

static void keep_byte(unsigned int index, uint8_t value)
{
    outb(CMOS_ADDRESS, (uint8_t)(CMOS_FIRST + index));
    outb(CMOS_DATA, value);
}

uint16_t kept_word(unsigned int index)
{
    return (uint16_t)(kept_byte(index) | kept_byte(index + 1) << 8);
}

void keep_word(unsigned int index, uint16_t value)
{
    keep_byte(index, (uint8_t)value);
    keep_byte(index + 1, (uint8_t)(value >> 8));
}

bool is_as_kept(unsigned int index, bool first, uint16_t value)
{
    if (first)
        keep_word(index, value);
    return value == kept_word(index);
}
