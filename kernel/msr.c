/* SPDX-License-Identifier: BSD-2-Clause */
#include "kernel/msr.h"
#include "cpuid/msr_view.h"
#include "kernel/apic.h"
#include "kernel/backend.h"
#include "kernel/ipi.h"
#include "kernel/paging.h"
#include "kernel/tsc.h"
#include "kernel/vm.h"
#include "kernel/x86.h"
#include "kernel/xen.h"
#include <stddef.h>

#define ANY              MSR_ANY_GROUP
#define MSR_X2APIC_FIRST 0x800U
#define MSR_X2APIC_LAST  0x8ffU
#define MSR_SPEC_CTRL    0x48U
#define MSR_PRED_CMD     0x49U
#define MSR_FLUSH_CMD    0x10bU
#define MSR_MISC_ENABLE  0x1a0U
#define MTRR_PAIRS_FIRST 0x200U /* the masks are odd */
#define MTRR_PAIRS_LAST  0x21fU
#define MC_BANKS         32U /* that the rule for 400H.. covers */

#define MISC_ENABLE_MONITOR (1UL << 18)

static const struct msr_rule common_rules[] = {
    MSR_RULE(0x010, 0x010, MSR_GROUP_TSC, MSR_TSC_RULE, "the guest's time, not Latch's own"),
    MSR_RULE(0x01b, 0x01b, MSR_GROUP_APIC_BASE, MSR_APIC_BASE_RULE, "CPUID shows the APIC's state"),
    MSR_RULE(0x03b, 0x03b, MSR_GROUP_TSC_ADJUST, MSR_TSC_RULE, "as IA32_TSC"),
    MSR_RULE(0x03a, 0x03a, ANY, MSR_VIEW_RULE, "what it locks on follows the model"),
    MSR_RULE(0x048, 0x048, MSR_GROUP_SPEC_CTRL, MSR_VIEW_RULE, "the guest's own mitigations"),
    MSR_RULE(0x049, 0x049, MSR_GROUP_PRED_CMD, MSR_VIEW_RULE, "the guest's own mitigations"),
    MSR_RULE(0x08b, 0x08b, ANY, MSR_READ_HOST, "microcode's version may be known, not changed"),
    MSR_RULE(0x0cf, 0x0cf, MSR_GROUP_CORE_CAPABILITIES, MSR_VIEW_RULE, "of what the guest has"),
    MSR_RULE(0x0fe, 0x0fe, MSR_GROUP_MTRR, MSR_VIEW_RULE, "MTRRcap without what is denied"),
    MSR_RULE(0x10a, 0x10a, MSR_GROUP_ARCH_CAPABILITIES, MSR_VIEW_RULE, "facts for mitigations"),
    MSR_RULE(0x10b, 0x10b, MSR_GROUP_FLUSH_CMD, MSR_VIEW_RULE, "the guest's own mitigations"),
    MSR_RULE(0x122, 0x122, MSR_GROUP_TSX_CTRL, MSR_VIEW_RULE, "CPUID's RTM and HLE follow it"),
    MSR_RULE(0x174, 0x176, MSR_GROUP_SYSENTER, MSR_PASS, "switched by the CPU at entry and exit"),
    MSR_RULE(0x179, 0x179, MSR_GROUP_MCA, MSR_VIEW_RULE, "MCG_CAP without what is denied"),
    MSR_RULE(0x17a, 0x17b, MSR_GROUP_MCA, MSR_PASS, "machine checks are the guest's while it runs"),
    MSR_RULE(0x1a0, 0x1a0, ANY, MSR_VIEW_RULE, "MONITOR follows it, and hidden features are off"),
    MSR_RULE(0x1d9, 0x1d9, ANY, MSR_CONSTANT, "no branch records: DEBUGCTL stays 0"),
    MSR_RULE(MTRR_PAIRS_FIRST, MTRR_PAIRS_LAST, MSR_GROUP_MTRR, MSR_MTRR_RULE,
             "nested tables follow the MTRRs"),
    MSR_RULE(0x250, 0x250, MSR_GROUP_MTRR, MSR_MTRR_RULE, "nested tables follow the MTRRs"),
    MSR_RULE(0x258, 0x259, MSR_GROUP_MTRR, MSR_MTRR_RULE, "nested tables follow the MTRRs"),
    MSR_RULE(0x268, 0x26f, MSR_GROUP_MTRR, MSR_MTRR_RULE, "nested tables follow the MTRRs"),
    MSR_RULE(0x277, 0x277, MSR_GROUP_PAT, MSR_PASS, "the guest has a PAT of its own"),
    MSR_RULE(0x2ff, 0x2ff, MSR_GROUP_MTRR, MSR_MTRR_RULE, "nested tables follow the MTRRs"),
    MSR_RULE(0x400, 0x47f, MSR_GROUP_MCA, MSR_BANK_RULE, "machine checks are the guest's"),
    MSR_RULE(0x6a0, 0x6a8, MSR_GROUP_CET, MSR_PASS, "Latch uses no shadow stack"),
    MSR_RULE(0x6e0, 0x6e0, MSR_GROUP_TSC_DEADLINE, MSR_TSC_RULE, "timers are the guest's"),
    MSR_RULE(0x6e1, 0x6e1, MSR_GROUP_PKS, MSR_PASS, "Latch uses no protection keys"),
    MSR_RULE(0x802, 0x82f, MSR_GROUP_X2APIC, MSR_PASS, "the interrupt controller is the guest's"),
    MSR_RULE(0x830, 0x830, MSR_GROUP_X2APIC, MSR_ICR_RULE, "INIT and SIPI start vCPUs"),
    MSR_RULE(0x831, 0x83f, MSR_GROUP_X2APIC, MSR_PASS, "the interrupt controller is the guest's"),
    MSR_RULE(0xda0, 0xda0, MSR_GROUP_XSS, MSR_XSS_RULE, "by the model's components"),
    MSR_RULE(0x40000000, 0x40000000, ANY, MSR_HYPERCALL_PAGE_RULE, "fills the hypercall page"),
    MSR_RULE(0xc0000080, 0xc0000080, ANY, MSR_EFER_RULE, "by the model's rules"),
    MSR_RULE(0xc0000081, 0xc0000084, MSR_GROUP_SYSCALL, MSR_PASS, "Latch uses no SYSCALL"),
    MSR_RULE(0xc0000100, 0xc0000102, MSR_GROUP_LONG_MODE, MSR_PASS, "switched with the segments"),
    MSR_RULE(0xc0000103, 0xc0000103, MSR_GROUP_TSC_AUX, MSR_PASS, "Latch uses no RDTSCP"),
    MSR_RULE(0xc0010010, 0xc0010010, ANY, MSR_VIEW_RULE, "beside a C-bit: that it counts"),
    MSR_RULE(0xc0010131, 0xc0010131, ANY, MSR_VIEW_RULE, "beside a C-bit: SEV is not offered"),
};

static bool counts(const struct vcpu *v, const struct msr_rule *rule)
{
    return rule->group == ANY || (v->rules.msr_groups >> rule->group & 1);
}

static const struct msr_rule *search(const struct vcpu *v, const struct msr_rule *rules,
                                     size_t count, uint32_t msr)
{
    for (size_t i = 0; i < count; i++) {
        if (msr >= rules[i].first && msr <= rules[i].last && counts(v, &rules[i]))
            return &rules[i];
    }
    return NULL;
}

static void fill_slot(const struct vcpu *v, uint32_t msr, struct msr_slot *slot)
{
    size_t count;
    const struct msr_rule *vendor = backend_msr_rules(&count);
    const struct msr_rule *rule = search(v, vendor, count, msr);
    if (rule == NULL)
        rule = search(v, common_rules, sizeof(common_rules) / sizeof(common_rules[0]), msr);
    *slot = (struct msr_slot){.msr = msr, .rule = rule};
    if (rule == NULL)
        return;
    slot->constant = rule->action == MSR_CONSTANT || rule->action == MSR_READ_HOST;
    slot->value = rule->value;
    if (rule->action != MSR_READ_HOST)
        return;
    if (rdmsr_safe(msr, &slot->value) != 0)
        slot->value = 0;
    slot->value = backend_shown_msr(v, msr, slot->value);
}

static const struct msr_rule *find(struct vcpu *v, uint32_t msr)
{
    struct msr_slot *slot = &v->msr_slot[msr % MSR_SLOTS];
    if (slot->msr != msr)
        fill_slot(v, msr, slot);
    return slot->rule;
}

struct passed {
    bool read, write;
};

/* What the hardware does itself exactly as the view has it. */
static struct passed pass_view(const struct vcpu *v, uint32_t msr)
{
    uint64_t host;
    bool there = rdmsr_safe(msr, &host) == 0;
    const struct msr_view view = msr_view(v->model, &v->rules, msr, there ? host : 0);
    switch (msr) {
    case MSR_SPEC_CTRL:
        there = there && v->rules.spec_ctrl == v->host_spec_ctrl;
        return (struct passed){.read = there, .write = there};
    case MSR_PRED_CMD:
        return (struct passed){.write = v->rules.pred_cmd == v->host_pred_cmd};
    case MSR_FLUSH_CMD:
        return (struct passed){.write = view.access == MSR_WRITE_ONLY};
    case MSR_TSX_CTRL: /* CPUID follows what is written */
        return (struct passed){.read = there};
    default: /* constants; one that the guest may write is not passed */
        return (struct passed){.read = there && view.access == MSR_READ_ONLY && view.value == host};
    }
}

static uint64_t low_bits(unsigned int width)
{
    return width < 64 ? (1UL << width) - 1 : UINT64_MAX;
}

/* The address bits that an MTRR pair has in hardware and not for a model that is narrower, for which
 * they read as 0 (SDM vol. 3 §12.11.2.3). */
static uint64_t beyond_model(const struct vcpu *v, uint32_t msr)
{
    if (msr < MTRR_PAIRS_FIRST || msr > MTRR_PAIRS_LAST)
        return 0;
    return low_bits(v->host.maxphyaddr) & ~low_bits(v->props.maxphyaddr);
}

static bool turns_sgx_off(const struct vcpu *v, uint32_t msr)
{
    return vcpu_has_sgx(v) && cpuid_dynamic_is_mci_ctl(msr, MC_BANKS);
}

/* EFER is read by Latch only, since it may hold bits of Latch's own. */
static struct passed pass_rule(const struct vcpu *v, const struct msr_rule *rule, uint32_t msr)
{
    switch ((enum msr_action)rule->action) {
    case MSR_PASS:
        return (struct passed){.read = true, .write = true};
    case MSR_PASS_READ:
    case MSR_APIC_BASE_RULE:
    case MSR_XSS_RULE:
        return (struct passed){.read = true};
    case MSR_MTRR_RULE:
        return (struct passed){.read = beyond_model(v, msr) == 0};
    case MSR_TSC_RULE:
        return (struct passed){.read = tsc_reads_pass(msr), .write = tsc_writes_pass(msr)};
    case MSR_ICR_RULE:
        return (struct passed){.read = true, .write = !v->vm->icr_trapped};
    case MSR_BANK_RULE:
        return (struct passed){.read = true, .write = !turns_sgx_off(v, msr)};
    case MSR_VIEW_RULE:
        return pass_view(v, msr);
    case MSR_READ_HOST:
    case MSR_CONSTANT:
    case MSR_EFER_RULE:
    case MSR_HYPERCALL_PAGE_RULE:
        break;
    }
    return (struct passed){.read = false};
}

static void pass_rules(struct vcpu *v, const struct msr_rule *rules, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        for (uint32_t msr = rules[i].first; counts(v, &rules[i]) && msr <= rules[i].last; msr++) {
            const struct passed passed = pass_rule(v, &rules[i], msr);
            if (passed.read || passed.write)
                backend_pass_msr(v, msr, passed.read, passed.write);
        }
    }
}

void msr_pass_all(struct vcpu *v)
{
    size_t count;
    const struct msr_rule *vendor = backend_msr_rules(&count);
    pass_rules(v, common_rules, sizeof(common_rules) / sizeof(common_rules[0]));
    pass_rules(v, vendor, count);
    v->icr_passed = !v->vm->icr_trapped;
    for (uint32_t i = 0; i < MSR_SLOTS; i++)
        fill_slot(v, i, &v->msr_slot[i]);
    if (v->rules.msr_groups >> MSR_GROUP_TSX_CTRL & 1)
        v->dynamic.tsx_ctrl = rdmsr(MSR_TSX_CTRL);
    if (v->rules.msr_groups >> MSR_GROUP_XSS & 1)
        wrmsr(MSR_XSS, v->dynamic.xss); /* RESET's, whatever a firmware left */
    cpuid_dynamic_settle(&v->dynamic, v->model);
}

/* The APIC's own are brought back as a device, with the register that turns it on. */
static bool is_saved(const struct msr_rule *rule)
{
    return (rule->action == MSR_PASS || rule->action == MSR_MTRR_RULE ||
            rule->action == MSR_XSS_RULE || rule->action == MSR_VIEW_RULE ||
            rule->action == MSR_BANK_RULE) &&
           (rule->first < MSR_X2APIC_FIRST || rule->first > MSR_X2APIC_LAST);
}

static unsigned int save_rules(const struct msr_rule *rules, size_t count, struct msr_value *to,
                               unsigned int max)
{
    unsigned int saved = 0;
    for (size_t i = 0; i < count; i++) {
        for (uint32_t msr = rules[i].first; is_saved(&rules[i]) && msr <= rules[i].last; msr++) {
            uint64_t value;
            if (saved < max && rdmsr_safe(msr, &value) == 0)
                to[saved++] = (struct msr_value){.msr = msr, .value = value};
        }
    }
    return saved;
}

unsigned int msr_save(struct msr_value *to, unsigned int max)
{
    size_t count;
    const struct msr_rule *vendor = backend_msr_rules(&count);
    unsigned int saved =
        save_rules(common_rules, sizeof(common_rules) / sizeof(common_rules[0]), to, max);
    return saved + save_rules(vendor, count, to + saved, max - saved);
}

void msr_restore(const struct msr_value *from, unsigned int count)
{
    for (unsigned int i = 0; i < count; i++) {
        uint64_t now;
        if (rdmsr_safe(from[i].msr, &now) != 0 || now != from[i].value)
            (void)wrmsr_safe(from[i].msr, from[i].value);
    }
}

/* Some machines have no IA32_MISC_ENABLE, and then Latch keeps what a guest writes there. */
static uint64_t hardware_value(const struct vcpu *v, uint32_t msr)
{
    uint64_t value;
    if (rdmsr_safe(msr, &value) == 0)
        return value;
    return msr == MSR_MISC_ENABLE ? v->dynamic.misc_enable : 0;
}

/* MONITOR is on or off as CPUID shows it, whatever the hardware's register says of it. */
static struct msr_view view_of(const struct vcpu *v, uint32_t msr, uint64_t hardware)
{
    if (msr == MSR_MISC_ENABLE)
        hardware =
            (hardware & ~MISC_ENABLE_MONITOR) | (v->dynamic.misc_enable & MISC_ENABLE_MONITOR);
    return msr_view(v->model, &v->rules, msr, hardware);
}

static enum exit_action write_view(struct vcpu *v, struct exit *exit, uint32_t msr, uint64_t value)
{
    const uint64_t hardware = hardware_value(v, msr);
    const struct msr_view view = view_of(v, msr, hardware);
    uint64_t next;
    if (!msr_view_write(&view, hardware, value, &next))
        return exit_fault_code(exit, VECTOR_GP, 0);
    int error = wrmsr_safe(msr, next);
    if (msr == MSR_MISC_ENABLE) {
        v->dynamic.misc_enable = value;
        cpuid_dynamic_settle(&v->dynamic, v->model);
        return EXIT_NEXT;
    }
    if (msr == MSR_TSX_CTRL && error == 0) {
        v->dynamic.tsx_ctrl = next;
        cpuid_dynamic_settle(&v->dynamic, v->model);
    }
    return error == 0 ? EXIT_NEXT : exit_fault_code(exit, VECTOR_GP, 0);
}

static enum exit_action write_bank(struct vcpu *v, struct exit *exit, uint32_t msr, uint64_t value)
{
    const uint64_t old = hardware_value(v, msr);
    if (wrmsr_safe(msr, value) != 0)
        return exit_fault_code(exit, VECTOR_GP, 0);
    if (turns_sgx_off(v, msr)) {
        cpuid_dynamic_mci_ctl(&v->dynamic, old, value);
        cpuid_dynamic_settle(&v->dynamic, v->model);
    }
    return EXIT_NEXT;
}

enum exit_action msr_read(struct vcpu *v, struct exit *exit)
{
    uint32_t msr = (uint32_t)v->regs.rcx;
    const struct msr_rule *rule = find(v, msr);
    struct msr_view view;
    uint64_t value = 0;
    if (rule == NULL)
        return exit_fault_code(exit, VECTOR_GP, 0);
    switch ((enum msr_action)rule->action) {
    case MSR_VIEW_RULE:
        view = view_of(v, msr, hardware_value(v, msr));
        if (view.access != MSR_READ_ONLY && view.access != MSR_READ_WRITE)
            return exit_fault_code(exit, VECTOR_GP, 0);
        value = view.value;
        break;
    case MSR_EFER_RULE:
        value = backend_read_efer(v);
        break;
    case MSR_CONSTANT:
    case MSR_READ_HOST:
        value = v->msr_slot[msr % MSR_SLOTS].value;
        break;
    case MSR_HYPERCALL_PAGE_RULE:
        return exit_fault_code(exit, VECTOR_GP, 0);
    case MSR_MTRR_RULE:
        if (rdmsr_safe(msr, &value) != 0)
            return exit_fault_code(exit, VECTOR_GP, 0);
        value &= ~beyond_model(v, msr);
        break;
    case MSR_TSC_RULE:
        if (tsc_read(msr, &value) != 0)
            return exit_fault_code(exit, VECTOR_GP, 0);
        break;
    case MSR_PASS:
    case MSR_PASS_READ:
    case MSR_APIC_BASE_RULE:
    case MSR_ICR_RULE:
    case MSR_XSS_RULE:
    case MSR_BANK_RULE:
        /* Passed, so it exits only where the bitmap cannot pass it. */
        if (rdmsr_safe(msr, &value) != 0)
            return exit_fault_code(exit, VECTOR_GP, 0);
        break;
    }
    v->regs.rax = (uint32_t)value;
    v->regs.rdx = value >> 32;
    return EXIT_NEXT;
}

/* SDM vol. 3 §11.12.5: which changes of mode are legal. Latch does not let the registers move. */
static enum exit_action write_apic_base(struct vcpu *v, struct exit *exit, uint64_t value)
{
    uint64_t now = rdmsr(MSR_APIC_BASE);
    bool x2apic = value & APIC_BASE_X2APIC, enabled = value & APIC_BASE_ENABLE;
    bool was_x2apic = now & APIC_BASE_X2APIC, was_enabled = now & APIC_BASE_ENABLE;
    bool has_x2apic = v->rules.msr_groups >> MSR_GROUP_X2APIC & 1;
    if (((value ^ now) & ~(uint64_t)(APIC_BASE_X2APIC | APIC_BASE_ENABLE)) != 0 ||
        (x2apic && (!enabled || !has_x2apic)) || (was_x2apic && enabled && !x2apic) ||
        (!was_enabled && x2apic))
        return exit_fault_code(exit, VECTOR_GP, 0);
    if (wrmsr_safe(MSR_APIC_BASE, value) != 0)
        return exit_fault_code(exit, VECTOR_GP, 0);
    v->dynamic.apic_base = value;
    cpuid_dynamic_settle(&v->dynamic, v->model);
    return EXIT_NEXT;
}

/* Only an enabled set of MTRRs that differs from what the tables were built from changes them:
 * while a guest has them off it has caching off too. */
static enum exit_action write_mtrr(struct vcpu *v, struct exit *exit, uint32_t msr, uint64_t value)
{
    /* A range of a mask without them would be there again for each of their values. */
    const uint64_t also = msr & 1U ? beyond_model(v, msr) : 0;
    if (!mtrr_valid(&v->vm->mtrr, msr, value, v->props.maxphyaddr) ||
        wrmsr_safe(msr, value | also) != 0)
        return exit_fault_code(exit, VECTOR_GP, 0);
    vm_lock(v);
    vm_follow_mtrrs();
    vm_unlock(v);
    if (v->props.vendor == PAGING_AMD)
        paging_flush(v); /* APM vol. 2 §5.5.3 */
    return EXIT_NEXT;
}

enum exit_action msr_write(struct vcpu *v, struct exit *exit)
{
    uint32_t msr = (uint32_t)v->regs.rcx;
    uint64_t value = (v->regs.rdx & UINT32_MAX) << 32 | (v->regs.rax & UINT32_MAX);
    const struct msr_rule *rule = find(v, msr);
    if (rule == NULL)
        return exit_fault_code(exit, VECTOR_GP, 0);
    switch ((enum msr_action)rule->action) {
    case MSR_EFER_RULE:
        if (backend_write_efer(v, value) != 0)
            return exit_fault_code(exit, VECTOR_GP, 0);
        paging_follow(v);
        return EXIT_NEXT;
    case MSR_APIC_BASE_RULE:
        return write_apic_base(v, exit, value);
    case MSR_ICR_RULE:
        return ipi_x2apic_write(v, exit, value);
    case MSR_TSC_RULE:
        if (tsc_write(msr, value) != 0)
            return exit_fault_code(exit, VECTOR_GP, 0);
        xen_follow_tsc(v);
        return EXIT_NEXT;
    case MSR_MTRR_RULE:
        return write_mtrr(v, exit, msr, value);
    case MSR_VIEW_RULE:
        return write_view(v, exit, msr, value);
    case MSR_BANK_RULE:
        return write_bank(v, exit, msr, value);
    case MSR_CONSTANT:
    case MSR_READ_HOST:
        return EXIT_NEXT;
    case MSR_HYPERCALL_PAGE_RULE:
        if (xen_hypercall_page(v, value, backend_in_64bit_code(v)) != 0)
            break;
        return EXIT_NEXT;
    case MSR_XSS_RULE:
        if (value & ~v->rules.xss_allowed)
            break;
        if (wrmsr_safe(msr, value) != 0)
            break;
        v->dynamic.xss = value;
        cpuid_dynamic_resize(&v->dynamic, v->model);
        cpuid_dynamic_settle(&v->dynamic, v->model);
        return EXIT_NEXT;
    case MSR_PASS:
        return wrmsr_safe(msr, value) == 0 ? EXIT_NEXT : exit_fault_code(exit, VECTOR_GP, 0);
    case MSR_PASS_READ:
        break;
    }
    return exit_fault_code(exit, VECTOR_GP, 0);
}
