/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef LATCH_KERNEL_REFUSAL_H
#define LATCH_KERNEL_REFUSAL_H
/*
 * Why something from outside was not accepted: one line with what was wanted, what was found
 * and what to do about it. Every parser and loader takes one from its caller and fills it when
 * it returns an error; nothing is printed here.
 */

#define REFUSAL_TEXT 240

struct refusal {
    char text[REFUSAL_TEXT];
};

/* Writes the line, printf-style; what does not fit is cut off, and what is not ASCII masked. */
void refusal_write(struct refusal *why, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

/*
 * The same, with the value -error (a positive errno value), so that a check reads
 * `return refuse(why, EINVAL, "...")`. A macro, as then the compiler sees that it is not 0.
 */
#define refuse(why, error, ...) (refusal_write((why), __VA_ARGS__), -(error))

#endif
