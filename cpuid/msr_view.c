/* SPDX-License-Identifier: BSD-2-Clause */
#include "cpuid/msr_view.h"

#define BIT(n) (1ULL << (n))

#define LEAF1_ECX_MONITOR (1U << 3)
#define LEAF7_EBX_SGX     (1U << 2)
#define LEAF1F_EAX_MEMORY 3U /* SME, SEV */

#define SYSCFG_ENCRYPTION BIT(23)

#define FEATURE_CONTROL_LOCK BIT(0)
#define FEATURE_CONTROL_SGX  BIT(18)

#define SPEC_CTRL_IBRS  BIT(0)
#define SPEC_CTRL_STIBP BIT(1)
#define VIRT_SPEC_SSBD  BIT(2)

#define CORE_RSM_AT_CPL0 BIT(3)

#define MTRRCAP_COUNT 0xffULL
#define MTRRCAP_FIXED BIT(8)
#define MTRRCAP_WC    BIT(10)

/*
 * RDCL_NO, IBRS_ALL, RSBA, SKIP_L1DFL_VMENTRY, SSB_NO, MDS_NO, IF_PSCHANGE_MC_NO, TAA_NO,
 * SBDR_SSDP_NO, FBSDP_NO, PSDP_NO, FB_CLEAR, RRSBA, BHI_NO, PBRSB_NO, GDS_NO, RFDS_NO, RFDS_CLEAR,
 * ITS_NO (SDM vol. 4, table 2-2): facts, behind which no other MSR stands.
 */
#define ARCH_FACTS                                                                                 \
    (0x7fULL | BIT(8) | BIT(13) | BIT(14) | BIT(15) | BIT(17) | BIT(19) | BIT(20) | BIT(24) |      \
     BIT(26) | BIT(27) | BIT(28) | BIT(62))
#define ARCH_IBRS_ALL BIT(1)
#define ARCH_TSX_CTRL BIT(7)

#define TSX_CTRL_BITS 3ULL

/* Count, MCG_CTL_P, TES_P, SER_P: SDM vol. 3 §16.3.1.1. */
#define MCG_CAP_SHOWN (0xffULL | BIT(8) | BIT(11) | BIT(24))

#define MISC_FAST_STRING  BIT(0)
#define MISC_PERFMON      BIT(7)
#define MISC_NO_BTS       BIT(11)
#define MISC_NO_PEBS      BIT(12)
#define MISC_MONITOR      BIT(18)
#define MISC_READ_ONLY    (MISC_PERFMON | MISC_NO_BTS | MISC_NO_PEBS)
#define MISC_OF_NO_TRACES (MISC_NO_BTS | MISC_NO_PEBS)

static bool has_group(const struct cpu_rules *rules, enum msr_group group)
{
    return rules->msr_groups >> group & 1;
}

static struct msr_view read_only(bool present, uint64_t value)
{
    return (struct msr_view){.access = present ? MSR_READ_ONLY : MSR_ABSENT, .value = value};
}

static struct msr_view write_only(bool present, uint64_t writable)
{
    return (struct msr_view){.access = present ? MSR_WRITE_ONLY : MSR_ABSENT, .writable = writable};
}

static struct msr_view read_write(bool present, uint64_t value, uint64_t writable, uint64_t ignored)
{
    return (struct msr_view){.access = present ? MSR_READ_WRITE : MSR_ABSENT,
                             .value = value,
                             .writable = writable,
                             .ignored = ignored};
}

static struct msr_view arch_capabilities(const struct cpu_rules *rules, uint64_t host)
{
    uint64_t shown = ARCH_FACTS;

    if (has_group(rules, MSR_GROUP_TSX_CTRL))
        shown |= ARCH_TSX_CTRL;
    if (!(rules->spec_ctrl & SPEC_CTRL_IBRS))
        shown &= ~ARCH_IBRS_ALL;
    return read_only(has_group(rules, MSR_GROUP_ARCH_CAPABILITIES), host & shown);
}

/* A CPU with IBRS and without STIBP ignores that bit (SDM vol. 4, table 2-2). */
static struct msr_view spec_ctrl(const struct cpu_rules *rules, uint64_t host)
{
    uint64_t ignored = rules->spec_ctrl & SPEC_CTRL_IBRS ? SPEC_CTRL_STIBP : 0;

    return read_write(has_group(rules, MSR_GROUP_SPEC_CTRL), host & rules->spec_ctrl,
                      rules->spec_ctrl, ignored & ~(uint64_t)rules->spec_ctrl);
}

/* Every CPU that is not AMD's has it; what hidden features would switch on reads as off. */
static struct msr_view misc_enable(const struct model *m, uint64_t host)
{
    bool monitor = model_get(m, 1, 0).ecx & LEAF1_ECX_MONITOR;
    uint64_t writable = MISC_FAST_STRING | (monitor ? MISC_MONITOR : 0);

    return read_write(!model_is_amd(m), (host & writable) | MISC_OF_NO_TRACES, writable,
                      MISC_READ_ONLY);
}

static struct msr_view feature_control(const struct model *m)
{
    bool sgx = model_get(m, 7, 0).ebx & LEAF7_EBX_SGX;

    return read_only(sgx, FEATURE_CONTROL_LOCK | FEATURE_CONTROL_SGX);
}

static bool has_memory_encryption(const struct model *m)
{
    return model_get(m, 0x8000001f, 0).eax & LEAF1F_EAX_MEMORY;
}

struct msr_view msr_view(const struct model *m, const struct cpu_rules *rules, uint32_t msr,
                         uint64_t host)
{
    switch (msr) {
    case 0x3a:
        return feature_control(m);
    case 0x48:
        return spec_ctrl(rules, host);
    case 0x49:
        return write_only(has_group(rules, MSR_GROUP_PRED_CMD), rules->pred_cmd);
    case 0xcf:
        return read_only(has_group(rules, MSR_GROUP_CORE_CAPABILITIES), host & CORE_RSM_AT_CPL0);
    case 0xfe:
        return read_only(has_group(rules, MSR_GROUP_MTRR),
                         host & (MTRRCAP_COUNT | MTRRCAP_FIXED | MTRRCAP_WC));
    case 0x10a:
        return arch_capabilities(rules, host);
    case 0x10b:
        return write_only(has_group(rules, MSR_GROUP_FLUSH_CMD), 1);
    case 0x122:
        return read_write(has_group(rules, MSR_GROUP_TSX_CTRL), host & TSX_CTRL_BITS, TSX_CTRL_BITS,
                          0);
    case 0x179:
        return read_only(has_group(rules, MSR_GROUP_MCA), host & MCG_CAP_SHOWN);
    case 0x1a0:
        return misc_enable(m, host);
    case 0xc0010010:
        return read_write(has_memory_encryption(m), m->paging.cbit ? SYSCFG_ENCRYPTION : 0, 0,
                          ~0ULL);
    case 0xc0010131:
        return read_only(has_memory_encryption(m), 0);
    case 0xc001011f:
        return read_write(has_group(rules, MSR_GROUP_VIRT_SPEC_CTRL), host & VIRT_SPEC_SSBD,
                          VIRT_SPEC_SSBD, 0);
    default:
        return read_only(false, 0);
    }
}

bool msr_view_write(const struct msr_view *view, uint64_t host, uint64_t value, uint64_t *hardware)
{
    if (view->access != MSR_READ_WRITE && view->access != MSR_WRITE_ONLY)
        return false;
    if ((value ^ view->value) & ~(view->writable | view->ignored))
        return false;
    *hardware = (host & ~view->writable) | (value & view->writable);
    return true;
}
