/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef LATCH_VMX_EVENT_H
#define LATCH_VMX_EVENT_H
/* The interruption information that exits and entries share: SDM vol. 3 tables 25-17, 25-20. */
#include "kernel/exit.h"

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

/*
 * Makes of *event, an exception, what the CPU delivers when it arises while the event `vectoring`
 * (0: none) is being delivered: itself, perhaps with the EXT bit, or #DF (SDM vol. 3 tables 6-4,
 * 6-5, §6.13). False: a triple fault. Pure.
 */
bool event_combine(struct event *event, uint32_t vectoring);

#endif
