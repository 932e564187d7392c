/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef LATCH_KERNEL_REFUSAL_H
#define LATCH_KERNEL_REFUSAL_H
/*
 * Why something from outside was not accepted: one line with what was wanted, what was found
 * and what to do about it. Every parser and loader takes one from its caller and fills it when
 * it returns an error; nothing is printed here.
 */

#define REFUSAL_TEXT 200

struct refusal {
    char text[REFUSAL_TEXT];
};

/*
 * Writes the line (printf-style, cut off at the end of the buffer) and returns -error, so that a
 * check reads `return refuse(why, EINVAL, "...")`. `error` is a positive errno value.
 */
int refuse(struct refusal *why, int error, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

#endif
