/* SPDX-License-Identifier: BSD-2-Clause */
/* The way of an exit: decode, dispatch, carry out. */
#include "kernel/exit.h"
#include "vmx/event.h"
#include "vmx/qualification.h"
#include "vmx/reason.h"
#include "vmx/vcpu.h"
#include "vmx/vmcs.h"
#include "vmx/vmx.h"

#define likely(x) __builtin_expect(!!(x), 1)

/* What else an exit may need than its kind and length. */
struct detail {
    uint32_t vectoring;  /* of the event whose delivery it interrupted, or 0 */
    uint32_t unblocking; /* has QUALIFICATION_NMI_UNBLOCKING if an IRET did that and then faulted */
    uint64_t rsp;        /* as it was: the dispatcher may write v->regs.rsp */
    bool done;           /* carried out already */
};

static void read_vectoring(struct detail *detail)
{
    uint32_t vectoring = vmread32(VMCS_VECTORING_EVENT);
    detail->vectoring = (vectoring & EVENT_INFO_VALID) ? vectoring : 0;
}

static void page_fault(struct vcpu *v, uint32_t info, struct exit *exit, struct detail *detail)
{
    exit->page_fault.probed = vmx_of(v)->probing;
    vmx_end_probe(v);
    exit->kind = EXIT_PAGE_FAULT;
    exit->raw_info[0] = vmread(VMCS_EXIT_QUALIFICATION);
    exit->raw_info[1] = vmread32(VMCS_EXIT_EVENT_ERROR_CODE);
    exit->page_fault.address = gla(exit->raw_info[0]);
    exit->page_fault.error_code = (uint32_t)exit->raw_info[1];
    detail->unblocking = info;
    read_vectoring(detail);
    exit->page_fault.delivering = detail->vectoring != 0;
}

static void exception_or_nmi(struct vcpu *v, struct exit *exit, struct detail *detail)
{
    uint32_t info = vmread32(VMCS_EXIT_EVENT);
    if (event_is_exception(info, VECTOR_PF)) {
        page_fault(v, info, exit, detail);
        return;
    }
    if (event_is_exception(info, VECTOR_MC)) {
        exit->kind = EXIT_MACHINE_CHECK;
        read_vectoring(detail);
        return;
    }
    if (EVENT_INFO_TYPE(info) != INFO_NMI)
        return;
    /* The handler finds out whose it is, by vmx_after_nmi() has Latch attend to it, and its IRET
     * lets NMIs through again. */
    __asm__ volatile("int %0" : : "i"(VECTOR_NMI) : "memory", "cc");
    detail->done = true;
}

/* INVD would lose what Latch's caches hold: WBINVD is a valid form of it. */
static void invd(const struct exit *exit, struct detail *detail)
{
    wbinvd();
    vmx_skip(exit->length);
    detail->done = true;
}

static void ept(struct vcpu *v, struct exit *exit, struct detail *detail)
{
    vmx_end_probe(v);
    read_vectoring(detail);
    detail->rsp = v->regs.rsp = vmread(VMCS_GUEST_RSP);
    exit->raw_info[0] = vmread(VMCS_EXIT_QUALIFICATION);
    exit->raw_info[1] = vmread64(VMCS_GUEST_PHYSICAL_ADDRESS);
    if (exit->kind != EXIT_MEMORY)
        return;
    detail->unblocking = (uint32_t)exit->raw_info[0];
    uint64_t linear =
        (exit->raw_info[0] & QUALIFICATION_LINEAR) ? vmread(VMCS_GUEST_LINEAR_ADDRESS) : 0;
    qualification_ept(exit->raw_info[0], exit->raw_info[1], linear, exit);
    exit->memory.delivering = detail->vectoring != 0;
}

static void control_register(struct vcpu *v, struct exit *exit, struct detail *detail)
{
    detail->rsp = v->regs.rsp = vmread(VMCS_GUEST_RSP);
    exit->raw_info[0] = vmread(VMCS_EXIT_QUALIFICATION);
    uint64_t cr0 = (exit->raw_info[0] & QUALIFICATION_NOT_MOV) ? vmx_read_cr0(v) : 0;
    if (!qualification_cr(exit->raw_info[0], v->regs.r, cr0, vmx_in_64bit_mode(), exit))
        exit->kind = EXIT_UNKNOWN;
}

static void invalidate_address(struct exit *exit)
{
    exit->raw_info[0] = vmread(VMCS_EXIT_QUALIFICATION);
    exit->invalidate.address = gla(exit->raw_info[0]);
    exit->invalidate.everything = false;
}

static void invalidate_by_descriptor(struct vcpu *v, struct exit *exit)
{
    uint32_t info = vmread32(VMCS_EXIT_INSTRUCTION_INFO);
    uint64_t base = vmx_segment_base((enum segment_index)OPERAND_SEGMENT(info));
    v->regs.rsp = vmread(VMCS_GUEST_RSP);
    exit->raw_info[0] = vmread(VMCS_EXIT_QUALIFICATION);
    exit->raw_info[1] = info;
    qualification_invpcid(info, exit->raw_info[0], base, v->regs.r, vmx_in_64bit_mode(), exit);
}

static void read_detail(struct vcpu *v, uint32_t reason, struct exit *exit, struct detail *detail)
{
    switch (reason) {
    case REASON_EXCEPTION_OR_NMI:
        exception_or_nmi(v, exit, detail);
        break;
    case REASON_INVD:
        invd(exit, detail);
        break;
    case REASON_NMI_WINDOW:
        vmx_nmi_window(v);
        break;
    case REASON_MONITOR_TRAP: /* the instruction met nothing of what it was tried for */
        vmx_end_probe(v);
        detail->done = true;
        break;
    case REASON_SIPI:
        exit->sipi.vector = (uint8_t)vmread(VMCS_EXIT_QUALIFICATION);
        break;
    case REASON_CR_ACCESS:
        control_register(v, exit, detail);
        break;
    case REASON_INVLPG:
        invalidate_address(exit);
        break;
    case REASON_INVPCID:
        invalidate_by_descriptor(v, exit);
        break;
    case REASON_IO:
        exit->raw_info[0] = vmread(VMCS_EXIT_QUALIFICATION);
        qualification_io(exit->raw_info[0], exit);
        break;
    default:
        ept(v, exit, detail);
        break;
    }
}

/* The CPU does not tell the length of an instruction that an EPT violation interrupted. */
static void skip_decoded(struct vcpu *v)
{
    struct vcpu_state state;
    vmx_get_state(v, &state);
    unsigned int length = vcpu_decode(v, &state, NULL);
    if (length != 0)
        vmx_skip(length);
}

static bool triple_fault(struct vcpu *v, struct exit *exit)
{
    exit->kind = EXIT_TRIPLE_FAULT;
    (void)exit_dispatch(v, exit);
    return false;
}

static bool carry_out(struct vcpu *v, struct exit *exit, const struct detail *detail,
                      enum exit_action action)
{
    switch (action) {
    case EXIT_NEXT:
        if (exit->length)
            vmx_skip(exit->length);
        else
            skip_decoded(v);
        return true;
    case EXIT_RETRY:
        vmx_restore_nmi_blocking(detail->unblocking, detail->vectoring);
        if (detail->vectoring)
            vmx_redeliver();
        return true;
    case EXIT_FAULT:
        return vmx_inject(v, &exit->event, detail->vectoring) || triple_fault(v, exit);
    case EXIT_STOP:
        break;
    }
    return false;
}

/* The entry itself failed: SDM vol. 3 §27.8. Nothing of the guest ran. */
static bool bad_state(struct vcpu *v, uint64_t reason, uint64_t info)
{
    struct exit exit = {.kind = EXIT_BAD_STATE, .raw_reason = reason, .raw_info = {info}};
    (void)exit_dispatch(v, &exit);
    return false;
}

/* Out of line, so that the exits that happen need neither its stack nor its registers. */
__attribute__((noinline)) static bool detailed_exit(struct vcpu *v, uint32_t reason,
                                                    struct exit *exit)
{
    struct detail detail = {0};
    read_detail(v, reason, exit, &detail);
    if (detail.done)
        return true;
    enum exit_action action = exit_dispatch(v, exit);
    if ((exit->kind == EXIT_MEMORY || exit->kind == EXIT_CR_READ) && v->regs.rsp != detail.rsp)
        vmwrite(VMCS_GUEST_RSP, v->regs.rsp);
    return carry_out(v, exit, &detail, action);
}

bool vmx_exit(struct vcpu *v)
{
    struct exit exit;
    vmx_of(v)->nmis_open = false;
    uint32_t reason = vmread32(VMCS_EXIT_REASON);
    exit.raw_reason = reason;
    exit.raw_info[0] = exit.raw_info[1] = 0;
    if (!likely(reason < REASONS)) {
        if (reason & REASON_ENTRY_FAILED)
            return bad_state(v, reason, vmread(VMCS_EXIT_QUALIFICATION));
        exit.kind = EXIT_UNKNOWN;
        (void)exit_dispatch(v, &exit);
        return false;
    }
    const struct reason_row *row = &reason_rows[reason];
    exit.kind = (enum exit_kind)row->kind;
    exit.length = row->length ? (uint8_t)vmread32(VMCS_EXIT_INSTRUCTION_LENGTH) : 0;
    if (row->detail)
        return detailed_exit(v, reason, &exit);
    enum exit_action action = exit_dispatch(v, &exit);
    if (likely(action == EXIT_NEXT && exit.length)) {
        vmx_skip(exit.length);
        return true;
    }
    return carry_out(v, &exit, &(const struct detail){0}, action);
}

/* The dispatcher tells Latch's own NMIs from the guest's. */
static bool attend_nmi(struct vcpu *v)
{
    struct exit exit = {.kind = EXIT_NMI};
    switch (exit_dispatch(v, &exit)) {
    case EXIT_FAULT:
        vmx_pend_nmi(v);
        return true;
    case EXIT_NEXT:
    case EXIT_RETRY:
        return true;
    case EXIT_STOP:
        break;
    }
    return false;
}

bool vmx_attend(struct vcpu *v)
{
    struct vmx_vcpu *vmx = vmx_of(v);
    vmx->nmis_open = false;
    vmx_end_probe(v); /* its tables are copies of those that may have changed */
    if (atomic_exchange(&vmx->attend, false) && !attend_nmi(v))
        return false;
    if (atomic_exchange(&v->flush, false))
        vmx_flush_nested(vmx);
    return true;
}

void vmx_entry_failed(struct vcpu *v)
{
    uint64_t error = 0;
    (void)vmcs_read(VMCS_INSTRUCTION_ERROR.encoding, &error);
    vmx_of(v)->entry_error = (uint32_t)error;
    (void)bad_state(v, UINT64_MAX, error);
}

static bool within(uint64_t rip, void (*first)(void), void (*end)(void))
{
    return rip >= (uint64_t)first && rip < (uint64_t)end;
}

uint64_t vmx_after_nmi(uint64_t rip)
{
    struct vcpu *v = this_cpu()->vcpu;
    if (!v || !v->backend)
        return rip;
    vmx_of(v)->attend = true;
    if (within(rip, vmx_launch_window, vmx_launch_window_end))
        return (uint64_t)vmx_launch_window;
    if (within(rip, vmx_resume_window, vmx_resume_window_end))
        return (uint64_t)vmx_resume_window;
    if (within(rip, vmx_quick_window, vmx_quick_window_end))
        return (uint64_t)vmx_quick_window;
    return rip;
}

/* VMCLEAR makes the launch state "clear" whatever it was. Anything may have happened to the host's
 * state since the last run, so that is new too. */
void vmx_run(struct vcpu *v)
{
    struct vmx_vcpu *vmx = vmx_of(v);
    vmx_clear(vmx->vmcs);
    vmx_make_current(vmx->vmcs);
    vmx->entry_error = 0;
    vmx->nmis_open = false;
    vmx_load_host_state(v);
    vmx_run_guest(v);
}
