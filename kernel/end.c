/* SPDX-License-Identifier: BSD-2-Clause */
#include "kernel/end.h"
#include "kernel/console.h"
#include "kernel/tsc.h"
#include "kernel/x86.h"
#include <stdio.h>

#define SLP_EN           (1U << 13)
#define RESET_PORT       0xcf9
#define KEYBOARD_COMMAND 0x64
#define KEYBOARD_RESET   0xfe

static const struct config *config;
static const struct acpi_info *acpi;
static bool inexact;

void end_configure(const struct config *new_config, const struct acpi_info *new_acpi)
{
    config = new_config;
    acpi = new_acpi;
}

void end_mark_inexact(void)
{
    inexact = true;
}

bool end_is_inexact(void)
{
    return inexact;
}

static void power_off(void)
{
    console_flush();
    if (acpi == NULL || acpi->root == 0)
        return; /* a refusal before the tables were read */
    if (!acpi->has_s5 || acpi->pm1a_control.address == 0 ||
        acpi->pm1a_control.space != ACPI_SPACE_IO) {
        console_line("latch: no ACPI S5: cannot power off, halting");
        return;
    }
    uint16_t port = (uint16_t)acpi->pm1a_control.address;
    uint16_t keep = inw(port) & 0xc3ffU & ~SLP_EN;
    if (acpi->pm1b_control.address != 0)
        outw((uint16_t)acpi->pm1b_control.address,
             (uint16_t)((unsigned int)acpi->s5_type_b << 10 | SLP_EN));
    outw(port, (uint16_t)(keep | (unsigned int)acpi->s5_type_a << 10 | SLP_EN));
    tsc_delay(1000000);
    console_line("latch: the machine stayed on after ACPI S5, halting");
}

static void reset(void)
{
    console_flush();
    if (acpi != NULL && acpi->reset_supported && acpi->reset.space == ACPI_SPACE_IO)
        outb((uint16_t)acpi->reset.address, acpi->reset_value);
    outb(RESET_PORT, 0x02);
    outb(RESET_PORT, 0x06);
    tsc_delay(100000);
    outb(KEYBOARD_COMMAND, KEYBOARD_RESET);
    tsc_delay(1000000);
    console_line("latch: the machine did not reset, halting");
}

_Noreturn void end_halt(void)
{
    console_flush();
    for (;;)
        __asm__ volatile("cli; hlt");
}

void end_power_off(void)
{
    power_off();
    end_halt();
}

void end_reset(void)
{
    reset();
    end_halt();
}

void end_say_verdict(enum verdict verdict)
{
    static const char *const names[] = {
        [VERDICT_SUCCESS] = "SUCCESS",
        [VERDICT_SKIP] = "SKIP",
        [VERDICT_ERROR] = "ERROR",
        [VERDICT_FAILURE] = "FAILURE",
    };
    console_verdict_line("Test result: %s%s", names[verdict], inexact ? ", inexact" : "");
}

void end_exit_port(enum verdict verdict)
{
    console_flush();
    if (config != NULL && config->exit_port != 0)
        outb((uint16_t)config->exit_port, (uint8_t)verdict);
}

_Noreturn void end_machine(enum verdict verdict)
{
    end_exit_port(verdict);
    if (config != NULL && config->on_end == ON_END_POWEROFF)
        power_off();
    if (config != NULL && config->on_end == ON_END_RESET)
        reset();
    end_halt();
}

void end_run(enum verdict verdict)
{
    end_say_verdict(verdict);
    end_machine(verdict);
}

void end_refuse(const char *format, ...)
{
    char text[200];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(text, sizeof(text), format, arguments);
    va_end(arguments);
    console_line("latch: refused: %s", text);
    end_run(VERDICT_ERROR);
}
