/* SPDX-License-Identifier: BSD-2-Clause */
#include "kernel/bytes.h"
#include "kernel/load_common.h"
#include <errno.h>

/* Where a PC's firmware puts a boot sector, and the first address that may be the firmware's. */
#define RAW_START 0x7c00U
#define RAW_END   0x80000U

int load_raw(const struct guest_target *target, const struct guest_images *images,
             struct guest_entry *entry, struct refusal *why)
{
    const struct guest_image *kernel = &images->kernel;
    struct loader loader = {.target = target, .why = why, .free = *target->map};
    int error = 0;

    if (kernel->size > RAW_END - RAW_START) {
        return refuse(why, ENOMEM,
                      "guest: neither bzImage, nor ELF, nor multiboot, and as a flat real-mode "
                      "image %lu bytes are too many, at most %u fit",
                      kernel->size, RAW_END - RAW_START);
    }
    if (images->initrd.data != NULL || images->module_count != 0 || kernel->args[0] != '\0') {
        return refuse(why, EINVAL,
                      "guest: a flat real-mode image takes no initrd, module or command line; "
                      "leave them out");
    }
    void *memory = loader_take_at(&loader, RAW_START, kernel->size, "real-mode image", &error);
    if (memory == NULL) {
        return error;
    }
    memcpy(memory, kernel->data, kernel->size);
    *entry = (struct guest_entry){
        .mode = GUEST_REAL,
        .format = "flat real-mode image",
        .rip = RAW_START,
        .rflags = 2,
        .gpr = {[2] = 0x80, [4] = RAW_START}, /* DL: the first disk; SP: below the image */
        .cs = {.attributes = 0x9b, .limit = 0xffff},
        .data = {.attributes = 0x93, .limit = 0xffff},
        .tr = {.attributes = 0x8b, .limit = 0xffff},
    };
    return 0;
}
