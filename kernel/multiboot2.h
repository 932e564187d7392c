/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef LATCH_KERNEL_MULTIBOOT2_H
#define LATCH_KERNEL_MULTIBOOT2_H
/*
 * What the boot loader told: the multiboot2 boot information (Multiboot2 Specification 2.0 §3.6),
 * checked and copied out, so that the memory it lay in can be given away afterwards.
 */
#include "kernel/memory_map.h"
#include "kernel/refusal.h"
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define MULTIBOOT2_BOOTLOADER_MAGIC 0x36d76289U
#define MULTIBOOT2_INFO_MAX         (1U << 20) /* no boot loader's information is larger */
#define BOOT_MODULES_MAX            16U
#define BOOT_TEXT_MAX               16384U
#define RSDP_MAX                    36U

/* The first word of a module's string; the rest is its command line. */
enum module_role {
    MODULE_GUEST,  /* guest: the kernel that runs as the guest; exactly one */
    MODULE_INITRD, /* initrd: its initramfs, or the first module of a multiboot guest */
    MODULE_MODULE, /* module: a further module of a multiboot guest */
    MODULE_MODEL,  /* model: a CPU model file */
};

struct boot_module {
    uint64_t start;
    uint64_t end; /* exclusive */
    enum module_role role;
    const char *args; /* what follows the role word, in boot_info.text */
};

/* Framebuffer tag (§3.6.12). type: 0 indexed, 1 RGB, 2 EGA text. address 0: there is none. */
struct boot_framebuffer {
    uint64_t address;
    uint32_t pitch;
    uint32_t width;
    uint32_t height;
    uint8_t bits_per_pixel;
    uint8_t type;
    uint8_t red_position, red_size, green_position, green_size, blue_position, blue_size;
};

/* Holds pointers into itself: never copied. */
struct boot_info {
    struct memory_map map;
    unsigned module_count;
    struct boot_module module[BOOT_MODULES_MAX]; /* in the order of the tags */
    const char *command_line;                    /* never NULL */
    const char *boot_loader;                     /* its name, never NULL */
    uint8_t rsdp[RSDP_MAX];
    size_t rsdp_size; /* 20 (ACPI 1.0), 36, or 0 when no valid one was given */
    struct boot_framebuffer framebuffer;
    uint64_t efi_system_table; /* 0: not booted by UEFI */
    bool efi_memory_map;
    size_t text_used;
    char text[BOOT_TEXT_MAX];
};

/*
 * Parses the information at `data` (as mapped; `data_address` is its physical address, 8-aligned).
 * `readable` is how many bytes of it may be read. latch_start..latch_end is the physical range of
 * Latch's image, which no module may overlap. Fills *info. Returns 0, or with the reason in *why:
 * -EINVAL (malformed), -ENOSPC (more of something than fits), -ENOENT (no memory map, no guest
 * module), -EFAULT (a module that is not in RAM, or overlaps).
 */
int multiboot2_parse(const void *data, uint64_t data_address, size_t readable, uint64_t latch_start,
                     uint64_t latch_end, struct boot_info *info, struct refusal *why);

/* The first module of that role, or NULL. */
const struct boot_module *boot_find_module(const struct boot_info *info, enum module_role role);

#endif
