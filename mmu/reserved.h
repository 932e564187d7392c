/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef LATCH_MMU_RESERVED_H
#define LATCH_MMU_RESERVED_H
/*
 * The reserved bits of paging-structure entries: SDM vol. 3 §4.3, §4.4.2, §4.5.4, §29.3.2; APM
 * vol. 2 §5.3, §15.25. A present entry with one of them set is a #PF with RSVD, in EPT a
 * misconfiguration, in NPT a #NPF with RSVD.
 */
#include "mmu/mmu.h"

/*
 * The reserved bits of an entry in a table at `level` (1 to 5, within the mode's levels). `leaf`:
 * the entry maps a page; above level 1 that is bit 7 (in 32-bit paging only with CR4.PSE). A bit
 * that makes the entry a leaf where no leaf may stand is itself reserved. `nxe` is EFER.NXE.
 * `props` are the guest's; for EPT and NPT the host's, with gbpages meaning 1 GiB leaves of that
 * format, and `nxe` the host's EFER.NXE. The C-bit is never reserved. MODE_OFF has no entries: 0.
 * PAE PDPTEs are level 3; loaded with CR3 on Intel they give #GP(0) instead (§4.4.1).
 * Of EPT and NPT Latch walks nothing: tests hold what it builds to these rules.
 */
uint64_t reserved_mask(enum paging_mode mode, unsigned int level, bool leaf,
                       const struct paging_props *props, bool nxe);

/* Whether an EPT entry is a misconfiguration (SDM vol. 3 §29.3.3.1), by its reserved bits, its
 * rights or a leaf's memory type. `execute_only`: the CPU supports execute-only translations. */
bool ept_misconfigured(uint64_t entry, unsigned int level, const struct paging_props *host,
                       bool execute_only);

/* CR3 bits that #GP on MOV to CR3: long mode 63:M without the C-bit (bit 63 cleared by the caller
 * if CR4.PCIDE), else those above 31, which no 32-bit MOV can set. */
uint64_t cr3_reserved_mask(enum paging_mode mode, const struct paging_props *props);

#endif
