/* SPDX-License-Identifier: BSD-2-Clause */
#include "cpuid/seal.h"
#include "tests/unit/cpuid_data.h"
#include "tests/unit/unit.h"

#include <errno.h>
#include <string.h>

struct text {
    char bytes[65536];
    size_t length;
};

static void collect(void *ctx, const char *line)
{
    struct text *t = ctx;
    int written = snprintf(t->bytes + t->length, sizeof(t->bytes) - t->length, "%s\n", line);
    t->length += (size_t)written;
}

static void print(const struct model *m, struct text *t)
{
    t->length = 0;
    text_print(m, 0, collect, t);
}

static void a_dump_prints_as_it_was_read(void)
{
    static struct text original, printed;
    for (size_t i = 0; i < DUMPS; i++) {
        struct model m;
        original.length = load_text(dumps[i], original.bytes, sizeof(original.bytes));
        load_model(&m, dumps[i], 0);
        print(&m, &printed);
        unsigned int lines = 0;
        for (char *line = strtok(printed.bytes, "\n"); line; line = strtok(NULL, "\n")) {
            CHECK(strstr(original.bytes, line) != NULL);
            lines++;
        }
        CHECK_EQ(lines, m.count + 1);
    }
}

static void a_finished_model_survives_its_text(void)
{
    static struct text printed;
    for (size_t i = 0; i < DUMPS; i++)
        for (unsigned int cpu = 0; cpu < 2; cpu++) {
            struct model m, again;
            struct text_error error;
            load_model(&m, dumps[i], cpu);
            CHECK_EQ(model_finish(&m), 0);
            print(&m, &printed);
            CHECK_EQ(text_parse(&again, printed.bytes, printed.length, 0, &error), 0);
            CHECK_EQ(model_finish(&again), 0);
            CHECK(model_equal(&m, &again));
            CHECK_EQ(again.apic_id, m.apic_id);
            CHECK_EQ(again.core_id, m.core_id);
        }
}

/* What model=print gives of sealed models is a file of the same models, each with its ids. */
static void sealed_models_survive_their_text(void)
{
    static struct model storage[2];
    static struct text printed;
    struct seal s;
    struct model m, again;
    struct text_error error;
    CHECK_EQ(seal_init(&s, storage, 2, 2), 0);
    for (unsigned int cpu = 0; cpu < 2; cpu++) {
        load_model(&m, "zen3", cpu);
        CHECK_EQ(model_finish(&m), 0);
        CHECK_EQ(seal_set_model(&s, cpu, &m), 0);
    }
    CHECK_EQ(seal_close(&s), 0);
    printed.length = 0;
    for (unsigned int cpu = 0; cpu < 2; cpu++) {
        struct cpuid_dynamic d;
        cpuid_dynamic_reset(&d, s.vcpu[cpu].model, s.vcpu[cpu].apic_id);
        d.core_id = s.vcpu[cpu].core_id;
        d.node_id = s.vcpu[cpu].node_id;
        text_print_as(s.vcpu[cpu].model, &d, cpu, collect, &printed);
    }
    for (unsigned int cpu = 0; cpu < 2; cpu++) {
        CHECK_EQ(text_parse(&again, printed.bytes, printed.length, cpu, &error), 0);
        CHECK_EQ(model_finish(&again), 0);
        CHECK_EQ(seal_set_model(&s, cpu, &again), 0);
        CHECK_EQ(seal_set_model(&s, 1 - cpu, &again), -EBUSY); /* the other's id */
    }
}

static void add_answers(struct text *t, uint32_t leaf, uint32_t first, uint32_t last)
{
    for (uint32_t subleaf = first; subleaf <= last; subleaf++) {
        char line[96];
        snprintf(line, sizeof(line),
                 "   0x%08x 0x%02x: eax=0x%08x ebx=0x%08x ecx=0x00000100 edx=0x%08x", leaf, subleaf,
                 (leaf & 0x7fffffff) == 0 ? leaf + 0x26 : 0x121, 0x40 + subleaf, subleaf);
        collect(t, line);
    }
}

/*
 * As many answers as the tool gives of the largest CPUs, and with them the leaves that it asks for
 * everywhere: on Intel's they answer as the highest basic leaf does.
 */
static void a_dump_with_many_subleaves_is_read(void)
{
    static const struct {
        uint32_t leaf, last;
    } indexed[] = {{0x4, 4},  {0x7, 2},  {0xb, 2},         {0xd, 19},        {0xf, 1},
                   {0x10, 5}, {0x12, 4}, {0x14, 1},        {0x17, 3},        {0x18, 8},
                   {0x1b, 3}, {0x1d, 1}, {0x1e, 1},        {0x1f, 6},        {0x20, 1},
                   {0x23, 5}, {0x24, 1}, {0x8000001dU, 5}, {0x80000020U, 3}, {0x80000026U, 4}};
    static const uint32_t strange[] = {0x20000000, 0x40000100, 0x80860000, 0xc0000000};
    static struct text t;
    struct model m;
    struct text_error error;
    t.length = 0;
    for (unsigned int cpu = 0; cpu < 2; cpu++) {
        collect(&t, cpu == 0 ? "CPU 0:" : "CPU 1:");
        for (uint32_t leaf = 0; leaf <= 0x26; leaf++) {
            add_answers(&t, leaf, 0, 0);
            add_answers(&t, 0x80000000 + leaf, 0, 0);
        }
        for (size_t i = 0; i < sizeof(indexed) / sizeof(indexed[0]); i++)
            add_answers(&t, indexed[i].leaf, 1, indexed[i].last);
        for (size_t i = 0; i < sizeof(strange) / sizeof(strange[0]); i++)
            add_answers(&t, strange[i], 0, 0);
    }
    for (unsigned int cpu = 0; cpu < 2; cpu++) {
        CHECK_EQ(text_parse(&m, t.bytes, t.length, cpu, &error), 0);
        CHECK_EQ(m.count, 2 * 0x27 + 4 + 2 + 2 + 19 + 1 + 5 + 4 + 1 + 3 + 8 + 3 + 1 + 1 + 6 + 1 +
                              5 + 1 + 5 + 3 + 4);
        CHECK_EQ(model_finish(&m), 0);
        CHECK_EQ(model_lookup(&m, 0x18, 8)->regs.ebx, 0x48);
        CHECK_EQ(model_lookup(&m, 0x23, 5)->regs.ebx, 0x45);
    }
}

#define GOOD "0x00000000 0x00: eax=0x1 ebx=0x2 ecx=0x3 edx=0x4\n"

static int parse(const char *text, unsigned int cpu, struct text_error *error)
{
    static struct model m;
    memset(error, 0, sizeof(*error));
    return text_parse(&m, text, strlen(text), cpu, error);
}

static void good_texts_are_read(void)
{
    static const char *const texts[] = {
        GOOD,
        "CPU:\n" GOOD,
        "\n\n  CPU 0:  \r\n\t" GOOD "\r\n",
        "CPU 0:\n   0x00000000 0x00: eax=0xFFFFFFFF ebx=0xaB ecx=0x0 edx=0x0",
        GOOD "0x20000000 0x00: eax=0x0 ebx=0x0 ecx=0x0 edx=0x0\n"
             "0x80860000 0x00: eax=0x0 ebx=0x0 ecx=0x0 edx=0x0\n",
    };
    struct text_error error;
    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++)
        CHECK_EQ(parse(texts[i], 0, &error), 0);
    CHECK_EQ(parse("CPU 0:\n" GOOD "CPU 1:\n" GOOD, 1, &error), 0);
}

/* The one paging property that no leaf says stands in the heading, where `cpuid -f` reads over it. */
static void the_heading_says_whose_rules(void)
{
    static const struct {
        const char *text;
        int vendor[2];
    } cases[] = {
        {GOOD, {-1, -1}},
        {"CPU 0:\n" GOOD "CPU 1: vendor=amd\n" GOOD, {-1, PAGING_AMD}},
        {"CPU 0: vendor=amd\n" GOOD "CPU 1:\n" GOOD, {PAGING_AMD, -1}},
        {"CPU 0: vendor=intel  \r\n" GOOD "CPU: vendor=amd\n" GOOD, {PAGING_INTEL, PAGING_AMD}},
    };
    struct text_error error;
    struct model m;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
        for (unsigned int cpu = 0; cpu < (i == 0 ? 1 : 2); cpu++) {
            CHECK_EQ(text_parse(&m, cases[i].text, strlen(cases[i].text), cpu, &error), 0);
            CHECK_EQ(m.paging_vendor, cases[i].vendor[cpu]);
        }
}

static void vendors_are_printed(void)
{
    static const struct {
        int16_t vendor;
        const char *heading;
    } cases[] = {
        {-1, "CPU 0:\n"}, {PAGING_AMD, "CPU 0:\n"}, {PAGING_INTEL, "CPU 0: vendor=intel\n"}};
    static struct text printed;
    struct model m, again;
    struct text_error error;
    for (size_t i = 0; i < 2 * sizeof(cases) / sizeof(cases[0]); i++) {
        load_model(&m, "zen3", 0);
        m.paging_vendor = cases[i / 2].vendor;
        if (i % 2 == 1)
            CHECK_EQ(model_finish(&m), 0);
        print(&m, &printed);
        CHECK_EQ(strncmp(printed.bytes, cases[i / 2].heading, strlen(cases[i / 2].heading)), 0);
        CHECK_EQ(text_parse(&again, printed.bytes, printed.length, 0, &error), 0);
        CHECK_EQ(model_finish(&m), 0);
        CHECK_EQ(model_finish(&again), 0);
        CHECK(model_equal(&m, &again));
    }
}

static void bad_lines_are_named(void)
{
    static const char *const lines[] = {
        "hello",
        "0x00000001",
        "0x00000001 0x00",
        "0x00000001 0x00: eax=0x1 ebx=0x2 ecx=0x3",
        "0x00000001 0x00: eax=0x1 ebx=0x2 ecx=0x3 edx=",
        "0x00000001 0x00: eax=0x1 ebx=0x2 ecx=0x3 edx=0x",
        "0x00000001 0x00: eax=0x1 ebx=0x2 ecx=0x3 edx=0x123456789",
        "0x00000001 0x00: eax=0x1 ebx=0x2 ecx=0x3 edx=0x1 more",
        "0x00000001 0x00: ebx=0x1 eax=0x2 ecx=0x3 edx=0x1",
        "0x00000001 0x00: eax=0x1ebx=0x2 ecx=0x3 edx=0x1",
        "0x00000001 0x00 : eax=0x1 ebx=0x2 ecx=0x3 edx=0x1",
        "0x000000001 0x00: eax=0x1 ebx=0x2 ecx=0x3 edx=0x1",
        "00000001 00: eax=0x1 ebx=0x2 ecx=0x3 edx=0x1",
        "0x00000001 0x00: eax=-1 ebx=0x2 ecx=0x3 edx=0x1",
        "0x00000001 0xffffffff: eax=0x1 ebx=0x2 ecx=0x3 edx=0x1",
        "0x00000000 0x00: eax=0x1 ebx=0x2 ecx=0x3 edx=0x4",
        "CPU zero:",
        "CPU 0",
        "CPU 0: vendor=via",
        "CPU 0: vendor=amd vendor=intel",
        "CPU 0: cbit=40",
        "\001\002\003",
    };
    struct text_error error;
    for (size_t i = 0; i < sizeof(lines) / sizeof(lines[0]); i++) {
        char text[256];
        snprintf(text, sizeof(text), "CPU 0:\n%s\n%s\n%s", GOOD, lines[i], GOOD);
        CHECK_EQ(parse(text, 0, &error), -EINVAL);
        CHECK_EQ(error.line, 4);
        CHECK(error.why && error.why[0]);
        if (lines[i][0] >= ' ')
            CHECK_EQ(strncmp(error.found, lines[i], 20), 0);
        else
            CHECK_EQ(strcmp(error.found, "???"), 0);
    }
}

static void a_missing_cpu_is_named(void)
{
    struct text_error error;
    CHECK_EQ(parse("", 0, &error), -EINVAL);
    CHECK_EQ(error.line, 0);
    CHECK_EQ(parse("CPU 0:\n" GOOD, 1, &error), -EINVAL);
    CHECK_EQ(parse("CPU 0:\n", 0, &error), -EINVAL);
    CHECK_EQ(parse("0x00000001 0x00: eax=0x1 ebx=0x2 ecx=0x3 edx=0x4", 0, &error), -EINVAL);
}

static void too_many_answers_are_refused(void)
{
    static struct text t;
    static struct model m;
    struct text_error error;
    t.length = 0;
    collect(&t, "0x00000000 0x00: eax=0x1 ebx=0x2 ecx=0x3 edx=0x4");
    for (unsigned int i = 0; i < 300; i++) {
        char line[96];
        snprintf(line, sizeof(line), "0x0000000d 0x%02x: eax=0x1 ebx=0x2 ecx=0x3 edx=0x4", i);
        collect(&t, line);
    }
    CHECK_EQ(text_parse(&m, t.bytes, t.length, 0, &error), -E2BIG);
    CHECK_EQ(error.line, MODEL_MAX_LEAVES);
}

/* No prefix of a dump and no dump with a byte changed does more than succeed or be refused. */
static void damaged_dumps_do_no_harm(void)
{
    static struct text t;
    static struct model m;
    struct text_error error;
    unsigned long refused = 0;
    t.length = load_text("zen3", t.bytes, sizeof(t.bytes));
    for (size_t i = 0; i < t.length; i += 7) {
        refused += text_parse(&m, t.bytes, i, 0, &error) != 0;
        char kept = t.bytes[i];
        t.bytes[i] = (char)(kept ^ 0x55);
        int result = text_parse(&m, t.bytes, t.length, 0, &error);
        if (result == 0)
            (void)model_finish(&m);
        refused += result != 0;
        t.bytes[i] = kept;
    }
    CHECK(refused > 100);
}

static void print_out(void *ctx, const char *line)
{
    (void)ctx;
    puts(line);
}

/* What is read of each CPU of a file, as it is written back; each is a whole model. */
static int write_back(const char *path)
{
    static char bytes[1U << 20];
    static struct model m;
    struct text_error error;
    FILE *f = fopen(path, "r");
    if (!f)
        return 1;
    size_t length = fread(bytes, 1, sizeof(bytes), f);
    fclose(f);
    unsigned int cpu = 0;
    while (text_parse(&m, bytes, length, cpu, &error) == 0) {
        text_print(&m, cpu++, print_out, NULL);
        if (model_finish(&m))
            return 1;
    }
    if (error.line != 0)
        printf("line %u: '%s': %s\n", error.line, error.found, error.why);
    return cpu == 0 || error.line != 0;
}

/* With a file's name: that file alone, for the suite. */
int main(int count, char **words)
{
    if (count > 1)
        return write_back(words[1]);
    RUN(a_dump_prints_as_it_was_read);
    RUN(a_finished_model_survives_its_text);
    RUN(sealed_models_survive_their_text);
    RUN(a_dump_with_many_subleaves_is_read);
    RUN(good_texts_are_read);
    RUN(the_heading_says_whose_rules);
    RUN(vendors_are_printed);
    RUN(bad_lines_are_named);
    RUN(a_missing_cpu_is_named);
    RUN(too_many_answers_are_refused);
    RUN(damaged_dumps_do_no_harm);
    return unit_end();
}
