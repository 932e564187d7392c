/* SPDX-License-Identifier: BSD-2-Clause */
/* The segments of an ELF executable (System V ABI, "Object Files" and "Program Loading"). */
#include "kernel/bytes.h"
#include "kernel/load_common.h"
#include <errno.h>
#include <inttypes.h>

#define ELF_HEADER_32      52U
#define ELF_HEADER_64      64U
#define PROGRAM_HEADER_32  32U
#define PROGRAM_HEADER_64  56U
#define CLASS_32           1U
#define CLASS_64           2U
#define LITTLE_ENDIAN_DATA 1U
#define TYPE_EXEC          2U
#define MACHINE_386        3U
#define MACHINE_X86_64     62U
#define PROGRAM_LOAD       1U

struct file {
    const struct guest_image *image;
    bool is_64;
    uint64_t entry; /* virtual */
    uint64_t headers;
    unsigned header_count;
};

struct segment {
    uint64_t offset, virtual_address, address, file_size, memory_size;
};

bool elf_is(const struct guest_image *image)
{
    return image->size >= 4 && memcmp(image->data,
                                      "\x7f"
                                      "ELF",
                                      4) == 0;
}

static int read_header(const struct guest_image *image, struct file *file, struct refusal *why)
{
    const uint8_t *data = image->data;
    if (image->size < ELF_HEADER_64) {
        return refuse(why, EINVAL, "ELF: %lu bytes, its header has %u; it is truncated",
                      image->size, ELF_HEADER_64);
    }
    uint16_t machine = read16(data + 18);
    bool is_64 = data[4] == CLASS_64;
    if ((data[4] != CLASS_32 && data[4] != CLASS_64) || data[5] != LITTLE_ENDIAN_DATA ||
        read16(data + 16) != TYPE_EXEC || (machine != MACHINE_386 && machine != MACHINE_X86_64)) {
        return refuse(why, EINVAL,
                      "ELF: class %u, data %u, type %u, machine %u; wanted a little-endian x86 "
                      "executable (1 or 2, 1, 2, 3 or 62)",
                      data[4], data[5], read16(data + 16), machine);
    }
    *file = (struct file){
        .image = image,
        .is_64 = is_64,
        .entry = is_64 ? read64(data + 24) : read32(data + 24),
        .headers = is_64 ? read64(data + 32) : read32(data + 28),
        .header_count = read16(data + (is_64 ? 56 : 44)),
    };
    unsigned size = read16(data + (is_64 ? 54 : 42));
    unsigned wanted = is_64 ? PROGRAM_HEADER_64 : PROGRAM_HEADER_32;
    if (size != wanted || file->headers > image->size ||
        (uint64_t)file->header_count * size > image->size - file->headers) {
        return refuse(why, EINVAL,
                      "ELF: %u program headers of %u bytes at 0x%" PRIx64 " in a file of %lu, "
                      "wanted all of them in it, of %u bytes; it is truncated or broken",
                      file->header_count, size, file->headers, image->size, wanted);
    }
    return 0;
}

/* False for a header that is not of something to load. */
static bool read_segment(const struct file *file, unsigned number, struct segment *segment)
{
    unsigned size = file->is_64 ? PROGRAM_HEADER_64 : PROGRAM_HEADER_32;
    const uint8_t *header = file->image->data + file->headers + (size_t)number * size;
    if (file->is_64) {
        *segment = (struct segment){
            .offset = read64(header + 8),
            .virtual_address = read64(header + 16),
            .address = read64(header + 24),
            .file_size = read64(header + 32),
            .memory_size = read64(header + 40),
        };
    } else {
        *segment = (struct segment){
            .offset = read32(header + 4),
            .virtual_address = read32(header + 8),
            .address = read32(header + 12),
            .file_size = read32(header + 16),
            .memory_size = read32(header + 20),
        };
    }
    return read32(header) == PROGRAM_LOAD && segment->memory_size != 0;
}

static int load_segment(struct loader *loader, const struct segment *segment, unsigned number)
{
    const struct guest_image *image = &loader->images->kernel;
    int error = 0;

    if (segment->file_size > segment->memory_size || segment->offset > image->size ||
        segment->file_size > image->size - segment->offset) {
        return refuse(loader->why, EINVAL,
                      "ELF: segment %u has 0x%" PRIx64 " bytes at 0x%" PRIx64
                      " of a file of 0x%lx and 0x%" PRIx64 " in memory; it is truncated or broken",
                      number, segment->file_size, segment->offset, image->size,
                      segment->memory_size);
    }
    if (segment->address >= BELOW_4G || segment->memory_size > BELOW_4G - segment->address) {
        return refuse(loader->why, EFAULT,
                      "ELF: segment %u at 0x%" PRIx64 " of 0x%" PRIx64
                      " bytes, wanted below 4 GiB, which a multiboot entry can reach; link it "
                      "lower",
                      number, segment->address, segment->memory_size);
    }
    uint8_t *memory =
        loader_take_at(loader, segment->address, segment->memory_size, "ELF segment", &error);
    if (memory == NULL) {
        return error;
    }
    memcpy(memory, image->data + segment->offset, segment->file_size);
    memset(memory + segment->file_size, 0, segment->memory_size - segment->file_size);
    return 0;
}

int elf_load(struct loader *loader, struct elf_layout *layout)
{
    struct file file = {.is_64 = false};
    bool entered = false;
    int error = read_header(&loader->images->kernel, &file, loader->why);

    *layout = (struct elf_layout){.entry = 0};
    for (unsigned i = 0; error == 0 && i < file.header_count; i++) {
        struct segment segment;
        if (!read_segment(&file, i, &segment)) {
            continue;
        }
        error = load_segment(loader, &segment, i);
        uint64_t end = segment.address + segment.memory_size;
        layout->end = end > layout->end ? end : layout->end;
        /* The entry is virtual, the jump to it physical. */
        if (!entered && file.entry - segment.virtual_address < segment.memory_size) {
            layout->entry = file.entry - segment.virtual_address + segment.address;
            entered = true;
        }
    }
    if (error == 0 && !entered) {
        return refuse(loader->why, EINVAL,
                      "ELF: its entry 0x%" PRIx64 " is in none of its %u segments; rebuild it",
                      file.entry, file.header_count);
    }
    return error;
}
