/* SPDX-License-Identifier: BSD-2-Clause */
#include "kernel/relaunch.h"
#include "kernel/backend.h"
#include "kernel/console.h"
#include "kernel/devices.h"
#include "kernel/end.h"
#include "kernel/exact.h"
#include "kernel/guest.h"
#include "kernel/ipi.h"
#include "kernel/memory.h"
#include "kernel/models.h"
#include "kernel/msr.h"
#include "kernel/paging.h"
#include "kernel/pci.h"
#include "kernel/port.h"
#include "kernel/pristine.h"
#include "kernel/smp.h"
#include "kernel/stats.h"
#include "kernel/tsc.h"
#include "kernel/vm.h"
#include "kernel/x86.h"
#include <errno.h>
#include <string.h>

#define MSRS_MAX    (unsigned int)(PAGE_SIZE / sizeof(struct msr_value))
#define FCW_RESET   0x40U
#define MXCSR_RESET 0x1f80U

/* Of one CPU, as at launch. */
struct saved_cpu {
    struct msr_value *msr;
    unsigned int msrs;
};

static struct saved_cpu saved[CPUS_MAX];
static const struct boot_info *boot;
static _Atomic unsigned int arrived, ready;
static _Atomic uint64_t opened; /* the generation whose common part is done */

static int save_here(void *argument)
{
    struct saved_cpu *cpu = argument;
    cpu->msrs = msr_save(cpu->msr, MSRS_MAX);
    devices_save_apic(this_cpu()->index);
    return 0;
}

static void say_without_reset(void)
{
    char names[96];
    const unsigned int count = pci_without_reset(names, sizeof(names));
    if (count != 0)
        console_line(
            "relaunch: %u PCI functions have no reset, and get their headers back and no bus "
            "mastering:%s%s",
            count, names, count > strlen(names) / PCI_NAME_SIZE ? " ..." : "");
}

int relaunch_prepare(const struct boot_info *info, struct refusal *why)
{
    boot = info;
    opened = vm.seal.generation;
    if (vm.config->on_reset != ON_RESET_RELAUNCH)
        return 0;
    for (unsigned int i = 0; i < vm.vcpu_count; i++) {
        hpa_t page;
        if (memory_alloc_page(&page) != 0)
            return refuse(why, ENOMEM, "relaunch: no memory; set pool= to more MiB");
        saved[i].msr = memory_at(page);
        (void)smp_call(vm.vcpu[i]->cpu, save_here, &saved[i]);
    }
    if (devices_save(vm.acpi) != 0)
        return refuse(why, E2BIG,
                      "relaunch: wanted at most %u PCI functions and %u IOAPICs, found more: they "
                      "could not be reset; use on-reset=reset",
                      PCI_FUNCTIONS_MAX, IOAPICS_MAX);
    say_without_reset();
    pristine_digest(info->module, info->module_count);
    return pristine_save(&vm.map, vm.acpi, why);
}

static void wake(struct vcpu *v)
{
    v->wake = true;
    smp_kick(v->cpu);
}

static bool still_runs(const struct vcpu *v)
{
    return v->status != VCPU_STOPPED;
}

/* By it CPUs are called, and in which mode it is, the next model is checked against. */
static void restore_apic(const struct vcpu *v)
{
    if (devices_restore_apic(v->cpu->index) != 0)
        end_refuse(
            "relaunch: wanted vcpu %u's local APIC as at launch, but this CPU does not turn it "
            "on again (IA32_APIC_BASE is %lx); have the guest leave it on and in its mode",
            v->index, rdmsr(MSR_APIC_BASE));
}

enum exit_action relaunch_begin(struct vcpu *v, const char *reason)
{
    vm_lock(v);
    const bool first = atomic_load(&vm.ender) == NULL;
    if (first) {
        (void)life_step(&vm.seal.life, v->index, LIFE_RESET);
        vm.relaunching = true;
        atomic_store(&vm.ender, v);
    }
    vm_unlock(v);
    if (!first)
        return EXIT_STOP;
    console_defer(true); /* until its memory is cleared */
    console_line("guest: %s: generation %lu ends", reason, vm.seal.generation);
    restore_apic(v);
    for (unsigned int i = 0; i < vm.vcpu_count; i++) {
        if (vm.vcpu[i] == v)
            continue;
        wake(vm.vcpu[i]);
        vm_call(vm.vcpu[i], still_runs);
    }
    return EXIT_STOP;
}

/*
 * Every register of the FPU and of the vector units as RESET leaves it: SDM vol. 3 table 10-1. That is
 * no initial configuration of the x87's, which FNINIT makes, so this component is loaded; a component
 * whose bit in XSTATE_BV is 0 is initialized (SDM vol. 1 §13.6).
 */
static void reset_fpu(void)
{
    static const union {
        uint8_t bytes[4096];
        struct {
            uint16_t control, status;
            uint8_t tags; /* a 1 for each register that is not empty */
            uint8_t reserved[19];
            uint32_t mxcsr;
            uint8_t registers[484];
            uint64_t components;
        };
    } area __attribute__((aligned(64))) = {
        .control = FCW_RESET, .tags = 0xff, .mxcsr = MXCSR_RESET, .components = XCR0_RESET};
    uint32_t a, b, c, d;
    __asm__ volatile("fninit" ::: "memory"); /* AMD's XRSTOR leaves the pointers of old */
    cpuid_raw(1, 0, &a, &b, &c, &d);
    if (c >> 26 & 1) {
        cpuid_raw(0xd, 0, &a, &b, &c, &d);
        write_xcr0((uint64_t)d << 32 | a);
        __asm__ volatile("xrstor %0" ::"m"(area), "a"(UINT32_MAX), "d"(UINT32_MAX) : "memory");
        write_xcr0(XCR0_RESET);
    } else {
        __asm__ volatile("fxrstor %0" ::"m"(area) : "memory");
    }
}

/* The part of each CPU, the boot vCPU's too. */
static void renew_cpu(struct vcpu *v)
{
    const struct saved_cpu *cpu = &saved[v->index];
    write_cr3(read_cr3()); /* the seal was open in between */
    restore_apic(v);       /* without what devices asked for until they were silent */
    msr_restore(cpu->msr, cpu->msrs);
    tsc_reset(); /* the control structures take its offset */
    v->dynamic.apic_base = rdmsr(MSR_APIC_BASE);
    reset_fpu();
    write_dr0(0);
    write_dr1(0);
    write_dr2(0);
    write_dr3(0);
    write_cr2(0);
    v->cpu->nmis = 0;
    if (backend_vcpu_renew(v, v->root->page) != 0)
        end_refuse("vcpu %u: its control structures could not be made as generation %lu's model "
                   "wants them",
                   v->index, vm.seal.generation);
    msr_pass_all(v);
}

static void renew_vcpu(struct vcpu *v)
{
    memset(&v->regs, 0, sizeof(v->regs));
    memset(v->exits, 0, sizeof(v->exits));
    stats_renew(v);
    v->sipi_vector = -1;
    v->init_pending = false;
    v->ran = false;
    v->flush = true;
    v->cr3 = 0;
    v->apic_ldr = 0;
    v->apic_dfr = UINT32_MAX;
}

/* What is common, while no vCPU runs: on the boot vCPU's CPU. */
static void renew_vm(void)
{
    struct refusal why = {.text = ""};
    console_idle(); /* what the guest wrote and is still in the UART would be lost with it */
    port_renew();
    devices_restore(); /* first, so that no device writes to memory any more */
    for (unsigned int i = 0; i < vm.vcpu_count; i++)
        renew_vcpu(vm.vcpu[i]);
    vm.started = 0;
    vm.forbidden = 0;
    vm.icr_trapped = ipi_trap_needed();
    if (models_seal_next(&why) != 0)
        end_refuse("%s", why.text);
    exact_choose();
    exact_mark_verdict();
    pristine_restore(&vm.map);
    if (!pristine_check(boot->module, boot->module_count))
        end_refuse("relaunch: the guest's images have changed since launch: something wrote into "
                   "Latch's memory");
    if (vm_renew_memory() != 0)
        end_refuse("relaunch: no memory for the page tables; set pool= or shadow= to more MiB");
    tsc_begin_again();
    xen_start();
    vm.relaunching = false;
    vm.ender = NULL;
}

static void load_guest(struct vcpu *v)
{
    static struct vcpu_state state;
    struct refusal why = {.text = ""};
    vm_follow_mtrrs();
    if (guest_load_images(boot, v, &state, &why) != 0)
        end_refuse("%s", why.text);
    backend_set_state(v, &state);
    paging_follow(v);
}

bool relaunch_join(struct vcpu *v)
{
    if (!vm.relaunching)
        return false;
    const uint64_t next = vm.seal.generation + 1;
    v->status = VCPU_STOPPED;
    restore_apic(v);
    arrived++;
    if (v->index == 0) {
        while (arrived < vm.vcpu_count)
            cpu_pause();
        arrived = 0;
        ready = 0;
        renew_vm();
        opened = next;
    }
    while (opened != next)
        cpu_pause();
    renew_cpu(v);
    if (v->index != 0)
        v->status = VCPU_WAIT_FOR_SIPI;
    ready++;
    if (v->index == 0) {
        while (ready < vm.vcpu_count)
            cpu_pause();
        load_guest(v);
        console_defer(false);
    }
    return true;
}
