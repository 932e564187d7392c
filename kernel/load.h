/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef LATCH_KERNEL_LOAD_H
#define LATCH_KERNEL_LOAD_H
/*
 * The guest loaders: they find out what the guest's kernel is, put it and its modules into guest
 * memory, and say with which registers it starts. The images stay as they are, for a relaunch.
 */
#include "kernel/guest_image.h"

/*
 * Loads images->kernel: a Linux bzImage, an ELF with a multiboot 1 or 2 header, a multiboot 1
 * image with address fields, or else a flat real-mode image. Fills *entry. Returns 0, or with the
 * reason in *why:
 * -EINVAL (malformed), -ENOEXEC (of a kind that is not taken), -EFAULT (outside RAM or inside
 * Latch), -ENOMEM (does not fit), -E2BIG (command line too long).
 */
int guest_load(const struct guest_target *target, const struct guest_images *images,
               struct guest_entry *entry, struct refusal *why);

/* The loaders behind it, one for each format; the same arguments and returns. */
int load_linux(const struct guest_target *target, const struct guest_images *images,
               struct guest_entry *entry, struct refusal *why);
int load_multiboot(const struct guest_target *target, const struct guest_images *images,
                   struct guest_entry *entry, struct refusal *why);
int load_raw(const struct guest_target *target, const struct guest_images *images,
             struct guest_entry *entry, struct refusal *why);

#endif
