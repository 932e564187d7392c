/* SPDX-License-Identifier: BSD-2-Clause */
/* Latch's hypercalls, as its guests see them. */
#include "tests/guest/lib/payload.h"

#include <string.h>

/* Asked once only: CPUID exits, and some tests count exits. */
bool vendor_is_amd(void)
{
    static bool known, amd;
    uint32_t a, b, c, d;
    if (known)
        return amd;
    cpuid_raw(0, 0, &a, &b, &c, &d);
    known = true;
    amd = (b == 0x68747541U && d == 0x69746e65U && c == 0x444d4163U) || /* AuthenticAMD */
          (b == 0x6f677948U && d == 0x6e65476eU && c == 0x656e6975U);   /* HygonGenuine */
    return amd;
}

bool under_latch(void)
{
    uint32_t a, b, c, d;
    cpuid_raw(1, 0, &a, &b, &c, &d);
    if (!(c >> 31))
        return false;
    char name[12];
    cpuid_raw(0x40000000U, 0, &a, &b, &c, &d);
    memcpy(name, &b, 4);
    memcpy(name + 4, &c, 4);
    memcpy(name + 8, &d, 4);
    return memcmp(name, "LatchLatch\0\0", 12) == 0;
}

int64_t latch_hypercall(uint64_t number, uint64_t a, uint64_t b, uint64_t c, uint64_t d)
{
    register uint64_t fourth __asm__("r10") = d;
    int64_t result = (int64_t)number;
    if (vendor_is_amd())
        __asm__ volatile("vmmcall" : "+a"(result) : "D"(a), "S"(b), "d"(c), "r"(fourth) : "memory");
    else
        __asm__ volatile("vmcall" : "+a"(result) : "D"(a), "S"(b), "d"(c), "r"(fourth) : "memory");
    return result;
}

struct call32 {
    uint32_t eax, edi, esi, edx, ecx;
    uint32_t kind;           /* 0 VMCALL, 1 VMMCALL, 2 WRMSR */
    uint32_t code32, code64; /* selectors to go there and back */
};
void call32(struct call32 *c);

/* At the CPL of the caller. */
static uint32_t call_32(struct call32 *call)
{
    uint16_t here;
    __asm__("mov %%cs, %0" : "=r"(here));
    call->code32 = here == SELECTOR_CODE64 ? SELECTOR_CODE32 : SELECTOR_USER_CODE32;
    call->code64 = here;
    call32(call);
    return call->eax;
}

int32_t latch_hypercall32(uint32_t number, uint32_t a, uint32_t b, uint32_t c)
{
    struct call32 call = {.eax = number, .edi = a, .esi = b, .edx = c, .kind = vendor_is_amd()};
    return (int32_t)call_32(&call);
}

void wrmsr32(uint32_t msr, uint32_t value)
{
    struct call32 call = {.eax = value, .ecx = msr, .kind = 2};
    (void)call_32(&call);
}

uint64_t latch_exits(enum exit_kind kind, unsigned int vcpu)
{
    return (uint64_t)latch_hypercall(HYPERCALL_EXITS, kind, vcpu, 0, 0);
}
