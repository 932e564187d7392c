/* SPDX-License-Identifier: BSD-2-Clause */
#include "kernel/paging.h"
#include "kernel/backend.h"
#include "kernel/vm.h"
#include "kernel/x86.h"

enum exit_action paging_write_cr(struct vcpu *v, struct exit *exit)
{
    if (backend_write_cr(v, exit->cr.cr, exit->cr.value) != 0)
        return exit_fault_code(exit, VECTOR_GP, 0);
    return EXIT_NEXT;
}

enum exit_action paging_read_cr(struct vcpu *v, struct exit *exit)
{
    return vm_crash(v, exit, "a control register is read by an exit");
}

enum exit_action paging_fault(struct vcpu *v, struct exit *exit)
{
    return vm_crash(v, exit, "an exit for a page fault");
}

enum exit_action paging_invlpg(struct vcpu *v, struct exit *exit)
{
    return vm_crash(v, exit, "an exit for INVLPG");
}

enum exit_action paging_invpcid(struct vcpu *v, struct exit *exit)
{
    return vm_crash(v, exit, "an exit for INVPCID");
}

int paging_load_pdptes(struct vcpu *v, uint64_t cr3, bool nxe, uint64_t pdpte[4])
{
    (void)v;
    (void)cr3;
    (void)nxe;
    (void)pdpte;
    return 0;
}

void paging_follow(struct vcpu *v)
{
    (void)v;
}
