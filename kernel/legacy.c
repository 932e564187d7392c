/* SPDX-License-Identifier: BSD-2-Clause */
#include "kernel/legacy.h"
#include "kernel/x86.h"
#include <stdbool.h>
#include <stdint.h>

#define PIC1            0x20U
#define PIC2            0xa0U
#define ELCR            0x4d0U
#define PIT             0x40U
#define PIT_CHANNELS    3U
#define PIT_READ_STATUS 0xe0U
#define PIT_MODE        0x3fU
#define PIT_BYTES       0x30U /* which are written: both */
#define PIT_DEFAULT     0x36U
#define SPEAKER         0x61U
#define NMI_MASKS       0xcU
#define FAST_A20        0x92U
#define FAST_RESET      1U
#define CMOS            0x70U
#define NONE            0xffU /* what a port reads that is not there */

#define KEYBOARD            0x60U
#define KEYBOARD_COMMAND    0x64U
#define KEYBOARD_FULL       1U /* status: a byte to read, */
#define KEYBOARD_BUSY       2U /* or one that it has not taken yet */
#define KEYBOARD_POLLS      20000U
#define READ_CONFIGURATION  0x20U
#define WRITE_CONFIGURATION 0x60U
#define DISABLE_KEYBOARD    0xadU
#define DISABLE_MOUSE       0xa7U
#define READ_OUTPUT         0xd0U
#define WRITE_OUTPUT        0xd1U
#define OUTPUT_NO_RESET     1U
#define SET_DEFAULTS        0xf6U /* to the keyboard itself */

#define DMA_CHANNELS   4U /* of each controller */
#define DMA_PAGES      0x81U
#define DMA_PAGE_PORTS 15U
#define DMA_CASCADE    0xc0U

#define UARTS 4U

struct dma {
    uint16_t port, step; /* ports lie `step` apart */
    uint16_t word[2U * DMA_CHANNELS];
};

struct uart {
    uint16_t port;
    bool there;
    uint8_t interrupts, line, modem, divisor_low, divisor_high, scratch;
};

static struct uart uart[UARTS] = {
    {.port = 0x3f8}, {.port = 0x2f8}, {.port = 0x3e8}, {.port = 0x2e8}};
static struct dma dma[2] = {{.port = 0, .step = 1}, {.port = 0xc0, .step = 2}};
static uint8_t dma_page[DMA_PAGE_PORTS];
static uint8_t pic_mask[2], elcr[2], pit_mode[PIT_CHANNELS], speaker, fast_a20;
/* Alarm seconds, minutes and hours, then A and B, which may turn the alarm on. */
static const uint8_t clock_register[] = {1, 3, 5, 0x0a, 0x0b};
#define CLOCK_REGISTERS sizeof(clock_register)
static uint8_t clock[CLOCK_REGISTERS];
static bool has_keyboard;
static uint8_t keyboard_configuration, keyboard_output;

/* The vectors that PC firmware uses; they cannot be read. */
static void restore_pics(void)
{
    static const uint8_t words[2][4] = {{0x11, 0x08, 0x04, 0x01}, {0x11, 0x70, 0x02, 0x01}};
    for (unsigned int i = 0; i < 2; i++) {
        const uint16_t port = i == 0 ? PIC1 : PIC2;
        if ((elcr[0] & elcr[1]) != NONE)
            outb((uint16_t)(ELCR + i), elcr[i]);
        outb(port, words[i][0]);
        for (unsigned int k = 1; k < 4; k++)
            outb(port + 1, words[i][k]);
        outb(port + 1, pic_mask[i]);
    }
}

/* The modes by the read-back command; a channel that tells none counts both bytes of a square wave. */
static void save_pit(void)
{
    for (unsigned int i = 0; i < PIT_CHANNELS; i++) {
        outb(PIT + 3, (uint8_t)(PIT_READ_STATUS | 2U << i));
        pit_mode[i] = inb((uint16_t)(PIT + i)) & PIT_MODE;
        if (!(pit_mode[i] & PIT_BYTES))
            pit_mode[i] = PIT_DEFAULT;
    }
}

/* Channel 0 ticks 18.2 times a second, channel 1 once asked for refreshes, channel 2 is the speaker's
 * and off: of what it was to count from nothing can be read. */
static void restore_pit(void)
{
    static const uint16_t counts[PIT_CHANNELS] = {0, 0x12, 0};
    for (unsigned int i = 0; i < PIT_CHANNELS; i++) {
        const uint16_t port = (uint16_t)(PIT + i);
        outb(PIT + 3, (uint8_t)(i << 6 | pit_mode[i]));
        outb(port, (uint8_t)counts[i]);
        if ((pit_mode[i] & PIT_BYTES) == PIT_BYTES)
            outb(port, (uint8_t)(counts[i] >> 8));
    }
    outb(SPEAKER, speaker & NMI_MASKS);
}

static uint8_t cmos_read(uint8_t index)
{
    outb(CMOS, index);
    return inb(CMOS + 1);
}

static void cmos_write(uint8_t index, uint8_t value)
{
    outb(CMOS, index);
    outb(CMOS + 1, value);
}

static void restore_clock(void)
{
    for (unsigned int i = 0; i < CLOCK_REGISTERS; i++)
        cmos_write(clock_register[i], clock_register[i] == 0x0a ? clock[i] & 0x7f : clock[i]);
    (void)cmos_read(0x0c); /* what it has asked for is forgotten */
}

static uint16_t dma_port(const struct dma *d, unsigned int index)
{
    return (uint16_t)(d->port + d->step * index);
}

/* Addresses and counts are read and written by their halves. */
static void save_dma(struct dma *d)
{
    outb(dma_port(d, 12), 0); /* the lower half is next */
    for (unsigned int i = 0; i < 2 * DMA_CHANNELS; i++) {
        d->word[i] = inb(dma_port(d, i));
        d->word[i] |= (uint16_t)(inb(dma_port(d, i)) << 8);
    }
}

/* The master clear masks all channels; the second controller's first one is the way to the first. */
static void restore_dma(const struct dma *d)
{
    outb(dma_port(d, 13), 0);
    for (unsigned int i = 0; i < DMA_CHANNELS; i++)
        outb(dma_port(d, 11), (uint8_t)(i | (d->port != 0 && i == 0 ? DMA_CASCADE : 0)));
    for (unsigned int i = 0; i < 2 * DMA_CHANNELS; i++) {
        outb(dma_port(d, i), (uint8_t)d->word[i]);
        outb(dma_port(d, i), (uint8_t)(d->word[i] >> 8));
    }
    if (d->port != 0)
        outb(dma_port(d, 10), 0);
}

static void keyboard_wait(uint8_t status, uint8_t wanted)
{
    for (unsigned int i = 0; i < KEYBOARD_POLLS && (inb(KEYBOARD_COMMAND) & status) != wanted; i++)
        cpu_pause();
}

static void keyboard_write(uint16_t port, uint8_t value)
{
    keyboard_wait(KEYBOARD_BUSY, 0);
    outb(port, value);
    keyboard_wait(KEYBOARD_BUSY, 0);
}

static uint8_t keyboard_read(uint8_t command)
{
    keyboard_write(KEYBOARD_COMMAND, command);
    keyboard_wait(KEYBOARD_FULL, KEYBOARD_FULL);
    return inb(KEYBOARD);
}

static void keyboard_drain(void)
{
    for (unsigned int i = 0; i < 32 && (inb(KEYBOARD_COMMAND) & KEYBOARD_FULL); i++)
        (void)inb(KEYBOARD);
}

static void save_keyboard(void)
{
    has_keyboard = inb(KEYBOARD_COMMAND) != NONE;
    if (!has_keyboard)
        return;
    keyboard_drain();
    keyboard_configuration = keyboard_read(READ_CONFIGURATION);
    keyboard_output = keyboard_read(READ_OUTPUT);
}

/* A command of the guest's may still wait for its byte: the first one here takes its place. */
static void restore_keyboard(void)
{
    if (!has_keyboard)
        return;
    keyboard_write(KEYBOARD_COMMAND, WRITE_OUTPUT);
    keyboard_write(KEYBOARD, keyboard_output | OUTPUT_NO_RESET);
    keyboard_write(KEYBOARD_COMMAND, DISABLE_MOUSE);
    keyboard_write(KEYBOARD, SET_DEFAULTS);
    keyboard_wait(KEYBOARD_FULL, KEYBOARD_FULL); /* for what it answers */
    keyboard_write(KEYBOARD_COMMAND, DISABLE_KEYBOARD);
    keyboard_drain();
    keyboard_write(KEYBOARD_COMMAND, WRITE_CONFIGURATION);
    keyboard_write(KEYBOARD, keyboard_configuration);
}

static void save_uart(struct uart *u)
{
    const uint16_t port = u->port;
    u->there = inb(port + 5) != NONE;
    if (!u->there)
        return;
    u->interrupts = inb(port + 1);
    u->line = inb(port + 3);
    u->modem = inb(port + 4);
    u->scratch = inb(port + 7);
    outb(port + 3, u->line | 0x80);
    u->divisor_low = inb(port);
    u->divisor_high = inb(port + 1);
    outb(port + 3, u->line);
}

static void restore_uart(const struct uart *u)
{
    const uint16_t port = u->port;
    if (!u->there)
        return;
    outb(port + 3, u->line & 0x7f);
    outb(port + 1, 0);
    outb(port + 2, 0x07); /* empty both FIFOs, */
    outb(port + 2, 0);    /* and off */
    outb(port + 3, u->line | 0x80);
    outb(port, u->divisor_low);
    outb(port + 1, u->divisor_high);
    outb(port + 3, u->line);
    outb(port + 4, u->modem);
    outb(port + 7, u->scratch);
    outb(port + 1, u->interrupts);
}

void legacy_save(void)
{
    pic_mask[0] = inb(PIC1 + 1);
    pic_mask[1] = inb(PIC2 + 1);
    elcr[0] = inb(ELCR);
    elcr[1] = inb(ELCR + 1);
    save_pit();
    speaker = inb(SPEAKER);
    fast_a20 = inb(FAST_A20);
    for (unsigned int i = 0; i < CLOCK_REGISTERS; i++)
        clock[i] = cmos_read(clock_register[i]);
    for (unsigned int i = 0; i < 2; i++)
        save_dma(&dma[i]);
    for (unsigned int i = 0; i < DMA_PAGE_PORTS; i++)
        dma_page[i] = inb((uint16_t)(DMA_PAGES + i));
    save_keyboard();
    for (unsigned int i = 0; i < UARTS; i++)
        save_uart(&uart[i]);
}

void legacy_restore(void)
{
    for (unsigned int i = 0; i < 2; i++)
        restore_dma(&dma[i]);
    for (unsigned int i = 0; i < DMA_PAGE_PORTS; i++)
        outb((uint16_t)(DMA_PAGES + i), dma_page[i]);
    restore_clock();
    restore_pit();
    restore_keyboard();
    if (fast_a20 != NONE)
        outb(FAST_A20, (uint8_t)(fast_a20 & ~FAST_RESET));
    for (unsigned int i = 0; i < UARTS; i++)
        restore_uart(&uart[i]);
    restore_pics();
}
