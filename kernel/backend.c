/* SPDX-License-Identifier: BSD-2-Clause */
/* Which back end: decided once by CPUID, then one `if` for each operation. */
#include "kernel/backend.h"
#include "svm/svm.h"
#include "vmx/vmx.h"

static bool intel;

bool backend_present(void)
{
    intel = vmx_present();
    return intel || svm_present();
}

const char *backend_name(void)
{
    return intel ? "VMX" : "SVM";
}

int backend_preflight(struct preflight *table)
{
    return intel ? vmx_preflight(table) : svm_preflight(table);
}

void backend_caps(struct backend_caps *caps)
{
    if (intel)
        vmx_caps(caps);
    else
        svm_caps(caps);
}

void backend_encryption(struct encryption *e)
{
    *e = (struct encryption){.cbit = 0};
    if (!intel)
        svm_encryption(e);
}

void backend_start_msr(uint32_t *msr, uint32_t *bits)
{
    *msr = *bits = 0;
    if (!intel)
        svm_start_msr(msr, bits);
}

uint64_t backend_shown_msr(const struct vcpu *v, uint32_t msr, uint64_t host)
{
    return intel ? host : svm_shown_msr(v, msr, host);
}

int backend_enable(struct cpu *cpu)
{
    return intel ? vmx_enable(cpu) : svm_enable(cpu);
}

void backend_disable(struct cpu *cpu)
{
    if (intel)
        vmx_disable(cpu);
    else
        svm_disable(cpu);
}

void backend_park(void)
{
    if (!intel)
        svm_close_gif();
    for (;;)
        __asm__ volatile("cli; hlt");
}

void backend_unenforced(const struct vcpu *v, struct unenforced *found)
{
    if (intel)
        vmx_unenforced(v, found);
    else
        svm_unenforced(v, found);
}

int backend_vcpu_create(struct vcpu *v, hpa_t root)
{
    return intel ? vmx_vcpu_create(v, root) : svm_vcpu_create(v, root);
}

int backend_vcpu_renew(struct vcpu *v, hpa_t root)
{
    return intel ? vmx_vcpu_renew(v, root) : svm_vcpu_renew(v, root);
}

void backend_set_state(struct vcpu *v, const struct vcpu_state *state)
{
    if (intel)
        vmx_set_state(v, state);
    else
        svm_set_state(v, state);
}

void backend_get_state(struct vcpu *v, struct vcpu_state *state)
{
    if (intel)
        vmx_get_state(v, state);
    else
        svm_get_state(v, state);
}

void backend_run(struct vcpu *v)
{
    if (intel)
        vmx_run(v);
    else
        svm_run(v);
}

/* SVM holds NMIs back by GIF until the guest runs, and they exit then. */
uint64_t backend_after_nmi(uint64_t rip)
{
    return intel ? vmx_after_nmi(rip) : rip;
}

void backend_pass_msr(struct vcpu *v, uint32_t msr, bool read, bool write)
{
    if (intel)
        vmx_pass_msr(v, msr, read, write);
    else
        svm_pass_msr(v, msr, read, write);
}

void backend_trap_port(uint16_t port, bool trap)
{
    if (intel)
        vmx_trap_port(port, trap);
    else
        svm_trap_port(port, trap);
}

int backend_write_cr(struct vcpu *v, unsigned int cr, uint64_t value)
{
    return intel ? vmx_write_cr(v, cr, value) : svm_write_cr(v, cr, value);
}

int backend_write_efer(struct vcpu *v, uint64_t value)
{
    return intel ? vmx_write_efer(v, value) : svm_write_efer(v, value);
}

bool backend_in_64bit_code(struct vcpu *v)
{
    return intel ? vmx_in_64bit_code(v) : svm_in_64bit_code(v);
}

uint8_t backend_hypercall_opcode(void)
{
    return intel ? 0xc1 : 0xd9;
}

uint64_t backend_read_cr0(struct vcpu *v)
{
    return intel ? vmx_read_cr0(v) : svm_read_cr0(v);
}

uint64_t backend_rflags(struct vcpu *v)
{
    return intel ? vmx_rflags(v) : svm_rflags(v);
}

void backend_load_paging(struct vcpu *v, const struct hardware_paging *paging)
{
    if (intel)
        vmx_load_paging(v, paging);
    else
        svm_load_paging(v, paging);
}

void backend_flush_address(struct vcpu *v, gla_t address)
{
    if (intel)
        vmx_flush_address(v, address);
    else
        svm_flush_address(v, address);
}

void backend_flush_linear(struct vcpu *v)
{
    if (intel)
        vmx_flush_linear(v);
    else
        svm_flush_linear(v);
}

void backend_probe(struct vcpu *v, gpa_t address)
{
    if (intel)
        vmx_probe(v, address);
}

uint64_t backend_read_cr4(struct vcpu *v)
{
    return intel ? vmx_read_cr4(v) : svm_read_cr4(v);
}

uint64_t backend_read_efer(struct vcpu *v)
{
    return intel ? vmx_read_efer(v) : svm_read_efer(v);
}

unsigned int backend_cpl(struct vcpu *v)
{
    return intel ? vmx_cpl(v) : svm_cpl(v);
}

void backend_dump(struct vcpu *v, void (*line)(const char *text))
{
    if (intel)
        vmx_dump(v, line);
    else
        svm_dump(v, line);
}

const struct msr_rule *backend_msr_rules(size_t *count)
{
    return intel ? vmx_msr_rules(count) : svm_msr_rules(count);
}
