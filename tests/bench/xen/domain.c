/* SPDX-License-Identifier: BSD-2-Clause */
/* The guest: made, filled, started and waited for by Xen's domain control. */
#include "tests/bench/xen/dom0.h"

#include "kernel/x86.h"

#include <string.h>
#include <xen/domctl.h>
#include <xen/event_channel.h>
#include <xen/memory.h>
#include <xen/sched.h>

#define PAGE          4096UL
#define EXTENT_ORDER  9U /* by 2 MiB, as Xen's own tools do where they can */
#define EXTENT_PAGES  (1UL << EXTENT_ORDER)
#define EXTENTS       (MEMORY_SIZE / PAGE / EXTENT_PAGES)
#define TABLES_SIZE   (8UL << 20) /* for Xen's tables of the guest */
#define SPARE_KIB     1024U       /* for pages that Xen adds to the guest's */
#define EVENT_PORTS   1023U
#define NEVER_EMULATE 2U     /* the TSC: the guest reads the CPU's */
#define PTE_WRITABLE  0x67UL /* with accessed and dirty set: no walk has to write them */
#define CODE_32       0xc9bU /* flat segments, as Xen keeps their attributes */
#define DATA_32       0xc93U
#define TSS_32        0x8bU
#define LDT           0x82U
#define SELECTOR_CODE 8U
#define SELECTOR_DATA 16U
#define DR6_RESET     0xffff0ff0U
#define DR7_RESET     0x400U

/* Where a page of the guest's is mapped while it is filled. */
static uint8_t window[PAGE] __attribute__((aligned(PAGE)));
static domid_t guest;

static void domctl(uint32_t command, const char *name, struct xen_domctl *op)
{
    op->interface_version = XEN_DOMCTL_INTERFACE_VERSION;
    op->cmd = command;
    op->domain = guest;
    int64_t result = hypercall(__HYPERVISOR_domctl, (uintptr_t)op, 0, 0, 0);
    if (result < 0)
        fail(name, result);
}
#define DOMCTL(name, op) domctl(XEN_DOMCTL_##name, #name, op)

static void populate(void)
{
    static xen_pfn_t extents[EXTENTS];
    struct xen_memory_reservation memory = {
        .nr_extents = EXTENTS, .extent_order = EXTENT_ORDER, .domid = guest};
    for (size_t i = 0; i < EXTENTS; i++)
        extents[i] = i * EXTENT_PAGES;
    set_xen_guest_handle(memory.extent_start, extents);
    int64_t done =
        hypercall(__HYPERVISOR_memory_op, XENMEM_populate_physmap, (uintptr_t)&memory, 0, 0);
    if (done != EXTENTS)
        fail("populate_physmap", done);
}

void domain_create(void)
{
    struct xen_domctl op = {.u.createdomain = {.flags = XEN_DOMCTL_CDF_hvm | XEN_DOMCTL_CDF_hap,
                                               .max_vcpus = 1,
                                               .max_evtchn_port = EVENT_PORTS,
                                               .max_grant_frames = -1,
                                               .max_maptrack_frames = -1,
                                               .grant_opts = XEN_DOMCTL_GRANT_version(1),
                                               .arch.emulation_flags = XEN_X86_EMU_LAPIC}};
    DOMCTL(createdomain, &op);
    guest = op.domain;
    op = (struct xen_domctl){.u.max_vcpus.max = 1};
    DOMCTL(max_vcpus, &op);
    op = (struct xen_domctl){.u.paging_mempool.size = TABLES_SIZE};
    DOMCTL(set_paging_mempool_size, &op);
    op = (struct xen_domctl){.u.max_mem.max_memkb = (MEMORY_SIZE >> 10) + SPARE_KIB};
    DOMCTL(max_mem, &op);
    op = (struct xen_domctl){.u.tsc_info.tsc_mode = NEVER_EMULATE};
    DOMCTL(settscinfo, &op);
    populate();
}

static void map(uint64_t address)
{
    int64_t result = hypercall(__HYPERVISOR_update_va_mapping_otherdomain, (uintptr_t)window,
                               address | PTE_WRITABLE, UVMF_INVLPG | UVMF_LOCAL, guest);
    if (result < 0)
        fail("update_va_mapping_otherdomain", result);
}

void domain_put(uint64_t address, const uint8_t *bytes, size_t size, size_t whole)
{
    for (size_t done = 0; done < whole;) {
        size_t offset = (address + done) % PAGE;
        size_t length = whole - done < PAGE - offset ? whole - done : PAGE - offset;
        size_t given = done >= size ? 0 : size - done < length ? size - done : length;
        map(address + done - offset);
        memcpy(window + offset, bytes + done, given);
        memset(window + offset + given, 0, length - given);
        done += length;
    }
}

/* What a saved guest is restored from. */
struct context {
    struct hvm_save_descriptor header_head;
    HVM_SAVE_TYPE(HEADER) header;
    struct hvm_save_descriptor cpu_head;
    HVM_SAVE_TYPE(CPU) cpu;
    struct hvm_save_descriptor end_head;
};

/* Bochs wants a 32-bit TSS before it lets long mode begin. */
static void set_segments(struct hvm_hw_cpu *cpu)
{
    cpu->cs_sel = SELECTOR_CODE;
    cpu->cs_arbytes = CODE_32;
    cpu->ds_sel = cpu->es_sel = cpu->fs_sel = cpu->gs_sel = cpu->ss_sel = SELECTOR_DATA;
    cpu->ds_arbytes = cpu->es_arbytes = cpu->fs_arbytes = cpu->gs_arbytes = DATA_32;
    cpu->ss_arbytes = DATA_32;
    cpu->cs_limit = cpu->ds_limit = cpu->es_limit = UINT32_MAX;
    cpu->fs_limit = cpu->gs_limit = cpu->ss_limit = UINT32_MAX;
    cpu->tr_arbytes = TSS_32;
    cpu->tr_limit = 0x67;
    cpu->ldtr_arbytes = LDT;
}

static void set_vcpu(uint32_t entry)
{
    static struct context context = {
        .header_head = {.typecode = HVM_SAVE_CODE(HEADER), .length = HVM_SAVE_LENGTH(HEADER)},
        .header = {.magic = HVM_FILE_MAGIC, .version = HVM_FILE_VERSION},
        .cpu_head = {.typecode = HVM_SAVE_CODE(CPU), .length = HVM_SAVE_LENGTH(CPU)},
        .cpu = {.rax = MULTIBOOT_MAGIC,
                .rbx = MULTIBOOT_INFO,
                .rflags = RFLAGS_FIXED1,
                .cr0 = CR0_PE | CR0_ET | CR0_NE,
                .dr6 = DR6_RESET,
                .dr7 = DR7_RESET},
        .end_head = {.typecode = HVM_SAVE_CODE(END)},
    };
    struct xen_domctl op = {.u.hvmcontext.size = sizeof(context)};
    uint32_t unused[3];
    cpuid_raw(1, 0, &context.header.cpuid, &unused[0], &unused[1], &unused[2]);
    context.cpu.rip = entry;
    set_segments(&context.cpu);
    set_xen_guest_handle(op.u.hvmcontext.buffer, (uint8_t *)&context);
    DOMCTL(sethvmcontext, &op);
}

void domain_start(uint32_t entry)
{
    struct xen_domctl op = {0};
    set_vcpu(entry);
    DOMCTL(unpausedomain, &op);
}

unsigned int domain_wait(void)
{
    struct evtchn_bind_virq bind = {.virq = VIRQ_DOM_EXC};
    struct sched_poll poll = {.nr_ports = 1};
    struct xen_domctl op = {0};
    int64_t result =
        hypercall(__HYPERVISOR_event_channel_op, EVTCHNOP_bind_virq, (uintptr_t)&bind, 0, 0);
    if (result < 0)
        fail("bind_virq", result);
    set_xen_guest_handle(poll.ports, &bind.port);
    do {
        hypercall(__HYPERVISOR_sched_op, SCHEDOP_poll, (uintptr_t)&poll, 0, 0);
        DOMCTL(getdomaininfo, &op);
    } while (!(op.u.getdomaininfo.flags & XEN_DOMINF_shutdown));
    return op.u.getdomaininfo.flags >> XEN_DOMINF_shutdownshift & XEN_DOMINF_shutdownmask;
}
