/* SPDX-License-Identifier: BSD-2-Clause */
/* Which models the hardware enforces by itself, and what becomes of the others. */
#include "cpuid/rules.h"
#include "kernel/paging_choice.h"
#include "tests/unit/unit.h"
#include <string.h>

#define ALL_CR4  (CPU_CR4_PSE | CPU_CR4_PAE | CPU_CR4_LA57)
#define ALL_EFER (CPU_EFER_LME | CPU_EFER_NXE)

static const struct paging_props host = {.maxphyaddr = 40,
                                         .vendor = PAGING_AMD,
                                         .gbpages = true,
                                         .nx = true,
                                         .pse36 = true,
                                         .pat = true,
                                         .la57 = true};
static struct paging_props model;
static struct paging_question question;
static char text[160];

/* A question about a model like the host. */
static void begin(void)
{
    model = host;
    question =
        (struct paging_question){.model = &model, .host = &host, .cr4 = ALL_CR4, .efer = ALL_EFER};
}

static void check(bool narrow, enum paging_wanted wanted, enum vcpu_paging paging,
                  const char *unlike, const char *not_enforced)
{
    question.narrow = narrow;
    question.wanted = wanted;
    struct paging_choice choice = paging_choose(&question);
    CHECK_EQ(choice.paging, paging);
    CHECK_EQ(paging_describe(&question, choice.unlike, text, sizeof(text)), 0);
    CHECK(strcmp(text, unlike) == 0);
    CHECK_EQ(paging_describe(&question, choice.not_enforced, text, sizeof(text)), 0);
    CHECK(strcmp(text, not_enforced) == 0);
}

static void the_host_is_direct(void)
{
    begin();
    check(false, WANTED_AUTO, PAGED_DIRECT, "", "");
    check(true, WANTED_AUTO, PAGED_DIRECT, "", "");
    check(true, WANTED_DIRECT, PAGED_DIRECT, "", "");
    check(true, WANTED_SHADOW, PAGED_SHADOW, "", "");
}

static void what_the_rules_enforce_is_direct(void)
{
    begin();
    model.nx = false;
    model.la57 = false;
    check(false, WANTED_AUTO, PAGED_DIRECT, "NX hidden, LA57 hidden", "");
    check(true, WANTED_DIRECT, PAGED_DIRECT, "NX hidden, LA57 hidden", "");
}

static void a_smaller_width_is_checked_or_shadowed(void)
{
    begin();
    model.maxphyaddr = 36;
    check(true, WANTED_AUTO, PAGED_NARROW, "MAXPHYADDR 36 of 40", "");
    check(false, WANTED_AUTO, PAGED_SHADOW, "MAXPHYADDR 36 of 40", "");
    check(true, WANTED_DIRECT, PAGED_NARROW, "MAXPHYADDR 36 of 40", "");
    check(false, WANTED_DIRECT, PAGED_DIRECT, "MAXPHYADDR 36 of 40", "MAXPHYADDR 36 of 40");
    check(true, WANTED_SHADOW, PAGED_SHADOW, "MAXPHYADDR 36 of 40", "");
}

/* No model has LAM; where the CPU has it, CR3 takes two bits more. */
static void lam_is_checked_or_shadowed(void)
{
    begin();
    question.lam = true;
    question.checks_cr3 = true;
    check(false, WANTED_AUTO, PAGED_DIRECT, "LAM hidden", "");
    CHECK(paging_choose(&question).checks_cr3);
    check(true, WANTED_SHADOW, PAGED_SHADOW, "LAM hidden", "");
    CHECK(!paging_choose(&question).checks_cr3);
    model.maxphyaddr = 36;
    check(true, WANTED_AUTO, PAGED_NARROW, "MAXPHYADDR 36 of 40, LAM hidden", "");
    question.checks_cr3 = false;
    model.maxphyaddr = 40;
    check(false, WANTED_AUTO, PAGED_SHADOW, "LAM hidden", "");
    check(false, WANTED_DIRECT, PAGED_DIRECT, "LAM hidden", "LAM hidden");
    CHECK(!paging_choose(&question).checks_cr3);
    question.efer = 0;
    check(false, WANTED_AUTO, PAGED_DIRECT, "", "");
}

/* Marks are wrong beyond a limit only. */
static void lam_leaves_no_wrong_marks(void)
{
    begin();
    question.lam = true;
    question.checks_cr3 = true;
    question.marks = true;
    check(true, WANTED_AUTO, PAGED_DIRECT, "LAM hidden", "");
}

/* On such a machine narrow is used only where it is asked for, and named. */
static void a_width_whose_marks_are_wrong_is_shadowed(void)
{
    const char *words = "MAXPHYADDR 36 of 40 (A and D bits are set before the fault)";
    begin();
    model.maxphyaddr = 36;
    question.marks = true;
    check(true, WANTED_AUTO, PAGED_SHADOW, words, "");
    check(true, WANTED_DIRECT, PAGED_NARROW, words, words);
    check(false, WANTED_DIRECT, PAGED_DIRECT, "MAXPHYADDR 36 of 40", "MAXPHYADDR 36 of 40");
    begin();
    question.marks = true;
    check(true, WANTED_AUTO, PAGED_DIRECT, "", "");
}

/* Each alone asks for shadow paging, and direct names it. */
static void check_ignored(const char *words)
{
    check(true, WANTED_AUTO, PAGED_SHADOW, words, "");
    check(false, WANTED_AUTO, PAGED_SHADOW, words, "");
    check(true, WANTED_DIRECT, PAGED_DIRECT, words, words);
}

static void what_the_hardware_ignores_is_shadowed(void)
{
    begin();
    model.gbpages = false;
    check_ignored("1 GiB pages hidden");
    begin();
    model.vendor = PAGING_INTEL;
    check_ignored("Intel's rules on AMD");
    begin();
    model.pse36 = false;
    check_ignored("PSE36 hidden");
    begin();
    model.pat = false;
    check_ignored("PAT hidden");
    begin();
    model.cbit = 39;
    check_ignored("C-bit 39, an address bit to the hardware");
}

static void the_reduction_counts_with_a_cbit_only(void)
{
    begin();
    model.reduction = 4;
    check(true, WANTED_AUTO, PAGED_DIRECT, "", "");
    model.cbit = 39;
    check(true, WANTED_AUTO, PAGED_SHADOW,
          "MAXPHYADDR 36 of 40, C-bit 39, an address bit to the hardware", "");
}

static void several_at_once(void)
{
    begin();
    model.maxphyaddr = 36;
    model.gbpages = false;
    model.nx = false;
    check(true, WANTED_AUTO, PAGED_SHADOW, "MAXPHYADDR 36 of 40, 1 GiB pages hidden, NX hidden",
          "");
    check(true, WANTED_DIRECT, PAGED_NARROW, "MAXPHYADDR 36 of 40, 1 GiB pages hidden, NX hidden",
          "1 GiB pages hidden");
    check(false, WANTED_DIRECT, PAGED_DIRECT, "MAXPHYADDR 36 of 40, 1 GiB pages hidden, NX hidden",
          "MAXPHYADDR 36 of 40, 1 GiB pages hidden");
}

/* A difference in a mode that the model does not let the guest enter is none. */
static void what_cannot_be_reached_does_not_matter(void)
{
    begin();
    model.gbpages = false;
    question.efer = 0;
    check(true, WANTED_AUTO, PAGED_DIRECT, "", "");
    begin();
    model.pse36 = false;
    question.cr4 = CPU_CR4_PAE;
    check(true, WANTED_AUTO, PAGED_DIRECT, "", "");
    begin();
    model.vendor = PAGING_INTEL;
    model.maxphyaddr = 36;
    question.cr4 = 0;
    question.efer = 0;
    check(false, WANTED_AUTO, PAGED_DIRECT, "", "");
}

/* What a line has no room for comes with the next, whole; each once. */
static void what_does_not_fit_is_left(void)
{
    static const char *const texts[] = {
        "MAXPHYADDR 36 of 40 (A and D bits are set before the fault), 1 GiB pages hidden",
        "Intel's rules on AMD, C-bit 35, an address bit to the hardware, PSE36 hidden, PAT hidden, "
        "NX hidden",
        "LA57 hidden",
    };
    char line[PAGING_TEXT];
    begin();
    question.narrow = question.marks = true;
    model = (struct paging_props){.maxphyaddr = 36, .vendor = PAGING_INTEL, .cbit = 35};
    uint32_t left = paging_choose(&question).unlike;
    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
        CHECK(left != 0);
        left = paging_describe(&question, left, line, sizeof(line));
        CHECK(strcmp(line, texts[i]) == 0);
        if (strcmp(line, texts[i]) != 0)
            printf("#   '%s'\n", line);
    }
    CHECK_EQ(left, 0);
    CHECK_EQ(paging_describe(&question, 0, line, sizeof(line)), 0);
    CHECK(line[0] == '\0');
}

int main(void)
{
    RUN(the_host_is_direct);
    RUN(what_the_rules_enforce_is_direct);
    RUN(a_smaller_width_is_checked_or_shadowed);
    RUN(lam_is_checked_or_shadowed);
    RUN(lam_leaves_no_wrong_marks);
    RUN(a_width_whose_marks_are_wrong_is_shadowed);
    RUN(what_the_hardware_ignores_is_shadowed);
    RUN(the_reduction_counts_with_a_cbit_only);
    RUN(several_at_once);
    RUN(what_cannot_be_reached_does_not_matter);
    RUN(what_does_not_fit_is_left);
    return unit_end();
}
