/* SPDX-License-Identifier: BSD-2-Clause */
#include "svm/permissions.h"
#include "kernel/memory.h"
#include "svm/internal.h"

/* One bit a port and three beyond the last; all clear: passed. */
static _Atomic(uint8_t) iopm[IOPM_PAGES * PAGE_SIZE] __attribute__((aligned(PAGE_SIZE)));

hpa_t svm_iopm(void)
{
    return memory_address_of((const void *)iopm);
}

void svm_trap_port(uint16_t port, bool trap)
{
    uint8_t bit = (uint8_t)(1U << (port & 7));

    if (trap)
        atomic_fetch_or(&iopm[port >> 3], bit);
    else
        atomic_fetch_and(&iopm[port >> 3], (uint8_t)~bit);
}

void svm_pass_msr(struct vcpu *v, uint32_t msr, bool read, bool write)
{
    struct svm_vcpu *svm = svm_of(v);
    int bit = msrpm_bit(msr);

    if (bit < 0)
        return;
    uint8_t *byte = &svm->msrpm[bit / 8];
    unsigned int trapped = (read ? 0 : MSRPM_READ) | (write ? 0 : MSRPM_WRITE);
    *byte = (uint8_t)((*byte & ~(3U << (bit & 7))) | trapped << (bit & 7));
    svm->vmcb->control.clean &= ~(uint32_t)CLEAN_PERMISSIONS;
}
