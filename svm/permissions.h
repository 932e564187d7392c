/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef LATCH_SVM_PERMISSIONS_H
#define LATCH_SVM_PERMISSIONS_H
/* The layout of the MSR and I/O permission maps (APM vol. 2 §15.10.1, §15.11). Pure. */
#include <stdint.h>

#define MSRPM_PAGES 2U
#define IOPM_PAGES  3U
#define MSRPM_READ  1U /* the first of an MSR's two bits; set: intercepted */
#define MSRPM_WRITE 2U

/*
 * The number of an MSR's first bit in the MSR permission map, or -1 for one that no map covers:
 * it is always intercepted.
 */
static inline int msrpm_bit(uint32_t msr)
{
    uint32_t range = msr & ~0x1fffU;

    if (range == 0)
        return (int)(2 * msr);
    if (range == 0xc0000000U)
        return (int)(0x800 * 8 + 2 * (msr & 0x1fff));
    if (range == 0xc0010000U)
        return (int)(0x1000 * 8 + 2 * (msr & 0x1fff));
    return -1;
}

#endif
