/* SPDX-License-Identifier: BSD-2-Clause */
#include "kernel/machine.h"
#include "kernel/x86.h"
#include "svm/internal.h"
#include <errno.h>
#include <stdio.h>
#include <string.h>

#define CPUID_ECX_SVM (1U << 2) /* 80000001H */
#define CPUID_EDX_1G  (1U << 26)
#define ASIDS_MIN     2U /* one is Latch's */

/* The CPUID registers that count here; zeros where there is no such leaf. */
struct features {
    uint32_t ext_ecx, ext_edx;
    uint32_t asids, svm_edx;
};

static struct features read_features(void)
{
    struct features f = {.asids = 0};
    uint32_t last, a, b, c, d;

    cpuid_raw(CPUID_EXTENDED, 0, &last, &b, &c, &d);
    if (last >= CPUID_EXTENDED + 1)
        cpuid_raw(CPUID_EXTENDED + 1, 0, &a, &b, &f.ext_ecx, &f.ext_edx);
    if (last >= CPUID_SVM && (f.ext_ecx & CPUID_ECX_SVM))
        cpuid_raw(CPUID_SVM, 0, &a, &f.asids, &c, &f.svm_edx);
    return f;
}

bool svm_present(void)
{
    uint32_t a;
    char vendor[12];

    cpuid_raw(0, 0, &a, (uint32_t *)vendor, (uint32_t *)(vendor + 8), (uint32_t *)(vendor + 4));
    return !memcmp(vendor, "AuthenticAMD", 12) || !memcmp(vendor, "HygonGenuine", 12);
}

void svm_caps(struct backend_caps *caps)
{
    *caps = (struct backend_caps){
        .page_1g = read_features().ext_edx & CPUID_EDX_1G,
        .execute_only = false,
        .accessed_dirty = true,                  /* NPT has them always */
        .levels = read_cr4() & CR4_LA57 ? 5 : 4, /* as Latch's own tables have (§15.25.3) */
        /* A hypervisor may keep VM_CR.R_INIT and not act by it, as KVM does: the INIT of the exit
         * would then reset the CPU as soon as GIF is 1. */
        .init_exits = machine_catches_init() && !machine_has_hypervisor(),
        .format = "NPT",
    };
}

void svm_preflight_add(struct preflight *table, const struct preflight_row *row)
{
    struct preflight_row *slot = &table->row[table->rows];

    if (table->rows < PREFLIGHT_ROWS)
        table->rows++;
    else
        slot = &table->row[PREFLIGHT_ROWS - 1];
    *slot = *row;
}

static void add_bit(struct preflight *table, bool found, struct preflight_row row)
{
    row.ok = found;
    snprintf(row.found, sizeof(row.found), "%u", found);
    svm_preflight_add(table, &row);
}

/* VM_CR is missing on emulators, and then nothing can have disabled SVM. */
static void add_firmware(struct preflight *table)
{
    uint64_t vm_cr = 0;
    bool exists = !rdmsr_safe(MSR_VM_CR, &vm_cr);
    struct preflight_row row = {
        .need = "SVM left on by firmware",
        .wanted = "0 (VM_CR.SVMDIS, MSR C0010114 bit 4)",
        .advice = "switch on \"SVM Mode\" (also called AMD-V or Virtualization) in the "
                  "firmware's CPU settings",
        .required = true,
        .ok = !(vm_cr & VM_CR_SVMDIS),
    };
    snprintf(row.found, sizeof(row.found), "%s%s",
             exists ? (row.ok ? "0" : "1") : "0 (no such MSR)",
             !row.ok && (vm_cr & VM_CR_LOCK) ? ", locked" : "");
    svm_preflight_add(table, &row);
}

static void add_asids(struct preflight *table, uint32_t asids)
{
    struct preflight_row row = {
        .need = "ASIDs",
        .wanted = "2 or more (CPUID 8000000A EBX)",
        .advice = "start QEMU with -cpu max, or use another CPU",
        .required = true,
        .ok = asids >= ASIDS_MIN,
    };
    snprintf(row.found, sizeof(row.found), "%u", asids);
    svm_preflight_add(table, &row);
}

static void add_options(struct preflight *table, const struct features *f)
{
    add_bit(table, f->svm_edx & SVM_EDX_NRIP_SAVE,
            (struct preflight_row){.need = "next RIP saved",
                                   .wanted = "1 (CPUID 8000000A EDX bit 3)",
                                   .advice = "none needed: Latch decodes instructions itself"});
    add_bit(table, f->svm_edx & SVM_EDX_DECODE_ASSISTS,
            (struct preflight_row){.need = "decode assists",
                                   .wanted = "1 (CPUID 8000000A EDX bit 7)",
                                   .advice = "none needed: Latch decodes instructions itself"});
    add_bit(table, f->svm_edx & SVM_EDX_FLUSH_BY_ASID,
            (struct preflight_row){.need = "flush by ASID",
                                   .wanted = "1 (CPUID 8000000A EDX bit 6)",
                                   .advice = "none needed: Latch flushes the whole TLB instead"});
    add_bit(table, f->svm_edx & SVM_EDX_CLEAN_BITS,
            (struct preflight_row){.need = "VMCB clean bits",
                                   .wanted = "1 (CPUID 8000000A EDX bit 5)",
                                   .advice = "none needed: entries take a little longer"});
    add_bit(table, f->ext_edx & CPUID_EDX_1G,
            (struct preflight_row){.need = "1 GiB pages",
                                   .wanted = "1 (CPUID 80000001 EDX bit 26)",
                                   .advice = "none needed: Latch uses 2 MiB pages instead"});
}

int svm_preflight(struct preflight *table)
{
    struct features f = read_features();
    bool svm = f.ext_ecx & CPUID_ECX_SVM;

    table->rows = 0;
    add_bit(table, svm,
            (struct preflight_row){.need = "SVM",
                                   .wanted = "1 (CPUID 80000001 ECX bit 2)",
                                   .advice = "under a hypervisor turn nested virtualization on "
                                             "(kvm_amd nested=1, QEMU -cpu host or max)",
                                   .required = true});
    if (svm)
        add_firmware(table);
    add_bit(table, f.svm_edx & SVM_EDX_NPT,
            (struct preflight_row){.need = "nested paging",
                                   .wanted = "1 (CPUID 8000000A EDX bit 0)",
                                   .advice = "use a CPU with NPT; in QEMU -cpu max, host or EPYC",
                                   .required = true});
    add_asids(table, f.asids);
    svm_preflight_encryption(table);
    add_options(table, &f);
    for (unsigned int i = 0; i < table->rows; i++)
        if (table->row[i].required && !table->row[i].ok)
            return -ENODEV;
    return 0;
}
