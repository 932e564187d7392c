/* SPDX-License-Identifier: BSD-2-Clause */
/* After launch no model can be set but the sealed one. */
#include "tests/guest/lib/payload.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#define ROWS_MAX      160U
#define LEAF1_OSXSAVE (1U << 27)
#define MANY          100U

static struct hypercall_leaf model[ROWS_MAX], changed[ROWS_MAX];
static uint64_t rows;

static int64_t set(unsigned int vcpu, const struct hypercall_leaf *leaves, uint64_t count)
{
    return latch_hypercall(HYPERCALL_MODEL_SET, vcpu, (uint64_t)leaves, count, 0);
}

static void check_set(const char *name, int64_t wanted, const struct hypercall_leaf *leaves)
{
    check_equal(name, (uint64_t)wanted, (uint64_t)set(0, leaves, rows));
}

static struct hypercall_leaf *find(uint32_t leaf)
{
    for (uint64_t i = 0; i < rows; i++)
        if (changed[i].leaf == leaf)
            return &changed[i];
    broken("the model has no leaf 0x%x", leaf);
}

static void check_refused(const char *name, uint32_t leaf, uint32_t flip_eax, uint32_t flip_edx)
{
    memcpy(changed, model, sizeof(changed));
    find(leaf)->eax ^= flip_eax;
    find(leaf)->edx ^= flip_edx;
    check_set(name, -EBUSY, changed);
}

/* A guest cannot flood the console with what it is refused: the suite counts the lines. */
static void check_many(void)
{
    unsigned int refused = 0;
    memcpy(changed, model, sizeof(changed));
    find(1)->eax ^= 1;
    printf("info seal: many sets begin\n");
    for (unsigned int i = 0; i < MANY; i++)
        refused += set(0, changed, rows) == -EBUSY;
    printf("info seal: many sets end\n");
    check_equal("seal.many-refused", MANY, refused);
}

static void check_unchanged(const char *name)
{
    int64_t now = latch_hypercall(HYPERCALL_MODEL_GET, 0, (uint64_t)changed, ROWS_MAX, 0);
    check(now == (int64_t)rows && memcmp(model, changed, sizeof(model[0]) * rows) == 0, name,
          "the sealed table of %lu rows is now one of %ld rows", rows, (long)now);
}

static void check_dynamic_bits(void)
{
    memcpy(changed, model, sizeof(changed));
    find(1)->ecx |= LEAF1_OSXSAVE;
    check_set("seal.dynamic-bits-count-as-derived", 0, changed);
}

/* A vCPU's table has its APIC id, and so is no other's; id 0 is one like the others. */
static void check_other_vcpu(void)
{
    if (processor_count < 2)
        return;
    check_equal("seal.table-of-another-refused", (uint64_t)-EBUSY, (uint64_t)set(1, model, rows));
    int64_t count = latch_hypercall(HYPERCALL_MODEL_GET, 1, (uint64_t)changed, ROWS_MAX, 0);
    check_equal("seal.table-of-another-is-its-own", 0,
                (uint64_t)set(1, changed, count > 0 ? (uint64_t)count : 1));
    check_equal("seal.table-of-another-not-mine", (uint64_t)-EBUSY,
                (uint64_t)set(0, changed, count > 0 ? (uint64_t)count : 1));
}

/* Two pages for each vCPU's model as it is sealed, and as many that it is copied from. */
static void check_pages(void)
{
    uint64_t page = 0;
    int64_t result;
    while ((result = latch_hypercall(HYPERCALL_SEAL_TEST, page, 0, 0, 0)) == -EFAULT)
        page++;
    check(result == -EINVAL && page == 4UL * processor_count, "seal.no-page-writable",
          "page %lu gave %ld", page, (long)result);
}

static void check_malformed(void)
{
    check_equal("seal.no-such-vcpu", (uint64_t)-EINVAL, (uint64_t)set(99, model, rows));
    check_equal("seal.no-rows", (uint64_t)-EINVAL, (uint64_t)set(0, model, 0));
    check_equal("seal.too-many-rows", (uint64_t)-EINVAL, (uint64_t)set(0, model, 1U << 20));
    check_equal("seal.rows-outside-ram", (uint64_t)-EFAULT,
                (uint64_t)latch_hypercall(HYPERCALL_MODEL_SET, 0, 0xfffff000ffffUL, rows, 0));
    check_equal("seal.get-too-small", (uint64_t)-ENOSPC,
                (uint64_t)latch_hypercall(HYPERCALL_MODEL_GET, 0, (uint64_t)changed, 1, 0));
    check_equal("seal.no-such-hypercall", (uint64_t)-ENOSYS,
                (uint64_t)latch_hypercall(4711, 0, 0, 0, 0));
}

int main(void)
{
    if (!under_latch()) {
        check_skip("seal", "no Latch, so no sealed model");
        return 0;
    }
    int64_t count = latch_hypercall(HYPERCALL_MODEL_GET, 0, (uint64_t)model, ROWS_MAX, 0);
    if (count <= 0)
        broken("MODEL_GET returned %ld", (long)count);
    rows = (uint64_t)count;
    if (boot_word("closed", NULL)) {
        check_set("seal.set-needs-test-hypercalls", -ENOSYS, model);
        return 0;
    }
    check_set("seal.identical-accepted", 0, model);
    check_dynamic_bits();
    check_many(); /* first, when nothing has been said yet */
    check_refused("seal.other-stepping-refused", 1, 1, 0);
    check_refused("seal.feature-gone-refused", 1, 0, 1U << 25);
    check_refused("seal.other-maxphyaddr-refused", 0x80000008U, 1, 0);
    check_unchanged("seal.table-unchanged");
    check_other_vcpu();
    check_pages();
    check_malformed();
    check_set("seal.identical-accepted-again", 0, model);
    return 0;
}
