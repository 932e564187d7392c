/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef LATCH_KERNEL_BACKEND_H
#define LATCH_KERNEL_BACKEND_H
/*
 * What a back end offers. vmx/vmx.h and svm/svm.h declare the same functions with their own prefix
 * (vmx_preflight, svm_preflight, …); backend.c chooses by one `if` each, so that there is neither
 * an ops table nor an indirect call. Of one machine only one back end ever runs.
 */
#include "kernel/msr.h"
#include "kernel/vcpu.h"
#include "mmu/encryption.h"
#include "mmu/role.h"
#include <stddef.h>

/* One line of the preflight table. */
struct preflight_row {
    const char *need;   /* "EPT" */
    const char *wanted; /* "1 (IA32_VMX_PROCBASED_CTLS2 bit 33)" */
    char found[40];
    const char *advice; /* what to do about a refusal */
    bool required, ok;
};
#define PREFLIGHT_ROWS 40U
struct preflight {
    unsigned int rows;
    struct preflight_row row[PREFLIGHT_ROWS];
};

/* What the chosen back end's hardware offers the table builders. */
struct backend_caps {
    bool page_1g, execute_only, accessed_dirty;
    unsigned int levels; /* 4, or 5 where those would not reach all physical addresses */
    bool narrow;         /* PAGED_NARROW: CR3 loads exit, and backend_probe() works */
    bool checks_cr3;     /* loads of CR3 exit where v->choice says so, with PAGED_DIRECT too */
    bool init_exits;     /* an INIT to a running guest reaches Latch by itself */
    const char *format;  /* "EPT" or "NPT" */
};

/* Is this CPU the back end's (by CPUID only)? */
bool backend_present(void);
/* "VMX" or "SVM", after backend_present(). */
const char *backend_name(void);
/* Fill the table, changing nothing; 0, or -ENODEV if a required row is not ok. */
int backend_preflight(struct preflight *table);
void backend_caps(struct backend_caps *caps);
/* Which C-bit and width of addresses the CPU has now, with no memory encrypted yet; after
 * backend_present(). All zeros if memory encryption is off, or unfit for use, which the preflight
 * then refuses. */
void backend_encryption(struct encryption *e);
/* An MSR in which an application processor must have these bits before it can load memory_cr3(); 0
 * for none. */
void backend_start_msr(uint32_t *msr, uint32_t *bits);
/* What the guest reads where a rule says MSR_READ_HOST and the hardware has `host`. */
uint64_t backend_shown_msr(const struct vcpu *v, uint32_t msr, uint64_t host);
/* Enter and leave VMX root operation, or set and clear EFER.SVME, on this CPU. -errno with nothing
 * changed; allocates what it needs from memory_alloc_page(). */
int backend_enable(struct cpu *cpu);
void backend_disable(struct cpu *cpu);
/* Hold this CPU for ever, deaf to all that the guest could send to it: in VMX root operation INIT is
 * blocked, on SVM GIF is 0. */
_Noreturn void backend_park(void);
/* Of what the vCPU's CPU has and its model hides: the instructions that nothing makes fault, those
 * whose #UD comes late, and the state components that the guest can enable; all of *found but the
 * features. After backend_enable() and once v->rules are set; on any CPU. */
void backend_unenforced(const struct vcpu *v, struct unenforced *found);
/* Make the control structures of a vCPU (v->backend); called once, on the vCPU's own CPU, after
 * v->rules and v->props are set. -ENOMEM, or -ENOTSUP if the model needs a control that the
 * hardware does not have: the refusal is printed by name. `root` is the nested table's root. */
int backend_vcpu_create(struct vcpu *v, hpa_t root);
/* Make the contents of these structures anew, as _create() does, for the next generation's model:
 * v->rules, v->props and v->paging have changed. Nothing is allocated. -ENOTSUP. */
int backend_vcpu_renew(struct vcpu *v, hpa_t root);
/* Load the whole state of a vCPU (launch, SIPI, relaunch), on its own CPU. */
void backend_set_state(struct vcpu *v, const struct vcpu_state *state);
/* Read the whole state back, on its own CPU. */
void backend_get_state(struct vcpu *v, struct vcpu_state *state);
/* Run until exit_dispatch() says EXIT_STOP. Interrupts go to the guest directly. */
void backend_run(struct vcpu *v);
/* For the NMI handler, which has interrupted Latch at `rip`: where to return to, so that the
 * dispatcher gets an EXIT_NMI before the guest runs next. */
uint64_t backend_after_nmi(uint64_t rip);
/* Trap or pass one MSR; both directions are trapped at first. On the vCPU's own CPU, or before it
 * ran. Takes effect at its next entry. */
void backend_pass_msr(struct vcpu *v, uint32_t msr, bool read, bool write);
/* Trap or pass a port. All ports are passed at first, and the bitmap is the VM's: one for all. */
void backend_trap_port(uint16_t port, bool trap);
/* The MSRs that only this vendor's CPUs have. */
const struct msr_rule *backend_msr_rules(size_t *count);
/*
 * The guest writes CR0, CR3 or CR4 (EXIT_CR_WRITE), EFER (EXIT_WRMSR); does what the architecture
 * does, or returns -EINVAL: #GP(0). CR3: reserved bits are checked by the caller, PCID and no-flush
 * bits included; here are the PDPTEs (by the vendor of v->props, with PAGED_SHADOW through
 * paging_load_pdptes()). With PAGED_SHADOW the guest's view changes and the hardware's bits that
 * shadow paging forces stay; tables and TLB are then backend_load_paging()'s, which the caller
 * calls next.
 */
int backend_write_cr(struct vcpu *v, unsigned int cr, uint64_t value);
int backend_write_efer(struct vcpu *v, uint64_t value);
/* The registers that a dynamic CPUID bit or an MSR read depends on, read cheaply, on its own CPU. */
uint64_t backend_read_cr0(struct vcpu *v);
uint64_t backend_read_cr4(struct vcpu *v);
uint64_t backend_rflags(struct vcpu *v);
uint64_t backend_read_efer(struct vcpu *v);

/*
 * Shadow paging (PAGED_SHADOW): what the hardware pages with from the next entry on; the linear
 * translations of before are flushed. Forced while `shadow` is set: CR0.PG, WP unless no_wp, CR4.PAE
 * and EFER.NXE are 1 and CR4.PCIDE is 0 in hardware; LA57, PGE, SMEP, SMAP, PKE, EFER.LME and LMA are
 * the guest's. While it is not, the guest has CR0.PG=0 and the hardware too.
 */
struct hardware_paging {
    bool shadow;
    bool no_wp;            /* CR0.WP is 0 in hardware, as the guest's is then */
    hpa_t nested;          /* root of the nested tables */
    hpa_t cr3;             /* root of the shadow tables: PAE's below 4 GiB, or long mode's; to the
                            * hardware this one is a guest-physical address */
    const uint64_t *pdpte; /* PAE: its four entries, which VMX holds in the VMCS */
};
void backend_load_paging(struct vcpu *v, const struct hardware_paging *paging);
/* Drop the linear translations of one address, global ones too; or all, global ones too. */
void backend_flush_address(struct vcpu *v, gla_t address);
void backend_flush_linear(struct vcpu *v);
/*
 * PAGED_NARROW, VMX only: let the guest try once more what made a walk of its tables read at `address`, where
 * nothing is mapped, with zeros there. An EXIT_PAGE_FAULT with `probed` set then tells what the
 * access was; whatever else comes, after one instruction all is as before. Under the table lock.
 */
void backend_probe(struct vcpu *v, gpa_t address);

/* Whether the guest runs 64-bit code. */
bool backend_in_64bit_code(struct vcpu *v);
/* The last byte of the hypercall instruction, after 0F 01: VMCALL's or VMMCALL's. */
uint8_t backend_hypercall_opcode(void);
/* The privilege level of the guest, 0 to 3. */
unsigned int backend_cpl(struct vcpu *v);
/* Exit instructions and their state for the dump: a few lines by `line`. */
void backend_dump(struct vcpu *v, void (*line)(const char *text));

#endif
