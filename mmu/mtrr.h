/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef LATCH_MMU_MTRR_H
#define LATCH_MMU_MTRR_H
/*
 * Memory types by MTRRs: SDM vol. 3 §12.11, APM vol. 2 §7.7. A state is a copy of the MSRs; it may
 * come from a guest and hold anything. Where the manual leaves the type open, and for reserved
 * type numbers, it is UC. SMRRs and the IORRs do not count.
 */
#include "mmu/mmu.h"

#define MTRR_FIXED        11U
#define MTRR_VARIABLE_MAX 16U

#define MSR_MTRRCAP        0xfeU
#define MSR_MTRR_PHYSBASE0 0x200U
#define MSR_MTRR_DEF_TYPE  0x2ffU

#define MTRRCAP_COUNT   0xffUL
#define MTRRCAP_FIXED   (1UL << 8)
#define MTRRCAP_WC      (1UL << 10)
#define MTRR_DEF_FIXED  (1UL << 10)
#define MTRR_DEF_ENABLE (1UL << 11)
#define MTRR_MASK_VALID (1UL << 11)

struct mtrr_pair {
    uint64_t base, mask; /* IA32_MTRR_PHYSBASEn, IA32_MTRR_PHYSMASKn */
};

struct mtrr_state {
    uint64_t cap;               /* IA32_MTRRCAP; pairs beyond MTRR_VARIABLE_MAX do not count */
    uint64_t def_type;          /* IA32_MTRR_DEF_TYPE */
    uint64_t fixed[MTRR_FIXED]; /* 250H, 258H, 259H, 268H to 26FH */
    struct mtrr_pair variable[MTRR_VARIABLE_MAX];
};

/* Where the state keeps an MSR that is an MTRR of this state (by cap); NULL for any other. The
 * capability MSR is not among them. */
uint64_t *mtrr_msr(struct mtrr_state *state, uint32_t msr);

/* The MSR number of fixed register `index`, 0 to 10. */
uint32_t mtrr_fixed_msr(unsigned int index);

/* Whether a guest's WRMSR of this value to this MTRR is legal, else #GP(0): type numbers, reserved
 * bits by `width` (the guest's MAXPHYADDR), registers that cap says are not there. */
bool mtrr_valid(const struct mtrr_state *state, uint32_t msr, uint64_t value, unsigned int width);

/* The type of one address. */
enum cache_type mtrr_type(const struct mtrr_state *state, hpa_t address);

/* Whether the whole block of `size` bytes (a power of two from 4 KiB, aligned to it) has one type;
 * if so, which. Exact: false means that two addresses in it differ. */
bool mtrr_uniform(const struct mtrr_state *state, hpa_t block, uint64_t size,
                  enum cache_type *type);

#endif
