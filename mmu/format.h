/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef LATCH_MMU_FORMAT_H
#define LATCH_MMU_FORMAT_H
/*
 * How entries look in each kind of table that Latch builds: its own (SDM vol. 3 §4.5, APM vol. 2
 * §5.3), EPT (SDM vol. 3 §29.3.2) and NPT (APM vol. 2 §15.25). All have 512 entries of 8 bytes a
 * table, the address in bits 51:12 but for the C-bit (encryption.h), and bit 7 for a leaf above
 * level 1.
 */
#include "mmu/encryption.h"
#include "mmu/role.h"

#define TABLE_ENTRIES 512U
#define ENTRY_ADDRESS 0x000ffffffffff000UL
#define ENTRY_LEAF    (1UL << 7)

struct table_format {
    enum page_format id;   /* FORMAT_HOST, FORMAT_EPT or FORMAT_NPT */
    unsigned int levels;   /* 4 or 5 */
    unsigned int max_leaf; /* highest level at which a leaf may stand: 1, 2 or 3 */
    bool execute_only;     /* EPT: EXECUTE without READ can be granted */
    /* What memory entries lead to with the C-bit; NULL: none. After a change of it
     * table_map() maps anew what changed. */
    const struct encryption *encryption;
};

/* Check and fill a format; -EINVAL for one that is none of the three or out of range. */
int format_init(struct table_format *format, enum page_format id, unsigned int levels,
                unsigned int max_leaf, bool execute_only);

/* The name for a console line: "EPT", "NPT", "host". */
const char *format_name(enum page_format id);

/* Whether the entry is used by the hardware at all. */
bool format_present(const struct table_format *format, uint64_t entry);
/* Whether a present entry at `level` maps a page. */
bool format_is_leaf(const struct table_format *format, uint64_t entry, unsigned int level);
/* An entry that leads to a table, with all rights: a leaf alone decides. */
uint64_t format_table_entry(const struct table_format *format, hpa_t table);
/*
 * A leaf at `level` for the aligned page `page`. No READ means EXECUTE alone where that can be
 * granted; otherwise any right includes READ. NPT has no type: it always takes PAT entry 0, which
 * is WB, and the host's MTRRs make the rest. The host's tables know WB, WT and UC by the PAT of
 * power-on, and take UC for the others. EPT leaves the guest's PAT in force.
 */
uint64_t format_leaf_entry(const struct table_format *format, hpa_t page, unsigned int level,
                           unsigned int access, enum cache_type type);
/* What CR3 and its like take for this root. */
uint64_t format_root(const struct table_format *format, hpa_t root);
/* Where an entry leads: to a table, or to a leaf at `level`. */
hpa_t format_table(const struct table_format *format, uint64_t entry);
hpa_t format_page(const struct table_format *format, uint64_t entry, unsigned int level);
/* Whether an entry has the C-bit. */
bool format_encrypted(const struct table_format *format, uint64_t entry);
/* The rights (without USER) and the type that a leaf grants. */
unsigned int format_access(const struct table_format *format, uint64_t entry);
enum cache_type format_type(const struct table_format *format, uint64_t entry);

#endif
