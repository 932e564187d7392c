/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Latch, from the boot loader to the guest: a list of steps, each with its reason. Until the last
 * step nothing has changed that a reset would not undo; then the CPUs are the guest's.
 */
#include "kernel/acpi.h"
#include "kernel/apic.h"
#include "kernel/backend.h"
#include "kernel/config.h"
#include "kernel/console.h"
#include "kernel/end.h"
#include "kernel/exact.h"
#include "kernel/guest.h"
#include "kernel/ipi.h"
#include "kernel/machine.h"
#include "kernel/measures.h"
#include "kernel/memory.h"
#include "kernel/models.h"
#include "kernel/msr.h"
#include "kernel/multiboot2.h"
#include "kernel/paging.h"
#include "kernel/port.h"
#include "kernel/relaunch.h"
#include "kernel/smp.h"
#include "kernel/stats.h"
#include "kernel/tsc.h"
#include "kernel/vm.h"
#include "kernel/x86.h"
#include <errno.h>
#include <string.h>

#define COM1            0x3f8
#define IDENTITY_MAPPED 0x100000000UL
#define RSDP_OEM        9

extern char image_start[], image_end[];
void main(uint32_t boot_information);

static struct boot_info info;
static struct config config;
static struct acpi_info acpi;
static struct refusal why;
static struct vcpu_state first_state;

/* Every step ends here: on it goes, or with its reason it is refused. */
static void require(int error)
{
    if (error < 0)
        end_refuse("%s", why.text);
}

static void read_boot_information(uint32_t address)
{
    uint64_t image = memory_address_of(image_start).raw;
    int error = multiboot2_parse(memory_at(hpa(address)), address, IDENTITY_MAPPED - address, image,
                                 image + (uint64_t)(image_end - image_start), &info, &why);
    if (error != 0) {
        struct refusal unread; /* the first one counts; this is only to end as configured */
        (void)config_parse(info.command_line, &config, &unread);
        end_configure(&config, &acpi);
    }
    require(error);
    console_line("boot: by %s, %lu MiB of RAM, %u modules", info.boot_loader,
                 memory_map_ram_size(&info.map) >> 20, info.module_count);
}

static void read_configuration(void)
{
    int error = config_parse(info.command_line, &config, &why);
    end_configure(&config, &acpi); /* with the words before a wrong one */
    require(error);
    if (config.console != COM1)
        console_init((uint16_t)config.console);
}

static void move_to_top_of_ram(void (*go)(void))
{
    const uint32_t shadow = config.paging == PAGING_DIRECT ? 0 : config.shadow;
    if (backend_present())
        backend_encryption(&memory_encryption);
    require(memory_place(&info, shadow, config.pool, &why));
    if (memory_build_tables(&info) != 0)
        end_refuse("page tables: wanted more than the %u MiB of pool=; set it higher", config.pool);
    memory_protect_cpu();
    memory_move(go);
}

static void check_memory(void)
{
    uint64_t bad;
    unsigned int leaves;
    if (memory_check_wx(&bad, &leaves) != 0)
        end_refuse("page tables: the page at 0x%lx is both writable and executable", bad);
    console_line("memory: Latch at 0x%lx-0x%lx, %u mappings, none writable and executable",
                 latch_range.home, latch_range.end, leaves);
    if (memory_encryption.cbit != 0)
        console_line(
            "memory: Latch's is encrypted (C-bit %d, addresses of %u bits), the guest's is "
            "not: its devices could not read it",
            __builtin_ctzl(memory_encryption.cbit), memory_encryption.width);
}

static void read_acpi(void)
{
    const struct acpi_memory memory = {.map = memory_firmware};
    require(acpi_parse(info.rsdp, info.rsdp_size, &memory, &acpi, &why));
    if (acpi.pm_timer.space == ACPI_SPACE_IO)
        tsc_calibrate_pm_timer((uint16_t)acpi.pm_timer.address);
    if (tsc_khz() == 0)
        end_refuse("TSC: wanted a PIT or a PM timer to measure it by, found neither tick");
    machine_detect((const char *)info.rsdp + RSDP_OEM);
    console_line("machine: %s, TSC at %lu kHz", machine_name(), tsc_khz());
}

static void start_cpus(void)
{
    if (apic_init() != 0)
        end_refuse("local APIC: no memory to map it; set pool= to more MiB");
    require(smp_start(&acpi, &info.map, &why));
}

static void check_hardware(void)
{
    static struct preflight table;
    if (!backend_present())
        end_refuse("virtualization: wanted VMX (CPUID.1:ECX[5]) or SVM (CPUID.80000001H:ECX[2]), "
                   "found neither; use another CPU, or -cpu host with nesting on");
    int error = backend_preflight(&table);
    for (unsigned int i = 0; i < table.rows; i++) {
        const struct preflight_row *row = &table.row[i];
        const char *verdict = row->ok ? "ok" : row->required ? "NO" : "-";
        console_line("preflight: %-2s %-23s wanted %-36s found %s", verdict, row->need, row->wanted,
                     row->found);
    }
    for (unsigned int i = 0; i < table.rows && error != 0; i++) {
        const struct preflight_row *row = &table.row[i];
        if (row->required && !row->ok)
            end_refuse("%s: wanted %s, found %s; %s", row->need, row->wanted, row->found,
                       row->advice);
    }
    if (error != 0)
        end_refuse("%s: the preflight ended with error %d and names no row", backend_name(),
                   -error);
}

static int enable_here(void *cpu)
{
    return backend_enable(cpu);
}

static void enable_virtualization(void)
{
    for (unsigned int i = 0; i < cpu_count; i++) {
        if (smp_call(cpus[i], enable_here, cpus[i]) != 0)
            end_refuse("%s: CPU with APIC id %u could not turn it on", backend_name(),
                       cpus[i]->apic_id);
    }
}

static void make_vm(void)
{
    vm.config = &config;
    vm.acpi = &acpi;
    vm.vcpu_count = config.vcpus == 0 ? cpu_count : config.vcpus;
    if (vm.vcpu_count > cpu_count)
        end_refuse("vcpus=%u: wanted at most one for each CPU, found %u CPUs; ask for fewer",
                   vm.vcpu_count, cpu_count);
    for (unsigned int i = vm.vcpu_count; i < CONFIG_CPUS; i++) {
        bool first = config.cpu_model[i][0] != '\0';
        if (first || config.cpu_generation2[i][0] != '\0')
            end_refuse("%scpu%u=%s: wanted a vCPU of this number, found vcpus=%u; leave it out, or "
                       "ask for more vCPUs",
                       first ? "" : "generation2.", i,
                       first ? config.cpu_model[i] : config.cpu_generation2[i], vm.vcpu_count);
    }
    for (unsigned int i = 0; i < vm.vcpu_count; i++) {
        hpa_t page;
        _Static_assert(sizeof(struct vcpu) <= PAGE_SIZE, "a vCPU comes from a page");
        if (memory_alloc_page(&page) != 0)
            end_refuse("vcpu %u: no memory; set pool= to more MiB", i);
        struct vcpu *v = memory_at(page);
        *v = (struct vcpu){
            .vm = &vm,
            .cpu = cpus[i],
            .index = i,
            .apic_id = cpus[i]->apic_id,
            .sipi_vector = -1,
            .status = VCPU_WAIT_FOR_SIPI,
            .apic_dfr = UINT32_MAX,
        };
        vm.vcpu[i] = v;
        if (config.stats == SWITCH_ON && stats_time(v) != 0)
            end_refuse("stats=on: no memory; set pool= to more MiB");
    }
    vm.icr_trapped = ipi_trap_needed();
}

static void choose_paging(void)
{
    exact_choose();
    for (unsigned int i = 0; i < vm.vcpu_count; i++) {
        if (vm.vcpu[i]->paging == PAGED_SHADOW)
            return;
    }
    if (models_stay() && memory_release_shadow() != 0) /* else the next ones may need them */
        end_refuse("shadow=: no memory to give it up; set pool= to more MiB");
}

static void build_guest_tables(void)
{
    if (vm_build_memory() != 0)
        end_refuse("page tables of the guest: wanted more than the %u MiB of pool= or the %u of "
                   "shadow=; set them higher",
                   config.pool, config.shadow);
    vm_print_tables();
}

static int create_here(void *vcpu)
{
    struct vcpu *v = vcpu;
    v->cpu->vcpu = v;
    if (v->rules.xcr0_allowed != 0)
        write_xcr0(XCR0_RESET); /* firmware may have left on what the model does not have */
    measures_choose(v);
    int error = backend_vcpu_create(v, v->root->page);
    if (error == 0)
        msr_pass_all(v);
    return error;
}

static void create_vcpus(void)
{
    for (unsigned int i = 0; i < vm.vcpu_count; i++) {
        if (smp_call(vm.vcpu[i]->cpu, create_here, vm.vcpu[i]) != 0)
            end_refuse("vcpu %u: its control structures could not be made as the model wants them",
                       i);
    }
    measures_print(vm.vcpu[0]);
    port_trap_all();
}

static void load_guest(void)
{
    require(guest_edit_acpi(&acpi, &why));
    require(relaunch_prepare(&info, &why));
    require(guest_load_images(&info, vm.vcpu[0], &first_state, &why));
    backend_set_state(vm.vcpu[0], &first_state);
    paging_follow(vm.vcpu[0]);
}

static int park_here(void *unused)
{
    (void)unused;
    backend_park();
}

static void check_pool(void)
{
    unsigned int total, unused;
    memory_count(&total, &unused);
    console_line("memory: pool of %u pages, %u in use", total, total - unused);
    if (vm_pool_left() < DIRECT_PAGES_MIN)
        end_refuse(
            "pool=%u: wanted %u pages left for the nested page tables, found %u; set it higher",
            config.pool, DIRECT_PAGES_MIN, vm_pool_left());
}

static _Noreturn void enter_guest(void)
{
    console_line("dma: no IOMMU is used: the guest's devices can reach Latch's memory");
    if (config.icr_trap == ICR_TRAP_STARTUP && !vm.init_exits && cpu_count > 1)
        console_line("ipi: icr-trap=startup: an INIT after all vCPUs are up escapes Latch here");
    exact_mark_verdict();
    console_line("launch: %u vCPUs, %u CPUs parked, the console is the guest's now", vm.vcpu_count,
                 cpu_count - vm.vcpu_count);
    for (unsigned int i = 1; i < cpu_count; i++) {
        if (i < vm.vcpu_count)
            smp_send(cpus[i], vcpu_main, vm.vcpu[i]);
        else
            smp_send(cpus[i], park_here, NULL);
    }
    stats_stage("launch");
    (void)vcpu_main(vm.vcpu[0]);
    __builtin_unreachable();
}

static void load_boot_cpu(void)
{
    if (smp_load_boot_cpu() != 0)
        end_refuse("stacks: no memory; set pool= to more MiB");
}

static void seal_all_models(void)
{
    require(models_seal(&info, &why));
}

static void map_guest_memory(void)
{
    require(guest_map_memory(&info, &why));
}

/* A step that stats=on tells of. */
static void stage(const char *name, void (*step)(void))
{
    step();
    stats_stage(name);
}

/* clang-format off */
static _Noreturn void main_at_top(void)
{
    stats_stage("move to the top");
    stage("own stacks", load_boot_cpu);             /* from here on a fault is reported */
    stage("ACPI", read_acpi);                       /* which CPUs there are, and how to end */
    stage("preflight", check_hardware);             /* refuse before anything is started */
    stage("CPUs", start_cpus);                      /* each must answer: none is left alone */
    stage("W^X check", check_memory);               /* all CPUs are up: nothing written can run */
    stage("VM", make_vm);                           /* one vCPU for each CPU, or as configured */
    stage("models", seal_all_models);               /* from here on no CPU of the guest changes */
    stage("paging", choose_paging);                 /* by what the hardware enforces of them */
    stage("virtualization", enable_virtualization); /* the CPUs without vCPU are parked, deaf */
    stage("guest RAM", map_guest_memory);           /* what RAM the guest has */
    stage("guest tables", build_guest_tables);      /* guest- to host-physical, all at once */
    stage("vCPUs", create_vcpus);                   /* controls that follow from the models */
    stage("run times", xen_start);                  /* those of the vCPUs begin */
    stage("guest images", load_guest);              /* into its memory, its registers */
    check_pool();                                   /* that running dry will never be fatal */
    enter_guest();                                  /* the point of no return */
}

void main(uint32_t boot_information)
{
    stats_begin();
    smp_init_boot_cpu();           /* the C library wants to know its CPU; MSRs may be missing */
    console_init(COM1);            /* a refusal must be seen, whatever else is missing */
    tsc_calibrate_pit();           /* the lines' dates */
    stats_stage("console and clock");
    console_line("Latch: a microhypervisor for x86-64");
    read_boot_information(boot_information);
    read_configuration();
    stats_stage("configuration");
    move_to_top_of_ram(main_at_top); /* low memory is the guest's */
}
/* clang-format on */
