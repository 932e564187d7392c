/* SPDX-License-Identifier: BSD-2-Clause */
/* AMD's Secure Memory Encryption (§7.10): whether firmware has it on, and what a guest sees of it. */
#include "kernel/x86.h"
#include "svm/internal.h"
#include <stdio.h>

#define CPUID_WIDTHS     0x80000008U
#define CPUID_ENCRYPTION 0x8000001fU
#define EAX_SME          (1U << 0)

#define SYSCFG_ENCRYPTION (1UL << 23) /* MemEncryptionModEn */
#define SYSCFG_SNP        (1UL << 24) /* SecureNestedPagingEn */
/* These two, VMPLEn and HMKEE: all that is about encryption. */
#define SYSCFG_KEYS (0xfUL << 23)

struct sme {
    unsigned int maxphyaddr, cbit, reduction;
    uint64_t syscfg;
};

/* False where there is no SME; Bochs shows it in CPUID, and has no MSR to turn it on with. */
static bool read_sme(struct sme *sme)
{
    uint32_t last, a, b, c, d;

    *sme = (struct sme){.cbit = 0};
    cpuid_raw(CPUID_EXTENDED, 0, &last, &b, &c, &d);
    if (last < CPUID_ENCRYPTION)
        return false;
    cpuid_raw(CPUID_ENCRYPTION, 0, &a, &b, &c, &d);
    if (!(a & EAX_SME) || rdmsr_safe(MSR_SYSCFG, &sme->syscfg))
        return false;
    sme->cbit = b & 63U;
    sme->reduction = b >> 6 & 63U;
    cpuid_raw(CPUID_WIDTHS, 0, &a, &b, &c, &d);
    sme->maxphyaddr = a & 255U;
    return true;
}

bool svm_encrypts(void)
{
    struct sme sme;

    return read_sme(&sme) && (sme.syscfg & SYSCFG_ENCRYPTION);
}

/* What cannot be used is left alone: nothing is then encrypted, and the preflight refuses it. */
void svm_encryption(struct encryption *e)
{
    struct sme sme;

    *e = (struct encryption){.cbit = 0};
    if (read_sme(&sme) && (sme.syscfg & SYSCFG_ENCRYPTION))
        (void)encryption_init(e, sme.maxphyaddr, sme.cbit, sme.reduction);
}

void svm_preflight_encryption(struct preflight *table)
{
    struct preflight_row cbit = {.need = "SME's C-bit",
                                 .wanted = "no address bit (CPUID 8000001F EBX)",
                                 .advice = "switch \"SMEE\" off in the firmware's CPU settings",
                                 .required = true};
    struct preflight_row snp = {.need = "SNP left off",
                                .wanted = "0 (SYSCFG, MSR C0010010 bit 24)",
                                .advice = "switch \"SEV-SNP\" off in the firmware's CPU settings",
                                .required = true};
    struct encryption e;
    struct sme sme;

    if (!read_sme(&sme) || !(sme.syscfg & SYSCFG_ENCRYPTION))
        return;
    cbit.ok = !encryption_init(&e, sme.maxphyaddr, sme.cbit, sme.reduction);
    snprintf(cbit.found, sizeof(cbit.found), "%u, addresses of %u-%u bits", sme.cbit,
             sme.maxphyaddr, sme.reduction);
    svm_preflight_add(table, &cbit);
    snp.ok = !(sme.syscfg & SYSCFG_SNP);
    snprintf(snp.found, sizeof(snp.found), "%u", !snp.ok);
    svm_preflight_add(table, &snp);
}

void svm_start_msr(uint32_t *msr, uint32_t *bits)
{
    *msr = svm_encrypts() ? MSR_SYSCFG : 0;
    *bits = SYSCFG_ENCRYPTION;
}

uint64_t svm_shown_msr(const struct vcpu *v, uint32_t msr, uint64_t host)
{
    if (msr != MSR_SYSCFG)
        return host;
    return (host & ~SYSCFG_KEYS) | (v->props.cbit ? SYSCFG_ENCRYPTION : 0);
}
