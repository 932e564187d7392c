/* SPDX-License-Identifier: BSD-2-Clause */
#include "kernel/paging_choice.h"
#include "cpuid/rules.h"
#include "mmu/mmu.h"
#include <stdio.h>
#include <string.h>

#define TEXT 80U
_Static_assert(TEXT + 2 <= PAGING_TEXT, "one of them always has room");

/* What hardware that walks the guest's tables makes of a model that differs in one property. */
enum direct {
    HONOURS, /* with the intercepts that the model's rules set anyway */
    CHECKED, /* where the back end has PAGED_NARROW */
    IN_CR3,  /* where the back end can have loads of CR3 exit */
    IGNORES,
};

struct line {
    enum direct direct;
    uint64_t cr4, efer; /* it matters only to a guest that can set one of these */
    bool (*differs)(const struct paging_question *q);
    void (*describe)(const struct paging_question *q, char text[TEXT]);
};

static bool width_differs(const struct paging_question *q)
{
    return paging_width(q->model) < paging_width(q->host);
}

static void width_text(const struct paging_question *q, char text[TEXT])
{
    const struct paging_props *model = q->model, *host = q->host;
    snprintf(text, TEXT, "MAXPHYADDR %u of %u%s", paging_width(model), paging_width(host),
             q->narrow && q->marks ? " (A and D bits are set before the fault)" : "");
}

static bool vendor_differs(const struct paging_question *q)
{
    return q->model->vendor != q->host->vendor;
}

static void vendor_text(const struct paging_question *q, char text[TEXT])
{
    const struct paging_props *model = q->model, *host = q->host;
    const char *const name[] = {[PAGING_INTEL] = "Intel", [PAGING_AMD] = "AMD"};
    snprintf(text, TEXT, "%s's rules on %s", name[model->vendor == PAGING_AMD],
             name[host->vendor == PAGING_AMD]);
}

static bool cbit_differs(const struct paging_question *q)
{
    return q->model->cbit != q->host->cbit;
}

static void cbit_text(const struct paging_question *q, char text[TEXT])
{
    const struct paging_props *model = q->model, *host = q->host;
    if (model->cbit == 0)
        snprintf(text, TEXT, "no C-bit where the host has %u", host->cbit);
    else if (host->cbit == 0)
        snprintf(text, TEXT, "C-bit %u, an address bit to the hardware", model->cbit);
    else
        snprintf(text, TEXT, "C-bit %u where the host has %u", model->cbit, host->cbit);
}

static bool lam_differs(const struct paging_question *q)
{
    return q->lam;
}

static void lam_text(const struct paging_question *q, char text[TEXT])
{
    (void)q;
    snprintf(text, TEXT, "LAM hidden");
}

/* clang-format off */
#define HIDDEN(field, words)                                                                       \
    static bool field##_differs(const struct paging_question *q)                                   \
    {                                                                                              \
        return !q->model->field && q->host->field;                                                 \
    }                                                                                              \
    static void field##_text(const struct paging_question *q, char text[TEXT])                     \
    {                                                                                              \
        (void)q;                                                                                   \
        snprintf(text, TEXT, "%s", words " hidden");                                               \
    }
HIDDEN(gbpages, "1 GiB pages")
HIDDEN(pse36, "PSE36")
HIDDEN(pat, "PAT")
HIDDEN(nx, "NX")
HIDDEN(la57, "LA57")

#define LINE(name) .differs = name##_differs, .describe = name##_text

static const struct line lines[] = {
    /* Bits between the two limits are address bits to the hardware. */
    {LINE(width), .direct = CHECKED, .cr4 = CPU_CR4_PSE | CPU_CR4_PAE},
    /* Bit 7 of a PDPTE makes a page on a CPU that has them, whatever CPUID says. */
    {LINE(gbpages), .direct = IGNORES, .efer = CPU_EFER_LME},
    /* PML4E bit 8, and when PDPTEs are loaded. */
    {LINE(vendor), .direct = IGNORES, .cr4 = CPU_CR4_PAE},
    /* To the hardware it is an address bit, or reserved. */
    {LINE(cbit), .direct = IGNORES, .cr4 = CPU_CR4_PAE},
    /* Bits 20:13 of a 4 MiB PDE are reserved without it. */
    {LINE(pse36), .direct = IGNORES, .cr4 = CPU_CR4_PSE},
    /* The PAT bit of a leaf is reserved without it; not in long mode, whose CPUs all have it. */
    {LINE(pat), .direct = IGNORES, .cr4 = CPU_CR4_PSE | CPU_CR4_PAE},
    /* CR3[62:61] say how pointers are masked on a CPU that has it; in 64-bit mode only. */
    {LINE(lam), .direct = IN_CR3, .efer = CPU_EFER_LME},
    /* EFER.NXE cannot be set, so bit 63 is reserved in hardware too. */
    {LINE(nx), .direct = HONOURS, .cr4 = CPU_CR4_PAE},
    /* CR4.LA57 cannot be set. */
    {LINE(la57), .direct = HONOURS, .efer = CPU_EFER_LME},
};
/* clang-format on */

#define LINES (sizeof(lines) / sizeof(lines[0]))
_Static_assert(LINES <= 32, "one bit for each line");

static uint32_t unlike(const struct paging_question *q)
{
    uint32_t set = 0;
    for (size_t i = 0; i < LINES; i++) {
        bool reachable = (q->cr4 & lines[i].cr4) || (q->efer & lines[i].efer);
        if (reachable && lines[i].differs(q))
            set |= 1U << i;
    }
    return set;
}

static uint32_t of_kind(uint32_t set, enum direct direct)
{
    uint32_t found = 0;
    for (size_t i = 0; i < LINES; i++) {
        if (lines[i].direct == direct)
            found |= set & 1U << i;
    }
    return found;
}

struct paging_choice paging_choose(const struct paging_question *q)
{
    struct paging_choice choice = {.unlike = unlike(q)};
    uint32_t checked = of_kind(choice.unlike, CHECKED);
    uint32_t in_cr3 = of_kind(choice.unlike, IN_CR3);
    uint32_t ignored = of_kind(choice.unlike, IGNORES) | (q->narrow && !q->marks ? 0 : checked) |
                       (q->checks_cr3 ? 0 : in_cr3);

    if (q->wanted == WANTED_SHADOW || (q->wanted == WANTED_AUTO && ignored != 0)) {
        choice.paging = PAGED_SHADOW;
        return choice;
    }
    choice.paging = checked != 0 && q->narrow ? PAGED_NARROW : PAGED_DIRECT;
    choice.checks_cr3 = q->checks_cr3 && in_cr3 != 0;
    choice.not_enforced = ignored;
    return choice;
}

uint32_t paging_describe(const struct paging_question *q, uint32_t set, char *text, size_t size)
{
    size_t used = 0;

    text[0] = '\0';
    for (size_t i = 0; i < LINES; i++) {
        char words[TEXT];
        if (!(set >> i & 1))
            continue;
        lines[i].describe(q, words);
        if (used + strlen(words) + 2 >= size)
            break;
        used += (size_t)snprintf(text + used, size - used, "%s%s", used == 0 ? "" : ", ", words);
        set &= ~(1U << i);
    }
    return set;
}
