/* SPDX-License-Identifier: BSD-2-Clause */
/* From Xen's entry to the end of the machine. The guest is dom0's module, and told dom0's words. */
#include "tests/bench/xen/dom0.h"

#include <string.h>
#include <xen/sched.h>

#define DIGITS_MAX 24U

_Noreturn void dom0_main(const struct start_info *info);

static void say(const char *text)
{
    hypercall(__HYPERVISOR_console_io, CONSOLEIO_write, strlen(text), (uintptr_t)text, 0);
}

/* Xen writes out what its console still holds, and resets the machine. */
static _Noreturn void end_machine(void)
{
    struct sched_shutdown shutdown = {.reason = SHUTDOWN_reboot};
    for (;;)
        hypercall(__HYPERVISOR_sched_op, SCHEDOP_shutdown, (uintptr_t)&shutdown, 0, 0);
}

_Noreturn void fail(const char *what, int64_t result)
{
    char digits[DIGITS_MAX];
    char *at = digits + sizeof(digits);
    uint64_t rest = result < 0 ? -(uint64_t)result : (uint64_t)result;
    *--at = '\0';
    do {
        *--at = (char)('0' + rest % 10);
        rest /= 10;
    } while (rest != 0);
    if (result < 0)
        *--at = '-';
    say("broken: dom0: ");
    say(what);
    say(": ");
    say(at);
    say("\nTest result: ERROR\n");
    end_machine();
}

/* The first word is the name of dom0's own file. */
static char *guest_words(const struct start_info *info)
{
    char *words = strchr((const char *)info->cmd_line, ' ');
    return words != NULL ? words + 1 : "";
}

_Noreturn void dom0_main(const struct start_info *info)
{
    static uint8_t low[LOW_SIZE];
    char *const words[] = {guest_words(info), NULL};
    if (info->mod_len == 0)
        fail("no module", 0);
    if (!entry_describe(low, 1, words))
        fail("the command line is too long", 0);
    domain_create();
    domain_put(0, low, sizeof(low), sizeof(low));
    uint32_t entry = entry_load((const uint8_t *)info->mod_start, domain_put);
    if (entry == 0)
        fail("the guest is too large", 0);
    domain_start(entry);
    unsigned int reason = domain_wait();
    if (reason != SHUTDOWN_poweroff)
        fail("the guest ended by reason", reason);
    end_machine();
}
