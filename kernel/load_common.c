/* SPDX-License-Identifier: BSD-2-Clause */
#include "kernel/load_common.h"
#include "kernel/bytes.h"
#include <errno.h>
#include <inttypes.h>

static void *take(struct loader *loader, uint64_t address, uint64_t size, const char *what,
                  int *error)
{
    if (memory_map_set(&loader->free, address, address + size, MEMORY_RESERVED) != 0) {
        *error = refuse(loader->why, ENOMEM,
                        "%s: guest memory is in more than %u pieces; give fewer modules or "
                        "segments",
                        what, MEMORY_RANGES_MAX);
        return NULL;
    }
    void *memory = loader->target->memory(loader->target->context, address, size);
    if (memory == NULL) {
        *error = refuse(loader->why, EFAULT,
                        "%s: guest memory at 0x%" PRIx64 " of 0x%" PRIx64
                        " bytes cannot be reached; give the guest less memory",
                        what, address, size);
    }
    return memory;
}

void *loader_take_at(struct loader *loader, uint64_t address, uint64_t size, const char *what,
                     int *error)
{
    const struct guest_target *target = loader->target;
    uint64_t end = address + size;

    if (size == 0 || end < address) {
        *error = refuse(loader->why, EINVAL,
                        "%s: 0x%" PRIx64 " bytes at 0x%" PRIx64 " are no range; rebuild the guest",
                        what, size, address);
    } else if (address < target->latch_end && target->latch_start < end) {
        *error = refuse(loader->why, EFAULT,
                        "%s: 0x%" PRIx64 "..0x%" PRIx64 " is inside Latch at 0x%" PRIx64
                        "..0x%" PRIx64 "; link the guest lower",
                        what, address, end, target->latch_start, target->latch_end);
    } else if (!memory_map_is_ram(target->map, address, end)) {
        *error = refuse(loader->why, EFAULT,
                        "%s: 0x%" PRIx64 "..0x%" PRIx64
                        " is not all RAM; link the guest elsewhere or give more memory",
                        what, address, end);
    } else if (!memory_map_is_ram(&loader->free, address, end)) {
        *error = refuse(loader->why, EFAULT,
                        "%s: 0x%" PRIx64 "..0x%" PRIx64
                        " overlaps another part of the guest; rebuild the guest",
                        what, address, end);
    } else {
        return take(loader, address, size, what, error);
    }
    return NULL;
}

static void *no_room(struct loader *loader, uint64_t size, uint64_t floor, uint64_t ceiling,
                     const char *what, int *error)
{
    *error = refuse(loader->why, ENOMEM,
                    "%s: no 0x%" PRIx64 " bytes of free RAM in 0x%" PRIx64 "..0x%" PRIx64
                    "; give more memory or a smaller file",
                    what, size, floor, ceiling);
    return NULL;
}

void *loader_take_low(struct loader *loader, uint64_t size, uint64_t align, uint64_t floor,
                      uint64_t ceiling, const char *what, uint64_t *address, int *error)
{
    if (size == 0 ||
        memory_map_find_low(&loader->free, size, align, floor, ceiling, address) != 0) {
        return no_room(loader, size, floor, ceiling, what, error);
    }
    return take(loader, *address, size, what, error);
}

void *loader_take_high(struct loader *loader, uint64_t size, uint64_t align, uint64_t ceiling,
                       const char *what, uint64_t *address, int *error)
{
    uint64_t floor = 1U << 20;
    if (size == 0 ||
        memory_map_find_high(&loader->free, size, align, floor, ceiling, address) != 0) {
        return no_room(loader, size, floor, ceiling, what, error);
    }
    return take(loader, *address, size, what, error);
}

void loader_enter_protected(struct guest_entry *entry, void *gdt, uint64_t gdt_address,
                            uint64_t rip)
{
    static const uint64_t descriptors[LOADER_GDT_SIZE / 8] = {
        [2] = 0x00cf9b000000ffff, /* code: base 0, limit 4 GiB, readable, accessed */
        [3] = 0x00cf93000000ffff, /* data: the same, writable */
    };
    memcpy(gdt, descriptors, sizeof descriptors);
    *entry = (struct guest_entry){
        .mode = GUEST_PROTECTED32,
        .rip = rip,
        .rflags = 2,
        .cs = {.selector = 0x10, .attributes = 0xc09b, .limit = UINT32_MAX},
        .data = {.selector = 0x18, .attributes = 0xc093, .limit = UINT32_MAX},
        /* Not the 16-bit one of INIT: with that in TR some emulators refuse long mode. */
        .tr = {.attributes = 0x8b, .limit = 0xffff},
        .gdt_base = gdt_address,
        .gdt_limit = LOADER_GDT_SIZE - 1,
    };
}
