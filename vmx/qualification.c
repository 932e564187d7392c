/* SPDX-License-Identifier: BSD-2-Clause */
#include "vmx/qualification.h"
#include "kernel/x86.h"

enum cr_access { CR_MOV_TO, CR_MOV_FROM, CR_CLTS, CR_LMSW };

void qualification_io(uint64_t qualification, struct exit *exit)
{
    exit->io.port = (uint16_t)(qualification >> 16);
    exit->io.size = (uint8_t)((qualification & 7U) + 1U);
    exit->io.in = qualification >> 3 & 1U;
    exit->io.string = qualification >> 4 & 1U;
    exit->io.rep = qualification >> 5 & 1U;
}

/* Bit 8: the access was to the linear address' translation, not to a table. */
void qualification_ept(uint64_t qualification, uint64_t address, uint64_t linear, struct exit *exit)
{
    exit->memory.gpa = gpa(address);
    exit->memory.linear = gla(linear);
    exit->memory.linear_valid = qualification & QUALIFICATION_LINEAR;
    exit->memory.read = qualification & 1U;
    exit->memory.write = qualification >> 1 & 1U;
    exit->memory.fetch = qualification >> 2 & 1U;
    exit->memory.walk = (qualification >> 7 & 3U) != 3U;
}

bool qualification_cr(uint64_t qualification, const uint64_t gpr[16], uint64_t cr0, bool mode_64bit,
                      struct exit *exit)
{
    uint64_t value;
    exit->kind = EXIT_CR_WRITE;
    exit->cr.cr = qualification & 15U;
    exit->cr.gpr = qualification >> 8 & 15U;
    exit->cr.size = mode_64bit ? 8 : 4;
    switch ((enum cr_access)(qualification >> 4 & 3U)) {
    case CR_MOV_TO:
        value = gpr[exit->cr.gpr];
        exit->cr.value = mode_64bit ? value : (uint32_t)value;
        return exit->cr.cr == 0 || exit->cr.cr == 3 || exit->cr.cr == 4;
    case CR_CLTS:
        exit->cr.cr = 0;
        exit->cr.value = cr0 & ~CR0_TS;
        return true;
    case CR_LMSW: /* sets PE, never clears it */
        value = qualification >> 16 & (CR0_PE | CR0_MP | CR0_EM | CR0_TS);
        exit->cr.cr = 0;
        exit->cr.value = (cr0 & ~(CR0_MP | CR0_EM | CR0_TS)) | value;
        return true;
    case CR_MOV_FROM:
        break;
    }
    exit->kind = EXIT_CR_READ;
    return exit->cr.cr == 3;
}

/* The fields of the instruction information. */
#define INFO_SCALE(info)        ((info)&3U)
#define INFO_ADDRESS_SIZE(info) ((info) >> 7 & 7U) /* 0: 16 bits, 1: 32, 2: 64 */
#define INFO_INDEX(info)        ((info) >> 18 & 15U)
#define SEGMENT_FS              4U /* 5 is GS, and there are no others above */
#define INFO_NO_INDEX           (1U << 22)
#define INFO_BASE(info)         ((info) >> 23 & 15U)
#define INFO_NO_BASE            (1U << 27)
#define INFO_REGISTER(info)     ((info) >> 28)

static uint64_t effective_address(uint32_t info, uint64_t displacement, const uint64_t gpr[16])
{
    uint64_t address = displacement;
    if (!(info & INFO_NO_BASE))
        address += gpr[INFO_BASE(info)];
    if (!(info & INFO_NO_INDEX))
        address += gpr[INFO_INDEX(info)] << INFO_SCALE(info);
    switch (INFO_ADDRESS_SIZE(info)) {
    case 0:
        return (uint16_t)address;
    case 1:
        return (uint32_t)address;
    default:
        return address;
    }
}

/* In 64-bit mode only FS and GS have a base. */
void qualification_invpcid(uint32_t info, uint64_t displacement, uint64_t base,
                           const uint64_t gpr[16], bool mode_64bit, struct exit *exit)
{
    bool flat = mode_64bit && OPERAND_SEGMENT(info) < SEGMENT_FS;
    uint64_t address = effective_address(info, displacement, gpr) + (flat ? 0 : base);
    uint64_t type = gpr[INFO_REGISTER(info)];
    exit->invalidate.address = gla(mode_64bit ? address : (uint32_t)address);
    exit->invalidate.type = mode_64bit ? type : (uint32_t)type;
    exit->invalidate.everything = false;
}
