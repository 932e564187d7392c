/* SPDX-License-Identifier: BSD-2-Clause */
#include "kernel/paging.h"
#include "kernel/backend.h"
#include "kernel/insn.h"
#include "kernel/mmio.h"
#include "kernel/narrow.h"
#include "kernel/vm.h"
#include "kernel/x86.h"
#include "mmu/registers.h"
#include "mmu/reserved.h"
#include <errno.h>
#include <string.h>

#define CR3_NO_FLUSH  (1UL << 63)
#define CR3_PAE_TABLE 0xffffffe0UL
#define PDPTE_PRESENT 1UL

enum invpcid_type { INVPCID_ADDRESS, INVPCID_PCID, INVPCID_ALL, INVPCID_ALL_BUT_GLOBAL };

/* PKRU is the guest's all the time, the right to read it not; IA32_PKRS needs none. */
void paging_read_keys(struct vcpu *v, struct paging_state *state)
{
    uint64_t guest = backend_read_cr4(v), cr4 = read_cr4();
    state->pkru = state->pkrs = 0;
    if (guest & CR4_PKE) {
        write_cr4(cr4 | CR4_PKE);
        __asm__ volatile("rdpkru" : "=a"(state->pkru) : "c"(0) : "rdx");
        write_cr4(cr4);
    }
    if (guest & CR4_PKS)
        state->pkrs = (uint32_t)rdmsr(MSR_PKRS);
}

/* The registers as the guest reads them, and its PDPTEs as it loaded them. */
static void read_registers(struct vcpu *v, struct paging_state *state)
{
    *state = (struct paging_state){.cr0 = backend_read_cr0(v),
                                   .cr3 = v->cr3,
                                   .cr4 = backend_read_cr4(v),
                                   .efer = backend_read_efer(v),
                                   .props = &v->props};
    state->pdpte_held = v->props.vendor == PAGING_INTEL && paging_mode(state) == MODE_PAE;
    memcpy(state->pdpte, v->pdpte, sizeof(state->pdpte));
}

static bool paging_is_on(const struct vcpu *v)
{
    return v->shadow != NULL && v->shadow->root != NULL;
}

struct table_page *paging_nested_root(struct vcpu *v)
{
    return paging_is_on(v) ? v->shadow_root : v->root;
}

/* Under the lock, as what else follows here and works with the tables. */
static void load_hardware(struct vcpu *v)
{
    struct shadow_cpu *cpu = v->shadow;
    const struct hardware_paging paging = {.shadow = paging_is_on(v),
                                           .no_wp = cpu->private.on,
                                           .nested = paging_nested_root(v)->page,
                                           .cr3 = cpu->cr3,
                                           .pdpte = cpu->pdpte};
    cpu->changed = false;
    backend_load_paging(v, &paging);
}

static void load_tables(struct vcpu *v, const struct paging_state *state)
{
    struct shadow_cpu *cpu = v->shadow;
    vm_lock(v);
    cpu->state = *state;
    if (state->cr0 & CR0_PG)
        shadow_load(&v->vm->shadow, cpu);
    else
        shadow_unload(&v->vm->shadow, cpu);
    load_hardware(v);
    vm_unlock(v);
}

void paging_follow(struct vcpu *v)
{
    struct paging_state state;
    if (v->paging != PAGED_SHADOW)
        return;
    read_registers(v, &state);
    if (paging_changes(&v->shadow->state, &state))
        load_tables(v, &state);
}

int paging_load_pdptes(struct vcpu *v, uint64_t cr3, bool nxe, uint64_t pdpte[4])
{
    const uint64_t reserved = reserved_mask(MODE_PAE, 3, false, &v->props, nxe);
    if (v->props.vendor != PAGING_INTEL)
        return 0;
    for (unsigned int i = 0; i < 4; i++) {
        (void)vm_read_entry(v->vm, gpa((cr3 & CR3_PAE_TABLE) + 8UL * i), 8, &pdpte[i]);
        if ((pdpte[i] & PDPTE_PRESENT) && (pdpte[i] & reserved))
            return -EINVAL;
    }
    memcpy(v->pdpte_next, pdpte, sizeof(v->pdpte_next));
    v->pdpte_loaded = true;
    return 0;
}

/* With CR4.PCIDE bit 63 is an order and no part of the value. */
static bool cr3_valid(struct vcpu *v, uint64_t value)
{
    const struct paging_state state = {.cr0 = backend_read_cr0(v),
                                       .cr4 = backend_read_cr4(v),
                                       .efer = backend_read_efer(v),
                                       .props = &v->props};
    if (state.cr4 & CR4_PCIDE)
        value &= ~CR3_NO_FLUSH;
    return !(value & cr3_reserved_mask(paging_mode(&state), &v->props));
}

/* In long mode nothing else follows from a load of CR3: it has no PDPTEs. */
static void load_cr3(struct vcpu *v, uint64_t value)
{
    struct shadow_cpu *cpu = v->shadow;
    v->cr3 = value & ~CR3_NO_FLUSH;
    vm_lock(v);
    cpu->state.cr3 = v->cr3;
    shadow_load_cr3(&v->vm->shadow, cpu, !(value & CR3_NO_FLUSH));
    load_hardware(v);
    vm_unlock(v);
}

static void invalidate_all(struct vcpu *v)
{
    vm_lock(v);
    shadow_flush(&v->vm->shadow, v->shadow);
    load_hardware(v);
    vm_unlock(v);
}

void paging_flush(struct vcpu *v)
{
    if (v->paging == PAGED_SHADOW && paging_is_on(v))
        invalidate_all(v);
    else
        backend_flush_linear(v);
}

/* A flush, and no other way to read the tables. PDPTEs may be loaded outside long mode. */
static bool only_flushes(const struct vcpu *v, const struct exit *exit)
{
    const struct paging_state *state = &v->shadow->state;
    return exit->cr.cr == 4 && paging_is_on(v) && (state->efer & EFER_LMA) &&
           (exit->cr.value ^ state->cr4) == CR4_PGE;
}

/* With paging on the state follows whatever decides how CR3 is read. */
static bool cr3_valid_in_long_mode(const struct vcpu *v, uint64_t value)
{
    const uint64_t wrong = value & v->cr3_reserved;
    return wrong == 0 || (wrong == CR3_NO_FLUSH && (v->shadow->state.cr4 & CR4_PCIDE));
}

/* Shadow tables hold what CR3 leads to, so each load of it flushes, CR3_NO_FLUSH or not. */
enum exit_action paging_write_cr(struct vcpu *v, struct exit *exit)
{
    struct paging_state state;
    if (exit->cr.cr == 3 && paging_is_on(v) && (v->shadow->state.efer & EFER_LMA) &&
        cr3_valid_in_long_mode(v, exit->cr.value)) {
        load_cr3(v, exit->cr.value);
        return EXIT_NEXT;
    }
    v->pdpte_loaded = false;
    if ((exit->cr.cr == 3 && !cr3_valid(v, exit->cr.value)) ||
        backend_write_cr(v, exit->cr.cr, exit->cr.value) != 0)
        return exit_fault_code(exit, VECTOR_GP, 0);
    if (v->paging != PAGED_SHADOW)
        return EXIT_NEXT;
    if (only_flushes(v, exit)) {
        v->shadow->state.cr4 = exit->cr.value;
        invalidate_all(v);
        return EXIT_NEXT;
    }
    if (v->pdpte_loaded)
        memcpy(v->pdpte, v->pdpte_next, sizeof(v->pdpte));
    read_registers(v, &state);
    if (((state.cr0 & CR0_PG) && (exit->cr.cr == 3 || v->pdpte_loaded)) ||
        paging_changes(&v->shadow->state, &state))
        load_tables(v, &state);
    return EXIT_NEXT;
}

enum exit_action paging_read_cr(struct vcpu *v, struct exit *exit)
{
    uint64_t value = v->cr3;
    if (exit->cr.cr == 0)
        value = backend_read_cr0(v);
    else if (exit->cr.cr == 4)
        value = backend_read_cr4(v);
    insn_write_register(v->regs.r, exit->cr.gpr, exit->cr.size, false, value);
    return EXIT_NEXT;
}

enum exit_action paging_raise(struct exit *exit, gla_t address, uint32_t error_code)
{
    (void)exit_fault_code(exit, VECTOR_PF, error_code);
    exit->event.cr2 = address.raw;
    return EXIT_FAULT;
}

/* At CPL 3 a supervisor's access is the CPU's own, to a descriptor or the like. */
unsigned int paging_access(struct vcpu *v, uint32_t error_code)
{
    unsigned int access = ACCESS_READ;
    if (error_code & PF_FETCH)
        access = ACCESS_EXECUTE;
    else if (error_code & PF_WRITE)
        access = ACCESS_WRITE;
    if (error_code & PF_USER)
        return access | ACCESS_USER;
    return backend_cpl(v) == 3 ? access | WALK_IMPLICIT : access;
}

/* A supervisor may read each page that is present, but by SMAP; and with RFLAGS.AC set that forbids
 * only the CPU's own accesses. Such a one may find nothing in the shadow first and be taken for the
 * instruction's: then the A bits are set before the #PF, as they may be wherever there is a translation
 * (SDM vol. 3 §4.7, §4.8). */
static bool is_implicit(uint32_t error_code, bool ac)
{
    const uint32_t looked_at = PF_PRESENT | PF_WRITE | PF_USER | PF_FETCH | PF_KEY;
    return ac && (error_code & looked_at) == PF_PRESENT;
}

/* The guest's page is none of its memory: as an access to that. */
static enum exit_action absent(struct vcpu *v, struct exit *exit, gpa_t address,
                               unsigned int access)
{
    const gla_t linear = exit->page_fault.address;
    const bool delivering = exit->page_fault.delivering;
    exit->kind = EXIT_MEMORY;
    exit->memory.gpa = address;
    exit->memory.linear = linear;
    exit->memory.linear_valid = true;
    exit->memory.read = access & ACCESS_READ;
    exit->memory.write = access & ACCESS_WRITE;
    exit->memory.fetch = access & ACCESS_EXECUTE;
    exit->memory.walk = false;
    exit->memory.delivering = delivering;
    return mmio_access(v, exit);
}

static enum exit_action shadow_page_fault(struct vcpu *v, struct exit *exit)
{
    const gla_t address = exit->page_fault.address;
    const uint32_t error_code = exit->page_fault.error_code;
    struct shadow_cpu *cpu = v->shadow;
    struct walk_result result;
    unsigned int access = paging_access(v, error_code);
    bool ac = backend_rflags(v) & RFLAGS_AC;
    if (is_implicit(error_code, ac))
        access |= WALK_IMPLICIT;
    vm_lock(v);
    cpu->state.ac = ac;
    paging_read_keys(v, &cpu->state);
    enum shadow_outcome outcome = shadow_fault(&v->vm->shadow, cpu, address, access, &result);
    if (cpu->changed)
        load_hardware(v);
    else if (outcome == SHADOW_FAULT)
        backend_flush_address(v, address);
    vm_unlock(v);
    switch (outcome) {
    case SHADOW_FAULT:
        return paging_raise(exit, address, result.error_code);
    case SHADOW_ABSENT:
        return absent(v, exit, result.address, access);
    case SHADOW_RETRY:
        break;
    }
    return EXIT_RETRY;
}

/* The hardware has checked all rights: at CPL 3 a write was the CPU's own, as a user's does not get
 * so far. */
static enum exit_action window_fault(struct vcpu *v, const struct exit *exit)
{
    const unsigned int access = paging_access(v, exit->memory.write ? PF_WRITE : 0);
    vm_lock(v);
    v->shadow->state.ac = backend_rflags(v) & RFLAGS_AC;
    paging_read_keys(v, &v->shadow->state);
    shadow_window_fault(&v->vm->shadow, v->shadow, exit->memory.gpa, access);
    load_hardware(v);
    vm_unlock(v);
    return EXIT_RETRY;
}

/* Only with private tables does the hardware get to the window, and only by a slot. */
enum exit_action paging_memory(struct vcpu *v, struct exit *exit)
{
    if (v->paging == PAGED_SHADOW && v->shadow->private.on &&
        exit->memory.gpa.raw - shadow_window(&v->vm->shadow, v->shadow).raw < SHADOW_WINDOW)
        return window_fault(v, exit);
    return mmio_access(v, exit);
}

enum exit_action paging_fault(struct vcpu *v, struct exit *exit)
{
    return v->paging == PAGED_SHADOW ? shadow_page_fault(v, exit) : narrow_page_fault(v, exit);
}

static bool is_canonical(struct vcpu *v, uint64_t address)
{
    unsigned int unused = backend_read_cr4(v) & CR4_LA57 ? 7 : 16;
    return (uint64_t)((int64_t)(address << unused) >> unused) == address;
}

static void invalidate_address(struct vcpu *v, gla_t address)
{
    struct shadow_cpu *cpu = v->shadow;
    bool long_mode = cpu->state.efer & EFER_LMA;
    if (long_mode && !is_canonical(v, address.raw))
        return;
    if (!long_mode)
        address.raw &= UINT32_MAX;
    vm_lock(v);
    shadow_invalidate(&v->vm->shadow, cpu, address);
    if (cpu->changed)
        load_hardware(v);
    else
        backend_flush_address(v, address);
    vm_unlock(v);
}

/* With paging off nothing is cached that the guest's tables say. */
enum exit_action paging_invlpg(struct vcpu *v, struct exit *exit)
{
    if (paging_is_on(v) && exit->invalidate.everything)
        invalidate_all(v);
    else if (paging_is_on(v))
        invalidate_address(v, exit->invalidate.address);
    return EXIT_NEXT;
}

/* As the guest's instruction would: A bits are set like any others, since they may be in a table
 * that another vCPU's shadow follows. */
static int walk_operand(struct vcpu *v, gla_t address, struct walk_result *result)
{
    struct shadow_cpu *cpu = v->shadow;
    vm_lock(v);
    cpu->state.ac = backend_rflags(v) & RFLAGS_AC;
    paging_read_keys(v, &cpu->state);
    int error = shadow_walk(&v->vm->shadow, cpu, address, ACCESS_READ, result);
    vm_unlock(v);
    return error;
}

/* Read the guest's memory as its instruction does. 0; -EFAULT with the fault in exit->event; -EAGAIN:
 * the tables moved, and the instruction is to run again. */
static int read_operand(struct vcpu *v, struct exit *exit, gla_t address, void *buffer,
                        unsigned int size)
{
    for (unsigned int done = 0; done < size;) {
        struct walk_result result;
        const gla_t at = gla(address.raw + done);
        unsigned int part = (unsigned int)(PAGE_SIZE - (at.raw & PAGE_OFFSET_MASK));
        if (part > size - done)
            part = size - done;
        int error = walk_operand(v, at, &result);
        if (error == -EAGAIN)
            return error;
        if (error == -EFAULT) {
            invalidate_address(v, at); /* as a CPU drops it with a #PF */
            (void)paging_raise(exit, at, result.error_code);
        } else if (error != 0) {
            (void)exit_fault_code(exit, VECTOR_GP, 0);
        }
        if (error != 0)
            return -EFAULT;
        memset((uint8_t *)buffer + done, 0xff, part);
        (void)vm_read(v->vm, result.address, (uint8_t *)buffer + done, part);
        done += part;
    }
    return 0;
}

static void forget_pcid(struct vcpu *v, uint64_t pcid)
{
    vm_lock(v);
    shadow_forget_pcid(v->shadow, pcid);
    vm_unlock(v);
}

/* SDM vol. 2, INVPCID. */
enum exit_action paging_invpcid(struct vcpu *v, struct exit *exit)
{
    struct {
        uint64_t pcid, address;
    } what;
    const uint64_t type = exit->invalidate.type;
    const bool one_pcid = type == INVPCID_ADDRESS || type == INVPCID_PCID;
    if (type > INVPCID_ALL_BUT_GLOBAL)
        return exit_fault_code(exit, VECTOR_GP, 0);
    int error = read_operand(v, exit, exit->invalidate.address, &what, sizeof(what));
    if (error != 0)
        return error == -EAGAIN ? EXIT_RETRY : EXIT_FAULT;
    bool pcids = backend_read_cr4(v) & CR4_PCIDE;
    if ((what.pcid & ~CR3_PCID) || (one_pcid && !pcids && what.pcid != 0) ||
        (type == INVPCID_ADDRESS && !is_canonical(v, what.address)))
        return exit_fault_code(exit, VECTOR_GP, 0);
    if (!paging_is_on(v))
        return EXIT_NEXT;
    if (!one_pcid)
        invalidate_all(v);
    else if (pcids && what.pcid != (v->cr3 & CR3_PCID))
        forget_pcid(v, what.pcid);
    else if (type == INVPCID_ADDRESS)
        invalidate_address(v, gla(what.address));
    else
        load_cr3(v, v->cr3);
    return EXIT_NEXT;
}
