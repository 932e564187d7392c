/* SPDX-License-Identifier: BSD-2-Clause */
/* The console, and what newlib wants of an operating system. */
#include "tests/guest/lib/runtime.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>

#define COM1              0x3f8U
#define COM1_LINE_STATUS  (COM1 + 5U)
#define HOLDING_EMPTY     0x20U
#define TRANSMITTER_EMPTY 0x40U

static uint16_t debug_port; /* takes characters and is always ready; 0: there is none */
static char heap[1U << 20];
static size_t heap_used;

int write(int file, const char *text, size_t length);
int read(int file, char *text, size_t length);
int close(int file);
int isatty(int file);
int lseek(int file, int offset, int from);
int getpid(void);
int kill(int process, int signal);
void *sbrk(ptrdiff_t bytes);
_Noreturn void _exit(int status);

struct found_at_start found_at_start;

/* 115200 8N1, FIFOs on, no interrupts. */
void console_init(void)
{
    static const uint8_t registers[] = {1, 3, 4, 7};
    const char *port;
    if (boot_word("console", &port)) {
        debug_port = (uint16_t)strtoul(port, NULL, 0);
        return;
    }
    for (unsigned int i = 0; i < sizeof(registers); i++)
        found_at_start.uart[i] = inb((uint16_t)(COM1 + registers[i]));
    outb(COM1 + 1U, 0);
    outb(COM1 + 3U, 0x80);
    outb(COM1, 1);
    outb(COM1 + 1U, 0);
    outb(COM1 + 3U, 3);
    outb(COM1 + 2U, 7);
    outb(COM1 + 4U, 3);
}

static void put(char c)
{
    if (debug_port != 0) {
        outb(debug_port, (uint8_t)c);
        return;
    }
    while (!(inb(COM1_LINE_STATUS) & HOLDING_EMPTY))
        cpu_pause();
    outb(COM1, (uint8_t)c);
}

void console_write(const char *text, size_t length)
{
    for (size_t i = 0; i < length; i++) {
        if (text[i] == '\n')
            put('\r');
        put(text[i]);
    }
}

void console_drain(void)
{
    while (debug_port == 0 && !(inb(COM1_LINE_STATUS) & TRANSMITTER_EMPTY))
        cpu_pause();
}

int write(int file, const char *text, size_t length)
{
    (void)file;
    console_write(text, length);
    return (int)length;
}

int read(int file, char *text, size_t length)
{
    (void)file;
    (void)text;
    (void)length;
    return 0;
}

int close(int file)
{
    (void)file;
    return 0;
}

int fstat(int fd, struct stat *sbuf)
{
    (void)fd;
    *sbuf = (struct stat){.st_mode = S_IFCHR};
    return 0;
}

int isatty(int file)
{
    (void)file;
    return 1;
}

int lseek(int file, int offset, int from)
{
    (void)file;
    (void)offset;
    (void)from;
    return 0;
}

int getpid(void)
{
    return 1;
}

int kill(int process, int signal)
{
    (void)process;
    (void)signal;
    errno = EINVAL;
    return -1;
}

void *sbrk(ptrdiff_t bytes)
{
    if (bytes < 0 || heap_used + (size_t)bytes > sizeof(heap)) {
        errno = ENOMEM;
        return (void *)-1;
    }
    heap_used += (size_t)bytes;
    return heap + heap_used - bytes;
}

void _exit(int status)
{
    broken("newlib called _exit(%d)", status);
}
