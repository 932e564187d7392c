/* SPDX-License-Identifier: BSD-2-Clause */
#include "kernel/narrow.h"
#include "kernel/backend.h"
#include "kernel/paging.h"
#include "kernel/vm.h"
#include "mmu/registers.h"
#include "mmu/walk.h"
#include <errno.h>

typedef int read_entry_fn(void *ctx, gpa_t address, unsigned int size, uint64_t *value);

/* What a device's memory says Latch does not know: there the walk ends. */
static int read_ram(void *ctx, gpa_t address, unsigned int size, uint64_t *value)
{
    return vm_read_entry(ctx, address, size, value) ? 0 : -ENXIO;
}

/* A walk by these properties, the model's or the CPU's, that leaves the guest's A and D bits to the
 * hardware. */
static int walk(struct vcpu *v, const struct paging_props *props, read_entry_fn *read,
                gla_t address, unsigned int access, struct walk_result *result)
{
    const struct walk_env env = {.ctx = v->vm, .read = read};
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

/* Behind a probe, which the CPU made as if the table that is beyond the limit were zeros. Where the
 * model finds nothing wrong with the way there, the CPU finds what it reads where nothing is. */
static enum exit_action probed_page_fault(struct vcpu *v, struct exit *exit, unsigned int access)
{
    const gla_t address = exit->page_fault.address;
    struct walk_result result;
    int error = walk(v, &v->props, vm_walk_read, address, access, &result);
    if (error == 0)
        error = walk(v, &v->host, vm_walk_read, address, access, &result);
    return error == -EFAULT ? paging_raise(exit, address, result.error_code) : retry_flushed(v);
}

/* The hardware's finding holds, unless the model's limit comes first; in a device's memory, of which
 * Latch knows nothing, in any case. */
enum exit_action narrow_page_fault(struct vcpu *v, struct exit *exit)
{
    const gla_t address = exit->page_fault.address;
    const uint32_t error_code = exit->page_fault.error_code;
    struct walk_result result;
    unsigned int access = paging_access(v, error_code);
    if (!(access & (ACCESS_USER | ACCESS_EXECUTE)))
        access |= WALK_IMPLICIT; /* which of the two it was shows nowhere else */
    if (exit->page_fault.probed)
        return probed_page_fault(v, exit, access);
    int error = walk(v, &v->props, read_ram, address, access, &result);
    if (error == 0)
        return retry_flushed(v);
    if (error == -EFAULT && (result.error_code & PF_RESERVED))
        return paging_raise(exit, address, result.error_code);
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
        walk(v, &v->host, vm_walk_read, exit->memory.linear, access | ACCESS_USER, &result) != 0 ||
        (!exit->memory.fetch && is_descriptor(v, exit->memory.linear)))
        return access;
    return access | ACCESS_USER;
}

bool narrow_beyond_limit(struct vcpu *v, struct exit *exit, enum exit_action *action)
{
    const gla_t address = exit->memory.linear;
    struct walk_result result;
    *action = EXIT_RETRY;
    if (exit->memory.walk) {
        vm_lock(v);
        backend_probe(v, exit->memory.gpa);
        vm_unlock(v);
        return true;
    }
    const unsigned int access = access_beyond(v, exit);
    if (walk(v, &v->props, vm_walk_read, address, access, &result) == -EFAULT) {
        *action = paging_raise(exit, address, result.error_code);
        return true;
    }
    if (walk(v, &v->host, vm_walk_read, address, access, &result) == 0 &&
        gfn_of(result.address).raw == gfn_of(exit->memory.gpa).raw)
        return false;
    *action = retry_flushed(v);
    return true;
}
