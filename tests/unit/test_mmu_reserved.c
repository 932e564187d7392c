/* SPDX-License-Identifier: BSD-2-Clause */
/* Every reserved mask that there is, against the rows of mmu_reference.h. */
#include "mmu/reserved.h"
#include "tests/unit/mmu_reference.h"
#include "tests/unit/unit.h"

static uint64_t reference_mask(enum paging_mode mode, unsigned int level, bool leaf,
                               const struct paging_props *props, bool nxe)
{
    uint64_t mask = 0;

    for (unsigned int bit = 0; bit < 64; bit++)
        if (reference_reserved(mode, level, leaf, props, nxe, bit))
            mask |= 1UL << bit;
    return mask;
}

static unsigned int compare_modes(const struct paging_props *props, bool nxe)
{
    unsigned int differ = 0;

    for (enum paging_mode mode = MODE_OFF; mode <= MODE_NPT; mode++) {
        unsigned int top = mode == MODE_EPT || mode == MODE_NPT ? 5 : paging_levels(mode);

        for (unsigned int level = 1; level <= top; level++)
            for (unsigned int leaf = level == 1; leaf < 2; leaf++)
                differ += reserved_mask(mode, level, leaf, props, nxe) !=
                          reference_mask(mode, level, leaf, props, nxe);
    }
    return differ;
}

static void every_mask(void)
{
    static const struct {
        uint8_t cbit, reduction;
    } encryption[] = {{0, 0}, {35, 0}, {43, 0}, {47, 0}, {47, 5}, {51, 1}, {47, 40}};

    for (unsigned int width = 32; width <= 52; width++) {
        unsigned int differ = 0;

        for (unsigned int e = 0; e < sizeof(encryption) / sizeof(encryption[0]); e++)
            for (unsigned int bits = 0; bits < 32; bits++) {
                struct paging_props props = {.maxphyaddr = (uint8_t)width,
                                             .cbit = encryption[e].cbit,
                                             .reduction = encryption[e].reduction,
                                             .vendor = bits & 1U ? PAGING_AMD : PAGING_INTEL,
                                             .gbpages = bits & 2U,
                                             .pse36 = bits & 4U,
                                             .pat = bits & 8U};

                differ += compare_modes(&props, bits & 16U);
            }
        CHECK_EQ(differ, 0U);
    }
}

/* Values written out by hand from the manuals. */
static void examples(void)
{
    struct paging_props intel = {
        .maxphyaddr = 36, .pse36 = true, .pat = true, .gbpages = true, .vendor = PAGING_INTEL};
    struct paging_props amd = {.maxphyaddr = 48,
                               .cbit = 47,
                               .pse36 = true,
                               .pat = true,
                               .reduction = 5,
                               .vendor = PAGING_AMD};

    CHECK_EQ(reserved_mask(MODE_32BIT_PSE, 2, true, &intel, true), 0x3e0000UL);
    CHECK_EQ(reserved_mask(MODE_4LEVEL, 4, false, &intel, true), 0x000ffff000000080UL);
    CHECK_EQ(reserved_mask(MODE_4LEVEL, 3, true, &intel, false), 0x800ffff03fffe000UL);
    CHECK_EQ(reserved_mask(MODE_PAE, 3, false, &intel, true), 0xfffffff0000001e6UL);
    CHECK_EQ(reserved_mask(MODE_5LEVEL, 5, false, &amd, true), 0x000f780000000180UL);
    CHECK_EQ(reserved_mask(MODE_4LEVEL, 3, false, &amd, true), 0x000f780000000080UL);
    CHECK_EQ(cr3_reserved_mask(MODE_4LEVEL, &intel), 0xfffffff000000000UL);
    CHECK_EQ(cr3_reserved_mask(MODE_4LEVEL, &amd), 0xffff780000000000UL);
    CHECK_EQ(cr3_reserved_mask(MODE_PAE, &intel), 0xffffffff00000000UL);
}

/* Rights and types of all EPT leaves: SDM vol. 3 §29.3.3.1. */
static void ept_leaves(void)
{
    struct paging_props host = {.maxphyaddr = 40, .gbpages = true, .pat = true};

    for (uint64_t low = 0; low < 64; low++)
        for (unsigned int level = 1; level <= 3; level++)
            for (unsigned int only = 0; only < 2; only++) {
                uint64_t rights = low & 7U, type = low >> 3;
                bool bad = rights == 2 || rights == 6 || (rights == 4 && !only) || type == 2 ||
                           type == 3 || type == 7;
                uint64_t entry = 0xc0000000UL | low | (level > 1 ? 0x80U : 0);

                CHECK_EQ(ept_misconfigured(entry, level, &host, only), rights != 0 && bad);
                CHECK_EQ(ept_misconfigured(entry | 1UL << 40, level, &host, only), rights != 0);
            }
    CHECK(!ept_misconfigured(0x1007, 4, &host, false));
    CHECK(ept_misconfigured(0x1087, 4, &host, false));
    CHECK(ept_misconfigured(0x100f, 3, &host, false));
    host.gbpages = false;
    CHECK(ept_misconfigured(0xc00000b7, 3, &host, false));
    CHECK(!ept_misconfigured(0xc00000b7, 2, &host, false));
}

static void widths(void)
{
    struct paging_props props = {.maxphyaddr = 43, .cbit = 47, .reduction = 5};

    CHECK_EQ(paging_width(&props), 38U);
    props.cbit = 0;
    CHECK_EQ(paging_width(&props), 43U);
    props = (struct paging_props){.maxphyaddr = 255, .cbit = 1, .reduction = 255};
    CHECK_EQ(paging_width(&props), 32U);
    props.reduction = 0;
    CHECK_EQ(paging_width(&props), 52U);
    props.maxphyaddr = 0;
    CHECK_EQ(paging_width(&props), 32U);
}

int main(void)
{
    RUN(every_mask);
    RUN(examples);
    RUN(ept_leaves);
    RUN(widths);
    return unit_end();
}
