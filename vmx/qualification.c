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

/* Bit 7: there is a linear address. Bit 8: the access was to its translation, not to a table. */
void qualification_ept(uint64_t qualification, uint64_t address, struct exit *exit)
{
    exit->memory.gpa = gpa(address);
    exit->memory.read = qualification & 1U;
    exit->memory.write = qualification >> 1 & 1U;
    exit->memory.fetch = qualification >> 2 & 1U;
    exit->memory.walk = (qualification >> 7 & 3U) != 3U;
}

bool qualification_cr(uint64_t qualification, const uint64_t gpr[16], uint64_t cr0, bool mode_64bit,
                      struct exit *exit)
{
    uint64_t value;
    exit->cr.cr = qualification & 15U;
    switch ((enum cr_access)(qualification >> 4 & 3U)) {
    case CR_MOV_TO:
        value = gpr[qualification >> 8 & 15U];
        exit->cr.value = mode_64bit ? value : (uint32_t)value;
        return exit->cr.cr == 0 || exit->cr.cr == 4;
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
    return false;
}
