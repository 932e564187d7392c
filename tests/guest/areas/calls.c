/* SPDX-License-Identifier: BSD-2-Clause */
/* Hypercalls with what they refuse: a defined error, and nothing else happens. */
#include "tests/guest/areas/areas.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#define DIGEST      32U
#define ROWS_MAX    160U
#define MODEL_BYTES (ROWS_MAX * sizeof(struct hypercall_leaf))
#define COM1        0x3f8
#define UART_LCR    3
#define UART_MCR    4
#define CONSOLE_MAX 200U

static uint64_t latch_start, latch_end;

static int64_t call(bool narrow, uint64_t number, uint64_t a, uint64_t b, uint64_t c)
{
    if (narrow)
        return latch_hypercall32((uint32_t)number, (uint32_t)a, (uint32_t)b, (uint32_t)c);
    return latch_hypercall(number, a, b, c, 0);
}

static void check_call(const char *what, bool narrow, int64_t wanted, uint64_t number, uint64_t a,
                       uint64_t b, uint64_t c)
{
    char name[64];
    snprintf(name, sizeof(name), "calls.%s-%u", what, width(narrow));
    check_equal(name, (uint64_t)wanted, (uint64_t)call(narrow, number, a, b, c));
}

/* Each that takes an address, with ones that are not all RAM of the guest's. */
static void check_addresses(bool narrow)
{
    const uint64_t below = latch_start - 16;
    uint64_t kept[2];
    memcpy(kept, (const void *)below, sizeof(kept));
    const struct {
        const char *name;
        uint64_t number, a;
        bool second; /* the address is the second argument */
        uint64_t last;
    } calls[] = {
        {"digest", HYPERCALL_DIGEST, 0, false, 0},
        {"model-get", HYPERCALL_MODEL_GET, 0, true, ROWS_MAX},
        {"console", HYPERCALL_CONSOLE, 0, false, 64},
        {"vcpu-op", HYPERCALL_VCPU_OP, XEN_REGISTER_RUNSTATE_PHYS_AREA, true, 0},
    };
    const struct {
        const char *name;
        uint64_t address;
        bool wide;
    } places[] = {
        {"in-latch", latch_start, false},           {"at-the-end-of-latch", latch_end - 8, false},
        {"crossing-into-latch", below, false},      {"outside-ram", 0xd0000000U, false},
        {"at-4-gib", 0xfffffff8U, false},           {"beyond-52-bits", NOWHERE, true},
        {"at-the-last-byte", UINT64_MAX - 7, true},
    };
    for (unsigned int i = 0; i < sizeof(calls) / sizeof(calls[0]); i++)
        for (unsigned int k = 0; k < sizeof(places) / sizeof(places[0]); k++) {
            uint64_t address = places[k].address;
            char name[64];
            if (narrow && places[k].wide)
                continue;
            if (calls[i].number == HYPERCALL_VCPU_OP) { /* its argument holds one */
                if (places[k].address == below)
                    address += 12; /* 8 bytes are read */
                snprintf(name, sizeof(name), "%s-%s", calls[i].name, places[k].name);
                check_call(name, narrow, -EFAULT, calls[i].number, calls[i].a, 0, address);
                continue;
            }
            snprintf(name, sizeof(name), "%s-%s", calls[i].name, places[k].name);
            check_call(name, narrow, -EFAULT, calls[i].number, calls[i].second ? 0 : address,
                       calls[i].second ? address : calls[i].last, calls[i].last);
        }
    check(memcmp(kept, (const void *)below, sizeof(kept)) == 0, "calls.refused-writes-nothing",
          "below Latch there is something else now");
}

static void check_arguments(bool narrow)
{
    check_call("digest-unaligned", narrow, -EINVAL, HYPERCALL_DIGEST, (uint64_t)pages[0] + 1, 0, 0);
    check_call("model-get-no-such-vcpu", narrow, -EINVAL, HYPERCALL_MODEL_GET, processor_count,
               (uint64_t)pages[0], ROWS_MAX);
    check_call("model-get-too-small", narrow, -ENOSPC, HYPERCALL_MODEL_GET, 0, (uint64_t)pages[0],
               1);
    check_call("model-set-off", narrow, -ENOSYS, HYPERCALL_MODEL_SET, 0, (uint64_t)pages[0], 1);
    check_call("seal-test-off", narrow, -ENOSYS, HYPERCALL_SEAL_TEST, 0, 0, 0);
    check_call("console-too-long", narrow, -EINVAL, HYPERCALL_CONSOLE, (uint64_t)pages[0],
               CONSOLE_MAX + 1, 0);
    check_call("verdict-unknown", narrow, -EINVAL, HYPERCALL_VERDICT, 4, 0, 0);
    check_call("exits-unknown-kind", narrow, -EINVAL, HYPERCALL_EXITS, EXIT_KINDS, 0, 0);
    check_call("exits-unknown-vcpu", narrow, -EINVAL, HYPERCALL_EXITS, 0, processor_count, 0);
    check_call("latch-range-unknown", narrow, -EINVAL, HYPERCALL_LATCH_RANGE, 2, 0, 0);
    check_call("vcpu-op-unknown", narrow, -ENOSYS, HYPERCALL_VCPU_OP, 99, 0, (uint64_t)pages[0]);
    check_call("vcpu-op-no-such-vcpu", narrow, -ENOENT, HYPERCALL_VCPU_OP,
               XEN_REGISTER_RUNSTATE_PHYS_AREA, processor_count, (uint64_t)pages[0]);
    check_call("no-such-number", narrow, -ENOSYS, HYPERCALLS, 0, 0, 0);
    check_call("largest-number", narrow, -ENOSYS, UINT64_MAX, 0, 0, 0);
}

struct user_call {
    uint64_t number;
    bool narrow;
    int64_t result;
};

static void call_from_cpl3(void *argument)
{
    struct user_call *c = argument;
    c->result = c->narrow ? latch_hypercall32((uint32_t)c->number, 0, 0, 0)
                          : latch_hypercall(c->number, 0, 0, 0, 0);
}

static void at_cpl3(void *argument)
{
    run_at_cpl3(call_from_cpl3, argument);
}

static void check_user_mode(void)
{
    for (unsigned int narrow = 0; narrow < 2; narrow++) {
        struct user_call c = {.narrow = narrow};
        unsigned int wrong = 0;
        for (c.number = 0; c.number <= HYPERCALLS; c.number++)
            wrong += fault_of(at_cpl3, &c, NULL, NULL) != NO_FAULT || c.result != -EPERM;
        check(wrong == 0, narrow ? "calls.none-from-user-mode-32" : "calls.none-from-user-mode-64",
              "%u of %u numbers", wrong, HYPERCALLS + 1U);
    }
}

/* Across a page what is RAM is as good as elsewhere. */
static void check_digest(bool narrow)
{
    const uint8_t *at = pages[0] + PAGE - DIGEST / 2;
    poison();
    check_call("digest", narrow, 0, HYPERCALL_DIGEST, (uint64_t)pages[2], 0, 0);
    check_call("digest-across-a-page", narrow, 0, HYPERCALL_DIGEST, (uint64_t)at, 0, 0);
    check(memcmp(at, pages[2], DIGEST) == 0 && at[-1] == POISON && at[DIGEST] == POISON &&
              pages[2][DIGEST] == POISON,
          "calls.digest-same-and-nothing-beside", "two calls, two digests");
    printf("info digest: ");
    for (unsigned int i = 0; i < DIGEST; i++)
        printf("%02x", pages[2][i]);
    printf("\n");
}

/* While the UART's registers are the divisor's, and what it sends is looped back: the suite finds the
 * line, and the UART is as it was. */
static void check_console_registers(bool narrow)
{
    char *text = (char *)pages[0];
    const uint8_t line = inb(COM1 + UART_LCR), modem = inb(COM1 + UART_MCR);
    const int length = snprintf(text, 64, "looped from %u bits", width(narrow));
    outb(COM1 + UART_MCR, modem | 0x10);
    outb(COM1 + UART_LCR, line | 0x80);
    const uint8_t divisor = inb(COM1);
    const int64_t error = call(narrow, HYPERCALL_CONSOLE, (uint64_t)text, (uint64_t)length, 0);
    const uint8_t found[] = {inb(COM1 + UART_LCR), inb(COM1 + UART_MCR), inb(COM1)};
    outb(COM1 + UART_LCR, line);
    outb(COM1 + UART_MCR, modem);
    check(error == 0 && found[0] == (line | 0x80) && found[1] == (modem | 0x10) &&
              found[2] == divisor,
          "calls.console-registers", "LCR 0x%x, MCR 0x%x, divisor 0x%x", found[0], found[1],
          found[2]);
}

/* The suite looks for these lines, and that there are no others. */
static void check_console(bool narrow)
{
    char *text = (char *)pages[0] + PAGE - 8;
    int length = snprintf(text, 64, "hello from %u bits\t\x7f%%s\xff!", width(narrow));
    check_call("console", narrow, 0, HYPERCALL_CONSOLE, (uint64_t)text, (uint64_t)length, 0);
    memset(pages[0], 'x', CONSOLE_MAX + 1);
    check_call("console-longest", narrow, 0, HYPERCALL_CONSOLE, (uint64_t)pages[0], CONSOLE_MAX, 0);
    check_call("console-empty", narrow, 0, HYPERCALL_CONSOLE, (uint64_t)pages[0], 0, 0);
    check_console_registers(narrow);
}

void check_calls(void)
{
    latch_start = (uint64_t)latch_hypercall(HYPERCALL_LATCH_RANGE, 0, 0, 0, 0);
    latch_end = (uint64_t)latch_hypercall(HYPERCALL_LATCH_RANGE, 1, 0, 0, 0);
    for (unsigned int narrow = 0; narrow < 2; narrow++) {
        check_addresses(narrow);
        check_arguments(narrow);
        check_digest(narrow);
        check_console(narrow);
    }
    check_user_mode();
}
