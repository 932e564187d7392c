/* SPDX-License-Identifier: BSD-2-Clause */
#include "kernel/guest.h"
#include "kernel/console.h"
#include "kernel/end.h"
#include "kernel/exact.h"
#include "kernel/load.h"
#include "kernel/memory.h"
#include "kernel/vm.h"
#include "kernel/x86.h"
#include <errno.h>
#include <stdio.h>
#include <string.h>

#define COMMAND_LINE_MAX 4096U
#define INEXACT_WORD     "latch.inexact"

#define ACPI_HEADER 36U
#define ACPI_LENGTH 4U

int guest_map_memory(const struct boot_info *info, struct refusal *why)
{
    vm.map = info->map;
    if (memory_map_set(&vm.map, latch_range.start, latch_range.end, MEMORY_RESERVED) != 0)
        return refuse(why, ENOSPC, "memory map: wanted room for one range more, found %u in use",
                      vm.map.count);
    return 0;
}

/* A table with all of its bytes mapped, and how many those are; NULL if it cannot be. */
static void *whole_table(uint64_t address, size_t *size)
{
    uint32_t length;
    const uint8_t *header = address == 0 ? NULL : memory_firmware(NULL, address, ACPI_HEADER);
    if (header == NULL)
        return NULL;
    memcpy(&length, header + ACPI_LENGTH, sizeof(length));
    *size = length;
    if (length < ACPI_HEADER || length > ACPI_TABLE_SIZE_MAX ||
        memory_firmware(NULL, address, length) == NULL)
        return NULL;
    return memory_at(hpa(address));
}

int guest_edit_acpi(const struct acpi_info *acpi, struct refusal *why)
{
    static const char *const iommus[] = {"DMAR", "IVRS"};
    const struct acpi_memory memory = {.map = memory_firmware};
    const uint64_t roots[] = {acpi->root, acpi->rsdt == acpi->root ? 0 : acpi->rsdt};
    uint32_t ids[CPUS_MAX];
    size_t size;
    void *madt = whole_table(acpi->madt, &size);
    for (unsigned int i = 0; i < vm.vcpu_count; i++)
        ids[i] = vm.vcpu[i]->apic_id;
    if (madt == NULL)
        return refuse(why, EINVAL,
                      "ACPI: wanted a MADT in memory, found none at 0x%lx; update the "
                      "firmware",
                      acpi->madt);
    int error = madt_keep_only(madt, size, ids, vm.vcpu_count, why);
    for (unsigned int i = 0; i < sizeof(roots) / sizeof(roots[0]) && error >= 0; i++) {
        void *root = whole_table(roots[i], &size);
        if (root != NULL)
            error = xsdt_drop(root, size, &memory, iommus, 2, why);
    }
    return error < 0 ? error : 0;
}

static void *target_memory(void *ctx, uint64_t address, size_t length)
{
    return vm_memory(ctx, gpa(address), length);
}

static struct guest_image image_of(const struct boot_module *module)
{
    if (module == NULL)
        return (struct guest_image){.data = NULL};
    return (struct guest_image){
        .data = memory_at(hpa(module->start)),
        .size = module->end - module->start,
        .args = module->args,
    };
}

/* From a descriptor's form with its hole at 11:8 to the packed one of struct segment. */
static struct segment segment_of(const struct guest_segment *s)
{
    return (struct segment){
        .selector = s->selector,
        .attributes = (uint16_t)((s->attributes & 0xffU) | (s->attributes >> 4 & 0xf00U)),
        .limit = s->limit,
        .base = s->base,
    };
}

static void fill_state(const struct guest_entry *entry, struct vcpu *v, struct vcpu_state *state)
{
    vcpu_reset_state(state);
    vcpu_init_state(v, state, 0);
    memcpy(v->regs.r, entry->gpr, sizeof(entry->gpr));
    state->rip = entry->rip;
    state->rflags = entry->rflags | RFLAGS_FIXED1;
    /* The loader and the firmware before it turned the caches on. */
    state->cr0 = CR0_ET | (entry->mode == GUEST_PROTECTED32 ? CR0_PE : 0);
    state->segment[SEG_CS] = segment_of(&entry->cs);
    for (unsigned int i = 0; i < SEG_LDTR; i++) {
        if (i != SEG_CS)
            state->segment[i] = segment_of(&entry->data);
    }
    state->segment[SEG_TR] = segment_of(&entry->tr);
    state->gdtr.base = entry->gdt_base;
    state->gdtr.limit = entry->gdt_limit;
}

/* A guest that gives the verdict without Latch is told what to add to it, if it takes words at all. */
static void say_inexact(struct guest_image *kernel)
{
    static char line[COMMAND_LINE_MAX];
    if ((exact_everywhere() && !end_is_inexact()) || kernel->data == NULL ||
        kernel->args[0] == '\0')
        return;
    if (strlen(kernel->args) + sizeof(" " INEXACT_WORD) > sizeof(line)) {
        console_line("guest: no room for " INEXACT_WORD " behind its command line");
        return;
    }
    snprintf(line, sizeof(line), "%s " INEXACT_WORD, kernel->args);
    kernel->args = line;
}

int guest_load_images(const struct boot_info *info, struct vcpu *v, struct vcpu_state *state,
                      struct refusal *why)
{
    static struct guest_images images;
    struct guest_entry entry = {.format = NULL};
    const struct guest_target target = {
        .map = &vm.map,
        .latch_start = latch_range.start,
        .latch_end = latch_range.end,
        .memory = target_memory,
        .context = &vm,
        .rsdp = info->rsdp,
        .rsdp_size = info->rsdp_size,
        .framebuffer = info->framebuffer.address != 0 ? &info->framebuffer : NULL,
    };
    images.kernel = image_of(boot_find_module(info, MODULE_GUEST));
    say_inexact(&images.kernel);
    images.initrd = image_of(boot_find_module(info, MODULE_INITRD));
    images.module_count = 0;
    for (unsigned int i = 0; i < info->module_count; i++) {
        if (info->module[i].role == MODULE_MODULE)
            images.module[images.module_count++] = image_of(&info->module[i]);
    }
    int error = guest_load(&target, &images, &entry, why);
    if (error != 0)
        return error;
    fill_state(&entry, v, state);
    console_line("guest: %s, %lu KiB, entry at 0x%lx%s%s", entry.format,
                 (unsigned long)images.kernel.size >> 10, entry.cs.base + entry.rip,
                 images.kernel.args[0] != '\0' ? ": " : "", images.kernel.args);
    return 0;
}
