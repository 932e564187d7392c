/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef LATCH_CPUID_REFUSE_H
#define LATCH_CPUID_REFUSE_H

#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>

/* Where a refusal's one line goes: at most `size` bytes with its NUL, none if that is 0. */
struct refusal {
    char *message;
    size_t size;
};

/* Writes the line and returns `error`. */
__attribute__((format(printf, 3, 4))) static inline int refuse(const struct refusal *to, int error,
                                                               const char *format, ...)
{
    va_list arguments;

    va_start(arguments, format);
    if (to->size > 0)
        (void)vsnprintf(to->message, to->size, format, arguments);
    va_end(arguments);
    return error;
}

#endif
