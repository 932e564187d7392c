/* SPDX-License-Identifier: BSD-2-Clause */
/* The model by CPUID, and by the command line what CPUID does not show. */
#include "tests/guest/paging/paging.h"

#include <stdio.h>
#include <string.h>

struct leaf {
    uint32_t a, b, c, d;
};

/* All zeros where CPUID does not have it. */
static struct leaf leaf(uint32_t number)
{
    struct leaf l = {0, 0, 0, 0};
    cpuid_raw(number & 0x80000000U, 0, &l.a, &l.b, &l.c, &l.d);
    if (l.a < number)
        return (struct leaf){0, 0, 0, 0};
    cpuid_raw(number, 0, &l.a, &l.b, &l.c, &l.d);
    return l;
}

/* Without Latch a C-bit counts only after firmware switched it on. */
static void read_cbit(struct paging_props *props)
{
    struct leaf memory = leaf(0x8000001fU);
    if (!under_latch() || !(memory.a & 3U))
        return;
    props->cbit = memory.b & 63U;
    props->reduction = memory.b >> 6 & 63U;
}

static bool word_is(const char *word, const char *wanted)
{
    const char *value;
    return boot_word(word, &value) && strncmp(value, wanted, strlen(wanted)) == 0;
}

static bool rules_are_amd(void)
{
    char own[16];
    snprintf(own, sizeof(own), "vendor%u", this_processor()->index);
    const char *word = boot_word(own, NULL) ? own : "vendor";
    return boot_word(word, NULL) ? word_is(word, "amd") : vendor_is_amd();
}

void model_read(struct model *model)
{
    struct leaf basic = leaf(1), seven = leaf(7), extended = leaf(0x80000001U);
    struct leaf sizes = leaf(0x80000008U);
    bool amd = rules_are_amd();
    *model = (struct model){
        .props =
            {
                .maxphyaddr = sizes.a == 0 ? 36 : sizes.a & 0xffU,
                .vendor = amd ? PAGING_AMD : PAGING_INTEL,
                .gbpages = extended.d >> 26 & 1U,
                .nx = extended.d >> 20 & 1U,
                .pse36 = basic.d >> 17 & 1U,
                .pat = basic.d >> 16 & 1U,
                .la57 = seven.c >> 16 & 1U,
            },
        .pdptes_held = amd ? word_is("pdptes", "load") : !word_is("pdptes", "demand"),
        .smep = seven.b >> 7 & 1U,
        .smap = seven.b >> 20 & 1U,
        .pku = seven.c >> 3 & 1U,
        .pge = basic.d >> 13 & 1U,
    };
    read_cbit(&model->props);
}

uint64_t model_cr4(const struct model *model)
{
    return (model->smep ? CR4_SMEP : 0) | (model->smap ? CR4_SMAP : 0) |
           (model->pge ? CR4_PGE : 0) | (model->pku ? CR4_PKE : 0);
}

void model_print(const char *who, const struct model *model)
{
    const struct paging_props *p = &model->props;
    printf("info %s: rules %s, MAXPHYADDR %u, C-bit %u, reduction %u, gbpages %d, nx %d, pse36 %d, "
           "pat %d, la57 %d, PDPTEs %s, smep %d, smap %d, pku %d\n",
           who, p->vendor == PAGING_AMD ? "AMD" : "Intel", p->maxphyaddr, p->cbit, p->reduction,
           p->gbpages, p->nx, p->pse36, p->pat, p->la57,
           model->pdptes_held ? "loaded with CR3" : "read on demand", model->smep, model->smap,
           model->pku);
}
