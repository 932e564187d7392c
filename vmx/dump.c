/* SPDX-License-Identifier: BSD-2-Clause */
/* The VMCS in words, after an exit that Latch could not go on from. */
#include "vmx/reason.h"
#include "vmx/vcpu.h"
#include "vmx/vmcs.h"
#include "vmx/vmx.h"
#include <stdio.h>

#define LINE      120U
#define FIELD_MAX 46U /* two blanks, the longest name, a blank, 16 digits */

struct field_name {
    const char *name;
    uint64_t encoding;
};

#define FIELD_NAME(field, number, width) {.name = #field, .encoding = (number)},
static const struct field_name fields[] = {VMCS_FIELDS(FIELD_NAME)};
#undef FIELD_NAME

/* The registers are dumped by the neutral part, as the guest reads them; here it is what the VMCS
 * alone tells. */
static bool wanted(uint64_t encoding)
{
    if (encoding == VMCS_INSTRUCTION_ERROR.encoding)
        return false; /* by now that of a field which this CPU lacks */
    switch ((enum vmcs_type)VMCS_TYPE_OF(encoding)) {
    case VMCS_TYPE_CONTROL:
    case VMCS_TYPE_READ_ONLY:
        return true;
    case VMCS_TYPE_GUEST:
        return encoding == VMCS_GUEST_INTERRUPTIBILITY.encoding ||
               encoding == VMCS_GUEST_ACTIVITY.encoding ||
               encoding == VMCS_GUEST_PENDING_DEBUG.encoding ||
               (encoding >= VMCS_GUEST_CR0.encoding && encoding <= VMCS_GUEST_CR4.encoding) ||
               (encoding >= VMCS_GUEST_PDPTE0.encoding && encoding <= VMCS_GUEST_PDPTE3.encoding);
    case VMCS_TYPE_HOST:
        break;
    }
    return false;
}

static void dump_fields(void (*line)(const char *text))
{
    char text[LINE];
    size_t used = 0;
    for (unsigned int i = 0; i < sizeof(fields) / sizeof(fields[0]); i++) {
        uint64_t value;
        if (!wanted(fields[i].encoding) || !vmcs_read(fields[i].encoding, &value))
            continue;
        if (used + FIELD_MAX >= sizeof(text)) {
            line(text);
            used = 0;
        }
        used += (size_t)snprintf(text + used, sizeof(text) - used, "%s%s %lx", used ? "  " : "",
                                 fields[i].name, value);
    }
    if (used)
        line(text);
}

void vmx_dump(struct vcpu *v, void (*line)(const char *text))
{
    char text[LINE];
    const struct vmx_vcpu *vmx = v->backend;
    uint64_t reason = 0, qualification = 0;
    if (vmx->entry_error) {
        snprintf(text, sizeof(text), "VM entry failed, VM-instruction error %u: %s",
                 vmx->entry_error, instruction_error_name(vmx->entry_error));
    } else {
        (void)vmcs_read(VMCS_EXIT_REASON.encoding, &reason);
        (void)vmcs_read(VMCS_EXIT_QUALIFICATION.encoding, &qualification);
        snprintf(text, sizeof(text), "%s: %s (reason %lx), qualification %lx",
                 reason & REASON_ENTRY_FAILED ? "VM entry failed" : "VM exit",
                 reason_name((uint32_t)reason), reason, qualification);
    }
    line(text);
    dump_fields(line);
}
