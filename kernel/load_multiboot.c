/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Multiboot kernels: their headers (Multiboot Specification 0.6.96 §3.1, Multiboot2 2.0 §3.1) and
 * what these ask for. The kernel itself is an ELF file, or an image with address fields.
 */
#include "kernel/bytes.h"
#include "kernel/load_common.h"
#include "mmu/address.h"
#include <errno.h>
#include <inttypes.h>

#define MULTIBOOT1_MAGIC            0x1badb002U
#define MULTIBOOT1_BOOT_MAGIC       0x2badb002U
#define MULTIBOOT1_SEARCH           8192U
#define MULTIBOOT1_HEADER           12U
#define MULTIBOOT1_ADDRESS_FIELDS   32U     /* the header's size with them */
#define MULTIBOOT1_MUST             0xffffU /* flags that a loader must know or refuse */
#define MULTIBOOT1_ALIGN_AND_MEMORY 3U      /* those that are known */
#define MULTIBOOT1_HAS_ADDRESS      (1U << 16)

#define MULTIBOOT2_MAGIC    0xe85250d6U
#define MULTIBOOT2_SEARCH   32768U
#define MULTIBOOT2_HEADER   16U
#define MULTIBOOT2_TAG      8U
#define HEADER_TAG_OPTIONAL 1U

/* Types of multiboot2 header tags, §3.1.3 and after */
enum {
    HEADER_END = 0,
    HEADER_REQUEST = 1,
    HEADER_ADDRESS = 2,
    HEADER_ENTRY = 3,
    HEADER_CONSOLE = 4,
    HEADER_MODULE_ALIGN = 6,
    HEADER_EFI_BOOT_SERVICES = 7,
    HEADER_EFI32_ENTRY = 8,
    HEADER_EFI64_ENTRY = 9,
    HEADER_RELOCATABLE = 10,
};

/* What a multiboot2_write_info gives, by tag type: §3.6 */
#define INFORMATION_GIVEN (1U << 1 | 1U << 2 | 1U << 3 | 1U << 4 | 1U << 6 | 1U << 14 | 1U << 15)

struct header {
    unsigned version;   /* 1 or 2, 0: there is none */
    uint32_t at;        /* in the file */
    uint32_t size;      /* multiboot2: tags included */
    bool has_addresses; /* the next four are to be used instead of an ELF header */
    uint32_t header_address, load_address, load_end, bss_end;
    bool has_entry;
    uint32_t entry;
};

static struct header find_header(const struct guest_image *image)
{
    size_t size = image->size;
    for (uint32_t at = 0; at < MULTIBOOT2_SEARCH && size >= at + MULTIBOOT2_HEADER; at += 8) {
        const uint8_t *data = image->data + at;
        uint32_t length = read32(data + 8);
        if (read32(data) == MULTIBOOT2_MAGIC &&
            read32(data) + read32(data + 4) + length + read32(data + 12) == 0) {
            return (struct header){.version = 2, .at = at, .size = length};
        }
    }
    for (uint32_t at = 0; at < MULTIBOOT1_SEARCH && size >= at + MULTIBOOT1_HEADER; at += 4) {
        const uint8_t *data = image->data + at;
        if (read32(data) == MULTIBOOT1_MAGIC &&
            read32(data) + read32(data + 4) + read32(data + 8) == 0) {
            return (struct header){.version = 1, .at = at, .size = MULTIBOOT1_HEADER};
        }
    }
    return (struct header){.version = 0};
}

static int read_multiboot1(const struct guest_image *image, struct header *header,
                           struct refusal *why)
{
    const uint8_t *data = image->data + header->at;
    uint32_t flags = read32(data + 4);
    uint32_t unknown = flags & MULTIBOOT1_MUST & ~MULTIBOOT1_ALIGN_AND_MEMORY;
    if (unknown != 0) {
        return refuse(why, ENOEXEC,
                      "multiboot 1: header flags 0x%" PRIx32 " ask for 0x%" PRIx32
                      ", given are 0x3 (aligned modules, memory); build the guest without",
                      flags, unknown);
    }
    if (!(flags & MULTIBOOT1_HAS_ADDRESS)) {
        return 0;
    }
    if (image->size - header->at < MULTIBOOT1_ADDRESS_FIELDS) {
        return refuse(why, EINVAL,
                      "multiboot 1: header at 0x%" PRIx32 " of a file of 0x%lx has no room for "
                      "its address fields; it is truncated",
                      header->at, image->size);
    }
    header->has_addresses = true;
    header->header_address = read32(data + 12);
    header->load_address = read32(data + 16);
    header->load_end = read32(data + 20);
    header->bss_end = read32(data + 24);
    header->has_entry = true;
    header->entry = read32(data + 28);
    return 0;
}

static int check_request(const uint8_t *tag, uint32_t size, struct refusal *why)
{
    for (uint32_t at = MULTIBOOT2_TAG; size - at >= 4; at += 4) {
        uint32_t type = read32(tag + at);
        if (type >= 32 || !(INFORMATION_GIVEN >> type & 1)) {
            return refuse(why, ENOEXEC,
                          "multiboot 2: the header asks for information of type %" PRIu32
                          ", given are 1 2 3 4 6 14 15; build the guest without",
                          type);
        }
    }
    return 0;
}

static int read_tag(const uint8_t *tag, uint32_t size, struct header *header, struct refusal *why)
{
    uint16_t type = read16(tag);
    bool optional = read16(tag + 2) & HEADER_TAG_OPTIONAL;
    switch (type) {
    case HEADER_REQUEST:
        return optional ? 0 : check_request(tag, size, why);
    case HEADER_ADDRESS:
        if (size >= MULTIBOOT2_TAG + 16) {
            header->has_addresses = true;
            header->header_address = read32(tag + 8);
            header->load_address = read32(tag + 12);
            if (header->load_address == UINT32_MAX) /* from the file's beginning */
                header->load_address = header->header_address - header->at;
            header->load_end = read32(tag + 16);
            header->bss_end = read32(tag + 20);
            return 0;
        }
        break;
    case HEADER_ENTRY:
        if (size >= MULTIBOOT2_TAG + 4) {
            header->has_entry = true;
            header->entry = read32(tag + 8);
            return 0;
        }
        break;
    case HEADER_CONSOLE:
    case HEADER_MODULE_ALIGN:
    case HEADER_EFI_BOOT_SERVICES:
    case HEADER_EFI32_ENTRY:
    case HEADER_EFI64_ENTRY:
    case HEADER_RELOCATABLE:
        /* Given always, or of no meaning as the guest is not started by EFI. */
        return 0;
    default:
        if (optional) {
            return 0;
        }
        break;
    }
    return refuse(why, ENOEXEC,
                  "multiboot 2: header tag %u of %" PRIu32
                  " bytes is not optional and cannot be met; build the guest without",
                  type, size);
}

static int read_multiboot2(const struct guest_image *image, struct header *header,
                           struct refusal *why)
{
    const uint8_t *data = image->data + header->at;
    if (read32(data + 4) != 0 || header->size < MULTIBOOT2_HEADER ||
        header->size > image->size - header->at || header->size > MULTIBOOT2_SEARCH) {
        return refuse(why, EINVAL,
                      "multiboot 2: header of architecture %" PRIu32 " and 0x%" PRIx32
                      " bytes at 0x%" PRIx32
                      " of a file of 0x%lx, wanted 0 (i386) and all of it there; rebuild the guest",
                      read32(data + 4), header->size, header->at, image->size);
    }
    uint32_t at = MULTIBOOT2_HEADER;
    while (header->size - at >= MULTIBOOT2_TAG && read16(data + at) != HEADER_END) {
        uint32_t size = read32(data + at + 4);
        if (size < MULTIBOOT2_TAG || size > header->size - at) {
            return refuse(why, EINVAL,
                          "multiboot 2: header tag %u has %" PRIu32 " bytes of %" PRIu32
                          "; rebuild the guest",
                          read16(data + at), size, header->size - at);
        }
        int error = read_tag(data + at, size, header, why);
        if (error != 0) {
            return error;
        }
        uint32_t step = (size + 7) & ~7U;
        if (step > header->size - at) {
            break;
        }
        at += step;
    }
    if (header->has_addresses && !header->has_entry) {
        return refuse(why, EINVAL,
                      "multiboot 2: an address tag without an entry tag; rebuild the guest");
    }
    return 0;
}

static int load_addresses(struct loader *loader, const struct header *header,
                          struct elf_layout *layout)
{
    const struct guest_image *image = &loader->images->kernel;
    uint32_t before = header->header_address - header->load_address;
    uint64_t offset = (uint64_t)header->at - before;
    uint64_t size = image->size - offset;
    if (header->load_end != 0) {
        size = (uint64_t)header->load_end - header->load_address;
    }
    uint64_t memory_size = size;
    if (header->bss_end > header->load_address + size) {
        memory_size = (uint64_t)header->bss_end - header->load_address;
    }
    int error = 0;

    if (header->header_address < header->load_address || before > header->at ||
        (header->load_end != 0 && header->load_end <= header->load_address) ||
        size > image->size - offset || header->load_address + memory_size > BELOW_4G) {
        return refuse(loader->why, EINVAL,
                      "multiboot: addresses header 0x%" PRIx32 " load 0x%" PRIx32 "..0x%" PRIx32
                      " bss 0x%" PRIx32
                      " do not fit the file of 0x%lx with its header at 0x%" PRIx32 "; rebuild it",
                      header->header_address, header->load_address, header->load_end,
                      header->bss_end, image->size, header->at);
    }
    uint8_t *memory =
        loader_take_at(loader, header->load_address, memory_size, "multiboot image", &error);
    if (memory == NULL) {
        return error;
    }
    memcpy(memory, image->data + offset, size);
    memset(memory + size, 0, memory_size - size);
    layout->end = header->load_address + memory_size;
    return 0;
}

static int load_kernel(struct loader *loader, const struct header *header,
                       struct elf_layout *layout)
{
    int error;
    *layout = (struct elf_layout){.entry = 0};
    if (header->has_addresses) {
        error = load_addresses(loader, header, layout);
    } else if (elf_is(&loader->images->kernel)) {
        error = elf_load(loader, layout);
    } else {
        error = refuse(loader->why, ENOEXEC,
                       "multiboot %u: neither an ELF file nor address fields in the header; "
                       "rebuild the guest",
                       header->version);
    }
    if (error == 0 && header->has_entry) {
        layout->entry = header->entry;
    }
    return error;
}

/* Nothing but the kernel has been given a place yet. */
static bool is_loaded(const struct loader *loader, uint64_t address)
{
    return memory_map_is_ram(loader->target->map, address, address + 1) &&
           !memory_map_is_ram(&loader->free, address, address + 1);
}

static int place_module(struct loader *loader, const struct guest_image *image, uint64_t floor,
                        struct placed_modules *modules)
{
    int error = 0;
    uint64_t address;
    void *memory = loader_take_low(loader, image->size, PAGE_SIZE, floor, BELOW_4G, "guest module",
                                   &address, &error);
    if (memory != NULL) {
        memcpy(memory, image->data, image->size);
        modules->module[modules->count++] = (struct placed_module){
            .start = address, .end = address + image->size, .args = image->args};
    }
    return error;
}

/* Behind the kernel, as other loaders do it, and not below 1 MiB. */
static int place_modules(struct loader *loader, uint64_t kernel_end, struct placed_modules *modules)
{
    const struct guest_images *images = loader->images;
    uint64_t floor = kernel_end > 0x100000 ? kernel_end : 0x100000;
    int error = 0;

    modules->count = 0;
    if (images->initrd.data != NULL) {
        error = place_module(loader, &images->initrd, floor, modules);
    }
    for (unsigned i = 0; error == 0 && i < images->module_count; i++) {
        error = place_module(loader, &images->module[i], floor, modules);
    }
    return error;
}

static int enter(struct loader *loader, const struct header *header, uint64_t entry_point,
                 const struct placed_modules *modules)
{
    int error = 0;
    uint64_t info = header->version == 1 ? multiboot1_write_info(loader, modules, &error)
                                         : multiboot2_write_info(loader, modules, &error);
    if (error != 0) {
        return error;
    }
    uint64_t gdt_address;
    void *gdt = loader_take_low(loader, LOADER_GDT_SIZE, 8, PAGE_SIZE, BELOW_4G, "GDT",
                                &gdt_address, &error);
    if (gdt == NULL) {
        return error;
    }
    struct guest_entry *entry = loader->entry;
    loader_enter_protected(entry, gdt, gdt_address, entry_point);
    entry->format = header->version == 1 ? "multiboot 1" : "multiboot 2";
    entry->gpr[0] = header->version == 1 ? MULTIBOOT1_BOOT_MAGIC : MULTIBOOT2_BOOTLOADER_MAGIC;
    entry->gpr[3] = info;
    return 0;
}

bool multiboot_is(const struct guest_image *image)
{
    return find_header(image).version != 0;
}

int load_multiboot(const struct guest_target *target, const struct guest_images *images,
                   struct guest_entry *entry, struct refusal *why)
{
    struct loader loader = {
        .target = target, .images = images, .entry = entry, .why = why, .free = *target->map};
    struct header header = find_header(&images->kernel);
    struct elf_layout layout = {.entry = 0};
    struct placed_modules modules = {.count = 0};

    if (header.version == 0) {
        return refuse(why, ENOEXEC,
                      "guest: an ELF without a multiboot header (magic 0x1badb002 in its first "
                      "8 KiB or 0xe85250d6 in 32 KiB); add one");
    }
    int error = header.version == 1 ? read_multiboot1(&images->kernel, &header, why)
                                    : read_multiboot2(&images->kernel, &header, why);
    if (error == 0) {
        error = load_kernel(&loader, &header, &layout);
    }
    if (error == 0 && !is_loaded(&loader, layout.entry)) {
        return refuse(why, EFAULT,
                      "multiboot %u: its entry 0x%" PRIx64
                      " is not in what was loaded, which ends at 0x%" PRIx64 "; rebuild the guest",
                      header.version, layout.entry, layout.end);
    }
    if (error == 0) {
        error = place_modules(&loader, layout.end, &modules);
    }
    return error == 0 ? enter(&loader, &header, layout.entry, &modules) : error;
}
