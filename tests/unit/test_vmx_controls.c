/* SPDX-License-Identifier: BSD-2-Clause */
/* Capability MSRs bit by bit; the values are those of a Skylake-X and of a CPU without TRUE MSRs. */
#include "cpuid/rules.h"
#include "tests/unit/unit.h"
#include "vmx/controls.h"
#include "vmx/vmcs.h"

#include <string.h>

#define PIN            0x0000007f00000016UL
#define PROC_OLD       0xf7f9fffe0401e172UL
#define PROC_TRUE      0xf7f9fffe04006172UL
#define PROC2_ALLOWED1 0x02177fffU
#define EXIT_TRUE      0x007fffff00036dfbUL
#define ENTRY_TRUE     0x0000ffff000011fbUL

/* Whatever the MSR and the wish, bit by bit: SDM vol. 3 appendix A.3.1. */
static void adjust_each_bit(void)
{
    for (unsigned int bit = 0; bit < 32; bit++) {
        for (unsigned int allowed0 = 0; allowed0 < 2; allowed0++) {
            for (unsigned int allowed1 = allowed0; allowed1 < 2; allowed1++) {
                for (unsigned int want = 0; want < 2; want++) {
                    uint64_t msr = (uint64_t)allowed1 << (32 + bit) | (uint64_t)allowed0 << bit;
                    uint32_t missing;
                    uint32_t value = control_adjust(want << bit, msr, &missing);
                    CHECK_EQ(value, (uint32_t)((want && allowed1) || allowed0) << bit);
                    CHECK_EQ(missing, (uint32_t)(want && !allowed1) << bit);
                }
            }
        }
    }
}

static void skylake_has_all_that_is_required(void)
{
    uint32_t missing;
    CHECK_EQ(control_adjust(control_required(WORD_PIN), PIN, &missing), 0x3e);
    CHECK_EQ(missing, 0);
    CHECK_EQ(control_adjust(control_required(WORD_PROC), PROC_TRUE, &missing), 0x96006972);
    CHECK_EQ(missing, 0);
    CHECK_EQ(control_required(WORD_PROC2) & ~PROC2_ALLOWED1, 0);
    CHECK_EQ(control_adjust(control_required(WORD_EXIT), EXIT_TRUE, &missing), 0x003f6fff);
    CHECK_EQ(missing, 0);
    CHECK_EQ(control_adjust(control_required(WORD_ENTRY), ENTRY_TRUE, &missing), 0xd1ff);
    CHECK_EQ(missing, 0);
}

static void forced_intercepts_are_found(void)
{
    CHECK_EQ(control_forbidden(WORD_PROC, PROC_TRUE), 0);
    CHECK_EQ(control_forbidden(WORD_PROC, PROC_OLD),
             PROC_CR3_LOAD_EXITING | PROC_CR3_STORE_EXITING);
    CHECK_EQ(control_forbidden(WORD_PIN, PIN), 0);
    CHECK_EQ(control_forbidden(WORD_PIN, PIN | PIN_INTERRUPT_EXITING), PIN_INTERRUPT_EXITING);
}

static void a_missing_control_is_named(void)
{
    CHECK(strcmp(control_name(WORD_PROC2, PROC2_UNRESTRICTED_GUEST), "unrestricted guest") == 0);
    CHECK(strcmp(control_name(WORD_PROC2, PROC2_WAITPKG), "enable user wait and pause") == 0);
    CHECK(strcmp(control_name(WORD_PIN, 1U << 31), "reserved") == 0);
    for (unsigned int i = 0; i < CONTROLS_WANTED; i++)
        CHECK(controls_wanted[i].name && __builtin_popcount(controls_wanted[i].bit) == 1);
}

/* A model's instruction is enabled even where the CPU then turns out not to have the control. */
static void instructions_follow_the_model(void)
{
    uint32_t all = (1U << INSTRUCTION_GROUPS) - 1U;
    CHECK_EQ(control_instructions2(all, 0),
             PROC2_RDTSCP | PROC2_INVPCID | PROC2_XSAVES | PROC2_WAITPKG | PROC2_PCONFIG);
    CHECK_EQ(control_instructions2(0, PROC2_ALLOWED1), PROC2_RDRAND_EXITING | PROC2_RDSEED_EXITING);
    CHECK_EQ(control_instructions2(0, UINT32_MAX),
             PROC2_RDRAND_EXITING | PROC2_RDSEED_EXITING | PROC2_ENCLS_EXITING);
    CHECK_EQ(control_instructions(0, UINT32_MAX),
             PROC_MONITOR_EXITING | PROC_MWAIT_EXITING | PROC_RDTSC_EXITING);
    CHECK_EQ(control_instructions(1U << INSTRUCTION_MONITOR | 1U << INSTRUCTION_RDTSC, UINT32_MAX),
             0);
}

/* A hidden instruction whose intercept the CPU lacks is told, and none that faults. */
static void what_no_control_hides_is_told(void)
{
    const uint32_t all = (1U << INSTRUCTION_GROUPS) - 1U, rdpid = 1U << INSTRUCTION_RDPID;
    const uint32_t exiting = 1U << INSTRUCTION_RDTSC | 1U << INSTRUCTION_MONITOR |
                             1U << INSTRUCTION_RDRAND | 1U << INSTRUCTION_RDSEED |
                             1U << INSTRUCTION_ENCLS;
    CHECK_EQ(control_unenforced(all, 0, UINT32_MAX, UINT32_MAX), 0);
    CHECK_EQ(control_unenforced(all, 0, 0, 0), exiting);
    CHECK_EQ(control_unenforced(1U << INSTRUCTION_RDSEED, 0, UINT32_MAX, 0),
             1U << INSTRUCTION_RDSEED);
    CHECK_EQ(control_unenforced(all, 0, UINT32_MAX, PROC2_ALLOWED1), 1U << INSTRUCTION_ENCLS);
    CHECK_EQ(control_unenforced(all, 0, UINT32_MAX & ~PROC_MWAIT_EXITING, UINT32_MAX),
             1U << INSTRUCTION_MONITOR);
    CHECK_EQ(control_unenforced(rdpid, 1U << INSTRUCTION_RDTSCP, UINT32_MAX, UINT32_MAX), rdpid);
    CHECK_EQ(control_unenforced(0, 1U << INSTRUCTION_RDTSCP, 0, 0), 0);
}

#define ENCODING(name, number, width) (number),
static void fields_are_distinct(void)
{
    static const uint32_t encodings[] = {VMCS_FIELDS(ENCODING)};
    const unsigned int count = sizeof(encodings) / sizeof(encodings[0]);
    for (unsigned int i = 0; i < count; i++) {
        CHECK_EQ(encodings[i] & 1U, 0);
        for (unsigned int j = 0; j < i; j++)
            CHECK(encodings[i] != encodings[j]);
    }
}

/* Only a locked register without bit 2 keeps VMXON from working: bit 1 is for SMX. */
static void firmware_lock_is_refused(void)
{
    for (uint64_t value = 0; value < 8; value++)
        CHECK_EQ(feature_control_allows(value), value != 1 && value != 3);
}

/* IA32_TME_ACTIVATE: encryption with one key takes no address bits, and what else the MSR says (policy,
 * key save, TDX's share of the KeyIDs, algorithms) does not count. */
static void key_ids_are_counted(void)
{
    CHECK_EQ(tme_key_id_bits(0), 0);
    CHECK_EQ(tme_key_id_bits(0x3), 0);
    CHECK_EQ(tme_key_id_bits(0x0001000600000003), 6);
    CHECK_EQ(tme_key_id_bits(0xffff000f80000003), 15);
    CHECK_EQ(tme_key_id_bits(0x0001004600000003), 6);
    CHECK_EQ(tme_key_id_bits(0x0001000100000002), 1);
    CHECK_EQ(tme_key_id_bits(0x0001000600000001), 0); /* not enabled */
    CHECK_EQ(tme_key_id_bits(0xfffffff0ffffffff), 0);
}

int main(void)
{
    RUN(firmware_lock_is_refused);
    RUN(adjust_each_bit);
    RUN(skylake_has_all_that_is_required);
    RUN(forced_intercepts_are_found);
    RUN(a_missing_control_is_named);
    RUN(instructions_follow_the_model);
    RUN(what_no_control_hides_is_told);
    RUN(fields_are_distinct);
    RUN(key_ids_are_counted);
    return unit_end();
}
