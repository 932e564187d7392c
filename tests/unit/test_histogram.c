/* SPDX-License-Identifier: BSD-2-Clause */
#include "kernel/histogram.h"
#include "tests/unit/unit.h"
#include <string.h>

static struct histogram h, other;

static void clear(void)
{
    memset(&h, 0, sizeof(h));
    memset(&other, 0, sizeof(other));
}

static void empty(void)
{
    clear();
    CHECK_EQ(histogram_median(&h), 0);
    CHECK_EQ(histogram_power(&h, 0), 0);
    histogram_merge(&h, &other);
    CHECK_EQ(h.count, 0);
}

/* One value alone is its own least, median and most, whatever its bucket's width. */
static void single_values(void)
{
    static const uint64_t values[] = {0, 1, 63, 64, 65, 12345, (1UL << 36) - 1};
    for (unsigned int i = 0; i < sizeof(values) / sizeof(values[0]); i++) {
        clear();
        histogram_add(&h, values[i]);
        CHECK_EQ(h.min, values[i]);
        CHECK_EQ(h.max, values[i]);
        CHECK_EQ(histogram_median(&h), values[i]);
    }
}

/* Buckets neither overlap nor leave gaps: a median is exact below 64, and to a 32nd above. */
static void medians(void)
{
    for (uint64_t value = 1; value < 1UL << 36; value += 1 + value / 37) {
        clear();
        histogram_add(&h, 0);
        histogram_add(&h, value);
        histogram_add(&h, UINT64_MAX);
        uint64_t median = histogram_median(&h);
        CHECK(median <= value && value - median <= (value < 64 ? 0 : value / 32));
    }
}

static void median_of_an_even_number(void)
{
    clear();
    histogram_add(&h, 10);
    histogram_add(&h, 20);
    CHECK_EQ(histogram_median(&h), 10);
    histogram_add(&h, 20);
    CHECK_EQ(histogram_median(&h), 20);
}

/* Each value is counted under its own power of two, and under no other. */
static void powers(void)
{
    for (unsigned int power = 0; power < HISTOGRAM_POWERS; power++) {
        clear();
        histogram_add(&h, 1UL << power);
        histogram_add(&h, (2UL << power) - 1);
        for (unsigned int i = 0; i < HISTOGRAM_POWERS; i++)
            CHECK_EQ(histogram_power(&h, i), i == power ? 2 : 0);
    }
    clear();
    histogram_add(&h, 0);
    histogram_add(&h, UINT64_MAX);
    CHECK_EQ(histogram_power(&h, 0), 1);
    CHECK_EQ(histogram_power(&h, HISTOGRAM_POWERS - 1), 1);
}

static void merged(void)
{
    clear();
    histogram_add(&h, 100);
    histogram_add(&other, 7);
    histogram_add(&other, 1000);
    histogram_merge(&h, &other);
    CHECK_EQ(h.count, 3);
    CHECK_EQ(h.min, 7);
    CHECK_EQ(h.max, 1000);
    CHECK_EQ(histogram_median(&h), 100);
}

/* Counters that are full stay full: wrapped ones would lie. */
static void full_counters(void)
{
    clear();
    h.bucket[5] = UINT32_MAX - 1;
    histogram_add(&h, 5);
    histogram_add(&h, 5);
    CHECK_EQ(h.bucket[5], UINT32_MAX);
    other.count = 1;
    other.bucket[5] = 9;
    histogram_merge(&h, &other);
    CHECK_EQ(h.bucket[5], UINT32_MAX);
}

int main(void)
{
    RUN(empty);
    RUN(single_values);
    RUN(medians);
    RUN(median_of_an_even_number);
    RUN(powers);
    RUN(merged);
    RUN(full_counters);
    return unit_end();
}
