/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef LATCH_KERNEL_INSN_H
#define LATCH_KERNEL_INSN_H
/*
 * The instruction decoder: exact lengths and operands of those instructions that a hypervisor
 * must skip or carry out itself (SDM vol. 2 ch. 2 and appendix A; APM vol. 3 §1 and appendix A).
 * It is small and complete for its list; everything else is named as unknown, never guessed.
 */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define INSN_LENGTH_MAX  15U
#define INSN_NO_REGISTER 0xffU

/* The default operand and address size of the code segment. */
enum insn_mode { INSN_MODE_16 = 16, INSN_MODE_32 = 32, INSN_MODE_64 = 64 };

/* clang-format off */
enum insn_kind {
    INSN_CPUID, INSN_RDMSR, INSN_WRMSR, INSN_HLT, INSN_PAUSE,
    INSN_RDTSC, INSN_RDTSCP, INSN_RDPMC, INSN_XSETBV, INSN_XGETBV,
    INSN_INVD, INSN_WBINVD, INSN_INVLPG, INSN_INVPCID, INSN_RSM,
    INSN_MONITOR, INSN_MWAIT, INSN_MONITORX, INSN_MWAITX,
    INSN_CLTS, INSN_LMSW, INSN_SMSW,
    INSN_MOV_TO_CR, INSN_MOV_FROM_CR, INSN_MOV_TO_DR, INSN_MOV_FROM_DR,
    INSN_SGDT, INSN_SIDT, INSN_LGDT, INSN_LIDT, INSN_SLDT, INSN_STR, INSN_LLDT, INSN_LTR,
    INSN_SWAPGS, INSN_CLAC, INSN_STAC,
    INSN_IRET, INSN_INT, INSN_INT3, INSN_INTO, INSN_INT1, INSN_PUSHF, INSN_POPF,
    INSN_CLI, INSN_STI,
    INSN_IN, INSN_OUT, INSN_INS, INSN_OUTS,
    /* Intel's own (SDM vol. 3 ch. 31) */
    INSN_VMCALL, INSN_VMLAUNCH, INSN_VMRESUME, INSN_VMXOFF, INSN_VMFUNC,
    INSN_VMREAD, INSN_VMWRITE, INSN_VMPTRLD, INSN_VMPTRST, INSN_VMCLEAR, INSN_VMXON,
    INSN_INVEPT, INSN_INVVPID,
    /* AMD's own (APM vol. 3 ch. 4) */
    INSN_VMRUN, INSN_VMMCALL, INSN_VMLOAD, INSN_VMSAVE, INSN_STGI, INSN_CLGI, INSN_SKINIT,
    INSN_INVLPGA,
    /* Moves between a general register or an immediate and memory or a register */
    INSN_MOV,   /* also of an immediate: then has_immediate, and no reg */
    INSN_MOVZX, /* rm_size bytes zero-extended to reg_size */
    INSN_MOVSX,
    /* MOVS, CMPS, STOS, LODS, SCAS: length, sizes and prefixes only, no operands */
    INSN_STRING,
    /* Known, with exact length and operands, but not a plain move: reads, writes or both */
    INSN_NOT_A_MOVE,
};
/* clang-format on */

/* Segment registers in encoding order. */
enum insn_segment { INSN_ES, INSN_CS, INSN_SS, INSN_DS, INSN_FS, INSN_GS };

struct insn {
    enum insn_kind kind;
    uint8_t length;        /* bytes, prefixes included */
    uint8_t operand_size;  /* bytes by mode and prefixes: 2, 4 or 8 */
    uint8_t address_size;  /* bytes: 2, 4 or 8 */
    bool lock, rep, repne; /* F0, F3, F2 stood before it */

    /*
     * `reg`: the ModRM.reg operand or the fixed one (rAX), or the CR or DR number (LOCK MOV CR0
     * is CR8, APM vol. 3). 0..15 in encoding order, or INSN_NO_REGISTER. reg_high: it is AH, CH,
     * DH or BH, bits 15:8 of reg.
     */
    uint8_t reg;
    uint8_t reg_size;
    bool reg_high;

    /*
     * The other operand: memory, or the register `rm`. rm_size is what is read or written there.
     * For IN, OUT, INS, OUTS it is the size of one transfer; 0 where no data is moved.
     */
    bool memory;
    uint8_t rm;
    uint8_t rm_size;
    bool rm_high;
    bool to_rm; /* memory, `rm` or the port (OUT) is written; else `reg`, or the port (OUTS) */

    /* Sign-extended to 64 bits as the instruction does it; IN and OUT: the port. */
    bool has_immediate;
    uint64_t immediate; /* IN and OUT without: the port is in DX */

    /* Where `memory` is: the effective address's parts. */
    enum insn_segment segment; /* the default for the base, or the override */
    uint8_t base, index;       /* 0..15, or INSN_NO_REGISTER */
    uint8_t scale;             /* 1, 2, 4 or 8 */
    bool rip_relative;
    int64_t displacement;
};

/*
 * Decodes the instruction at bytes[0..n). Returns 0, or
 * -ENODATA     all n (< 15) bytes are used and more are needed: fetch the next page's and retry,
 * -EOPNOTSUPP  not in the list (or not valid in this mode): nothing is known about it,
 * -EINVAL      longer than 15 bytes: the CPU raises #GP(0).
 */
int insn_decode(const uint8_t *bytes, size_t n, enum insn_mode mode, struct insn *out);

/*
 * The offset of the memory operand within insn->segment, cut to the address size. gpr is in
 * encoding order (rax rcx rdx rbx rsp rbp rsi rdi r8..r15); next_rip is that of the next one.
 */
uint64_t insn_offset(const struct insn *insn, const uint64_t gpr[16], uint64_t next_rip);

/* Register operand `number` of `size` bytes as the instruction reads it (high: bits 15:8). */
uint64_t insn_read_register(const uint64_t gpr[16], uint8_t number, uint8_t size, bool high);

/*
 * Writes it as an instruction does: 8 and 16 bits leave the rest, 32 bits clear the upper half.
 */
void insn_write_register(uint64_t gpr[16], uint8_t number, uint8_t size, bool high, uint64_t value);

#endif
