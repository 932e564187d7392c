/* SPDX-License-Identifier: BSD-2-Clause */
#include "tests/guest/lib/probe.h"

#include <stdio.h>
#include <string.h>

extern const uint8_t probe[], probe_found[], probe_linger[], probe_end[];

volatile struct probe *probe_copy(void)
{
    memcpy((void *)PROBE_BASE, probe, (size_t)(probe_end - probe));
    return (void *)(PROBE_BASE + (size_t)(probe_found - probe));
}

bool probe_start(unsigned int index, struct probe *found)
{
    volatile const struct probe *there = probe_copy();
    bool started = processor_start_at(index, PROBE_BASE >> 12);
    memcpy(found, (const void *)there, sizeof(*found));
    return started;
}

void probe_linger_in(enum probe_mode mode, uint32_t cr3, uint32_t cr4, enum probe_last last)
{
    uint64_t entry = PROBE_BASE + (size_t)(probe_linger - probe);
    ((void (*)(enum probe_mode, uint32_t, uint32_t, enum probe_last))entry)(mode, cr3, cr4, last);
    __builtin_unreachable();
}

bool probe_differs(const char *name, const char *what, uint64_t wanted, uint64_t found)
{
    char text[80];
    if (wanted == found)
        return false;
    snprintf(text, sizeof(text), "%s.%s", name, what);
    return !check_equal(text, wanted, found);
}

static unsigned int compare_apic(const char *name, const struct probe *found, bool x2apic)
{
    unsigned int wrong = 0;
    static const char *const lvt[] = {"timer", "thermal", "performance", "lint0", "lint1", "error"};
    wrong += probe_differs(name, "apic.tpr", 0, found->apic[PROBE_TPR]);
    if (!x2apic)
        wrong += probe_differs(name, "apic.ldr", 0, found->apic[PROBE_LDR]);
    wrong += probe_differs(name, "apic.svr", 0xff, found->apic[PROBE_SVR]);
    for (unsigned int i = 0; i < 6; i++)
        wrong += probe_differs(name, lvt[i], LVT_MASKED, found->apic[PROBE_LVT + i]);
    wrong += probe_differs(name, "apic.timer-count", 0, found->apic[PROBE_TIMER_COUNT]);
    wrong += probe_differs(name, "apic.timer-now", 0, found->apic[PROBE_TIMER_NOW]);
    wrong += probe_differs(name, "apic.timer-divide", 0, found->apic[PROBE_TIMER_DIVIDE]);
    wrong += probe_differs(name, "apic.esr", 0, found->apic[PROBE_ESR]);
    for (unsigned int i = 0; i < 8; i++) {
        wrong += probe_differs(name, "apic.in-service", 0, found->apic[PROBE_ISR + i]);
        wrong += probe_differs(name, "apic.requested", 0, found->apic[PROBE_IRR + i]);
    }
    wrong += probe_differs(name, "apic.mode", x2apic, found->apic_base >> 10 & 1);
    return wrong;
}

static unsigned int compare_segments(const char *name, const struct probe *found)
{
    unsigned int wrong = 0;
    static const char *const segment[] = {"es", "cs", "ss", "ds", "fs", "gs"};
    for (unsigned int i = 0; i < PROBE_SEGMENTS; i++) {
        wrong += probe_differs(name, segment[i], i == 1 ? PROBE_BASE >> 4 : 0, found->selector[i]);
        wrong += probe_differs(name, segment[i], PROBE_MARK, found->mark[i]);
    }
    wrong += probe_differs(name, "limits", boot_word("unchecked-limits", NULL) ? 0 : PROBE_SEGMENTS,
                           found->limits);
    wrong += probe_differs(name, "fs-base", 0, found->fs_base);
    wrong += probe_differs(name, "gs-base", 0, found->gs_base);
    wrong += probe_differs(name, "gdtr.limit", 0xffff, found->gdtr.limit);
    wrong += probe_differs(name, "gdtr.base", 0, found->gdtr.base);
    wrong += probe_differs(name, "idtr.limit", 0xffff, found->idtr.limit);
    wrong += probe_differs(name, "idtr.base", 0, found->idtr.base);
    wrong += probe_differs(name, "ldtr", 0, found->ldtr);
    wrong += probe_differs(name, "ldtr.base", PROBE_LDT_MARK, found->ldt_mark);
    wrong += probe_differs(name, "tr", 0, found->tr);
    return wrong;
}

static unsigned int compare_registers(const char *name, const struct probe *found)
{
    unsigned int wrong = 0;
    static const char *const gpr[] = {"eax", "ecx", "edx", "ebx", "esp", "ebp", "esi", "edi"};
    static const uint32_t dr[] = {0, 0, 0, 0, DR6_RESET, DR7_RESET};
    static const char *const dr_name[] = {"dr0", "dr1", "dr2", "dr3", "dr6", "dr7"};
    uint32_t signature, b, c, d;
    cpuid_raw(1, 0, &signature, &b, &c, &d);
    for (unsigned int i = 0; i < 8; i++)
        wrong += probe_differs(name, gpr[i], i == 2 ? signature : 0, found->gpr[i]);
    wrong += probe_differs(name, "eflags", RFLAGS_FIXED1, found->eflags);
    wrong += probe_differs(name, "cr2", 0, found->cr[1]);
    wrong += probe_differs(name, "cr3", 0, found->cr[2]);
    wrong += probe_differs(name, "cr4", 0, found->cr[3]);
    wrong += probe_differs(name, "efer", 0, found->efer);
    for (unsigned int i = 0; i < 6; i++)
        wrong += probe_differs(name, dr_name[i], dr[i], found->dr[i]);
    return wrong;
}

unsigned int probe_compare(const char *name, const struct probe *found, bool x2apic)
{
    return compare_registers(name, found) + compare_segments(name, found) +
           compare_apic(name, found, x2apic);
}
