/* SPDX-License-Identifier: BSD-2-Clause */
#include "svm/event_code.h"

#define VECTOR_NMI          2U
#define VECTOR_BREAKPOINT   3U
#define VECTOR_OVERFLOW     4U
#define VECTOR_DOUBLE_FAULT 8U
#define VECTOR_PAGE_FAULT   14U
#define EXCEPTIONS          32U

static uint64_t make(enum event_code_type type, uint8_t vector)
{
    return EVENT_CODE_VALID | (uint64_t)type << 8 | vector;
}

uint64_t event_code(const struct event *event, bool protected_mode)
{
    switch (event->type) {
    case EVENT_EXCEPTION:
        if (event->has_error_code && protected_mode)
            return make(EVENT_CODE_EXCEPTION, event->vector) | EVENT_CODE_HAS_ERROR |
                   (uint64_t)event->error_code << 32;
        return make(EVENT_CODE_EXCEPTION, event->vector);
    case EVENT_INTERRUPT:
        return make(EVENT_CODE_INTERRUPT, event->vector);
    case EVENT_NMI:
        return make(EVENT_CODE_NMI, VECTOR_NMI);
    case EVENT_NONE:
        break;
    }
    return 0;
}

uint64_t event_code_again(uint64_t exit_interrupt_info)
{
    uint8_t vector = event_code_vector(exit_interrupt_info);

    if (!(exit_interrupt_info & EVENT_CODE_VALID))
        return 0;
    switch (event_code_type(exit_interrupt_info)) {
    case EVENT_CODE_INTERRUPT:
        return make(EVENT_CODE_INTERRUPT, vector);
    case EVENT_CODE_NMI:
        return make(EVENT_CODE_NMI, VECTOR_NMI);
    case EVENT_CODE_EXCEPTION:
        /* QEMU's TCG gives this type to interrupts and NMIs too; no exception has their vectors. */
        if (vector >= EXCEPTIONS)
            return make(EVENT_CODE_INTERRUPT, vector);
        if (vector == VECTOR_NMI)
            return make(EVENT_CODE_NMI, VECTOR_NMI);
        if (vector == VECTOR_BREAKPOINT || vector == VECTOR_OVERFLOW)
            return 0;
        if (!(exit_interrupt_info & EVENT_CODE_HAS_ERROR))
            return make(EVENT_CODE_EXCEPTION, vector);
        return make(EVENT_CODE_EXCEPTION, vector) | EVENT_CODE_HAS_ERROR |
               (exit_interrupt_info & ~0xffffffffUL);
    case EVENT_CODE_SOFTWARE:
    default:
        return 0;
    }
}

uint64_t event_code_untold(uint64_t told, bool page_faults_intercepted, uint8_t in_service)
{
    if (in_service != 0)
        return make(EVENT_CODE_INTERRUPT, in_service);
    if (page_faults_intercepted && event_code_type(told) == EVENT_CODE_EXCEPTION &&
        event_code_vector(told) == VECTOR_PAGE_FAULT)
        return 0;
    return told;
}

/* #DE, #TS, #NP, #SS, #GP; #CP where there is one (APM vol. 2 table 8-3). */
static bool contributory(uint8_t vector)
{
    return vector == 0 || (vector >= 10 && vector <= 13) || vector == 21;
}

bool event_code_combine(uint64_t first, uint64_t second, uint64_t *code)
{
    uint8_t before = event_code_vector(first);
    uint8_t after = event_code_vector(second);
    bool fault = contributory(after) || after == VECTOR_PAGE_FAULT;

    *code = second;
    if (!(first & EVENT_CODE_VALID) || event_code_type(first) != EVENT_CODE_EXCEPTION ||
        event_code_type(second) != EVENT_CODE_EXCEPTION)
        return true;
    if (before == VECTOR_DOUBLE_FAULT && fault) {
        *code = 0;
        return false;
    }
    if ((contributory(before) && contributory(after)) || (before == VECTOR_PAGE_FAULT && fault))
        *code = make(EVENT_CODE_EXCEPTION, VECTOR_DOUBLE_FAULT) | EVENT_CODE_HAS_ERROR;
    return true;
}
