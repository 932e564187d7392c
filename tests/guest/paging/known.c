/* SPDX-License-Identifier: BSD-2-Clause */
#include "tests/guest/paging/known.h"

#include <stdio.h>

static const char *const known_names[KNOWN] = {
    [RESERVED_WITHOUT_PRESENT] = "reserved-without-present",
    [PML4E_BIT_8_IGNORED] = "pml4e-bit-8-ignored",
    [PDPTE_AS_TABLE] = "pdpte-as-other-tables",
    [HUGE_ACCESSED_EARLY] = "1g-accessed-early",
    [UNCHECKED_AFTER_WP0] = "unchecked-after-wp0",
    [LEAF_MARKED_EARLY] = "leaf-marked-early",
    [CR3_UNCHECKED] = "cr3-unchecked",
};
unsigned int known_allowed;
static unsigned long met[KNOWN];

void known_faults_init(void)
{
    if (boot_word("tcg-faults", NULL))
        known_allowed = 1U << RESERVED_WITHOUT_PRESENT | 1U << PML4E_BIT_8_IGNORED |
                        1U << PDPTE_AS_TABLE | 1U << HUGE_ACCESSED_EARLY | 1U << CR3_UNCHECKED;
    if (boot_word("bochs-faults", NULL))
        known_allowed = 1U << PML4E_BIT_8_IGNORED;
    if (boot_word("shadow-faults", NULL))
        known_allowed = 1U << UNCHECKED_AFTER_WP0;
    if (boot_word("narrow-faults", NULL))
        known_allowed = 1U << LEAF_MARKED_EARLY;
}

bool known_unchecked_cr3(void)
{
    if (!(known_allowed & 1U << CR3_UNCHECKED))
        return false;
    met[CR3_UNCHECKED]++;
    return true;
}

void known_faults_print(void)
{
    for (unsigned int i = 0; i < KNOWN; i++) {
        if (met[i] != 0)
            printf(", known %s %lu", known_names[i], met[i]);
        met[i] = 0;
    }
}

void known_count(unsigned int faults)
{
    for (unsigned int i = 0; i < KNOWN; i++)
        met[i] += faults >> i & 1U;
}

/* The entry's bits up to 51 from MAXPHYADDR on, and bit 63 without NXE, TCG checks in time. */
static bool high_bits_are_good(const struct reference_cpu *cpu, uint64_t entry)
{
    uint64_t high = (UINT64_MAX << reference_width(&cpu->props)) & ((1UL << 52) - 1U);
    return !(entry & high) && (!(entry & PAGE_XD) || (cpu->efer & EFER_NXE));
}

void known_bend_model(unsigned int faults, struct reference_cpu *cpu)
{
    if (faults & 1U << PML4E_BIT_8_IGNORED)
        cpu->props.vendor = PAGING_INTEL;
    if ((faults & 1U << UNCHECKED_AFTER_WP0) && !(cpu->cr0 & CR0_WP))
        cpu->cr4 &= ~(CR4_SMAP | CR4_PKE);
}

void known_bend_outcome(unsigned int faults, const struct reference_cpu *cpu,
                        struct outcome *wanted, struct reference_result *walk)
{
    if (wanted->vector != VECTOR_PF || walk->entries == 0)
        return;
    struct reference_entry *last = &walk->entry[walk->entries - 1U];
    bool huge = last->level == 3 && (last->value & PAGE_P) && (last->value & PAGE_PS);
    if ((faults & 1U << HUGE_ACCESSED_EARLY) && huge && high_bits_are_good(cpu, last->value))
        last->set |= PAGE_A & ~last->value;
    bool leaf = last->level == 1 || (last->value & PAGE_PS);
    if ((faults & 1U << LEAF_MARKED_EARLY) && leaf && (wanted->error_code & PF_RESERVED))
        last->set |= (PAGE_A | (wanted->error_code & PF_WRITE ? PAGE_D : 0)) & ~last->value;
    if ((faults & 1U << RESERVED_WITHOUT_PRESENT) && (wanted->error_code & PF_RESERVED))
        wanted->error_code &= ~(uint64_t)PF_PRESENT;
}
