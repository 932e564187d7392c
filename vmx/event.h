/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef LATCH_VMX_EVENT_H
#define LATCH_VMX_EVENT_H
/* The interruption information that exits and entries share: SDM vol. 3 tables 25-17, 25-20. */
#include "kernel/exit.h"
#include "kernel/x86.h"

#define EVENT_INFO_VALID        (1U << 31)
#define EVENT_INFO_ERROR_CODE   (1U << 11)
#define EVENT_INFO_DEFINED      0x80000fffU /* bit 12 of an exit's means something else */
#define EVENT_INFO_TYPE_SHIFT   8
#define EVENT_INFO_TYPE(info)   ((enum info_type)((info) >> EVENT_INFO_TYPE_SHIFT & 7U))
#define EVENT_INFO_VECTOR(info) ((uint8_t)(info))

enum info_type {
    INFO_INTERRUPT = 0,
    INFO_NMI = 2,
    INFO_EXCEPTION = 3,
    INFO_SOFTWARE_INTERRUPT = 4,
    INFO_PRIVILEGED_EXCEPTION = 5,
    INFO_SOFTWARE_EXCEPTION = 6,
};

/* Whether an exit's information is of that exception, raised by no INT instruction. */
static inline bool event_is_exception(uint32_t info, uint8_t vector)
{
    return EVENT_INFO_TYPE(info) == INFO_EXCEPTION && EVENT_INFO_VECTOR(info) == vector;
}

/* The exception bitmap: those that vmx_exit() knows what to do with. */
static inline uint32_t event_exceptions(bool page_faults, bool machine_checks)
{
    return (page_faults ? 1U << VECTOR_PF : 0) | (machine_checks ? 1U << VECTOR_MC : 0);
}

/*
 * Makes of *event, an exception, what the CPU delivers when it arises while the event `vectoring`
 * (0: none) is being delivered: itself, perhaps with the EXT bit, or #DF (SDM vol. 3 tables 6-4,
 * 6-5, §6.13). False: a triple fault. Pure.
 */
bool event_combine(struct event *event, uint32_t vectoring);

#endif
