/* SPDX-License-Identifier: BSD-2-Clause */
#include "kernel/x86.h"
#include "svm/event_code.h"
#include "svm/internal.h"

#define VECTOR_AC      17U
#define VECTOR_CP      21U
#define DR6_BS         (1UL << 14)
#define DR6_CAUSES     0xe00fUL /* BT, BS, BD, B3-B0 */
#define ALL_EXCEPTIONS 0xffffffffU

void svm_reinject(struct vcpu *v)
{
    struct vmcb_control *control = &vmcb_of(v)->control;

    /* Always the whole field: QEMU's TCG leaves an old error code in it. */
    control->event_injection = event_code_again(control->exit_interrupt_info);
}

void svm_block_nmis(struct vcpu *v, bool blocked)
{
    svm_of(v)->nmi_blocked = blocked;
    vmcb_intercept(vmcb_of(v), 3, INTERCEPT_IRET, blocked);
}

/* An exception whose handler finds the faulting instruction again, with RF set (§3.1.6). */
static bool is_fault(const struct event *event)
{
    return event->type == EVENT_EXCEPTION && event->vector != VECTOR_DB &&
           event->vector != VECTOR_DF && event->vector != VECTOR_MC;
}

bool svm_inject(struct vcpu *v, const struct event *event)
{
    struct svm_vcpu *svm = svm_of(v);
    struct vmcb *vmcb = svm->vmcb;
    uint64_t code = event_code(event, vmcb->save.cr0 & CR0_PE);

    if (event->type == EVENT_NMI) {
        if (svm->nmi_blocked) {
            svm->nmi_pending = true;
            return true;
        }
        svm_block_nmis(v, true);
    }
    if (!event_code_combine(vmcb->control.event_injection, code, &code))
        return false;
    if (event->type == EVENT_EXCEPTION && event->vector == VECTOR_PF)
        vmcb_set_cr2(vmcb, event->cr2);
    if (is_fault(event))
        vmcb->save.rflags |= RFLAGS_RF;
    vmcb->control.interrupt_shadow &= ~INTERRUPT_SHADOW;
    vmcb->control.event_injection = code;
    return true;
}

/*
 * NMIs open again behind the IRET, not before it. The intercept comes before it, so it runs with
 * RFLAGS.TF set: IRET loads TF from its frame, yet traps by the TF that it began with (§13.1.4).
 * With every exception intercepted, its own faults end the step too.
 */
void svm_step_iret(struct vcpu *v)
{
    struct svm_vcpu *svm = svm_of(v);
    struct vmcb *vmcb = svm->vmcb;

    svm->stepping = true;
    svm->step_own_tf = vmcb->save.rflags & RFLAGS_TF;
    svm->step_own_dr6 = vmcb->save.dr6;
    vmcb->save.rflags |= RFLAGS_TF;
    vmcb_set_dr6(vmcb, vmcb->save.dr6 & ~DR6_CAUSES);
    vmcb_intercept(vmcb, 3, INTERCEPT_IRET, false);
    vmcb_intercept(vmcb, INTERCEPT_EXCEPTIONS, ALL_EXCEPTIONS, true);
}

static void deliver_intercepted(struct vcpu *v, uint8_t vector)
{
    const struct vmcb_control *control = &vmcb_of(v)->control;
    struct event event = {
        .type = EVENT_EXCEPTION,
        .vector = vector,
        .has_error_code = vector == VECTOR_DF || (vector >= VECTOR_TS && vector <= VECTOR_PF) ||
                          vector == VECTOR_AC || vector == VECTOR_CP,
        .error_code = (uint32_t)control->exit_info_1,
        .cr2 = control->exit_info_2,
    };
    (void)svm_inject(v, &event);
}

static void deliver_pending_nmi(struct vcpu *v)
{
    if (!svm_of(v)->nmi_pending)
        return;
    svm_of(v)->nmi_pending = false;
    (void)svm_inject(v, &(struct event){.type = EVENT_NMI});
}

void svm_step_done(struct vcpu *v)
{
    struct svm_vcpu *svm = svm_of(v);
    struct vmcb *vmcb = svm->vmcb;
    uint8_t vector = (uint8_t)(vmcb->control.exit_code - VMEXIT_EXCEPTION_FIRST);
    uint64_t causes = vector == VECTOR_DB ? vmcb->save.dr6 & DR6_CAUSES : 0;

    if (!svm->step_own_tf)
        causes &= ~DR6_BS;
    svm->stepping = false;
    vmcb_set_dr6(vmcb, svm->step_own_dr6 | causes);
    vmcb_intercept(vmcb, INTERCEPT_EXCEPTIONS, ALL_EXCEPTIONS, false);
    svm_block_nmis(v, false);
    /* Bochs does not save DR6.BS here, so a #DB without a cause was the step's. */
    if (vector == VECTOR_DB && !causes && !svm->step_own_tf) {
        deliver_pending_nmi(v);
        return;
    }
    /* A fault: the IRET is still to come. */
    if (vector != VECTOR_DB && !svm->step_own_tf)
        vmcb->save.rflags &= ~RFLAGS_TF;
    deliver_intercepted(v, vector);
    /* One event at a time: an NMI that waited goes on waiting, for that handler's IRET. */
    svm_block_nmis(v, svm->nmi_pending);
}
