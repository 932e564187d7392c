/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef LATCH_SVM_INTERNAL_H
#define LATCH_SVM_INTERNAL_H
/* What the files of svm/ share among themselves. */
#include "kernel/x86.h"
#include "svm/control_registers.h"
#include "svm/svm.h"
#include "svm/vmcb.h"

/* CPUID.8000000AH (APM vol. 3 §E.4.9). */
#define CPUID_SVM              0x8000000aU
#define SVM_EDX_NPT            (1U << 0)
#define SVM_EDX_NRIP_SAVE      (1U << 3)
#define SVM_EDX_CLEAN_BITS     (1U << 5)
#define SVM_EDX_FLUSH_BY_ASID  (1U << 6)
#define SVM_EDX_DECODE_ASSISTS (1U << 7)

/* AMD's own MSRs (§15.30). */
#define MSR_SYSCFG      0xc0010010U
#define MSR_VM_CR       0xc0010114U
#define MSR_VM_HSAVE_PA 0xc0010117U
#define VM_CR_R_INIT    (1UL << 1)
#define VM_CR_LOCK      (1UL << 3)
#define VM_CR_SVMDIS    (1UL << 4)

/* What svm_enable() makes for a CPU; one page. Constant once the CPU is up. */
struct svm_cpu {
    hpa_t host_save; /* where VMRUN keeps what #VMEXIT restores (§15.30.4) */
    hpa_t host_vmcb; /* where VMSAVE keeps Latch's FS, GS, TR and the MSRs with them */
    uint64_t cr4;    /* bits that the CPU itself accepts */
    uint64_t efer;   /* as tried: Bochs shows TCE in CPUID and refuses it, QEMU LMSLE */
    uint32_t asids;
    bool next_rip, decode_assists, clean_bits, flush_by_asid;
    bool init_redirected; /* a pending INIT becomes #SX once GIF is 1 (§15.28) */
};
_Static_assert(sizeof(struct svm_cpu) <= 4096, "it has one page");

/* An instruction that the guest executes alone, without the intercept that it met. */
enum svm_step {
    STEP_NONE,
    STEP_IRET, /* the one that ends an NMI handler */
    STEP_MSW,  /* LMSW, or SMSW to memory */
};

/*
 * Where the guest's 64-bit code lies, for CPUs that do not save the next RIP: the walk of its page
 * tables to the page that was decoded last, and all that it depended on. Each entry is looked at
 * again before the page is, which makes it as good as a new walk.
 */
struct svm_code {
    unsigned int entries; /* 0: nothing is remembered */
    uint8_t cpl;
    uint64_t page; /* the linear address, in pages */
    uint64_t cr0, cr3, cr4, efer;
    struct {
        const volatile uint64_t *at;
        uint64_t value;
    } entry[5];
    const volatile uint8_t *bytes;
};

/* Whether svm_quick() may answer, and how it finds the instruction's end. */
enum svm_quick {
    QUICK_NOT, /* the VMCB still holds what only the entry before last was to do */
    QUICK_NEXT_RIP,
    QUICK_CODE,
};

/* One vCPU; one page. (c) constant after svm_vcpu_create(), (o) its own CPU only. */
struct svm_vcpu {
    struct vmcb *vmcb;         /* (c) */
    hpa_t vmcb_address;        /* (c) */
    uint8_t *msrpm;            /* (c) two pages */
    const struct svm_cpu *cpu; /* (c) */
    uint32_t clean;            /* (c) the clean bits that the CPU knows */
    bool nmi_blocked;          /* (o) an NMI was delivered and its IRET is still to come */
    bool nmi_pending;          /* (o) another came meanwhile */
    uint64_t injected_rip;     /* (o) RIP when the event that stands in EVENTINJ was put there */
    enum svm_step step;        /* (o) */
    bool step_own_tf;          /* (o) the guest's own RFLAGS.TF before the step, */
    uint64_t step_own_dr6;     /* (o) its DR6, */
    uint64_t step_own_cr0;     /* (o) and CR0 */
    bool shadow;               /* (o) the hardware walks the shadow tables */
    bool no_wp;                /* (o) and has CR0.WP=0 */
    uint64_t cr3;              /* (o) what Latch loaded into it: PAGED_SHADOW only */
    enum svm_quick quick;      /* (o) */
    struct svm_code code;      /* (o) */
    struct svm_code way[2];    /* (o) the same for what changes the way to it: two roots by turns */
    bool turn;                 /* (o) which was used last */
    /* (o) Bits that are otherwise in hardware than the guest reads them. */
    struct control_registers differ;
};

static inline struct svm_vcpu *svm_of(struct vcpu *v)
{
    return v->backend;
}
static inline struct vmcb *vmcb_of(struct vcpu *v)
{
    return svm_of(v)->vmcb;
}

/* The guest's CR2. Bochs does not load it by VMRUN, and no host has use for the register. */
static inline void svm_set_cr2(struct vmcb *vmcb, uint64_t value)
{
    vmcb_set_cr2(vmcb, value);
    write_cr2(value);
}

/* The guest's own CR3. */
static inline uint64_t svm_read_cr3(const struct vcpu *v)
{
    const struct svm_vcpu *svm = v->backend;
    return v->paging == PAGED_SHADOW ? v->cr3 : svm->vmcb->save.cr3;
}

/* True if the guest's code is 64-bit. */
static inline bool svm_in_64_bit_mode(const struct vmcb *vmcb)
{
    return (vmcb->save.efer & EFER_LMA) && (vmcb->save.cs.attributes & SEGMENT_L);
}

/* True if RIP lies in the page that is remembered, and a walk would lead there again. */
static inline bool svm_code_stands(const struct vcpu *v, const struct svm_vcpu *svm,
                                   const struct svm_code *code)
{
    const struct vmcb_save *save = &svm->vmcb->save;

    if (code->entries == 0 || save->rip >> PAGE_SHIFT != code->page || save->cpl != code->cpl ||
        svm_read_cr3(v) != code->cr3 || (save->cr0 ^ svm->differ.cr0) != code->cr0 ||
        (save->cr4 ^ svm->differ.cr4) != code->cr4 || (save->efer ^ svm->differ.efer) != code->efer)
        return false;
    for (unsigned int i = 0; i < code->entries; i++)
        if (*code->entry[i].at != code->entry[i].value)
            return false;
    return true;
}

/* entry.asm: CLGI, then VMRUN until svm_quick() and svm_exit() say no, then STGI. Addresses here and
 * below are memory_register()'s. */
void svm_loop(struct vcpu *v, uint64_t vmcb, uint64_t host_vmcb);
/* entry.asm: the same where v->measures asks for some. */
void svm_loop_measured(struct vcpu *v, uint64_t vmcb, uint64_t host_vmcb);
/* entry.asm: the same with svm_exit_timed(). */
void svm_loop_timed(struct vcpu *v, uint64_t vmcb, uint64_t host_vmcb);
/* entry.asm: let in the NMI or INIT that an exit announced: GIF to 1 and back to 0. */
void svm_open_gif(void);
/* entry.asm: VMSAVE to the VMCB at this address. */
void svm_vmsave(uint64_t vmcb);

/* exit.c: handle one exit; true: enter again. */
bool svm_exit(struct vcpu *v);
/* quick.c: handle one exit while FS, GS, TR and the MSRs with them are the guest's; false: nothing
 * is done, svm_exit() is to. */
bool svm_quick(struct vcpu *v);
/* code.c: the instruction at RIP, as vcpu_decode(). `stays` if it is none that changes the way to it,
 * as a load of CR3 does: those are remembered apart. */
unsigned int svm_decode(struct vcpu *v, bool stays, struct insn *insn);
/* timed.c: both, and tell how long it took. */
bool svm_exit_timed(struct vcpu *v);

/* event.c */
/* Deliver again what the exit interrupted in its delivery, or nothing; at each exit, first. */
void svm_reinject(struct vcpu *v);
/* Deliver `event` at the next entry, combined with what svm_reinject() left there (§8.2.9); false
 * if that makes a shutdown: nothing is then delivered. */
bool svm_inject(struct vcpu *v, const struct event *event);
/* Mark NMIs as blocked or not. */
void svm_block_nmis(struct vcpu *v, bool blocked);
/* Intercept the exceptions that are always intercepted, and no others. */
void svm_intercept_exceptions(struct vcpu *v);
/* The guest is about to execute the IRET that ends its NMI handler: let it, alone. */
void svm_step_iret(struct vcpu *v);
/* The same for an LMSW (write), which changes nothing that shadow paging depends on, or an SMSW,
 * which sees nothing of it; but its store may put the vCPU on private tables. */
void svm_step_msw(struct vcpu *v, bool write);
/* An exception was intercepted that only a step intercepts, so the step is over: NMIs are open again
 * behind an IRET, and an exception of the guest's own is delivered to it. */
void svm_step_done(struct vcpu *v);

/* encryption.c */
/* Whether this CPU has SME on (§7.10.2), whatever Latch makes of it. */
bool svm_encrypts(void);
/* Add what the preflight wants of it, if it is on. */
void svm_preflight_encryption(struct preflight *table);

/* preflight.c: add a row to the table. */
void svm_preflight_add(struct preflight *table, const struct preflight_row *row);

/* cr.c */
/* Have the guest read these, and the hardware what it needs besides. */
void svm_put_control_registers(struct vcpu *v, const struct control_registers *guest);
/* Intercept those accesses that would show or miss what differs. */
void svm_intercept_differences(struct vcpu *v);
void svm_intercept_task_switch(struct svm_vcpu *svm);
/* Have the guest read this of CR0, and EFER.LMA as it says. */
void svm_settle_cr0(struct vcpu *v, uint64_t cr0);
/* EFER.LMA as CR0 has it. Bochs has set it by the CR0 write that an intercept then refused. */
void svm_settle_lma(struct vcpu *v);

/* operand.c: exits whose instruction has operands. False if the instruction is no longer there, or
 * was dealt with: the guest then goes on where it is. */
bool svm_decode_cr(struct vcpu *v, struct exit *exit);
bool svm_decode_invlpg(struct vcpu *v, struct exit *exit);
/* After VMEXIT_INVALID: true if that was a load of CR3 with reserved bits (machine_ends_bad_cr3()), which
 * is to be a #GP. */
bool svm_decode_bad_cr3(struct vcpu *v, struct exit *exit);
/* The length of the instruction that exited, or 0 if this CPU does not save the next RIP. */
uint8_t svm_saved_length(const struct svm_vcpu *svm);

/* permissions.c: the physical address of the VM's I/O permission map (§15.10.1). */
hpa_t svm_iopm(void);

/* tlb.c */
/* The vCPU's ASID: fixed, so that they never run out (§15.16); -ENOTSUP if the CPU has too few. */
int svm_tlb_init(struct vcpu *v);
/* Flush all that the vCPU's ASID has cached, at the next entry. */
void svm_tlb_flush(struct vcpu *v);
/* Before each entry: flush if another CPU asked for it (v->flush). */
static inline void svm_tlb_follow(struct vcpu *v)
{
    if (atomic_load_explicit(&v->flush, memory_order_relaxed) && atomic_exchange(&v->flush, false))
        svm_tlb_flush(v);
}

#endif
