/* SPDX-License-Identifier: BSD-2-Clause */
#include "kernel/insn.h"
#include "kernel/x86.h"
#include "svm/event_code.h"
#include "svm/internal.h"

#define DR6_BS (1UL << 14)
#define DR7_GD (1UL << 13)

/* EXITINFO1 of a port exit (§15.10.2). */
#define IOIO_IN         (1UL << 0)
#define IOIO_STRING     (1UL << 2)
#define IOIO_REP        (1UL << 3)
#define IOIO_SIZE_SHIFT 4U
#define MSR_IS_WRITE    1UL

/* How long the instruction is by its own and the next one's RIP; 0 if that cannot be. */
static uint8_t length_to(const struct vmcb *vmcb, uint64_t next_rip)
{
    uint64_t length = next_rip - vmcb->save.rip;
    return length <= INSN_LENGTH_MAX ? (uint8_t)length : 0;
}

uint8_t svm_saved_length(const struct svm_vcpu *svm)
{
    return svm->cpu->next_rip ? length_to(svm->vmcb, svm->vmcb->control.next_rip) : 0;
}

static void decode_io(struct exit *exit, const struct vmcb *vmcb)
{
    uint64_t info = vmcb->control.exit_info_1;

    exit->kind = EXIT_IO;
    exit->length = length_to(vmcb, vmcb->control.exit_info_2);
    exit->io.port = (uint16_t)(info >> 16);
    exit->io.size = info >> IOIO_SIZE_SHIFT & 7;
    exit->io.in = info & IOIO_IN;
    exit->io.string = info & IOIO_STRING;
    exit->io.rep = info & IOIO_REP;
}

static void decode_memory(struct exit *exit, const struct vmcb *vmcb)
{
    uint64_t info = vmcb->control.exit_info_1;

    exit->kind = EXIT_MEMORY;
    exit->memory.gpa = gpa(vmcb->control.exit_info_2);
    exit->memory.linear_valid = false;
    exit->memory.write = info & NPF_WRITE;
    exit->memory.fetch = info & NPF_FETCH;
    exit->memory.read = !exit->memory.write && !exit->memory.fetch;
    exit->memory.walk = info & NPF_WALK;
    exit->memory.delivering = vmcb->control.event_injection & EVENT_CODE_VALID;
}

/* QEMU's TCG has no intercept of task switches: one that loaded CR3 shows here. */
static void decode_page_fault(struct exit *exit, const struct svm_vcpu *svm)
{
    exit->kind = svm->vmcb->save.cr3 != svm->cr3 ? EXIT_TASK_SWITCH : EXIT_PAGE_FAULT;
    exit->page_fault.address = gla(exit->raw_info[1]);
    exit->page_fault.error_code = (uint32_t)exit->raw_info[0];
    exit->page_fault.probed = false;
    exit->page_fault.delivering = svm->vmcb->control.event_injection & EVENT_CODE_VALID;
}

/* The intercept gives the address of the descriptor and the type (§15.9). */
static void decode_invpcid(struct vcpu *v, struct exit *exit)
{
    exit->kind = EXIT_FORBIDDEN;
    if (!(v->rules.instructions >> INSTRUCTION_INVPCID & 1))
        return;
    exit->kind = EXIT_INVPCID;
    exit->length = svm_saved_length(svm_of(v));
    exit->invalidate.address = gla(exit->raw_info[0]);
    exit->invalidate.type = exit->raw_info[1];
}

static void decode_instruction(const struct svm_vcpu *svm, struct exit *exit, enum exit_kind kind)
{
    exit->kind = kind;
    exit->length = svm_saved_length(svm);
}

/*
 * Go on behind the instruction, as if it had run: RF and the interrupt shadow end with it, and TF
 * traps (§3.1.6, §13.1.4). Nothing changes if its bytes are no longer there to be measured.
 */
static void skip(struct vcpu *v, const struct exit *exit)
{
    struct vmcb *vmcb = vmcb_of(v);
    unsigned int length = exit->length;

    if (!length) {
        struct insn insn;
        length = svm_decode(v, true, &insn);
        if (!length)
            return;
    }
    vmcb->save.rip += length;
    if (!svm_in_64_bit_mode(vmcb))
        vmcb->save.rip = (uint32_t)vmcb->save.rip;
    vmcb->save.rflags &= ~RFLAGS_RF;
    vmcb->control.interrupt_shadow &= ~INTERRUPT_SHADOW;
    if (vmcb->save.rflags & RFLAGS_TF) {
        vmcb_set_dr6(vmcb, vmcb->save.dr6 | DR6_BS);
        vmcb_set_dr7(vmcb, vmcb->save.dr7 & ~DR7_GD);
        (void)svm_inject(v, &(struct event){.type = EVENT_EXCEPTION, .vector = VECTOR_DB});
    }
}

/* INVD would lose what Latch's caches hold: WBINVD is a valid form of it. */
static void invd(struct vcpu *v, struct exit *exit)
{
    wbinvd();
    exit->length = svm_saved_length(svm_of(v));
    skip(v, exit);
}

/* Fill *exit from the VMCB. False if the exit was svm/'s own business and is done with. */
static bool decode(struct vcpu *v, struct exit *exit)
{
    struct svm_vcpu *svm = svm_of(v);
    const struct vmcb *vmcb = svm->vmcb;

    exit->length = 0;
    exit->kind = EXIT_UNKNOWN;
    exit->raw_reason = vmcb->control.exit_code;
    exit->raw_info[0] = vmcb->control.exit_info_1;
    exit->raw_info[1] = vmcb->control.exit_info_2;
    switch (exit->raw_reason) {
    case VMEXIT_CPUID:
        decode_instruction(svm, exit, EXIT_CPUID);
        return true;
    case VMEXIT_MSR:
        decode_instruction(svm, exit, exit->raw_info[0] & MSR_IS_WRITE ? EXIT_WRMSR : EXIT_RDMSR);
        return true;
    case VMEXIT_VMMCALL:
        decode_instruction(svm, exit, EXIT_HYPERCALL);
        return true;
    case VMEXIT_XSETBV:
        decode_instruction(svm, exit, EXIT_XSETBV);
        return true;
    case VMEXIT_IOIO:
        decode_io(exit, vmcb);
        return true;
    case VMEXIT_NPF:
        decode_memory(exit, vmcb);
        return true;
    case VMEXIT_PAGE_FAULT:
        if (v->paging != PAGED_SHADOW)
            break;
        decode_page_fault(exit, svm);
        return true;
    case VMEXIT_MACHINE_CHECK:
        exit->kind = EXIT_MACHINE_CHECK;
        return true;
    case VMEXIT_CR0_READ:
    case VMEXIT_CR3_READ:
    case VMEXIT_CR4_READ:
    case VMEXIT_CR0_WRITE:
    case VMEXIT_CR3_WRITE:
    case VMEXIT_CR4_WRITE:
    case VMEXIT_CR0_SELECTIVE:
        return svm_decode_cr(v, exit);
    case VMEXIT_INVLPG:
        return svm_decode_invlpg(v, exit);
    case VMEXIT_INVPCID:
        decode_invpcid(v, exit);
        return true;
    case VMEXIT_VMRUN:
    case VMEXIT_VMLOAD:
    case VMEXIT_VMSAVE:
    case VMEXIT_STGI:
    case VMEXIT_CLGI:
    case VMEXIT_SKINIT:
    case VMEXIT_INVLPGA:
    case VMEXIT_RDTSC:
    case VMEXIT_RDTSCP:
    case VMEXIT_MONITOR:
    case VMEXIT_MWAIT:
    case VMEXIT_MWAIT_ARMED:
    case VMEXIT_RDPRU:
    case VMEXIT_MCOMMIT:
        exit->kind = EXIT_FORBIDDEN;
        return true;
    case VMEXIT_TASK_SWITCH:
        exit->kind = EXIT_TASK_SWITCH;
        return true;
    case VMEXIT_RDPMC:
        exit->kind = EXIT_RDPMC;
        return true;
    case VMEXIT_NMI:
        /* It stays pending while GIF is 0: what the exit interrupted is delivered before it. */
        if (vmcb->control.event_injection & EVENT_CODE_VALID)
            return false;
        svm_open_gif();
        exit->kind = EXIT_NMI;
        return true;
    case VMEXIT_INIT:
        if (svm->cpu->init_redirected)
            svm_open_gif();
        exit->kind = EXIT_INIT;
        return true;
    case VMEXIT_INVD:
        invd(v, exit);
        return false;
    case VMEXIT_IRET:
        svm_step_iret(v);
        return false;
    case VMEXIT_SHUTDOWN:
        exit->kind = EXIT_TRIPLE_FAULT;
        return true;
    default:
        break;
    }
    if ((uint32_t)exit->raw_reason == VMEXIT_INVALID_LOW) {
        if (!svm_decode_bad_cr3(v, exit))
            exit->kind = EXIT_BAD_STATE;
    } else if (svm->step != STEP_NONE && exit->raw_reason >= VMEXIT_EXCEPTION_FIRST &&
               exit->raw_reason <= VMEXIT_EXCEPTION_LAST) {
        exit->kind = EXIT_NMI_WINDOW;
        bool nmis = svm->step == STEP_IRET;
        svm_step_done(v);
        return nmis;
    }
    return true;
}

static bool carry_out(struct vcpu *v, struct exit *exit)
{
    switch (exit_dispatch(v, exit)) {
    case EXIT_NEXT:
        skip(v, exit);
        return true;
    case EXIT_RETRY:
        return true;
    case EXIT_FAULT:
        if (svm_inject(v, &exit->event))
            return true;
        exit->kind = EXIT_TRIPLE_FAULT;
        return exit_dispatch(v, exit) != EXIT_STOP;
    case EXIT_STOP:
    default:
        return false;
    }
}

/* What the last exits asked of the next entry is done, so that nothing need be taken back. */
static enum svm_quick quick_next(const struct svm_vcpu *svm)
{
    const struct vmcb_control *control = &svm->vmcb->control;

    if ((control->event_injection & EVENT_CODE_VALID) || control->tlb_control != TLB_KEEP ||
        control->clean != svm->clean)
        return QUICK_NOT;
    return svm->cpu->next_rip ? QUICK_NEXT_RIP : QUICK_CODE;
}

bool svm_exit(struct vcpu *v)
{
    struct svm_vcpu *svm = svm_of(v);
    struct vmcb *vmcb = svm->vmcb;
    struct exit exit;
    bool again = true;

    v->regs.rax = vmcb->save.rax;
    v->regs.rsp = vmcb->save.rsp;
    vmcb->control.clean = svm->clean;
    vmcb->control.tlb_control = TLB_KEEP;
    if (vmcb->control.exit_interrupt_info & EVENT_CODE_VALID)
        svm_reinject(v);
    else
        vmcb->control.event_injection = 0;
    if (decode(v, &exit))
        again = carry_out(v, &exit);
    vmcb->save.rax = v->regs.rax;
    vmcb->save.rsp = v->regs.rsp;
    svm_tlb_follow(v);
    svm->quick = quick_next(svm);
    return again;
}
