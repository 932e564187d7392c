/* SPDX-License-Identifier: BSD-2-Clause */
#include "kernel/console.h"
#include "svm/internal.h"
#include <errno.h>

int svm_tlb_init(struct vcpu *v)
{
    uint32_t asid = v->index + 1;

    if (asid >= svm_of(v)->cpu->asids) {
        console_line("latch: vCPU %u wants ASID %u, the CPU has %u (CPUID 8000000A EBX): "
                     "give the guest fewer vCPUs",
                     v->index, asid, svm_of(v)->cpu->asids);
        return -ENOTSUP;
    }
    vmcb_set_asid(vmcb_of(v), asid);
    svm_tlb_flush(v);
    return 0;
}

void svm_tlb_flush(struct vcpu *v)
{
    vmcb_of(v)->control.tlb_control =
        svm_of(v)->cpu->flush_by_asid ? TLB_FLUSH_ASID : TLB_FLUSH_ALL;
}

void svm_flush_address(struct vcpu *v, gla_t address)
{
    __asm__ volatile("invlpga" : : "a"(address.raw), "c"(vmcb_of(v)->control.asid) : "memory");
}

void svm_flush_linear(struct vcpu *v)
{
    svm_tlb_flush(v);
}
