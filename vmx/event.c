/* SPDX-License-Identifier: BSD-2-Clause */
/* Events for the guest: SDM vol. 3 §25.8.3, §27.6, §28.2.4. */
#include "vmx/event.h"
#include "kernel/exit.h"
#include "vmx/controls.h"
#include "vmx/qualification.h"
#include "vmx/vcpu.h"
#include "vmx/vmcs.h"

/* After an exit the field's valid bit is clear: what stands there came after it. */
static bool event_waits(void)
{
    return vmread32(VMCS_ENTRY_EVENT) & EVENT_INFO_VALID;
}

void vmx_redeliver(void)
{
    uint32_t info = vmread32(VMCS_VECTORING_EVENT);
    if (!(info & EVENT_INFO_VALID))
        return;
    vmwrite32(VMCS_ENTRY_EVENT, info & EVENT_INFO_DEFINED);
    if (info & EVENT_INFO_ERROR_CODE)
        vmwrite32(VMCS_ENTRY_EVENT_ERROR_CODE, vmread32(VMCS_VECTORING_ERROR_CODE));
    switch (EVENT_INFO_TYPE(info)) {
    case INFO_NMI: /* its delivery has blocked NMIs already, and will do so again */
        vmwrite32(VMCS_GUEST_INTERRUPTIBILITY,
                  vmread32(VMCS_GUEST_INTERRUPTIBILITY) & ~BLOCKED_BY_NMI);
        break;
    case INFO_SOFTWARE_INTERRUPT:
    case INFO_PRIVILEGED_EXCEPTION:
    case INFO_SOFTWARE_EXCEPTION:
        vmwrite32(VMCS_ENTRY_INSTRUCTION_LENGTH, vmread32(VMCS_EXIT_INSTRUCTION_LENGTH));
        break;
    case INFO_INTERRUPT:
    case INFO_EXCEPTION:
        break;
    }
}

static uint32_t info_of(enum info_type type, uint8_t vector)
{
    return (uint32_t)type << EVENT_INFO_TYPE_SHIFT | vector;
}

static void deliver(uint32_t info, uint32_t error_code)
{
    vmwrite32(VMCS_ENTRY_EVENT_ERROR_CODE, error_code);
    vmwrite32(VMCS_ENTRY_EVENT, info | EVENT_INFO_VALID);
}

/* `vectoring` is 0 unless the exit interrupted a delivery, which this exception then follows. */
static bool deliver_exception(const struct event *event, uint32_t vectoring)
{
    if (event->vector == VECTOR_PF)
        write_cr2(event->cr2);
    struct event e = *event;
    if (!event_combine(&e, vectoring))
        return false;
    uint32_t info = info_of(INFO_EXCEPTION, e.vector);
    if (e.has_error_code && (vmread(VMCS_GUEST_CR0) & CR0_PE))
        info |= EVENT_INFO_ERROR_CODE;
    if (e.vector != VECTOR_DB && e.vector != VECTOR_MC) /* a fault pushes RF = 1: §18.3.1.1 */
        vmwrite(VMCS_GUEST_RFLAGS, vmread(VMCS_GUEST_RFLAGS) | RFLAGS_RF);
    deliver(info, e.error_code);
    return true;
}

bool vmx_inject(struct vcpu *v, const struct event *event, uint32_t vectoring)
{
    switch (event->type) {
    case EVENT_EXCEPTION:
        return deliver_exception(event, vectoring);
    case EVENT_INTERRUPT:
        deliver(info_of(INFO_INTERRUPT, event->vector), 0);
        break;
    case EVENT_NMI:
        if (vectoring)
            vmx_redeliver();
        vmx_pend_nmi(v);
        break;
    case EVENT_NONE:
        if (vectoring)
            vmx_redeliver();
        break;
    }
    return true;
}

/*
 * A trap that waits comes first, and injection would drop it (§27.7.3). Blocking by STI opens no window
 * (table C-1: the exit comes at once, with it still there), and does not hold back an NMI.
 */
void vmx_pend_nmi(struct vcpu *v)
{
    const uint32_t state = vmread32(VMCS_GUEST_INTERRUPTIBILITY);
    const bool blocked = state & (BLOCKED_BY_NMI | BLOCKED_BY_MOV_SS);
    if (!blocked && !event_waits() && vmread(VMCS_GUEST_PENDING_DEBUG) == 0) {
        if (state & BLOCKED_BY_STI)
            vmwrite32(VMCS_GUEST_INTERRUPTIBILITY, state & ~BLOCKED_BY_STI);
        deliver(info_of(INFO_NMI, VECTOR_NMI), 0);
        return;
    }
    vmx_of(v)->nmi_pending = true;
    vmwrite32(VMCS_PROC_CONTROLS, vmread32(VMCS_PROC_CONTROLS) | PROC_NMI_WINDOW_EXITING);
}

void vmx_nmi_window(struct vcpu *v)
{
    vmwrite32(VMCS_PROC_CONTROLS, vmread32(VMCS_PROC_CONTROLS) & ~PROC_NMI_WINDOW_EXITING);
    if (!vmx_of(v)->nmi_pending)
        return;
    vmx_of(v)->nmi_pending = false;
    vmx_pend_nmi(v);
}

void vmx_restore_nmi_blocking(uint32_t qualification, uint32_t vectoring)
{
    if (!vectoring && (qualification & QUALIFICATION_NMI_UNBLOCKING))
        vmwrite32(VMCS_GUEST_INTERRUPTIBILITY,
                  vmread32(VMCS_GUEST_INTERRUPTIBILITY) | BLOCKED_BY_NMI);
}
