/* SPDX-License-Identifier: BSD-2-Clause */
#include "kernel/bytes.h"
#include "kernel/multiboot2.h"
#include "tests/unit/unit.h"
#include <errno.h>
#include <stdlib.h>

#define LATCH_START 0x200000
#define LATCH_END   0x400000

static _Alignas(8) uint8_t data[65536];
static uint32_t used;
static struct boot_info info;
static struct refusal why;

static void begin(void)
{
    memset(data, 0, sizeof data);
    used = 8;
}

static uint8_t *add(uint32_t type, uint32_t size)
{
    uint8_t *tag = data + used;
    write32(tag, type);
    write32(tag + 4, size);
    used += (size + 7) & ~7U;
    return tag;
}

static void add_text(uint32_t type, const char *text)
{
    memcpy(add(type, 9 + (uint32_t)strlen(text)) + 8, text, strlen(text) + 1);
}

static uint8_t *add_module(uint32_t start, uint32_t end, const char *text)
{
    uint8_t *tag = add(3, 17 + (uint32_t)strlen(text));
    write32(tag + 8, start);
    write32(tag + 12, end);
    memcpy(tag + 16, text, strlen(text) + 1);
    return tag;
}

static void add_map(void)
{
    static const uint64_t ranges[][3] = {
        {0x100000, 0x3ff00000, 1}, /* not in order, and one over another */
        {0, 0x9fc00, 1},           {0x9fc00, 0x400, 2},
        {0x3ffe0000, 0x20000, 2},  {0xfd00000000, 0x300000000, 77},
    };
    uint8_t *tag = add(6, 16 + sizeof ranges);
    write32(tag + 8, 24);
    for (size_t i = 0; i < sizeof ranges / sizeof ranges[0]; i++) {
        memcpy(tag + 16 + i * 24, ranges[i], 24);
    }
}

static int parse(void)
{
    add(0, 8);
    write32(data, used);
    return multiboot2_parse(data, 0x10000, sizeof data, LATCH_START, LATCH_END, &info, &why);
}

static void check_refused(int found, int error, const char *text)
{
    CHECK_EQ(found, -error);
    CHECK(strstr(why.text, text) != NULL);
    if (strstr(why.text, text) == NULL) {
        printf("#   \"%s\" is not in \"%s\"\n", text, why.text);
    }
}

static void add_rsdp(uint32_t type, uint32_t size)
{
    uint8_t *rsdp = add(type, 8 + size) + 8;
    write64(rsdp, read64("RSD PTR "));
    rsdp[15] = size == 36 ? 2 : 0;
    write32(rsdp + 16, 0x1234);
    for (unsigned i = 0; i < 20; i++) {
        rsdp[8] -= i != 8 ? rsdp[i] : 0;
    }
    if (size == 36) {
        write32(rsdp + 20, 36);
        for (unsigned i = 20; i < 36; i++) {
            rsdp[32] -= i != 32 ? rsdp[i] : 0;
        }
    }
}

static void whole(void)
{
    begin();
    add_text(1, "vcpus=2 stats=on");
    add_text(2, "GRUB 2.06");
    add_module(0x1000000, 0x1800000, "guest  vmlinuz console=ttyS0 quiet");
    add_module(0x1800000, 0x1900000, "initrd");
    add_module(0x1900000, 0x1900001, "model skylake.txt");
    add_map();
    add_rsdp(15, 36);
    add_rsdp(14, 20);
    uint8_t *tag = add(8, 38);
    write64(tag + 8, 0xfd000000);
    write32(tag + 16, 3200);
    write32(tag + 20, 800);
    write32(tag + 24, 600);
    tag[28] = 32;
    tag[29] = 1;
    tag[32] = 16;
    tag[33] = 8;
    write64(add(12, 16) + 8, 0x7f123456789);
    add(17, 64);
    add(4711, 12);
    CHECK_EQ(parse(), 0);
    memset(data, 0xee, sizeof data); /* nothing may point there */

    CHECK(strcmp(info.command_line, "vcpus=2 stats=on") == 0);
    CHECK(strcmp(info.boot_loader, "GRUB 2.06") == 0);
    CHECK_EQ(info.module_count, 3);
    const struct boot_module *guest = boot_find_module(&info, MODULE_GUEST);
    CHECK(guest == &info.module[0] && guest->start == 0x1000000 && guest->end == 0x1800000);
    CHECK(strcmp(guest->args, "vmlinuz console=ttyS0 quiet") == 0);
    CHECK(strcmp(boot_find_module(&info, MODULE_INITRD)->args, "") == 0);
    CHECK(strcmp(boot_find_module(&info, MODULE_MODEL)->args, "skylake.txt") == 0);
    CHECK(boot_find_module(&info, MODULE_MODULE) == NULL);
    CHECK_EQ(info.map.count, 5);
    CHECK_EQ(info.map.range[2].end, 0x3ffe0000);
    CHECK_EQ(info.map.range[3].type, MEMORY_RESERVED);
    CHECK_EQ(info.map.range[4].type, MEMORY_RESERVED);
    CHECK_EQ(info.rsdp_size, 36);
    CHECK_EQ(info.framebuffer.width, 800);
    CHECK_EQ(info.framebuffer.red_position, 16);
    CHECK_EQ(info.efi_system_table, 0x7f123456789);
    CHECK(info.efi_memory_map);
}

static void broken_information(void)
{
    begin();
    add_map();
    add(0, 8);
    write32(data, used);
    struct {
        uint64_t address;
        size_t readable;
    } bad[] = {{0x10004, sizeof data}, {0x10000, 7}, {0x10000, used - 1}};
    for (size_t i = 0; i < 3; i++) {
        check_refused(multiboot2_parse(data, bad[i].address, bad[i].readable, 0, 0, &info, &why),
                      EINVAL, "boot information");
    }
    write32(data, 12);
    check_refused(multiboot2_parse(data, 0, sizeof data, 0, 0, &info, &why), EINVAL, "12 bytes");
    write32(data, 0x7fffffff);
    check_refused(multiboot2_parse(data, 0, sizeof data, 0, 0, &info, &why), EINVAL, "wanted 16");
    write32(data, used - 8);
    check_refused(multiboot2_parse(data, 0, sizeof data, 0, 0, &info, &why), EINVAL, "no end tag");
    begin();
    check_refused(parse(), ENOENT, "no memory map");
    begin();
    add_map();
    check_refused(parse(), ENOENT, "no guest module among 0 modules");
}

static void broken_tags(void)
{
    begin();
    write32(add(1, 16) + 4, 7);
    check_refused(parse(), EINVAL, "tag 1 at 8 has 7 bytes");
    begin();
    write32(add(1, 16) + 4, 1000000);
    check_refused(parse(), EINVAL, "has 1000000 bytes of");
    begin();
    memset(add(1, 16) + 8, 'x', 8);
    check_refused(parse(), EINVAL, "has no end");
    begin();
    add(1, 8);
    check_refused(parse(), EINVAL, "needs 9");
    static const uint32_t shortest[][2] = {{3, 17}, {6, 16}, {8, 32}, {11, 12}, {12, 16}};
    for (size_t i = 0; i < 5; i++) {
        char text[32];
        begin();
        add(shortest[i][0], shortest[i][1] - 1);
        snprintf(text, sizeof text, "needs %u", (unsigned)shortest[i][1]);
        check_refused(parse(), EINVAL, text);
    }
    begin();
    write32(add(6, 40) + 8, 20);
    check_refused(parse(), EINVAL, "entries of 20 bytes");
    begin();
    uint8_t *tag = add(6, 40);
    write32(tag + 8, 24);
    write64(tag + 16, UINT64_MAX - 4);
    write64(tag + 24, 6);
    check_refused(parse(), EINVAL, "wraps around");
    begin();
    tag = add(6, 16 + 129 * 24);
    write32(tag + 8, 24);
    for (uint64_t i = 0; i < 129; i++) {
        write64(tag + 16 + i * 24, i * 0x2000);
        write64(tag + 24 + i * 24, 0x1000);
        write32(tag + 32 + i * 24, 1);
    }
    check_refused(parse(), ENOSPC, "more than 128 ranges");
    begin();
    memset(add(1, 8 + BOOT_TEXT_MAX + 1) + 8, 'x', BOOT_TEXT_MAX);
    check_refused(parse(), ENOSPC, "characters in all");
}

static void refuse_module(uint32_t start, uint32_t end, const char *text, int error,
                          const char *wanted)
{
    begin();
    add_map();
    add_module(0x1000000, 0x1800000, "guest");
    add_module(start, end, text);
    check_refused(parse(), error, wanted);
}

static void modules(void)
{
    refuse_module(0x2000000, 0x2000000, "initrd", EINVAL, "is empty");
    refuse_module(0x2001000, 0x2000000, "initrd", EINVAL, "is empty");
    refuse_module(0x3f000000, 0x3fff0000, "initrd", EFAULT, "is not all RAM");
    refuse_module(0xf0000000, 0xf0001000, "initrd", EFAULT, "is not all RAM");
    refuse_module(0x90000, 0x110000, "initrd", EFAULT, "is not all RAM");
    refuse_module(0x17fffff, 0x1900000, "initrd", EFAULT, "overlaps module 0");
    refuse_module(0x100000, 0x200001, "initrd", EFAULT, "overlaps Latch at 0x200000..0x400000");
    refuse_module(0x3fffff, 0x500000, "initrd", EFAULT, "overlaps Latch");
    refuse_module(0x2000000, 0x2001000, "kernel x", EINVAL, "its first word is \"kernel\"");
    refuse_module(0x2000000, 0x2001000, "", EINVAL, "its first word is \"\"");
    refuse_module(0x2000000, 0x2001000, "guest", EINVAL, "2 guest and 0 initrd");
    begin();
    add_map();
    add_module(0x2000000, 0x2001000, "initrd");
    check_refused(parse(), ENOENT, "no guest module among 1");
    begin();
    add_map();
    for (uint32_t i = 0; i < 17; i++) {
        add_module(0x1000000 + i * 4096, 0x1001000 + i * 4096, i == 0 ? "guest" : "module");
    }
    check_refused(parse(), ENOSPC, "more than 16 modules");
}

static void rsdps(void)
{
    begin();
    add_map();
    add_module(0x1000000, 0x1800000, "guest");
    add_rsdp(14, 20);
    uint32_t bad = used;
    add_rsdp(15, 36);
    data[bad + 8 + 30] ^= 1;
    CHECK_EQ(parse(), 0);
    CHECK_EQ(info.rsdp_size, 20);
    CHECK_EQ(read32(info.rsdp + 16), 0x1234);
    begin();
    add_map();
    add_module(0x1000000, 0x1800000, "guest");
    add(14, 27);
    CHECK_EQ(parse(), 0);
    CHECK_EQ(info.rsdp_size, 0);
}

int main(void)
{
    RUN(whole);
    RUN(broken_information);
    RUN(broken_tags);
    RUN(modules);
    RUN(rsdps);
    return unit_end();
}
