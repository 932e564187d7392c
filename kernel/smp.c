/* SPDX-License-Identifier: BSD-2-Clause */
#include "kernel/smp.h"
#include "kernel/apic.h"
#include "kernel/backend.h"
#include "kernel/console.h"
#include "kernel/interrupts.h"
#include "kernel/memory.h"
#include "kernel/tsc.h"
#include "kernel/vcpu.h"
#include "kernel/x86.h"
#include <errno.h>
#include <stddef.h>
#include <string.h>

/* Where a SIPI can start a CPU, beyond the real-mode tables. */
#define TRAMPOLINE_LOWEST 0x8000UL
#define TRAMPOLINE_END    0xa0000UL
#define XAPIC_ID_MAX      254U
#define INIT_DELAY_US     10000U
#define SIPI_DELAY_US     300U
#define ANSWER_US         2000000U

/* What boot/trampoline.asm reads, at its label trampoline_mailbox. */
struct mailbox {
    uint64_t cr3, efer, stack, cpu, entry;
    uint32_t cr4, root, msr, msr_bits;
};

extern const uint8_t trampoline[], trampoline_end[], trampoline_mailbox[];

struct cpu *cpus[CPUS_MAX];
unsigned int cpu_count;
static struct cpu boot_cpu;

_Static_assert(sizeof(struct cpu) <= PAGE_SIZE, "an application processor's comes from a page");

void smp_init_boot_cpu(void)
{
    cpus[0] = &boot_cpu;
    cpu_count = 1;
    boot_cpu.online = true;
    interrupts_init();
    interrupts_load(&boot_cpu);
}

static int make_stacks(struct cpu *cpu)
{
    for (unsigned int ist = 0; ist < IST_COUNT; ist++) {
        cpu->tss.ist[ist] = memory_stack(cpu->index, ist + 1);
        if (cpu->tss.ist[ist] == 0)
            return -ENOMEM;
    }
    return 0;
}

int smp_load_boot_cpu(void)
{
    int error = make_stacks(&boot_cpu);
    if (error == 0)
        interrupts_load(&boot_cpu);
    return error;
}

static _Noreturn void work_loop(struct cpu *cpu)
{
    for (;;) {
        wait_for_nmi(&cpu->work_ready);
        cpu->work_ready = false;
        cpu->work_result = cpu->work(cpu->work_argument);
        atomic_thread_fence(memory_order_release);
        cpu->work_done = true;
    }
}

static _Noreturn void ap_entry(struct cpu *cpu)
{
    interrupts_load(cpu);
    memory_protect_cpu();
    cpu->online = true;
    work_loop(cpu);
}

static int make_cpu(uint32_t id, struct cpu **made, struct refusal *why)
{
    hpa_t page;
    if (cpu_count == CPUS_MAX)
        return refuse(why, ENOSPC, "CPUs: wanted at most %u, found more; disable some in firmware",
                      CPUS_MAX);
    int error = memory_alloc_page(&page);
    if (error == 0) {
        struct cpu *cpu = memory_at(page);
        cpu->index = cpu_count;
        cpu->apic_id = id;
        cpu->stack_top = memory_stack(cpu->index, 0);
        error = cpu->stack_top == 0 ? -ENOMEM : make_stacks(cpu);
        *made = cpu;
    }
    return error == 0 ? 0
                      : refuse(why, ENOMEM,
                               "CPU with APIC id %u: no memory for its stacks; set "
                               "pool= to more MiB",
                               id);
}

static bool answers(const struct cpu *cpu, uint64_t microseconds)
{
    for (uint64_t start = tsc_microseconds(); tsc_microseconds() - start < microseconds;) {
        if (cpu->online)
            return true;
        cpu_pause();
    }
    return cpu->online;
}

static int start_cpu(struct cpu *cpu, hpa_t trampoline_page, struct refusal *why)
{
    struct mailbox mailbox = {
        .cr4 = (uint32_t)read_cr4() & (CR4_PAE | CR4_LA57),
        .root = (uint32_t)(trampoline_page.raw + PAGE_SIZE),
        .cr3 = memory_cr3(),
        .efer = rdmsr(MSR_EFER) & EFER_NXE,
        .stack = cpu->stack_top,
        .cpu = (uint64_t)cpu,
        .entry = (uint64_t)ap_entry,
    };
    const uint32_t vector = (uint32_t)(trampoline_page.raw >> PAGE_SHIFT);
    const uint32_t sipi = ICR_MODE_STARTUP | ICR_ASSERT | vector;
    if (!apic_is_x2apic() && cpu->apic_id > XAPIC_ID_MAX)
        return refuse(why, ENOTSUP,
                      "CPU with APIC id %u: wanted at most %u while the APICs are in xAPIC mode; "
                      "turn x2APIC on in firmware, or disable the CPU there",
                      cpu->apic_id, XAPIC_ID_MAX);
    backend_start_msr(&mailbox.msr, &mailbox.msr_bits);
    memcpy((uint8_t *)memory_at(trampoline_page) + (trampoline_mailbox - trampoline), &mailbox,
           sizeof(mailbox));
    apic_send(cpu->apic_id, ICR_MODE_INIT | ICR_ASSERT);
    tsc_delay(INIT_DELAY_US);
    /* The second SIPI is for CPUs that lose the first (SDM vol. 3 §9.4.4.1). */
    apic_send(cpu->apic_id, sipi);
    if (!answers(cpu, SIPI_DELAY_US))
        apic_send(cpu->apic_id, sipi);
    if (!answers(cpu, ANSWER_US))
        return refuse(why, ETIMEDOUT,
                      "CPU with APIC id %u: wanted an answer to INIT and SIPI within %u ms, found "
                      "none; disable it in firmware",
                      cpu->apic_id, ANSWER_US / 1000);
    console_line("cpu %u: APIC id %u online", cpu->index, cpu->apic_id);
    return 0;
}

int smp_start(const struct acpi_info *acpi, const struct memory_map *map, struct refusal *why)
{
    static uint8_t saved[2 * PAGE_SIZE];
    uint64_t low;
    if (memory_map_find_low(map, sizeof(saved), PAGE_SIZE, TRAMPOLINE_LOWEST, TRAMPOLINE_END, &low))
        return refuse(why, ENOMEM,
                      "trampoline: wanted two pages of RAM at 0x%lx-0x%lx, found none; "
                      "update the firmware",
                      TRAMPOLINE_LOWEST, TRAMPOLINE_END);
    void *page = memory_at(hpa(low));
    boot_cpu.apic_id = apic_id();
    console_line("cpu 0: APIC id %u online, the boot processor", boot_cpu.apic_id);
    int error = memory_map_trampoline(hpa(low));
    if (error != 0)
        return refuse(why, ENOMEM, "no memory for the trampoline's page table; set pool= to more");
    memcpy(saved, page, sizeof(saved));
    memcpy(page, trampoline, (size_t)(trampoline_end - trampoline));
    memory_copy_root(hpa(low + PAGE_SIZE));
    for (unsigned int i = 0; i < acpi->cpu_count && error == 0; i++) {
        struct cpu *cpu = NULL;
        if (!acpi->cpu[i].enabled || acpi->cpu[i].apic_id == boot_cpu.apic_id)
            continue;
        error = make_cpu(acpi->cpu[i].apic_id, &cpu, why);
        if (error == 0)
            error = start_cpu(cpu, hpa(low), why);
        if (error == 0)
            cpus[cpu_count++] = cpu;
    }
    memcpy(page, saved, sizeof(saved));
    memory_unmap_trampoline(hpa(low));
    return error;
}

/* One NMI for each turn of `kicked`: a second one on its way would be taken for the guest's own. */
void smp_kick(struct cpu *cpu)
{
    if (cpu->vcpu == NULL || !atomic_exchange(&cpu->vcpu->kicked, true))
        apic_send(cpu->apic_id, ICR_MODE_NMI | ICR_ASSERT);
}

void smp_send(struct cpu *cpu, int (*work)(void *argument), void *argument)
{
    cpu->work = work;
    cpu->work_argument = argument;
    cpu->work_done = false;
    atomic_thread_fence(memory_order_release);
    cpu->work_ready = true;
    smp_kick(cpu);
}

int smp_call(struct cpu *cpu, int (*work)(void *argument), void *argument)
{
    if (cpu == this_cpu())
        return work(argument);
    smp_send(cpu, work, argument);
    while (!cpu->work_done)
        cpu_pause();
    atomic_thread_fence(memory_order_acquire);
    return cpu->work_result;
}
