/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef LATCH_SVM_SVM_H
#define LATCH_SVM_SVM_H
/*
 * svm/: all that is AMD's alone. The VMCB and who may write it (vmcb.h), the preflight table,
 * memory encryption (encryption.c), enabling (enable.c), a vCPU's control structures (vcpu.c) and
 * its state (state.c), the entry stub (entry.asm), the decoding of exits (exit.c), those that need
 * least (quick.c, code.c) and their timing (timed.c), events and NMI blocking (event.c), the
 * permission maps (permissions.c), control registers (cr.c, control_registers.h) and what their
 * instructions move (operand.c, cr_code.h), TLB control (tlb.c) and what is printed of a VMCB
 * (dump.c).
 *
 * The guest runs with its own interrupts, its own CR3, CR0, DRs, FPU and HLT; GIF is 0 from before
 * VMRUN until an exit is handled, so that no NMI, INIT or machine check comes in between
 * (APM vol. 2 §15.17). Chapter numbers are those of APM vol. 2 unless another volume is named.
 *
 * With shadow paging CR3 is Latch's, and of CR0, CR4 and EFER the guest's view is kept as the bits
 * in which the hardware differs from it. Nested paging is always on.
 *
 * SVM's own instructions are intercepted, and give #UD; from user mode they give #GP, because the
 * CPU looks at the privilege level first (§15.9). That would take an exit at every #GP to mend.
 *
 * Not intercepted on purpose: #AC and #DB. A guest can make its CPU deliver one of them without end
 * (§15.12.2); its CPU is then lost to it until a reset, and to nobody else.
 */
#include "kernel/backend.h"

/* The functions of kernel/backend.h, whose contracts hold here. */
bool svm_present(void);
int svm_preflight(struct preflight *table);
void svm_encryption(struct encryption *e);
void svm_start_msr(uint32_t *msr, uint32_t *bits);
uint64_t svm_shown_msr(const struct vcpu *v, uint32_t msr, uint64_t host);
void svm_caps(struct backend_caps *caps);
int svm_enable(struct cpu *cpu);
void svm_disable(struct cpu *cpu);
/* Clear GIF on this CPU: no interrupt, NMI, SMI or INIT reaches it (APM vol. 2 §15.17). */
void svm_close_gif(void);
void svm_unenforced(const struct vcpu *v, struct unenforced *found);
int svm_vcpu_create(struct vcpu *v, hpa_t root);
int svm_vcpu_renew(struct vcpu *v, hpa_t root);
void svm_set_state(struct vcpu *v, const struct vcpu_state *state);
void svm_get_state(struct vcpu *v, struct vcpu_state *state);
void svm_run(struct vcpu *v);
void svm_pass_msr(struct vcpu *v, uint32_t msr, bool read, bool write);
void svm_trap_port(uint16_t port, bool trap);
int svm_write_cr(struct vcpu *v, unsigned int cr, uint64_t value);
int svm_write_efer(struct vcpu *v, uint64_t value);
uint64_t svm_read_cr0(struct vcpu *v);
uint64_t svm_read_cr4(struct vcpu *v);
uint64_t svm_rflags(struct vcpu *v);
bool svm_in_64bit_code(struct vcpu *v);
void svm_load_paging(struct vcpu *v, const struct hardware_paging *paging);
void svm_flush_address(struct vcpu *v, gla_t address);
void svm_flush_linear(struct vcpu *v);
uint64_t svm_read_efer(struct vcpu *v);
unsigned int svm_cpl(struct vcpu *v);
void svm_dump(struct vcpu *v, void (*line)(const char *text));

/* The MSRs that only this vendor's CPUs have; `count` of them. */
const struct msr_rule *svm_msr_rules(size_t *count);

#endif
