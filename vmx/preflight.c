/* SPDX-License-Identifier: BSD-2-Clause */
#include "kernel/machine.h"
#include "kernel/x86.h"
#include "vmx/controls.h"
#include "vmx/paging.h"
#include "vmx/vmx.h"
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#define CPUID1_ECX_VMX              (1U << 5)
#define CPUID7_ECX_TME              (1U << 13)
#define CPUID80000001_EDX_LONG_MODE (1U << 29)

static const char nested[] = "an older CPU, or a hypervisor below Latch that does not offer it";

bool vmx_present(void)
{
    static const char *const makers[] = {"GenuineIntel", "CentaurHauls", "  Shanghai  "};
    uint32_t a, b, c, d;
    cpuid_raw(0, 0, &a, &b, &c, &d);
    const uint32_t vendor[3] = {b, d, c};
    for (unsigned int i = 0; i < sizeof(makers) / sizeof(makers[0]); i++) {
        if (memcmp(vendor, makers[i], sizeof(vendor)) == 0)
            return true;
    }
    return false;
}

__attribute__((format(printf, 7, 8))) static void add_row(struct preflight *table, const char *need,
                                                          const char *wanted, const char *advice,
                                                          bool required, bool ok, const char *found,
                                                          ...)
{
    if (table->rows >= PREFLIGHT_ROWS)
        return;
    struct preflight_row *r = &table->row[table->rows++];
    *r = (struct preflight_row){
        .need = need, .wanted = wanted, .advice = advice, .required = required, .ok = ok};
    va_list args;
    va_start(args, found);
    vsnprintf(r->found, sizeof(r->found), found, args);
    va_end(args);
}

/* What CPUID alone tells; false if the capability MSRs are not there to be read. */
static bool check_cpuid(struct preflight *table)
{
    uint32_t a, b, c, d;
    cpuid_raw(0x80000000U, 0, &a, &b, &c, &d);
    uint32_t features = 0;
    if (a >= 0x80000001U)
        cpuid_raw(0x80000001U, 0, &a, &b, &c, &features);
    bool long_mode = features & CPUID80000001_EDX_LONG_MODE;
    add_row(table, "long mode", "1 (CPUID.80000001H:EDX[29])", "a 64-bit CPU is needed", true,
            long_mode, "%d", long_mode);
    cpuid_raw(1, 0, &a, &b, &c, &d);
    bool vmx = c & CPUID1_ECX_VMX;
    add_row(table, "VMX", "1 (CPUID.1:ECX[5])",
            "switch VT-x on in the firmware's set-up, or nesting in the hypervisor below", true,
            vmx, "%d", vmx);
    return long_mode && vmx;
}

static void check_feature_control(struct preflight *table)
{
    uint64_t value = 0;
    bool readable = rdmsr_safe(MSR_FEATURE_CONTROL, &value) == 0;
    bool locked = value & FEATURE_CONTROL_LOCK;
    bool ok = readable && feature_control_allows(value);
    add_row(table, "VMX allowed", "unlocked or 5 (IA32_FEATURE_CONTROL)",
            "the firmware has locked VMX off: switch \"Intel Virtualization Technology\" on in its "
            "set-up and power-cycle",
            true, ok, readable ? "%lx%s" : "none", value, locked ? ", locked" : ", unlocked");
}

/* Of two addresses with different KeyIDs both are the same memory: one of the guest's would lead to
 * Latch's, around its nested tables. Only where the CPU can do it does the MSR exist. */
static void check_key_ids(struct preflight *table)
{
    uint32_t a, b, c, d;
    uint64_t activate;
    cpuid_raw(0, 0, &a, &b, &c, &d);
    if (a < 7)
        return;
    cpuid_raw(7, 0, &a, &b, &c, &d);
    if (!(c & CPUID7_ECX_TME) || rdmsr_safe(MSR_TME_ACTIVATE, &activate) != 0)
        return;
    const unsigned int bits = tme_key_id_bits(activate);
    add_row(table, "KeyIDs in addresses", "0 bits (IA32_TME_ACTIVATE[35:32])",
            "switch multi-key memory encryption (TME-MK, TME-MT, TDX) off in the firmware's set-up",
            true, bits == 0, "%u", bits);
}

static void check_basic(struct preflight *table, uint64_t basic)
{
    add_row(table, "VMCS revision", "any (IA32_VMX_BASIC[30:0])", nested, false, true, "%x",
            (unsigned int)(basic & BASIC_REVISION));
    add_row(table, "VMCS size", "1 to 4096 (IA32_VMX_BASIC[44:32])", nested, true,
            BASIC_SIZE(basic) > 0 && BASIC_SIZE(basic) <= PAGE_SIZE, "%u", BASIC_SIZE(basic));
    add_row(table, "VMCS memory type", "6, WB (IA32_VMX_BASIC[53:50])", nested, true,
            BASIC_TYPE(basic) == 6, "%u", BASIC_TYPE(basic));
    add_row(table, "64-bit VMCS addresses", "0 (IA32_VMX_BASIC[48])", nested, true,
            !(basic & BASIC_32BIT), "%d", !!(basic & BASIC_32BIT));
    add_row(table, "TRUE controls", "1 (IA32_VMX_BASIC[55])", nested, false, basic & BASIC_TRUE,
            "%d", !!(basic & BASIC_TRUE));
}

/* The words "IA32_VMX_… bit n may be 1" for each control; they live as long as the table. */
static void check_controls(struct preflight *table, bool true_controls)
{
    static char wanted[CONTROLS_WANTED][56];
    bool secondary = true;
    for (unsigned int i = 0; i < CONTROLS_WANTED; i++) {
        const struct control *c = &controls_wanted[i];
        uint64_t msr = 0;
        if (c->word != WORD_PROC2 || secondary)
            msr = rdmsr(control_msr(c->word, true_controls));
        bool ok = msr >> 32 & c->bit;
        if (c->word == WORD_PROC && c->bit == PROC_SECONDARY)
            secondary = ok;
        snprintf(wanted[i], sizeof(wanted[i]), "may be 1 (%s bit %d)",
                 control_msr_name(c->word, true_controls), 32 + __builtin_ctz(c->bit));
        add_row(table, c->name, wanted[i], nested, c->required, ok, "%d", ok);
    }
    uint32_t pin = control_forbidden(WORD_PIN, rdmsr(control_msr(WORD_PIN, true_controls)));
    uint32_t proc = control_forbidden(WORD_PROC, rdmsr(control_msr(WORD_PROC, true_controls)));
    add_row(table, "no forced intercepts", "interrupts, HLT, CR3 may run", nested, true,
            !(pin | proc), "pin %x, primary %x forced", pin, proc);
}

#define ROW(what, which, any_of, needed)                                                           \
    {                                                                                              \
        .need = (what), .wanted = "1 (IA32_VMX_EPT_VPID_CAP" which ")", .bits = (any_of),          \
        .required = (needed)                                                                       \
    }

/* Only where the secondary controls have EPT or VPID does the MSR exist. */
static void check_ept(struct preflight *table, bool true_controls)
{
    uint64_t proc = rdmsr(control_msr(WORD_PROC, true_controls)) >> 32;
    uint64_t proc2 = (proc & PROC_SECONDARY) ? rdmsr(MSR_VMX_PROC2) >> 32 : 0;
    uint64_t cap = (proc2 & (PROC2_EPT | PROC2_VPID)) ? rdmsr(MSR_VMX_EPT_VPID) : 0;
    bool vpid = proc2 & PROC2_VPID;
    const struct {
        const char *need, *wanted;
        uint64_t bits; /* any of them */
        bool required;
    } rows[] = {
        ROW("EPT with 4 levels", "[6]", EPT_CAP_4_LEVELS, true),
        ROW("EPT tables in WB memory", "[14]", EPT_CAP_WB, true),
        ROW("EPT pages of 2 MiB", "[16]", EPT_CAP_2M, true),
        ROW("EPT pages of 1 GiB", "[17]", EPT_CAP_1G, false),
        ROW("INVEPT", "[20]", EPT_CAP_INVEPT, true),
        ROW("INVEPT by EPTP or all", "[25] or [26]", EPT_CAP_INVEPT_SINGLE | EPT_CAP_INVEPT_ALL,
            true),
        ROW("INVVPID, if VPID", "[32]", EPT_CAP_INVVPID, vpid),
        ROW("INVVPID by VPID or all, if VPID", "[41] or [42]",
            EPT_CAP_INVVPID_SINGLE | EPT_CAP_INVVPID_ALL, vpid),
    };
    for (unsigned int i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
        add_row(table, rows[i].need, rows[i].wanted, nested, rows[i].required, cap & rows[i].bits,
                "%d", !!(cap & rows[i].bits));
}

int vmx_preflight(struct preflight *table)
{
    if (check_cpuid(table)) {
        check_feature_control(table);
        check_key_ids(table);
        uint64_t basic = 0;
        if (rdmsr_safe(MSR_VMX_BASIC, &basic) == 0) {
            check_basic(table, basic);
            check_controls(table, basic & BASIC_TRUE);
            check_ept(table, basic & BASIC_TRUE);
        } else {
            add_row(table, "VMX capabilities", "readable (IA32_VMX_BASIC)", nested, true, false,
                    "#GP");
        }
    }
    for (unsigned int i = 0; i < table->rows; i++) {
        if (table->row[i].required && !table->row[i].ok)
            return -ENODEV;
    }
    return 0;
}

static uint32_t may_be_1(enum control_word word)
{
    return (uint32_t)(rdmsr(control_msr(word, rdmsr(MSR_VMX_BASIC) & BASIC_TRUE)) >> 32);
}

/* Whether there are physical addresses that four levels of tables do not reach. */
static bool exceeds_4_levels(void)
{
    uint32_t a, b, c, d;
    cpuid_raw(0x80000008U, 0, &a, &b, &c, &d);
    return (a & 0xffU) > 48;
}

/* vmx_probe() has to reach each address that the guest's tables can hold. */
static bool can_be_narrow(uint64_t cap)
{
    const uint32_t controls = paging_controls(PAGED_NARROW, false) | PROC_MONITOR_TRAP;
    return !(controls & ~may_be_1(WORD_PROC)) && (!exceeds_4_levels() || (cap & EPT_CAP_5_LEVELS));
}

void vmx_caps(struct backend_caps *caps)
{
    uint64_t cap = rdmsr(MSR_VMX_EPT_VPID);
    *caps = (struct backend_caps){
        .page_1g = cap & EPT_CAP_1G,
        .execute_only = cap & EPT_CAP_EXECUTE_ONLY,
        .accessed_dirty = cap & EPT_CAP_ACCESSED_DIRTY,
        .levels = exceeds_4_levels() && (cap & EPT_CAP_5_LEVELS) ? 5 : 4,
        .narrow = can_be_narrow(cap),
        .checks_cr3 = may_be_1(WORD_PROC) & PROC_CR3_LOAD_EXITING,
        .init_exits = machine_catches_init(),
        .format = "EPT",
    };
}
