/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef LATCH_MMU_REGISTERS_H
#define LATCH_MMU_REGISTERS_H
/*
 * The bits of CR0, CR4, EFER and of a #PF error code that paging knows: SDM vol. 3 §2.5, §4.7.
 * Written token by token as in kernel/x86.h, which this folder must not include, so that the
 * compiler rejects the two if they ever differ.
 */
#define CR0_WP    (1UL << 16)
#define CR0_PG    (1UL << 31)
#define CR3_PCID  0xfffUL /* with CR4.PCIDE */
#define CR4_PSE   (1UL << 4)
#define CR4_PAE   (1UL << 5)
#define CR4_PGE   (1UL << 7)
#define CR4_LA57  (1UL << 12)
#define CR4_PCIDE (1UL << 17)
#define CR4_SMEP  (1UL << 20)
#define CR4_SMAP  (1UL << 21)
#define CR4_PKE   (1UL << 22)
#define CR4_PKS   (1UL << 24)
#define EFER_LME  (1UL << 8)
#define EFER_LMA  (1UL << 10)
#define EFER_NXE  (1UL << 11)

#define PF_PRESENT  (1U << 0)
#define PF_WRITE    (1U << 1)
#define PF_USER     (1U << 2)
#define PF_RESERVED (1U << 3)
#define PF_FETCH    (1U << 4)
#define PF_KEY      (1U << 5)

#endif
