/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The least monitor that KVM can have: the bench's guest on some vCPUs with interrupt controllers and
 * timer in the kernel, COM1 to standard output, and nothing else. It is entered as GRUB enters it, by
 * multiboot 1 in 32-bit protected mode. Or Linux, on one vCPU, by its own boot protocol.
 *
 *   monitor PAYLOAD.elf VCPUS WORDS...
 *   monitor linux BZIMAGE INITRAMFS WORDS...
 */
#include "tests/bench/kvm/monitor.h"

#include <cpuid.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/kvm.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

#define COM1          0x3f8U
#define COM1_END      0x400U
#define CMOS_DATA     0x71U
#define PORT_END      0xf4U
#define CPUID_ENTRIES 128U
#define TSC_DEADLINE  (1U << 24)
#define X2APIC        (1U << 21)
#define CR0_PE_ET_NE  0x31U
#define MSR_TSC       0x10U
#define OUTPUT_MAX    (1UL << 20)

struct vcpu {
    unsigned int index;
    int fd;
    struct kvm_run *run;
    pthread_t thread;
};

static struct vcpu vcpus[VCPUS_MAX];
static int kvm, vm;

void fail(const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    printf("broken: monitor: ");
    vprintf(format, arguments);
    va_end(arguments);
    printf(": %s\nTest result: ERROR\n", strerror(errno));
    exit(2);
}

static int request(int fd, unsigned long number, const char *name, void *argument)
{
    int result = ioctl(fd, number, argument);
    if (result < 0)
        fail("%s", name);
    return result;
}
#define REQUEST(fd, name, argument) request(fd, name, #name, argument)

void set_irq(unsigned int pin, bool level)
{
    struct kvm_irq_level line = {.irq = pin, .level = level};
    REQUEST(vm, KVM_IRQ_LINE, &line);
}

static void create_vm(uint8_t *memory, uint64_t size)
{
    uint64_t identity_map = 0xfffbc000U;
    struct kvm_pit_config pit = {.flags = KVM_PIT_SPEAKER_DUMMY};
    struct kvm_userspace_memory_region region = {.memory_size = size,
                                                 .userspace_addr = (uintptr_t)memory};
    kvm = open("/dev/kvm", O_RDWR | O_CLOEXEC);
    if (kvm < 0)
        fail("/dev/kvm");
    vm = REQUEST(kvm, KVM_CREATE_VM, NULL);
    REQUEST(vm, KVM_SET_IDENTITY_MAP_ADDR, &identity_map);
    if (ioctl(vm, KVM_SET_TSS_ADDR, 0xfffbd000UL) < 0)
        fail("KVM_SET_TSS_ADDR");
    REQUEST(vm, KVM_CREATE_IRQCHIP, NULL);
    REQUEST(vm, KVM_CREATE_PIT2, &pit);
    REQUEST(vm, KVM_SET_USER_MEMORY_REGION, &region);
}

/* KVM offers it on any CPU; where the CPU has none, a bare guest does not use it either. */
static bool host_has_x2apic(void)
{
    unsigned int eax, ebx, ecx, edx;
    return __get_cpuid(1, &eax, &ebx, &ecx, &edx) && (ecx & X2APIC);
}

static void set_cpuid(const struct vcpu *v)
{
    static struct {
        struct kvm_cpuid2 head;
        struct kvm_cpuid_entry2 entry[CPUID_ENTRIES];
    } cpuid;
    cpuid.head.nent = CPUID_ENTRIES;
    REQUEST(kvm, KVM_GET_SUPPORTED_CPUID, &cpuid);
    for (unsigned int i = 0; i < cpuid.head.nent; i++) {
        struct kvm_cpuid_entry2 *entry = &cpuid.head.entries[i];
        if (entry->function == 1) {
            entry->ebx = (entry->ebx & 0xffffffU) | v->index << 24;
            if (!host_has_x2apic())
                entry->ecx &= ~X2APIC;
            if (ioctl(kvm, KVM_CHECK_EXTENSION, KVM_CAP_TSC_DEADLINE_TIMER) > 0)
                entry->ecx |= TSC_DEADLINE;
        }
        if (entry->function == 0xb || entry->function == 0x1f)
            entry->edx = v->index;
    }
    REQUEST(v->fd, KVM_SET_CPUID2, &cpuid);
}

/* Bochs wants a 32-bit TSS before it lets long mode begin, which a reset vCPU does not have. */
static void set_registers(const struct vcpu *v, struct kvm_regs regs)
{
    struct kvm_segment flat = {
        .limit = UINT32_MAX, .selector = 16, .type = 3, .present = 1, .db = 1, .s = 1, .g = 1};
    struct kvm_sregs sregs;
    REQUEST(v->fd, KVM_GET_SREGS, &sregs);
    sregs.ds = sregs.es = sregs.fs = sregs.gs = sregs.ss = flat;
    sregs.cs = flat;
    sregs.cs.selector = 8;
    sregs.cs.type = 11;
    sregs.tr = (struct kvm_segment){.limit = 0x67, .type = 11, .present = 1};
    sregs.cr0 = CR0_PE_ET_NE;
    REQUEST(v->fd, KVM_SET_SREGS, &sregs);
    REQUEST(v->fd, KVM_SET_REGS, &regs);
}

static void create_vcpu(unsigned int index)
{
    struct vcpu *v = &vcpus[index];
    int size = REQUEST(kvm, KVM_GET_VCPU_MMAP_SIZE, NULL);
    v->index = index;
    v->fd = ioctl(vm, KVM_CREATE_VCPU, (unsigned long)index);
    if (v->fd < 0)
        fail("KVM_CREATE_VCPU");
    v->run = mmap(NULL, (size_t)size, PROT_READ | PROT_WRITE, MAP_SHARED, v->fd, 0);
    if (v->run == MAP_FAILED)
        fail("kvm_run");
    set_cpuid(v);
}

static void end(int status)
{
    counters_print(vcpus[0].fd);
    (void)fflush(stdout);
    exit(status);
}

static void write_port(unsigned int port, const uint8_t *data, size_t size)
{
    if (port >= COM1 && port < COM1_END) {
        while (size-- > 0)
            if (uart_write(port - COM1, *data++))
                end(0);
    } else if (port == PORT_END) {
        end(*data);
    }
}

static uint8_t read_port(unsigned int port)
{
    if (port >= COM1 && port < COM1_END)
        return uart_read(port - COM1);
    return port == CMOS_DATA ? 0 : 0xff;
}

static void port(const struct kvm_run *run)
{
    uint8_t *data = (uint8_t *)run + run->io.data_offset;
    size_t size = (size_t)run->io.size * run->io.count;
    if (run->io.direction == KVM_EXIT_IO_IN)
        memset(data, read_port(run->io.port), size);
    else
        write_port(run->io.port, data, size);
}

static void *run_vcpu(void *argument)
{
    const struct vcpu *v = argument;
    for (;;) {
        if (ioctl(v->fd, KVM_RUN, NULL) < 0 && errno != EINTR && errno != EAGAIN)
            fail("KVM_RUN");
        switch (v->run->exit_reason) {
        case KVM_EXIT_IO:
            port(v->run);
            break;
        case KVM_EXIT_MMIO:
            if (!v->run->mmio.is_write)
                memset(v->run->mmio.data, 0xff, sizeof(v->run->mmio.data));
            break;
        case KVM_EXIT_INTR:
            break;
        default:
            fail("vCPU %u: exit reason %u", v->index, v->run->exit_reason);
        }
    }
}

/* The TSC that the guest will see at its first instruction. */
static void say_entry(const struct vcpu *v)
{
    struct {
        struct kvm_msrs head;
        struct kvm_msr_entry entry;
    } tsc = {.head.nmsrs = 1, .entry.index = MSR_TSC};
    REQUEST(v->fd, KVM_GET_MSRS, &tsc);
    printf("bench: entry at %llu\n", tsc.entry.data);
}

static void run_linux(char **arguments)
{
    uint8_t *memory = memory_create_linux();
    uint32_t entry = linux_load(memory, arguments[0], arguments[1], arguments + 2);
    (void)entry_describe(memory, 1, (char *const[]){NULL}); /* for its ACPI tables */
    create_vm(memory, LINUX_MEMORY);
    create_vcpu(0);
    set_registers(&vcpus[0], (struct kvm_regs){.rsi = LINUX_PARAMS, .rip = entry, .rflags = 2});
    say_entry(&vcpus[0]);
    run_vcpu(&vcpus[0]);
}

static void run_payload(char **arguments)
{
    unsigned long count = strtoul(arguments[1], NULL, 10);
    if (count == 0 || count > VCPUS_MAX)
        fail("wanted 1 to %u vCPUs", VCPUS_MAX);
    uint8_t *memory = memory_create();
    uint32_t entry = memory_load(arguments[0]);
    if (!entry_describe(memory, (unsigned int)count, arguments + 2))
        fail("the command line is too long");
    create_vm(memory, MEMORY_SIZE);
    for (unsigned int i = 0; i < count; i++)
        create_vcpu(i);
    set_registers(&vcpus[0],
                  (struct kvm_regs){
                      .rax = MULTIBOOT_MAGIC, .rbx = MULTIBOOT_INFO, .rip = entry, .rflags = 2});
    for (unsigned int i = 1; i < count; i++)
        if (pthread_create(&vcpus[i].thread, NULL, run_vcpu, &vcpus[i]) != 0)
            fail("pthread_create");
    run_vcpu(&vcpus[0]);
}

int main(int argc, char **argv)
{
    bool linux_guest = argc > 1 && strcmp(argv[1], "linux") == 0;
    if (argc < (linux_guest ? 4 : 3))
        fail("usage: monitor PAYLOAD.elf VCPUS WORDS... or linux BZIMAGE INITRAMFS WORDS...");
    if (linux_guest) {
        /* Printing a line costs the host tens of thousands, which the guest would count as its own. */
        (void)setvbuf(stdout, NULL, _IOFBF, OUTPUT_MAX);
        run_linux(argv + 2);
    } else {
        run_payload(argv + 1);
    }
    return 0;
}
