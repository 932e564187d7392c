/* SPDX-License-Identifier: BSD-2-Clause */
/* KVM's own counters of a vCPU (Linux, Documentation/virt/kvm/api.rst, KVM_GET_STATS_FD). */
#include "tests/bench/kvm/monitor.h"

#include <linux/kvm.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <unistd.h>

static void *get(int fd, off_t at, size_t size)
{
    void *bytes = calloc(1, size + 1);
    if (bytes == NULL || pread(fd, bytes, size, at) != (ssize_t)size)
        fail("KVM's counters");
    return bytes;
}

void counters_print(int vcpu)
{
    int fd = ioctl(vcpu, KVM_GET_STATS_FD, NULL);
    if (fd < 0)
        fail("KVM_GET_STATS_FD");
    struct kvm_stats_header *head = get(fd, 0, sizeof(*head));
    size_t step = sizeof(struct kvm_stats_desc) + head->name_size;
    const char *descriptions = get(fd, head->desc_offset, step * head->num_desc);
    printf("exits: vcpu 0:");
    for (uint32_t i = 0; i < head->num_desc; i++) {
        const struct kvm_stats_desc *one = (const void *)(descriptions + i * step);
        if ((one->flags & KVM_STATS_TYPE_MASK) != KVM_STATS_TYPE_CUMULATIVE ||
            (one->flags & KVM_STATS_UNIT_MASK) != KVM_STATS_UNIT_NONE)
            continue;
        const uint64_t *value = get(fd, head->data_offset + one->offset, sizeof(*value));
        if (*value != 0)
            printf(" %s %lu", one->name, *value);
    }
    printf("\n");
    close(fd);
}
