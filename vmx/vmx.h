/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef LATCH_VMX_VMX_H
#define LATCH_VMX_VMX_H
/*
 * vmx/: all that is Intel's alone. One VMCS for each vCPU, which never leaves its CPU, so that the
 * VMCS stays current and the VPID stays its own. The guest's state lives in the VMCS and, where
 * Latch itself never uses a register (DR0-DR6, CR2, XCR0, the SYSCALL MSRs), in the hardware.
 *
 *   vmcs.h           fields and their widths             controls.c     capability MSRs
 *   preflight.c      what the hardware must have         enable.c       VMXON and VMXOFF
 *   vcpu.c, state.c  making, loading and reading a vCPU  cr.c           CR0, CR3, CR4, EFER
 *   entry.asm        entry and exit                      exit.c         decode, dispatch, carry out
 *   event.c          injection and delivery again        tlb.c          INVEPT and INVVPID
 *   permissions.c    MSR and I/O bitmaps                 dump.c         the VMCS in words
 *   paging.c         the guest's registers, the hardware's
 *   reason.c         exit reasons and errors by name     qualification.c  their details
 *   quick.c          the exits that need least            timed.c        exits with stats=on
 *   probe.c          what a walk of the guest's tables was for
 *
 * The functions below are kernel/backend.h's, with the contracts that stand there.
 */
#include "kernel/backend.h"
#include <stddef.h>

/* Intel's and the makers who took VMX over, even if VMX is not offered: the preflight names it. */
bool vmx_present(void);
int vmx_preflight(struct preflight *table);
/* Only after vmx_preflight() returned 0. */
void vmx_caps(struct backend_caps *caps);
int vmx_enable(struct cpu *cpu);
void vmx_disable(struct cpu *cpu);
void vmx_unenforced(const struct vcpu *v, struct unenforced *found);
int vmx_vcpu_create(struct vcpu *v, hpa_t root);
int vmx_vcpu_renew(struct vcpu *v, hpa_t root);
void vmx_set_state(struct vcpu *v, const struct vcpu_state *state);
void vmx_get_state(struct vcpu *v, struct vcpu_state *state);
void vmx_run(struct vcpu *v);
void vmx_pass_msr(struct vcpu *v, uint32_t msr, bool read, bool write);
void vmx_trap_port(uint16_t port, bool trap);
const struct msr_rule *vmx_msr_rules(size_t *count);
int vmx_write_cr(struct vcpu *v, unsigned int cr, uint64_t value);
int vmx_write_efer(struct vcpu *v, uint64_t value);
uint64_t vmx_read_cr0(struct vcpu *v);
uint64_t vmx_read_cr4(struct vcpu *v);
uint64_t vmx_rflags(struct vcpu *v);
bool vmx_in_64bit_code(struct vcpu *v);
void vmx_load_paging(struct vcpu *v, const struct hardware_paging *paging);
void vmx_flush_address(struct vcpu *v, gla_t address);
void vmx_flush_linear(struct vcpu *v);
void vmx_probe(struct vcpu *v, gpa_t address);
uint64_t vmx_read_efer(struct vcpu *v);
unsigned int vmx_cpl(struct vcpu *v);
void vmx_dump(struct vcpu *v, void (*line)(const char *text));

/*
 * To be called by the host's NMI handler: where to return to if it has interrupted Latch at `rip`.
 * In the few instructions before VMLAUNCH and VMRESUME it is their start, so that exit_dispatch()
 * gets an EXIT_NMI before the guest runs; else it is `rip`, and the EXIT_NMI comes in time.
 */
uint64_t vmx_after_nmi(uint64_t rip);

#endif
