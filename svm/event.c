/* SPDX-License-Identifier: BSD-2-Clause */
#include "kernel/apic.h"
#include "kernel/machine.h"
#include "kernel/x86.h"
#include "svm/event_code.h"
#include "svm/internal.h"

#define VECTOR_AC      17U
#define VECTOR_CP      21U
#define DR6_BS         (1UL << 14)
#define DR6_CAUSES     0xe00fUL /* BT, BS, BD, B3-B0 */
#define ALL_EXCEPTIONS 0xffffffffU
#define CR0_MSW        0xfUL /* what LMSW writes */

/*
 * What the exit broke off. Where EXITINTINFO does not tell of each event, an interrupt in service was
 * let in by RFLAGS.IF; unless it is the event that was injected, and its handler has not begun.
 */
static uint64_t broken_off(const struct vmcb *vmcb, uint64_t injected, uint64_t injected_rip)
{
    uint64_t told = vmcb->control.exit_interrupt_info;
    bool intercepted = vmcb->control.intercepts[INTERCEPT_EXCEPTIONS] & 1U << VECTOR_PF;

    if (machine_tells_interrupts() || (injected && injected_rip == vmcb->save.rip))
        return told;
    return event_code_untold(told, intercepted,
                             vmcb->save.rflags & RFLAGS_IF ? apic_in_service() : 0);
}

void svm_reinject(struct vcpu *v)
{
    struct svm_vcpu *svm = svm_of(v);
    struct vmcb_control *control = &svm->vmcb->control;
    uint64_t injected = control->event_injection;

    /* Always the whole field: QEMU's TCG leaves an old error code in it. */
    control->event_injection = event_code_again(broken_off(svm->vmcb, injected, svm->injected_rip));
    svm->injected_rip = svm->vmcb->save.rip;
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

void svm_intercept_exceptions(struct vcpu *v)
{
    uint32_t always =
        (v->paging == PAGED_SHADOW ? 1U << VECTOR_PF : 0) | (vcpu_has_sgx(v) ? 1U << VECTOR_MC : 0);

    vmcb_intercept(vmcb_of(v), INTERCEPT_EXCEPTIONS, ~always, false);
    vmcb_intercept(vmcb_of(v), INTERCEPT_EXCEPTIONS, always, true);
}

/*
 * The instruction runs with RFLAGS.TF set, without its intercept, and in an interrupt shadow: no
 * interrupt may come before it, and push TF. With every exception intercepted, its own faults end the
 * step too.
 */
static void begin_step(struct vcpu *v, enum svm_step step)
{
    struct svm_vcpu *svm = svm_of(v);
    struct vmcb *vmcb = svm->vmcb;

    svm->step = step;
    svm->step_own_tf = vmcb->save.rflags & RFLAGS_TF;
    svm->step_own_dr6 = vmcb->save.dr6;
    svm->step_own_cr0 = svm_read_cr0(v);
    vmcb->save.rflags |= RFLAGS_TF;
    vmcb->control.interrupt_shadow |= INTERRUPT_SHADOW;
    vmcb_set_dr6(vmcb, vmcb->save.dr6 & ~DR6_CAUSES);
    vmcb_intercept(vmcb, INTERCEPT_EXCEPTIONS, ALL_EXCEPTIONS, true);
}

/* NMIs open again behind the IRET, not before it. The intercept comes before it, and it loads TF
 * from its frame, yet traps by the TF that it began with (§13.1.4). */
void svm_step_iret(struct vcpu *v)
{
    begin_step(v, STEP_IRET);
    vmcb_intercept(vmcb_of(v), 3, INTERCEPT_IRET, false);
}

/* An LMSW may exit twice, by both intercepts of CR0. */
void svm_step_msw(struct vcpu *v, bool write)
{
    struct vmcb *vmcb = vmcb_of(v);

    if (svm_of(v)->step != STEP_MSW)
        begin_step(v, STEP_MSW);
    vmcb->control.interrupt_shadow |= INTERRUPT_SHADOW;
    vmcb_intercept(vmcb, 0, write ? INTERCEPT_CR_WRITE(0) : INTERCEPT_CR_READ(0), false);
    if (write)
        vmcb_intercept(vmcb, 3, INTERCEPT_CR0_SELECTIVE, false);
}

/* Another vCPU may have made a MOV to CR0 of the LMSW meanwhile: no more than that may change. */
static void end_msw(struct vcpu *v)
{
    struct svm_vcpu *svm = svm_of(v);
    struct vmcb *vmcb = svm->vmcb;
    uint64_t msw = vmcb->save.cr0 & CR0_MSW;

    svm_settle_cr0(v, (svm->step_own_cr0 & ~CR0_MSW) | msw);
    vmcb_intercept(vmcb, 3, INTERCEPT_CR0_SELECTIVE, true);
    if (!svm->step_own_tf)
        vmcb->save.rflags &= ~RFLAGS_TF;
}

static void end_step(struct vcpu *v, uint64_t causes)
{
    struct svm_vcpu *svm = svm_of(v);

    vmcb_set_dr6(svm->vmcb, svm->step_own_dr6 | causes);
    svm_intercept_exceptions(v);
    if (svm->step == STEP_MSW)
        end_msw(v);
    else
        svm_block_nmis(v, false);
    svm->step = STEP_NONE;
}

/* An event comes before the instruction, which is still to come: one event at a time, so an NMI
 * that waited for the IRET goes on waiting, for that handler's. */
static void abandon_step(struct vcpu *v)
{
    struct svm_vcpu *svm = svm_of(v);

    end_step(v, 0);
    if (!svm->step_own_tf)
        svm->vmcb->save.rflags &= ~RFLAGS_TF;
    svm_block_nmis(v, svm->nmi_blocked || svm->nmi_pending);
}

bool svm_inject(struct vcpu *v, const struct event *event)
{
    struct svm_vcpu *svm = svm_of(v);
    struct vmcb *vmcb = svm->vmcb;
    uint64_t code = event_code(event, vmcb->save.cr0 & CR0_PE);

    if (event->type == EVENT_NMI && svm->nmi_blocked) {
        svm->nmi_pending = true;
        return true;
    }
    if (svm->step != STEP_NONE)
        abandon_step(v);
    if (event->type == EVENT_NMI)
        svm_block_nmis(v, true);
    if (!event_code_combine(vmcb->control.event_injection, code, &code))
        return false;
    if (event->type == EVENT_EXCEPTION && event->vector == VECTOR_PF)
        svm_set_cr2(vmcb, event->cr2);
    if (is_fault(event))
        vmcb->save.rflags |= RFLAGS_RF;
    vmcb->control.interrupt_shadow &= ~INTERRUPT_SHADOW;
    vmcb->control.event_injection = code;
    svm->injected_rip = vmcb->save.rip;
    return true;
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
    if (!svm_of(v)->nmi_pending || svm_of(v)->nmi_blocked)
        return;
    svm_of(v)->nmi_pending = false;
    (void)svm_inject(v, &(struct event){.type = EVENT_NMI});
}

void svm_step_done(struct vcpu *v)
{
    struct svm_vcpu *svm = svm_of(v);
    uint8_t vector = (uint8_t)(svm->vmcb->control.exit_code - VMEXIT_EXCEPTION_FIRST);
    uint64_t causes = svm->vmcb->save.dr6 & DR6_CAUSES;

    if (vector != VECTOR_DB) {
        deliver_intercepted(v, vector);
        return;
    }
    /* Bochs does not save DR6.BS here, so a #DB without a cause was the step's. */
    if (!svm->step_own_tf)
        causes &= ~DR6_BS;
    else if (!causes)
        causes = DR6_BS;
    end_step(v, causes);
    if (!causes) {
        deliver_pending_nmi(v);
        return;
    }
    deliver_intercepted(v, vector);
    /* One event at a time. */
    svm_block_nmis(v, svm->nmi_blocked || svm->nmi_pending);
}
