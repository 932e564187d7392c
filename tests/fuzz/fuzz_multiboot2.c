/* SPDX-License-Identifier: BSD-2-Clause */
/* The boot information; its command line goes on to the configuration. */
#include "kernel/config.h"
#include "kernel/multiboot2.h"
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check(int holds)
{
    if (!holds) {
        abort();
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct boot_info info;
    struct config config;
    struct refusal why = {.text = ""};

    int error = multiboot2_parse(data, 0x10000, size, 0x200000, 0x400000, &info, &why);
    check(error <= 0);
    check(error == 0 || (why.text[0] != '\0' && strlen(why.text) < sizeof why.text));
    if (error == 0) {
        check(boot_find_module(&info, MODULE_GUEST) != NULL);
        for (unsigned i = 0; i < info.module_count; i++) {
            const struct boot_module *module = &info.module[i];
            check(memory_map_is_ram(&info.map, module->start, module->end));
            check(strlen(module->args) < BOOT_TEXT_MAX);
        }
    }
    for (unsigned i = 1; i < info.map.count; i++) {
        check(info.map.range[i - 1].end <= info.map.range[i].start);
    }
    config_parse(info.command_line, &config, &why);
    return 0;
}
