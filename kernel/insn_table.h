/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef LATCH_KERNEL_INSN_TABLE_H
#define LATCH_KERNEL_INSN_TABLE_H
/* The decoder's opcode table: what only insn.c and insn_table.c share. */
#include "kernel/insn.h"

enum insn_map { MAP_END, MAP_1, MAP_0F, MAP_0F38 };

/* Which of 66, F2 and F3 select the instruction rather than modify it. */
enum insn_prefix_rule { PREFIX_ANY, PREFIX_NONE, PREFIX_66, PREFIX_F3 };

/* Operand sizes, named where it can be as in the opcode maps (SDM vol. 2 §A.2.2). */
enum insn_size {
    SIZE_NONE,
    SIZE_B,     /* 1 */
    SIZE_W,     /* 2 */
    SIZE_V,     /* operand size */
    SIZE_Z,     /* operand size, at most 4 */
    SIZE_Y,     /* operand size, at least 4 */
    SIZE_SX,    /* MOVSXD's source: 4, or 2 with operand size 2 */
    SIZE_N,     /* 8 in 64-bit mode, else 4, whatever the operand size */
    SIZE_WV,    /* 2 in memory, operand size in a register */
    SIZE_TABLE, /* descriptor-table register: 10 in 64-bit mode, else 6 */
    SIZE_Q,     /* 8 */
    SIZE_2Y,    /* twice SIZE_Y */
    SIZE_DQ,    /* 16 */
};

enum insn_flags {
    MODRM = 1 << 0,
    TO_RM = 1 << 1,
    IMM_8 = 1 << 2,    /* 8 bits, sign-extended */
    IMM_Z = 1 << 3,    /* 16 or 32 bits, sign-extended */
    UNSIGNED = 1 << 4, /* the immediate is a port, a vector or a bit number */
    OFFSET = 1 << 5,   /* a memory address without ModRM, of the address size */
    NO_64 = 1 << 6,    /* not in 64-bit mode */
    ONLY_64 = 1 << 7,  /* only there */
    MEMORY_ONLY = 1 << 8,
    REGISTER_ONLY = 1 << 9,
    WHOLE_MODRM = 1 << 10, /* the ModRM byte is a third opcode byte */
    NO_MOD = 1 << 11,      /* ModRM.mod is ignored and taken as 3 */
};

struct insn_row {
    enum insn_map map;
    uint8_t first, last; /* opcodes */
    uint8_t modrm;       /* a bit for each value of ModRM.reg; with WHOLE_MODRM the byte */
    enum insn_prefix_rule prefix;
    enum insn_kind kind;
    unsigned flags;
    enum insn_size rm_size, reg_size; /* reg_size NONE: there is no register operand */
};

/* The rows of one map, up to a row of MAP_END. A later row is looked at only where no earlier one
 * fits. */
const struct insn_row *insn_rows(enum insn_map map);

#endif
