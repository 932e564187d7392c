/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Guests that cannot go on: by a triple fault, or with `apic` on the command line by a write to the
 * local APIC that Latch does not carry out. Latch ends each with a dump and the verdict ERROR; to
 * come back from it is a failure.
 */
#include "tests/guest/lib/payload.h"

#include <stdio.h>

static void triple_fault(void)
{
    const struct {
        uint16_t limit;
        uint64_t base;
    } __attribute__((packed)) no_idt = {.limit = 0, .base = 0};
    __asm__ volatile("lidt %0\n\t"
                     "mov $0x7e57, %%eax\n\t"
                     "ud2"
                     :
                     : "m"(no_idt)
                     : "rax");
}

static void write_apic_by_or(void)
{
    __asm__ volatile("lock orl $0, 0(%0)" : : "r"(0xfee00000UL + APIC_SVR) : "memory");
}

int main(void)
{
    if (!under_latch()) {
        check_skip("triple", "no Latch, so nobody would tell");
        return 0;
    }
    fflush(stdout);
    if (boot_word("apic", NULL))
        write_apic_by_or();
    else
        triple_fault();
    check(false, "triple", "wanted an end, found the next instruction");
    return 0;
}
