/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef LATCH_KERNEL_BYTES_H
#define LATCH_KERNEL_BYTES_H
/* Little-endian numbers at any alignment in tables that come from outside. */
#include <stdint.h>
#include <string.h>

static inline uint16_t read16(const void *from)
{
    uint16_t value;
    memcpy(&value, from, sizeof value);
    return value;
}

static inline uint32_t read32(const void *from)
{
    uint32_t value;
    memcpy(&value, from, sizeof value);
    return value;
}

static inline uint64_t read64(const void *from)
{
    uint64_t value;
    memcpy(&value, from, sizeof value);
    return value;
}

static inline void write16(void *to, uint16_t value)
{
    memcpy(to, &value, sizeof value);
}
static inline void write32(void *to, uint32_t value)
{
    memcpy(to, &value, sizeof value);
}
static inline void write64(void *to, uint64_t value)
{
    memcpy(to, &value, sizeof value);
}

#endif
