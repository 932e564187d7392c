/* SPDX-License-Identifier: BSD-2-Clause */
/* Exit reasons, qualifications and the combination of events, as numbers alone. */
#include "kernel/x86.h"
#include "tests/unit/unit.h"
#include "vmx/event.h"
#include "vmx/qualification.h"
#include "vmx/reason.h"

#include <string.h>

static void every_reason_has_a_row(void)
{
    for (unsigned int i = 0; i < REASONS; i++)
        CHECK(reason_rows[i].name && reason_rows[i].kind < EXIT_KINDS);
    for (unsigned int i = 0; i < REASONS; i++)
        CHECK((reason_rows[i].kind == EXIT_CPUID) == (i == 10));
    CHECK(strcmp(reason_name(REASON_ENTRY_FAILED | 33), "invalid guest state") == 0);
    CHECK(strcmp(reason_name(1000), "reason beyond 77") == 0);
    CHECK(strcmp(instruction_error_name(7), "VM entry with invalid control fields") == 0);
    CHECK(strcmp(instruction_error_name(14), "an error without a name") == 0);
    CHECK(strcmp(instruction_error_name(99), "an error without a name") == 0);
}

/* What exits whatever the controls are, on a CPU that has it, and no model has: a guest that runs it
 * gets #UD, and goes on (SDM vol. 3 §26.1.2, SEAMCALL and TDCALL with it). */
static void unconditional_exits_are_forbidden(void)
{
    static const uint8_t reasons[] = {11, 17, 19, 20, 21, 22, 23, 24, 25, 26, 27, 50, 53, 76, 77};
    for (size_t i = 0; i < sizeof(reasons); i++)
        CHECK_EQ(reason_rows[reasons[i]].kind, EXIT_FORBIDDEN);
}

/* The one exit of a task switch is no exit that Latch does not know: it is named. */
static void a_task_switch_is_told(void)
{
    for (unsigned int i = 0; i < REASONS; i++)
        CHECK_EQ(reason_rows[i].kind == EXIT_TASK_SWITCH, i == 9);
}

/* What the bitmap has exit is told apart by vector and type, and nothing else is taken for it. */
static void exceptions(void)
{
    CHECK_EQ(event_exceptions(false, false), 0);
    CHECK_EQ(event_exceptions(true, false), 1U << 14);
    CHECK_EQ(event_exceptions(false, true), 1U << 18);
    CHECK_EQ(event_exceptions(true, true), 1U << 14 | 1U << 18);
    for (uint32_t type = 0; type < 8; type++)
        for (uint32_t vector = 0; vector < 256; vector++) {
            uint32_t info = EVENT_INFO_VALID | type << 8 | vector;
            CHECK_EQ(event_is_exception(info, VECTOR_PF), type == 3 && vector == 14);
            CHECK_EQ(event_is_exception(info, VECTOR_MC), type == 3 && vector == 18);
        }
}

static void io(void)
{
    struct exit exit = {0};
    qualification_io(0x03f80000 | 8U, &exit);
    CHECK_EQ(exit.io.port, 0x3f8);
    CHECK_EQ(exit.io.size, 1);
    CHECK(exit.io.in && !exit.io.string && !exit.io.rep);
    qualification_io(0xffff0000U | 0x30U | 3U, &exit);
    CHECK_EQ(exit.io.port, 0xffff);
    CHECK_EQ(exit.io.size, 4);
    CHECK(!exit.io.in && exit.io.string && exit.io.rep);
}

static void ept(void)
{
    struct exit exit = {0};
    qualification_ept(0x182, 0xfee00300, 0xffff8000fee00300, &exit);
    CHECK_EQ(exit.memory.gpa.raw, 0xfee00300);
    CHECK(exit.memory.linear_valid);
    CHECK_EQ(exit.memory.linear.raw, 0xffff8000fee00300);
    CHECK(exit.memory.write && !exit.memory.read && !exit.memory.fetch && !exit.memory.walk);
    qualification_ept(0x083, 0x1000, 0x2000, &exit); /* an A bit in the guest's own table */
    CHECK(exit.memory.linear_valid && exit.memory.read && exit.memory.write && exit.memory.walk);
    qualification_ept(0x001, 0x1000, 0, &exit); /* the load of a PDPTE: no linear address */
    CHECK(exit.memory.walk && !exit.memory.linear_valid);
    qualification_ept(0x184, 0x2000, 0x2000, &exit);
    CHECK(exit.memory.fetch && !exit.memory.walk);
}

static void control_registers(void)
{
    uint64_t gpr[16];
    struct exit exit = {0};
    for (unsigned int i = 0; i < 16; i++)
        gpr[i] = 0x100000000UL * (i + 1) + i;
    for (unsigned int i = 0; i < 16; i++) {
        CHECK(qualification_cr(4 | i << 8, gpr, 0, true, &exit));
        CHECK_EQ(exit.cr.cr, 4);
        CHECK_EQ(exit.cr.value, gpr[i]);
        CHECK(qualification_cr(0 | i << 8, gpr, 0, false, &exit));
        CHECK_EQ(exit.cr.cr, 0);
        CHECK_EQ(exit.cr.value, i);
    }
    CHECK(!qualification_cr(8, gpr, 0, true, &exit));
    CHECK(!qualification_cr(2, gpr, 0, true, &exit));
    CHECK(!qualification_cr(0x10, gpr, 0, true, &exit)); /* a read that never exits */
    CHECK(!qualification_cr(0x14, gpr, 0, true, &exit));
    CHECK(qualification_cr(0x20, gpr, CR0_PG | CR0_PE | CR0_TS, true, &exit));
    CHECK_EQ(exit.cr.value, CR0_PG | CR0_PE);
    CHECK(qualification_cr(0x30 | 0xfff0UL << 16, gpr, CR0_PG | CR0_PE | CR0_EM, true, &exit));
    CHECK_EQ(exit.cr.value, CR0_PG | CR0_PE); /* LMSW does not clear PE, nor set what it cannot */
    CHECK(qualification_cr(0x30 | 0xfUL << 16, gpr, CR0_NE, true, &exit));
    CHECK_EQ(exit.cr.value, CR0_NE | 0xf);
}

/* Each register, as it is where its number means RSP, R8 or none of the old eight. */
static void cr3_moves(void)
{
    uint64_t gpr[16];
    struct exit exit = {0};
    for (unsigned int i = 0; i < 16; i++)
        gpr[i] = 0x8000000100000000UL * (i + 1) + i;
    for (unsigned int i = 0; i < 16; i++) {
        CHECK(qualification_cr(3 | i << 8, gpr, 0, true, &exit));
        CHECK(exit.kind == EXIT_CR_WRITE && exit.cr.cr == 3);
        CHECK_EQ(exit.cr.value, gpr[i]);
        CHECK(qualification_cr(3 | i << 8, gpr, 0, false, &exit));
        CHECK_EQ(exit.cr.value, i);
        CHECK(qualification_cr(0x13 | i << 8, gpr, 0, true, &exit));
        CHECK(exit.kind == EXIT_CR_READ && exit.cr.cr == 3);
        CHECK(exit.cr.gpr == i && exit.cr.size == 8);
        CHECK(qualification_cr(0x13 | i << 8, gpr, 0, false, &exit));
        CHECK(exit.cr.gpr == i && exit.cr.size == 4);
    }
    CHECK(qualification_cr(0x20, gpr, 0, true, &exit));
    CHECK(exit.kind == EXIT_CR_WRITE);
}

enum segment { ES, CS, SS, DS, FS, GS };

/* The fields of the information, SDM vol. 3 §28.2.5. */
struct operand {
    unsigned int scale, size, segment, index, base, type;
    bool no_index, no_base;
};

static uint32_t information(const struct operand *o)
{
    return o->scale | o->size << 7 | o->segment << 15 | o->index << 18 |
           (uint32_t)o->no_index << 22 | o->base << 23 | (uint32_t)o->no_base << 27 | o->type << 28;
}

struct invpcid_case {
    struct operand operand;
    bool mode_64bit;
    uint64_t displacement, base;
    uint64_t address, type; /* what must come out; type 1000H: that of register 0 */
};

/* gpr[n] is n * 1_0001_0001H + 1000H. */
/* clang-format off */
static const struct invpcid_case invpcid_cases[] = {
    /* (%rax), type in %rcx */
    {.operand = {.size = 2, .no_index = true, .base = 0, .type = 1}, .mode_64bit = true,
     .base = 0x5000, .address = 0x1000, .type = 0x100011001},
    /* 0x10(%r15, %r8, 8) */
    {.operand = {.size = 2, .scale = 3, .index = 8, .base = 15, .type = 2}, .mode_64bit = true,
     .displacement = 0x10, .address = 0xf000f100f + 8 * 0x800081008 + 0x10, .type = 0x200021002},
    /* -8 alone: a displacement is sign-extended */
    {.operand = {.size = 2, .no_index = true, .no_base = true}, .mode_64bit = true,
     .displacement = -8UL, .address = -8UL, .type = 0x1000},
    /* in 64-bit mode DS has no base, FS and GS do */
    {.operand = {.size = 2, .no_index = true, .segment = DS}, .mode_64bit = true,
     .base = 0x5000, .address = 0x1000, .type = 0x1000},
    {.operand = {.size = 2, .no_index = true, .segment = FS}, .mode_64bit = true,
     .base = 0x5000, .address = 0x6000, .type = 0x1000},
    {.operand = {.size = 2, .no_index = true, .segment = GS}, .mode_64bit = true,
     .base = 1UL << 63, .address = 1UL << 63 | 0x1000, .type = 0x1000},
    /* a 32-bit address in 64-bit mode is cut before the base comes in, the sum is not */
    {.operand = {.size = 1, .no_index = true, .base = 3, .segment = GS}, .mode_64bit = true,
     .base = 0xffff800000000000, .address = 0xffff800000031003, .type = 0x1000},
    /* outside 64-bit mode the sum wraps, and the type has 32 bits */
    {.operand = {.size = 1, .no_index = true, .no_base = true, .segment = DS, .type = 1},
     .displacement = 0xfffffff0, .base = 0x20, .address = 0x10, .type = 0x11001},
    {.operand = {.index = 6, .base = 3, .segment = SS},
     .displacement = 0xfff0, .base = 0x70000,
     .address = 0x70000 + ((0x31003 + 0x61006 + 0xfff0) & 0xffff), .type = 0x1000},
};
/* clang-format on */

static void invpcid(void)
{
    uint64_t gpr[16];
    for (unsigned int i = 0; i < 16; i++)
        gpr[i] = 0x100010001UL * i + 0x1000;
    for (unsigned int i = 0; i < sizeof(invpcid_cases) / sizeof(invpcid_cases[0]); i++) {
        const struct invpcid_case *c = &invpcid_cases[i];
        struct exit exit = {.invalidate = {.everything = true}};
        uint32_t info = information(&c->operand);
        CHECK_EQ(OPERAND_SEGMENT(info), c->operand.segment);
        qualification_invpcid(info, c->displacement, c->base, gpr, c->mode_64bit, &exit);
        CHECK_EQ(exit.invalidate.address.raw, c->address);
        CHECK_EQ(exit.invalidate.type, c->type);
        CHECK(!exit.invalidate.everything);
    }
}

static const uint32_t valid = EVENT_INFO_VALID;

static struct event exception(uint8_t vector)
{
    return (struct event){.type = EVENT_EXCEPTION, .vector = vector, .has_error_code = true};
}

/* SDM vol. 3 table 6-5, row by row; the vector that is delivered, or 0xff for a triple fault. */
static unsigned int combined(uint8_t first, uint8_t second)
{
    struct event e = exception(second);
    if (!event_combine(&e, valid | (uint32_t)INFO_EXCEPTION << EVENT_INFO_TYPE_SHIFT | first))
        return 0xff;
    return e.vector;
}

static void double_faults(void)
{
    static const uint8_t contributory[] = {VECTOR_DE, VECTOR_TS, VECTOR_NP, VECTOR_SS, VECTOR_GP};
    for (unsigned int i = 0; i < sizeof(contributory); i++) {
        uint8_t c = contributory[i];
        for (unsigned int j = 0; j < sizeof(contributory); j++)
            CHECK_EQ(combined(c, contributory[j]), VECTOR_DF);
        CHECK_EQ(combined(c, VECTOR_PF), VECTOR_PF);
        CHECK_EQ(combined(VECTOR_PF, c), VECTOR_DF);
        CHECK_EQ(combined(VECTOR_DF, c), 0xff);
        CHECK_EQ(combined(c, VECTOR_UD), VECTOR_UD);
        CHECK_EQ(combined(VECTOR_DB, c), c);
    }
    CHECK_EQ(combined(VECTOR_PF, VECTOR_PF), VECTOR_DF);
    CHECK_EQ(combined(VECTOR_DF, VECTOR_PF), 0xff);
    CHECK_EQ(combined(VECTOR_DF, VECTOR_DB), VECTOR_DB);
}

static void the_ext_bit(void)
{
    struct event e = exception(VECTOR_GP);
    CHECK(event_combine(&e, 0));
    CHECK_EQ(e.error_code, 0);
    CHECK(event_combine(&e, valid | INFO_INTERRUPT << EVENT_INFO_TYPE_SHIFT | 0x30));
    CHECK_EQ(e.error_code, 1);
    e = exception(VECTOR_GP);
    CHECK(event_combine(&e, valid | (uint32_t)INFO_SOFTWARE_INTERRUPT << 8 | 0x80));
    CHECK_EQ(e.error_code, 0);
    e = exception(VECTOR_PF);
    CHECK(event_combine(&e, valid | INFO_INTERRUPT << EVENT_INFO_TYPE_SHIFT | 0x30));
    CHECK_EQ(e.error_code, 0);
}

int main(void)
{
    RUN(every_reason_has_a_row);
    RUN(unconditional_exits_are_forbidden);
    RUN(a_task_switch_is_told);
    RUN(exceptions);
    RUN(io);
    RUN(ept);
    RUN(control_registers);
    RUN(cr3_moves);
    RUN(invpcid);
    RUN(double_faults);
    RUN(the_ext_bit);
    return unit_end();
}
