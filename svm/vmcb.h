/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef LATCH_SVM_VMCB_H
#define LATCH_SVM_VMCB_H
/*
 * The virtual machine control block (APM vol. 2 appendix B), and the setters for those of its
 * fields that the CPU may cache from one VMRUN to the next (§15.15): each clears its clean bit.
 * Fields without a setter (RIP, RSP, RAX, RFLAGS, TLB control, interrupt shadow, event injection)
 * are loaded by each VMRUN and may be written as they are.
 */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Intercepts by 32-bit word, from offset 00CH (table B-1). */
enum vmcb_intercept_3 {
    INTERCEPT_NMI = 1U << 1,
    INTERCEPT_INIT = 1U << 3,
    INTERCEPT_CR0_SELECTIVE = 1U << 5, /* writes that change more than TS and MP; any LMSW */
    INTERCEPT_RDTSC = 1U << 14,
    INTERCEPT_RDPMC = 1U << 15,
    INTERCEPT_CPUID = 1U << 18,
    INTERCEPT_IRET = 1U << 20,
    INTERCEPT_INVD = 1U << 22,
    INTERCEPT_INVLPG = 1U << 25,
    INTERCEPT_INVLPGA = 1U << 26,
    INTERCEPT_IOIO = 1U << 27,
    INTERCEPT_MSR = 1U << 28,
    INTERCEPT_TASK_SWITCH = 1U << 29,
    INTERCEPT_SHUTDOWN = 1U << 31,
};
enum vmcb_intercept_4 {
    INTERCEPT_VMRUN = 1U << 0,
    INTERCEPT_VMMCALL = 1U << 1,
    INTERCEPT_VMLOAD = 1U << 2,
    INTERCEPT_VMSAVE = 1U << 3,
    INTERCEPT_STGI = 1U << 4,
    INTERCEPT_CLGI = 1U << 5,
    INTERCEPT_SKINIT = 1U << 6,
    INTERCEPT_RDTSCP = 1U << 7,
    INTERCEPT_MONITOR = 1U << 10,
    INTERCEPT_MWAIT = 1U << 11,
    INTERCEPT_MWAIT_ARMED = 1U << 12,
    INTERCEPT_XSETBV = 1U << 13,
    INTERCEPT_RDPRU = 1U << 14,
};
enum vmcb_intercept_5 {
    INTERCEPT_INVPCID = 1U << 2,
    INTERCEPT_MCOMMIT = 1U << 3,
};
/* Word 0. */
#define INTERCEPT_CR_READ(cr)  (1U << (cr))
#define INTERCEPT_CR_WRITE(cr) (1U << (16 + (cr)))

/* Exit codes (appendix C). */
enum vmcb_exit {
    VMEXIT_CR0_READ = 0,
    VMEXIT_CR3_READ = 0x3,
    VMEXIT_CR4_READ = 0x4,
    VMEXIT_CR0_WRITE = 0x10,
    VMEXIT_CR3_WRITE = 0x13,
    VMEXIT_CR4_WRITE = 0x14,
    VMEXIT_EXCEPTION_FIRST = 0x40,
    VMEXIT_PAGE_FAULT = 0x4e,
    VMEXIT_MACHINE_CHECK = 0x52,
    VMEXIT_EXCEPTION_LAST = 0x5f,
    VMEXIT_NMI = 0x61,
    VMEXIT_INIT = 0x63,
    VMEXIT_CR0_SELECTIVE = 0x65,
    VMEXIT_RDTSC = 0x6e,
    VMEXIT_RDPMC = 0x6f,
    VMEXIT_CPUID = 0x72,
    VMEXIT_IRET = 0x74,
    VMEXIT_INVD = 0x76,
    VMEXIT_INVLPG = 0x79,
    VMEXIT_INVLPGA = 0x7a,
    VMEXIT_IOIO = 0x7b,
    VMEXIT_MSR = 0x7c,
    VMEXIT_TASK_SWITCH = 0x7d,
    VMEXIT_SHUTDOWN = 0x7f,
    VMEXIT_VMRUN = 0x80,
    VMEXIT_VMMCALL = 0x81,
    VMEXIT_VMLOAD = 0x82,
    VMEXIT_VMSAVE = 0x83,
    VMEXIT_STGI = 0x84,
    VMEXIT_CLGI = 0x85,
    VMEXIT_SKINIT = 0x86,
    VMEXIT_RDTSCP = 0x87,
    VMEXIT_MONITOR = 0x8a,
    VMEXIT_MWAIT = 0x8b,
    VMEXIT_MWAIT_ARMED = 0x8c,
    VMEXIT_XSETBV = 0x8d,
    VMEXIT_RDPRU = 0x8e,
    VMEXIT_INVPCID = 0xa2,
    VMEXIT_MCOMMIT = 0xa3,
    VMEXIT_NPF = 0x400,
};
/* VMEXIT_INVALID is -1; QEMU's TCG writes its low 32 bits alone. */
#define VMEXIT_INVALID_LOW 0xffffffffU

#define NPF_WRITE (1UL << 1) /* EXITINFO1 of a nested page fault (§15.25.6) */
#define NPF_FETCH (1UL << 4)
#define NPF_WALK  (1UL << 33)

/* TLB_CONTROL (table 15-9). */
enum vmcb_tlb_control { TLB_KEEP = 0, TLB_FLUSH_ALL = 1, TLB_FLUSH_ASID = 3 };

/* Clean bits (§15.15.3). */
enum vmcb_clean {
    CLEAN_INTERCEPTS = 1U << 0,
    CLEAN_PERMISSIONS = 1U << 1,
    CLEAN_ASID = 1U << 2,
    CLEAN_NESTED = 1U << 4, /* nCR3 and G_PAT */
    CLEAN_CR = 1U << 5,     /* CR0, CR3, CR4, EFER */
    CLEAN_DR = 1U << 6,
    CLEAN_TABLES = 1U << 7,
    CLEAN_SEGMENTS = 1U << 8, /* CS, DS, SS, ES and CPL */
    CLEAN_CR2 = 1U << 9,
    CLEAN_ALL = 0x3ffU,
};

#define NESTED_ENABLE    1UL
#define INTERRUPT_SHADOW 1UL

struct vmcb_segment {
    uint16_t selector, attributes;
    uint32_t limit;
    uint64_t base;
};
_Static_assert(sizeof(struct vmcb_segment) == 16, "APM vol. 2 table B-2");

struct vmcb_control {
    uint32_t intercepts[6];
    uint8_t reserved_018[0x28];
    uint64_t iopm, msrpm; /* physical addresses */
    uint64_t tsc_offset;
    uint32_t asid;
    uint8_t tlb_control;
    uint8_t reserved_05d[3];
    uint64_t virtual_interrupt;
    uint64_t interrupt_shadow;
    uint64_t exit_code, exit_info_1, exit_info_2;
    uint64_t exit_interrupt_info;
    uint64_t nested_control;
    uint8_t reserved_098[0x10];
    uint64_t event_injection;
    uint64_t nested_cr3;
    uint64_t lbr_control;
    uint32_t clean;
    uint32_t reserved_0c4;
    uint64_t next_rip;
    uint8_t fetched_bytes[16];
    uint8_t reserved_0e0[0x320];
};

struct vmcb_save {
    struct vmcb_segment es, cs, ss, ds, fs, gs, gdtr, ldtr, idtr, tr;
    uint8_t reserved_0a0[0x2b];
    uint8_t cpl;
    uint32_t reserved_0cc;
    uint64_t efer;
    uint8_t reserved_0d8[0x70];
    uint64_t cr4, cr3, cr0, dr7, dr6, rflags, rip;
    uint8_t reserved_180[0x58];
    uint64_t rsp;
    uint8_t reserved_1e0[0x18];
    uint64_t rax, star, lstar, cstar, sfmask, kernel_gs_base;
    uint64_t sysenter_cs, sysenter_esp, sysenter_eip;
    uint64_t cr2;
    uint8_t reserved_248[0x20];
    uint64_t pat;
    uint8_t reserved_270[0x990];
};

struct vmcb {
    struct vmcb_control control;
    struct vmcb_save save;
};

#define VMCB_AT(part, member, offset)                                                              \
    _Static_assert(offsetof(struct vmcb_##part, member) == (offset), "APM vol. 2 appendix B")
VMCB_AT(control, intercepts, 0x00);
VMCB_AT(control, iopm, 0x40);
VMCB_AT(control, tsc_offset, 0x50);
VMCB_AT(control, asid, 0x58);
VMCB_AT(control, tlb_control, 0x5c);
VMCB_AT(control, virtual_interrupt, 0x60);
VMCB_AT(control, interrupt_shadow, 0x68);
VMCB_AT(control, exit_code, 0x70);
VMCB_AT(control, exit_interrupt_info, 0x88);
VMCB_AT(control, nested_control, 0x90);
VMCB_AT(control, event_injection, 0xa8);
VMCB_AT(control, nested_cr3, 0xb0);
VMCB_AT(control, clean, 0xc0);
VMCB_AT(control, next_rip, 0xc8);
VMCB_AT(control, fetched_bytes, 0xd0);
VMCB_AT(save, es, 0x00);
VMCB_AT(save, gdtr, 0x60);
VMCB_AT(save, tr, 0x90);
VMCB_AT(save, cpl, 0xcb);
VMCB_AT(save, efer, 0xd0);
VMCB_AT(save, cr4, 0x148);
VMCB_AT(save, rip, 0x178);
VMCB_AT(save, rsp, 0x1d8);
VMCB_AT(save, rax, 0x1f8);
VMCB_AT(save, sysenter_cs, 0x228);
VMCB_AT(save, cr2, 0x240);
VMCB_AT(save, pat, 0x268);
#undef VMCB_AT
_Static_assert(offsetof(struct vmcb, save) == 0x400, "APM vol. 2 appendix B");
_Static_assert(sizeof(struct vmcb) == 4096, "a VMCB is one page");

#define VMCB_SETTER(name, type, part, member, clean_bit)                                           \
    static inline void vmcb_set_##name(struct vmcb *vmcb, type value)                              \
    {                                                                                              \
        vmcb->part.member = value;                                                                 \
        vmcb->control.clean &= ~(uint32_t)(clean_bit);                                             \
    }
VMCB_SETTER(asid, uint32_t, control, asid, CLEAN_ASID)
VMCB_SETTER(iopm, uint64_t, control, iopm, CLEAN_PERMISSIONS)
VMCB_SETTER(msrpm, uint64_t, control, msrpm, CLEAN_PERMISSIONS)
VMCB_SETTER(nested_control, uint64_t, control, nested_control, CLEAN_NESTED)
VMCB_SETTER(nested_cr3, uint64_t, control, nested_cr3, CLEAN_NESTED)
VMCB_SETTER(pat, uint64_t, save, pat, CLEAN_NESTED)
VMCB_SETTER(cr0, uint64_t, save, cr0, CLEAN_CR)
VMCB_SETTER(cr3, uint64_t, save, cr3, CLEAN_CR)
VMCB_SETTER(cr4, uint64_t, save, cr4, CLEAN_CR)
VMCB_SETTER(efer, uint64_t, save, efer, CLEAN_CR)
VMCB_SETTER(cr2, uint64_t, save, cr2, CLEAN_CR2)
VMCB_SETTER(dr6, uint64_t, save, dr6, CLEAN_DR)
VMCB_SETTER(dr7, uint64_t, save, dr7, CLEAN_DR)
VMCB_SETTER(cpl, uint8_t, save, cpl, CLEAN_SEGMENTS)
#undef VMCB_SETTER

/* Set or clear `bits` in intercept word `word`. */
static inline void vmcb_intercept(struct vmcb *vmcb, unsigned int word, uint32_t bits, bool on)
{
    if (on)
        vmcb->control.intercepts[word] |= bits;
    else
        vmcb->control.intercepts[word] &= ~bits;
    vmcb->control.clean &= ~(uint32_t)CLEAN_INTERCEPTS;
}
#define INTERCEPT_EXCEPTIONS 2U /* the word with a bit for each exception vector */

#endif
