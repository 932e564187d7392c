/* SPDX-License-Identifier: BSD-2-Clause */
/* Check lines, and the end of the machine. */
#include "tests/guest/lib/payload.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

static enum verdict worst = VERDICT_SUCCESS;
static unsigned int checks;

static void raise_to(enum verdict verdict)
{
    if (verdict > worst)
        worst = verdict;
}

bool check(bool ok, const char *name, const char *format, ...)
{
    checks++;
    if (ok) {
        printf("ok %s\n", name);
        return true;
    }
    raise_to(VERDICT_FAILURE);
    printf("FAIL %s: ", name);
    va_list arguments;
    va_start(arguments, format);
    vprintf(format, arguments);
    va_end(arguments);
    printf("\n");
    return false;
}

bool check_equal(const char *name, uint64_t wanted, uint64_t found)
{
    return check(wanted == found, name, "wanted 0x%lx, found 0x%lx", wanted, found);
}

void check_absent(const char *name, const char *why)
{
    printf("absent %s: %s\n", name, why);
}

void check_skip(const char *name, const char *why)
{
    raise_to(VERDICT_SKIP);
    printf("skip %s: %s\n", name, why);
}

/* QEMU ends by its debug-exit port, Bochs by the word that its own port waits for. */
static _Noreturn void end_machine(void)
{
    console_drain();
    outl(0xf4, worst);
    for (const char *c = "Shutdown"; *c; c++)
        outb(0x8900, (uint8_t)*c);
    for (;;)
        __asm__ volatile("cli; hlt");
}

void finish(void)
{
    static const char *const names[] = {"SUCCESS", "SKIP", "ERROR", "FAILURE"};
    if (checks == 0 && worst < VERDICT_SKIP) {
        printf("broken: no check was made\n");
        raise_to(VERDICT_ERROR);
    }
    fflush(stdout);
    if (under_latch())
        latch_hypercall(HYPERCALL_VERDICT, worst, 0, 0, 0);
    printf("Test result: %s\n", names[worst]);
    fflush(stdout);
    end_machine();
}

void broken(const char *format, ...)
{
    raise_to(VERDICT_ERROR);
    printf("broken: ");
    va_list arguments;
    va_start(arguments, format);
    vprintf(format, arguments);
    va_end(arguments);
    printf("\n");
    finish();
}
