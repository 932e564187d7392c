/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef LATCH_VMX_VMCS_H
#define LATCH_VMX_VMCS_H
/*
 * The fields of the VMCS (SDM vol. 3 appendix B). Each width has a type of its own, so that
 * vmread16() of a 64-bit field does not compile. Fields that some CPU lacks stand in VMCS_FIELDS
 * too: only the dump reads those without knowing that the CPU has them.
 */
#include <stdbool.h>
#include <stdint.h>

/* F(name, encoding, width); the width is 16, 32, 64 or natural. */
#define VMCS_FIELDS(F)                                                                             \
    F(VPID, 0x0000, 16)                                                                            \
    F(GUEST_ES_SELECTOR, 0x0800, 16)                                                               \
    F(GUEST_CS_SELECTOR, 0x0802, 16)                                                               \
    F(GUEST_SS_SELECTOR, 0x0804, 16)                                                               \
    F(GUEST_DS_SELECTOR, 0x0806, 16)                                                               \
    F(GUEST_FS_SELECTOR, 0x0808, 16)                                                               \
    F(GUEST_GS_SELECTOR, 0x080a, 16)                                                               \
    F(GUEST_LDTR_SELECTOR, 0x080c, 16)                                                             \
    F(GUEST_TR_SELECTOR, 0x080e, 16)                                                               \
    F(HOST_ES_SELECTOR, 0x0c00, 16)                                                                \
    F(HOST_CS_SELECTOR, 0x0c02, 16)                                                                \
    F(HOST_SS_SELECTOR, 0x0c04, 16)                                                                \
    F(HOST_DS_SELECTOR, 0x0c06, 16)                                                                \
    F(HOST_FS_SELECTOR, 0x0c08, 16)                                                                \
    F(HOST_GS_SELECTOR, 0x0c0a, 16)                                                                \
    F(HOST_TR_SELECTOR, 0x0c0c, 16)                                                                \
    F(IO_BITMAP_A, 0x2000, 64)                                                                     \
    F(IO_BITMAP_B, 0x2002, 64)                                                                     \
    F(MSR_BITMAP, 0x2004, 64)                                                                      \
    F(TSC_OFFSET, 0x2010, 64)                                                                      \
    F(EPT_POINTER, 0x201a, 64)                                                                     \
    F(XSS_EXITING_BITMAP, 0x202c, 64)                                                              \
    F(ENCLS_EXITING_BITMAP, 0x202e, 64)                                                            \
    F(PCONFIG_EXITING_BITMAP, 0x203e, 64)                                                          \
    F(GUEST_PHYSICAL_ADDRESS, 0x2400, 64)                                                          \
    F(VMCS_LINK_POINTER, 0x2800, 64)                                                               \
    F(GUEST_DEBUGCTL, 0x2802, 64)                                                                  \
    F(GUEST_PAT, 0x2804, 64)                                                                       \
    F(GUEST_EFER, 0x2806, 64)                                                                      \
    F(GUEST_PDPTE0, 0x280a, 64)                                                                    \
    F(GUEST_PDPTE1, 0x280c, 64)                                                                    \
    F(GUEST_PDPTE2, 0x280e, 64)                                                                    \
    F(GUEST_PDPTE3, 0x2810, 64)                                                                    \
    F(HOST_PAT, 0x2c00, 64)                                                                        \
    F(HOST_EFER, 0x2c02, 64)                                                                       \
    F(PIN_CONTROLS, 0x4000, 32)                                                                    \
    F(PROC_CONTROLS, 0x4002, 32)                                                                   \
    F(EXCEPTION_BITMAP, 0x4004, 32)                                                                \
    F(PF_ERROR_CODE_MASK, 0x4006, 32)                                                              \
    F(PF_ERROR_CODE_MATCH, 0x4008, 32)                                                             \
    F(CR3_TARGET_COUNT, 0x400a, 32)                                                                \
    F(EXIT_CONTROLS, 0x400c, 32)                                                                   \
    F(EXIT_MSR_STORE_COUNT, 0x400e, 32)                                                            \
    F(EXIT_MSR_LOAD_COUNT, 0x4010, 32)                                                             \
    F(ENTRY_CONTROLS, 0x4012, 32)                                                                  \
    F(ENTRY_MSR_LOAD_COUNT, 0x4014, 32)                                                            \
    F(ENTRY_EVENT, 0x4016, 32)                                                                     \
    F(ENTRY_EVENT_ERROR_CODE, 0x4018, 32)                                                          \
    F(ENTRY_INSTRUCTION_LENGTH, 0x401a, 32)                                                        \
    F(PROC_CONTROLS2, 0x401e, 32)                                                                  \
    F(INSTRUCTION_ERROR, 0x4400, 32)                                                               \
    F(EXIT_REASON, 0x4402, 32)                                                                     \
    F(EXIT_EVENT, 0x4404, 32)                                                                      \
    F(EXIT_EVENT_ERROR_CODE, 0x4406, 32)                                                           \
    F(VECTORING_EVENT, 0x4408, 32)                                                                 \
    F(VECTORING_ERROR_CODE, 0x440a, 32)                                                            \
    F(EXIT_INSTRUCTION_LENGTH, 0x440c, 32)                                                         \
    F(EXIT_INSTRUCTION_INFO, 0x440e, 32)                                                           \
    F(GUEST_ES_LIMIT, 0x4800, 32)                                                                  \
    F(GUEST_CS_LIMIT, 0x4802, 32)                                                                  \
    F(GUEST_SS_LIMIT, 0x4804, 32)                                                                  \
    F(GUEST_DS_LIMIT, 0x4806, 32)                                                                  \
    F(GUEST_FS_LIMIT, 0x4808, 32)                                                                  \
    F(GUEST_GS_LIMIT, 0x480a, 32)                                                                  \
    F(GUEST_LDTR_LIMIT, 0x480c, 32)                                                                \
    F(GUEST_TR_LIMIT, 0x480e, 32)                                                                  \
    F(GUEST_GDTR_LIMIT, 0x4810, 32)                                                                \
    F(GUEST_IDTR_LIMIT, 0x4812, 32)                                                                \
    F(GUEST_ES_ACCESS, 0x4814, 32)                                                                 \
    F(GUEST_CS_ACCESS, 0x4816, 32)                                                                 \
    F(GUEST_SS_ACCESS, 0x4818, 32)                                                                 \
    F(GUEST_DS_ACCESS, 0x481a, 32)                                                                 \
    F(GUEST_FS_ACCESS, 0x481c, 32)                                                                 \
    F(GUEST_GS_ACCESS, 0x481e, 32)                                                                 \
    F(GUEST_LDTR_ACCESS, 0x4820, 32)                                                               \
    F(GUEST_TR_ACCESS, 0x4822, 32)                                                                 \
    F(GUEST_INTERRUPTIBILITY, 0x4824, 32)                                                          \
    F(GUEST_ACTIVITY, 0x4826, 32)                                                                  \
    F(GUEST_SYSENTER_CS, 0x482a, 32)                                                               \
    F(HOST_SYSENTER_CS, 0x4c00, 32)                                                                \
    F(CR0_MASK, 0x6000, natural)                                                                   \
    F(CR4_MASK, 0x6002, natural)                                                                   \
    F(CR0_SHADOW, 0x6004, natural)                                                                 \
    F(CR4_SHADOW, 0x6006, natural)                                                                 \
    F(EXIT_QUALIFICATION, 0x6400, natural)                                                         \
    F(GUEST_LINEAR_ADDRESS, 0x640a, natural)                                                       \
    F(GUEST_CR0, 0x6800, natural)                                                                  \
    F(GUEST_CR3, 0x6802, natural)                                                                  \
    F(GUEST_CR4, 0x6804, natural)                                                                  \
    F(GUEST_ES_BASE, 0x6806, natural)                                                              \
    F(GUEST_CS_BASE, 0x6808, natural)                                                              \
    F(GUEST_SS_BASE, 0x680a, natural)                                                              \
    F(GUEST_DS_BASE, 0x680c, natural)                                                              \
    F(GUEST_FS_BASE, 0x680e, natural)                                                              \
    F(GUEST_GS_BASE, 0x6810, natural)                                                              \
    F(GUEST_LDTR_BASE, 0x6812, natural)                                                            \
    F(GUEST_TR_BASE, 0x6814, natural)                                                              \
    F(GUEST_GDTR_BASE, 0x6816, natural)                                                            \
    F(GUEST_IDTR_BASE, 0x6818, natural)                                                            \
    F(GUEST_DR7, 0x681a, natural)                                                                  \
    F(GUEST_RSP, 0x681c, natural)                                                                  \
    F(GUEST_RIP, 0x681e, natural)                                                                  \
    F(GUEST_RFLAGS, 0x6820, natural)                                                               \
    F(GUEST_PENDING_DEBUG, 0x6822, natural)                                                        \
    F(GUEST_SYSENTER_ESP, 0x6824, natural)                                                         \
    F(GUEST_SYSENTER_EIP, 0x6826, natural)                                                         \
    F(HOST_CR0, 0x6c00, natural)                                                                   \
    F(HOST_CR3, 0x6c02, natural)                                                                   \
    F(HOST_CR4, 0x6c04, natural)                                                                   \
    F(HOST_FS_BASE, 0x6c06, natural)                                                               \
    F(HOST_GS_BASE, 0x6c08, natural)                                                               \
    F(HOST_TR_BASE, 0x6c0a, natural)                                                               \
    F(HOST_GDTR_BASE, 0x6c0c, natural)                                                             \
    F(HOST_IDTR_BASE, 0x6c0e, natural)                                                             \
    F(HOST_SYSENTER_ESP, 0x6c10, natural)                                                          \
    F(HOST_SYSENTER_EIP, 0x6c12, natural)                                                          \
    F(HOST_RSP, 0x6c14, natural)                                                                   \
    F(HOST_RIP, 0x6c16, natural)

/* Bits 14:13 of an encoding are the width, bits 11:10 the type: SDM vol. 3 table 25-21. */
#define VMCS_WIDTH_OF(encoding) ((encoding) >> 13 & 3U)
#define VMCS_TYPE_OF(encoding)  ((encoding) >> 10 & 3U)
enum vmcs_type { VMCS_TYPE_CONTROL, VMCS_TYPE_READ_ONLY, VMCS_TYPE_GUEST, VMCS_TYPE_HOST };
enum vmcs_width {
    VMCS_WIDTH_16,
    VMCS_WIDTH_64,
    VMCS_WIDTH_32,
    VMCS_WIDTH_natural,
};

struct vmcs_field_16 {
    uint64_t encoding;
};
struct vmcs_field_32 {
    uint64_t encoding;
};
struct vmcs_field_64 {
    uint64_t encoding;
};
struct vmcs_field_natural {
    uint64_t encoding;
};

#define VMCS_FIELD(name, number, width)                                                            \
    static const struct vmcs_field_##width VMCS_##name = {.encoding = (number)};                   \
    _Static_assert(VMCS_WIDTH_OF(number) == (unsigned int)VMCS_WIDTH_##width, #name);
VMCS_FIELDS(VMCS_FIELD)
#undef VMCS_FIELD

/* False if the CPU has no such field, or no VMCS is current. */
static inline bool vmcs_read(uint64_t encoding, uint64_t *value)
{
    bool failed;
    __asm__ volatile("vmread %2, %1" : "=@ccbe"(failed), "=r"(*value) : "r"(encoding));
    return !failed;
}

static inline bool vmcs_write(uint64_t encoding, uint64_t value)
{
    bool failed;
    __asm__ volatile("vmwrite %1, %2" : "=@ccbe"(failed) : "r"(value), "r"(encoding) : "memory");
    return !failed;
}

/* A failure is a fault of Latch's own: it stops there, in its own dump. */
static inline uint64_t vmcs_must_read(uint64_t encoding)
{
    uint64_t value;
    if (__builtin_expect(!vmcs_read(encoding, &value), 0))
        __builtin_trap();
    return value;
}

static inline void vmcs_must_write(uint64_t encoding, uint64_t value)
{
    if (__builtin_expect(!vmcs_write(encoding, value), 0))
        __builtin_trap();
}

#define VMCS_ACCESSORS(suffix, width, type)                                                        \
    static inline type vmread##suffix(struct vmcs_field_##width field)                             \
    {                                                                                              \
        return (type)vmcs_must_read(field.encoding);                                               \
    }                                                                                              \
    static inline void vmwrite##suffix(struct vmcs_field_##width field, type value)                \
    {                                                                                              \
        vmcs_must_write(field.encoding, value);                                                    \
    }
VMCS_ACCESSORS(16, 16, uint16_t)
VMCS_ACCESSORS(32, 32, uint32_t)
VMCS_ACCESSORS(64, 64, uint64_t)
VMCS_ACCESSORS(, natural, uint64_t)
#undef VMCS_ACCESSORS

#endif
