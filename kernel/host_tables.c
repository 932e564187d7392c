/* SPDX-License-Identifier: BSD-2-Clause */
/* Latch's own page tables. Each page has one mapping, and none is writable and executable. */
#include "kernel/lock.h"
#include "kernel/memory.h"
#include "kernel/multiboot2.h"
#include "kernel/x86.h"
#include "mmu/table.h"
#include <errno.h>
#include <string.h>

/* Stacks: a slot of STACK_SLOT bytes for each CPU, in it four stacks, each above a guard page. */
#define STACKS_BASE 0xffffffffc0000000UL
#define STACK_SLOT  0x20000UL
#define STACK_STEP  0x8000UL
#define STACK_PAGES 5U

#define PHYSMAP_SIZE                                                                               \
    (1UL << 46) /* what lies above it in the address space is the image, and stacks */

extern char image_start[], image_rodata[], image_data[], image_end[];
_Noreturn void move_to_top(void *to, const void *from, uint64_t size, uint64_t cr3, uint64_t stack,
                           void (*go)(void));

static struct lock tables_lock;
static struct table_space tables;
static uint64_t boot_stack;

/* Rights are only ever lost before the guest runs, when the other CPUs wait without touching what
 * loses them, and each CPU loads CR3 anew before it enters the guest. */
static void env_flush(void *ctx)
{
    (void)ctx;
    write_cr3(read_cr3());
}

static const struct mmu_env env = {
    .alloc_page = memory_env_alloc,
    .free_page = memory_env_free,
    .map = memory_env_map,
    .flush = env_flush,
};

static int map_image(const char *from, const char *to, unsigned int access)
{
    return table_map(&tables, (uint64_t)from,
                     hpa(latch_range.home + (uint64_t)(from - image_start)), (uint64_t)(to - from),
                     access, CACHE_WB);
}

/* All of the machine's memory, writable, but for the image, and the modules, which stay as they
 * are. */
static int map_memory(const struct boot_info *info)
{
    int error = 0;
    for (unsigned int i = 0; i < info->map.count && error == 0; i++) {
        const struct memory_range *range = &info->map.range[i];
        uint64_t start = range->start & ~PAGE_OFFSET_MASK;
        uint64_t end = (range->end + PAGE_OFFSET_MASK) & ~PAGE_OFFSET_MASK;
        if (range->type == MEMORY_RAM || range->type == MEMORY_ACPI_RECLAIM ||
            range->type == MEMORY_ACPI_NVS)
            error = table_map(&tables, PHYSMAP_BASE + start, hpa(start), end - start,
                              ACCESS_READ | ACCESS_WRITE, CACHE_WB);
    }
    uint64_t image_pages = (uint64_t)(image_end - image_start);
    uint64_t modules = latch_range.home + image_pages;
    if (error == 0)
        error = table_unmap(&tables, PHYSMAP_BASE + latch_range.home, image_pages);
    if (error == 0 && latch_range.pool > modules)
        error =
            table_protect(&tables, PHYSMAP_BASE + modules, latch_range.pool - modules, ACCESS_READ);
    return error;
}

static bool has_1g_pages(void)
{
    uint32_t a, b, c, d;
    cpuid_raw(0x80000001U, 0, &a, &b, &c, &d);
    return d >> 26 & 1;
}

int memory_build_tables(const struct boot_info *info)
{
    struct table_format format;
    const unsigned int levels = read_cr4() & CR4_LA57 ? 5 : 4;
    int error = format_init(&format, FORMAT_HOST, levels, has_1g_pages() ? 3 : 2, false);
    format.encryption = &memory_encryption;
    if (error == 0)
        error = table_space_init(&tables, &env, &format);
    if (error == 0)
        error = map_image(image_start, image_rodata, ACCESS_READ | ACCESS_EXECUTE);
    if (error == 0)
        error = map_image(image_rodata, image_data, ACCESS_READ);
    if (error == 0)
        error = map_image(image_data, image_end, ACCESS_READ | ACCESS_WRITE);
    if (error == 0)
        error = map_memory(info);
    if (error == 0) {
        boot_stack = memory_stack(0, 0);
        error = boot_stack == 0 ? -ENOMEM : 0;
    }
    return error;
}

void memory_move(void (*go)(void))
{
    const void *from = image_start;
    void *to = memory_at(hpa(latch_range.home));
    latch_range.image = latch_range.home;
    move_to_top(to, from, (uint64_t)(image_end - image_start), memory_cr3(), boot_stack, go);
}

uint64_t memory_stack(unsigned int cpu, unsigned int which)
{
    uint64_t bottom = STACKS_BASE + cpu * STACK_SLOT + which * STACK_STEP + PAGE_SIZE;
    int error = 0;
    lock(&tables_lock);
    for (unsigned int i = 0; i < STACK_PAGES && error == 0; i++) {
        hpa_t page;
        error = memory_alloc_page(&page);
        if (error == 0)
            error = table_unmap(&tables, PHYSMAP_BASE + page.raw, PAGE_SIZE);
        if (error == 0)
            error = table_map(&tables, bottom + i * PAGE_SIZE, page, PAGE_SIZE,
                              ACCESS_READ | ACCESS_WRITE, CACHE_WB);
    }
    unlock(&tables_lock);
    return error == 0 ? bottom + STACK_PAGES * PAGE_SIZE : 0;
}

int memory_map_trampoline(hpa_t page)
{
    lock(&tables_lock);
    int error =
        table_map(&tables, page.raw, page, PAGE_SIZE, ACCESS_READ | ACCESS_EXECUTE, CACHE_WB);
    unlock(&tables_lock);
    return error;
}

void memory_unmap_trampoline(hpa_t page)
{
    lock(&tables_lock);
    (void)table_unmap(&tables, page.raw, PAGE_SIZE);
    unlock(&tables_lock);
}

/* Firmware says where its tables and devices are, and not all that it says can be. */
static bool may_map(uint64_t start, uint64_t end)
{
    return start < end && end <= PHYSMAP_SIZE &&
           (start >= latch_range.end || end <= latch_range.start);
}

const void *memory_firmware(void *ctx, uint64_t address, size_t size)
{
    (void)ctx;
    uint64_t start = address & ~PAGE_OFFSET_MASK;
    uint64_t end = (address + size + PAGE_OFFSET_MASK) & ~PAGE_OFFSET_MASK;
    bool ok = may_map(start, end);
    lock(&tables_lock);
    for (uint64_t page = start; page < end && ok; page += PAGE_SIZE) {
        struct table_leaf leaf;
        if (!table_lookup(&tables, PHYSMAP_BASE + page, &leaf))
            ok = table_map(&tables, PHYSMAP_BASE + page, hpa(page), PAGE_SIZE,
                           ACCESS_READ | ACCESS_WRITE, CACHE_WB) == 0;
    }
    unlock(&tables_lock);
    return ok ? memory_at(hpa(address)) : NULL;
}

int memory_map_mmio(hpa_t address, size_t size, volatile void **pointer)
{
    uint64_t start = address.raw & ~PAGE_OFFSET_MASK;
    uint64_t end = (address.raw + size + PAGE_OFFSET_MASK) & ~PAGE_OFFSET_MASK;
    if (!may_map(start, end))
        return -EINVAL;
    lock(&tables_lock);
    int error = table_map(&tables, PHYSMAP_BASE + start, hpa(start), end - start,
                          ACCESS_READ | ACCESS_WRITE, CACHE_UC);
    unlock(&tables_lock);
    *pointer = memory_at(address);
    return error;
}

int memory_protect(hpa_t first, unsigned int pages, bool writable)
{
    lock(&tables_lock);
    int error = table_protect(&tables, PHYSMAP_BASE + first.raw, pages * PAGE_SIZE,
                              writable ? ACCESS_READ | ACCESS_WRITE : ACCESS_READ);
    unlock(&tables_lock);
    return error;
}

/* Nobody has written there. The guest's memory is not encrypted, so Latch's view of it changes. */
int memory_release_shadow(void)
{
    const uint64_t start = latch_range.start;
    const uint64_t size = latch_range.home - start;
    latch_range.start = memory_encryption.start = latch_range.home;
    if (memory_encryption.cbit == 0 || size == 0)
        return 0;
    lock(&tables_lock);
    int error = table_map(&tables, PHYSMAP_BASE + start, hpa(start), size,
                          ACCESS_READ | ACCESS_WRITE, CACHE_WB);
    unlock(&tables_lock);
    wbinvd();
    return error;
}

int memory_check_wx(uint64_t *bad, unsigned int *leaves)
{
    struct table_leaf leaf = {.address = 0};
    lock(&tables_lock);
    int error = table_check_wx(&tables, &leaf, leaves);
    unlock(&tables_lock);
    *bad = leaf.address;
    return error;
}

int memory_check_read_only(const struct table_frames *frames, unsigned int count, uint64_t *bad)
{
    struct table_leaf leaf = {.address = 0};
    lock(&tables_lock);
    int error = table_check_read_only(&tables, frames, count, &leaf);
    unlock(&tables_lock);
    *bad = leaf.address;
    return error;
}

uint64_t memory_cr3(void)
{
    return memory_register(tables.root);
}

void memory_copy_root(hpa_t to)
{
    memcpy(memory_at(to), memory_at(tables.root), PAGE_SIZE);
}

void memory_protect_cpu(void)
{
    uint32_t a, b, c, d;
    uint64_t cr4 = read_cr4();
    cpuid_raw(1, 0, &a, &b, &c, &d);
    if (d >> 7 & 1)
        cr4 |= CR4_MCE;
    if (c >> 26 & 1)
        cr4 |= CR4_OSXSAVE;
    cpuid_raw(0, 0, &a, &b, &c, &d);
    if (a >= 7) {
        cpuid_raw(7, 0, &a, &b, &c, &d);
        if (b >> 7 & 1)
            cr4 |= CR4_SMEP;
        if (b >> 20 & 1)
            cr4 |= CR4_SMAP;
        if (c >> 2 & 1)
            cr4 |= CR4_UMIP;
    }
    write_cr4(cr4);
    write_cr0((read_cr0() | CR0_WP | CR0_NE) & ~(CR0_CD | CR0_NW));
    cpuid_raw(0x80000001U, 0, &a, &b, &c, &d);
    if (d >> 20 & 1)
        wrmsr(MSR_EFER, rdmsr(MSR_EFER) | EFER_NXE);
}
