/* SPDX-License-Identifier: BSD-2-Clause */
#include "kernel/exit.h"

static const char *const names[EXIT_KINDS] = {
    [EXIT_CPUID] = "cpuid",
    [EXIT_HYPERCALL] = "hypercall",
    [EXIT_RDMSR] = "rdmsr",
    [EXIT_WRMSR] = "wrmsr",
    [EXIT_IO] = "io",
    [EXIT_XSETBV] = "xsetbv",
    [EXIT_CR_WRITE] = "cr-write",
    [EXIT_CR_READ] = "cr-read",
    [EXIT_PAGE_FAULT] = "page-fault",
    [EXIT_INVLPG] = "invlpg",
    [EXIT_INVPCID] = "invpcid",
    [EXIT_MEMORY] = "memory",
    [EXIT_FORBIDDEN] = "forbidden-instruction",
    [EXIT_NMI] = "nmi",
    [EXIT_NMI_WINDOW] = "nmi-window",
    [EXIT_INIT] = "init",
    [EXIT_SIPI] = "sipi",
    [EXIT_TRIPLE_FAULT] = "triple-fault",
    [EXIT_BAD_STATE] = "bad-state",
    [EXIT_UNKNOWN] = "unknown",
    [EXIT_MACHINE_CHECK] = "machine-check",
    [EXIT_RDPMC] = "rdpmc",
    [EXIT_TASK_SWITCH] = "task-switch",
};

const char *exit_name(enum exit_kind kind)
{
    return kind < EXIT_KINDS ? names[kind] : "?";
}
