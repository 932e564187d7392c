/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What an access was to for which the CPU walked the guest's tables, the exit of a violation in the
 * walk does not say. So the guest tries once more with zeros where the table would be, an entry
 * that is not present, and the CPU raises the #PF with the right error code. Until then all #PFs
 * exit, on EPT tables of this vCPU's own; and the monitor trap flag (SDM vol. 3 §26.5.2) ends it
 * after one instruction, or one event's delivery, in any case.
 */
#include "kernel/memory.h"
#include "vmx/controls.h"
#include "vmx/paging.h"
#include "vmx/vcpu.h"
#include "vmx/vmcs.h"
#include "vmx/vmx.h"
#include <string.h>

#define ENTRIES    512U
#define LEVELS_MAX 5U

/* EPT entries: SDM vol. 3 tables 29-1 to 29-7. */
#define EPT_READ    1UL
#define EPT_RIGHTS  7UL
#define EPT_LEAF    (1UL << 7)
#define EPT_WB      (6UL << 3)
#define EPT_ADDRESS 0x000ffffffffff000UL

/* Level 0: the zeros. */
static hpa_t page_of(const struct vmx_vcpu *vmx, unsigned int level)
{
    return hpa(vmx->probe.raw + (uint64_t)level * PAGE_SIZE);
}

static const uint64_t *table_below(const uint64_t *table, unsigned int index)
{
    if (table == NULL || !(table[index] & EPT_RIGHTS) || (table[index] & EPT_LEAF))
        return NULL;
    return memory_at(hpa(table[index] & EPT_ADDRESS));
}

/* A copy of `original`, or an empty table, that leads to the one below on the way to `address`. */
static const uint64_t *copy_table(const struct vmx_vcpu *vmx, unsigned int level, gpa_t address,
                                  const uint64_t *original)
{
    uint64_t *table = memory_at(page_of(vmx, level));
    unsigned int index = address.raw >> (PAGE_SHIFT + 9U * (level - 1U)) & (ENTRIES - 1U);
    if (original != NULL)
        memcpy(table, original, PAGE_SIZE);
    else
        memset(table, 0, PAGE_SIZE);
    const uint64_t *below = table_below(original, index);
    table[index] = page_of(vmx, level - 1U).raw | (level == 1 ? EPT_READ | EPT_WB : EPT_RIGHTS);
    return below;
}

/* Beyond the reach of the shared tables theirs are below the first entry. */
static unsigned int build(const struct vmx_vcpu *vmx, gpa_t address)
{
    const uint64_t shared = vmx->eptp & EPT_ADDRESS;
    const uint64_t *original = memory_at(hpa(shared));
    const bool far = vmx->levels < LEVELS_MAX && address.raw >> (PAGE_SHIFT + 9U * vmx->levels);
    if (far) {
        copy_table(vmx, LEVELS_MAX, address, NULL);
        *(uint64_t *)memory_at(page_of(vmx, LEVELS_MAX)) = shared | EPT_RIGHTS;
        original = NULL;
    }
    for (unsigned int level = vmx->levels; level >= 1; level--)
        original = copy_table(vmx, level, address, original);
    return far ? LEVELS_MAX : vmx->levels;
}

static void set_filter(bool all, const struct paging_filter *filter)
{
    vmwrite32(VMCS_PF_ERROR_CODE_MASK, all ? 0 : filter->mask);
    vmwrite32(VMCS_PF_ERROR_CODE_MATCH, all ? 0 : filter->match);
}

static void switch_probe(struct vcpu *v, bool on, uint64_t eptp)
{
    const struct paging_filter filter = paging_filter(v->paging);
    uint32_t controls = vmread32(VMCS_PROC_CONTROLS) & ~PROC_MONITOR_TRAP;
    set_filter(on, &filter);
    vmwrite32(VMCS_PROC_CONTROLS, on ? controls | PROC_MONITOR_TRAP : controls);
    vmwrite64(VMCS_EPT_POINTER, eptp);
    vmx_of(v)->probing = on;
}

void vmx_probe(struct vcpu *v, gpa_t address)
{
    struct vmx_vcpu *vmx = vmx_of(v);
    unsigned int top = build(vmx, address);
    uint64_t eptp = vmx_eptp_of_levels(page_of(vmx, top), top);
    vmx_flush_eptp(vmx, eptp);
    switch_probe(v, true, eptp);
}

void vmx_end_probe(struct vcpu *v)
{
    if (vmx_of(v)->probing)
        switch_probe(v, false, vmx_of(v)->eptp);
}
