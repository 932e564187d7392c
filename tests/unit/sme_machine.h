/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef LATCH_TESTS_UNIT_SME_MACHINE_H
#define LATCH_TESTS_UNIT_SME_MACHINE_H
/*
 * A machine that encrypts memory, as no emulator does: its DRAM, the memory controller and the
 * CPU's walks of tables. On it run Latch's own boot-time memory and host tables, kernel/memory.c
 * and kernel/host_tables.c, with their privileged instructions replaced by the machine's.
 *
 * Latch sees memory through a window at PHYSMAP_BASE, whose pages hold what the tables at CR3 make
 * of DRAM; as a TLB does, it keeps the C-bit of a page until CR3 is loaded. Walks of the hardware's
 * read DRAM, each table with the C-bit of the entry or the register that led to it.
 */
#define PHYSMAP_BASE 0x200000000000UL
#define cpuid_raw    x86_cpuid_raw
#define read_cr3     x86_read_cr3
#define write_cr3    x86_write_cr3
#define read_cr4     x86_read_cr4
#define wbinvd       x86_wbinvd
#include "kernel/x86.h"
#undef cpuid_raw
#undef read_cr3
#undef write_cr3
#undef read_cr4
#undef wbinvd
#include "kernel/memory.h"
#include "kernel/multiboot2.h"
#include "mmu/role.h"
#include "tests/unit/unit.h"
#include <setjmp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#define RAM        (16UL << 20)
#define PAGES      (RAM / PAGE_SIZE)
#define ENTRIES    512U
#define IMAGE_SIZE 0x8000UL
#define MODULES    2U
#define DEVICE     0xfe000000UL
#define BITS_51_12 0x000ffffffffff000UL

/* The CPU. */
struct host {
    unsigned int maxphyaddr, cbit, reduction; /* cbit 0: no SME */
};
static struct host cpu;
static uint64_t cr3; /* 0: the boot loader's tables */
static unsigned int flushed_caches, wild;

/* Where the loader put the modules: the second in the large page behind Latch's range. */
static const uint64_t loaded[MODULES][2] = {{0x700000, 0x703123}, {0xf00000, 0xf00ff0}};

/* The image as linked: code, constants and data; boot/entry.asm's tables. */
char image_start[IMAGE_SIZE] __attribute__((aligned(4096)));
__asm__(".globl image_rodata, image_data, image_end\n"
        ".set image_rodata, image_start + 0x2000\n"
        ".set image_data, image_start + 0x4000\n"
        ".set image_end, image_start + 0x8000\n");
uint64_t boot_directories[4 * ENTRIES];

static uint64_t *dram;
enum { UNMAPPED = 2 };
static unsigned char view[PAGES]; /* the C-bit with which Latch sees a page now */

static uint64_t cbit_mask(void)
{
    return cpu.cbit ? 1UL << cpu.cbit : 0;
}

/* What the controller makes of a word on its way, with and without the C-bit. */
static uint64_t key(uint64_t address, bool c)
{
    return c ? (address / 8 + 1) * 0x9e3779b97f4a7c15UL : 0;
}

static uint64_t dram_read(uint64_t address, bool c)
{
    if (address >= RAM) {
        wild++;
        return UINT64_MAX;
    }
    return dram[address / 8] ^ key(address & ~7UL, c);
}

/* Words by the million. */
#define QUICK __attribute__((no_sanitize("address", "undefined")))

/* A page from the window to DRAM, or back. */
QUICK static void move_page(uint64_t *to, const uint64_t *from, uint64_t page, bool c)
{
    uint64_t first = page * ENTRIES;

    memcpy(to + first, from + first, PAGE_SIZE);
    for (uint64_t i = first; c && i < first + ENTRIES; i++)
        to[i] ^= key(i * 8, true);
}

static void write_back(uint64_t start, uint64_t end)
{
    for (uint64_t page = start / PAGE_SIZE; page < end / PAGE_SIZE; page++)
        if (view[page] != UNMAPPED)
            move_page(dram, memory_at(hpa(0)), page, view[page]);
}

/* An entry or register as it is read: what is reserved, or leads nowhere, must never be seen. */
static bool follow(uint64_t entry, uint64_t *address, bool *c)
{
    uint64_t width = cpu.cbit ? cpu.maxphyaddr - cpu.reduction : 52;

    *c = entry & cbit_mask();
    *address = entry & BITS_51_12 & ~cbit_mask();
    wild += *address >> width != 0;
    return *address >> width == 0;
}

struct seen {
    uint64_t page, size; /* host-physical */
    bool c, tables_c;    /* of the page; of each table on the way */
};

/* Of its own tables and of nested ones, as boot/entry.asm chooses them. */
static unsigned int levels(void)
{
    return cpu.maxphyaddr > 48 ? 5 : 4;
}

/* The hardware's walk, long mode's or NPT's. */
static bool walk(uint64_t root, uint64_t address, struct seen *seen)
{
    uint64_t entry = root;

    *seen = (struct seen){.tables_c = true};
    for (unsigned int level = levels(); level > 0; level--) {
        const unsigned int shift = 3 + 9 * level;
        uint64_t table;
        bool c;

        if (!follow(entry, &table, &c))
            return false;
        seen->tables_c &= c;
        entry = dram_read(table + (address >> shift) % ENTRIES * 8, c);
        if (!(entry & 1))
            return false;
        if (level == 1 || (level <= 3 && (entry & 128))) {
            seen->size = 1UL << shift;
            if (!follow(entry, &seen->page, &seen->c))
                return false;
            seen->page &= ~(seen->size - 1);
            return true;
        }
    }
    return false;
}

/* The C-bit by the tables that are loaded. */
static unsigned char view_of(uint64_t page)
{
    struct seen seen;

    if (cr3 == 0)
        return (boot_directories[page / LARGE_PAGE_SIZE] & cbit_mask()) != 0;
    return walk(cr3, PHYSMAP_BASE + page, &seen) ? seen.c : UNMAPPED;
}

/* All pages, or only those that were not mapped so far, which no TLB holds. */
static void look(bool all)
{
    uint64_t *window = memory_at(hpa(0));

    for (uint64_t page = 0; page < PAGES; page++) {
        unsigned char now = view[page];

        if (all || now == UNMAPPED)
            now = view_of(page * PAGE_SIZE);
        if (now == view[page])
            continue;
        write_back(page * PAGE_SIZE, (page + 1) * PAGE_SIZE);
        view[page] = now;
        if (now == UNMAPPED)
            memset(window + page * ENTRIES, 0xcc, PAGE_SIZE);
        else
            move_page(window, dram, page, now);
    }
}

static void settle(void)
{
    write_back(0, RAM);
    look(false);
}

static uint64_t read_cr3(void)
{
    return cr3;
}

static void write_cr3(uint64_t value)
{
    write_back(latch_range.start, latch_range.end); /* where tables are */
    cr3 = value;
    look(true);
}

static uint64_t read_cr4(void)
{
    return CR4_PAE | (levels() == 5 ? CR4_LA57 : 0);
}

static void wbinvd(void)
{
    flushed_caches++;
}

static void cpuid_raw(uint32_t leaf, uint32_t subleaf, uint32_t *a, uint32_t *b, uint32_t *c,
                      uint32_t *d)
{
    (void)leaf;
    (void)subleaf;
    *a = *b = *c = 0;
    *d = 1U << 26; /* 1 GiB pages */
}

_Noreturn void move_to_top(void *to, const void *from, uint64_t size, uint64_t root, uint64_t stack,
                           void (*go)(void));
void move_to_top(void *to, const void *from, uint64_t size, uint64_t root, uint64_t stack,
                 void (*go)(void))
{
    CHECK(stack != 0);
    memcpy(to, from, size);
    write_cr3(root);
    go();
    abort();
}

/* NOLINTBEGIN(bugprone-suspicious-include): what is static there is this machine's */
#include "kernel/host_tables.c"
#include "kernel/memory.c"
/* NOLINTEND(bugprone-suspicious-include) */

static struct boot_info boot;
static jmp_buf moved;

static void at_top(void)
{
    longjmp(moved, 1);
}

QUICK static uint64_t rubbish(uint64_t address)
{
    return address / 8 * 0x5851f42d4c957f2dUL;
}

QUICK static void fill(void)
{
    for (uint64_t i = 0; i < RAM / 8; i++)
        dram[i] = rubbish(i * 8);
}

/* As the boot loader hands it over: no C-bit anywhere, and rubbish where nothing was loaded. */
static void machine_on(const struct host *host)
{
    void *window = mmap(memory_at(hpa(0)), RAM, PROT_READ | PROT_WRITE,
                        MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0);

    CHECK(window == memory_at(hpa(0)));
    cpu = *host;
    dram = malloc(RAM);
    fill();
    for (uint64_t i = 0; i < IMAGE_SIZE; i++)
        image_start[i] = (char)(i * 7);
    for (uint64_t i = 0; i < 4UL * ENTRIES; i++)
        boot_directories[i] = i * LARGE_PAGE_SIZE | 0x83;
    memset(view, UNMAPPED, sizeof(view));
    look(true);
    boot.map.count = 0;
    (void)memory_map_add(&boot.map, 0, 0x9f000, MEMORY_RAM);
    (void)memory_map_add(&boot.map, 0x9f000, 0x100000, MEMORY_RESERVED);
    (void)memory_map_add(&boot.map, 0x100000, RAM, MEMORY_RAM);
    boot.module_count = MODULES;
    for (unsigned int i = 0; i < MODULES; i++)
        boot.module[i] = (struct boot_module){.start = loaded[i][0], .end = loaded[i][1]};
}

/* Latch's way to the top of RAM. */
static void boot_latch(unsigned int shadow_mib)
{
    struct refusal why = {.text = ""};

    if (cpu.cbit != 0)
        CHECK_EQ(encryption_init(&memory_encryption, cpu.maxphyaddr, cpu.cbit, cpu.reduction), 0);
    CHECK_EQ(memory_place(&boot, shadow_mib, 2, &why), 0);
    CHECK_EQ(memory_build_tables(&boot), 0);
    if (setjmp(moved) == 0)
        memory_move(at_top);
}

static bool is_latch(uint64_t page)
{
    return page >= latch_range.start && page < latch_range.end;
}

#endif
