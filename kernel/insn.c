/* SPDX-License-Identifier: BSD-2-Clause */
#include "kernel/insn.h"
#include "kernel/insn_table.h"
#include <errno.h>
#include <string.h>

enum { RAX = 0, RBX = 3, RSP = 4, RBP = 5, RSI = 6, RDI = 7 };

/* The bytes, how many are used, and the first error that came up on the way. */
struct cursor {
    const uint8_t *bytes;
    size_t n;
    size_t at;
    int error;
};

struct prefixes {
    bool operand_size; /* 66 */
    bool address_size; /* 67 */
    uint8_t repeat;    /* the last of F2 and F3, or 0 */
    uint8_t rex;       /* 40..4F, or 0 */
    uint8_t segment;   /* enum insn_segment, or INSN_NO_REGISTER */
};

struct decoder {
    struct cursor cursor;
    struct prefixes prefix;
    enum insn_mode mode;
    uint8_t modrm;
    struct insn *out;
};

static uint8_t next_byte(struct cursor *cursor)
{
    if (cursor->error != 0) {
        return 0;
    }
    if (cursor->at >= INSN_LENGTH_MAX) {
        cursor->error = -EINVAL;
        return 0;
    }
    if (cursor->at >= cursor->n) {
        cursor->error = -ENODATA;
        return 0;
    }
    return cursor->bytes[cursor->at++];
}

/* `size` bytes, sign-extended. */
static int64_t next_signed(struct cursor *cursor, unsigned size)
{
    uint64_t value = 0;
    for (unsigned i = 0; i < size; i++) {
        value |= (uint64_t)next_byte(cursor) << (8 * i);
    }
    unsigned unused = 64 - 8 * size;
    return unused == 64 ? 0 : (int64_t)(value << unused) >> unused;
}

/* Takes one legacy prefix into account; false if `byte` is none (SDM vol. 2 §2.1.1). */
static bool take_prefix(struct decoder *decoder, uint8_t byte)
{
    struct prefixes *prefix = &decoder->prefix;
    switch (byte) {
    case 0x66:
        prefix->operand_size = true;
        return true;
    case 0x67:
        prefix->address_size = true;
        return true;
    case 0xf0:
        decoder->out->lock = true;
        return true;
    case 0xf2:
        decoder->out->repne = true;
        prefix->repeat = byte;
        return true;
    case 0xf3:
        decoder->out->rep = true;
        prefix->repeat = byte;
        return true;
    case 0x64:
    case 0x65:
        prefix->segment = byte - 0x64 + INSN_FS;
        return true;
    case 0x26:
    case 0x2e:
    case 0x36:
    case 0x3e:
        /* Without effect in 64-bit mode, where they do not undo an FS or GS before them. */
        if (decoder->mode != INSN_MODE_64) {
            prefix->segment = (byte - 0x26) >> 3;
        }
        return true;
    default:
        return false;
    }
}

/* Returns the first opcode byte. A REX prefix counts only directly before it (§2.2.1). */
static uint8_t decode_prefixes(struct decoder *decoder)
{
    decoder->prefix = (struct prefixes){.segment = INSN_NO_REGISTER};
    for (;;) {
        uint8_t byte = next_byte(&decoder->cursor);
        if (decoder->cursor.error != 0) {
            return 0;
        }
        if (take_prefix(decoder, byte)) {
            decoder->prefix.rex = 0;
        } else if (decoder->mode == INSN_MODE_64 && (byte & 0xf0) == 0x40) {
            decoder->prefix.rex = byte;
        } else {
            return byte;
        }
    }
}

static void decide_sizes(struct decoder *decoder)
{
    struct insn *out = decoder->out;
    const struct prefixes *prefix = &decoder->prefix;
    bool wide = decoder->mode != INSN_MODE_16;

    out->operand_size = wide != prefix->operand_size ? 4 : 2;
    out->address_size = wide != prefix->address_size ? 4 : 2;
    if (decoder->mode == INSN_MODE_64) {
        out->address_size = prefix->address_size ? 4 : 8;
        if (prefix->rex & 8) {
            out->operand_size = 8;
        }
    }
}

static bool prefix_fits(const struct decoder *decoder, enum insn_prefix_rule rule)
{
    switch (rule) {
    case PREFIX_ANY:
        return true;
    case PREFIX_NONE:
        return decoder->prefix.repeat == 0 && !decoder->prefix.operand_size;
    case PREFIX_66:
        return decoder->prefix.repeat == 0 && decoder->prefix.operand_size;
    case PREFIX_F3:
        return decoder->prefix.repeat == 0xf3;
    }
    return false;
}

/* The line of the table for this opcode, or NULL with cursor.error set. Takes no byte. */
static const struct insn_row *find_row(struct decoder *decoder, enum insn_map map, uint8_t opcode)
{
    struct cursor peek = decoder->cursor;
    uint8_t modrm = next_byte(&peek);
    const struct insn_row *row = insn_rows(map);

    /* The eight arithmetic operations of 00..3F differ in bits 5:3 only. */
    if (map == MAP_1 && opcode < 0x40) {
        opcode &= 7;
    }
    for (; row->map != MAP_END; row++) {
        if (opcode < row->first || opcode > row->last || !prefix_fits(decoder, row->prefix)) {
            continue;
        }
        if ((row->flags & NO_64) && decoder->mode == INSN_MODE_64) {
            continue;
        }
        if ((row->flags & ONLY_64) && decoder->mode != INSN_MODE_64) {
            continue;
        }
        if (!(row->flags & MODRM)) {
            return row;
        }
        if (peek.error != 0) {
            decoder->cursor.error = peek.error;
            return NULL;
        }
        bool memory = modrm < 0xc0;
        if ((row->flags & MEMORY_ONLY && !memory) || (row->flags & REGISTER_ONLY && memory)) {
            continue;
        }
        if (row->flags & WHOLE_MODRM ? row->modrm == modrm : row->modrm >> (modrm >> 3 & 7) & 1) {
            return row;
        }
    }
    decoder->cursor.error = -EOPNOTSUPP;
    return NULL;
}

static uint8_t size_of(const struct decoder *decoder, enum insn_size size)
{
    uint8_t operand_size = decoder->out->operand_size;
    bool long_mode = decoder->mode == INSN_MODE_64;
    switch (size) {
    case SIZE_NONE:
        return 0;
    case SIZE_B:
        return 1;
    case SIZE_W:
        return 2;
    case SIZE_V:
        return operand_size;
    case SIZE_Z:
        return operand_size == 8 ? 4 : operand_size;
    case SIZE_Y:
        return operand_size == 8 ? 8 : 4;
    case SIZE_SX:
        return operand_size == 2 ? 2 : 4;
    case SIZE_N:
        return long_mode ? 8 : 4;
    case SIZE_WV:
        return decoder->out->memory ? 2 : operand_size;
    case SIZE_TABLE:
        return long_mode ? 10 : 6;
    case SIZE_Q:
        return 8;
    case SIZE_2Y:
        return operand_size == 8 ? 16 : 8;
    case SIZE_DQ:
        return 16;
    }
    return 0;
}

static void set_base(struct insn *out, uint8_t base)
{
    out->base = base;
    if (base == RSP || base == RBP) {
        out->segment = INSN_SS;
    }
}

/* SDM vol. 2 table 2-1 */
static void decode_address_16(struct decoder *decoder)
{
    static const uint8_t bases[8] = {RBX, RBX, RBP, RBP, RSI, RDI, RBP, RBX};
    static const uint8_t indexes[4] = {RSI, RDI, RSI, RDI};
    struct insn *out = decoder->out;
    unsigned mod = decoder->modrm >> 6;
    unsigned rm = decoder->modrm & 7;

    if (mod == 0 && rm == 6) {
        out->displacement = next_signed(&decoder->cursor, 2);
        return;
    }
    set_base(out, bases[rm]);
    if (rm < 4) {
        out->index = indexes[rm];
    }
    out->displacement = next_signed(&decoder->cursor, mod);
}

/* SDM vol. 2 tables 2-2 and 2-3, with the REX bits of §2.2.1.2 */
static void decode_address_32(struct decoder *decoder)
{
    struct insn *out = decoder->out;
    uint8_t rex = decoder->prefix.rex;
    unsigned mod = decoder->modrm >> 6;
    uint8_t base = decoder->modrm & 7;
    bool sib = base == 4;

    if (sib) {
        uint8_t byte = next_byte(&decoder->cursor);
        uint8_t index = (byte >> 3 & 7) | (rex & 2) << 2;
        if (index != RSP) {
            out->index = index;
            out->scale = (uint8_t)(1U << (byte >> 6));
        }
        base = byte & 7;
    }
    if (mod == 0 && base == 5) {
        out->displacement = next_signed(&decoder->cursor, 4);
        out->rip_relative = !sib && decoder->mode == INSN_MODE_64;
        return;
    }
    set_base(out, base | (rex & 1) << 3);
    out->displacement = next_signed(&decoder->cursor, mod == 2 ? 4 : mod);
}

/* A byte register is AH..BH for 4..7 unless there is a REX prefix. */
static uint8_t byte_register(const struct decoder *decoder, uint8_t number, uint8_t size,
                             bool *high)
{
    *high = size == 1 && decoder->prefix.rex == 0 && number >= 4 && number < 8;
    return *high ? number - 4 : number;
}

static void decode_modrm(struct decoder *decoder, const struct insn_row *row)
{
    struct insn *out = decoder->out;
    uint8_t rex = decoder->prefix.rex;
    decoder->modrm = next_byte(&decoder->cursor);
    /* Moves to and from CR and DR have a register there whatever ModRM.mod says. */
    out->memory = decoder->modrm < 0xc0 && !(row->flags & NO_MOD);
    out->rm_size = size_of(decoder, row->rm_size);

    if (row->reg_size != SIZE_NONE) {
        uint8_t reg = (decoder->modrm >> 3 & 7) | (rex & 4) << 1;
        out->reg_size = size_of(decoder, row->reg_size);
        out->reg = byte_register(decoder, reg, out->reg_size, &out->reg_high);
    }
    if (!out->memory) {
        if (!(row->flags & WHOLE_MODRM)) {
            uint8_t rm = (decoder->modrm & 7) | (rex & 1) << 3;
            out->rm = byte_register(decoder, rm, out->rm_size, &out->rm_high);
        }
    } else if (out->address_size == 2) {
        decode_address_16(decoder);
    } else {
        decode_address_32(decoder);
    }
}

static void decode_fixed(struct decoder *decoder, const struct insn_row *row)
{
    struct insn *out = decoder->out;
    out->rm_size = size_of(decoder, row->rm_size);
    out->reg_size = size_of(decoder, row->reg_size);
    if (row->reg_size != SIZE_NONE) {
        out->reg = RAX;
    }
    if (row->flags & OFFSET) {
        out->memory = true;
        out->displacement = next_signed(&decoder->cursor, out->address_size);
    }
    if (out->kind == INSN_INS || out->kind == INSN_OUTS) {
        out->memory = true;
        out->base = out->kind == INSN_INS ? RDI : RSI;
    }
}

static void decode_immediate(struct decoder *decoder, const struct insn_row *row)
{
    struct insn *out = decoder->out;
    unsigned size = 0;
    if (row->flags & IMM_8) {
        size = 1;
    } else if (row->flags & IMM_Z) {
        size = size_of(decoder, SIZE_Z);
    }
    if (size != 0) {
        out->has_immediate = true;
        out->immediate = (uint64_t)next_signed(&decoder->cursor, size);
    }
    if (row->flags & UNSIGNED) {
        out->immediate &= 0xff;
    }
}

/* What differs from the plain rules in a way that no column of the table says. */
static void finish(struct decoder *decoder)
{
    struct insn *out = decoder->out;
    if (decoder->prefix.segment != INSN_NO_REGISTER) {
        out->segment = (enum insn_segment)decoder->prefix.segment;
    }
    if (out->kind == INSN_INS) {
        out->segment = INSN_ES;
    }
    bool control_register = out->kind == INSN_MOV_TO_CR || out->kind == INSN_MOV_FROM_CR;
    if (control_register && out->lock && out->reg == 0) {
        out->reg = 8;
    }
}

int insn_decode(const uint8_t *bytes, size_t n, enum insn_mode mode, struct insn *out)
{
    struct decoder decoder = {.cursor = {.bytes = bytes, .n = n}, .mode = mode, .out = out};
    enum insn_map map = MAP_1;

    *out = (struct insn){.reg = INSN_NO_REGISTER,
                         .rm = INSN_NO_REGISTER,
                         .base = INSN_NO_REGISTER,
                         .index = INSN_NO_REGISTER,
                         .scale = 1,
                         .segment = INSN_DS};
    uint8_t opcode = decode_prefixes(&decoder);
    if (opcode == 0x0f) {
        map = MAP_0F;
        opcode = next_byte(&decoder.cursor);
        if (opcode == 0x38) {
            map = MAP_0F38;
            opcode = next_byte(&decoder.cursor);
        }
    }
    decide_sizes(&decoder);
    if (decoder.cursor.error != 0) {
        return decoder.cursor.error;
    }
    const struct insn_row *row = find_row(&decoder, map, opcode);
    if (row == NULL) {
        return decoder.cursor.error;
    }
    out->kind = row->kind;
    out->to_rm = row->flags & TO_RM;
    if (row->flags & MODRM) {
        decode_modrm(&decoder, row);
    } else {
        decode_fixed(&decoder, row);
    }
    decode_immediate(&decoder, row);
    finish(&decoder);
    out->length = (uint8_t)decoder.cursor.at;
    return decoder.cursor.error;
}

uint64_t insn_offset(const struct insn *insn, const uint64_t gpr[16], uint64_t next_rip)
{
    uint64_t offset = (uint64_t)insn->displacement;
    if (insn->base != INSN_NO_REGISTER) {
        offset += gpr[insn->base];
    }
    if (insn->index != INSN_NO_REGISTER) {
        offset += gpr[insn->index] * insn->scale;
    }
    if (insn->rip_relative) {
        offset += next_rip;
    }
    return insn->address_size == 8 ? offset : offset & ((1ULL << 8 * insn->address_size) - 1);
}

uint64_t insn_read_register(const uint64_t gpr[16], uint8_t number, uint8_t size, bool high)
{
    uint64_t value = high ? gpr[number] >> 8 : gpr[number];
    return size >= 8 ? value : value & ((1ULL << 8 * size) - 1);
}

void insn_write_register(uint64_t gpr[16], uint8_t number, uint8_t size, bool high, uint64_t value)
{
    if (size >= 8) {
        gpr[number] = value;
    } else if (size == 4) {
        gpr[number] = (uint32_t)value;
    } else {
        unsigned shift = high ? 8 : 0;
        uint64_t mask = ((1ULL << 8 * size) - 1) << shift;
        gpr[number] = (gpr[number] & ~mask) | (value << shift & mask);
    }
}
