/* SPDX-License-Identifier: BSD-2-Clause */
#include "report.h"

#include <cpuid.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MOST_LEAVES = 512 };

struct leaf {
    uint32_t leaf, subleaf;
    uint32_t registers[4]; /* EAX, EBX, ECX, EDX */
};

struct table {
    size_t count;
    struct leaf leaves[MOST_LEAVES];
};

enum { EAX, EBX, ECX, EDX };

/* A flag of /proc/cpuinfo and the CPUID bit that it stands for. */
struct flag {
    const char *name;
    uint32_t leaf;
    unsigned int reg, bit;
};

static const struct flag flags[] = {
    {"pae", 1, EDX, 6},
    {"mtrr", 1, EDX, 12},
    {"pge", 1, EDX, 13},
    {"pat", 1, EDX, 16},
    {"pse36", 1, EDX, 17},
    {"monitor", 1, ECX, 3},
    {"vmx", 1, ECX, 5},
    {"pcid", 1, ECX, 17},
    {"x2apic", 1, ECX, 21},
    {"tsc_deadline_timer", 1, ECX, 24},
    {"xsave", 1, ECX, 26},
    {"avx", 1, ECX, 28},
    {"hypervisor", 1, ECX, 31},
    {"smep", 7, EBX, 7},
    {"invpcid", 7, EBX, 10},
    {"avx512f", 7, EBX, 16},
    {"smap", 7, EBX, 20},
    {"umip", 7, ECX, 2},
    {"pku", 7, ECX, 3},
    {"la57", 7, ECX, 16},
    {"fsrm", 7, EDX, 4},
    {"nx", 0x80000001, EDX, 20},
    {"pdpe1gb", 0x80000001, EDX, 26},
    {"rdtscp", 0x80000001, EDX, 27},
    {"lm", 0x80000001, EDX, 29},
    {"svm", 0x80000001, ECX, 2},
    {"skinit", 0x80000001, ECX, 12},
    {"mwaitx", 0x80000001, ECX, 29},
    {"sev", 0x8000001f, EAX, 1},
};

static void read_leaf(struct leaf *entry, uint32_t leaf, uint32_t subleaf)
{
    uint32_t *r = entry->registers;

    entry->leaf = leaf;
    entry->subleaf = subleaf;
    __cpuid_count(leaf, subleaf, r[EAX], r[EBX], r[ECX], r[EDX]);
    /* The APIC id and what is derived from it differ from CPU to CPU by their nature. */
    if (leaf == 1)
        r[EBX] &= 0x00ffffff;
    if (leaf == 0xb || leaf == 0x1f)
        r[EDX] = 0;
    if (leaf == 0x8000001e) {
        r[EAX] = 0;
        r[EBX] &= 0xffffff00;
        r[ECX] &= 0xffffff00;
    }
    /* Sizes of the state that XCR0 and XSS enable: check_xsave_size() knows what may stand here. */
    if (leaf == 0xd && subleaf <= 1)
        r[EBX] = 0;
}

/* How many subleaves of a leaf to read: enough to see one past the last that means something. */
static uint32_t subleaves(uint32_t leaf)
{
    switch (leaf) {
    case 0xd:
        return 64;
    case 0x4:
    case 0x7:
    case 0xb:
    case 0xf:
    case 0x10:
    case 0x12:
    case 0x14:
    case 0x17:
    case 0x18:
    case 0x1d:
    case 0x1f:
    case 0x8000001d:
        return 6;
    default:
        return 1;
    }
}

static void read_table(struct table *table)
{
    static const uint32_t bases[] = {0, 0x40000000, 0x80000000};

    table->count = 0;
    for (size_t i = 0; i < sizeof(bases) / sizeof(bases[0]); i++) {
        struct leaf base;

        read_leaf(&base, bases[i], 0);
        uint32_t last = base.registers[EAX];
        if (last < bases[i] || last > bases[i] + 0x40)
            last = bases[i];
        for (uint32_t leaf = bases[i]; leaf <= last; leaf++)
            for (uint32_t sub = 0; sub < subleaves(leaf) && table->count < MOST_LEAVES; sub++)
                read_leaf(&table->leaves[table->count++], leaf, sub);
    }
}

static enum result compare(const struct table *first, const struct table *now, int cpu)
{
    if (now->count != first->count)
        return say(FAILURE, "cpuid on CPU %d has %zu leaves, before %zu", cpu, now->count,
                   first->count);
    for (size_t i = 0; i < now->count; i++) {
        const struct leaf *a = &first->leaves[i];
        const struct leaf *b = &now->leaves[i];

        if (memcmp(a, b, sizeof(*a)) != 0)
            return say(FAILURE,
                       "cpuid 0x%x.%u on CPU %d: %08x %08x %08x %08x, before %08x %08x %08x %08x",
                       b->leaf, b->subleaf, cpu, b->registers[0], b->registers[1], b->registers[2],
                       b->registers[3], a->registers[0], a->registers[1], a->registers[2],
                       a->registers[3]);
    }
    return SUCCESS;
}

/* CPUID 0xd.0 EBX: the size of what XCR0 enables now, which follows from the other subleaves. */
static enum result check_xsave_size(int cpu)
{
    uint32_t eax, ebx, ecx, edx, size, low, high, expected = 512 + 64;

    __cpuid(1, eax, ebx, ecx, edx);
    if (!(ecx & bit_OSXSAVE))
        return SUCCESS;
    __asm__ volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
    __cpuid_count(0xd, 0, eax, size, ecx, edx);
    for (uint32_t component = 2; component < 32; component++) {
        if (!(low >> component & 1))
            continue;
        __cpuid_count(0xd, component, eax, ebx, ecx, edx);
        if (eax + ebx > expected)
            expected = eax + ebx;
    }
    if (size != expected)
        return say(FAILURE, "cpuid 0xd.0 on CPU %d: EBX 0x%x, by XCR0 0x%x it is 0x%x", cpu, size,
                   low, expected);
    return SUCCESS;
}

static enum result check_same_everywhere(void)
{
    static struct table first, now;
    enum result result = SUCCESS;

    run_on(0);
    read_table(&first);
    for (int cpu = 0; cpu < online_cpus(); cpu++) {
        run_on(cpu);
        result = worse(result, check_xsave_size(cpu));
        for (int times = 0; times < 2; times++) {
            read_table(&now);
            result = worse(result, compare(&first, &now, cpu));
        }
    }
    if (result == SUCCESS)
        say(SUCCESS, "cpuid %zu leaves and subleaves, twice on each CPU", first.count);
    return result;
}

static bool cpuid_bit(const struct flag *flag)
{
    struct leaf base, entry;

    read_leaf(&base, flag->leaf & 0x80000000, 0);
    if (flag->leaf > base.registers[EAX])
        return false;
    read_leaf(&entry, flag->leaf, 0);
    return entry.registers[flag->reg] >> flag->bit & 1;
}

/* Whether a list of words, parted by blanks, tabs or commas, has this one. */
static bool has_word(const char *list, const char *word)
{
    size_t length = strlen(word);

    for (const char *at = list; (at = strstr(at, word)); at += length) {
        bool starts = at == list || strchr(" \t,", at[-1]);

        if (starts && strchr(" \t,\n", at[length]))
            return true;
    }
    return false;
}

/* Linux may switch a feature off by itself; it may never show one that CPUID does not. */
static enum result check_flags(const char *line, int cpu)
{
    enum result result = SUCCESS;
    char unwanted[1024];
    const char *text = argument("expect.noflags");

    for (size_t i = 0; i < sizeof(flags) / sizeof(flags[0]); i++) {
        if (has_word(line, flags[i].name) && !cpuid_bit(&flags[i]))
            result = worse(result, say(FAILURE, "cpuinfo of CPU %d: %s, which CPUID does not have",
                                       cpu, flags[i].name));
    }
    snprintf(unwanted, sizeof(unwanted), "%s", text ? text : "");
    for (size_t i = 0; i < sizeof(flags) / sizeof(flags[0]); i++) {
        if (has_word(unwanted, flags[i].name) && cpuid_bit(&flags[i]))
            result = worse(result, say(FAILURE, "cpuid on CPU %d: %s, which it should not have",
                                       cpu, flags[i].name));
    }
    for (char *word = strtok(unwanted, ","); word; word = strtok(NULL, ",")) {
        if (has_word(line, word))
            result = worse(
                result, say(FAILURE, "cpuinfo of CPU %d: %s, which it should not have", cpu, word));
    }
    return result;
}

static enum result check_address_sizes(const char *line, int cpu)
{
    struct leaf entry;
    unsigned int shown = 0;
    const char *text = argument("expect.maxphyaddr");

    read_leaf(&entry, 0x80000008, 0);
    unsigned int maxphyaddr = entry.registers[EAX] & 0xff;
    sscanf(line, "address sizes : %u bits physical", &shown);
    if (shown != maxphyaddr || (text && maxphyaddr != strtoul(text, NULL, 10)))
        return say(FAILURE, "maxphyaddr of CPU %d: cpuinfo %u, CPUID %u, expected %s", cpu, shown,
                   maxphyaddr, text ? text : "the same");
    return SUCCESS;
}

static enum result check_vendor(const char *line, int cpu)
{
    struct leaf entry;
    char vendor[13] = "";

    read_leaf(&entry, 0, 0);
    memcpy(vendor, &entry.registers[EBX], 4);
    memcpy(vendor + 4, &entry.registers[EDX], 4);
    memcpy(vendor + 8, &entry.registers[ECX], 4);
    if (!strstr(line, vendor))
        return say(FAILURE, "vendor of CPU %d: CPUID %s, cpuinfo %s", cpu, vendor, line);
    return SUCCESS;
}

static enum result check_cpuinfo(void)
{
    static char line[8192];
    enum result result = SUCCESS;
    FILE *file = fopen("/proc/cpuinfo", "r");
    int cpu = -1;
    int lines = 0;

    if (!file)
        return say(ERROR, "no /proc/cpuinfo");
    while (fgets(line, sizeof(line), file)) {
        if (sscanf(line, "processor : %d", &cpu) == 1)
            run_on(cpu);
        else if (!strncmp(line, "vendor_id", 9))
            lines++, result = worse(result, check_vendor(line, cpu));
        else if (!strncmp(line, "flags", 5))
            lines++, result = worse(result, check_flags(line, cpu));
        else if (!strncmp(line, "address sizes", 13))
            lines++, result = worse(result, check_address_sizes(line, cpu));
    }
    fclose(file);
    if (lines != 3 * online_cpus())
        return say(ERROR, "/proc/cpuinfo has %d of %d lines that are compared", lines,
                   3 * online_cpus());
    if (result == SUCCESS)
        say(SUCCESS, "cpuinfo agrees with CPUID on each CPU");
    return result;
}

enum result check_cpuid(void)
{
    enum result result = check_same_everywhere();

    return worse(result, check_cpuinfo());
}
