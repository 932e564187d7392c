/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef LATCH_TESTS_GUEST_LIB_PAYLOAD_H
#define LATCH_TESTS_GUEST_LIB_PAYLOAD_H
/*
 * tests/guest/lib/: what a guest payload stands on. A payload is one C file with a main() on
 * newlib; it runs in long mode with memory below 4 GiB mapped to itself, under Latch or bare under
 * GRUB, and ends with a verdict. Each check prints one line, `ok NAME` or `FAIL NAME: ...`.
 */
#include <setjmp.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "kernel/hypercall.h"
#include "kernel/x86.h"

/* ---- Checks and the verdict (check.c) ---- */

/* In the order in which the worse one wins; the numbers are the VERDICT hypercall's. */
enum verdict { VERDICT_SUCCESS, VERDICT_SKIP, VERDICT_ERROR, VERDICT_FAILURE };

/* Prints `ok NAME`, or `FAIL NAME:` and what the format says. Returns ok. */
bool check(bool ok, const char *name, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
/* The same for two numbers: `FAIL NAME: wanted 0x.., found 0x..`. */
bool check_equal(const char *name, uint64_t wanted, uint64_t found);
/* `absent NAME: why`: this machine does not have what the check is about. No effect on the
 * verdict; the suite knows on which machine which may be absent. */
void check_absent(const char *name, const char *why);
/* `skip NAME: why`: the check cannot be made here, so the verdict is SKIP at best. */
void check_skip(const char *name, const char *why);
/* The test itself is broken: prints, and ends with the verdict ERROR at least. */
_Noreturn void broken(const char *format, ...) __attribute__((format(printf, 1, 2)));
/* Ends the run with the worst verdict so far. Returning from main() does the same. */
_Noreturn void finish(void);

/* ---- The console (console.c): COM1, polled, or the debug port that `console=0xPORT` on the
 * command line names; printf() comes here. ---- */

void console_write(const char *text, size_t length);
/* Waits until the last bit has left. */
void console_drain(void);

/* ---- What the boot loader told (boot.c) ---- */

struct ram_range {
    uint64_t start, end; /* exclusive */
    uint32_t type;       /* 1 RAM, 2 reserved, 3 ACPI reclaim, 4 NVS, 5 bad */
};
#define RAM_RANGES_MAX 64U
struct boot {
    char command_line[512];
    unsigned int ranges;
    struct ram_range range[RAM_RANGES_MAX];
    unsigned int modules;
    struct {
        uint32_t start, end;
        char text[64];
    } module[8];
    uint64_t rsdp; /* address of an RSDP or of its copy, 0: none */
    bool multiboot2;
};
extern struct boot boot;
/* Whether the command line has this word, or `word=value`: then *value points behind the `=`. */
bool boot_word(const char *word, const char **value);

/* ---- Processors (processor.c) ---- */

#define SELECTOR_CODE64      0x08U
#define SELECTOR_DATA        0x10U
#define SELECTOR_CODE32      0x18U
#define SELECTOR_USER_CODE32 0x23U
#define SELECTOR_USER_DATA   0x2bU
#define SELECTOR_USER_CODE   0x33U
#define SELECTOR_TSS         0x38U /* the first processor's; each takes 16 bytes of the GDT */
#define PROCESSORS_MAX       16U

/* The registers as an exception or an interrupt found them. */
struct frame {
    uint64_t rax, rcx, rdx, rbx, rbp, rsi, rdi, r8, r9, r10, r11, r12, r13, r14, r15;
    uint64_t vector, error_code;
    uint64_t rip, cs, rflags, rsp, ss;
};

typedef void job_fn(void *argument);
/* May change the frame, and so where it returns to. */
typedef void handler_fn(struct frame *frame);

struct processor {
    unsigned int index; /* 0 is the one that booted */
    uint32_t apic_id;
    bool x2apic; /* its APIC is in that mode */
    volatile bool online;
    volatile unsigned int starts; /* how often it came through the trampoline */
    volatile unsigned int nmis;
    job_fn *volatile job; /* what it is to run; NULL again when it has */
    void *job_argument;
    bool expects_fault;
    jmp_buf recover;
    struct frame fault; /* the last expected one */
    uint64_t fault_cr2;
    uint64_t ring3_saved;
};
extern struct processor processors[PROCESSORS_MAX];
extern unsigned int processor_count; /* that the MADT names */

struct processor *this_processor(void);
/* Calls this on the interrupt or exception `vector` from now on; NULL: the default again. */
void set_handler(uint8_t vector, handler_fn *handler);

#define NO_FAULT 256U
/* Runs fn(argument) and returns NO_FAULT, or the vector of the exception that it met; then
 * *error_code and *cr2 (each may be NULL) are set and this_processor()->fault has the registers. */
unsigned int fault_of(job_fn *fn, void *argument, uint64_t *error_code, uint64_t *cr2);
/* Runs fn(argument) at CPL 3. A fault in it counts for a fault_of() around this. */
void run_at_cpl3(job_fn *fn, void *argument);

/* ---- APIC and the other processors (apic.c) ---- */

#define VECTOR_WAKE       0xf0U
#define VECTOR_TEST       0xf1U
#define VECTOR_TIMER      0xf2U
#define APIC_ID           0x20U
#define APIC_EOI          0xb0U
#define APIC_SVR          0xf0U
#define APIC_ICR          0x300U
#define APIC_LVT_TIMER    0x320U
#define APIC_TIMER_COUNT  0x380U
#define APIC_TIMER_NOW    0x390U
#define APIC_TIMER_DIVIDE 0x3e0U
#define ICR_FIXED         0x0000U
#define ICR_NMI           0x0400U
#define ICR_INIT          0x4500U
#define ICR_SIPI          0x4600U

/* Registers by their xAPIC offsets; goes through MSRs where this processor is in x2APIC mode. */
uint32_t apic_read(uint32_t offset);
void apic_write(uint32_t offset, uint32_t value);
/* Sends an inter-processor interrupt: `icr` is the low half of the ICR. */
void apic_send(uint32_t apic_id, uint32_t icr);
bool apic_has_x2apic(void);
/* Switches this processor to x2APIC; one that is started later follows. */
void apic_enter_x2apic(void);
/* INIT-SIPI-SIPI; true when it ran within a second. */
bool processor_start(unsigned int index);
/* Starts all; returns how many run, this one included. */
unsigned int processor_start_all(void);
/* Runs fn(argument) on a processor and waits until it has; false after ten seconds without. */
bool run_on(unsigned int index, job_fn *fn, void *argument);
/* The two halves of it, for another processor. */
void start_on(unsigned int index, job_fn *fn, void *argument);
bool wait_on(unsigned int index);
/* By the PIT's channel 2. */
void delay_us(unsigned int microseconds);

/* ---- MSRs: rdmsr_safe() and wrmsr_safe() of kernel/x86.h (processor.c) ---- */

/* ---- Latch (latch.c): the hypercalls of kernel/hypercall.h ---- */

/* CPUID says that this is a guest of Latch. */
bool under_latch(void);
/* VMCALL or VMMCALL, by the vendor that CPUID names. */
int64_t latch_hypercall(uint64_t number, uint64_t a, uint64_t b, uint64_t c, uint64_t d);
bool vendor_is_amd(void);
/* The same from 32-bit code (call32.asm); and a WRMSR there. */
int32_t latch_hypercall32(uint32_t number, uint32_t a, uint32_t b, uint32_t c);
void wrmsr32(uint32_t msr, uint32_t value);
/* Exits of a kind that a vCPU had so far. */
uint64_t latch_exits(enum exit_kind kind, unsigned int vcpu);

/* ---- Trips to the other modes (trips.c) ---- */

enum trip_mode {
    TRIP_REAL,
    TRIP_PROTECTED16,
    TRIP_PROTECTED32, /* no paging */
    TRIP_PAGE_4K,     /* 32-bit paging */
    TRIP_PAGE_4M,
    TRIP_PAE,
    TRIP_COMPATIBILITY,
    TRIP_LONG,
    TRIP_LONG5,
    TRIP_MODES
};
/* What the code in that mode found: CPUID leaf 0, EFER by RDMSR, CR0, CR4, IN from `port`, and
 * in 32- and 64-bit modes the VERSION hypercall (if asked for). */
struct trip {
    uint32_t eax, ebx, ecx, edx, efer, cr0, cr4, in, version;
};
void trip(enum trip_mode mode, uint16_t port, bool hypercall, struct trip *found);
const char *trip_name(enum trip_mode mode);
/* Whether there is 5-level paging: for TRIP_LONG5, and for a probe. */
bool has_la57(void);

#endif
