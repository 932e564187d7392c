/* SPDX-License-Identifier: BSD-2-Clause */
#include "kernel/multiboot2.h"
#include "kernel/acpi.h"
#include "kernel/bytes.h"
#include <errno.h>
#include <inttypes.h>

/* Tag types and the sizes of what they must at least hold (§3.6), their 8-byte heads included. */
enum {
    TAG_END = 0,
    TAG_COMMAND_LINE = 1,
    TAG_BOOT_LOADER = 2,
    TAG_MODULE = 3,
    TAG_MEMORY_MAP = 6,
    TAG_FRAMEBUFFER = 8,
    TAG_EFI32_SYSTEM_TABLE = 11,
    TAG_EFI64_SYSTEM_TABLE = 12,
    TAG_OLD_RSDP = 14,
    TAG_NEW_RSDP = 15,
    TAG_EFI_MEMORY_MAP = 17,
};

#define INFO_HEAD        8U
#define TAG_HEAD         8U
#define MODULE_HEAD      16U
#define MEMORY_MAP_HEAD  16U
#define MEMORY_MAP_ENTRY 24U
#define FRAMEBUFFER_HEAD 32U
#define FRAMEBUFFER_RGB  38U

struct tag {
    uint32_t type;
    uint32_t size;
    const uint8_t *data; /* from the head on, `size` bytes */
};

struct parser {
    struct boot_info *info;
    struct refusal *why;
};

static const struct {
    const char *name;
    enum module_role role;
} roles[] = {
    {.name = "guest", .role = MODULE_GUEST},
    {.name = "initrd", .role = MODULE_INITRD},
    {.name = "module", .role = MODULE_MODULE},
    {.name = "model", .role = MODULE_MODEL},
};

static int too_short(struct parser *parser, const struct tag *tag, uint32_t wanted)
{
    return refuse(parser->why, EINVAL,
                  "boot information: tag %" PRIu32 " has %" PRIu32 " bytes, needs %" PRIu32
                  "; use another boot loader",
                  tag->type, tag->size, wanted);
}

/* Copies the string at tag->data[offset] into the text store. */
static int keep_string(struct parser *parser, const struct tag *tag, uint32_t offset,
                       const char **kept)
{
    struct boot_info *info = parser->info;
    if (tag->size <= offset) {
        return too_short(parser, tag, offset + 1);
    }
    const uint8_t *end = memchr(tag->data + offset, '\0', tag->size - offset);
    if (end == NULL) {
        return refuse(parser->why, EINVAL,
                      "boot information: the string of tag %" PRIu32 " has no end in its %" PRIu32
                      " bytes; use another boot loader",
                      tag->type, tag->size);
    }
    size_t length = (size_t)(end - (tag->data + offset)) + 1;
    if (length > BOOT_TEXT_MAX - info->text_used) {
        return refuse(parser->why, ENOSPC,
                      "boot information: command lines and module strings have more than %u "
                      "characters in all; shorten them",
                      BOOT_TEXT_MAX);
    }
    *kept = memcpy(info->text + info->text_used, tag->data + offset, length);
    info->text_used += length;
    return 0;
}

static int parse_role(struct parser *parser, struct boot_module *module)
{
    size_t length = strcspn(module->args, " \t");
    for (size_t i = 0; i < sizeof roles / sizeof roles[0]; i++) {
        if (strlen(roles[i].name) == length && memcmp(roles[i].name, module->args, length) == 0) {
            module->role = roles[i].role;
            module->args += length + strspn(module->args + length, " \t");
            return 0;
        }
    }
    return refuse(parser->why, EINVAL,
                  "module %u: its first word is \"%.*s\"; give guest, initrd, module or model "
                  "(module2 FILE guest ...)",
                  parser->info->module_count, (int)(length < 40 ? length : 40), module->args);
}

static int parse_module(struct parser *parser, const struct tag *tag)
{
    struct boot_info *info = parser->info;
    if (info->module_count == BOOT_MODULES_MAX) {
        return refuse(parser->why, ENOSPC, "more than %u modules; leave some out",
                      BOOT_MODULES_MAX);
    }
    if (tag->size < MODULE_HEAD + 1) {
        return too_short(parser, tag, MODULE_HEAD + 1);
    }
    struct boot_module *module = &info->module[info->module_count];
    *module = (struct boot_module){.start = read32(tag->data + 8), .end = read32(tag->data + 12)};
    int error = keep_string(parser, tag, MODULE_HEAD, &module->args);
    if (error == 0) {
        error = parse_role(parser, module);
    }
    if (error == 0) {
        info->module_count++;
    }
    return error;
}

static int parse_memory_map(struct parser *parser, const struct tag *tag)
{
    if (tag->size < MEMORY_MAP_HEAD) {
        return too_short(parser, tag, MEMORY_MAP_HEAD);
    }
    uint32_t entry_size = read32(tag->data + 8);
    if (entry_size < MEMORY_MAP_ENTRY || entry_size % 8 != 0) {
        return refuse(parser->why, EINVAL,
                      "boot information: memory map entries of %" PRIu32
                      " bytes, wanted 24 or more; use another boot loader",
                      entry_size);
    }
    for (uint32_t at = MEMORY_MAP_HEAD; tag->size - at >= entry_size; at += entry_size) {
        uint64_t start = read64(tag->data + at);
        uint64_t length = read64(tag->data + at + 8);
        uint32_t type = read32(tag->data + at + 16);
        if (length > UINT64_MAX - start) {
            return refuse(parser->why, EINVAL,
                          "boot information: memory at 0x%" PRIx64 " of 0x%" PRIx64
                          " bytes wraps around; the firmware's memory map is broken",
                          start, length);
        }
        if (type < MEMORY_RAM || type > MEMORY_BAD) {
            type = MEMORY_RESERVED;
        }
        if (memory_map_add(&parser->info->map, start, start + length, (enum memory_type)type)) {
            return refuse(parser->why, ENOSPC,
                          "boot information: the memory map has more than %u ranges; Latch keeps "
                          "no more",
                          MEMORY_RANGES_MAX);
        }
    }
    return 0;
}

static int parse_framebuffer(struct parser *parser, const struct tag *tag)
{
    const uint8_t *data = tag->data;
    if (tag->size < FRAMEBUFFER_HEAD) {
        return too_short(parser, tag, FRAMEBUFFER_HEAD);
    }
    struct boot_framebuffer *framebuffer = &parser->info->framebuffer;
    *framebuffer = (struct boot_framebuffer){
        .address = read64(data + 8),
        .pitch = read32(data + 16),
        .width = read32(data + 20),
        .height = read32(data + 24),
        .bits_per_pixel = data[28],
        .type = data[29],
    };
    if (framebuffer->type != 1) {
        return 0;
    }
    if (tag->size < FRAMEBUFFER_RGB) {
        return too_short(parser, tag, FRAMEBUFFER_RGB);
    }
    framebuffer->red_position = data[32];
    framebuffer->red_size = data[33];
    framebuffer->green_position = data[34];
    framebuffer->green_size = data[35];
    framebuffer->blue_position = data[36];
    framebuffer->blue_size = data[37];
    return 0;
}

/* Both RSDP tags may be there; the newer and longer one is kept, whatever their order. */
static void parse_rsdp(struct parser *parser, const struct tag *tag)
{
    struct boot_info *info = parser->info;
    size_t size = acpi_rsdp_size(tag->data + TAG_HEAD, tag->size - TAG_HEAD);
    if (size > info->rsdp_size) {
        memcpy(info->rsdp, tag->data + TAG_HEAD, size);
        info->rsdp_size = size;
    }
}

static int parse_tag(struct parser *parser, const struct tag *tag)
{
    struct boot_info *info = parser->info;
    switch (tag->type) {
    case TAG_COMMAND_LINE:
        return keep_string(parser, tag, TAG_HEAD, &info->command_line);
    case TAG_BOOT_LOADER:
        return keep_string(parser, tag, TAG_HEAD, &info->boot_loader);
    case TAG_MODULE:
        return parse_module(parser, tag);
    case TAG_MEMORY_MAP:
        return parse_memory_map(parser, tag);
    case TAG_FRAMEBUFFER:
        return parse_framebuffer(parser, tag);
    case TAG_EFI32_SYSTEM_TABLE:
        if (tag->size < TAG_HEAD + 4) {
            return too_short(parser, tag, TAG_HEAD + 4);
        }
        info->efi_system_table = read32(tag->data + TAG_HEAD);
        return 0;
    case TAG_EFI64_SYSTEM_TABLE:
        if (tag->size < TAG_HEAD + 8) {
            return too_short(parser, tag, TAG_HEAD + 8);
        }
        info->efi_system_table = read64(tag->data + TAG_HEAD);
        return 0;
    case TAG_OLD_RSDP:
    case TAG_NEW_RSDP:
        parse_rsdp(parser, tag);
        return 0;
    case TAG_EFI_MEMORY_MAP:
        info->efi_memory_map = true;
        return 0;
    default:
        return 0;
    }
}

static int parse_tags(struct parser *parser, const uint8_t *data, uint32_t total)
{
    uint32_t at = INFO_HEAD;
    while (total - at >= TAG_HEAD) {
        struct tag tag = {
            .type = read32(data + at), .size = read32(data + at + 4), .data = data + at};
        if (tag.type == TAG_END) {
            return 0;
        }
        if (tag.size < TAG_HEAD || tag.size > total - at) {
            return refuse(parser->why, EINVAL,
                          "boot information: tag %" PRIu32 " at %" PRIu32 " has %" PRIu32
                          " bytes of %" PRIu32 "; use another boot loader",
                          tag.type, at, tag.size, total - at);
        }
        int error = parse_tag(parser, &tag);
        if (error != 0) {
            return error;
        }
        uint32_t step = (tag.size + 7) & ~7U;
        if (step > total - at) {
            break;
        }
        at += step;
    }
    return refuse(parser->why, EINVAL,
                  "boot information: no end tag in its %" PRIu32 " bytes; use another boot loader",
                  total);
}

static int check_module(const struct boot_info *info, unsigned number, uint64_t latch_start,
                        uint64_t latch_end, struct refusal *why)
{
    const struct boot_module *module = &info->module[number];
    if (module->end <= module->start) {
        return refuse(why, EINVAL,
                      "module %u (%.40s): 0x%" PRIx64 "..0x%" PRIx64
                      " is empty; wanted a file with content",
                      number, module->args, module->start, module->end);
    }
    if (module->start < latch_end && latch_start < module->end) {
        return refuse(why, EFAULT,
                      "module %u (%.40s): 0x%" PRIx64 "..0x%" PRIx64 " overlaps Latch at 0x%" PRIx64
                      "..0x%" PRIx64 "; use another boot loader",
                      number, module->args, module->start, module->end, latch_start, latch_end);
    }
    if (!memory_map_is_ram(&info->map, module->start, module->end)) {
        return refuse(why, EFAULT,
                      "module %u (%.40s): 0x%" PRIx64 "..0x%" PRIx64
                      " is not all RAM; give a smaller file or more memory",
                      number, module->args, module->start, module->end);
    }
    for (unsigned i = 0; i < number; i++) {
        const struct boot_module *other = &info->module[i];
        if (module->start < other->end && other->start < module->end) {
            return refuse(
                why, EFAULT,
                "module %u (%.30s): 0x%" PRIx64 "..0x%" PRIx64 " overlaps module %u at 0x%" PRIx64
                "..0x%" PRIx64 "; use another boot loader",
                number, module->args, module->start, module->end, i, other->start, other->end);
        }
    }
    return 0;
}

static int check_roles(const struct boot_info *info, struct refusal *why)
{
    unsigned count[sizeof roles / sizeof roles[0]] = {0};
    for (unsigned i = 0; i < info->module_count; i++) {
        count[info->module[i].role]++;
    }
    if (count[MODULE_GUEST] == 0) {
        return refuse(why, ENOENT,
                      "no guest module among %u modules; add one: module2 FILE guest ARGS",
                      info->module_count);
    }
    if (count[MODULE_GUEST] > 1 || count[MODULE_INITRD] > 1) {
        return refuse(why, EINVAL,
                      "%u guest and %u initrd modules, wanted one and at most one; remove the "
                      "others",
                      count[MODULE_GUEST], count[MODULE_INITRD]);
    }
    return 0;
}

int multiboot2_parse(const void *data, uint64_t data_address, size_t readable, uint64_t latch_start,
                     uint64_t latch_end, struct boot_info *info, struct refusal *why)
{
    struct parser parser = {.info = info, .why = why};
    memset(info, 0, sizeof *info);
    info->command_line = "";
    info->boot_loader = "";

    if (data_address % 8 != 0 || readable < INFO_HEAD) {
        return refuse(why, EINVAL,
                      "boot information at 0x%" PRIx64 " with %lu readable bytes: wanted 8-byte "
                      "alignment and 8 bytes; use another boot loader",
                      data_address, readable);
    }
    uint32_t total = read32(data);
    if (total < INFO_HEAD + TAG_HEAD || total > MULTIBOOT2_INFO_MAX || total > readable) {
        return refuse(why, EINVAL,
                      "boot information: says that it has %" PRIu32 " bytes, wanted 16..%u of "
                      "readable %lu; use another boot loader",
                      total, MULTIBOOT2_INFO_MAX, readable);
    }
    int error = parse_tags(&parser, data, total);
    if (error != 0) {
        return error;
    }
    if (info->map.count == 0) {
        return refuse(why, ENOENT,
                      "boot information: no memory map (tag 6); use another boot loader");
    }
    for (unsigned i = 0; i < info->module_count && error == 0; i++) {
        error = check_module(info, i, latch_start, latch_end, why);
    }
    return error != 0 ? error : check_roles(info, why);
}

const struct boot_module *boot_find_module(const struct boot_info *info, enum module_role role)
{
    for (unsigned i = 0; i < info->module_count; i++) {
        if (info->module[i].role == role) {
            return &info->module[i];
        }
    }
    return NULL;
}
