/* SPDX-License-Identifier: BSD-2-Clause */
#include "svm/internal.h"
#include <stdio.h>

void svm_dump(struct vcpu *v, void (*line)(const char *text))
{
    const struct svm_vcpu *svm = svm_of(v);
    const struct vmcb_control *control = &svm->vmcb->control;
    const struct vmcb_save *save = &svm->vmcb->save;
    char text[120];

    snprintf(text, sizeof(text), "VMCB: exit %#lx, info %#lx %#lx, EXITINTINFO %#lx, next RIP %#lx",
             control->exit_code, control->exit_info_1, control->exit_info_2,
             control->exit_interrupt_info, control->next_rip);
    line(text);
    snprintf(text, sizeof(text), "VMCB: EVENTINJ %#lx, shadow %lu, CPL %u, NMIs %s%s%s",
             control->event_injection, control->interrupt_shadow & INTERRUPT_SHADOW,
             svm->vmcb->save.cpl, svm->nmi_blocked ? "blocked" : "open",
             svm->nmi_pending ? ", one pending" : "", svm->step == STEP_NONE ? "" : ", stepping");
    line(text);
    snprintf(text, sizeof(text), "VMCB: intercepts %08x %08x %08x %08x %08x %08x",
             control->intercepts[0], control->intercepts[1], control->intercepts[2],
             control->intercepts[3], control->intercepts[4], control->intercepts[5]);
    line(text);
    snprintf(text, sizeof(text), "VMCB: ASID %u, TLB control %u, clean %#x, nCR3 %#lx",
             control->asid, control->tlb_control, control->clean, control->nested_cr3);
    line(text);
    snprintf(text, sizeof(text), "VMCB: CR0 %#lx, CR3 %#lx, CR4 %#lx, EFER %#lx%s", save->cr0,
             save->cr3, save->cr4, save->efer, svm->shadow ? ", shadow tables" : "");
    line(text);
    if (control->exit_code == VMEXIT_TASK_SWITCH || (svm->shadow && save->cr3 != svm->cr3))
        line("VMCB: a hardware task switch, which shadow paging does not follow");
}
