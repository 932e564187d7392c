/* SPDX-License-Identifier: BSD-2-Clause */
#include "kernel/exit.h"
#include "kernel/backend.h"
#include "kernel/hypercall.h"
#include "kernel/ipi.h"
#include "kernel/msr.h"
#include "kernel/paging.h"
#include "kernel/port.h"
#include "kernel/vm.h"
#include "kernel/x86.h"

enum exit_action exit_fault(struct exit *exit, uint8_t vector)
{
    exit->event = (struct event){.type = EVENT_EXCEPTION, .vector = vector};
    return EXIT_FAULT;
}

enum exit_action exit_fault_code(struct exit *exit, uint8_t vector, uint32_t error_code)
{
    exit->event = (struct event){
        .type = EVENT_EXCEPTION,
        .vector = vector,
        .has_error_code = true,
        .error_code = error_code,
    };
    return EXIT_FAULT;
}

void exit_follow_cr4(struct vcpu *v, uint64_t cr4)
{
    if (((v->dynamic.cr4 ^ cr4) & CPUID_DYNAMIC_CR4) == 0)
        return;
    v->dynamic.cr4 = cr4;
    cpuid_dynamic_settle(&v->dynamic, v->model);
}

/* Where the guest changes CR4 or XCR0 without an exit, that is looked up when a leaf shows it. Latch
 * has the guest's XCR0 and MSRs loaded all the time. */
static void follow_registers(struct vcpu *v)
{
    struct cpuid_dynamic *d = &v->dynamic;
    const uint64_t xcr0 = v->rules.xcr0_allowed != 0 ? read_xcr0() : d->xcr0;
    const uint64_t xss = v->rules.msr_groups >> MSR_GROUP_XSS & 1 ? rdmsr(MSR_XSS) : d->xss;
    exit_follow_cr4(v, backend_read_cr4(v));
    if (xcr0 == d->xcr0 && xss == d->xss)
        return;
    d->xcr0 = xcr0;
    d->xss = xss;
    cpuid_dynamic_resize(d, v->model);
    cpuid_dynamic_settle(d, v->model);
}

/* Looked up for the one leaf that shows it. */
static void follow_mode(struct vcpu *v)
{
    const bool no_syscall = !model_is_amd(v->model) && !backend_in_64bit_code(v);
    if (no_syscall == v->dynamic.no_syscall)
        return;
    v->dynamic.no_syscall = no_syscall;
    cpuid_dynamic_settle(&v->dynamic, v->model);
}

static enum exit_action exit_cpuid(struct vcpu *v)
{
    uint32_t leaf = (uint32_t)v->regs.rax, subleaf = (uint32_t)v->regs.rcx;
    const struct cpuid_leaf *row = model_lookup(v->model, leaf, subleaf);
    follow_registers(v);
    if (row->dynamic == DYNAMIC_EXTENDED)
        follow_mode(v);
    const struct cpuid_regs *regs = cpuid_answer(row, &v->dynamic, subleaf);
    v->regs.rax = regs->eax;
    v->regs.rbx = regs->ebx;
    v->regs.rcx = regs->ecx;
    v->regs.rdx = regs->edx;
    return EXIT_NEXT;
}

/* SDM vol. 2, XSETBV. CR4.OSXSAVE was checked before the exit; CPL was not on SVM, nor on Bochs. */
static enum exit_action exit_xsetbv(struct vcpu *v, struct exit *exit)
{
    uint64_t value = (v->regs.rdx & UINT32_MAX) << 32 | (v->regs.rax & UINT32_MAX);
    if (backend_cpl(v) != 0 || (uint32_t)v->regs.rcx != 0 || !rules_xcr0_valid(&v->rules, value))
        return exit_fault_code(exit, VECTOR_GP, 0);
    write_xcr0(value);
    follow_registers(v);
    return EXIT_NEXT;
}

/* The guest's handler finds what the CPU's banks say, as it would without the exit. */
static enum exit_action exit_machine_check(struct vcpu *v, struct exit *exit)
{
    cpuid_dynamic_machine_check(&v->dynamic);
    cpuid_dynamic_settle(&v->dynamic, v->model);
    return exit_fault(exit, VECTOR_MC);
}

/* Latch's calls by NMI set what is to be done; an NMI that is none goes to the guest. */
static enum exit_action exit_nmi(struct vcpu *v, struct exit *exit)
{
    if (v->vm->ender != NULL || v->init_pending)
        return EXIT_STOP;
    ipi_follow_trap(v);
    if (atomic_load(&v->cpu->nmis) == 0)
        return EXIT_RETRY;
    atomic_store(&v->cpu->nmis, 0); /* one more can be pending at most, as in hardware */
    exit->event = (struct event){.type = EVENT_NMI, .vector = VECTOR_NMI};
    return EXIT_FAULT;
}

enum exit_action exit_dispatch(struct vcpu *v, struct exit *exit)
{
    v->exits[exit->kind]++;
    switch ((enum exit_kind)__builtin_expect(exit->kind, EXIT_CPUID)) {
    case EXIT_CPUID:
        return exit_cpuid(v);
    case EXIT_HYPERCALL:
        return hypercall(v, exit);
    case EXIT_RDMSR:
        return msr_read(v, exit);
    case EXIT_WRMSR:
        return msr_write(v, exit);
    case EXIT_IO:
        return port_access(v, exit);
    case EXIT_MEMORY:
        return paging_memory(v, exit);
    case EXIT_XSETBV:
        return exit_xsetbv(v, exit);
    case EXIT_CR_WRITE:
        return paging_write_cr(v, exit);
    case EXIT_CR_READ:
        return paging_read_cr(v, exit);
    case EXIT_PAGE_FAULT:
        return paging_fault(v, exit);
    case EXIT_INVLPG:
        return paging_invlpg(v, exit);
    case EXIT_INVPCID:
        return paging_invpcid(v, exit);
    case EXIT_FORBIDDEN:
        return exit_fault(exit, VECTOR_UD);
    case EXIT_NMI:
        return exit_nmi(v, exit);
    case EXIT_NMI_WINDOW:
        return EXIT_RETRY;
    case EXIT_INIT:
        if (v->index == 0) /* the boot processor would go to the reset vector, into the firmware */
            return vm_reset(v, "INIT of the boot processor");
        ipi_init_arrived(v);
        return EXIT_STOP;
    case EXIT_SIPI:
        v->sipi_vector = exit->sipi.vector;
        return EXIT_STOP;
    case EXIT_TRIPLE_FAULT:
        return vm_triple_fault(v, exit);
    case EXIT_BAD_STATE:
        return vm_crash(v, exit, "the CPU refused to enter the guest");
    case EXIT_MACHINE_CHECK:
        return exit_machine_check(v, exit);
    case EXIT_RDPMC:
        return exit_fault_code(exit, VECTOR_GP, 0);
    case EXIT_TASK_SWITCH:
        return vm_crash(v, exit, "a hardware task switch, which Latch does not carry out");
    case EXIT_UNKNOWN:
    case EXIT_KINDS:
        break;
    }
    return vm_crash(v, exit, "an exit that Latch does not know");
}
