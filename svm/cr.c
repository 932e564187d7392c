/* SPDX-License-Identifier: BSD-2-Clause */
#include "kernel/memory.h"
#include "kernel/paging.h"
#include "kernel/x86.h"
#include "svm/internal.h"
#include <errno.h>

#define CR3_NO_FLUSH (1UL << 63)
/* A change of one of them flushes the TLB, global entries too (§5.5.2). */
#define CR4_FLUSHES (CR4_PSE | CR4_PAE | CR4_PGE | CR4_PCIDE | CR4_SMEP)
/* Intel's CPUs load the PDPTEs anew with a change of one of them (SDM vol. 3 §4.4.1). */
#define CR0_LOADS_PDPTES (CR0_PG | CR0_CD | CR0_NW)
#define CR4_LOADS_PDPTES (CR4_PAE | CR4_PGE | CR4_PSE | CR4_SMEP)

static struct control_registers read_all(struct vcpu *v)
{
    return (struct control_registers){
        .cr0 = svm_read_cr0(v), .cr4 = svm_read_cr4(v), .efer = svm_read_efer(v)};
}

void svm_put_control_registers(struct vcpu *v, const struct control_registers *guest)
{
    struct svm_vcpu *svm = svm_of(v);
    struct control_registers hardware = control_registers_hardware(guest, svm->shadow, svm->no_wp);

    svm->differ = (struct control_registers){.cr0 = hardware.cr0 ^ guest->cr0,
                                             .cr4 = hardware.cr4 ^ guest->cr4,
                                             .efer = hardware.efer ^ guest->efer};
    vmcb_set_cr0(svm->vmcb, hardware.cr0);
    vmcb_set_cr4(svm->vmcb, hardware.cr4);
    vmcb_set_efer(svm->vmcb, hardware.efer);
    svm_intercept_differences(v);
}

/*
 * SVM has no read shadow. Where the hardware has CR0.WP set and the guest has not, the guest's own
 * write of a 1 would change nothing that the selective intercept sees.
 */
void svm_intercept_differences(struct vcpu *v)
{
    const uint32_t all = INTERCEPT_CR_READ(0) | INTERCEPT_CR_WRITE(0) | INTERCEPT_CR_READ(4);
    struct svm_vcpu *svm = svm_of(v);
    uint32_t wanted = 0;

    if (svm->differ.cr0)
        wanted |= INTERCEPT_CR_READ(0) | INTERCEPT_CR_WRITE(0);
    if (svm->differ.cr4)
        wanted |= INTERCEPT_CR_READ(4);
    if ((svm->vmcb->control.intercepts[0] & all) == wanted)
        return;
    vmcb_intercept(svm->vmcb, 0, all, false);
    vmcb_intercept(svm->vmcb, 0, wanted, true);
}

void svm_settle_cr0(struct vcpu *v, uint64_t cr0)
{
    struct control_registers guest = read_all(v);
    guest.cr0 = cr0;
    guest = control_registers_settle(guest);
    svm_put_control_registers(v, &guest);
}

void svm_settle_lma(struct vcpu *v)
{
    svm_settle_cr0(v, svm_read_cr0(v));
}

static int check_pdptes(struct vcpu *v, const struct control_registers *guest, uint64_t cr3)
{
    uint64_t pdpte[4];

    if (v->paging != PAGED_SHADOW || !control_registers_pae(guest))
        return 0;
    return paging_load_pdptes(v, cr3, guest->efer & EFER_NXE, pdpte);
}

static int write_guest_cr0(struct vcpu *v, uint64_t value)
{
    const struct control_registers now = read_all(v);
    bool cs_l = vmcb_of(v)->save.cs.attributes & SEGMENT_L;
    struct control_registers new = now;

    if (!control_registers_cr0_valid(&now, value, cs_l))
        return -EINVAL;
    new.cr0 = (value & v->rules.cr0_allowed) | CR0_ET;
    new = control_registers_settle(new);
    if (((now.cr0 ^ new.cr0) & CR0_LOADS_PDPTES) && check_pdptes(v, &new, v->cr3))
        return -EINVAL;
    svm_put_control_registers(v, &new);
    return 0;
}

static int write_guest_cr3(struct vcpu *v, uint64_t value)
{
    const struct control_registers now = read_all(v);

    if (check_pdptes(v, &now, value))
        return -EINVAL;
    v->cr3 = now.cr4 & CR4_PCIDE ? value & ~CR3_NO_FLUSH : value;
    return 0;
}

static int write_guest_cr4(struct vcpu *v, uint64_t value)
{
    const struct control_registers now = read_all(v);
    struct control_registers new = now;
    const uint64_t cr3 = svm_read_cr3(v);

    if ((value & ~v->rules.cr4_allowed) || !control_registers_cr4_valid(&now, value, cr3))
        return -EINVAL;
    new.cr4 = value;
    if (((now.cr4 ^ value) & CR4_LOADS_PDPTES) && check_pdptes(v, &new, cr3))
        return -EINVAL;
    if ((now.cr4 ^ value) & CR4_FLUSHES)
        svm_tlb_flush(v);
    svm_put_control_registers(v, &new);
    return 0;
}

/* CR0 and CR3 are the guest's own and not intercepted, unless it is PAGED_SHADOW. */
int svm_write_cr(struct vcpu *v, unsigned int cr, uint64_t value)
{
    switch (cr) {
    case 0:
        return write_guest_cr0(v, value);
    case 3:
        return write_guest_cr3(v, value);
    default:
        return write_guest_cr4(v, value);
    }
}

/* LMA is the CPU's to keep and what is written there is ignored (§14.6.1). */
int svm_write_efer(struct vcpu *v, uint64_t value)
{
    const struct control_registers now = read_all(v);
    struct control_registers new = now;

    new.efer = (value & ~EFER_LMA) | (now.efer & EFER_LMA);
    if ((value & ~((v->rules.efer_allowed & svm_of(v)->cpu->efer) | EFER_LMA)) ||
        !control_registers_efer_valid(&now, new.efer))
        return -EINVAL;
    if ((now.efer ^ new.efer) & EFER_NXE)
        svm_tlb_flush(v);
    svm_put_control_registers(v, &new);
    return 0;
}

uint64_t svm_read_cr0(struct vcpu *v)
{
    return vmcb_of(v)->save.cr0 ^ svm_of(v)->differ.cr0;
}

bool svm_in_64bit_code(struct vcpu *v)
{
    return svm_in_64_bit_mode(vmcb_of(v));
}

uint64_t svm_rflags(struct vcpu *v)
{
    return vmcb_of(v)->save.rflags;
}

uint64_t svm_read_cr4(struct vcpu *v)
{
    return vmcb_of(v)->save.cr4 ^ svm_of(v)->differ.cr4;
}

uint64_t svm_read_efer(struct vcpu *v)
{
    return vmcb_of(v)->save.efer ^ svm_of(v)->differ.efer;
}

unsigned int svm_cpl(struct vcpu *v)
{
    return vmcb_of(v)->save.cpl;
}

/* With paging on it loads CR3, which is Latch's then. */
void svm_intercept_task_switch(struct svm_vcpu *svm)
{
    vmcb_intercept(svm->vmcb, 3, INTERCEPT_TASK_SWITCH, svm->shadow);
}

/* With CR0.PG=0 the CPU does not look at CR3, and the guest's might be one that VMRUN refuses. The
 * nested root and all linear translations may change here, so the whole ASID is flushed. */
void svm_load_paging(struct vcpu *v, const struct hardware_paging *paging)
{
    struct svm_vcpu *svm = svm_of(v);
    const uint64_t nested = memory_register(paging->nested);

    if (svm->shadow != paging->shadow || svm->no_wp != paging->no_wp) {
        const struct control_registers guest = read_all(v);
        svm->shadow = paging->shadow;
        svm->no_wp = paging->no_wp;
        svm_intercept_task_switch(svm);
        svm_put_control_registers(v, &guest);
    }
    svm->cr3 = paging->shadow ? paging->cr3.raw : 0;
    vmcb_set_cr3(svm->vmcb, svm->cr3);
    if (svm->vmcb->control.nested_cr3 != nested)
        vmcb_set_nested_cr3(svm->vmcb, nested);
    svm_tlb_flush(v);
}
