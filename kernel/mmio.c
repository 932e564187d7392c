/* SPDX-License-Identifier: BSD-2-Clause */
#include "kernel/mmio.h"
#include "kernel/acpi.h"
#include "kernel/apic.h"
#include "kernel/backend.h"
#include "kernel/console.h"
#include "kernel/insn.h"
#include "kernel/ipi.h"
#include "kernel/memory.h"
#include "kernel/narrow.h"
#include "kernel/paging.h"
#include "kernel/vm.h"
#include "kernel/x86.h"
#include <stdio.h>

static volatile uint8_t *reset_page; /* with ACPI's reset register in it; NULL: none is watched */

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

/* The store that a page held read-only has caught, and its length. Without one, false, and *action is
 * what comes of the exit; `page` is its name. */
static bool find_store(struct vcpu *v, struct exit *exit, const char *page, struct insn *insn,
                       enum exit_action *action)
{
    struct vcpu_state state;
    char text[80];
    uint8_t code;
    backend_get_state(v, &state);
    if (!exit->memory.delivering && vcpu_decode(v, &state, insn) != 0 && is_move(insn) &&
        insn->to_rm) {
        exit->length = insn->length;
        return true;
    }
    if (!exit->memory.delivering &&
        vcpu_fetch(v, &state, state.segment[SEG_CS].base + state.rip, &code, 1) == 0) {
        *action = EXIT_RETRY; /* it went away between the write and here */
        return false;
    }
    snprintf(text, sizeof(text), "%s wrote to the page of %s",
             exit->memory.delivering ? "the delivery of an event"
                                     : "an instruction other than a move",
             page);
    *action = vm_crash(v, exit, text);
    return false;
}

/* Only aligned doublewords are defined to reach a register (SDM vol. 3 §11.4.1); any other write
 * goes nowhere, and above all not beyond the page. */
static enum exit_action write_apic_page(struct vcpu *v, struct exit *exit)
{
    const uint32_t offset = (uint32_t)(exit->memory.gpa.raw & PAGE_OFFSET_MASK);
    enum exit_action action;
    struct insn insn;
    if (!find_store(v, exit, "the local APIC", &insn, &action))
        return action;
    if (insn.rm_size != sizeof(uint32_t) || offset % APIC_REGISTER_STEP != 0)
        return EXIT_NEXT;
    return ipi_xapic_write(v, offset, (uint32_t)stored_value(v, &insn));
}

static void store(volatile void *to, unsigned int size, uint64_t value)
{
    if (size == 1)
        *(volatile uint8_t *)to = (uint8_t)value;
    else if (size == 2)
        *(volatile uint16_t *)to = (uint16_t)value;
    else if (size == 4)
        *(volatile uint32_t *)to = (uint32_t)value;
    else
        *(volatile uint64_t *)to = value;
}

/* The page has other registers too. A store over its end goes nowhere. */
static enum exit_action write_reset_page(struct vcpu *v, struct exit *exit)
{
    const uint64_t address = exit->memory.gpa.raw, offset = address & PAGE_OFFSET_MASK;
    const uint64_t byte = v->vm->acpi->reset.address - address;
    enum exit_action action;
    struct insn insn;
    if (!find_store(v, exit, "the ACPI reset register", &insn, &action))
        return action;
    const uint64_t value = stored_value(v, &insn);
    if (byte < insn.rm_size && (uint8_t)(value >> 8 * byte) == v->vm->acpi->reset_value)
        return vm_reset(v, "ACPI reset register");
    if (offset + insn.rm_size <= PAGE_SIZE)
        store(reset_page + offset, insn.rm_size, value);
    return EXIT_NEXT;
}

/* ACPI Specification 6.5 §4.8.3.6. One in I/O space is a port's: kernel/port.c. */
uint64_t mmio_watch_reset(void)
{
    const struct acpi_address *reset = &vm.acpi->reset;
    const uint64_t page = reset->address & ~PAGE_OFFSET_MASK;
    volatile void *registers;
    if (!vm.acpi->reset_supported || reset->space == ACPI_SPACE_IO ||
        vm.config->on_reset == ON_RESET_RESET)
        return 0;
    if (reset->space != ACPI_SPACE_MEMORY || page == apic_page() || page == 0 ||
        reset->address >= GUEST_MAP_END || in_latch(gpa(page)) ||
        memory_map_is_ram(&vm.map, page, page + PAGE_SIZE) ||
        memory_map_mmio(hpa(page), PAGE_SIZE, &registers) != 0) {
        console_line("reset: ACPI's reset register is not watched: space %u, 0x%lx; a guest that "
                     "uses it resets the machine, whatever on-reset= says",
                     reset->space, reset->address);
        return 0;
    }
    reset_page = registers;
    return page;
}

/* A page that Latch holds read-only. The CPU's own write there is an A or D bit in a table. */
static enum exit_action write_held_page(struct vcpu *v, struct exit *exit)
{
    if (exit->memory.walk)
        return forbidden(v, exit);
    if (gfn_of(exit->memory.gpa).raw == apic_page() >> PAGE_SHIFT)
        return write_apic_page(v, exit);
    return write_reset_page(v, exit);
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
    if (result.kind == GUEST_READ_ONLY && exit->memory.write)
        return write_held_page(v, exit);
    enum exit_action action;
    if (result.beyond_limit && v->paging == PAGED_NARROW && exit->memory.linear_valid &&
        narrow_beyond_limit(v, exit, &action))
        return action;
    if (result.kind == GUEST_ABSENT)
        return forbidden(v, exit);
    v->flush = true; /* it may come from a right that was lost in the TLB only */
    return EXIT_RETRY;
}
