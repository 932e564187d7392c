/* SPDX-License-Identifier: BSD-2-Clause */
#include "tests/guest/paging/known.h"

#include <stdio.h>

#define BOCHS_WIDTH 40U /* MAXPHYADDR of all its CPUs */

static const char *const known_names[KNOWN] = {
    [RESERVED_WITHOUT_PRESENT] = "reserved-without-present",
    [PML4E_BIT_8_IGNORED] = "pml4e-bit-8-ignored",
    [PDPTE_AS_TABLE] = "pdpte-as-other-tables",
    [HUGE_ACCESSED_EARLY] = "1g-accessed-early",
    [LEAF_MARKED_EARLY] = "leaf-marked-early",
};
unsigned int known_allowed;
static unsigned long met[KNOWN];

unsigned int known_faults_of(unsigned int index)
{
    static const struct {
        const char *word;
        unsigned int faults;
    } words[] = {
        {"tcg-faults", 1U << RESERVED_WITHOUT_PRESENT | 1U << PML4E_BIT_8_IGNORED |
                           1U << PDPTE_AS_TABLE | 1U << HUGE_ACCESSED_EARLY},
        {"bochs-faults", 1U << PML4E_BIT_8_IGNORED},
        {"narrow-faults", 1U << LEAF_MARKED_EARLY},
    };
    unsigned int faults = 0;
    for (unsigned int i = 0; i < sizeof(words) / sizeof(words[0]); i++) {
        char own[32];
        snprintf(own, sizeof(own), "%s%u", words[i].word, index);
        if (boot_word(words[i].word, NULL) || boot_word(own, NULL))
            faults |= words[i].faults;
    }
    return faults;
}

void known_faults_init(void)
{
    known_allowed = known_faults_of(0);
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
}

/* What the hardware marks in the leaf, if but for the model's limit it would let the access through. */
static uint64_t marked_early(const struct reference_cpu *cpu, uint64_t linear, unsigned int access,
                             const struct reference_result *narrow)
{
    struct reference_cpu wide = *cpu;
    struct reference_result walk;
    wide.props.maxphyaddr = BOCHS_WIDTH;
    reference_walk(&wide, &physical_memory, linear, access, &walk);
    if (walk.outcome != REFERENCE_OK || walk.entries != narrow->entries)
        return 0;
    return walk.entry[walk.entries - 1U].set;
}

void known_bend_outcome(unsigned int faults, const struct reference_cpu *cpu, uint64_t linear,
                        unsigned int access, struct outcome *wanted, struct reference_result *walk)
{
    if (wanted->vector != VECTOR_PF || walk->entries == 0)
        return;
    struct reference_entry *last = &walk->entry[walk->entries - 1U];
    bool huge = last->level == 3 && (last->value & PAGE_P) && (last->value & PAGE_PS);
    if ((faults & 1U << HUGE_ACCESSED_EARLY) && huge && high_bits_are_good(cpu, last->value))
        last->set |= PAGE_A & ~last->value;
    if ((faults & 1U << LEAF_MARKED_EARLY) && (wanted->error_code & PF_RESERVED))
        last->set |= marked_early(cpu, linear, access, walk);
    if ((faults & 1U << RESERVED_WITHOUT_PRESENT) && (wanted->error_code & PF_RESERVED))
        wanted->error_code &= ~(uint64_t)PF_PRESENT;
}
