/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Models as text, in the format of `cpuid -r`:
 *
 *   CPU 0:
 *      0x00000001 0x00: eax=0x000906ea ebx=0x00100800 ecx=0x7ffafbff edx=0xbfebfbff
 *
 * Behind a heading vendor=intel or vendor=amd may stand: whose page-table rules hold, where that is not
 * the vendor of leaf 0. The tool's own reader (`cpuid -f`) looks no further than the colon.
 */
#ifndef LATCH_CPUID_TEXT_H
#define LATCH_CPUID_TEXT_H

#include "cpuid/dynamic.h"

/* What was wrong with a text, and where. */
struct text_error {
    uint32_t line;   /* from 1; 0 when the text as a whole is wrong */
    char found[48];  /* the line's beginning, with '?' for what does not print */
    const char *why; /* what was wanted */
};

/*
 * Reads the CPU number `cpu`, counted from 0 by "CPU" headings, from a text of `size` bytes, which
 * need not end in NUL, into *m; a text without a heading is CPU 0. The model is open afterwards.
 * -EINVAL with *error filled for a line that is not understood, an answer given twice, a CPU that
 * is not there or a text without leaf 0; -E2BIG likewise for too many answers.
 */
int text_parse(struct model *m, const char *text, size_t size, unsigned int cpu,
               struct text_error *error);

/* Takes one line, without its newline. */
typedef void text_line_fn(void *ctx, const char *line);

/*
 * Writes the model, line by line, as text_parse() reads it: a heading for `cpu`, then each answer,
 * of a finished model as after RESET. A sealed model has no APIC id of its own and goes through
 * text_print_as().
 */
void text_print(const struct model *m, unsigned int cpu, text_line_fn *sink, void *ctx);

/* Writes a finished model as the vCPU whose state is *d reads it, ids and all. */
void text_print_as(const struct model *m, const struct cpuid_dynamic *d, unsigned int cpu,
                   text_line_fn *sink, void *ctx);

#endif
