/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * For a test image alone: what a bug in Latch or a hostile firmware could do to its page tables. A page
 * of the pool becomes a second, writable way to the first vCPU's model; and devices are said to lie
 * where none can. The linker puts this in the place of digest_seal(), behind which Latch looks.
 */
#include "cpuid/digest.h"
#include "kernel/console.h"
#include "kernel/memory.h"
#include "kernel/vm.h"
#include "kernel/x86.h"
#include <errno.h>

#define PRESENT 1UL
#define LARGE   0x80UL

int __real_digest_seal(const struct seal *s, uint8_t digest[DIGEST_BYTES]);
int __wrap_digest_seal(const struct seal *s, uint8_t digest[DIGEST_BYTES]);

/* The entry of the 4 KiB page at an address; NULL if a larger one maps it, or none. */
static volatile uint64_t *entry_of(uint64_t address)
{
    uint64_t entry = memory_cr3() | PRESENT;
    for (unsigned int level = read_cr4() & CR4_LA57 ? 5 : 4;; level--) {
        volatile uint64_t *table = memory_at(hpa(entry & ENTRY_ADDRESS));
        volatile uint64_t *at = &table[address >> (3 + 9 * level) & 511U];
        if (!(*at & PRESENT))
            return NULL;
        if (level == 1)
            return at;
        entry = *at;
        if (entry & LARGE)
            return NULL;
    }
}

static void make_alias(hpa_t sealed)
{
    hpa_t page;
    while (memory_alloc_page(&page) == 0) {
        volatile uint64_t *entry = entry_of((uint64_t)memory_at(page));
        if (entry == NULL)
            continue;
        *entry = (*entry & ~ENTRY_ADDRESS) | sealed.raw;
        console_line("fake: a writable way to a sealed page");
        return;
    }
}

static void map_devices(void)
{
    const struct {
        uint64_t start, size;
    } devices[] = {
        {latch_range.start, 1},
        {latch_range.end - 1, 1},
        {latch_range.start - 1, 2},
        {latch_range.start - PAGE_SIZE, 1UL << 32},
        {0x7fff80000000UL, 1}, /* that far behind the physical map is the image */
        {UINT64_MAX, 1},
    };
    unsigned int refused = 0;
    for (unsigned int i = 0; i < sizeof(devices) / sizeof(devices[0]); i++) {
        volatile void *pointer;
        if (memory_map_mmio(hpa(devices[i].start), devices[i].size, &pointer) == -EINVAL)
            refused++;
    }
    console_line("fake: %u of %lu devices refused", refused, sizeof(devices) / sizeof(devices[0]));
}

int __wrap_digest_seal(const struct seal *s, uint8_t digest[DIGEST_BYTES])
{
    map_devices();
    make_alias(memory_address_of(s->vcpu[0].model));
    return __real_digest_seal(s, digest);
}
