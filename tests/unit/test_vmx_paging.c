/* SPDX-License-Identifier: BSD-2-Clause */
/* What each way to enforce the guest's paging asks of the VMCS, against what follows from it. */
#include "tests/unit/unit.h"
#include "vmx/paging.h"

static const enum vcpu_paging all[] = {PAGED_DIRECT, PAGED_NARROW, PAGED_SHADOW};
#define WAYS (sizeof(all) / sizeof(all[0]))

/* A bit that differs in hardware from what the guest wrote must be Latch's: the guest would read the
 * hardware's otherwise, and write it without an exit. NE and VMXE are in each mask anyway. */
static void forced_bits_are_owned(void)
{
    for (unsigned int i = 0; i < WAYS; i++) {
        for (unsigned int bit = 0; bit < 64; bit++) {
            uint64_t one = 1UL << bit;
            uint64_t cr0 = paging_hardware_cr0(all[i], 0) | ~paging_hardware_cr0(all[i], ~0UL);
            uint64_t cr4 = paging_hardware_cr4(all[i], 0) | ~paging_hardware_cr4(all[i], ~0UL);
            CHECK(!(cr0 & one) || ((paging_owned_cr0(all[i]) | CR0_NE) & one));
            CHECK(!(cr4 & one) || ((paging_owned_cr4(all[i]) | CR4_VMXE) & one));
        }
    }
}

/* Without an exit the CPU checks PDPTEs by its own MAXPHYADDR, or loads them from Latch's tables. */
static void loads_of_pdptes_exit(void)
{
    const uint64_t cr0 = CR0_PG | CR0_CD | CR0_NW, cr4 = CR4_PAE | CR4_PGE | CR4_PSE | CR4_SMEP;
    for (unsigned int i = 1; i < WAYS; i++) {
        CHECK_EQ(paging_owned_cr0(all[i]) & cr0, cr0);
        CHECK_EQ(paging_owned_cr4(all[i]) & cr4, cr4);
        CHECK(paging_controls(all[i], false) & PROC_CR3_LOAD_EXITING);
    }
    CHECK_EQ(paging_owned_cr0(PAGED_DIRECT), 0);
    CHECK_EQ(paging_owned_cr4(PAGED_DIRECT), 0);
    CHECK_EQ(paging_controls(PAGED_DIRECT, false), 0);
    CHECK_EQ(paging_controls(PAGED_DIRECT, true), PROC_CR3_LOAD_EXITING);
}

/* All that a shadow page's role depends on, and what the guest must not see of Latch's CR3. */
static void shadow_sees_each_change(void)
{
    const uint64_t cr4 = CR4_PSE | CR4_PAE | CR4_PGE | CR4_LA57 | CR4_PCIDE | CR4_SMEP | CR4_SMAP |
                         CR4_PKE | CPU_CR4_PKS;
    CHECK_EQ(paging_owned_cr0(PAGED_SHADOW) & (CR0_PG | CR0_WP), CR0_PG | CR0_WP);
    CHECK_EQ(paging_owned_cr4(PAGED_SHADOW) & cr4, cr4);
    CHECK_EQ(paging_controls(PAGED_SHADOW, false),
             PROC_CR3_LOAD_EXITING | PROC_CR3_STORE_EXITING | PROC_INVLPG_EXITING);
}

static void shadow_forces_what_its_tables_need(void)
{
    CHECK_EQ(paging_hardware_cr0(PAGED_SHADOW, CR0_PE), CR0_PE | CR0_NE | CR0_WP);
    CHECK_EQ(paging_hardware_cr4(PAGED_SHADOW, CR4_PCIDE | CR4_LA57),
             CR4_LA57 | CR4_VMXE | CR4_PAE);
    CHECK_EQ(paging_hardware_efer(PAGED_SHADOW, EFER_LME), EFER_LME | EFER_NXE);
    CHECK_EQ(paging_hardware_cr0(PAGED_DIRECT, CR0_PE), CR0_PE | CR0_NE);
    CHECK_EQ(paging_hardware_cr4(PAGED_NARROW, CR4_PCIDE), CR4_PCIDE | CR4_VMXE);
    CHECK_EQ(paging_hardware_efer(PAGED_NARROW, EFER_LME), EFER_LME);
}

/* Whether a #PF with this error code exits, as SDM vol. 3 §26.2 has it. */
static bool exits(enum vcpu_paging paging, uint32_t code)
{
    struct paging_filter filter = paging_filter(paging);
    return filter.exits == ((code & filter.mask) == filter.match);
}

static void page_faults_are_filtered(void)
{
    for (uint32_t code = 0; code < 0x10000; code++) {
        bool rights = (code & 1) && !(code & 8);
        CHECK_EQ(exits(PAGED_NARROW, code), rights);
        CHECK(exits(PAGED_SHADOW, code));
        CHECK(!exits(PAGED_DIRECT, code));
    }
}

int main(void)
{
    RUN(forced_bits_are_owned);
    RUN(loads_of_pdptes_exit);
    RUN(shadow_sees_each_change);
    RUN(shadow_forces_what_its_tables_need);
    RUN(page_faults_are_filtered);
    return unit_end();
}
