/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef LATCH_KERNEL_HISTOGRAM_H
#define LATCH_KERNEL_HISTOGRAM_H
/*
 * How often each value came: exact below 64, from there on to one part in 32, as a bucket covers a
 * 32nd of its power of two. Pure; all zeros is the empty one.
 */
#include <stdint.h>

#define HISTOGRAM_BUCKETS 1024U
#define HISTOGRAM_POWERS  36U /* values from 2^36 on count as the largest below */

struct histogram {
    uint64_t count, min, max; /* the latter two are exact */
    uint32_t bucket[HISTOGRAM_BUCKETS];
};

void histogram_add(struct histogram *h, uint64_t value);
/* Add all values of another. */
void histogram_merge(struct histogram *into, const struct histogram *from);
/* The value that half of them do not exceed, to the width of a bucket; 0 if there are none. */
uint64_t histogram_median(const struct histogram *h);
/* How many values lie from 2^power to below 2^(power + 1); a 0 counts as a 1. */
uint64_t histogram_power(const struct histogram *h, unsigned int power);

#endif
