/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef LATCH_SVM_EVENT_CODE_H
#define LATCH_SVM_EVENT_CODE_H
/*
 * The 64-bit form of an event in EVENTINJ and EXITINTINFO (APM vol. 2 §15.20, §15.7.2): vector 7:0,
 * type 10:8, error code valid 11, valid 31, error code 63:32. Pure; 0 is no event.
 */
#include "kernel/exit.h"
#include <stdbool.h>
#include <stdint.h>

#define EVENT_CODE_VALID     (1UL << 31)
#define EVENT_CODE_HAS_ERROR (1UL << 11)

enum event_code_type {
    EVENT_CODE_INTERRUPT = 0,
    EVENT_CODE_NMI = 2,
    EVENT_CODE_EXCEPTION = 3,
    EVENT_CODE_SOFTWARE = 4,
};

static inline uint8_t event_code_vector(uint64_t code)
{
    return (uint8_t)code;
}
static inline enum event_code_type event_code_type(uint64_t code)
{
    return (enum event_code_type)(code >> 8 & 7);
}

/*
 * An event to inject. Without protected mode no exception pushes an error code
 * (APM vol. 2 §8.2, §14.1).
 */
uint64_t event_code(const struct event *event, bool protected_mode);

/*
 * What to inject so that the event in EXITINTINFO is delivered again. 0 for a software interrupt,
 * INT3 and INTO: RIP still points to the instruction, which simply runs again.
 */
uint64_t event_code_again(uint64_t exit_interrupt_info);

/*
 * What an exit broke off, on a CPU whose EXITINTINFO tells neither of interrupts nor of INT n, but
 * then still holds the last exception. `in_service` is the interrupt that was let in and whose
 * handler may not have begun, 0 if none. A #PF that is intercepted comes by injection alone, so one
 * that is told there is an old one.
 */
uint64_t event_code_untold(uint64_t told, bool page_faults_intercepted, uint8_t in_service);

/*
 * The event to deliver when delivering `first` led to `second` (APM vol. 2 §8.2.9): the second, or
 * a double fault. False, and nothing in *code, if it is a shutdown.
 */
bool event_code_combine(uint64_t first, uint64_t second, uint64_t *code);

#endif
