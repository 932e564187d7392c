/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Latch has no heap. newlib's formatted output names these for asprintf() and its like, which are
 * not in the kernel's subset; should one ever be called it is told that there is no memory.
 */
#include <errno.h>
#include <stddef.h>

struct _reent;

void *_malloc_r(struct _reent *reent, size_t size);
void *_realloc_r(struct _reent *reent, void *block, size_t size);
void _free_r(struct _reent *reent, void *block);

void *_malloc_r(struct _reent *reent, size_t size)
{
    (void)reent;
    (void)size;
    errno = ENOMEM;
    return NULL;
}

void *_realloc_r(struct _reent *reent, void *block, size_t size)
{
    (void)block;
    return _malloc_r(reent, size);
}

void _free_r(struct _reent *reent, void *block)
{
    (void)reent;
    (void)block;
}
