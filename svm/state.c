/* SPDX-License-Identifier: BSD-2-Clause */
#include "kernel/x86.h"
#include "svm/internal.h"

#define SEGMENT_DPL_SHIFT 5U

static void put(struct vmcb_segment *to, const struct segment *from)
{
    to->selector = from->selector;
    to->attributes = from->attributes;
    to->limit = from->limit;
    to->base = from->base;
}

static void get(const struct vmcb_segment *from, struct segment *to)
{
    to->selector = from->selector;
    to->attributes = from->attributes;
    to->limit = from->limit;
    to->base = from->base;
}

static void put_segments(struct vmcb *vmcb, const struct vcpu_state *state)
{
    struct vmcb_save *save = &vmcb->save;

    put(&save->es, &state->segment[SEG_ES]);
    put(&save->cs, &state->segment[SEG_CS]);
    put(&save->ss, &state->segment[SEG_SS]);
    put(&save->ds, &state->segment[SEG_DS]);
    put(&save->fs, &state->segment[SEG_FS]);
    put(&save->gs, &state->segment[SEG_GS]);
    put(&save->ldtr, &state->segment[SEG_LDTR]);
    put(&save->tr, &state->segment[SEG_TR]);
    save->gdtr = (struct vmcb_segment){.limit = state->gdtr.limit, .base = state->gdtr.base};
    save->idtr = (struct vmcb_segment){.limit = state->idtr.limit, .base = state->idtr.base};
}

/* The VMCB keeps the CPL by itself; SS.DPL says it in all states that a vCPU starts in. */
static uint8_t cpl_of(const struct vcpu_state *state)
{
    if (!(state->cr0 & CR0_PE))
        return 0;
    if (state->rflags & RFLAGS_VM)
        return 3;
    return state->segment[SEG_SS].attributes >> SEGMENT_DPL_SHIFT & 3;
}

/* The shadow tables, if any, are loaded next: svm_load_paging(). */
static void put_control_registers(struct vcpu *v, const struct vcpu_state *state)
{
    const struct control_registers guest = {
        .cr0 = state->cr0, .cr4 = state->cr4, .efer = state->efer};
    struct svm_vcpu *svm = svm_of(v);

    svm->shadow = svm->no_wp = false;
    svm->cr3 = 0;
    svm_intercept_task_switch(svm);
    v->cr3 = state->cr3;
    vmcb_set_cr3(svm->vmcb, v->paging == PAGED_SHADOW ? svm->cr3 : state->cr3);
    svm_put_control_registers(v, &guest);
}

static void put_registers(struct vmcb *vmcb, const struct vcpu_state *state)
{
    struct vmcb_save *save = &vmcb->save;

    save->rip = state->rip;
    save->rflags = state->rflags | RFLAGS_FIXED1;
    svm_set_cr2(vmcb, state->cr2);
    vmcb_set_dr6(vmcb, state->dr6);
    vmcb_set_dr7(vmcb, state->dr7);
    vmcb_set_pat(vmcb, state->pat);
    vmcb_set_cpl(vmcb, cpl_of(state));
    save->star = state->star;
    save->lstar = state->lstar;
    save->cstar = state->cstar;
    save->sfmask = state->sfmask;
    save->kernel_gs_base = state->kernel_gs_base;
    save->sysenter_cs = state->sysenter_cs;
    save->sysenter_esp = state->sysenter_esp;
    save->sysenter_eip = state->sysenter_eip;
}

void svm_set_state(struct vcpu *v, const struct vcpu_state *state)
{
    struct svm_vcpu *svm = svm_of(v);
    struct vmcb *vmcb = svm->vmcb;

    put_segments(vmcb, state);
    put_registers(vmcb, state);
    put_control_registers(v, state);
    vmcb->control.interrupt_shadow = state->interrupt_shadow ? INTERRUPT_SHADOW : 0;
    vmcb->control.event_injection = 0;
    vmcb->control.exit_interrupt_info = 0;
    svm->step = STEP_NONE;
    svm->nmi_pending = false;
    svm_intercept_exceptions(v);
    svm_block_nmis(v, state->nmi_blocked);
    vmcb->control.clean = 0;
}

static void get_segments(const struct vmcb_save *save, struct vcpu_state *state)
{
    get(&save->es, &state->segment[SEG_ES]);
    get(&save->cs, &state->segment[SEG_CS]);
    get(&save->ss, &state->segment[SEG_SS]);
    get(&save->ds, &state->segment[SEG_DS]);
    get(&save->fs, &state->segment[SEG_FS]);
    get(&save->gs, &state->segment[SEG_GS]);
    get(&save->ldtr, &state->segment[SEG_LDTR]);
    get(&save->tr, &state->segment[SEG_TR]);
    state->gdtr.limit = save->gdtr.limit;
    state->gdtr.base = save->gdtr.base;
    state->idtr.limit = save->idtr.limit;
    state->idtr.base = save->idtr.base;
}

/* SS.DPL is the CPL as everywhere else, though SYSRET on AMD can leave another in the register. */
void svm_get_state(struct vcpu *v, struct vcpu_state *state)
{
    const struct svm_vcpu *svm = svm_of(v);
    const struct vmcb *vmcb = svm->vmcb;
    const struct vmcb_save *save = &vmcb->save;

    get_segments(save, state);
    state->segment[SEG_SS].attributes &= (uint16_t) ~(3U << SEGMENT_DPL_SHIFT);
    state->segment[SEG_SS].attributes |= (uint16_t)(save->cpl << SEGMENT_DPL_SHIFT);
    state->rip = save->rip;
    state->rflags = save->rflags;
    state->cr0 = svm_read_cr0(v);
    state->cr2 = save->cr2;
    state->cr3 = svm_read_cr3(v);
    state->cr4 = svm_read_cr4(v);
    state->efer = svm_read_efer(v);
    state->dr6 = save->dr6;
    state->dr7 = save->dr7;
    state->pat = save->pat;
    state->star = save->star;
    state->lstar = save->lstar;
    state->cstar = save->cstar;
    state->sfmask = save->sfmask;
    state->kernel_gs_base = save->kernel_gs_base;
    state->sysenter_cs = save->sysenter_cs;
    state->sysenter_esp = save->sysenter_esp;
    state->sysenter_eip = save->sysenter_eip;
    state->nmi_blocked = svm->nmi_blocked;
    state->interrupt_shadow = vmcb->control.interrupt_shadow & INTERRUPT_SHADOW;
}
