/* SPDX-License-Identifier: BSD-2-Clause */
/* The guest's and the host's state in the VMCS: SDM vol. 3 §25.4, §25.5, §27.3.1. */
#include "kernel/console.h"
#include "vmx/controls.h"
#include "vmx/vcpu.h"
#include "vmx/vmcs.h"
#include "vmx/vmx.h"

#define DR7_FIXED1    0x400UL
#define TYPE_BUSY_TSS 2U
#define NO_LINK       UINT64_MAX
#define DEBUGCTL_BTF  (1UL << 1)

/* The fields of segment registers follow each other in the order of enum segment_index. */
static struct vmcs_field_16 selector_field(unsigned int i)
{
    return (struct vmcs_field_16){.encoding = VMCS_GUEST_ES_SELECTOR.encoding + 2UL * i};
}
static struct vmcs_field_32 limit_field(unsigned int i)
{
    return (struct vmcs_field_32){.encoding = VMCS_GUEST_ES_LIMIT.encoding + 2UL * i};
}
static struct vmcs_field_32 access_field(unsigned int i)
{
    return (struct vmcs_field_32){.encoding = VMCS_GUEST_ES_ACCESS.encoding + 2UL * i};
}
static struct vmcs_field_natural base_field(unsigned int i)
{
    return (struct vmcs_field_natural){.encoding = VMCS_GUEST_ES_BASE.encoding + 2UL * i};
}

/* The VMCS leaves a hole of 4 bits where the descriptor has the limit: table 25-2. */
static uint32_t access_of(uint16_t attributes)
{
    uint32_t access = (attributes & 0xffU) | (attributes & 0xf00U) << 4;
    return (attributes & SEGMENT_P) ? access : access | ACCESS_UNUSABLE;
}

static uint16_t attributes_of(uint32_t access)
{
    uint32_t attributes = (access & 0xffU) | (access >> 4 & 0xf00U);
    return (uint16_t)((access & ACCESS_UNUSABLE) ? attributes & ~SEGMENT_P : attributes);
}

uint64_t vmx_segment_base(enum segment_index segment)
{
    return vmread(base_field(segment));
}

static void set_segments(const struct vcpu_state *state)
{
    for (unsigned int i = 0; i < SEGMENTS; i++) {
        const struct segment *s = &state->segment[i];
        uint16_t attributes = s->attributes;
        if (i == SEG_TR)
            attributes |= TYPE_BUSY_TSS;
        vmwrite16(selector_field(i), s->selector);
        vmwrite32(limit_field(i), s->limit);
        vmwrite32(access_field(i), access_of(attributes));
        vmwrite(base_field(i), s->base);
    }
    vmwrite32(VMCS_GUEST_GDTR_LIMIT, state->gdtr.limit);
    vmwrite(VMCS_GUEST_GDTR_BASE, state->gdtr.base);
    vmwrite32(VMCS_GUEST_IDTR_LIMIT, state->idtr.limit);
    vmwrite(VMCS_GUEST_IDTR_BASE, state->idtr.base);
}

static void get_segments(struct vcpu_state *state)
{
    for (unsigned int i = 0; i < SEGMENTS; i++) {
        state->segment[i] = (struct segment){
            .selector = vmread16(selector_field(i)),
            .attributes = attributes_of(vmread32(access_field(i))),
            .limit = vmread32(limit_field(i)),
            .base = vmread(base_field(i)),
        };
    }
    state->gdtr.limit = vmread32(VMCS_GUEST_GDTR_LIMIT);
    state->gdtr.base = vmread(VMCS_GUEST_GDTR_BASE);
    state->idtr.limit = vmread32(VMCS_GUEST_IDTR_LIMIT);
    state->idtr.base = vmread(VMCS_GUEST_IDTR_BASE);
}

static void set_control_registers(struct vcpu *v, const struct vcpu_state *state)
{
    vmx_put_efer(v, state->efer);
    vmx_put_cache_control(state->cr0);
    vmx_of(v)->no_wp = false; /* until vmx_load_paging() */
    vmx_put_cr0(v, state->cr0);
    vmx_put_cr3(v, state->cr3);
    vmx_put_cr4(v, state->cr4);
    write_cr2(state->cr2);
    if (vmx_load_pdptes(v, state->cr0, state->cr3, state->cr4, state->efer))
        console_line("vCPU %u: the PDPTEs at CR3 %lx have reserved bits set", v->index, state->cr3);
}

static uint32_t interruptibility_of(const struct vcpu_state *state)
{
    uint32_t value = state->nmi_blocked ? BLOCKED_BY_NMI : 0;
    if (state->interrupt_shadow)
        value |= (state->rflags & RFLAGS_IF) ? BLOCKED_BY_STI : BLOCKED_BY_MOV_SS;
    return value;
}

/* Latch itself executes neither SYSCALL nor SWAPGS: these are the guest's all the time. */
static void set_msrs(const struct vcpu_state *state)
{
    vmwrite64(VMCS_GUEST_PAT, state->pat);
    vmwrite32(VMCS_GUEST_SYSENTER_CS, (uint32_t)state->sysenter_cs);
    vmwrite(VMCS_GUEST_SYSENTER_ESP, state->sysenter_esp);
    vmwrite(VMCS_GUEST_SYSENTER_EIP, state->sysenter_eip);
    wrmsr(MSR_STAR, state->star);
    wrmsr(MSR_LSTAR, state->lstar);
    wrmsr(MSR_CSTAR, state->cstar);
    wrmsr(MSR_SFMASK, state->sfmask);
    wrmsr(MSR_KERNEL_GS_BASE, state->kernel_gs_base);
}

void vmx_set_state(struct vcpu *v, const struct vcpu_state *state)
{
    set_segments(state);
    set_control_registers(v, state);
    set_msrs(state);
    vmwrite(VMCS_GUEST_RIP, state->rip);
    vmwrite(VMCS_GUEST_RSP, v->regs.rsp);
    vmwrite(VMCS_GUEST_RFLAGS, state->rflags | RFLAGS_FIXED1);
    vmwrite(VMCS_GUEST_DR7, state->dr7 | DR7_FIXED1);
    write_dr6(state->dr6);
    vmwrite64(VMCS_GUEST_DEBUGCTL, 0);
    vmwrite(VMCS_GUEST_PENDING_DEBUG, 0);
    vmwrite32(VMCS_GUEST_INTERRUPTIBILITY, interruptibility_of(state));
    vmwrite32(VMCS_GUEST_ACTIVITY, ACTIVITY_ACTIVE);
    vmwrite64(VMCS_VMCS_LINK_POINTER, NO_LINK);
    vmwrite32(VMCS_ENTRY_EVENT, 0);
    vmwrite32(VMCS_PROC_CONTROLS, vmread32(VMCS_PROC_CONTROLS) & ~PROC_NMI_WINDOW_EXITING);
    vmx_of(v)->nmi_pending = false;
}

void vmx_get_state(struct vcpu *v, struct vcpu_state *state)
{
    uint32_t blocked = vmread32(VMCS_GUEST_INTERRUPTIBILITY);
    *state = (struct vcpu_state){
        .rip = vmread(VMCS_GUEST_RIP),
        .rflags = vmread(VMCS_GUEST_RFLAGS),
        .cr0 = vmx_read_cr0(v),
        .cr2 = read_cr2(),
        .cr3 = vmx_read_cr3(v),
        .cr4 = vmx_read_cr4(v),
        .efer = vmx_read_efer(v),
        .dr6 = read_dr6(),
        .dr7 = vmread(VMCS_GUEST_DR7),
        .pat = vmread64(VMCS_GUEST_PAT),
        .sysenter_cs = vmread32(VMCS_GUEST_SYSENTER_CS),
        .sysenter_esp = vmread(VMCS_GUEST_SYSENTER_ESP),
        .sysenter_eip = vmread(VMCS_GUEST_SYSENTER_EIP),
        .star = rdmsr(MSR_STAR),
        .lstar = rdmsr(MSR_LSTAR),
        .cstar = rdmsr(MSR_CSTAR),
        .sfmask = rdmsr(MSR_SFMASK),
        .kernel_gs_base = rdmsr(MSR_KERNEL_GS_BASE),
        .nmi_blocked = blocked & BLOCKED_BY_NMI,
        .interrupt_shadow = blocked & (BLOCKED_BY_STI | BLOCKED_BY_MOV_SS),
    };
    get_segments(state);
    v->regs.rsp = vmread(VMCS_GUEST_RSP);
}

bool vmx_in_64bit_code(struct vcpu *v)
{
    (void)v;
    return vmx_in_64bit_mode();
}

uint64_t vmx_rflags(struct vcpu *v)
{
    (void)v;
    return vmread(VMCS_GUEST_RFLAGS);
}

/* SS.DPL is the CPL in every mode: SDM vol. 3 table 25-2, footnote. */
unsigned int vmx_cpl(struct vcpu *v)
{
    (void)v;
    return vmread32(VMCS_GUEST_SS_ACCESS) >> 5 & 3U;
}

bool vmx_in_64bit_mode(void)
{
    return (vmread32(VMCS_GUEST_CS_ACCESS) & ACCESS_L) &&
           (vmread32(VMCS_ENTRY_CONTROLS) & VMENTRY_IA32E_GUEST);
}

/* Outside 64-bit mode EIP wraps at 4 GiB; the CPU compares it with the limit by itself. */
static uint64_t wrap(uint64_t rip)
{
    return vmx_in_64bit_mode() ? rip : (uint32_t)rip;
}

/* What the end of an instruction does with RF and TF: SDM vol. 3 §18.3.1.1, §18.3.1.4. */
static void finish_flags(uint64_t rflags)
{
    vmwrite(VMCS_GUEST_RFLAGS, rflags & ~RFLAGS_RF);
    if ((rflags & RFLAGS_TF) && !(vmread64(VMCS_GUEST_DEBUGCTL) & DEBUGCTL_BTF))
        vmwrite(VMCS_GUEST_PENDING_DEBUG, vmread(VMCS_GUEST_PENDING_DEBUG) | PENDING_DEBUG_BS);
}

void vmx_skip(unsigned int length)
{
    uint64_t rip = vmread(VMCS_GUEST_RIP), next = rip + length;
    vmwrite(VMCS_GUEST_RIP, (rip ^ next) >> 32 ? wrap(next) : next);
    uint32_t blocked = vmread32(VMCS_GUEST_INTERRUPTIBILITY);
    if (blocked & (BLOCKED_BY_STI | BLOCKED_BY_MOV_SS))
        vmwrite32(VMCS_GUEST_INTERRUPTIBILITY, blocked & ~(BLOCKED_BY_STI | BLOCKED_BY_MOV_SS));
    uint64_t rflags = vmread(VMCS_GUEST_RFLAGS);
    if (rflags & (RFLAGS_TF | RFLAGS_RF))
        finish_flags(rflags);
}
