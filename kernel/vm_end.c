/* SPDX-License-Identifier: BSD-2-Clause */
/* The ways in which the guest ends, and what is said then. */
#include "kernel/apic.h"
#include "kernel/backend.h"
#include "kernel/console.h"
#include "kernel/end.h"
#include "kernel/exact.h"
#include "kernel/models.h"
#include "kernel/relaunch.h"
#include "kernel/smp.h"
#include "kernel/stats.h"
#include "kernel/tsc.h"
#include "kernel/vm.h"
#include "kernel/x86.h"
#include <errno.h>
#include <stdio.h>

#define STOP_US        1000000U
#define KINDS_PER_LINE 6U
#define KIND_TEXT      36U /* a blank, the longest name, a blank, 20 digits */

/* True if this vCPU is now the one that ends the run; the others have stopped. Under the lock, as one
 * that relaunches must be the first before it says so. */
static bool begin_end(struct vcpu *self)
{
    vm_lock(self);
    const bool first = atomic_load(&vm.ender) == NULL;
    if (first)
        atomic_store(&vm.ender, self);
    vm_unlock(self);
    if (!first)
        return false;
    for (unsigned int i = 0; i < vm.vcpu_count; i++) {
        struct vcpu *v = vm.vcpu[i];
        uint64_t begin = tsc_microseconds();
        while (v != self && v->status == VCPU_RUNNING && tsc_microseconds() - begin < STOP_US) {
            smp_kick(v->cpu);
            tsc_delay(KICK_AGAIN_US);
        }
        if (v != self && v->status == VCPU_RUNNING)
            console_line("guest: vcpu %u did not stop within %u ms", i, STOP_US / 1000);
    }
    return true;
}

static void print_exits(const struct vcpu *v)
{
    char text[KINDS_PER_LINE * KIND_TEXT];
    int used = 0;
    unsigned int kinds = 0;
    for (unsigned int kind = 0; kind < EXIT_KINDS; kind++) {
        if (v->exits[kind] == 0)
            continue;
        used += snprintf(text + used, sizeof(text) - (size_t)used, " %s %lu",
                         exit_name((enum exit_kind)kind), v->exits[kind]);
        if (++kinds % KINDS_PER_LINE == 0) {
            console_line("exits: vcpu %u:%s", v->index, text);
            used = 0;
        }
    }
    if (used != 0 || kinds == 0)
        console_line("exits: vcpu %u:%s", v->index, used == 0 ? " none" : text);
    if (v->apic_writes.msr != 0 || v->apic_writes.page != 0)
        console_line("ipi: vcpu %u: %lu writes to the APIC by WRMSR and %lu by MMIO exited, %lu of "
                     "them when all vCPUs had come up",
                     v->index, v->apic_writes.msr, v->apic_writes.page, v->apic_writes.late);
}

/* With what the verdict line itself may have to say. False if a vCPU's model did not hold, which no
 * verdict of the guest's outweighs. */
static bool print_summary(void)
{
    for (unsigned int i = 0; i < vm.vcpu_count; i++)
        print_exits(vm.vcpu[i]);
    vm_print_tables();
    models_print_digest();
    exact_report();
    if (vm.forbidden != 0)
        console_line("guest: %lu accesses to Latch's memory, which gave it nothing",
                     (uint64_t)vm.forbidden);
    return models_answer_as_sealed();
}

/* The guest, or nobody, has given the verdict. */
static void print_summary_behind(void)
{
    if (!print_summary())
        end_say_verdict(VERDICT_ERROR);
}

static _Noreturn void end_with(enum verdict verdict)
{
    if (!print_summary())
        verdict = VERDICT_ERROR;
    end_say_verdict(verdict);
    stats_print();
    end_machine(verdict);
}

enum exit_action vm_end(struct vcpu *v, enum verdict verdict)
{
    if (!begin_end(v))
        return EXIT_STOP;
    end_with(verdict);
}

enum exit_action vm_power_off(struct vcpu *v)
{
    if (!begin_end(v))
        return EXIT_STOP;
    console_line("guest: powers off");
    print_summary_behind();
    stats_print();
    end_power_off();
}

static _Noreturn void end_as_reset(void)
{
    if (vm.config->on_reset == ON_RESET_POWEROFF)
        end_power_off();
    if (vm.config->on_reset == ON_RESET_HALT)
        end_halt();
    end_reset();
}

enum exit_action vm_reset(struct vcpu *v, const char *reason)
{
    if (vm.config->on_reset == ON_RESET_RELAUNCH)
        return relaunch_begin(v, reason);
    if (!begin_end(v))
        return EXIT_STOP;
    console_line("guest: resets the machine: %s", reason);
    print_summary_behind();
    stats_print();
    end_as_reset();
}

static void dump_line(const char *text)
{
    console_line("dump: %s", text);
}

static void dump_segment(const char *name, const struct segment *s)
{
    console_line("dump: %-4s %04x base %016lx limit %08x attributes %03x", name, s->selector,
                 s->base, s->limit, s->attributes);
}

static void dump_registers(const struct vcpu *v, const struct vcpu_state *s)
{
    static const char *const names[] = {"es", "cs", "ss", "ds", "fs", "gs", "ldtr", "tr"};
    const union gprs *r = &v->regs;
    console_line("dump: rip %016lx rflags %08lx%s%s", s->rip, s->rflags,
                 s->interrupt_shadow ? ", interrupt shadow" : "",
                 s->nmi_blocked ? ", NMI blocked" : "");
    console_line("dump: rax %016lx rcx %016lx rdx %016lx rbx %016lx", r->rax, r->rcx, r->rdx,
                 r->rbx);
    console_line("dump: rsp %016lx rbp %016lx rsi %016lx rdi %016lx", r->rsp, r->rbp, r->rsi,
                 r->rdi);
    console_line("dump: r8  %016lx r9  %016lx r10 %016lx r11 %016lx", r->r8, r->r9, r->r10, r->r11);
    console_line("dump: r12 %016lx r13 %016lx r14 %016lx r15 %016lx", r->r12, r->r13, r->r14,
                 r->r15);
    console_line("dump: cr0 %08lx cr2 %016lx cr3 %016lx cr4 %08lx efer %lx", s->cr0, s->cr2, s->cr3,
                 s->cr4, s->efer);
    for (unsigned int i = 0; i < SEGMENTS; i++)
        dump_segment(names[i], &s->segment[i]);
    console_line("dump: gdtr %016lx limit %04x, idtr %016lx limit %04x", s->gdtr.base,
                 s->gdtr.limit, s->idtr.base, s->idtr.limit);
}

static void dump_code(struct vcpu *v, const struct vcpu_state *s)
{
    uint8_t code[16];
    char text[3 * sizeof(code) + 1] = "";
    unsigned int size = vcpu_fetch(v, s, s->segment[SEG_CS].base + s->rip, code, sizeof(code));
    for (unsigned int i = 0; i < size; i++)
        snprintf(text + 3UL * i, 4, " %02x", code[i]);
    console_line("dump: code at rip:%s", size == 0 ? " not readable" : text);
}

/* False if another vCPU ends the run already. */
static bool dump_and_stop(struct vcpu *v, const struct exit *exit, const char *reason)
{
    struct vcpu_state state;
    if (!begin_end(v))
        return false;
    backend_get_state(v, &state);
    console_line("guest: vcpu %u stopped: %s", v->index, reason);
    console_line("dump: exit %s, reason 0x%lx, info 0x%lx 0x%lx", exit_name(exit->kind),
                 exit->raw_reason, exit->raw_info[0], exit->raw_info[1]);
    if (exit->kind == EXIT_MEMORY)
        console_line("dump: guest-physical address %016lx", exit->memory.gpa.raw);
    dump_registers(v, &state);
    dump_code(v, &state);
    vcpu_dump_walk(v, &state, state.segment[SEG_CS].base + state.rip, dump_line);
    backend_dump(v, dump_line);
    return true;
}

enum exit_action vm_crash(struct vcpu *v, const struct exit *exit, const char *reason)
{
    if (!dump_and_stop(v, exit, reason))
        return EXIT_STOP;
    end_with(VERDICT_ERROR);
}

enum exit_action vm_triple_fault(struct vcpu *v, const struct exit *exit)
{
    if (vm.config->on_reset == ON_RESET_RELAUNCH)
        return relaunch_begin(v, "triple fault");
    if (!dump_and_stop(v, exit, "triple fault"))
        return EXIT_STOP;
    print_summary_behind();
    end_say_verdict(VERDICT_ERROR);
    stats_print();
    end_exit_port(VERDICT_ERROR);
    end_as_reset();
}
