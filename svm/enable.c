/* SPDX-License-Identifier: BSD-2-Clause */
#include "cpuid/capture.h"
#include "cpuid/policy.h"
#include "kernel/console.h"
#include "kernel/lock.h"
#include "kernel/memory.h"
#include "kernel/x86.h"
#include "svm/internal.h"
#include <errno.h>

static void run_cpuid(void *ctx, uint32_t leaf, uint32_t subleaf, struct cpuid_regs *regs)
{
    (void)ctx;
    cpuid_raw(leaf, subleaf, &regs->eax, &regs->ebx, &regs->ecx, &regs->edx);
}

/* What the CPU accepts, whether or not a guest may have it: what a model lacks of it needs an
 * intercept. rules_derive() would leave out what the policy hides from everybody. */
static int read_accepted(struct svm_cpu *svm)
{
    static struct lock busy;
    static struct model host;

    lock(&busy);
    int error = model_capture(&host, run_cpuid, NULL);
    svm->cr4 = CPU_CR4_PCE;
    for (size_t i = 0; i < policy_feature_count; i++) {
        const struct policy_feature *f = &policy_features[i];
        if (!policy_has(&host, f))
            continue;
        svm->cr4 |= f->cr4;
    }
    unlock(&busy);
    return error;
}

/* VMRUN refuses what WRMSR refuses, or drops as QEMU's TCG does: a guest must not get that far. */
static uint64_t accepted_efer(void)
{
    const uint64_t now = rdmsr(MSR_EFER);
    uint64_t accepted = now;

    for (unsigned int bit = 0; bit < 32; bit++) {
        if (!(now >> bit & 1) && wrmsr_safe(MSR_EFER, now | 1UL << bit) == 0) {
            accepted |= rdmsr(MSR_EFER) & 1UL << bit;
            wrmsr(MSR_EFER, now);
        }
    }
    return accepted;
}

static void read_features(struct svm_cpu *svm)
{
    uint32_t a, b, c, d;

    cpuid_raw(CPUID_SVM, 0, &a, &b, &c, &d);
    svm->asids = b;
    svm->next_rip = d & SVM_EDX_NRIP_SAVE;
    svm->clean_bits = d & SVM_EDX_CLEAN_BITS;
    svm->flush_by_asid = d & SVM_EDX_FLUSH_BY_ASID;
    svm->decode_assists = d & SVM_EDX_DECODE_ASSISTS;
}

/* Free the page with the struct and those that it names. */
static void release(struct svm_cpu *svm)
{
    if (svm->host_save.raw)
        memory_free_page(svm->host_save);
    if (svm->host_vmcb.raw)
        memory_free_page(svm->host_vmcb);
    memory_free_page(memory_address_of(svm));
}

static int allocate(struct svm_cpu **out)
{
    hpa_t page;
    int error = memory_alloc_page(&page);

    if (error)
        return error;
    struct svm_cpu *svm = memory_at(page);
    error = memory_alloc_page(&svm->host_save);
    if (!error)
        error = memory_alloc_page(&svm->host_vmcb);
    if (error)
        release(svm);
    else
        *out = svm;
    return error;
}

/* A pending INIT becomes an #SX that Latch's handler ignores; else it would reset the CPU as soon
 * as GIF is 1. Emulators have no VM_CR, and keep the INIT from Latch in other ways. */
static bool redirect_init(bool on)
{
    uint64_t vm_cr;

    if (rdmsr_safe(MSR_VM_CR, &vm_cr))
        return false;
    vm_cr = on ? vm_cr | VM_CR_R_INIT : vm_cr & ~VM_CR_R_INIT;
    if (wrmsr_safe(MSR_VM_CR, vm_cr) || rdmsr_safe(MSR_VM_CR, &vm_cr))
        return false;
    return vm_cr & VM_CR_R_INIT;
}

/* It must be on in all CPUs or in none (§7.10.2). */
static bool encrypts_alike(const struct cpu *cpu)
{
    bool here = svm_encrypts(), wanted = memory_encryption.cbit != 0;

    if (here != wanted)
        console_line("latch: CPU %u has SME %s, the boot processor %s: update the firmware",
                     cpu->index, here ? "on" : "off", wanted ? "on" : "off");
    return here == wanted;
}

int svm_enable(struct cpu *cpu)
{
    struct svm_cpu *svm;

    if (!encrypts_alike(cpu))
        return -EIO;
    int error = allocate(&svm);

    if (error)
        return error;
    read_features(svm);
    error = read_accepted(svm);
    if (!error && wrmsr_safe(MSR_EFER, rdmsr(MSR_EFER) | EFER_SVME)) {
        console_line("latch: CPU %u refuses EFER.SVME: firmware has disabled SVM (VM_CR.SVMDIS)",
                     cpu->index);
        error = -EIO;
    }
    if (error) {
        release(svm);
        return error;
    }
    svm->efer = accepted_efer();
    wrmsr(MSR_VM_HSAVE_PA, memory_register(svm->host_save));
    svm->init_redirected = redirect_init(true);
    svm_vmsave(memory_register(svm->host_vmcb));
    cpu->backend = svm;
    return 0;
}

void svm_disable(struct cpu *cpu)
{
    (void)redirect_init(false);
    wrmsr(MSR_VM_HSAVE_PA, 0);
    wrmsr(MSR_EFER, rdmsr(MSR_EFER) & ~EFER_SVME);
    release(cpu->backend);
    cpu->backend = NULL;
}
