/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef LATCH_KERNEL_X86_H
#define LATCH_KERNEL_X86_H
/*
 * Privileged instructions as inline functions, and the architectural numbers that both vendors
 * share. What is Intel's or AMD's alone stands in vmx/ or svm/.
 */
#include <stdbool.h>
#include <stdint.h>

/* CR0, CR4, EFER, RFLAGS: SDM vol. 3 §2.5, §2.2.1; APM vol. 2 §3.1. */
#define CR0_PE        (1UL << 0)
#define CR0_MP        (1UL << 1)
#define CR0_EM        (1UL << 2)
#define CR0_TS        (1UL << 3)
#define CR0_ET        (1UL << 4)
#define CR0_NE        (1UL << 5)
#define CR0_WP        (1UL << 16)
#define CR0_AM        (1UL << 18)
#define CR0_NW        (1UL << 29)
#define CR0_CD        (1UL << 30)
#define CR0_PG        (1UL << 31)
#define CR4_VME       (1UL << 0)
#define CR4_PSE       (1UL << 4)
#define CR4_PAE       (1UL << 5)
#define CR4_MCE       (1UL << 6)
#define CR4_PGE       (1UL << 7)
#define CR4_PCE       (1UL << 8)
#define CR4_UMIP      (1UL << 11)
#define CR4_LA57      (1UL << 12)
#define CR4_VMXE      (1UL << 13)
#define CR4_PCIDE     (1UL << 17)
#define CR4_OSXSAVE   (1UL << 18)
#define CR4_SMEP      (1UL << 20)
#define CR4_SMAP      (1UL << 21)
#define CR4_PKE       (1UL << 22)
#define EFER_SCE      (1UL << 0)
#define EFER_LME      (1UL << 8)
#define EFER_LMA      (1UL << 10)
#define EFER_NXE      (1UL << 11)
#define EFER_SVME     (1UL << 12)
#define RFLAGS_CF     (1UL << 0)
#define RFLAGS_FIXED1 (1UL << 1)
#define RFLAGS_TF     (1UL << 8)
#define RFLAGS_IF     (1UL << 9)
#define RFLAGS_RF     (1UL << 16)
#define RFLAGS_VM     (1UL << 17)
#define RFLAGS_AC     (1UL << 18)

/* Exception vectors. */
enum vector {
    VECTOR_DE = 0,
    VECTOR_DB = 1,
    VECTOR_NMI = 2,
    VECTOR_UD = 6,
    VECTOR_NM = 7,
    VECTOR_DF = 8,
    VECTOR_TS = 10,
    VECTOR_NP = 11,
    VECTOR_SS = 12,
    VECTOR_GP = 13,
    VECTOR_PF = 14,
    VECTOR_MC = 18,
};

/* MSRs that both vendors have. */
#define MSR_TSC            0x10U
#define MSR_TSC_ADJUST     0x3bU
#define MSR_APIC_BASE      0x1bU
#define MSR_SYSENTER_CS    0x174U
#define MSR_SYSENTER_ESP   0x175U
#define MSR_SYSENTER_EIP   0x176U
#define MSR_TSX_CTRL       0x122U
#define MSR_PAT            0x277U
#define MSR_TSC_DEADLINE   0x6e0U
#define MSR_PKRS           0x6e1U
#define MSR_X2APIC_ID      0x802U
#define MSR_X2APIC_ICR     0x830U
#define MSR_XSS            0xda0U
#define MSR_EFER           0xc0000080U
#define MSR_STAR           0xc0000081U
#define MSR_LSTAR          0xc0000082U
#define MSR_CSTAR          0xc0000083U
#define MSR_SFMASK         0xc0000084U
#define MSR_FS_BASE        0xc0000100U
#define MSR_GS_BASE        0xc0000101U
#define MSR_KERNEL_GS_BASE 0xc0000102U

static inline uint64_t rdmsr(uint32_t msr)
{
    uint32_t low, high;
    __asm__ volatile("rdmsr" : "=a"(low), "=d"(high) : "c"(msr));
    return (uint64_t)high << 32 | low;
}

static inline void wrmsr(uint32_t msr, uint64_t value)
{
    __asm__ volatile("wrmsr"
                     :
                     : "c"(msr), "a"((uint32_t)value), "d"((uint32_t)(value >> 32))
                     : "memory");
}

static inline uint64_t rdtsc(void)
{
    uint32_t low, high;
    __asm__ volatile("rdtsc" : "=a"(low), "=d"(high));
    return (uint64_t)high << 32 | low;
}

static inline void cpuid_raw(uint32_t leaf, uint32_t subleaf, uint32_t *a, uint32_t *b, uint32_t *c,
                             uint32_t *d)
{
    __asm__ volatile("cpuid" : "=a"(*a), "=b"(*b), "=c"(*c), "=d"(*d) : "a"(leaf), "c"(subleaf));
}

#define X86_CONTROL_REGISTER(name)                                                                 \
    static inline uint64_t read_##name(void)                                                       \
    {                                                                                              \
        uint64_t value;                                                                            \
        __asm__ volatile("mov %%" #name ", %0" : "=r"(value));                                     \
        return value;                                                                              \
    }                                                                                              \
    static inline void write_##name(uint64_t value)                                                \
    {                                                                                              \
        __asm__ volatile("mov %0, %%" #name : : "r"(value) : "memory");                            \
    }
X86_CONTROL_REGISTER(cr0)
X86_CONTROL_REGISTER(cr2)
X86_CONTROL_REGISTER(cr3)
X86_CONTROL_REGISTER(cr4)
X86_CONTROL_REGISTER(dr0)
X86_CONTROL_REGISTER(dr1)
X86_CONTROL_REGISTER(dr2)
X86_CONTROL_REGISTER(dr3)
X86_CONTROL_REGISTER(dr6)
X86_CONTROL_REGISTER(dr7)
#undef X86_CONTROL_REGISTER

#define XCR0_RESET 1UL
static inline void write_xcr0(uint64_t value)
{
    __asm__ volatile("xsetbv" : : "c"(0), "a"((uint32_t)value), "d"((uint32_t)(value >> 32)));
}

static inline uint64_t read_xcr0(void)
{
    uint32_t low, high;
    __asm__ volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
    return (uint64_t)high << 32 | low;
}

static inline void outb(uint16_t port, uint8_t value)
{
    __asm__ volatile("outb %0, %1" : : "a"(value), "Nd"(port));
}
static inline void outw(uint16_t port, uint16_t value)
{
    __asm__ volatile("outw %0, %1" : : "a"(value), "Nd"(port));
}
static inline void outl(uint16_t port, uint32_t value)
{
    __asm__ volatile("outl %0, %1" : : "a"(value), "Nd"(port));
}
static inline uint8_t inb(uint16_t port)
{
    uint8_t value;
    __asm__ volatile("inb %1, %0" : "=a"(value) : "Nd"(port));
    return value;
}
static inline uint16_t inw(uint16_t port)
{
    uint16_t value;
    __asm__ volatile("inw %1, %0" : "=a"(value) : "Nd"(port));
    return value;
}
static inline uint32_t inl(uint16_t port)
{
    uint32_t value;
    __asm__ volatile("inl %1, %0" : "=a"(value) : "Nd"(port));
    return value;
}

static inline void wbinvd(void)
{
    __asm__ volatile("wbinvd" : : : "memory");
}
static inline void cpu_pause(void)
{
    __asm__ volatile("pause" : : : "memory");
}
static inline void invlpg(uint64_t address)
{
    __asm__ volatile("invlpg (%0)" : : "r"(address) : "memory");
}

/*
 * RDMSR and WRMSR that survive a #GP: 0, or -EIO where the CPU refused. For MSRs whose existence
 * no CPUID bit promises.
 */
int rdmsr_safe(uint32_t msr, uint64_t *value);
int wrmsr_safe(uint32_t msr, uint64_t value);
/* A write of one byte that survives a #PF: 0, or -EFAULT where the page does not let it. */
int write_safe(volatile uint8_t *to, uint8_t value);

#endif
