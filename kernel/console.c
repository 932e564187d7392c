/* SPDX-License-Identifier: BSD-2-Clause */
#include "kernel/console.h"
#include "kernel/lock.h"
#include "kernel/tsc.h"
#include "kernel/x86.h"
#include <stdio.h>
#include <string.h>

#define LINE_MAX  256U
#define DATE_MAX  32U
#define RING_SIZE 16384U
/* 16550 UART, names as in its data sheet. */
#define UART_THR      0
#define UART_DLL      0
#define UART_IER      1
#define UART_DLM      1
#define UART_FCR      2
#define UART_IIR      2
#define UART_LCR      3
#define UART_MCR      4
#define UART_LCR_DLAB 0x80U
#define UART_MCR_LOOP 0x10U
#define UART_LSR      5
#define UART_LSR_THRE 0x20
#define UART_LSR_TEMT 0x40
#define UART_IIR_FIFO 0xc0
#define UART_FIFO     16U
/* A UART that is not there or stuck must not hang Latch: a full FIFO at 300 baud fits. */
#define UART_POLLS 1000000U

/* Read by a debugger, or out of a memory dump: the newest text ends at ring_end % RING_SIZE. */
char console_ring[RING_SIZE];
uint64_t console_ring_end;

static struct lock console_lock;
static uint16_t uart;
static uint64_t sent; /* of the ring, to the UART */
static bool deferred; /* lines stay in the ring until they are asked for */

void console_init(uint16_t port)
{
    uart = port;
    if (port == 0)
        return;
    outb(port + UART_IER, 0);
    outb(port + UART_LCR, UART_LCR_DLAB);
    outb(port + UART_DLL, 1); /* 115200 baud */
    outb(port + UART_DLM, 0);
    outb(port + UART_LCR, 3); /* 8N1 */
    outb(port + UART_FCR, 7);
    outb(port + UART_MCR, 3);
}

static void wait_for(uint8_t status)
{
    for (uint32_t polls = 0; polls < UART_POLLS && !(inb(uart + UART_LSR) & status); polls++)
        cpu_pause();
}

/* The guest may have left the port with interrupts on, the FIFO off, its registers the divisor's (LCR
 * bit 7) or its output looped back (MCR bit 4); writing must not look like its own. */
static void send(bool wait)
{
    if (uart == 0)
        sent = console_ring_end;
    if (sent == console_ring_end)
        return;
    const uint8_t line = inb(uart + UART_LCR), modem = inb(uart + UART_MCR);
    outb(uart + UART_LCR, (uint8_t)(line & ~UART_LCR_DLAB));
    outb(uart + UART_MCR, (uint8_t)(modem & ~UART_MCR_LOOP));
    const uint8_t interrupts = inb(uart + UART_IER);
    outb(uart + UART_IER, 0);
    const unsigned int takes =
        (inb(uart + UART_IIR) & UART_IIR_FIFO) == UART_IIR_FIFO ? UART_FIFO : 1;
    while (sent != console_ring_end) {
        if (wait)
            wait_for(UART_LSR_THRE);
        else if (!(inb(uart + UART_LSR) & UART_LSR_THRE))
            break;
        for (unsigned int i = 0; i < takes && sent != console_ring_end; i++)
            outb(uart + UART_THR, (uint8_t)console_ring[sent++ % RING_SIZE]);
    }
    outb(uart + UART_IER, interrupts);
    outb(uart + UART_MCR, modem);
    outb(uart + UART_LCR, line);
}

static void put(char c)
{
    if (console_ring_end - sent == RING_SIZE)
        send(true);
    console_ring[console_ring_end++ % RING_SIZE] = c;
}

static void put_text(const char *text)
{
    for (; *text != '\0'; text++)
        put(*text);
}

/* The date is read under the lock, so that no line is dated before the one above it. */
static void put_line(bool dated, const char *text)
{
    char date[DATE_MAX] = "";
    lock(&console_lock);
    if (dated) {
        uint64_t now = tsc_microseconds();
        snprintf(date, sizeof(date), "[%5lu.%06lu] ", now / 1000000, now % 1000000);
    }
    put_text(date);
    put_text(text);
    put_text("\r\n");
    if (!deferred)
        send(true);
    unlock(&console_lock);
}

void console_defer(bool on)
{
    lock(&console_lock);
    deferred = on;
    send(!on);
    unlock(&console_lock);
}

void console_line(const char *format, ...)
{
    char text[LINE_MAX];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(text, sizeof(text), format, arguments);
    va_end(arguments);
    put_line(true, text);
}

void console_verdict_line(const char *format, ...)
{
    char text[LINE_MAX];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(text, sizeof(text), format, arguments);
    va_end(arguments);
    put_line(false, text);
}

void console_idle(void)
{
    if (uart != 0)
        wait_for(UART_LSR_TEMT);
}

void console_flush(void)
{
    console_defer(false);
    console_idle();
}

void console_break_lock(void)
{
    deferred = false;
    unlock(&console_lock);
}
