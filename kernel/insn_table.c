/* SPDX-License-Identifier: BSD-2-Clause */
#include "kernel/insn_table.h"

/* clang-format off */

#define ALL 0xff
#define REG(n) (1U << (n))

/* Map 1 and map 0F: an opcode or several, any ModRM.reg, no selecting prefix. */
#define ONE(op, what, how, rm, r) \
    {.map = MAP_1, .first = (op), .last = (op), .modrm = ALL, .kind = (what), .flags = (how), \
     .rm_size = (rm), .reg_size = (r)}
#define TWO(op, what, how, rm, r) \
    {.map = MAP_0F, .first = (op), .last = (op), .modrm = ALL, .kind = (what), .flags = (how), \
     .rm_size = (rm), .reg_size = (r)}
/* Opcodes that ModRM.reg tells apart: no register operand. */
#define GROUP_ONE(op, regs, what, how, rm) \
    {.map = MAP_1, .first = (op), .last = (op), .modrm = (regs), .kind = (what), \
     .flags = MODRM | (how), .rm_size = (rm)}
#define GROUP_TWO(op, regs, what, how, rm) \
    {.map = MAP_0F, .first = (op), .last = (op), .modrm = (regs), .kind = (what), \
     .flags = MODRM | (how), .rm_size = (rm)}
/* 0F 01 with a whole byte behind it. */
#define THREE(byte, what, how) \
    {.map = MAP_0F, .first = 0x01, .last = 0x01, .modrm = (byte), .kind = (what), \
     .flags = MODRM | REGISTER_ONLY | WHOLE_MODRM | (how)}
/* Opcodes that a prefix tells apart, with a memory operand. */
#define SELECTED(m, op, regs, pre, what, rm, r) \
    {.map = (m), .first = (op), .last = (op), .modrm = (regs), .prefix = (pre), .kind = (what), \
     .flags = MODRM | MEMORY_ONLY, .rm_size = (rm), .reg_size = (r)}

static const struct insn_row one_byte[] = {
    /* ADD OR ADC SBB AND SUB XOR CMP: 00..3F, folded to 00..07 by the caller */
    ONE(0x00, INSN_NOT_A_MOVE, MODRM | TO_RM, SIZE_B, SIZE_B),
    ONE(0x01, INSN_NOT_A_MOVE, MODRM | TO_RM, SIZE_V, SIZE_V),
    ONE(0x02, INSN_NOT_A_MOVE, MODRM, SIZE_B, SIZE_B),
    ONE(0x03, INSN_NOT_A_MOVE, MODRM, SIZE_V, SIZE_V),
    ONE(0x04, INSN_NOT_A_MOVE, IMM_8, SIZE_NONE, SIZE_B),
    ONE(0x05, INSN_NOT_A_MOVE, IMM_Z, SIZE_NONE, SIZE_V),

    ONE(0x63, INSN_MOVSX, MODRM | ONLY_64, SIZE_SX, SIZE_V),
    ONE(0x69, INSN_NOT_A_MOVE, MODRM | IMM_Z, SIZE_V, SIZE_V), /* IMUL */
    ONE(0x6b, INSN_NOT_A_MOVE, MODRM | IMM_8, SIZE_V, SIZE_V),
    ONE(0x6c, INSN_INS, TO_RM, SIZE_B, SIZE_NONE),
    ONE(0x6d, INSN_INS, TO_RM, SIZE_Z, SIZE_NONE),
    ONE(0x6e, INSN_OUTS, 0, SIZE_B, SIZE_NONE),
    ONE(0x6f, INSN_OUTS, 0, SIZE_Z, SIZE_NONE),
    GROUP_ONE(0x80, ALL, INSN_NOT_A_MOVE, TO_RM | IMM_8, SIZE_B),
    GROUP_ONE(0x81, ALL, INSN_NOT_A_MOVE, TO_RM | IMM_Z, SIZE_V),
    GROUP_ONE(0x82, ALL, INSN_NOT_A_MOVE, TO_RM | IMM_8 | NO_64, SIZE_B),
    GROUP_ONE(0x83, ALL, INSN_NOT_A_MOVE, TO_RM | IMM_8, SIZE_V),
    ONE(0x84, INSN_NOT_A_MOVE, MODRM, SIZE_B, SIZE_B), /* TEST */
    ONE(0x85, INSN_NOT_A_MOVE, MODRM, SIZE_V, SIZE_V),
    ONE(0x86, INSN_NOT_A_MOVE, MODRM | TO_RM, SIZE_B, SIZE_B), /* XCHG */
    ONE(0x87, INSN_NOT_A_MOVE, MODRM | TO_RM, SIZE_V, SIZE_V),
    ONE(0x88, INSN_MOV, MODRM | TO_RM, SIZE_B, SIZE_B),
    ONE(0x89, INSN_MOV, MODRM | TO_RM, SIZE_V, SIZE_V),
    ONE(0x8a, INSN_MOV, MODRM, SIZE_B, SIZE_B),
    ONE(0x8b, INSN_MOV, MODRM, SIZE_V, SIZE_V),
    ONE(0x9c, INSN_PUSHF, 0, SIZE_NONE, SIZE_NONE),
    ONE(0x9d, INSN_POPF, 0, SIZE_NONE, SIZE_NONE),
    ONE(0xa0, INSN_MOV, OFFSET, SIZE_B, SIZE_B),
    ONE(0xa1, INSN_MOV, OFFSET, SIZE_V, SIZE_V),
    ONE(0xa2, INSN_MOV, OFFSET | TO_RM, SIZE_B, SIZE_B),
    ONE(0xa3, INSN_MOV, OFFSET | TO_RM, SIZE_V, SIZE_V),
    ONE(0xa4, INSN_STRING, 0, SIZE_B, SIZE_NONE),
    ONE(0xa5, INSN_STRING, 0, SIZE_V, SIZE_NONE),
    ONE(0xa6, INSN_STRING, 0, SIZE_B, SIZE_NONE),
    ONE(0xa7, INSN_STRING, 0, SIZE_V, SIZE_NONE),
    ONE(0xa8, INSN_NOT_A_MOVE, IMM_8, SIZE_NONE, SIZE_B), /* TEST */
    ONE(0xa9, INSN_NOT_A_MOVE, IMM_Z, SIZE_NONE, SIZE_V),
    ONE(0xaa, INSN_STRING, 0, SIZE_B, SIZE_NONE),
    ONE(0xab, INSN_STRING, 0, SIZE_V, SIZE_NONE),
    ONE(0xac, INSN_STRING, 0, SIZE_B, SIZE_NONE),
    ONE(0xad, INSN_STRING, 0, SIZE_V, SIZE_NONE),
    ONE(0xae, INSN_STRING, 0, SIZE_B, SIZE_NONE),
    ONE(0xaf, INSN_STRING, 0, SIZE_V, SIZE_NONE),
    GROUP_ONE(0xc0, ALL, INSN_NOT_A_MOVE, TO_RM | IMM_8 | UNSIGNED, SIZE_B), /* shifts */
    GROUP_ONE(0xc1, ALL, INSN_NOT_A_MOVE, TO_RM | IMM_8 | UNSIGNED, SIZE_V),
    GROUP_ONE(0xc6, REG(0), INSN_MOV, TO_RM | IMM_8, SIZE_B),
    GROUP_ONE(0xc7, REG(0), INSN_MOV, TO_RM | IMM_Z, SIZE_V),
    ONE(0xcc, INSN_INT3, 0, SIZE_NONE, SIZE_NONE),
    ONE(0xcd, INSN_INT, IMM_8 | UNSIGNED, SIZE_NONE, SIZE_NONE),
    ONE(0xce, INSN_INTO, NO_64, SIZE_NONE, SIZE_NONE),
    ONE(0xcf, INSN_IRET, 0, SIZE_NONE, SIZE_NONE),
    GROUP_ONE(0xd0, ALL, INSN_NOT_A_MOVE, TO_RM, SIZE_B),
    GROUP_ONE(0xd1, ALL, INSN_NOT_A_MOVE, TO_RM, SIZE_V),
    GROUP_ONE(0xd2, ALL, INSN_NOT_A_MOVE, TO_RM, SIZE_B),
    GROUP_ONE(0xd3, ALL, INSN_NOT_A_MOVE, TO_RM, SIZE_V),
    ONE(0xe4, INSN_IN, IMM_8 | UNSIGNED, SIZE_B, SIZE_B),
    ONE(0xe5, INSN_IN, IMM_8 | UNSIGNED, SIZE_Z, SIZE_Z),
    ONE(0xe6, INSN_OUT, IMM_8 | UNSIGNED | TO_RM, SIZE_B, SIZE_B),
    ONE(0xe7, INSN_OUT, IMM_8 | UNSIGNED | TO_RM, SIZE_Z, SIZE_Z),
    ONE(0xec, INSN_IN, 0, SIZE_B, SIZE_B),
    ONE(0xed, INSN_IN, 0, SIZE_Z, SIZE_Z),
    ONE(0xee, INSN_OUT, TO_RM, SIZE_B, SIZE_B),
    ONE(0xef, INSN_OUT, TO_RM, SIZE_Z, SIZE_Z),
    ONE(0xf1, INSN_INT1, 0, SIZE_NONE, SIZE_NONE),
    ONE(0xf4, INSN_HLT, 0, SIZE_NONE, SIZE_NONE),
    GROUP_ONE(0xf6, REG(0) | REG(1), INSN_NOT_A_MOVE, IMM_8, SIZE_B), /* TEST */
    GROUP_ONE(0xf7, REG(0) | REG(1), INSN_NOT_A_MOVE, IMM_Z, SIZE_V),
    GROUP_ONE(0xf6, REG(2) | REG(3), INSN_NOT_A_MOVE, TO_RM, SIZE_B), /* NOT, NEG */
    GROUP_ONE(0xf7, REG(2) | REG(3), INSN_NOT_A_MOVE, TO_RM, SIZE_V),
    GROUP_ONE(0xf6, 0xf0, INSN_NOT_A_MOVE, 0, SIZE_B), /* MUL, IMUL, DIV, IDIV */
    GROUP_ONE(0xf7, 0xf0, INSN_NOT_A_MOVE, 0, SIZE_V),
    ONE(0xfa, INSN_CLI, 0, SIZE_NONE, SIZE_NONE),
    ONE(0xfb, INSN_STI, 0, SIZE_NONE, SIZE_NONE),
    GROUP_ONE(0xfe, REG(0) | REG(1), INSN_NOT_A_MOVE, TO_RM, SIZE_B), /* INC, DEC */
    GROUP_ONE(0xff, REG(0) | REG(1), INSN_NOT_A_MOVE, TO_RM, SIZE_V),
    {.map = MAP_1, .first = 0x90, .last = 0x90, .prefix = PREFIX_F3, .kind = INSN_PAUSE},
    {.map = MAP_END},
};

static const struct insn_row after_0f[] = {
    /* These exit most often. */
    TWO(0x22, INSN_MOV_TO_CR, MODRM | NO_MOD, SIZE_N, SIZE_N),
    GROUP_TWO(0x01, REG(7), INSN_INVLPG, MEMORY_ONLY, SIZE_NONE),
    TWO(0xa2, INSN_CPUID, 0, SIZE_NONE, SIZE_NONE),
    TWO(0x32, INSN_RDMSR, 0, SIZE_NONE, SIZE_NONE),
    TWO(0x30, INSN_WRMSR, 0, SIZE_NONE, SIZE_NONE),
    TWO(0x20, INSN_MOV_FROM_CR, MODRM | NO_MOD | TO_RM, SIZE_N, SIZE_N),

    GROUP_TWO(0x00, REG(0), INSN_SLDT, TO_RM, SIZE_WV),
    GROUP_TWO(0x00, REG(1), INSN_STR, TO_RM, SIZE_WV),
    GROUP_TWO(0x00, REG(2), INSN_LLDT, 0, SIZE_W),
    GROUP_TWO(0x00, REG(3), INSN_LTR, 0, SIZE_W),
    GROUP_TWO(0x01, REG(0), INSN_SGDT, TO_RM | MEMORY_ONLY, SIZE_TABLE),
    GROUP_TWO(0x01, REG(1), INSN_SIDT, TO_RM | MEMORY_ONLY, SIZE_TABLE),
    GROUP_TWO(0x01, REG(2), INSN_LGDT, MEMORY_ONLY, SIZE_TABLE),
    GROUP_TWO(0x01, REG(3), INSN_LIDT, MEMORY_ONLY, SIZE_TABLE),
    GROUP_TWO(0x01, REG(4), INSN_SMSW, TO_RM, SIZE_WV),
    GROUP_TWO(0x01, REG(6), INSN_LMSW, 0, SIZE_W),
    THREE(0xc1, INSN_VMCALL, 0),
    THREE(0xc2, INSN_VMLAUNCH, 0),
    THREE(0xc3, INSN_VMRESUME, 0),
    THREE(0xc4, INSN_VMXOFF, 0),
    THREE(0xc8, INSN_MONITOR, 0),
    THREE(0xc9, INSN_MWAIT, 0),
    THREE(0xca, INSN_CLAC, 0),
    THREE(0xcb, INSN_STAC, 0),
    THREE(0xd0, INSN_XGETBV, 0),
    THREE(0xd1, INSN_XSETBV, 0),
    THREE(0xd4, INSN_VMFUNC, 0),
    THREE(0xd8, INSN_VMRUN, 0),
    THREE(0xd9, INSN_VMMCALL, 0),
    THREE(0xda, INSN_VMLOAD, 0),
    THREE(0xdb, INSN_VMSAVE, 0),
    THREE(0xdc, INSN_STGI, 0),
    THREE(0xdd, INSN_CLGI, 0),
    THREE(0xde, INSN_SKINIT, 0),
    THREE(0xdf, INSN_INVLPGA, 0),
    THREE(0xf8, INSN_SWAPGS, ONLY_64),
    THREE(0xf9, INSN_RDTSCP, 0),
    THREE(0xfa, INSN_MONITORX, 0),
    THREE(0xfb, INSN_MWAITX, 0),
    TWO(0x06, INSN_CLTS, 0, SIZE_NONE, SIZE_NONE),
    TWO(0x08, INSN_INVD, 0, SIZE_NONE, SIZE_NONE),
    TWO(0x09, INSN_WBINVD, 0, SIZE_NONE, SIZE_NONE),
    TWO(0x21, INSN_MOV_FROM_DR, MODRM | NO_MOD | TO_RM, SIZE_N, SIZE_N),
    TWO(0x23, INSN_MOV_TO_DR, MODRM | NO_MOD, SIZE_N, SIZE_N),
    TWO(0x31, INSN_RDTSC, 0, SIZE_NONE, SIZE_NONE),
    TWO(0x33, INSN_RDPMC, 0, SIZE_NONE, SIZE_NONE),
    {.map = MAP_0F, .first = 0x78, .last = 0x78, .modrm = ALL, .prefix = PREFIX_NONE,
     .kind = INSN_VMREAD, .flags = MODRM | TO_RM, .rm_size = SIZE_N, .reg_size = SIZE_N},
    {.map = MAP_0F, .first = 0x79, .last = 0x79, .modrm = ALL, .prefix = PREFIX_NONE,
     .kind = INSN_VMWRITE, .flags = MODRM, .rm_size = SIZE_N, .reg_size = SIZE_N},
    TWO(0xa3, INSN_NOT_A_MOVE, MODRM, SIZE_V, SIZE_V), /* BT, BTS, BTR, BTC */
    TWO(0xab, INSN_NOT_A_MOVE, MODRM | TO_RM, SIZE_V, SIZE_V),
    TWO(0xb3, INSN_NOT_A_MOVE, MODRM | TO_RM, SIZE_V, SIZE_V),
    TWO(0xbb, INSN_NOT_A_MOVE, MODRM | TO_RM, SIZE_V, SIZE_V),
    GROUP_TWO(0xba, REG(4), INSN_NOT_A_MOVE, IMM_8 | UNSIGNED, SIZE_V),
    GROUP_TWO(0xba, 0xe0, INSN_NOT_A_MOVE, TO_RM | IMM_8 | UNSIGNED, SIZE_V),
    TWO(0xaa, INSN_RSM, 0, SIZE_NONE, SIZE_NONE),
    TWO(0xb0, INSN_NOT_A_MOVE, MODRM | TO_RM, SIZE_B, SIZE_B), /* CMPXCHG */
    TWO(0xb1, INSN_NOT_A_MOVE, MODRM | TO_RM, SIZE_V, SIZE_V),
    TWO(0xb6, INSN_MOVZX, MODRM, SIZE_B, SIZE_V),
    TWO(0xb7, INSN_MOVZX, MODRM, SIZE_W, SIZE_V),
    TWO(0xbe, INSN_MOVSX, MODRM, SIZE_B, SIZE_V),
    TWO(0xbf, INSN_MOVSX, MODRM, SIZE_W, SIZE_V),
    TWO(0xc0, INSN_NOT_A_MOVE, MODRM | TO_RM, SIZE_B, SIZE_B), /* XADD */
    TWO(0xc1, INSN_NOT_A_MOVE, MODRM | TO_RM, SIZE_V, SIZE_V),
    {.map = MAP_0F, .first = 0xc3, .last = 0xc3, .modrm = ALL, .prefix = PREFIX_NONE,
     .kind = INSN_MOV, .flags = MODRM | MEMORY_ONLY | TO_RM, .rm_size = SIZE_Y,
     .reg_size = SIZE_Y}, /* MOVNTI */
    GROUP_TWO(0xc7, REG(1), INSN_NOT_A_MOVE, MEMORY_ONLY | TO_RM, SIZE_2Y), /* CMPXCHG8B */
    SELECTED(MAP_0F, 0xc7, REG(6), PREFIX_NONE, INSN_VMPTRLD, SIZE_Q, SIZE_NONE),
    SELECTED(MAP_0F, 0xc7, REG(6), PREFIX_66, INSN_VMCLEAR, SIZE_Q, SIZE_NONE),
    SELECTED(MAP_0F, 0xc7, REG(6), PREFIX_F3, INSN_VMXON, SIZE_Q, SIZE_NONE),
    SELECTED(MAP_0F, 0xc7, REG(7), PREFIX_NONE, INSN_VMPTRST, SIZE_Q, SIZE_NONE),
    {.map = MAP_END},
};

static const struct insn_row after_0f38[] = {
    SELECTED(MAP_0F38, 0x80, ALL, PREFIX_66, INSN_INVEPT, SIZE_DQ, SIZE_N),
    SELECTED(MAP_0F38, 0x81, ALL, PREFIX_66, INSN_INVVPID, SIZE_DQ, SIZE_N),
    SELECTED(MAP_0F38, 0x82, ALL, PREFIX_66, INSN_INVPCID, SIZE_DQ, SIZE_N),

    {.map = MAP_END},
};
/* clang-format on */

const struct insn_row *insn_rows(enum insn_map map)
{
    if (map == MAP_0F)
        return after_0f;
    return map == MAP_0F38 ? after_0f38 : one_byte;
}
