/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef LATCH_KERNEL_PAGING_H
#define LATCH_KERNEL_PAGING_H
/*
 * The exits that enforce the guest's paging, by how it is enforced (kernel/paging_choice.h). The
 * tables themselves are mmu/'s; a back end loads what backend_load_paging() gets.
 *
 *   PAGED_DIRECT  the hardware walks the guest's tables: no exits, but of CR3 loads on VMX where the
 *                 CPU has LAM
 *   PAGED_NARROW  the same, for a smaller MAXPHYADDR: #PFs with P=1 and RSVD=0 are walked again,
 *                 EPT violations beyond the limit become the guest's own fault (narrow.h), CR3
 *                 loads and PDPTEs are checked
 *   PAGED_SHADOW  the hardware walks Latch's tables (mmu/shadow.h) from linear to guest-physical
 *                 addresses, and the nested tables from there on, as they always are
 */
#include "kernel/exit.h"
#include "kernel/vcpu.h"

/* The exits. Each takes the VM's lock where it needs it. */
enum exit_action paging_write_cr(struct vcpu *v, struct exit *exit);
enum exit_action paging_read_cr(struct vcpu *v, struct exit *exit);
enum exit_action paging_fault(struct vcpu *v, struct exit *exit);
/* EXIT_MEMORY: where it is none of paging's, as mmio_access(). */
enum exit_action paging_memory(struct vcpu *v, struct exit *exit);
enum exit_action paging_invlpg(struct vcpu *v, struct exit *exit);
enum exit_action paging_invpcid(struct vcpu *v, struct exit *exit);

/* The nested tables that the vCPU runs on now. */
struct table_page *paging_nested_root(struct vcpu *v);

/*
 * The four PDPTEs that a load of PAE paging with these registers would hold, in pdpte[]; read from
 * guest memory. -EINVAL: one that is present has a reserved bit set and the model's vendor rule
 * checks them at the load (Intel, SDM vol. 3 §4.4.1; AMD under nested paging reads them on demand).
 * They are held once the write that loads them, by paging_write_cr(), has succeeded.
 */
int paging_load_pdptes(struct vcpu *v, uint64_t cr3, bool nxe, uint64_t pdpte[4]);

/* Drop all linear translations of the vCPU, global ones too. On its own CPU. */
void paging_flush(struct vcpu *v);

/* The vCPU's registers were set as a whole (launch, INIT, RESET), or EFER was written: have the
 * tables follow. On its own CPU. */
void paging_follow(struct vcpu *v);

#endif
