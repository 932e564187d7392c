/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A Linux bzImage by the 32-bit boot protocol (Linux, Documentation/arch/x86/boot.rst). The file is
 * Debian's own, so that little is checked.
 */
#include "tests/bench/kvm/monitor.h"

#include <string.h>

#define SETUP_SECTS    0x1f1U
#define HEADER_END     0x290U
#define MAGIC          0x202U
#define TYPE_OF_LOADER 0x210U
#define RAMDISK_IMAGE  0x218U
#define RAMDISK_SIZE   0x21cU
#define CMD_LINE_PTR   0x228U
#define CMDLINE_SIZE   0x238U
#define PREF_ADDRESS   0x258U
#define E820_ENTRIES   0x1e8U
#define E820_TABLE     0x2d0U

#define COMMAND_LINE 0x20000U
#define LOW_END      0x9fc00U
#define HIGH_START   0x100000U
#define INITRD       (256UL << 20) /* behind all that the kernel unpacks and before its memory's end */

struct e820_entry {
    uint64_t start, length;
    uint32_t type;
} __attribute__((packed));

static uint32_t read32(const uint8_t *bytes)
{
    uint32_t value;
    memcpy(&value, bytes, sizeof(value));
    return value;
}

static void write32(uint8_t *bytes, uint32_t value)
{
    memcpy(bytes, &value, sizeof(value));
}

static void write_line(uint8_t *memory, char *const *words, uint32_t longest)
{
    char *line = (char *)memory + COMMAND_LINE;
    size_t used = 0;
    for (; *words != NULL; words++) {
        size_t length = strlen(*words);
        if (used + length + 1 > longest)
            fail("the command line is too long");
        memcpy(line + used, *words, length);
        used += length;
        line[used++] = ' ';
    }
    line[used == 0 ? 0 : used - 1] = '\0';
}

static void write_map(uint8_t *params, uint64_t size)
{
    const struct e820_entry map[] = {
        {.length = LOW_END, .type = 1},
        {.start = HIGH_START, .length = size - HIGH_START, .type = 1},
    };
    params[E820_ENTRIES] = sizeof(map) / sizeof(map[0]);
    memcpy(params + E820_TABLE, map, sizeof(map));
}

uint32_t linux_load(uint8_t *memory, const char *kernel, const char *initrd, char *const *words)
{
    size_t kernel_size, initrd_size;
    const uint8_t *image = file_map(kernel, &kernel_size);
    const uint8_t *files = file_map(initrd, &initrd_size);
    uint8_t *params = memory + LINUX_PARAMS;
    if (kernel_size < HEADER_END || memcmp(image + MAGIC, "HdrS", 4) != 0)
        fail("%s: no bzImage", kernel);
    size_t setup = (image[SETUP_SECTS] + 1UL) * 512;
    uint32_t entry = read32(image + PREF_ADDRESS);
    if (setup > kernel_size || entry + kernel_size - setup > INITRD ||
        initrd_size > LINUX_MEMORY - INITRD)
        fail("%s, %s: too large", kernel, initrd);
    memcpy(params + SETUP_SECTS, image + SETUP_SECTS, HEADER_END - SETUP_SECTS);
    memcpy(memory + entry, image + setup, kernel_size - setup);
    memcpy(memory + INITRD, files, initrd_size);
    params[TYPE_OF_LOADER] = 0xff;
    write32(params + RAMDISK_IMAGE, INITRD);
    write32(params + RAMDISK_SIZE, (uint32_t)initrd_size);
    write32(params + CMD_LINE_PTR, COMMAND_LINE);
    write_line(memory, words, read32(image + CMDLINE_SIZE));
    write_map(params, LINUX_MEMORY);
    return entry;
}
