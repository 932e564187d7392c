/* SPDX-License-Identifier: BSD-2-Clause */
#include "kernel/ipi.h"
#include "kernel/apic.h"
#include "kernel/backend.h"
#include "kernel/console.h"
#include "kernel/smp.h"
#include "kernel/vm.h"
#include "kernel/x86.h"

#define DFR_CLUSTER     0x0fffffffU
#define XAPIC_BROADCAST 0xffU

/* An ICR in the x2APIC's form. */
struct icr {
    uint32_t low, destination;
    bool x2apic;
};

bool ipi_trap_needed(void)
{
    return cpu_count > 1 || vm.config->icr_trap == ICR_TRAP_KEEP;
}

static bool stays_trapped(void)
{
    return vm.config->icr_trap == ICR_TRAP_KEEP ||
           (vm.config->icr_trap == ICR_TRAP_AUTO && !vm.init_exits);
}

static void kick(struct vcpu *v)
{
    v->wake = true;
    smp_kick(v->cpu);
}

/* SDM vol. 3 §11.6.2.2 and §11.12.10.2: the logical destination. */
static bool logical_match(const struct vcpu *target, const struct icr *icr)
{
    if (icr->x2apic) {
        uint32_t logical = (target->apic_id >> 4) << 16 | 1U << (target->apic_id & 15);
        return icr->destination == UINT32_MAX ||
               (icr->destination >> 16 == logical >> 16 && (icr->destination & logical & 0xffff));
    }
    uint32_t id = target->apic_ldr >> 24;
    if (target->apic_dfr == DFR_CLUSTER)
        return icr->destination >> 4 == id >> 4 && (icr->destination & id & 15);
    return icr->destination & id;
}

static bool addressed(const struct vcpu *sender, const struct vcpu *target, const struct icr *icr)
{
    switch (icr->low & ICR_SHORTHAND) {
    case ICR_SELF:
        return target == sender;
    case ICR_ALL:
        return true;
    case ICR_OTHERS:
        return target != sender;
    default:
        break;
    }
    if (icr->low & ICR_LOGICAL)
        return logical_match(target, icr);
    if (icr->destination == (icr->x2apic ? UINT32_MAX : XAPIC_BROADCAST))
        return true;
    return target->apic_id == icr->destination;
}

static void send_startup(struct vcpu *target, const struct icr *icr)
{
    if (target->status != VCPU_WAIT_FOR_SIPI && !target->init_pending)
        return; /* ignored by a CPU that runs (SDM vol. 3 §9.4.4.1) */
    target->sipi_vector = (int)(icr->low & ICR_VECTOR);
    kick(target);
}

/* Until it waits, a SIPI that follows would be lost on it. */
static bool not_stopped(const struct vcpu *target)
{
    return target->init_pending && !this_cpu()->vcpu->init_pending && vm.ender == NULL;
}

static void send_init(struct vcpu *sender, struct vcpu *target)
{
    if (target->index == 0) /* the boot processor goes to the reset vector, into the firmware */
        (void)vm_reset(sender, "INIT of the boot processor");
    if (target->index == 0 || target->status != VCPU_RUNNING)
        return;
    target->sipi_vector = -1;
    target->init_pending = true;
    if (target != sender)
        vm_call(target, not_stopped);
}

/* True if the write was an INIT or a SIPI, which the hardware must not see. */
static bool handle(struct vcpu *v, const struct icr *icr)
{
    uint32_t mode = icr->low & ICR_MODE;
    if (mode != ICR_MODE_INIT && mode != ICR_MODE_STARTUP)
        return false;
    if (mode == ICR_MODE_INIT && (icr->low & ICR_LEVEL) && !(icr->low & ICR_ASSERT))
        return true; /* INIT level de-assert does nothing on any CPU that Latch runs on */
    for (unsigned int i = 0; i < vm.vcpu_count; i++) {
        if (!addressed(v, vm.vcpu[i], icr))
            continue;
        if (mode == ICR_MODE_INIT)
            send_init(v, vm.vcpu[i]);
        else
            send_startup(vm.vcpu[i], icr);
    }
    return true;
}

/* A vCPU that still has the page read-only in its TLB comes once more, and finds the trap gone. */
static void untrap_if_done(struct vcpu *v)
{
    if (!vm.icr_trapped || stays_trapped() || vm.started < vm.vcpu_count)
        return;
    vm_lock(v);
    if (direct_set_kind(&vm.direct, gpa(apic_page()), PAGE_SIZE, GUEST_PASS) == 0)
        vm.icr_trapped = false;
    vm_unlock(v);
}

static void count_write(struct vcpu *v, uint64_t *count)
{
    (*count)++;
    if (!vm.icr_trapped)
        v->apic_writes.late++;
}

static enum exit_action after(const struct vcpu *v)
{
    return v->init_pending || vm.ender != NULL ? EXIT_STOP : EXIT_NEXT;
}

enum exit_action ipi_x2apic_write(struct vcpu *v, struct exit *exit, uint64_t value)
{
    if (!apic_is_x2apic())
        return exit_fault_code(exit, VECTOR_GP, 0);
    const struct icr icr = {
        .low = (uint32_t)value, .destination = (uint32_t)(value >> 32), .x2apic = true};
    count_write(v, &v->apic_writes.msr);
    if (!handle(v, &icr) && wrmsr_safe(MSR_X2APIC_ICR, value) != 0)
        return exit_fault_code(exit, VECTOR_GP, 0);
    untrap_if_done(v);
    if (!vm.icr_trapped && !v->icr_passed) {
        backend_pass_msr(v, MSR_X2APIC_ICR, true, true);
        v->icr_passed = true;
    }
    return after(v);
}

enum exit_action ipi_xapic_write(struct vcpu *v, uint32_t offset, uint32_t value)
{
    count_write(v, &v->apic_writes.page);
    if (offset == APIC_ICR) {
        const struct icr icr = {.low = value, .destination = apic_read(APIC_ICR_HIGH) >> 24};
        if (!handle(v, &icr))
            apic_write(offset, value);
    } else {
        if (offset == APIC_LDR)
            v->apic_ldr = value;
        else if (offset == APIC_DFR)
            v->apic_dfr = value;
        if (offset != APIC_ID) /* by which Latch calls this CPU; read-only on most */
            apic_write(offset, value);
    }
    untrap_if_done(v);
    return after(v);
}

void ipi_follow_trap(struct vcpu *v)
{
    if (vm.icr_trapped && v->icr_passed) {
        backend_pass_msr(v, MSR_X2APIC_ICR, true, false);
        v->icr_passed = false;
    }
}

static bool sends_unseen(const struct vcpu *v)
{
    return v->icr_passed && v->status == VCPU_RUNNING && vm.ender == NULL;
}

/* A SIPI that another vCPU's CPU sends by itself from now on would be lost on a CPU in Latch. */
void ipi_init_arrived(struct vcpu *v)
{
    v->sipi_vector = -1;    /* one that came before the INIT, too late to be needed */
    v->init_pending = true; /* so that one that is seen from now on is kept for after it */
    vm_lock(v);
    vm.icr_trapped = true;
    /* Without memory for it the page is absent, and its accesses exit all the same. */
    (void)direct_set_kind(&vm.direct, gpa(apic_page()), PAGE_SIZE, GUEST_READ_ONLY);
    vm_unlock(v);
    ipi_follow_trap(v);
    for (unsigned int i = 0; i < vm.vcpu_count; i++)
        vm_call(vm.vcpu[i], sends_unseen);
}
