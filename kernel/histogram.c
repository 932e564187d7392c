/* SPDX-License-Identifier: BSD-2-Clause */
#include "kernel/histogram.h"

#define PARTS_SHIFT 5U /* 32 buckets to a power of two */
#define EXACT       64U

static unsigned int power_of(uint64_t value)
{
    return value == 0 ? 0 : 63U - (unsigned int)__builtin_clzll(value);
}

static unsigned int bucket_of(uint64_t value)
{
    if (value < EXACT)
        return (unsigned int)value;
    unsigned int power = power_of(value);
    if (power >= HISTOGRAM_POWERS)
        return HISTOGRAM_BUCKETS - 1;
    unsigned int shift = power - PARTS_SHIFT;
    return (shift << PARTS_SHIFT) + (unsigned int)(value >> shift);
}

/* The least value of a bucket. */
static uint64_t value_of(unsigned int bucket)
{
    if (bucket < EXACT)
        return bucket;
    unsigned int shift = (bucket >> PARTS_SHIFT) - 1;
    return (uint64_t)(bucket - (shift << PARTS_SHIFT)) << shift;
}

static void count_in(struct histogram *h, uint64_t count, uint64_t min, uint64_t max)
{
    if (h->count == 0 || min < h->min)
        h->min = min;
    if (max > h->max)
        h->max = max;
    h->count += count;
}

static void raise(uint32_t *bucket, uint32_t by)
{
    *bucket = by > UINT32_MAX - *bucket ? UINT32_MAX : *bucket + by;
}

void histogram_add(struct histogram *h, uint64_t value)
{
    count_in(h, 1, value, value);
    raise(&h->bucket[bucket_of(value)], 1);
}

void histogram_merge(struct histogram *into, const struct histogram *from)
{
    if (from->count == 0)
        return;
    count_in(into, from->count, from->min, from->max);
    for (unsigned int i = 0; i < HISTOGRAM_BUCKETS; i++)
        raise(&into->bucket[i], from->bucket[i]);
}

uint64_t histogram_median(const struct histogram *h)
{
    uint64_t seen = 0;
    for (unsigned int i = 0; i < HISTOGRAM_BUCKETS; i++) {
        seen += h->bucket[i];
        if (seen != 0 && seen >= h->count - h->count / 2)
            return value_of(i) < h->min ? h->min : value_of(i);
    }
    return h->max;
}

uint64_t histogram_power(const struct histogram *h, unsigned int power)
{
    uint64_t count = 0;
    unsigned int first = power == 0 ? 0 : bucket_of(1UL << power);
    unsigned int end = power + 1 < HISTOGRAM_POWERS ? bucket_of(2UL << power) : HISTOGRAM_BUCKETS;
    for (unsigned int i = first; i < end; i++)
        count += h->bucket[i];
    return count;
}
