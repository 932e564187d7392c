/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef LATCH_TESTS_GUEST_LIB_PROBE_H
#define LATCH_TESTS_GUEST_LIB_PROBE_H
/* What a processor finds at its SIPI vector, and the modes in which an INIT may find it: probe.asm */
#include "tests/guest/lib/runtime.h"

#define PROBE_MARK     0x5eedf00dU
#define PROBE_LDT_MARK 0x1234U
#define PROBE_SEGMENTS 6U /* ES, CS, SS, DS, FS, GS */

enum probe_apic {
    PROBE_TPR,
    PROBE_LDR,
    PROBE_SVR,
    PROBE_LVT, /* timer, thermal, performance, LINT0, LINT1, error */
    PROBE_TIMER_COUNT = PROBE_LVT + 6,
    PROBE_TIMER_NOW,
    PROBE_TIMER_DIVIDE,
    PROBE_ESR,
    PROBE_ISR,
    PROBE_IRR = PROBE_ISR + 8,
    PROBE_APIC_REGISTERS = PROBE_IRR + 8
};

struct probe_table {
    uint16_t limit;
    uint32_t base;
} __attribute__((packed));

struct probe {
    struct {
        uint16_t control, status;
        uint8_t tags, reserved;
        uint16_t opcode;
        uint64_t instruction, data;
        uint32_t mxcsr, mxcsr_mask;
        uint64_t st[8][2], xmm[8][2]; /* of the others 32-bit code knows nothing */
        uint64_t rest[28];
    } fpu;
    uint32_t gpr[8]; /* in the order of their encoding */
    uint32_t cr[4];  /* 0, 2, 3, 4 */
    uint32_t dr[6];  /* 0 to 3, 6, 7 */
    uint32_t eflags;
    uint32_t mark[PROBE_SEGMENTS]; /* PROBE_MARK where the base is right */
    uint32_t ldt_mark;             /* PROBE_LDT_MARK where LDTR is at 0, and large */
    uint64_t fs_base, gs_base, efer, apic_base;
    uint16_t selector[PROBE_SEGMENTS], ldtr, tr;
    uint16_t limits; /* of how many segments a byte behind 64 KiB gave a fault */
    struct probe_table gdtr, idtr;
    uint16_t reserved;
    uint32_t apic[PROBE_APIC_REGISTERS];
    uint32_t lingers; /* probe_linger() has got there */
} __attribute__((packed));
_Static_assert(offsetof(struct probe, gpr) == 512, "SDM vol. 2, FXSAVE");

/* As processor_start(), with what it found. */
bool probe_start(unsigned int index, struct probe *found);

#define DR6_RESET  0xffff0ff0U
#define DR7_RESET  0x400U
#define LVT_MASKED 0x10000U

/* Whether the two numbers differ; then prints `FAIL NAME.WHAT` as check_equal(). */
bool probe_differs(const char *name, const char *what, uint64_t wanted, uint64_t found);
/* The same for each register of which INIT and RESET leave the same, but CR0; returns how many
 * differ. With `unchecked-limits` on the command line this machine has no limits in real mode. */
unsigned int probe_compare(const char *name, const struct probe *found, bool x2apic);

/* From PROBE_PROTECTED on without paging. Virtual-8086 mode has no HLT; its pages are the user's. */
enum probe_mode {
    PROBE_COMPATIBILITY,
    PROBE_LONG5,
    PROBE_PAGING32,
    PROBE_VIRTUAL8086,
    PROBE_PROTECTED,
    PROBE_REAL
};

/* Puts the blob in its place; before probe_linger_in(). Returns its struct probe. */
volatile struct probe *probe_copy(void);
enum probe_last {
    PROBE_LOOP,
    PROBE_HALT,
    PROBE_RESET /* by a write to the reset control register, CF9H, and then as PROBE_HALT */
};
/* Goes to this mode with these, and stays there, doing that last of all. */
_Noreturn void probe_linger_in(enum probe_mode mode, uint32_t cr3, uint32_t cr4,
                               enum probe_last last);

#endif
