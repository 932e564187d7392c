/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What is denied: each MSR outside the guest's list gives #GP(0) to RDMSR and WRMSR and leaves the
 * registers alone, and each port outside it reads all ones. What is on the list can be read.
 */
#include "cpuid/msr_view.h"
#include "tests/guest/lib/msrs.h"
#include "tests/guest/lib/payload.h"
#include "tests/guest/model/sealed.h"

#include <stdio.h>

#define IN_ANY(value, spans) in_spans(value, spans, sizeof(spans) / sizeof((spans)[0]))

/* MSRs that can be read where the model has their group. */
static const struct {
    uint32_t msr;
    enum msr_group group;
} readable[] = {
    {0x10, MSR_GROUP_TSC},
    {0x1b, MSR_GROUP_APIC_BASE},
    {0x174, MSR_GROUP_SYSENTER},
    {0x175, MSR_GROUP_SYSENTER},
    {0x176, MSR_GROUP_SYSENTER},
    {0x277, MSR_GROUP_PAT},
    {0xc0000081, MSR_GROUP_SYSCALL},
    {0xc0000082, MSR_GROUP_SYSCALL},
    {0xc0000083, MSR_GROUP_SYSCALL},
    {0xc0000084, MSR_GROUP_SYSCALL},
    {0xc0000100, MSR_GROUP_LONG_MODE},
    {0xc0000101, MSR_GROUP_LONG_MODE},
    {0xc0000102, MSR_GROUP_LONG_MODE},
};

static const struct msr_span scanned[] = {
    {0x0, 0x1fff},
    {0xc0000000, 0xc0001fff},
    {0xc0010000, 0xc0011fff},
    {0x40000000, 0x400000ff},
    {0x2000, 0x2003},
    {0xbffffffe, 0xbfffffff},
    {0xc0002000, 0xc0002003},
    {0xc0012000, 0xc0012003},
    {0xfffffffe, 0xffffffff},
};

/* Ports below 0xd00 that no device of the guest's has, and the backdoor. */
static const struct msr_span denied_ports[] = {
    {0x10, 0x1f},   {0x24, 0x3f},     {0x44, 0x5f},   {0x65, 0x6f},   {0x74, 0x7f},
    {0x93, 0x9f},   {0xa2, 0xaf},     {0xb4, 0xbf},   {0xe0, 0xe8},   {0x100, 0x16f},
    {0x178, 0x1ef}, {0x1f8, 0x277},   {0x280, 0x2e7}, {0x300, 0x36f}, {0x380, 0x3af},
    {0x3e0, 0x3e7}, {0x5658, 0x5659},
};

struct access {
    uint32_t msr;
    bool write;
};

static bool in_spans(uint32_t value, const struct msr_span *spans, size_t count)
{
    for (size_t i = 0; i < count; i++)
        if (value >= spans[i].first && value <= spans[i].last)
            return true;
    return false;
}

#define RAX_BEFORE 0x1111222200000000UL
#define RDX_BEFORE 0x3333444400000000UL
/* RDMSR looks at ECX alone. QEMU's TCG takes bits 33:32 for the bitmap's index too: 0 there. */
#define RCX_UPPER 0x5555666400000000UL

static void touch(void *argument)
{
    const struct access *access = argument;
    uint64_t a = RAX_BEFORE, d = RDX_BEFORE, c = RCX_UPPER | access->msr;
    if (access->write)
        __asm__ volatile("wrmsr" : "+a"(a), "+d"(d), "+c"(c));
    else
        __asm__ volatile("rdmsr" : "+a"(a), "+d"(d), "+c"(c));
}

/* Why the access was not denied as it should be, or NULL. */
static const char *not_denied(uint32_t msr, bool write)
{
    struct access access = {.msr = msr, .write = write};
    uint64_t error_code = ~0UL;
    unsigned int vector = fault_of(touch, &access, &error_code, NULL);
    const struct frame *frame = &this_processor()->fault;
    if (vector == NO_FAULT)
        return "no fault";
    if (vector != VECTOR_GP)
        return "another fault than #GP";
    if (error_code != 0)
        return "an error code other than 0";
    if (frame->rax != RAX_BEFORE || frame->rdx != RDX_BEFORE || frame->rcx != (RCX_UPPER | msr))
        return "changed registers";
    return NULL;
}

static void check_denied_msrs(bool write)
{
    unsigned int denied = 0, wrong = 0;
    const char *what = NULL;
    uint32_t first = 0;
    for (size_t i = 0; i < sizeof(scanned) / sizeof(scanned[0]); i++)
        for (uint64_t msr = scanned[i].first; msr <= scanned[i].last; msr++) {
            if (IN_ANY((uint32_t)msr, possible_msrs))
                continue;
            const char *why = not_denied((uint32_t)msr, write);
            denied++;
            if (why != NULL && wrong++ == 0) {
                what = why;
                first = (uint32_t)msr;
            }
        }
    check(wrong == 0, write ? "msr.denied-writes" : "msr.denied-reads", "%u of %u, first 0x%x: %s",
          wrong, denied, first, what);
    printf("info msr.denied: %u %s\n", denied, write ? "writes" : "reads");
}

static void check_allowed_msrs(void)
{
    struct cpu_rules rules;
    char name[32];
    (void)sealed_model(0, &rules);
    for (size_t i = 0; i < sizeof(readable) / sizeof(readable[0]); i++) {
        uint64_t value;
        bool has = rules.msr_groups >> readable[i].group & 1;
        snprintf(name, sizeof(name), "msr.allowed.0x%x", readable[i].msr);
        check((rdmsr_safe(readable[i].msr, &value) == 0) == has, name, "wanted a %s",
              has ? "value, found a fault" : "fault, found a value");
    }
    if (!(rules.msr_groups >> MSR_GROUP_SYSCALL & 1))
        return;
    uint64_t saved = rdmsr(MSR_LSTAR);
    wrmsr(MSR_LSTAR, 0x123456789abcUL);
    check_equal("msr.written-and-read", 0x123456789abcUL, rdmsr(MSR_LSTAR));
    wrmsr(MSR_LSTAR, saved);
}

/* Why a register of cpuid/msr_view.h is not as the model has it, or NULL. */
static const char *not_read_only(uint32_t msr, const struct msr_view *most)
{
    uint64_t value;
    if (rdmsr_safe(msr, &value) != 0)
        return "reading it faults";
    if (value & ~most->value)
        return "it shows what the model does not have";
    return wrmsr_safe(msr, value) != 0 ? NULL : "writing it does not fault";
}

static const char *not_write_only(uint32_t msr, const struct msr_view *most)
{
    uint64_t value;
    if (rdmsr_safe(msr, &value) == 0)
        return "reading it does not fault";
    for (unsigned int i = 0; i < 64; i++)
        if (!(most->writable >> i & 1) && wrmsr_safe(msr, 1UL << i) == 0)
            return "a reserved bit can be written";
    return wrmsr_safe(msr, 0) == 0 ? NULL : "writing it faults";
}

static const char *not_read_write(uint32_t msr, const struct msr_view *most)
{
    uint64_t value, now;
    if (rdmsr_safe(msr, &value) != 0)
        return "reading it faults";
    if (value & ~most->value)
        return "it shows what the model does not have";
    for (unsigned int i = 0; i < 64; i++) {
        uint64_t other = value ^ 1UL << i;
        bool done = wrmsr_safe(msr, other) == 0;
        if (done != ((most->writable | most->ignored) >> i & 1))
            return done ? "a reserved bit can be written"
                        : "a bit of the model's cannot be written";
        if (rdmsr_safe(msr, &now) != 0 || now != (most->writable >> i & 1 ? other : value))
            return "what is read is not what was written";
        if (wrmsr_safe(msr, value) != 0)
            return "its own value cannot be written";
    }
    return NULL;
}

static const char *not_as_modelled(uint32_t msr, const struct msr_view *most)
{
    switch (most->access) {
    case MSR_READ_ONLY:
        return not_read_only(msr, most);
    case MSR_WRITE_ONLY:
        return not_write_only(msr, most);
    case MSR_READ_WRITE:
        return not_read_write(msr, most);
    case MSR_ABSENT:
        break;
    }
    const char *why = not_denied(msr, false);
    return why != NULL ? why : not_denied(msr, true);
}

static void check_views(void)
{
    static const uint32_t viewed[] = {0x3a,  0x48,  0x49,  0xcf,  0xfe,      0x10a,
                                      0x10b, 0x122, 0x179, 0x1a0, 0xc001011f};
    struct cpu_rules rules;
    const struct model *m = sealed_model(0, &rules);
    for (size_t i = 0; i < sizeof(viewed) / sizeof(viewed[0]); i++) {
        char name[32];
        const struct msr_view most = msr_view(m, &rules, viewed[i], UINT64_MAX);
        const char *why = not_as_modelled(viewed[i], &most);
        snprintf(name, sizeof(name), "msr.view.0x%x", viewed[i]);
        check(why == NULL, name, "access %d: %s", (int)most.access, why);
    }
}

/* Bits of EFER and of the APIC's base that the model does not have (SDM vol. 3 §2.2.1, §11.4.4). */
static void check_reserved_values(void)
{
    uint64_t efer = rdmsr(MSR_EFER);
    check(wrmsr_safe(MSR_EFER, efer | EFER_SVME) != 0, "msr.efer-svme", "wanted #GP, found none");
    check(wrmsr_safe(MSR_EFER, efer | 1UL << 63) != 0, "msr.efer-reserved",
          "wanted #GP, found none");
    check(wrmsr_safe(MSR_EFER, efer & ~EFER_LME) != 0, "msr.efer-lme-with-paging",
          "wanted #GP, found none");
    check_equal("msr.efer-as-before", efer, rdmsr(MSR_EFER));
}

static void check_denied_ports(void)
{
    unsigned int wrong = 0, denied = 0;
    uint32_t first = 0, found = 0;
    for (size_t i = 0; i < sizeof(denied_ports) / sizeof(denied_ports[0]); i++)
        for (uint32_t port = denied_ports[i].first; port <= denied_ports[i].last; port++) {
            uint32_t value = inb((uint16_t)port) | 0xffffff00U;
            if (port + 3 <= denied_ports[i].last)
                value &= (inw((uint16_t)port) | 0xffff0000U) & inl((uint16_t)port);
            outb((uint16_t)port, 0);
            denied++;
            if (value != UINT32_MAX && wrong++ == 0) {
                first = port;
                found = value;
            }
        }
    check(wrong == 0, "port.denied-read-all-ones", "%u of %u, first 0x%x: found 0x%x", wrong,
          denied, first, found);
}

/* IN to AL and AX leaves the rest of RAX, IN to EAX clears the upper half (SDM vol. 1 §3.4.1.1). */
static void check_in_registers(void)
{
    uint64_t al = 0x1122334455667700UL, ax = al, eax = al;
    __asm__ volatile("inb $0x44, %%al" : "+a"(al));
    __asm__ volatile("inw $0x44, %%ax" : "+a"(ax));
    __asm__ volatile("inl $0x44, %%eax" : "+a"(eax));
    check_equal("port.in-al", 0x11223344556677ffUL, al);
    check_equal("port.in-ax", 0x112233445566ffffUL, ax);
    check_equal("port.in-eax", 0xffffffffUL, eax);
}

int main(void)
{
    if (!under_latch()) {
        check_skip("msr_port", "no Latch, so nothing is denied");
        return 0;
    }
    check_denied_msrs(false);
    check_denied_msrs(true);
    check_allowed_msrs();
    check_views();
    check_reserved_values();
    check_denied_ports();
    check_in_registers();
    return 0;
}
