/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef LATCH_KERNEL_LOAD_COMMON_H
#define LATCH_KERNEL_LOAD_COMMON_H
/* What the guest loaders share: a place in guest memory for each thing, and flat segments. */
#include "kernel/load.h"
#include <stdbool.h>

#define BELOW_4G (1ULL << 32)

struct loader {
    const struct guest_target *target;
    const struct guest_images *images;
    struct guest_entry *entry;
    struct refusal *why;
    struct memory_map free; /* the guest's map; what has been given a place is no RAM in it */
};

/*
 * Each takes guest memory for `what` (a name for the refusal) and returns where it can be written,
 * or NULL with *error set and the reason in loader->why. size 0 is refused.
 */
void *loader_take_at(struct loader *loader, uint64_t address, uint64_t size, const char *what,
                     int *error);

/* The lowest place from `floor` on, below `ceiling`. */
void *loader_take_low(struct loader *loader, uint64_t size, uint64_t align, uint64_t floor,
                      uint64_t ceiling, const char *what, uint64_t *address, int *error);

/* The highest place below `ceiling`, at 1 MiB or above. */
void *loader_take_high(struct loader *loader, uint64_t size, uint64_t align, uint64_t ceiling,
                       const char *what, uint64_t *address, int *error);

#define LOADER_GDT_SIZE 32U

/*
 * Writes a GDT with flat 32-bit code (selector 0x10) and data (0x18) segments to `gdt`, which is
 * LOADER_GDT_SIZE bytes of guest memory at gdt_address, and sets entry for a start in protected
 * mode at rip with those; the general registers are 0.
 */
void loader_enter_protected(struct guest_entry *entry, void *gdt, uint64_t gdt_address,
                            uint64_t rip);

/* Where an ELF image's code begins, and the end of its highest segment. */
struct elf_layout {
    uint64_t entry; /* physical */
    uint64_t end;
};

/* Whether the file starts as an ELF file does, and whether there is a multiboot header in it. */
bool elf_is(const struct guest_image *image);
bool multiboot_is(const struct guest_image *image);

/*
 * Loads the segments of images->kernel, a 32- or 64-bit x86 executable, at their physical
 * addresses, which must be below 4 GiB. Returns 0 or the error, with the reason in loader->why.
 */
int elf_load(struct loader *loader, struct elf_layout *layout);

/* A module in guest memory, for a multiboot information structure. */
struct placed_module {
    uint64_t start, end;
    const char *args;
};

struct placed_modules {
    unsigned count;
    struct placed_module module[BOOT_MODULES_MAX + 1]; /* the initrd is the first */
};

/* Build the information structures and return their addresses; else *error is set. */
uint64_t multiboot1_write_info(struct loader *loader, const struct placed_modules *modules,
                               int *error);
uint64_t multiboot2_write_info(struct loader *loader, const struct placed_modules *modules,
                               int *error);

#endif
