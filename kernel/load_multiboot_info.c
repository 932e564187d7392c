/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The information structures that a multiboot guest is given (Multiboot 0.6.96 §3.3, Multiboot2
 * 2.0 §3.6).
 */
#include "kernel/bytes.h"
#include "kernel/load_common.h"
#include <errno.h>

#define LOADER_NAME "Latch"
#define INFO_FLOOR  0x10000U

/* Multiboot 1: offsets in the structure, its flags, and the sizes of its lists' entries */
#define MB1_FLAGS        0U
#define MB1_MEMORY_LOWER 4U
#define MB1_MEMORY_UPPER 8U
#define MB1_COMMAND_LINE 16U
#define MB1_MODULE_COUNT 20U
#define MB1_MODULES      24U
#define MB1_MAP_LENGTH   44U
#define MB1_MAP          48U
#define MB1_LOADER_NAME  64U
#define MB1_SIZE         120U
#define MB1_GIVEN        (1U << 0 | 1U << 2 | 1U << 3 | 1U << 6 | 1U << 9)
#define MB1_MODULE_SIZE  16U
#define MB1_RANGE_SIZE   24U /* the size field before it included */

/* Multiboot 2: tag heads and entries */
#define MB2_HEAD        8U
#define MB2_TAG         8U
#define MB2_MODULE_HEAD 16U
#define MB2_MEMORY_SIZE 16U
#define MB2_MAP_HEAD    16U
#define MB2_RANGE_SIZE  24U

/* A structure that grows from its start; the address is the guest's. */
struct writer {
    uint8_t *start;
    uint64_t address;
    uint32_t used;
};

static uint32_t text_size(const char *text)
{
    return (uint32_t)strlen(text) + 1;
}

/* Takes the next `size` bytes, which start 8-aligned. */
static uint8_t *extend(struct writer *writer, uint32_t size)
{
    uint32_t at = (writer->used + 7) & ~7U;
    writer->used = at + size;
    return writer->start + at;
}

static uint32_t address_of(const struct writer *writer, const uint8_t *bytes)
{
    return (uint32_t)(writer->address + (uint64_t)(bytes - writer->start));
}

static uint32_t write_text(struct writer *writer, const char *text)
{
    uint8_t *bytes = extend(writer, text_size(text));
    memcpy(bytes, text, text_size(text));
    return address_of(writer, bytes);
}

/* RAM from 0 and from 1 MiB on without a gap, in KiB. */
static void measure_memory(const struct memory_map *map, uint32_t *lower, uint32_t *upper)
{
    *lower = 0;
    *upper = 0;
    for (unsigned i = 0; i < map->count; i++) {
        const struct memory_range *range = &map->range[i];
        if (range->type != MEMORY_RAM) {
            continue;
        }
        if (range->start == 0) {
            uint64_t end = range->end < 0xa0000 ? range->end : 0xa0000;
            *lower = (uint32_t)(end >> 10);
        }
        if (range->start <= 0x100000 && range->end > 0x100000) {
            uint64_t size = (range->end - 0x100000) >> 10;
            *upper = size < UINT32_MAX ? (uint32_t)size : UINT32_MAX;
        }
    }
}

/* Low memory, as other loaders do it; elsewhere below 4 GiB if there is none. */
static uint8_t *take_info(struct loader *loader, uint64_t size, uint64_t *address, int *error)
{
    uint8_t *info = loader_take_low(loader, size, 8, INFO_FLOOR, 0xa0000, "multiboot information",
                                    address, error);
    if (info == NULL && *error == -ENOMEM) {
        *error = 0;
        info = loader_take_low(loader, size, 8, INFO_FLOOR, BELOW_4G, "multiboot information",
                               address, error);
    }
    if (info != NULL) {
        memset(info, 0, size);
    }
    return info;
}

/* Each text and list costs up to 7 bytes more by its alignment. */
static uint64_t bound_size(const struct loader *loader, const struct placed_modules *modules)
{
    uint64_t size = 512 + strlen(loader->images->kernel.args) + loader->target->rsdp_size;
    size += (uint64_t)loader->target->map->count * MB2_RANGE_SIZE;
    for (unsigned i = 0; i < modules->count; i++) {
        size += MB2_MODULE_HEAD + MB1_MODULE_SIZE + strlen(modules->module[i].args) + 16;
    }
    return size;
}

static void write_modules1(struct writer *writer, uint8_t *info,
                           const struct placed_modules *modules)
{
    uint8_t *entry = extend(writer, modules->count * MB1_MODULE_SIZE);
    write32(info + MB1_MODULE_COUNT, modules->count);
    write32(info + MB1_MODULES, address_of(writer, entry));
    for (unsigned i = 0; i < modules->count; i++, entry += MB1_MODULE_SIZE) {
        const struct placed_module *module = &modules->module[i];
        write32(entry, (uint32_t)module->start);
        write32(entry + 4, (uint32_t)module->end);
        write32(entry + 8, write_text(writer, module->args));
    }
}

static void write_map1(struct writer *writer, uint8_t *info, const struct memory_map *map)
{
    uint8_t *entry = extend(writer, map->count * MB1_RANGE_SIZE);
    write32(info + MB1_MAP_LENGTH, map->count * MB1_RANGE_SIZE);
    write32(info + MB1_MAP, address_of(writer, entry));
    for (unsigned i = 0; i < map->count; i++, entry += MB1_RANGE_SIZE) {
        write32(entry, MB1_RANGE_SIZE - 4);
        write64(entry + 4, map->range[i].start);
        write64(entry + 12, map->range[i].end - map->range[i].start);
        write32(entry + 20, map->range[i].type);
    }
}

uint64_t multiboot1_write_info(struct loader *loader, const struct placed_modules *modules,
                               int *error)
{
    const struct memory_map *map = loader->target->map;
    struct writer writer = {.used = 0};
    uint32_t lower;
    uint32_t upper;

    writer.start = take_info(loader, bound_size(loader, modules), &writer.address, error);
    if (writer.start == NULL) {
        return 0;
    }
    uint8_t *info = extend(&writer, MB1_SIZE);
    measure_memory(map, &lower, &upper);
    write32(info + MB1_FLAGS, MB1_GIVEN);
    write32(info + MB1_MEMORY_LOWER, lower);
    write32(info + MB1_MEMORY_UPPER, upper);
    write32(info + MB1_COMMAND_LINE, write_text(&writer, loader->images->kernel.args));
    write32(info + MB1_LOADER_NAME, write_text(&writer, LOADER_NAME));
    write_modules1(&writer, info, modules);
    write_map1(&writer, info, map);
    return writer.address;
}

static uint8_t *write_tag(struct writer *writer, uint32_t type, uint32_t size)
{
    uint8_t *tag = extend(writer, size);
    write32(tag, type);
    write32(tag + 4, size);
    return tag;
}

static void write_text_tag(struct writer *writer, uint32_t type, const char *text)
{
    uint8_t *tag = write_tag(writer, type, MB2_TAG + text_size(text));
    memcpy(tag + MB2_TAG, text, text_size(text));
}

static void write_modules2(struct writer *writer, const struct placed_modules *modules)
{
    for (unsigned i = 0; i < modules->count; i++) {
        const struct placed_module *module = &modules->module[i];
        uint8_t *tag = write_tag(writer, 3, MB2_MODULE_HEAD + text_size(module->args));
        write32(tag + 8, (uint32_t)module->start);
        write32(tag + 12, (uint32_t)module->end);
        memcpy(tag + MB2_MODULE_HEAD, module->args, text_size(module->args));
    }
}

static void write_memory2(struct writer *writer, const struct memory_map *map)
{
    uint32_t lower;
    uint32_t upper;
    measure_memory(map, &lower, &upper);
    uint8_t *tag = write_tag(writer, 4, MB2_MEMORY_SIZE);
    write32(tag + 8, lower);
    write32(tag + 12, upper);

    tag = write_tag(writer, 6, MB2_MAP_HEAD + map->count * MB2_RANGE_SIZE);
    write32(tag + 8, MB2_RANGE_SIZE);
    for (unsigned i = 0; i < map->count; i++) {
        uint8_t *entry = tag + MB2_MAP_HEAD + (size_t)i * MB2_RANGE_SIZE;
        write64(entry, map->range[i].start);
        write64(entry + 8, map->range[i].end - map->range[i].start);
        write32(entry + 16, map->range[i].type);
    }
}

uint64_t multiboot2_write_info(struct loader *loader, const struct placed_modules *modules,
                               int *error)
{
    const struct guest_target *target = loader->target;
    struct writer writer = {.used = 0};

    writer.start = take_info(loader, bound_size(loader, modules), &writer.address, error);
    if (writer.start == NULL) {
        return 0;
    }
    uint8_t *head = extend(&writer, MB2_HEAD);
    write_text_tag(&writer, 1, loader->images->kernel.args);
    write_text_tag(&writer, 2, LOADER_NAME);
    write_modules2(&writer, modules);
    write_memory2(&writer, target->map);
    if (target->rsdp_size != 0) {
        uint32_t size = (uint32_t)target->rsdp_size;
        uint8_t *tag = write_tag(&writer, size < RSDP_MAX ? 14 : 15, MB2_TAG + size);
        memcpy(tag + MB2_TAG, target->rsdp, size);
    }
    write_tag(&writer, 0, MB2_TAG);
    write32(head, writer.used);
    return writer.address;
}
