/* SPDX-License-Identifier: BSD-2-Clause */
#include "cpuid/text.h"
#include "cpuid/rules.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#define LINE_WANTED    "expected 0xLEAF 0xSUBLEAF: eax=0x... ebx=0x... ecx=0x... edx=0x..."
#define HEADING_WANTED "expected CPU N: and behind it nothing, vendor=intel or vendor=amd"

#define VENDOR_INTEL "vendor=intel"
#define VENDOR_AMD   "vendor=amd"

/* What is left of a line. */
struct cursor {
    const char *at, *end;
};

static void skip_blanks(struct cursor *c)
{
    while (c->at < c->end && (*c->at == ' ' || *c->at == '\t' || *c->at == '\r'))
        c->at++;
}

static bool take(struct cursor *c, const char *word)
{
    size_t length = strlen(word);

    if ((size_t)(c->end - c->at) < length || memcmp(c->at, word, length) != 0)
        return false;
    c->at += length;
    return true;
}

static int hex_digit(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    if (c >= 'a' && c <= 'f')
        return c - 'a' + 10;
    return c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

/* "0x" and one to eight hexadecimal digits. */
static bool take_hex(struct cursor *c, uint32_t *value)
{
    unsigned int digits = 0;

    *value = 0;
    if (!take(c, "0x"))
        return false;
    while (c->at < c->end && hex_digit(*c->at) >= 0) {
        if (++digits > 8)
            return false;
        *value = *value << 4 | (uint32_t)hex_digit(*c->at++);
    }
    return digits > 0;
}

static bool take_register(struct cursor *c, const char *name, uint32_t *value)
{
    const char *before = c->at;

    skip_blanks(c);
    return c->at > before && take(c, name) && take_hex(c, value);
}

static bool at_end(struct cursor *c)
{
    skip_blanks(c);
    return c->at == c->end;
}

/* "CPU:" or "CPU 12:", with blanks around it; and the one paging property that no leaf says. */
static bool parse_heading(struct cursor c, int16_t *vendor)
{
    *vendor = -1;
    skip_blanks(&c);
    if (!take(&c, "CPU"))
        return false;
    skip_blanks(&c);
    while (c.at < c.end && *c.at >= '0' && *c.at <= '9')
        c.at++;
    if (!take(&c, ":"))
        return false;
    skip_blanks(&c);
    if (take(&c, VENDOR_INTEL))
        *vendor = PAGING_INTEL;
    else if (take(&c, VENDOR_AMD))
        *vendor = PAGING_AMD;
    return at_end(&c);
}

static bool parse_answer(struct cursor c, struct cpuid_leaf *row)
{
    skip_blanks(&c);
    if (!take_hex(&c, &row->leaf) || c.at == c.end || *c.at != ' ')
        return false;
    skip_blanks(&c);
    return take_hex(&c, &row->subleaf) && take(&c, ":") &&
           take_register(&c, "eax=", &row->regs.eax) && take_register(&c, "ebx=", &row->regs.ebx) &&
           take_register(&c, "ecx=", &row->regs.ecx) && take_register(&c, "edx=", &row->regs.edx) &&
           at_end(&c);
}

static bool is_heading(struct cursor c)
{
    skip_blanks(&c);
    return take(&c, "CPU");
}

static int fail(struct text_error *error, uint32_t line, struct cursor c, const char *why)
{
    size_t length = 0;

    while (c.at < c.end && length < sizeof(error->found) - 1) {
        char letter = *c.at++;
        error->found[length++] = letter >= ' ' && letter <= '~' ? letter : '?';
    }
    error->found[length] = '\0';
    error->line = line;
    error->why = why;
    return -EINVAL;
}

/* One answer of the wanted CPU. What has no place in a model was no leaf of that CPU either. */
static int store(struct model *m, const struct cpuid_leaf *row, const char **why)
{
    if (!model_has_place(row->leaf))
        return 0;
    *why = "the same leaf and subleaf were given before";
    if (model_find_const(m, row->leaf, row->subleaf))
        return -EINVAL;
    *why = "the subleaf is out of range";
    if (row->subleaf == MODEL_SUBLEAF_REST)
        return -EINVAL;
    *why = "there are more answers than a model holds";
    return model_set(m, row->leaf, row->subleaf, &row->regs);
}

int text_parse(struct model *m, const char *text, size_t size, unsigned int cpu,
               struct text_error *error)
{
    const char *end = text + size;
    uint32_t line = 0;
    uint32_t headings = 0;

    model_init(m);
    while (text < end) {
        const char *newline = memchr(text, '\n', (size_t)(end - text));
        struct cursor c = {.at = text, .end = newline ? newline : end};
        struct cursor whole = c;
        struct cpuid_leaf row = {.leaf = 0};
        const char *why = NULL;
        int16_t vendor;

        line++;
        text = newline ? newline + 1 : end;
        if (at_end(&c))
            continue;
        if (parse_heading(c, &vendor)) {
            if (headings++ == cpu)
                m->paging_vendor = vendor;
            continue;
        }
        if (!parse_answer(c, &row))
            return fail(error, line, whole, is_heading(c) ? HEADING_WANTED : LINE_WANTED);
        if ((headings ? headings - 1 : 0) != cpu)
            continue;
        int result = store(m, &row, &why);
        if (result) {
            (void)fail(error, line, whole, why);
            return result;
        }
    }
    struct cursor none = {.at = end, .end = end};
    if (!model_find_const(m, 0, 0))
        return fail(error, 0, none, "the text has no leaf 0 of the CPU that is wanted");
    return 0;
}

static void print_row(const struct cpuid_leaf *row, const struct cpuid_regs *r, text_line_fn *sink,
                      void *ctx)
{
    char line[96];

    snprintf(line, sizeof(line), "   0x%08x 0x%02x: eax=0x%08x ebx=0x%08x ecx=0x%08x edx=0x%08x",
             (unsigned int)row->leaf, (unsigned int)row->subleaf, (unsigned int)r->eax,
             (unsigned int)r->ebx, (unsigned int)r->ecx, (unsigned int)r->edx);
    sink(ctx, line);
}

/* Nothing where leaf 0 says whose rules the CPU has. */
static const char *own_vendor(const struct model *m)
{
    const struct paging_props props = m->finished ? m->paging : rules_paging(m);
    const bool amd = props.vendor == PAGING_AMD;

    if (amd == model_is_amd(m))
        return "";
    return amd ? " " VENDOR_AMD : " " VENDOR_INTEL;
}

/* With a state the dynamic bits are laid over; without one the rows are as they are stored. */
static void print(const struct model *m, const struct cpuid_dynamic *d, unsigned int cpu,
                  text_line_fn *sink, void *ctx)
{
    char line[48];

    snprintf(line, sizeof(line), "CPU %u:%s", cpu, own_vendor(m));
    sink(ctx, line);
    for (uint32_t i = 0; i < m->count; i++) {
        const struct cpuid_leaf *row = &m->leaves[i];
        struct cpuid_regs r = row->regs;
        if (row->subleaf == MODEL_SUBLEAF_REST)
            continue;
        if (d && row->dynamic)
            cpuid_overlay(row->leaf, row->subleaf, &r, d);
        print_row(row, &r, sink, ctx);
    }
}

void text_print(const struct model *m, unsigned int cpu, text_line_fn *sink, void *ctx)
{
    struct cpuid_dynamic reset;

    if (m->finished)
        cpuid_dynamic_reset(&reset, m, m->apic_id);
    print(m, m->finished ? &reset : NULL, cpu, sink, ctx);
}

void text_print_as(const struct model *m, const struct cpuid_dynamic *d, unsigned int cpu,
                   text_line_fn *sink, void *ctx)
{
    print(m, d, cpu, sink, ctx);
}
