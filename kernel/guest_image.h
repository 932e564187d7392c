/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef LATCH_KERNEL_GUEST_IMAGE_H
#define LATCH_KERNEL_GUEST_IMAGE_H
/*
 * What a guest loader gets (images that it never writes to, and the guest's memory) and what it
 * gives back (the first vCPU's registers at entry). Nothing here knows a vendor.
 */
#include "kernel/memory_map.h"
#include "kernel/multiboot2.h"
#include "kernel/refusal.h"
#include <stddef.h>
#include <stdint.h>

struct guest_image {
    const uint8_t *data; /* NULL: there is none */
    size_t size;
    const char *args; /* its command line, passed on as it is; never NULL when data is not */
};

struct guest_images {
    struct guest_image kernel;
    struct guest_image initrd; /* a multiboot guest's first module */
    unsigned module_count;
    struct guest_image module[BOOT_MODULES_MAX];
};

struct guest_target {
    /* The guest's memory map: Latch's range is reserved in it. All addresses guest-physical. */
    const struct memory_map *map;
    uint64_t latch_start, latch_end;
    /* A writable pointer to `length` bytes of guest RAM at `address`, or NULL. */
    void *(*memory)(void *context, uint64_t address, size_t length);
    void *context;
    /* The RSDP for the guest (0 bytes: none). A loader puts a copy into guest memory. */
    const void *rsdp;
    size_t rsdp_size;
    const struct boot_framebuffer *framebuffer; /* NULL: none */
};

enum guest_mode {
    GUEST_REAL,        /* CR0.PE = 0 */
    GUEST_PROTECTED32, /* CR0.PE = 1, CR0.PG = 0, flat 32-bit segments */
};

/*
 * A segment register. attributes as in a descriptor's second dword, shifted right by 8 (SDM vol. 3
 * §3.4.5): type 3:0, S 4, DPL 6:5, P 7, AVL 12, L 13, D/B 14, G 15. limit is in bytes.
 */
struct guest_segment {
    uint16_t selector;
    uint16_t attributes;
    uint32_t limit;
    uint64_t base;
};

/* Every register that is not named here has its value after INIT (SDM vol. 3 table 10-1). */
struct guest_entry {
    enum guest_mode mode;
    const char *format; /* for the console: "Linux bzImage", "multiboot 1" ... */
    uint64_t rip;
    uint64_t rflags;
    uint64_t gpr[16]; /* encoding order: rax rcx rdx rbx rsp rbp rsi rdi r8..r15 */
    struct guest_segment cs;
    struct guest_segment data; /* DS, ES, FS, GS and SS */
    struct guest_segment tr;   /* busy TSS */
    uint64_t gdt_base;
    uint16_t gdt_limit;
};

#endif
