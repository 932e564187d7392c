/* SPDX-License-Identifier: BSD-2-Clause */
/* What it costs to set the sealed model again, and to be refused another one. */
#include "tests/bench/payload/bench.h"

#include <errno.h>

#define LEAVES_MAX 512U

static struct hypercall_leaf leaves[LEAVES_MAX];

static int64_t set(uint64_t count)
{
    return latch_hypercall(HYPERCALL_MODEL_SET, 0, (uint64_t)leaves, count, 0);
}

static void set_model(uint64_t count, uint64_t unused)
{
    (void)unused;
    (void)set(count);
}

static void measure_set(const char *name, uint64_t count, int64_t wanted)
{
    if (set(count) == wanted)
        row(name, set_model, count, 0);
    else
        row_absent(name, "Latch takes no model by hypercall; see test-hypercalls");
}

void measure_model(void)
{
    int64_t count = -1;
    if (under_latch())
        count = latch_hypercall(HYPERCALL_MODEL_GET, 0, (uint64_t)leaves, LEAVES_MAX, 0);
    if (count <= 0)
        return;
    measure_set("model-set-same", (uint64_t)count, 0);
    leaves[0].eax ^= 1U;
    measure_set("model-set-other", (uint64_t)count, -EBUSY);
}
