/* SPDX-License-Identifier: BSD-2-Clause */
#include "kernel/refusal.h"
#include <stdarg.h>
#include <stdio.h>

void refusal_write(struct refusal *why, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(why->text, sizeof why->text, format, arguments);
    va_end(arguments);
    /* Text from outside may be quoted in it, and must not steer the terminal. */
    for (char *c = why->text; *c != '\0'; c++) {
        if (*c < ' ' || *c > '~') {
            *c = '?';
        }
    }
}
