/* SPDX-License-Identifier: BSD-2-Clause */
#include "kernel/console.h"
#include "kernel/machine.h"
#include "kernel/memory.h"
#include "kernel/x86.h"
#include "svm/internal.h"
#include "svm/permissions.h"
#include <errno.h>
#include <string.h>

/* Instructions that fault when the model hides them, by which intercept. It comes after what the
 * instruction itself checks (§15.9, table 15-7), which gives #GP or #PF where a CPU without it gives
 * #UD: at CPL 3, of CR4.TSD, of ECX and the address. */
static const struct {
    enum instruction_group group;
    unsigned int word;
    uint32_t bits;
    bool late;
} hideable[] = {
    {.group = INSTRUCTION_RDTSC, .word = 3, .bits = INTERCEPT_RDTSC}, /* no model has TSD then */
    {.group = INSTRUCTION_RDTSCP, .word = 4, .bits = INTERCEPT_RDTSCP, .late = true},
    {.group = INSTRUCTION_MONITOR,
     .late = true,
     .word = 4,
     .bits = INTERCEPT_MONITOR | INTERCEPT_MWAIT | INTERCEPT_MWAIT_ARMED},
    {.group = INSTRUCTION_RDPRU, .word = 4, .bits = INTERCEPT_RDPRU},
    {.group = INSTRUCTION_INVPCID, .word = 5, .bits = INTERCEPT_INVPCID, .late = true},
    {.group = INSTRUCTION_MCOMMIT, .word = 5, .bits = INTERCEPT_MCOMMIT},
};
#define HIDEABLE (sizeof(hideable) / sizeof(hideable[0]))

static int refuse_model(const struct vcpu *v, const char *what)
{
    console_line("latch: vCPU %u: %s", v->index, what);
    return -ENOTSUP;
}

#define INSTRUCTION(group) (1U << INSTRUCTION_##group)
/* By CR4.OSXSAVE; and INVLPGB by a bit of the VMCB that Latch never sets. */
#define HIDDEN_WITHOUT_INTERCEPT (INSTRUCTION(XSAVE) | INSTRUCTION(INVLPGB))

static uint32_t hidden_instructions(const struct vcpu *v)
{
    return v->host_instructions & ~v->rules.instructions;
}

static int intercept_instructions(struct vcpu *v)
{
    uint32_t hidden = hidden_instructions(v);
    uint32_t shown = v->host_instructions & v->rules.instructions;

    /* MONITORX and MWAITX exit by the intercepts of MONITOR and MWAIT (APM vol. 3). */
    if ((hidden & INSTRUCTION(MONITOR)) && (shown & INSTRUCTION(MWAITX)))
        return refuse_model(v, "the model hides monitor but not mwaitx, and one intercept serves "
                               "both: hide mwaitx too");
    if (shown & INSTRUCTION(INVLPGB))
        return refuse_model(v, "the model has invlpgb, which Latch does not give to guests: "
                               "hide it");
    for (size_t i = 0; i < HIDEABLE; i++)
        if (hidden >> hideable[i].group & 1)
            vmcb_intercept(vmcb_of(v), hideable[i].word, hideable[i].bits, true);
    return 0;
}

/* XCR0 bits that the CPU would accept and the model does not have. */
static uint64_t hidden_xcr0(const struct vcpu *v)
{
    return v->rules.cr4_allowed & CR4_OSXSAVE ? v->host_xcr0 & ~v->rules.xcr0_allowed : 0;
}

/* Those that nothing makes fault. */
static uint32_t free_instructions(const struct vcpu *v)
{
    uint32_t left = hidden_instructions(v) & ~HIDDEN_WITHOUT_INTERCEPT;

    if (left & INSTRUCTION(MONITOR))
        left &= ~INSTRUCTION(MWAITX);
    if (!(v->rules.instructions & INSTRUCTION(XSAVE))) /* CR4.OSXSAVE is then 0 */
        left &= ~INSTRUCTION(XSAVES);
    for (size_t i = 0; i < HIDEABLE; i++)
        left &= ~(1U << hideable[i].group);
    return machine_intercepts_xsetbv() ? left
                                       : left | (hidden_instructions(v) & INSTRUCTION(RDTSCP));
}

void svm_unenforced(const struct vcpu *v, struct unenforced *found)
{
    found->xcr0 = machine_intercepts_xsetbv() ? 0 : hidden_xcr0(v);
    found->instructions = free_instructions(v);
    found->late = 0;
    for (size_t i = 0; i < HIDEABLE; i++)
        found->late |= hideable[i].late ? 1U << hideable[i].group : 0;
    if (found->late & INSTRUCTION(MONITOR))
        found->late |= INSTRUCTION(MWAITX);
    found->late &= hidden_instructions(v) & ~found->instructions;
}

/* A bit that the CPU would accept and the model does not have must not come through. */
static void intercept_registers(struct vcpu *v)
{
    const struct svm_cpu *cpu = svm_of(v)->cpu;

    if (!machine_checks_cr4() || (cpu->cr4 & ~v->rules.cr4_allowed))
        vmcb_intercept(vmcb_of(v), 0, INTERCEPT_CR_WRITE(4), true);
    v->rows_late = vcpu_rows_late(v);
    if (!(v->rules.cr4_allowed & CR4_OSXSAVE))
        return;
    if (!machine_intercepts_xsetbv())
        v->rows_late = DYNAMIC_XSAVES;
    /* Even where the CPU itself refuses what the model does not have: CPUID follows XCR0. */
    vmcb_intercept(vmcb_of(v), 4, INTERCEPT_XSETBV, true);
}

/* What a guest on shadow tables must not do without Latch; svm_intercept_differences() adds what
 * depends on its registers. */
static void intercept_paging(struct vcpu *v)
{
    struct vmcb *vmcb = vmcb_of(v);

    vmcb_intercept(vmcb, 0, INTERCEPT_CR_READ(3) | INTERCEPT_CR_WRITE(3) | INTERCEPT_CR_WRITE(4),
                   true);
    vmcb_intercept(vmcb, 3, INTERCEPT_CR0_SELECTIVE | INTERCEPT_INVLPG, true);
    if (v->host_instructions & INSTRUCTION(INVPCID))
        vmcb_intercept(vmcb, 5, INTERCEPT_INVPCID, true);
    if (!machine_intercepts_task_switch())
        console_line("vcpu %u: shadow paging, but this CPU has no intercept for hardware task "
                     "switches: the first page fault behind one ends the run",
                     v->index);
}

static int intercept(struct vcpu *v)
{
    struct vmcb *vmcb = vmcb_of(v);

    vmcb_intercept(vmcb, 3,
                   INTERCEPT_NMI | INTERCEPT_INIT | INTERCEPT_RDPMC | INTERCEPT_CPUID |
                       INTERCEPT_INVD | INTERCEPT_INVLPGA | INTERCEPT_IOIO | INTERCEPT_MSR |
                       INTERCEPT_SHUTDOWN,
                   true);
    /* EFER.SVME is set under the guest, so all of SVM would work, on host-physical addresses. */
    vmcb_intercept(vmcb, 4,
                   INTERCEPT_VMRUN | INTERCEPT_VMMCALL | INTERCEPT_VMLOAD | INTERCEPT_VMSAVE |
                       INTERCEPT_STGI | INTERCEPT_CLGI | INTERCEPT_SKINIT,
                   true);
    svm_intercept_exceptions(v);
    if (v->paging == PAGED_SHADOW)
        intercept_paging(v);
    intercept_registers(v);
    return intercept_instructions(v);
}

/* The pages of a vCPU: its struct, its VMCB and its MSR permission map. */
static int allocate(struct vcpu *v)
{
    hpa_t page, msrpm;
    int error = memory_alloc_page(&page);

    if (error)
        return error;
    struct svm_vcpu *svm = memory_at(page);
    error = memory_alloc_page(&svm->vmcb_address);
    if (!error)
        error = memory_alloc_pages(MSRPM_PAGES, &msrpm);
    if (error)
        return error;
    svm->vmcb = memory_at(svm->vmcb_address);
    svm->msrpm = memory_at(msrpm);
    v->backend = svm;
    return 0;
}

int svm_vcpu_renew(struct vcpu *v, hpa_t root)
{
    struct svm_vcpu *svm = svm_of(v);

    *svm = (struct svm_vcpu){.vmcb = svm->vmcb,
                             .vmcb_address = svm->vmcb_address,
                             .msrpm = svm->msrpm,
                             .cpu = v->cpu->backend};
    svm->clean = svm->cpu->clean_bits ? CLEAN_ALL : 0;
    memset(svm->vmcb, 0, PAGE_SIZE);
    memset(svm->msrpm, 0xff, MSRPM_PAGES * PAGE_SIZE);
    vmcb_set_msrpm(svm->vmcb, memory_register(memory_address_of(svm->msrpm)));
    vmcb_set_iopm(svm->vmcb, memory_register(svm_iopm()));
    svm->vmcb->control.tsc_offset = v->cpu->tsc_offset;
    vmcb_set_nested_control(svm->vmcb, NESTED_ENABLE);
    vmcb_set_nested_cr3(svm->vmcb, memory_register(root));
    int error = svm_tlb_init(v);
    return error ? error : intercept(v);
}

int svm_vcpu_create(struct vcpu *v, hpa_t root)
{
    int error = allocate(v);

    return error ? error : svm_vcpu_renew(v, root);
}

void svm_run(struct vcpu *v)
{
    struct svm_vcpu *svm = svm_of(v);
    const uint64_t vmcb = memory_register(svm->vmcb_address);
    const uint64_t host_vmcb = memory_register(svm->cpu->host_vmcb);

    svm->vmcb->save.rax = v->regs.rax;
    svm->vmcb->save.rsp = v->regs.rsp;
    svm_tlb_follow(v);
    svm->quick = QUICK_NOT;
    if (v->stats)
        svm_loop_timed(v, vmcb, host_vmcb);
    else if (v->measures)
        svm_loop_measured(v, vmcb, host_vmcb);
    else
        svm_loop(v, vmcb, host_vmcb);
}
