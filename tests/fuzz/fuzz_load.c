/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The guest loaders: whatever the image says, only guest RAM outside Latch is written, and the
 * guest starts there.
 */
#include "tests/unit/load_machine.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check(int holds)
{
    if (!holds) {
        abort();
    }
}

static void *checked_memory(void *context, uint64_t address, size_t length)
{
    check(length != 0 && memory_map_is_ram(&machine_map, address, address + length));
    check(address >= LATCH_END || address + length <= LATCH_START);
    return machine_memory(context, address, length);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const uint8_t initrd[5000];
    if (size == 0) {
        return 0;
    }
    make_machine();
    target.memory = checked_memory;
    images.kernel = (struct guest_image){.data = data, .size = size, .args = "quiet"};
    if (data[size - 1] & 1) {
        images.initrd = (struct guest_image){.data = initrd, .size = sizeof initrd, .args = "x"};
    }
    if (data[size - 1] & 2) {
        images.kernel.args = "";
    }
    if (guest_load(&target, &images, &entry, &why) == 0) {
        check(memory_map_is_ram(&machine_map, entry.rip, entry.rip + 1));
        check(entry.rip < LATCH_START || entry.rip >= LATCH_END);
        check(entry.format != NULL);
    } else {
        check(why.text[0] != '\0');
    }
    return 0;
}
