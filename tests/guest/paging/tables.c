/* SPDX-License-Identifier: BSD-2-Clause */
/* The payload itself, mapped for supervisors only, and the stub for users, in each format. */
#include "tests/guest/paging/paging.h"

#define GIB      (1UL << 30)
#define UNCACHED 0x18UL

typedef uint64_t table[512] __attribute__((aligned(4096)));

static table kernel_pdpt, kernel_pd[4];
static table stub_pdpt, stub_pd, stub_pt;
static table kernel_pd_pae, stub_pd_pae;
static uint32_t kernel_pt_32[1024] __attribute__((aligned(4096)));
static uint32_t stub_pt_32[1024] __attribute__((aligned(4096)));

static uint64_t entry(const void *next, uint64_t flags)
{
    return (uint64_t)next | flags | PAGE_A | PAGE_P;
}

static void fill_stub_pt(void)
{
    stub_pt[0] = entry(at(stub_page()), PAGE_U);
}

void fill_kernel_pml4(uint64_t *pml4)
{
    for (uint64_t i = 0; i < 4 * 512UL; i++)
        kernel_pd[i / 512][i % 512] =
            i << 21 | PAGE_PS | PAGE_P | PAGE_W | PAGE_A | PAGE_D | (i >= 3 * 512UL ? UNCACHED : 0);
    for (unsigned int i = 0; i < 4; i++)
        kernel_pdpt[i] = entry(kernel_pd[i], PAGE_W);
    fill_stub_pt();
    stub_pd[0] = entry(stub_pt, PAGE_U);
    stub_pdpt[0] = entry(stub_pd, PAGE_U);
    pml4[0] = entry(kernel_pdpt, PAGE_W);
    pml4[7] = entry(stub_pdpt, PAGE_U);
}

void fill_kernel_pdpt(uint64_t *pdpt)
{
    for (uint64_t i = 0; i < 512; i++)
        kernel_pd_pae[i] = i << 21 | PAGE_PS | PAGE_P | PAGE_W | PAGE_A | PAGE_D;
    fill_stub_pt();
    stub_pd_pae[STUB_LINEAR_LEGACY >> 21 & 511U] = entry(stub_pt, PAGE_U);
    pdpt[0] = (uint64_t)kernel_pd_pae | PAGE_P;
    pdpt[STUB_LINEAR_LEGACY >> 30] = (uint64_t)stub_pd_pae | PAGE_P;
}

void fill_kernel_directory(uint32_t *directory)
{
    for (uint32_t i = 0; i < 1024; i++)
        kernel_pt_32[i] = (uint32_t)(i << 12 | PAGE_P | PAGE_W | PAGE_A | PAGE_D);
    stub_pt_32[0] = (uint32_t)entry(at(stub_page()), PAGE_U);
    directory[0] = (uint32_t)entry(kernel_pt_32, PAGE_W);
    directory[STUB_LINEAR_LEGACY >> 22] = (uint32_t)entry(stub_pt_32, PAGE_U);
}
