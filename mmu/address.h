/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef LATCH_MMU_ADDRESS_H
#define LATCH_MMU_ADDRESS_H
/*
 * Addresses and frame numbers, one type for each space, so that a mix-up does not compile.
 * Each is one 64-bit number, `raw`; a frame number is an address shifted right by PAGE_SHIFT.
 */
#include <stdbool.h>
#include <stdint.h>

#define PAGE_SHIFT       12U
#define PAGE_SIZE        4096UL
#define PAGE_OFFSET_MASK 0xfffUL
#define LARGE_PAGE_SIZE  (1UL << 21)
#define HUGE_PAGE_SIZE   (1UL << 30)

typedef struct {
    uint64_t raw;
} hpa_t; /* host-physical address */
typedef struct {
    uint64_t raw;
} gpa_t; /* guest-physical address */
typedef struct {
    uint64_t raw;
} gla_t; /* guest-linear address, segment base already added */
typedef struct {
    uint64_t raw;
} gfn_t; /* guest frame number */

static inline hpa_t hpa(uint64_t raw)
{
    return (hpa_t){raw};
}
static inline gpa_t gpa(uint64_t raw)
{
    return (gpa_t){raw};
}
static inline gla_t gla(uint64_t raw)
{
    return (gla_t){raw};
}
static inline gfn_t gfn(uint64_t raw)
{
    return (gfn_t){raw};
}
static inline gfn_t gfn_of(gpa_t address)
{
    return (gfn_t){address.raw >> PAGE_SHIFT};
}
static inline gpa_t gpa_of(gfn_t frame)
{
    return (gpa_t){frame.raw << PAGE_SHIFT};
}

#endif
