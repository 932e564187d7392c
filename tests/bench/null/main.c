/* SPDX-License-Identifier: BSD-2-Clause */
#include "tests/bench/null/null.h"
#include "tests/bench/payload/bench.h"

#include <string.h>

#define ENTRIES    512UL
#define LARGE      0x80UL
#define LARGE_PAGE 0x200000UL

uint64_t null_fresh[FRESH_SIZE / 4096] __attribute__((aligned(4096)));
uint64_t null_fresh_rights;

static uint64_t root[ENTRIES] __attribute__((aligned(4096)));
static uint64_t pointers[ENTRIES] __attribute__((aligned(4096)));
static uint64_t directories[4 * ENTRIES] __attribute__((aligned(4096)));
static uint8_t guest_stack[65536] __attribute__((aligned(16)));
static enum flavour flavour;

uint64_t null_nested_tables(uint64_t table, uint64_t leaf)
{
    null_fresh_rights = leaf;
    root[0] = (uint64_t)pointers | table;
    for (unsigned int i = 0; i < 4; i++)
        pointers[i] = (uint64_t)&directories[i * ENTRIES] | table;
    for (uint64_t i = 0; i < sizeof(directories) / sizeof(directories[0]); i++)
        directories[i] = i * LARGE_PAGE | leaf | LARGE;
    for (uint64_t i = 0; i < FRESH_SIZE / LARGE_PAGE; i++)
        directories[FRESH / LARGE_PAGE + i] = (uint64_t)&null_fresh[i * ENTRIES] | table;
    return (uint64_t)root;
}

struct descriptor_table null_gdt(void)
{
    struct descriptor_table table;
    __asm__ volatile("sgdt %0" : "=m"(table));
    return table;
}

struct descriptor_table null_idt(void)
{
    struct descriptor_table table;
    __asm__ volatile("sidt %0" : "=m"(table));
    return table;
}

static void say_absent(void)
{
    static const struct {
        const char *name, *why;
    } rows[] = {
        {"cr3-twice", "the stub has no shadow tables"},
        {"invlpg", "the stub has no shadow tables"},
        {"remap", "the stub has no shadow tables"},
        {"new-table", "the stub has no shadow tables"},
        {"page-fault", "the stub has no shadow tables"},
        {"copy-on-write", "the stub has no shadow tables"},
        {"apic-read", "the stub leaves the APIC to the guest"},
        {"apic-eoi", "the stub leaves the APIC to the guest"},
        {"self-ipi", "the stub leaves the APIC to the guest"},
        {"timer-arm", "the stub leaves the APIC to the guest"},
        {"halt-to-timer", "the stub leaves the APIC to the guest"},
        {"ipi-to-halted", "the stub has one CPU"},
        {"ipi-to-busy", "the stub has one CPU"},
    };
    for (unsigned int i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
        row_absent(rows[i].name, rows[i].why);
}

/* It ends the machine by itself: no exit is needed to come back. */
static void guest(void)
{
    rows_begin();
    if (flavour == FLAVOUR_FLOOR) {
        measure_cpuid();
    } else {
        measure_instructions();
        measure_first_touch();
    }
    say_absent();
    finish();
}

static enum flavour chosen(void)
{
    static const char *const names[] = {"floor", "gpr", "full"};
    const char *value = "nothing";
    if (boot_word("flavour", &value))
        for (unsigned int i = 0; i < sizeof(names) / sizeof(names[0]); i++)
            if (strncmp(value, names[i], strcspn(value, " ")) == 0)
                return (enum flavour)i;
    broken("flavour=%s: wanted floor, gpr or full", value);
}

int main(void)
{
    flavour = chosen();
    void *stack = guest_stack + sizeof(guest_stack) - 8; /* as after a CALL */
    if (vendor_is_amd())
        null_svm_run(flavour, guest, stack);
    else
        null_vmx_run(flavour, guest, stack);
    broken("the CPU did not enter the guest");
}
