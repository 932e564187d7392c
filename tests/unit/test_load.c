/* SPDX-License-Identifier: BSD-2-Clause */
/* The guest loaders: what they put where, and each of their refusals. */
#include "tests/unit/load_machine.h"
#include "tests/unit/unit.h"
#include <errno.h>
#include <string.h>

static uint8_t file[1 << 20];
static uint8_t other[8192];

static int load(size_t size, const char *args)
{
    images.kernel = (struct guest_image){.data = file, .size = size, .args = args};
    why.text[0] = '\0';
    return guest_load(&target, &images, &entry, &why);
}

static void check_refused(int found, int error, const char *text)
{
    CHECK_EQ(found, -error);
    CHECK(strstr(why.text, text) != NULL);
    if (strstr(why.text, text) == NULL) {
        printf("#   \"%s\" is not in \"%s\"\n", text, why.text);
    }
}

static void begin(void)
{
    make_machine();
    memset(file, 0, sizeof file);
    memset(other, 0x77, sizeof other);
}

/* --- Linux */

#define SETUP   2560U
#define CODE    4096U
#define BZIMAGE (SETUP + CODE)

static void make_bzimage(void)
{
    begin();
    memset(file + SETUP, 0xc3, CODE);
    file[0x1f1] = 4;
    write32(file + 0x1f4, CODE / 16);
    write16(file + 0x1fe, 0xaa55);
    file[0x201] = 0x6a;
    write32(file + 0x202, 0x53726448); /* "HdrS" */
    write16(file + 0x206, 0x20f);
    file[0x211] = 0x81;
    write32(file + 0x22c, 0x7fffffff);
    write32(file + 0x230, 0x200000);
    file[0x234] = 1;
    write32(file + 0x238, 2047);
    write64(file + 0x258, 0x1000000);
    write32(file + 0x260, 0x800000);
}

static const uint8_t *boot_params(void)
{
    return machine + entry.gpr[6];
}

static void linux_whole(void)
{
    make_bzimage();
    images.initrd = (struct guest_image){.data = other, .size = 5000, .args = ""};
    struct boot_framebuffer framebuffer = {.address = 0x80fd000000,
                                           .pitch = 3200,
                                           .width = 800,
                                           .height = 600,
                                           .bits_per_pixel = 32,
                                           .type = 1};
    target.framebuffer = &framebuffer;
    CHECK_EQ(load(BZIMAGE, "console=ttyS0 quiet"), 0);
    CHECK_EQ(entry.mode, GUEST_PROTECTED32);
    CHECK(strcmp(entry.format, "Linux bzImage") == 0);
    CHECK_EQ(entry.rip, 0x1000000);
    CHECK(memcmp(machine + 0x1000000, file + SETUP, CODE) == 0);
    CHECK(entry.cs.selector == 0x10 && entry.cs.attributes == 0xc09b && entry.cs.base == 0);
    CHECK(entry.data.selector == 0x18 && entry.data.attributes == 0xc093);
    CHECK_EQ(entry.data.limit, UINT32_MAX);
    CHECK(entry.rflags == 2 && entry.gpr[3] == 0 && entry.gpr[5] == 0 && entry.gpr[7] == 0);
    CHECK_EQ(read64(machine + entry.gdt_base + 0x10), 0x00cf9b000000ffff);
    CHECK_EQ(read64(machine + entry.gdt_base + 0x18), 0x00cf93000000ffff);

    const uint8_t *params = boot_params();
    CHECK(entry.gpr[6] >= 0x10000 && entry.gpr[6] + 0x4000 <= 0x9fc00);
    CHECK(memcmp(params + 0x202, "HdrS", 4) == 0);
    CHECK(params[0x210] == 0xff && params[0x211] == 1 && params[0x1ef] == 0);
    CHECK_EQ(read32(params + 0x214), 0x1000000);
    CHECK(strcmp((char *)machine + read32(params + 0x228), "console=ttyS0 quiet") == 0);
    uint32_t initrd = read32(params + 0x218);
    CHECK_EQ(read32(params + 0x21c), 5000);
    CHECK(initrd % 4096 == 0 && initrd == MACHINE_SIZE - 8192);
    CHECK(memcmp(machine + initrd, other, 5000) == 0);
    uint64_t rsdp = read64(params + 0x70);
    CHECK(memcmp(machine + rsdp, machine_rsdp, sizeof machine_rsdp) == 0);
    CHECK(params[0x0f] == 0x23 && read16(params + 0x12) == 800 && read32(params + 0x3a) == 0x80);
}

static void linux_memory_map(void)
{
    make_bzimage();
    CHECK_EQ(load(BZIMAGE, ""), 0);
    const uint8_t *params = boot_params();
    uint64_t rsdp = read64(params + 0x70);
    uint64_t ram = 0;
    bool marked = false;
    bool hidden = false;
    for (unsigned i = 0; i < params[0x1e8]; i++) {
        const uint8_t *line = params + 0x2d0 + (size_t)20 * i;
        uint64_t start = read64(line);
        uint64_t end = start + read64(line + 8);
        uint32_t type = read32(line + 16);
        ram += type == MEMORY_RAM ? end - start : 0;
        marked = marked || (type == MEMORY_ACPI_RECLAIM && start == rsdp && end == rsdp + 4096);
        hidden = hidden || (type == MEMORY_RESERVED && start == LATCH_START && end == LATCH_END);
    }
    CHECK(marked && hidden);
    CHECK_EQ(ram, memory_map_ram_size(&machine_map) - 4096);
}

static void linux_places(void)
{
    make_bzimage();
    memory_map_set(&machine_map, 0x1000000, 0x1001000, MEMORY_RESERVED);
    CHECK_EQ(load(BZIMAGE, ""), 0);
    CHECK_EQ(entry.rip, 0x1200000);
    file[0x234] = 0;
    check_refused(load(BZIMAGE, ""), EFAULT, "not relocatable, and 0x1000000..0x1800000");
    make_bzimage();
    write32(file + 0x260, 0x4000000);
    check_refused(load(BZIMAGE, ""), ENOMEM, "bzImage: no 0x4000000 bytes of free RAM");
    make_bzimage();
    write64(file + 0x258, UINT64_MAX - 5);
    CHECK_EQ(load(BZIMAGE, ""), 0);
    CHECK_EQ(entry.rip, 0x200000);
    make_bzimage();
    write32(file + 0x22c, 0x17fffff);
    images.initrd = (struct guest_image){.data = other, .size = 8192, .args = ""};
    CHECK_EQ(load(BZIMAGE, ""), 0);
    CHECK_EQ(read32(boot_params() + 0x218), 0x1000000 - 8192);
}

static void linux_refusals(void)
{
    make_bzimage();
    write16(file + 0x206, 0x209);
    check_refused(load(BZIMAGE, ""), EINVAL, "boot protocol 2.09, wanted 2.10");
    make_bzimage();
    check_refused(load(0x263, ""), EINVAL, "its header alone has 612; it is truncated");
    check_refused(load(BZIMAGE - 16, ""), EINVAL, "2560 of setup and 4096 of kernel; it is trunc");
    check_refused(load(SETUP - 1, ""), EINVAL, "it is truncated");
    file[0x211] = 0;
    check_refused(load(BZIMAGE, ""), EINVAL, "a zImage");
    make_bzimage();
    write32(file + 0x230, 0x201000);
    check_refused(load(BZIMAGE, ""), EINVAL, "kernel_alignment 0x201000");
    make_bzimage();
    write32(file + 0x260, 0);
    check_refused(load(BZIMAGE, ""), EINVAL, "init_size 0x0");
    make_bzimage();
    write32(file + 0x238, 4);
    CHECK_EQ(load(BZIMAGE, "quie"), 0);
    check_refused(load(BZIMAGE, "quiet"), E2BIG, "5 characters, this kernel takes 4");
    make_bzimage();
    images.initrd = (struct guest_image){.data = other, .size = 62UL << 20, .args = ""};
    check_refused(load(BZIMAGE, ""), ENOMEM, "initrd: no 0x3e00000 bytes of free RAM");
    make_bzimage();
    images.module_count = 2;
    check_refused(load(BZIMAGE, ""), EINVAL, "2 modules, wanted none but an initrd");
    make_bzimage();
    memory_map_set(&machine_map, 0, 0xa0000, MEMORY_RESERVED);
    check_refused(load(BZIMAGE, ""), ENOMEM, "boot_params: no");
}

/* --- ELF and multiboot */

#define ELF_CODE 0x1000 /* where the segment is in the file */
#define ELF_SIZE (ELF_CODE + 0x1000)

static void put_multiboot1(uint32_t at, uint32_t flags)
{
    write32(file + at, 0x1badb002);
    write32(file + at + 4, flags);
    write32(file + at + 8, 0U - 0x1badb002 - flags);
}

/* Room for tags up to `size`, the end tag included. */
static void put_multiboot2(uint32_t at, uint32_t size)
{
    write32(file + at, 0xe85250d6);
    write32(file + at + 4, 0);
    write32(file + at + 8, size);
    write32(file + at + 12, 0U - 0xe85250d6 - size);
    write64(file + at + size - 8, 8ULL << 32); /* the end tag */
}

static void make_elf64(uint64_t address, uint64_t memory_size)
{
    begin();
    write64(file, 0x00010102464c457f); /* 64 bits, little-endian */
    write16(file + 16, 2);
    write16(file + 18, 62);
    write64(file + 24, 0xffffffff80000040); /* entry */
    write64(file + 32, 64);
    write16(file + 54, 56);
    write16(file + 56, 2);
    write32(file + 64, 4); /* a note: not loaded */
    uint8_t *header = file + 64 + 56;
    write32(header, 1);
    write64(header + 8, ELF_CODE);
    write64(header + 16, 0xffffffff80000000);
    write64(header + 24, address);
    write64(header + 32, 0x1000);
    write64(header + 40, memory_size);
    memset(file + ELF_CODE, 0x90, 0x1000);
}

static void make_elf32(uint32_t address)
{
    begin();
    write64(file, 0x00010101464c457f); /* 32 bits, little-endian */
    write16(file + 16, 2);
    write16(file + 18, 3);
    write32(file + 24, address + 0x20);
    write32(file + 28, 52);
    write16(file + 42, 32);
    write16(file + 44, 1);
    uint8_t *header = file + 52;
    write32(header, 1);
    write32(header + 4, ELF_CODE);
    write32(header + 8, address);
    write32(header + 12, address);
    write32(header + 16, 0x1000);
    write32(header + 20, 0x3000);
    memset(file + ELF_CODE, 0x90, 0x1000);
}

static void multiboot1_whole(void)
{
    make_elf32(0x400000);
    put_multiboot1(ELF_CODE + 16, 3);
    images.initrd = (struct guest_image){.data = other, .size = 100, .args = "env"};
    images.module_count = 1;
    images.module[0] = (struct guest_image){.data = other, .size = 5000, .args = "second one"};
    CHECK_EQ(load(ELF_SIZE, "test arg"), 0);
    CHECK(strcmp(entry.format, "multiboot 1") == 0);
    CHECK_EQ(entry.rip, 0x400020);
    CHECK_EQ(entry.gpr[0], 0x2badb002);
    CHECK(memcmp(machine + 0x400000, file + ELF_CODE, 0x1000) == 0);
    for (unsigned i = 0x1000; i < 0x3000; i++) {
        CHECK_EQ(machine[0x400000 + i], 0);
    }
    const uint8_t *info = machine + entry.gpr[3];
    CHECK_EQ(read32(info), 0x24d);
    CHECK(read32(info + 4) == 639 && read32(info + 8) == 59 * 1024);
    CHECK(strcmp((const char *)machine + read32(info + 16), "test arg") == 0);
    CHECK(strcmp((const char *)machine + read32(info + 64), "Latch") == 0);
    CHECK_EQ(read32(info + 20), 2);
    const uint8_t *module = machine + read32(info + 24);
    CHECK(read32(module) == 0x403000 && read32(module + 4) == 0x403064);
    CHECK(strcmp((const char *)machine + read32(module + 8), "env") == 0);
    CHECK(read32(module + 16) == 0x404000 && read32(module + 20) == 0x404000 + 5000);
    CHECK(strcmp((const char *)machine + read32(module + 24), "second one") == 0);
    CHECK(memcmp(machine + 0x404000, other, 5000) == 0);
    CHECK_EQ(read32(info + 44), machine_map.count * 24);
    const uint8_t *range = machine + read32(info + 48) + 24;
    CHECK(read32(range) == 20 && read64(range + 4) == 0x9fc00 && read64(range + 12) == 0x400);
    CHECK_EQ(read32(range + 20), MEMORY_RESERVED);
}

static const uint8_t *find_tag(const uint8_t *info, uint32_t type)
{
    for (uint32_t at = 8; at < read32(info); at += (read32(info + at + 4) + 7) & ~7U) {
        if (read32(info + at) == type) {
            return info + at;
        }
    }
    return NULL;
}

static void multiboot2_whole(void)
{
    make_elf64(0x800000, 0x2000);
    put_multiboot2(ELF_CODE + 8, 16 + 16 + 16 + 8);
    uint8_t *tag = file + ELF_CODE + 8 + 16;
    write32(tag, 1); /* information request: memory map, modules */
    write32(tag + 4, 16);
    write32(tag + 8, 6);
    write32(tag + 12, 3);
    write32(tag + 16, 3); /* entry */
    write32(tag + 20, 12);
    write32(tag + 24, 0x800080);
    images.module_count = 1;
    images.module[0] = (struct guest_image){.data = other, .size = 100, .args = "env"};
    CHECK_EQ(load(ELF_SIZE, "test"), 0);
    CHECK(strcmp(entry.format, "multiboot 2") == 0);
    CHECK_EQ(entry.rip, 0x800080);
    CHECK(entry.gpr[0] == 0x36d76289 && entry.gpr[3] % 8 == 0);
    const uint8_t *info = machine + entry.gpr[3];
    CHECK(strcmp((const char *)find_tag(info, 1) + 8, "test") == 0);
    CHECK_EQ(read32(find_tag(info, 3) + 8), 0x802000);
    CHECK_EQ(read32(find_tag(info, 4) + 12), 59 * 1024);
    CHECK_EQ(read32(find_tag(info, 6) + 4), 16 + machine_map.count * 24);
    CHECK(memcmp(find_tag(info, 14) + 8, machine_rsdp, 20) == 0);
    CHECK(find_tag(info, 0) + 8 == info + read32(info));

    write32(tag + 16, 4711); /* a tag that may be left alone */
    write16(tag + 18, 1);
    CHECK_EQ(load(ELF_SIZE, ""), 0);
    CHECK_EQ(entry.rip, 0x800040); /* the ELF's own, from virtual to physical */
}

static void address_fields(void)
{
    begin();
    put_multiboot1(0x40, 1 << 16);
    write32(file + 0x4c, 0x100040); /* header, load, load end, bss end, entry */
    write32(file + 0x50, 0x100000);
    write32(file + 0x54, 0x101000);
    write32(file + 0x58, 0x103000);
    write32(file + 0x5c, 0x100100);
    CHECK_EQ(load(0x1800, ""), 0);
    CHECK_EQ(entry.rip, 0x100100);
    CHECK(memcmp(machine + 0x100000, file, 0x1000) == 0);
    CHECK(machine[0x101000] == 0 && machine[0x102fff] == 0);
    check_refused(load(0xfff, ""), EINVAL, "do not fit the file of 0xfff");
    check_refused(load(0x50, ""), EINVAL, "no room for its address fields");
    write32(file + 0x50, 0x100041);
    check_refused(load(0x1800, ""), EINVAL, "do not fit");
    write32(file + 0x50, 0xfffff);
    check_refused(load(0x1800, ""), EINVAL, "do not fit");
    write32(file + 0x50, 0x100000);
    write32(file + 0x5c, 0x103000);
    check_refused(load(0x1800, ""), EFAULT, "entry 0x103000 is not in what was loaded");
    write32(file + 0x5c, 0xfffff);
    check_refused(load(0x1800, ""), EFAULT, "entry 0xfffff is not in what was loaded");
    write32(file + 0x58, 0xffffffff);
    check_refused(load(0x1800, ""), EFAULT, "is inside Latch");
}

static void multiboot_refusals(void)
{
    make_elf64(0x800000, 0x2000);
    check_refused(load(ELF_SIZE, ""), ENOEXEC, "an ELF without a multiboot header");
    put_multiboot1(ELF_CODE, 7);
    check_refused(load(ELF_SIZE, ""), ENOEXEC, "header flags 0x7 ask for 0x4");
    make_elf64(0x800000, 0x2000);
    put_multiboot1(8192, 3);
    put_multiboot2(32768, 24);
    check_refused(load(65536, ""), ENOEXEC, "an ELF without a multiboot header");
    begin();
    put_multiboot1(0, 3);
    check_refused(load(4096, ""), ENOEXEC, "neither an ELF file nor address fields");
    make_elf64(0x800000, 0x2000);
    put_multiboot2(ELF_CODE, 16 + 16 + 8);
    write32(file + ELF_CODE + 16, 1);
    write32(file + ELF_CODE + 20, 12);
    write32(file + ELF_CODE + 24, 18);
    check_refused(load(ELF_SIZE, ""), ENOEXEC, "information of type 18");
    write16(file + ELF_CODE + 18, 1);
    CHECK_EQ(load(ELF_SIZE, ""), 0);
    write32(file + ELF_CODE + 16, 5);
    check_refused(load(ELF_SIZE, ""), ENOEXEC, "header tag 5 of 12 bytes is not optional");
    write32(file + ELF_CODE + 20, 4);
    check_refused(load(ELF_SIZE, ""), EINVAL, "header tag 5 has 4 bytes of 24");
    write32(file + ELF_CODE + 8, 0x10000);
    write32(file + ELF_CODE + 12, 0U - 0xe85250d6 - 0x10000);
    check_refused(load(ELF_SIZE, ""), EINVAL, "and 0x10000 bytes at 0x1000");
}

static void refuse_elf(uint64_t address, uint64_t memory_size, int error, const char *text)
{
    make_elf64(address, memory_size);
    put_multiboot1(ELF_CODE, 3);
    check_refused(load(ELF_SIZE, ""), error, text);
}

static void elf_refusals(void)
{
    refuse_elf(0x9f000, 0x1000, EFAULT, "ELF segment: 0x9f000..0xa0000 is not all RAM");
    refuse_elf(0x3f00000, 0x200000, EFAULT, "is not all RAM");
    refuse_elf(0x3bff000, 0x1001, EFAULT, "0x3c00001 is inside Latch at 0x3c00000..0x3e00000");
    refuse_elf(0x3dff000, 0x1000, EFAULT, "is inside Latch");
    refuse_elf(0xfffff000, 0x2000, EFAULT, "wanted below 4 GiB");
    refuse_elf(0x100000000, 0x1000, EFAULT, "wanted below 4 GiB");
    refuse_elf(UINT64_MAX - 0xfff, 0x2000, EFAULT, "wanted below 4 GiB");
    refuse_elf(0x800000, 0xfff, EINVAL, "segment 1 has 0x1000 bytes");
    make_elf64(0x800000, 0x1000);
    put_multiboot1(ELF_CODE, 3);
    check_refused(load(ELF_SIZE - 1, ""), EINVAL, "it is truncated or broken");
    memcpy(file + 64, file + 64 + 56, 56);
    check_refused(load(ELF_SIZE, ""), EFAULT, "overlaps another part of the guest");
    write16(file + 56, 60000);
    check_refused(load(ELF_SIZE, ""), EINVAL, "60000 program headers");
    write16(file + 56, 0);
    check_refused(load(ELF_SIZE, ""), EINVAL, "is in none of its 0 segments");
    write16(file + 16, 3);
    check_refused(load(ELF_SIZE, ""), EINVAL, "type 3, machine 62");
    make_elf32(0x400000);
    put_multiboot1(ELF_CODE, 3);
    images.initrd = (struct guest_image){.data = other, .size = 60UL << 20, .args = ""};
    check_refused(load(ELF_SIZE, ""), ENOMEM, "guest module: no");
}

/* --- the rest */

static void raw(void)
{
    begin();
    memset(file, 0xf4, 512);
    CHECK_EQ(load(512, ""), 0);
    CHECK(entry.mode == GUEST_REAL && entry.rip == 0x7c00 && entry.gpr[2] == 0x80);
    CHECK(entry.cs.base == 0 && entry.cs.selector == 0 && entry.cs.limit == 0xffff);
    CHECK(memcmp(machine + 0x7c00, file, 512) == 0);
    CHECK_EQ(load(0x80000 - 0x7c00, ""), 0);
    check_refused(load(0x80000 - 0x7c00 + 1, ""), ENOMEM, "at most 492544 fit");
    check_refused(load(512, "quiet"), EINVAL, "takes no initrd, module or command line");
    images.initrd = (struct guest_image){.data = other, .size = 1, .args = ""};
    check_refused(load(512, ""), EINVAL, "takes no initrd, module or command line");
    check_refused(load(0, ""), EINVAL, "its image is empty");
    memcpy(file, "\x1f\x8b", 2);
    check_refused(load(512, ""), ENOEXEC, "compressed by gzip");
}

/* A relaunch loads the same images again. */
static void pristine(void)
{
    static uint8_t before[sizeof file];
    make_bzimage();
    memcpy(before, file, sizeof file);
    CHECK_EQ(load(BZIMAGE, "a"), 0);
    CHECK(memcmp(before, file, sizeof file) == 0);
    struct guest_entry first = entry;
    CHECK_EQ(load(BZIMAGE, "a"), 0);
    CHECK(memcmp(first.gpr, entry.gpr, sizeof first.gpr) == 0);
    CHECK(first.rip == entry.rip && first.gdt_base == entry.gdt_base);
}

int main(void)
{
    RUN(linux_whole);
    RUN(linux_memory_map);
    RUN(linux_places);
    RUN(linux_refusals);
    RUN(multiboot1_whole);
    RUN(multiboot2_whole);
    RUN(address_fields);
    RUN(multiboot_refusals);
    RUN(elf_refusals);
    RUN(raw);
    RUN(pristine);
    free(machine);
    return unit_end();
}
