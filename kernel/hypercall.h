/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef LATCH_KERNEL_HYPERCALL_H
#define LATCH_KERNEL_HYPERCALL_H
/*
 * Hypercalls, by VMCALL or VMMCALL at CPL 0. RAX: number; RDI, RSI, RDX, R10: arguments (EDI, ESI,
 * EDX outside 64-bit code); RAX: result, or a negative errno. From CPL 1 to 3: -EPERM. Addresses
 * are guest-physical and must lie in the guest's RAM. CPUID leaf 4000_0001:EAX is the version.
 * A number that is none: -ENOSYS; an argument out of range: -EINVAL; memory that is not the guest's
 * RAM: -EFAULT. In each case nothing else happens.
 *
 * WRMSR 4000_0000H with the address of a page fills it with one stub of 32 bytes for each number
 * (MOV EAX, number; VMCALL or VMMCALL; RET), and says which of Xen's two layouts is written: that of
 * the mode which it is executed in.
 */
#include "kernel/exit.h"

enum hypercall {
    HYPERCALL_VERSION,   /* -> HYPERCALL_ABI */
    HYPERCALL_VERDICT,   /* (0 SUCCESS, 1 SKIP, 2 ERROR, 3 FAILURE): ends the run */
    HYPERCALL_EXITS,     /* (enum exit_kind, vCPU) -> exits of that kind so far */
    HYPERCALL_MODEL_SET, /* (vCPU, address of struct hypercall_leaf[], count); test-hypercalls=on */
    HYPERCALL_MODEL_GET, /* (vCPU, address of struct hypercall_leaf[], capacity) -> count, with the
                            answers that the vCPU itself gets after RESET */
    HYPERCALL_CONSOLE,   /* (address, length up to 200): one line on Latch's console */
    HYPERCALL_FORBIDDEN, /* -> the guest's accesses to Latch's memory so far */
    HYPERCALL_LATCH_RANGE, /* (0 start, 1 end) of Latch's memory */
    HYPERCALL_DIGEST,      /* (address): 32 bytes, the SHA-256 of the sealed models */
    HYPERCALL_VCPU_OP,     /* (enum xen_vcpu_op, vCPU, address of its structure): kernel/xen.h */
    HYPERCALL_GENERATION,  /* -> which generation of the guest this is, from 1 */
    HYPERCALL_SEAL_TEST,   /* (page, from 0): have Latch write to one of the pages of its sealed
                              models: -EFAULT, or 0 if that was not refused; -EINVAL behind the
                              last; test-hypercalls=on */
    HYPERCALL_POOL,        /* -> pages of Latch's pool that are free */
    HYPERCALLS
};
#define HYPERCALL_ABI 2U

struct hypercall_leaf {
    uint32_t leaf, subleaf, eax, ebx, ecx, edx;
};
_Static_assert(sizeof(struct hypercall_leaf) == 24, "part of the ABI");

struct vcpu;
enum exit_action hypercall(struct vcpu *v, struct exit *exit);

#endif
