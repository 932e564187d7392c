/* SPDX-License-Identifier: BSD-2-Clause */
#include "kernel/mmio.h"
#include "kernel/apic.h"
#include "kernel/backend.h"
#include "kernel/insn.h"
#include "kernel/ipi.h"
#include "kernel/memory.h"
#include "kernel/paging.h"
#include "kernel/vm.h"
#include "kernel/x86.h"

static bool in_latch(gpa_t address)
{
    return address.raw >= latch_range.start && address.raw < latch_range.end;
}

/* With shadow paging each walk of the CPU's is of Latch's tables. The nested ones may have dropped
 * these too, for another memory type or for want of a page. */
static bool is_own_walk(const struct vcpu *v, const struct exit *exit)
{
    const struct direct *direct = &v->vm->direct;
    const uint64_t address = exit->memory.gpa.raw;
    return v->paging == PAGED_SHADOW && exit->memory.walk && address >= direct->tables_start &&
           address < direct->tables_end;
}

static uint64_t stored_value(const struct vcpu *v, const struct insn *insn)
{
    if (insn->has_immediate)
        return insn->immediate;
    return insn_read_register(v->regs.r, insn->reg, insn->rm_size, insn->reg_high);
}

static void load_ones(struct vcpu *v, const struct insn *insn)
{
    uint64_t ones = insn->rm_size == 8 ? UINT64_MAX : (1UL << 8 * insn->rm_size) - 1;
    if (insn->kind == INSN_MOVSX)
        ones = UINT64_MAX;
    insn_write_register(v->regs.r, insn->reg, insn->reg_size, insn->reg_high, ones);
}

static bool is_move(const struct insn *insn)
{
    return insn->memory &&
           (insn->kind == INSN_MOV || insn->kind == INSN_MOVZX || insn->kind == INSN_MOVSX);
}

/* What is not a plain move cannot be given nothing by halves: it gets a #GP. */
static enum exit_action forbidden(struct vcpu *v, struct exit *exit)
{
    struct vcpu_state state;
    struct insn insn;
    backend_get_state(v, &state);
    if (exit->memory.fetch || exit->memory.walk || exit->memory.delivering ||
        vcpu_decode(v, &state, &insn) == 0 || !is_move(&insn))
        return exit_fault_code(exit, VECTOR_GP, 0);
    if (!insn.to_rm)
        load_ones(v, &insn);
    exit->length = insn.length;
    return EXIT_NEXT;
}

/* Only aligned doublewords are defined to reach a register (SDM vol. 3 §11.4.1); any other write
 * goes nowhere, and above all not beyond the page. */
static enum exit_action write_apic_page(struct vcpu *v, struct exit *exit)
{
    const uint32_t offset = (uint32_t)(exit->memory.gpa.raw & PAGE_OFFSET_MASK);
    struct vcpu_state state;
    struct insn insn;
    if (exit->memory.delivering)
        return vm_crash(v, exit, "the delivery of an event wrote to the local APIC's page");
    backend_get_state(v, &state);
    if (vcpu_decode(v, &state, &insn) == 0) {
        uint8_t code;
        if (vcpu_fetch(v, &state, state.segment[SEG_CS].base + state.rip, &code, 1) == 0)
            return EXIT_RETRY; /* it went away between the write and here */
        insn.memory = false;
    }
    if (!is_move(&insn) || !insn.to_rm)
        return vm_crash(v, exit, "an instruction other than a move wrote to the local APIC's page");
    exit->length = insn.length;
    if (insn.rm_size != sizeof(uint32_t) || offset % APIC_REGISTER_STEP != 0)
        return EXIT_NEXT;
    return ipi_xapic_write(v, offset, (uint32_t)stored_value(v, &insn));
}

enum exit_action mmio_access(struct vcpu *v, struct exit *exit)
{
    gpa_t address = exit->memory.gpa;
    struct direct_result result = {.kind = GUEST_ABSENT};
    if (in_latch(address) && !is_own_walk(v, exit)) {
        v->vm->forbidden++;
        return forbidden(v, exit);
    }
    vm_lock(v);
    if (exit->memory.write && v->vm->shadow.count != 0 &&
        shadow_write(&v->vm->shadow, gfn_of(address))) {
        vm_unlock(v);
        return EXIT_RETRY;
    }
    int error = direct_fill(&v->vm->direct, paging_nested_root(v), address, &result);
    vm_unlock(v);
    if (error != 0)
        return vm_crash(v, exit,
                        "no memory left for the nested page tables: set pool= to more MiB");
    if (result.kind == GUEST_READ_ONLY && exit->memory.write && !exit->memory.walk &&
        gfn_of(address).raw == apic_page() >> PAGE_SHIFT)
        return write_apic_page(v, exit);
    if (result.beyond_limit && v->paging == PAGED_NARROW && exit->memory.linear_valid)
        return paging_beyond_limit(v, exit);
    if (result.kind == GUEST_ABSENT)
        return forbidden(v, exit);
    v->flush = true; /* it may come from a right that was lost in the TLB only */
    return EXIT_RETRY;
}
