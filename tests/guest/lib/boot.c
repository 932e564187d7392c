/* SPDX-License-Identifier: BSD-2-Clause */
/* The boot information of multiboot 1 (§3.3) or 2 (§3.6), copied out before anything else. */
#include "tests/guest/lib/payload.h"
#include "tests/guest/lib/runtime.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MULTIBOOT1_MAGIC 0x2badb002U
#define MULTIBOOT2_MAGIC 0x36d76289U

struct boot boot;

int main(void);

struct multiboot1 {
    uint32_t flags, mem_lower, mem_upper, boot_device, command_line, mods_count, mods_address;
    uint32_t syms[4], mmap_length, mmap_address;
} __attribute__((packed));

struct multiboot1_map {
    uint32_t size;
    uint64_t start, length;
    uint32_t type;
} __attribute__((packed));

struct multiboot1_module {
    uint32_t start, end, text, reserved;
};

struct multiboot2_tag {
    uint32_t type, size;
    union {
        char text[1];
        struct {
            uint32_t start, end;
            char text[1];
        } module;
        struct {
            uint32_t entry_size, version;
        } map;
        uint8_t rsdp[1];
    };
};

struct multiboot2_map {
    uint64_t start, length;
    uint32_t type, reserved;
};

/* The compiler is not to know the address, as it takes low ones for null pointers. */
static void *at(uint64_t address)
{
    __asm__("" : "+r"(address));
    return (void *)address;
}

static void add_range(uint64_t start, uint64_t length, uint32_t type)
{
    if (boot.ranges < RAM_RANGES_MAX)
        boot.range[boot.ranges++] =
            (struct ram_range){.start = start, .end = start + length, .type = type};
}

static void add_module(uint32_t start, uint32_t end, const char *text)
{
    if (boot.modules == sizeof(boot.module) / sizeof(boot.module[0]))
        return;
    boot.module[boot.modules].start = start;
    boot.module[boot.modules].end = end;
    strlcpy(boot.module[boot.modules].text, text, sizeof(boot.module[0].text));
    boot.modules++;
}

static void read_multiboot1(const struct multiboot1 *info)
{
    if (info->flags & 1U << 2)
        strlcpy(boot.command_line, at(info->command_line), sizeof(boot.command_line));
    if (info->flags & 1U << 3) {
        const struct multiboot1_module *module = at(info->mods_address);
        for (uint32_t i = 0; i < info->mods_count; i++)
            add_module(module[i].start, module[i].end, module[i].text ? at(module[i].text) : "");
    }
    if (info->flags & 1U << 6) {
        uint64_t entry = info->mmap_address, end = entry + info->mmap_length;
        while (entry < end) {
            const struct multiboot1_map *map = at(entry);
            add_range(map->start, map->length, map->type);
            entry += map->size + 4U;
        }
    }
}

/* A copy of the RSDP, because the memory that it lies in may be RAM. */
static void copy_rsdp(const void *rsdp, size_t size)
{
    static uint8_t copy[36];
    memcpy(copy, rsdp, size < sizeof(copy) ? size : sizeof(copy));
    boot.rsdp = (uint64_t)copy;
}

static void read_multiboot2_tag(const struct multiboot2_tag *tag)
{
    switch (tag->type) {
    case 1:
        strlcpy(boot.command_line, tag->text, sizeof(boot.command_line));
        break;
    case 3:
        add_module(tag->module.start, tag->module.end, tag->module.text);
        break;
    case 6:
        for (uint32_t at_byte = 16; at_byte < tag->size; at_byte += tag->map.entry_size) {
            const struct multiboot2_map *map = at((uint64_t)tag + at_byte);
            add_range(map->start, map->length, map->type);
        }
        break;
    case 14: /* ACPI 1.0; the newer one follows and wins */
    case 15:
        copy_rsdp(tag->rsdp, tag->size - 8U);
        break;
    default:
        break;
    }
}

static void read_multiboot2(uint64_t info)
{
    const struct multiboot2_tag *tag = at(info + 8U);
    boot.multiboot2 = true;
    while (tag->type != 0) {
        read_multiboot2_tag(tag);
        tag = at(((uint64_t)tag + tag->size + 7U) & ~7UL);
    }
}

/* Where a BIOS keeps it (ACPI 6.5 §5.2.5.1). */
static void find_rsdp(void)
{
    uint64_t ebda = (uint64_t) * (volatile uint16_t *)at(0x40eU) << 4;
    const uint64_t areas[2][2] = {{ebda, ebda + 1024U}, {0xe0000U, 0x100000U}};
    for (unsigned int i = 0; i < 2; i++)
        for (uint64_t a = areas[i][0]; a >= 0x80000U && a < areas[i][1]; a += 16U)
            if (memcmp(at(a), "RSD PTR ", 8) == 0) {
                boot.rsdp = a;
                return;
            }
}

bool boot_word(const char *word, const char **value)
{
    size_t length = strlen(word);
    const char *at_word = boot.command_line;
    while (*at_word) {
        size_t here = strcspn(at_word, " ");
        if (strncmp(at_word, word, length) == 0 &&
            (here == length || (here > length && at_word[length] == '='))) {
            if (value != NULL)
                *value = here > length ? at_word + length + 1 : "";
            return true;
        }
        at_word += here;
        at_word += strspn(at_word, " ");
    }
    return false;
}

_Noreturn void payload_main(uint32_t magic, uint32_t info)
{
    if (magic == MULTIBOOT1_MAGIC)
        read_multiboot1(at(info));
    else if (magic == MULTIBOOT2_MAGIC)
        read_multiboot2(info);
    console_init();
    processor_init();
    if (magic != MULTIBOOT1_MAGIC && magic != MULTIBOOT2_MAGIC)
        broken("no boot loader's magic number in EAX: 0x%x", magic);
    if (boot.rsdp == 0)
        find_rsdp();
    apic_init();
    printf("payload: multiboot %d, %u processors, %s, \"%s\"\n", boot.multiboot2 ? 2 : 1,
           processor_count, under_latch() ? "under Latch" : "no Latch", boot.command_line);
    main();
    finish();
}
