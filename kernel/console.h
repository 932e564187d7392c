/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef LATCH_KERNEL_CONSOLE_H
#define LATCH_KERNEL_CONSOLE_H
/*
 * The console: whole lines, dated by the TSC, to the serial port that the configuration names and
 * to a log ring in memory. COM1 is the guest's after launch; from then on Latch writes only what
 * a person must see. Never called on the way of an exit that resumes.
 */
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>

/* Start with the port at its firmware or reset settings, 115200 8N1. 0: log ring only. */
void console_init(uint16_t port);
/* One line, without "\n": "[   0.123456] text". Lines of several CPUs do not mix. */
void console_line(const char *format, ...) __attribute__((format(printf, 1, 2)));
/* A line without a date, for what is read by programs: the verdict, model files. */
void console_verdict_line(const char *format, ...) __attribute__((format(printf, 1, 2)));
/* With `on` lines wait in the ring, and each call sends as much as the port takes at once: where
 * something else takes its time anyway. Without, what waits is sent, and lines are as ever. */
void console_defer(bool on);
/* Wait until the port has sent what it has been given. */
void console_idle(void);
/* Wait until the port has sent everything; before the machine goes off. */
void console_flush(void);
/* Forget the lock: the CPU that held it is stopped for good. Only for the fatal path. */
void console_break_lock(void);

#endif
