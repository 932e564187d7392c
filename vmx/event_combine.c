/* SPDX-License-Identifier: BSD-2-Clause */
#include "kernel/x86.h"
#include "vmx/event.h"

enum class { BENIGN, CONTRIBUTORY, PAGE_FAULT, DOUBLE_FAULT };

#define VECTOR_CP 21

static enum class class_of(uint8_t vector) {
    switch (vector){
        case VECTOR_DE : case VECTOR_TS : case VECTOR_NP : case VECTOR_SS : case VECTOR_GP : case
        VECTOR_CP : return CONTRIBUTORY;
        case VECTOR_PF : return PAGE_FAULT;
        case VECTOR_DF : return DOUBLE_FAULT;
        default : return BENIGN;
    }
}

bool event_combine(struct event *event, uint32_t vectoring)
{
    if (!(vectoring & EVENT_INFO_VALID))
        return true;
    enum info_type type = EVENT_INFO_TYPE(vectoring);
    enum class first = BENIGN, second = class_of(event->vector);
    if (type == INFO_EXCEPTION)
        first = class_of(EVENT_INFO_VECTOR(vectoring));
    if (first == DOUBLE_FAULT && second != BENIGN)
        return false;
    if ((first == CONTRIBUTORY && second == CONTRIBUTORY) ||
        (first == PAGE_FAULT && second != BENIGN)) {
        *event =
            (struct event){.type = EVENT_EXCEPTION, .vector = VECTOR_DF, .has_error_code = true};
        return true;
    }
    bool software = type == INFO_SOFTWARE_INTERRUPT || type == INFO_SOFTWARE_EXCEPTION;
    if (event->has_error_code && second == CONTRIBUTORY && !software)
        event->error_code |= 1U;
    return true;
}
