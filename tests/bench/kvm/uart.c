/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * COM1 as a 16550 that has always sent what it was given, and gets nothing. What is sent goes to
 * standard output, which the monitor buffers: printing is no part of what the guest measures.
 */
#include "tests/bench/kvm/monitor.h"

#include <stdio.h>
#include <string.h>

enum { DATA, ENABLE, IDENTITY, LINE_CONTROL, MODEM_CONTROL, LINE_STATUS, MODEM_STATUS, SCRATCH };

#define DIVISOR_ACCESS   0x80U
#define ENABLE_SENT      0x02U /* an interrupt whenever the transmitter is empty */
#define ENABLE_MASK      0x0fU
#define FIFO_ENABLE      0x01U
#define FIFO_ENABLED     0xc0U
#define IDENTITY_SENT    0x02U
#define IDENTITY_NONE    0x01U
#define TRANSMITTER_IDLE 0x60U
#define MODEM_CONNECTED  0xb0U /* CTS, DSR and DCD */
#define LINE_MAX         256U

static uint8_t registers[SCRATCH + 1], divisor[2], fifo;
static bool sent; /* since IDENTITY has been read */
static char line[LINE_MAX];
static size_t length;

static bool divisor_selected(unsigned int offset)
{
    return (registers[LINE_CONTROL] & DIVISOR_ACCESS) && offset <= ENABLE;
}

static void update_interrupt(void)
{
    static bool is;
    bool wanted = sent && (registers[ENABLE] & ENABLE_SENT);
    if (is != wanted)
        set_irq(UART_IRQ, wanted);
    is = wanted;
}

/* True if this ends a line by which the guest's kernel says that it is done. */
static bool put(uint8_t byte)
{
    putchar(byte);
    if (byte != '\n') {
        if (length < LINE_MAX - 1)
            line[length++] = (char)byte;
        return false;
    }
    line[length] = '\0';
    length = 0;
    return strstr(line, "reboot: System halted") != NULL;
}

bool uart_write(unsigned int offset, uint8_t value)
{
    bool end = false;
    if (divisor_selected(offset)) {
        divisor[offset] = value;
        return false;
    }
    if (offset == DATA)
        end = put(value);
    else if (offset == IDENTITY)
        fifo = value & FIFO_ENABLE ? FIFO_ENABLED : 0;
    else if (offset != LINE_STATUS && offset != MODEM_STATUS)
        registers[offset] = offset == ENABLE ? value & ENABLE_MASK : value;
    if (offset == DATA || offset == ENABLE) {
        sent = true;
        update_interrupt();
    }
    return end;
}

uint8_t uart_read(unsigned int offset)
{
    if (divisor_selected(offset))
        return divisor[offset];
    if (offset == DATA)
        return 0;
    if (offset == LINE_STATUS)
        return TRANSMITTER_IDLE;
    if (offset == MODEM_STATUS)
        return MODEM_CONNECTED;
    if (offset != IDENTITY)
        return registers[offset];
    bool pending = sent && (registers[ENABLE] & ENABLE_SENT);
    sent = false;
    update_interrupt();
    return fifo | (pending ? IDENTITY_SENT : IDENTITY_NONE);
}
