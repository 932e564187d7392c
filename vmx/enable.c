/* SPDX-License-Identifier: BSD-2-Clause */
#include "kernel/console.h"
#include "kernel/memory.h"
#include "vmx/controls.h"
#include "vmx/vcpu.h"
#include "vmx/vmx.h"
#include <errno.h>

/* The VMXON, VMCLEAR and VMPTRLD that fail set CF or ZF: SDM vol. 3 §31.2. */
static bool vmxon(hpa_t region)
{
    bool failed;
    __asm__ volatile("vmxon %1" : "=@ccbe"(failed) : "m"(region.raw) : "memory");
    return !failed;
}

/* An unlocked MSR is locked here with VMX on, as VMXON requires: SDM vol. 3 §24.7. */
static int allow_vmx(unsigned int cpu)
{
    uint64_t value = rdmsr(MSR_FEATURE_CONTROL);
    if (!(value & FEATURE_CONTROL_LOCK)) {
        value |= FEATURE_CONTROL_LOCK | FEATURE_CONTROL_VMX_OUTSIDE_SMX;
        wrmsr(MSR_FEATURE_CONTROL, value);
    }
    if (value & FEATURE_CONTROL_VMX_OUTSIDE_SMX)
        return 0;
    console_line("CPU %u: IA32_FEATURE_CONTROL is %lx, wanted bit 2: the firmware has locked VMX "
                 "off on this CPU; switch it on in the set-up and power-cycle",
                 cpu, value);
    return -EPERM;
}

/* CR0 and CR4 must have the fixed bits: SDM vol. 3 appendix A.7, A.8. */
static int check_fixed(const char *name, unsigned int cpu, uint64_t value, uint32_t fixed0,
                       uint32_t fixed1)
{
    uint64_t set = rdmsr(fixed0), allowed = rdmsr(fixed1);
    if ((value & set) == set && !(value & ~allowed))
        return 0;
    console_line("CPU %u: %s is %lx; VMX wants %lx set and %lx at most: a firmware or Latch set a "
                 "bit that this CPU's VMX does not allow",
                 cpu, name, value, set, allowed);
    return -ENOTSUP;
}

static int make_region(struct vmx_cpu *vmx)
{
    int error = memory_alloc_page(&vmx->vmxon);
    if (error)
        return error;
    *(uint32_t *)memory_at(vmx->vmxon) = (uint32_t)rdmsr(MSR_VMX_BASIC) & BASIC_REVISION;
    return 0;
}

static int enter(struct cpu *cpu, struct vmx_cpu *vmx)
{
    uint64_t cr0 = read_cr0(), cr4 = read_cr4();
    uint64_t new_cr0 = cr0 | CR0_NE, new_cr4 = cr4 | CR4_VMXE;
    int error = allow_vmx(cpu->index);
    if (!error)
        error = check_fixed("CR0", cpu->index, new_cr0, MSR_VMX_CR0_FIXED0, MSR_VMX_CR0_FIXED1);
    if (!error)
        error = check_fixed("CR4", cpu->index, new_cr4, MSR_VMX_CR4_FIXED0, MSR_VMX_CR4_FIXED1);
    if (error)
        return error;
    write_cr0(new_cr0);
    write_cr4(new_cr4);
    if (vmxon(vmx->vmxon)) {
        vmx_flush_all(rdmsr(MSR_VMX_EPT_VPID));
        return 0;
    }
    write_cr4(cr4);
    write_cr0(cr0);
    console_line("CPU %u: VMXON failed: the CPU is in VMX operation already, or the A20 line is "
                 "masked",
                 cpu->index);
    return -EBUSY;
}

int vmx_enable(struct cpu *cpu)
{
    hpa_t page;
    int error = memory_alloc_page(&page);
    if (error)
        return error;
    struct vmx_cpu *vmx = memory_at(page);
    vmx->page = page;
    error = make_region(vmx);
    if (!error) {
        error = enter(cpu, vmx);
        if (!error) {
            cpu->backend = vmx;
            return 0;
        }
        memory_free_page(vmx->vmxon);
    }
    memory_free_page(page);
    return error;
}

void vmx_disable(struct cpu *cpu)
{
    struct vmx_cpu *vmx = cpu->backend;
    if (!vmx)
        return;
    if (cpu->vcpu && cpu->vcpu->backend)
        vmx_clear(vmx_of(cpu->vcpu)->vmcs);
    __asm__ volatile("vmxoff" : : : "memory");
    write_cr4(read_cr4() & ~CR4_VMXE);
    cpu->backend = NULL;
    memory_free_page(vmx->vmxon);
    memory_free_page(vmx->page);
}
