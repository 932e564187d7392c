/* SPDX-License-Identifier: BSD-2-Clause */
/* The bench's monitor for KVM: what Linux finds of COM1, and of itself in memory. */
#include "tests/bench/kvm/monitor.h"
#include "tests/unit/unit.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define SETUP 1024U /* the setup part of the image: one sector beside the boot sector */
#define ENTRY 0x1000000U
#define MAGIC 0x53726448U /* "HdrS" */

enum { DATA, ENABLE, IDENTITY, LINE_CONTROL, MODEM_CONTROL, LINE_STATUS };

static bool irq;

void fail(const char *format, ...)
{
    (void)format;
    abort();
}

void set_irq(unsigned int pin, bool level)
{
    CHECK_EQ(pin, UART_IRQ);
    irq = level;
}

/* The steps by which Linux' driver knows a 16550A from its relatives. */
static void is_a_16550a(void)
{
    uart_write(ENABLE, 0x0f);
    CHECK_EQ(uart_read(ENABLE), 0x0f);
    uart_write(ENABLE, 0x40); /* no XScale */
    CHECK_EQ(uart_read(ENABLE), 0);
    CHECK_EQ(uart_read(IDENTITY), 1); /* no FIFO yet */
    uart_write(IDENTITY, 1);
    CHECK_EQ(uart_read(IDENTITY) >> 6, 3);
    uart_write(LINE_CONTROL, 0x80);
    uart_write(DATA, 1);
    uart_write(ENABLE, 0);
    CHECK_EQ(uart_read(DATA), 1);
    uart_write(LINE_CONTROL, 3);
    CHECK_EQ(uart_read(DATA), 0);
    CHECK_EQ(uart_read(LINE_STATUS), 0x60);
    CHECK(!irq);
}

/* An interrupt for each time that something has been sent, until it is asked for the reason. */
static void interrupts_when_sent(void)
{
    uart_write(ENABLE, 2);
    CHECK(irq);
    CHECK_EQ(uart_read(IDENTITY) & 0xf, 2);
    CHECK(!irq);
    CHECK_EQ(uart_read(IDENTITY) & 0xf, 1);
    CHECK(!uart_write(DATA, '.'));
    CHECK(irq);
    uart_write(ENABLE, 0);
    CHECK(!irq);
}

static bool say(const char *text)
{
    bool end = false;
    while (*text != '\0')
        end = uart_write(DATA, (uint8_t)*text++);
    return end;
}

static void ends_when_halted(void)
{
    static char longest[2000];
    memset(longest, 'x', sizeof(longest) - 1);
    CHECK(!say("\nreport: ok\r\n"));
    CHECK(!say(longest));
    CHECK(!say("\n"));
    CHECK(say("[   19.5] reboot: System halted\r\n"));
}

static void put32(uint8_t *at, uint32_t value)
{
    memcpy(at, &value, sizeof(value));
}

static uint32_t get32(const uint8_t *at)
{
    uint32_t value;
    memcpy(&value, at, sizeof(value));
    return value;
}

static void write_file(char *path, const void *bytes, size_t size)
{
    int file = mkstemp(path);
    CHECK(file >= 0 && write(file, bytes, size) == (ssize_t)size);
    close(file);
}

/* The places of the boot protocol's fields, by Documentation/arch/x86/boot.rst. */
static void loads_linux(void)
{
    static uint8_t image[SETUP + 16];
    char kernel[] = "/tmp/latch-kernel-XXXXXX", initrd[] = "/tmp/latch-initrd-XXXXXX";
    char one[] = "one", two[] = "two=2";
    uint8_t *memory = calloc(1, LINUX_MEMORY), *params = memory + LINUX_PARAMS;
    memset(image + SETUP, 0x5a, 16);
    image[0x1f1] = 1;
    put32(image + 0x202, MAGIC);
    put32(image + 0x238, 255);
    put32(image + 0x258, ENTRY);
    write_file(kernel, image, sizeof(image));
    write_file(initrd, "files", 5);
    CHECK_EQ(linux_load(memory, kernel, initrd, (char *[]){one, two, NULL}), ENTRY);
    CHECK_EQ(get32(memory + ENTRY), 0x5a5a5a5a);
    CHECK_EQ(get32(params + 0x202), MAGIC);
    CHECK_EQ(params[0x210], 0xff);
    CHECK_EQ(memcmp(memory + get32(params + 0x218), "files", get32(params + 0x21c)), 0);
    CHECK_EQ(get32(params + 0x21c), 5);
    CHECK_EQ(strcmp((char *)memory + get32(params + 0x228), "one two=2"), 0);
    CHECK_EQ(params[0x1e8], 2);
    CHECK_EQ(get32(params + 0x2d0 + 20), 0x100000);
    CHECK_EQ(get32(params + 0x2d0 + 28), LINUX_MEMORY - 0x100000);
    unlink(kernel);
    unlink(initrd);
    free(memory);
}

int main(void)
{
    RUN(is_a_16550a);
    RUN(interrupts_when_sent);
    RUN(ends_when_halted);
    RUN(loads_linux);
    return unit_end();
}
