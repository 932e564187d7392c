/* SPDX-License-Identifier: BSD-2-Clause */
/* Which translations INVEPT and INVVPID drop: SDM vol. 3 §29.4.3.1. */
#include "vmx/controls.h"
#include "vmx/vcpu.h"
#include "vmx/vmx.h"

enum invept_type { INVEPT_SINGLE = 1, INVEPT_ALL = 2 };
enum invvpid_type { INVVPID_ADDRESS, INVVPID_SINGLE, INVVPID_ALL, INVVPID_LOCAL };

/* SDM vol. 2, INVEPT and INVVPID: what to drop, then an address that most types ignore. */
struct invalidate_descriptor {
    uint64_t what, address;
};

/* A type that the capability MSR offers cannot fail: a failure is a fault of Latch's own. */
static void invept(uint64_t type, uint64_t eptp)
{
    const struct invalidate_descriptor d = {.what = eptp};
    bool failed;
    __asm__ volatile("invept %1, %2" : "=@ccbe"(failed) : "m"(d), "r"(type) : "memory");
    if (failed)
        __builtin_trap();
}

static void invvpid(uint64_t type, uint16_t vpid, uint64_t address)
{
    const struct invalidate_descriptor d = {.what = vpid, .address = address};
    bool failed;
    __asm__ volatile("invvpid %1, %2" : "=@ccbe"(failed) : "m"(d), "r"(type) : "memory");
    if (failed)
        __builtin_trap();
}

void vmx_flush_eptp(const struct vmx_vcpu *vmx, uint64_t eptp)
{
    if (vmx->ept_cap & EPT_CAP_INVEPT_SINGLE)
        invept(INVEPT_SINGLE, eptp);
    else
        invept(INVEPT_ALL, 0);
}

void vmx_flush_nested(const struct vmx_vcpu *vmx)
{
    vmx_flush_eptp(vmx, vmx->eptp);
    if (vmx->other_eptp != 0)
        vmx_flush_eptp(vmx, vmx->other_eptp);
}

/* Without VPID each entry and exit flushes. */
void vmx_flush_linear(struct vcpu *v)
{
    const struct vmx_vcpu *vmx = vmx_of(v);
    if (vmx->vpid == 0)
        return;
    if (vmx->ept_cap & EPT_CAP_INVVPID_SINGLE)
        invvpid(INVVPID_SINGLE, vmx->vpid, 0);
    else
        invvpid(INVVPID_ALL, 0, 0);
}

void vmx_flush_local(struct vcpu *v)
{
    const struct vmx_vcpu *vmx = vmx_of(v);
    if (vmx->vpid != 0 && (vmx->ept_cap & EPT_CAP_INVVPID_LOCAL))
        invvpid(INVVPID_LOCAL, vmx->vpid, 0);
    else
        vmx_flush_linear(v);
}

/* INVVPID fails if the address is not canonical: here Latch has four levels. */
static bool is_canonical(uint64_t address)
{
    return (uint64_t)((int64_t)(address << 16) >> 16) == address;
}

void vmx_flush_address(struct vcpu *v, gla_t address)
{
    const struct vmx_vcpu *vmx = vmx_of(v);
    if (vmx->vpid != 0 && (vmx->ept_cap & EPT_CAP_INVVPID_ADDRESS) && is_canonical(address.raw))
        invvpid(INVVPID_ADDRESS, vmx->vpid, address.raw);
    else
        vmx_flush_linear(v);
}

void vmx_flush_all(uint64_t ept_cap)
{
    if (ept_cap & EPT_CAP_INVEPT_ALL)
        invept(INVEPT_ALL, 0);
    if (ept_cap & EPT_CAP_INVVPID_ALL)
        invvpid(INVVPID_ALL, 0, 0);
}
