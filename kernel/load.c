/* SPDX-License-Identifier: BSD-2-Clause */
#include "kernel/load.h"
#include "kernel/bytes.h"
#include "kernel/load_common.h"
#include <errno.h>

#define BOOT_FLAG   0x1feU /* 0xaa55 in a boot sector and in a bzImage */
#define LINUX_MAGIC 0x202U

static bool is_linux(const struct guest_image *image)
{
    return image->size >= LINUX_MAGIC + 6 && read16(image->data + BOOT_FLAG) == 0xaa55 &&
           memcmp(image->data + LINUX_MAGIC, "HdrS", 4) == 0;
}

static bool is_gzip(const struct guest_image *image)
{
    return image->size >= 2 && image->data[0] == 0x1f && image->data[1] == 0x8b;
}

int guest_load(const struct guest_target *target, const struct guest_images *images,
               struct guest_entry *entry, struct refusal *why)
{
    const struct guest_image *kernel = &images->kernel;
    if (kernel->data == NULL || kernel->size == 0) {
        return refuse(why, EINVAL, "guest: its image is empty; give a kernel as the guest module");
    }
    if (is_linux(kernel)) {
        return load_linux(target, images, entry, why);
    }
    if (multiboot_is(kernel) || elf_is(kernel)) {
        return load_multiboot(target, images, entry, why);
    }
    if (is_gzip(kernel)) {
        return refuse(why, ENOEXEC, "guest: compressed by gzip; give the unpacked file");
    }
    return load_raw(target, images, entry, why);
}
