/* SPDX-License-Identifier: BSD-2-Clause */
/* mmu/reserved.c and the contracts that it is proved against; only Frama-C reads this. */
#include "mmu/reserved.h"
#include "tests/proofs/reserved.acsl"

#include "mmu/mode.c"
#include "mmu/reserved.c"
