/* SPDX-License-Identifier: BSD-2-Clause */
#include "kernel/narrow.h"
#include "kernel/backend.h"
#include "kernel/paging.h"
#include "kernel/vm.h"
#include "mmu/registers.h"
#include "mmu/walk.h"
#include <errno.h>

/* A walk by these properties, the model's or the CPU's, that leaves the guest's A and D bits to the
 * hardware. */
static int walk(struct vcpu *v, const struct paging_props *props, gla_t address,
                unsigned int access, struct walk_result *result)
{
    const struct walk_env env = {.ctx = v->vm, .read = vm_walk_read};
    struct vcpu_state registers;
    struct paging_state state;
    backend_get_state(v, &registers);
    vcpu_paging_state(v, &registers, &state);
    paging_read_keys(v, &state);
    state.props = props;
    return guest_walk(&env, &state, address, access, result);
}

/* The tables moved, and the CPU may hold what they were. */
static enum exit_action retry_flushed(struct vcpu *v)
{
    backend_flush_linear(v);
    return EXIT_RETRY;
}

/* The hardware's finding holds, unless the model's limit comes first. */
enum exit_action narrow_page_fault(struct vcpu *v, struct exit *exit)
{
    const gla_t address = exit->page_fault.address;
    const uint32_t error_code = exit->page_fault.error_code;
    struct walk_result result;
    unsigned int access = paging_access(v, error_code);
    if (!(access & (ACCESS_USER | ACCESS_EXECUTE)))
        access |= WALK_IMPLICIT; /* which of the two it was shows nowhere else */
    int error = walk(v, &v->props, address, access, &result);
    if (error == -EFAULT && (result.error_code & PF_RESERVED))
        return paging_raise(exit, address, result.error_code);
    if (error == 0 || exit->page_fault.probed)
        return retry_flushed(v);
    return paging_raise(exit, address, error_code);
}

static bool within(uint64_t address, uint64_t base, uint32_t limit)
{
    return address - base <= limit;
}

/* Whether users' code reads there as a rule only through the CPU's own accesses. */
static bool is_descriptor(struct vcpu *v, gla_t address)
{
    struct vcpu_state s;
    backend_get_state(v, &s);
    const struct segment *ldtr = &s.segment[SEG_LDTR], *tr = &s.segment[SEG_TR];
    return within(address.raw, s.gdtr.base, s.gdtr.limit) ||
           within(address.raw, tr->base, tr->limit) ||
           ((ldtr->attributes & SEGMENT_P) && within(address.raw, ldtr->base, ldtr->limit));
}

/* Of an access that the CPU let through but for the limit. One of its own, to a descriptor, is a
 * supervisor's at CPL 3 too, and the only one there that may be to a supervisor's page. */
static unsigned int access_beyond(struct vcpu *v, const struct exit *exit)
{
    unsigned int access = ACCESS_READ;
    struct walk_result result;
    if (exit->memory.fetch)
        access = ACCESS_EXECUTE;
    else if (exit->memory.write)
        access = ACCESS_WRITE;
    if (backend_cpl(v) != 3 || exit->memory.delivering ||
        walk(v, &v->host, exit->memory.linear, access | ACCESS_USER, &result) != 0 ||
        (!exit->memory.fetch && is_descriptor(v, exit->memory.linear)))
        return access;
    return access | ACCESS_USER;
}

enum exit_action narrow_beyond_limit(struct vcpu *v, struct exit *exit)
{
    const gla_t address = exit->memory.linear;
    struct walk_result result;
    if (exit->memory.walk) {
        vm_lock(v);
        backend_probe(v, exit->memory.gpa);
        vm_unlock(v);
        return EXIT_RETRY;
    }
    if (walk(v, &v->props, address, access_beyond(v, exit), &result) == -EFAULT)
        return paging_raise(exit, address, result.error_code);
    return retry_flushed(v);
}
