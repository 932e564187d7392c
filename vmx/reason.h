/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef LATCH_VMX_REASON_H
#define LATCH_VMX_REASON_H
/* The basic exit reasons (SDM vol. 3 appendix C) and what each is in Latch's words. */
#include "kernel/exit.h"
#include <stdbool.h>
#include <stdint.h>

enum reason {
    REASON_EXCEPTION_OR_NMI = 0,
    REASON_NMI_WINDOW = 8,
    REASON_CPUID = 10,
    REASON_INVD = 13,
    REASON_INVLPG = 14,
    REASON_VMCALL = 18,
    REASON_CR_ACCESS = 28,
    REASON_IO = 30,
    REASON_RDMSR = 31,
    REASON_WRMSR = 32,
    REASON_SIPI = 4,
    REASON_MONITOR_TRAP = 37,
    REASON_EPT_VIOLATION = 48,
    REASON_EPT_MISCONFIGURATION = 49,
    REASON_INVPCID = 58,
    REASONS = 78,
};
#define REASON_ENTRY_FAILED (1U << 31)

struct reason_row {
    const char *name;
    uint8_t kind; /* enum exit_kind */
    bool length;  /* the instruction's length is valid and wanted */
    bool detail;  /* there is more to read for struct exit */
};
extern const struct reason_row reason_rows[REASONS];

/* The name of an exit reason as it stands in the VMCS, never NULL. */
const char *reason_name(uint32_t reason);
/* What a VM-instruction error means (SDM vol. 3 §31.4), never NULL. */
const char *instruction_error_name(uint32_t error);

#endif
