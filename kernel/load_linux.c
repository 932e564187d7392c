/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A Linux bzImage by the 32-bit boot protocol (Linux, Documentation/arch/x86/boot.rst and
 * zero-page.rst).
 */
#include "kernel/bytes.h"
#include "kernel/load_common.h"
#include "mmu/address.h"
#include <errno.h>
#include <inttypes.h>

/* The setup header; offsets are the same in the file and in boot_params. */
#define SETUP_SECTS        0x1f1U
#define SYSSIZE            0x1f4U
#define JUMP_LENGTH        0x201U
#define HEADER_MAGIC       0x202U
#define VERSION            0x206U
#define TYPE_OF_LOADER     0x210U
#define LOADFLAGS          0x211U
#define LOADED_HIGH        1U
#define CAN_USE_HEAP       0x80U
#define CODE32_START       0x214U
#define RAMDISK_IMAGE      0x218U
#define RAMDISK_SIZE       0x21cU
#define CMD_LINE_PTR       0x228U
#define INITRD_ADDR_MAX    0x22cU
#define KERNEL_ALIGNMENT   0x230U
#define RELOCATABLE_KERNEL 0x234U
#define CMDLINE_SIZE       0x238U
#define PREF_ADDRESS       0x258U
#define INIT_SIZE          0x260U
#define HEADER_NEEDED      0x264U /* what protocol 2.10 has */
#define HEADER_MAX         0x290U /* what boot_params has room for */

/* The rest of boot_params */
#define ACPI_RSDP_ADDR   0x070U
#define E820_ENTRIES     0x1e8U
#define E820_TABLE       0x2d0U
#define E820_ENTRY       20U
#define BOOT_PARAMS_SIZE 4096U

/* struct screen_info, at the start of boot_params */
#define SCREEN_MODE          0x06U
#define SCREEN_COLUMNS       0x07U
#define SCREEN_LINES         0x0eU
#define SCREEN_TYPE          0x0fU
#define SCREEN_TYPE_VGA_TEXT 1U
#define SCREEN_TYPE_LINEAR   0x23U
#define SCREEN_POINTS        0x10U
#define SCREEN_WIDTH         0x12U
#define SCREEN_HEIGHT        0x14U
#define SCREEN_DEPTH         0x16U
#define SCREEN_BASE          0x18U
#define SCREEN_SIZE          0x1cU
#define SCREEN_PITCH         0x24U
#define SCREEN_COLOURS       0x26U
#define SCREEN_CAPABILITIES  0x36U
#define SCREEN_BASE_HIGH     0x3aU

/* The block in low memory, by page: boot_params, the GDT, the RSDP, and the command line. */
#define LOW_GDT          4096U
#define LOW_RSDP         8192U
#define LOW_COMMAND_LINE 12288U
#define LOW_FLOOR        0x10000U
#define LOW_CEILING      0xa0000U

struct kernel_file {
    const uint8_t *header;
    const uint8_t *code; /* the protected-mode part */
    uint64_t code_size;
    uint64_t memory_size; /* what it needs from its load address on */
};

static int check_version(const struct guest_image *image, struct refusal *why)
{
    uint16_t version = read16(image->data + VERSION);
    if (version < 0x20a) {
        return refuse(why, EINVAL,
                      "bzImage: boot protocol %u.%02u, wanted 2.10 or later; use a kernel from "
                      "2.6.31 on",
                      version >> 8, version & 0xffU);
    }
    if (image->size < HEADER_NEEDED) {
        return refuse(why, EINVAL, "bzImage: %lu bytes, its header alone has %u; it is truncated",
                      image->size, HEADER_NEEDED);
    }
    if (!(image->data[LOADFLAGS] & LOADED_HIGH)) {
        return refuse(why, EINVAL,
                      "bzImage: a zImage (loadflags 0x%x), wanted one that loads high; build a "
                      "bzImage",
                      image->data[LOADFLAGS]);
    }
    return 0;
}

static int check_file(const struct guest_image *image, struct kernel_file *file,
                      struct refusal *why)
{
    int error = check_version(image, why);
    if (error != 0) {
        return error;
    }
    const uint8_t *header = image->data;
    uint64_t sectors = header[SETUP_SECTS] != 0 ? header[SETUP_SECTS] : 4;
    uint64_t setup_size = (sectors + 1) * 512;
    uint64_t code_size = (uint64_t)read32(header + SYSSIZE) * 16;
    if (code_size == 0 || setup_size + code_size > image->size + 15) {
        return refuse(why, EINVAL,
                      "bzImage: %lu bytes, its header says %" PRIu64 " of setup and %" PRIu64
                      " of kernel; it is truncated",
                      image->size, setup_size, code_size);
    }
    if (setup_size + code_size > image->size) {
        code_size = image->size - setup_size;
    }
    uint32_t align = read32(header + KERNEL_ALIGNMENT);
    uint32_t init_size = read32(header + INIT_SIZE);
    if (align < PAGE_SIZE || (align & (align - 1)) != 0 || init_size == 0) {
        return refuse(why, EINVAL,
                      "bzImage: kernel_alignment 0x%" PRIx32 " and init_size 0x%" PRIx32
                      ", wanted a power of two from 0x1000 on and not 0; its header is broken",
                      align, init_size);
    }
    *file = (struct kernel_file){
        .header = header,
        .code = header + setup_size,
        .code_size = code_size,
        .memory_size = init_size > code_size ? init_size : code_size,
    };
    return 0;
}

static int place_kernel(struct loader *loader, const struct kernel_file *file, uint64_t *address)
{
    uint64_t preferred = read64(file->header + PREF_ADDRESS);
    uint64_t end = preferred + file->memory_size;
    int error = 0;
    void *memory;

    if (end > preferred && end <= BELOW_4G && memory_map_is_ram(&loader->free, preferred, end)) {
        *address = preferred;
        memory = loader_take_at(loader, preferred, file->memory_size, "bzImage", &error);
    } else if (file->header[RELOCATABLE_KERNEL] == 0) {
        return refuse(loader->why, EFAULT,
                      "bzImage: not relocatable, and 0x%" PRIx64 "..0x%" PRIx64
                      " is not all free RAM; use a relocatable kernel or more memory",
                      preferred, end);
    } else {
        /* Linux moves itself up to the preferred address if it finds itself lower. */
        uint64_t floor = preferred < BELOW_4G && preferred > 0x100000 ? preferred : 0x100000;
        memory = loader_take_low(loader, file->memory_size, read32(file->header + KERNEL_ALIGNMENT),
                                 floor, BELOW_4G, "bzImage", address, &error);
    }
    if (memory == NULL) {
        return error;
    }
    memcpy(memory, file->code, file->code_size);
    return 0;
}

static int place_initrd(struct loader *loader, const struct kernel_file *file, uint8_t *params)
{
    const struct guest_image *initrd = &loader->images->initrd;
    uint64_t ceiling = (uint64_t)read32(file->header + INITRD_ADDR_MAX) + 1;
    uint64_t address;
    int error = 0;

    if (initrd->data == NULL) {
        return 0;
    }
    void *memory =
        loader_take_high(loader, initrd->size, PAGE_SIZE, ceiling, "initrd", &address, &error);
    if (memory == NULL) {
        return error;
    }
    memcpy(memory, initrd->data, initrd->size);
    write32(params + RAMDISK_IMAGE, (uint32_t)address);
    write32(params + RAMDISK_SIZE, (uint32_t)initrd->size);
    return 0;
}

static void write_screen(uint8_t *screen, const struct boot_framebuffer *framebuffer)
{
    if (framebuffer == NULL || framebuffer->address == 0) {
        return;
    }
    if (framebuffer->type == 2) {
        screen[SCREEN_MODE] = 3;
        screen[SCREEN_COLUMNS] = (uint8_t)framebuffer->width;
        screen[SCREEN_LINES] = (uint8_t)framebuffer->height;
        screen[SCREEN_TYPE] = SCREEN_TYPE_VGA_TEXT;
        write16(screen + SCREEN_POINTS, 16);
    } else if (framebuffer->type == 1) {
        uint64_t size = (uint64_t)framebuffer->pitch * framebuffer->height;
        screen[SCREEN_TYPE] = SCREEN_TYPE_LINEAR;
        write16(screen + SCREEN_WIDTH, (uint16_t)framebuffer->width);
        write16(screen + SCREEN_HEIGHT, (uint16_t)framebuffer->height);
        write16(screen + SCREEN_DEPTH, framebuffer->bits_per_pixel);
        write32(screen + SCREEN_BASE, (uint32_t)framebuffer->address);
        write32(screen + SCREEN_BASE_HIGH, (uint32_t)(framebuffer->address >> 32));
        write32(screen + SCREEN_SIZE, (uint32_t)((size + 0xffff) >> 16)); /* 64 KiB units */
        write16(screen + SCREEN_PITCH, (uint16_t)framebuffer->pitch);
        const uint8_t colours[6] = {
            framebuffer->red_size,       framebuffer->red_position, framebuffer->green_size,
            framebuffer->green_position, framebuffer->blue_size,    framebuffer->blue_position,
        };
        memcpy(screen + SCREEN_COLOURS, colours, sizeof colours);
        /* The address has 64 bits. */
        write32(screen + SCREEN_CAPABILITIES, framebuffer->address >> 32 != 0 ? 2 : 0);
    }
}

/*
 * The RSDP's page is marked as ACPI's, so that Linux keeps it. All is placed by now, so the map of
 * free memory, too large to have another one on the stack, can be used for that.
 */
static int write_e820(struct loader *loader, uint8_t *params, uint64_t rsdp_page)
{
    struct memory_map *map = &loader->free;
    *map = *loader->target->map;
    if (rsdp_page != 0 &&
        memory_map_set(map, rsdp_page, rsdp_page + PAGE_SIZE, MEMORY_ACPI_RECLAIM) != 0) {
        return refuse(loader->why, ENOMEM,
                      "bzImage: the guest's memory map has more than %u ranges; boot_params has "
                      "room for no more",
                      MEMORY_RANGES_MAX);
    }
    params[E820_ENTRIES] = (uint8_t)map->count;
    for (unsigned i = 0; i < map->count; i++) {
        uint8_t *entry = params + E820_TABLE + (size_t)i * E820_ENTRY;
        write64(entry, map->range[i].start);
        write64(entry + 8, map->range[i].end - map->range[i].start);
        write32(entry + 16, map->range[i].type);
    }
    return 0;
}

/* From setup_sects to where the jump at its start leads, as far as boot_params has room. */
static void copy_header(uint8_t *params, const struct guest_image *image)
{
    size_t end = HEADER_MAGIC + image->data[JUMP_LENGTH];
    end = end < HEADER_NEEDED ? HEADER_NEEDED : end;
    end = end > HEADER_MAX ? HEADER_MAX : end;
    end = end > image->size ? image->size : end;
    memcpy(params + SETUP_SECTS, image->data + SETUP_SECTS, end - SETUP_SECTS);
}

/* Fills the block in low memory. kernel is where its code was put. */
static int write_low(struct loader *loader, const struct kernel_file *file, uint8_t *low,
                     uint64_t address, uint64_t kernel)
{
    const struct guest_target *target = loader->target;
    const struct guest_image *image = &loader->images->kernel;
    uint8_t *params = low;

    memset(low, 0, LOW_COMMAND_LINE);
    memcpy(low + LOW_COMMAND_LINE, image->args, strlen(image->args) + 1);
    copy_header(params, image);
    params[TYPE_OF_LOADER] = 0xff;
    params[LOADFLAGS] &= (uint8_t)~CAN_USE_HEAP;
    write32(params + CODE32_START, (uint32_t)kernel);
    write32(params + CMD_LINE_PTR, (uint32_t)(address + LOW_COMMAND_LINE));
    write_screen(params, target->framebuffer);
    uint64_t rsdp_page = 0;
    if (target->rsdp_size != 0) {
        rsdp_page = address + LOW_RSDP;
        memcpy(low + LOW_RSDP, target->rsdp, target->rsdp_size);
        write64(params + ACPI_RSDP_ADDR, rsdp_page);
    }
    int error = place_initrd(loader, file, params);
    if (error == 0) {
        error = write_e820(loader, params, rsdp_page);
    }
    if (error == 0) {
        loader_enter_protected(loader->entry, low + LOW_GDT, address + LOW_GDT, kernel);
        loader->entry->format = "Linux bzImage";
        loader->entry->gpr[6] = address; /* RSI: boot_params */
    }
    return error;
}

int load_linux(const struct guest_target *target, const struct guest_images *images,
               struct guest_entry *entry, struct refusal *why)
{
    struct loader loader = {
        .target = target, .images = images, .entry = entry, .why = why, .free = *target->map};
    struct kernel_file file = {.code_size = 0};
    uint64_t kernel;
    uint64_t address;

    int error = check_file(&images->kernel, &file, why);
    if (error != 0) {
        return error;
    }
    size_t length = strlen(images->kernel.args);
    uint32_t longest = read32(file.header + CMDLINE_SIZE);
    if (length > longest) {
        return refuse(why, E2BIG,
                      "bzImage: the command line has %lu characters, this kernel takes %" PRIu32
                      "; shorten it",
                      length, longest);
    }
    if (images->module_count != 0) {
        return refuse(why, EINVAL,
                      "bzImage: %u modules, wanted none but an initrd; give their role as initrd",
                      images->module_count);
    }
    error = place_kernel(&loader, &file, &kernel);
    if (error != 0) {
        return error;
    }
    uint8_t *low = loader_take_low(&loader, LOW_COMMAND_LINE + length + 1, PAGE_SIZE, LOW_FLOOR,
                                   LOW_CEILING, "boot_params", &address, &error);
    return low != NULL ? write_low(&loader, &file, low, address, kernel) : error;
}
