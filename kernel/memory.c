/* SPDX-License-Identifier: BSD-2-Clause */
#include "kernel/memory.h"
#include "kernel/lock.h"
#include "kernel/multiboot2.h"
#include "kernel/x86.h"
#include <errno.h>
#include <string.h>

#define BELOW        0x100000000UL
#define LOWEST       0x100000UL
#define LOAD_ADDRESS 0x200000UL

extern char image_start[], image_end[];
extern uint64_t boot_directories[]; /* boot/entry.asm: the lowest 4 GiB by 2 MiB, in all views */

struct latch_range latch_range = {.image = LOAD_ADDRESS};
struct encryption memory_encryption;

/* The pool: pages given back form a list through their first bytes; the rest was never taken. */
static struct lock pool_lock;
static uint64_t pool_free; /* physical address of the first page in the list, 0: none */
static uint64_t pool_next; /* first page never taken */
static unsigned int pool_returned;

static uint64_t page_up(uint64_t size)
{
    return (size + PAGE_OFFSET_MASK) & ~PAGE_OFFSET_MASK;
}

static uint64_t image_size(void)
{
    return page_up((uint64_t)(image_end - image_start));
}

hpa_t memory_address_of(const void *pointer)
{
    uint64_t address = (uint64_t)pointer;
    if (address >= (uint64_t)image_start)
        return hpa(address - (uint64_t)image_start + latch_range.image);
    return hpa(address - PHYSMAP_BASE);
}

static int check_reach(const struct memory_map *map, struct refusal *why)
{
    const uint64_t reach = encryption_reach(&memory_encryption);
    for (unsigned int i = 0; i < map->count; i++) {
        const enum memory_type type = map->range[i].type;
        if (type != MEMORY_RESERVED && type != MEMORY_BAD && map->range[i].end > reach)
            return refuse(
                why, ENOTSUP,
                "memory: wanted RAM below 0x%lx, where addresses end with encryption on, "
                "found it up to 0x%lx; switch \"SMEE\" off in the firmware's CPU settings",
                reach, map->range[i].end);
    }
    return 0;
}

/* Nothing of what is in the range counts any more. Caches may hold its lines of before, and need not
 * know them for the same memory with the C-bit (APM vol. 2 §7.10.6). */
static void encrypt_range(void)
{
    memory_encryption.start = latch_range.start;
    memory_encryption.end = latch_range.end;
    if (memory_encryption.cbit == 0)
        return;
    encryption_mark(&memory_encryption, boot_directories);
    write_cr3(read_cr3());
    wbinvd();
}

int memory_place(struct boot_info *info, unsigned int shadow_mib, unsigned int pool_mib,
                 struct refusal *why)
{
    static struct memory_map map;
    const uint64_t shadow = (shadow_mib + 1UL) / 2 * LARGE_PAGE_SIZE;
    uint64_t size = shadow + image_size() + ((uint64_t)pool_mib << 20);
    map = info->map;
    /* The new place may not touch what is still to be copied from. */
    int error = memory_map_set(&map, LOAD_ADDRESS, LOAD_ADDRESS + image_size(), MEMORY_RESERVED);
    for (unsigned int i = 0; i < info->module_count && error == 0; i++) {
        size += page_up(info->module[i].end - info->module[i].start);
        error = memory_map_set(&map, info->module[i].start & ~PAGE_OFFSET_MASK,
                               page_up(info->module[i].end), MEMORY_RESERVED);
    }
    if (memory_encryption.cbit != 0) /* whole pages of boot_directories */
        size = (size + LARGE_PAGE_SIZE - 1) & ~(LARGE_PAGE_SIZE - 1);
    uint64_t start = 0;
    if (check_reach(&info->map, why) != 0)
        return -ENOTSUP;
    if (error == 0)
        error = memory_map_find_high(&map, size, LARGE_PAGE_SIZE, LOWEST, BELOW, &start);
    if (error != 0)
        return refuse(why, ENOMEM,
                      "not enough memory: wanted %lu KiB in one piece below 4 GiB for Latch and "
                      "its modules, found none in %lu MiB; give the machine more memory",
                      size >> 10, memory_map_ram_size(&info->map) >> 20);

    latch_range.start = start;
    latch_range.end = start + size;
    latch_range.home = start + shadow;
    encrypt_range();
    uint64_t next = latch_range.home + image_size();
    for (unsigned int i = 0; i < info->module_count; i++) {
        struct boot_module *module = &info->module[i];
        uint64_t length = module->end - module->start;
        memcpy(memory_at(hpa(next)), memory_at(hpa(module->start)), length);
        module->start = next;
        module->end = next + length;
        next += page_up(length);
    }
    latch_range.pool = next;
    pool_next = next;
    return 0;
}

int memory_alloc_pages(unsigned int count, hpa_t *first)
{
    lock(&pool_lock);
    uint64_t page = 0;
    if (count == 1 && pool_free != 0) {
        page = pool_free;
        pool_free = *(uint64_t *)memory_at(hpa(page));
        pool_returned--;
    } else if (pool_next + (uint64_t)count * PAGE_SIZE <= latch_range.end) {
        page = pool_next;
        pool_next += (uint64_t)count * PAGE_SIZE;
    }
    unlock(&pool_lock);
    if (page == 0)
        return -ENOMEM;
    memset(memory_at(hpa(page)), 0, (size_t)count * PAGE_SIZE);
    *first = hpa(page);
    return 0;
}

int memory_alloc_page(hpa_t *page)
{
    return memory_alloc_pages(1, page);
}

void memory_free_page(hpa_t page)
{
    lock(&pool_lock);
    *(uint64_t *)memory_at(page) = pool_free;
    pool_free = page.raw;
    pool_returned++;
    unlock(&pool_lock);
}

int memory_env_alloc(void *ctx, hpa_t *page)
{
    (void)ctx;
    return memory_alloc_page(page);
}

void memory_env_free(void *ctx, hpa_t page)
{
    (void)ctx;
    memory_free_page(page);
}

void *memory_env_map(void *ctx, hpa_t page)
{
    (void)ctx;
    return memory_at(page);
}

void memory_count(unsigned int *total, unsigned int *unused)
{
    lock(&pool_lock);
    *total = (unsigned int)((latch_range.end - latch_range.pool) / PAGE_SIZE);
    *unused = (unsigned int)((latch_range.end - pool_next) / PAGE_SIZE) + pool_returned;
    unlock(&pool_lock);
}
