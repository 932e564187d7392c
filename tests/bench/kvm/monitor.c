/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The least monitor that KVM can have: the bench's guest on some vCPUs with interrupt controllers and
 * timer in the kernel, COM1 to standard output, and nothing else. It is entered as GRUB enters it, by
 * multiboot 1 in 32-bit protected mode.
 *
 *   monitor PAYLOAD.elf VCPUS WORDS...
 */
#include "tests/bench/kvm/monitor.h"

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

#define COM1             0x3f8U
#define COM1_LINE_STATUS 0x3fdU
#define TRANSMITTER_IDLE 0x60U
#define PORT_END         0xf4U
#define CPUID_ENTRIES    128U
#define TSC_DEADLINE     (1U << 24)
#define CR0_PE_ET_NE     0x31U

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

static void create_vm(uint8_t *memory)
{
    uint64_t identity_map = 0xfffbc000U;
    struct kvm_pit_config pit = {.flags = KVM_PIT_SPEAKER_DUMMY};
    struct kvm_userspace_memory_region region = {.memory_size = MEMORY_SIZE,
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
            if (ioctl(kvm, KVM_CHECK_EXTENSION, KVM_CAP_TSC_DEADLINE_TIMER) > 0)
                entry->ecx |= TSC_DEADLINE;
        }
        if (entry->function == 0xb || entry->function == 0x1f)
            entry->edx = v->index;
    }
    REQUEST(v->fd, KVM_SET_CPUID2, &cpuid);
}

/* Bochs wants a 32-bit TSS before it lets long mode begin, which a reset vCPU does not have. */
static void set_registers(const struct vcpu *v, uint32_t entry)
{
    struct kvm_regs regs = {
        .rax = MULTIBOOT_MAGIC, .rbx = MULTIBOOT_INFO, .rip = entry, .rflags = 2};
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

static void port(const struct kvm_run *run)
{
    uint8_t *data = (uint8_t *)run + run->io.data_offset;
    size_t size = (size_t)run->io.size * run->io.count;
    if (run->io.direction == KVM_EXIT_IO_IN) {
        memset(data, run->io.port == COM1_LINE_STATUS ? TRANSMITTER_IDLE : 0xff, size);
    } else if (run->io.port == COM1) {
        fwrite(data, 1, size, stdout);
    } else if (run->io.port == PORT_END) {
        fflush(stdout);
        exit(*data);
    }
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

int main(int argc, char **argv)
{
    if (argc < 3)
        fail("usage: monitor PAYLOAD.elf VCPUS WORDS...");
    unsigned long count = strtoul(argv[2], NULL, 10);
    if (count == 0 || count > VCPUS_MAX)
        fail("wanted 1 to %u vCPUs", VCPUS_MAX);
    uint8_t *memory = memory_create();
    uint32_t entry = memory_load(argv[1]);
    if (!entry_describe(memory, (unsigned int)count, argv + 3))
        fail("the command line is too long");
    create_vm(memory);
    for (unsigned int i = 0; i < count; i++)
        create_vcpu(i);
    set_registers(&vcpus[0], entry);
    for (unsigned int i = 1; i < count; i++)
        if (pthread_create(&vcpus[i].thread, NULL, run_vcpu, &vcpus[i]) != 0)
            fail("pthread_create");
    run_vcpu(&vcpus[0]);
    return 0;
}
