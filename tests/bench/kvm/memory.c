/* SPDX-License-Identifier: BSD-2-Clause */
#include "tests/bench/kvm/monitor.h"

#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#define FRESH_SIZE (128UL << 20)
#define LARGE_PAGE (2UL << 20)

static uint8_t *memory;

uint8_t *memory_create(void)
{
    memory = mmap(NULL, MEMORY_SIZE, PROT_READ | PROT_WRITE,
                  MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (memory == MAP_FAILED || madvise(memory, MEMORY_SIZE, MADV_NOHUGEPAGE) != 0)
        fail("guest memory");
    for (size_t i = 0; i < FRESH_SIZE; i += 4096)
        ((volatile uint8_t *)memory)[FRESH + i] = 0;
    return memory;
}

uint8_t *memory_create_linux(void)
{
    memory = mmap(NULL, LINUX_MEMORY + LARGE_PAGE, PROT_READ | PROT_WRITE,
                  MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (memory == MAP_FAILED)
        fail("guest memory");
    memory += -(uintptr_t)memory % LARGE_PAGE;
    if (madvise(memory, LINUX_MEMORY, MADV_HUGEPAGE) != 0 ||
        madvise(memory, LINUX_MEMORY, MADV_POPULATE_WRITE) != 0)
        fail("guest memory");
    return memory;
}

/* The memory is new, so the zeros are there. */
static void put(uint64_t address, const uint8_t *bytes, size_t size, size_t whole)
{
    (void)whole;
    memcpy(memory + address, bytes, size);
}

const uint8_t *file_map(const char *path, size_t *size)
{
    struct stat status;
    int file = open(path, O_RDONLY | O_CLOEXEC);
    if (file < 0 || fstat(file, &status) != 0)
        fail("%s", path);
    *size = (size_t)status.st_size;
    const uint8_t *bytes = mmap(NULL, *size, PROT_READ, MAP_PRIVATE, file, 0);
    close(file);
    if (bytes == MAP_FAILED)
        fail("%s", path);
    return bytes;
}

uint32_t memory_load(const char *path)
{
    size_t size;
    uint32_t entry = entry_load(file_map(path, &size), put);
    if (entry == 0)
        fail("%s: too large", path);
    return entry;
}
