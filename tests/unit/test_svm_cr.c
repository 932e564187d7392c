/* SPDX-License-Identifier: BSD-2-Clause */
/* SVM's control registers: what a guest may write, what the hardware then has, and what of the
 * instructions that move them an exit has to be made of. */
#include "svm/control_registers.h"
#include "svm/cr_code.h"
#include "tests/unit/unit.h"

#define CR0_PE    (1UL << 0)
#define CR0_TS    (1UL << 3)
#define CR0_WP    (1UL << 16)
#define CR0_NW    (1UL << 29)
#define CR0_CD    (1UL << 30)
#define CR0_PG    (1UL << 31)
#define CR4_PAE   (1UL << 5)
#define CR4_LA57  (1UL << 12)
#define CR4_PCIDE (1UL << 17)
#define CR4_CET   (1UL << 23)
#define EFER_LME  (1UL << 8)
#define EFER_LMA  (1UL << 10)
#define EFER_NXE  (1UL << 11)
#define EFER_SVME (1UL << 12)

#define CR0_BITS  6U
#define CR4_BITS  4U
#define EFER_BITS 2U
static const uint64_t cr0_bit[CR0_BITS] = {CR0_PE, CR0_TS, CR0_WP, CR0_NW, CR0_CD, CR0_PG};
static const uint64_t cr4_bit[CR4_BITS] = {CR4_PAE, CR4_LA57, CR4_PCIDE, CR4_CET};
static const uint64_t efer_bit[EFER_BITS] = {EFER_LME, EFER_NXE};

/* Bits 0.. of *number chosen from `bit`; they are shifted out. */
static uint64_t choose(unsigned int *number, const uint64_t *bit, unsigned int count)
{
    uint64_t value = 0;
    for (unsigned int i = 0; i < count; i++, *number >>= 1)
        value |= *number & 1 ? bit[i] : 0;
    return value;
}

#define STATES (1U << (CR0_BITS + CR4_BITS + EFER_BITS))
static struct control_registers state_of(unsigned int number)
{
    struct control_registers state;
    state.cr0 = choose(&number, cr0_bit, CR0_BITS);
    state.cr4 = choose(&number, cr4_bit, CR4_BITS);
    state.efer = choose(&number, efer_bit, EFER_BITS);
    return control_registers_settle(state);
}

/* States that no CPU can be in: APM vol. 2 §14.6, §3.1.1, §18.11; with PCIDE §5.5.1. */
static bool possible(const struct control_registers *r)
{
    if ((r->cr0 & CR0_PG) && !(r->cr0 & CR0_PE))
        return false;
    if ((r->cr0 & CR0_NW) && !(r->cr0 & CR0_CD))
        return false;
    if ((r->cr4 & CR4_CET) && !(r->cr0 & CR0_WP))
        return false;
    if ((r->cr4 & CR4_PCIDE) && !(r->efer & EFER_LMA))
        return false;
    return !(r->efer & EFER_LMA) || (r->cr4 & CR4_PAE);
}

static void settles(void)
{
    for (unsigned int i = 0; i < STATES; i++) {
        struct control_registers state = state_of(i);
        CHECK_EQ(!!(state.efer & EFER_LMA), (state.cr0 & CR0_PG) && (state.efer & EFER_LME));
        state.efer ^= EFER_LMA;
        CHECK_EQ(control_registers_settle(state).efer, state.efer ^ EFER_LMA);
    }
}

/* From each possible state no write that is let through leads to an impossible one; and none is
 * refused that would not, but for those that depend on more than the state. */
static void writes_keep_states_possible(void)
{
    for (unsigned int i = 0; i < STATES; i++) {
        const struct control_registers now = state_of(i);
        if (!possible(&now))
            continue;
        for (unsigned int j = 0; j < 1U << CR0_BITS; j++) {
            unsigned int number = j;
            struct control_registers new = now;
            new.cr0 = choose(&number, cr0_bit, CR0_BITS);
            new = control_registers_settle(new);
            CHECK_EQ(control_registers_cr0_valid(&now, new.cr0, false), possible(&new));
        }
        for (unsigned int j = 0; j < 1U << CR4_BITS; j++) {
            unsigned int number = j;
            struct control_registers new = now;
            new.cr4 = choose(&number, cr4_bit, CR4_BITS);
            bool la57 = (now.efer & EFER_LMA) && ((now.cr4 ^ new.cr4) & CR4_LA57);
            CHECK_EQ(control_registers_cr4_valid(&now, new.cr4, 0), possible(&new) && !la57);
        }
    }
}

static void refuses_what_depends_on_more(void)
{
    const struct control_registers legacy = {.cr0 = CR0_PE, .cr4 = CR4_PAE, .efer = EFER_LME};
    const struct control_registers wide = {
        .cr0 = CR0_PE | CR0_PG, .cr4 = CR4_PAE, .efer = EFER_LME | EFER_LMA};

    CHECK(!control_registers_cr0_valid(&legacy, CR0_PE | CR0_PG, true));
    CHECK(control_registers_cr0_valid(&legacy, CR0_PE | CR0_PG, false));
    CHECK(!control_registers_cr0_valid(&wide, CR0_PE, true));
    CHECK(control_registers_cr0_valid(&wide, CR0_PE, false));
    CHECK(control_registers_cr0_valid(&wide, CR0_PE | CR0_PG | CR0_TS, true));
    CHECK(!control_registers_cr0_valid(&wide, CR0_PE | CR0_PG | 1UL << 32, false));
    CHECK(!control_registers_cr0_valid(&wide, CR0_PE | CR0_PG | 1UL << 63, false));
    CHECK(control_registers_cr4_valid(&wide, CR4_PAE | CR4_PCIDE, 0x1000));
    CHECK(!control_registers_cr4_valid(&wide, CR4_PAE | CR4_PCIDE, 0x1001));
    CHECK(!control_registers_efer_valid(&wide, EFER_LMA));
    CHECK(control_registers_efer_valid(&wide, EFER_LME | EFER_LMA | EFER_NXE));
    CHECK(control_registers_efer_valid(&legacy, 0));
}

/* VMRUN takes what a possible guest gets (§15.5.1), and only the bits that are forced differ. */
static void hardware(void)
{
    for (unsigned int i = 0; i < STATES * 2; i++) {
        const struct control_registers guest = state_of(i / 2);
        bool shadow = i & 1;
        if (!possible(&guest) || (shadow && !(guest.cr0 & CR0_PG)))
            continue;
        struct control_registers hw = control_registers_hardware(&guest, shadow, false);
        CHECK(hw.efer & EFER_SVME);
        CHECK(!(hw.cr0 & CR0_PG) || (hw.cr0 & CR0_PE));
        CHECK(!(hw.cr0 & CR0_NW) || (hw.cr0 & CR0_CD));
        CHECK(!((hw.cr0 & CR0_PG) && (hw.efer & EFER_LME)) || (hw.cr4 & CR4_PAE));
        CHECK_EQ(!!(hw.efer & EFER_LMA), (hw.cr0 & CR0_PG) && (hw.efer & EFER_LME));
        CHECK_EQ((hw.cr0 ^ guest.cr0) & ~(shadow ? CR0_WP : 0), 0);
        CHECK_EQ((hw.cr4 ^ guest.cr4) & ~(shadow ? CR4_PAE : 0), 0);
        CHECK_EQ((hw.efer ^ guest.efer) & ~(shadow ? EFER_SVME | EFER_NXE : EFER_SVME), 0);
        if (shadow)
            CHECK((hw.cr0 & CR0_WP) && (hw.cr4 & CR4_PAE) && (hw.efer & EFER_NXE));
    }
}

/* With shadow tables MOV to a control register faults by the hardware's registers before it is
 * intercepted (§15.9, table 15-7): not where the guest's own would not. CR3's bit 63 may be set where
 * CR4.PCIDE is (§5.5.1). */
static void no_fault_of_its_own_before_the_intercept(void)
{
    for (unsigned int i = 0; i < STATES; i++) {
        const struct control_registers guest = state_of(i);
        if (!possible(&guest) || !(guest.cr0 & CR0_PG))
            continue;
        const struct control_registers hw = control_registers_hardware(&guest, true, false);
        CHECK(!(guest.cr4 & CR4_PCIDE) || (hw.cr4 & CR4_PCIDE));
        for (unsigned int j = 0; j < 1U << CR0_BITS; j++) {
            unsigned int number = j;
            uint64_t cr0 = choose(&number, cr0_bit, CR0_BITS);
            CHECK(!control_registers_cr0_valid(&guest, cr0, false) ||
                  control_registers_cr0_valid(&hw, cr0, false));
        }
        for (unsigned int j = 0; j < 1U << CR4_BITS; j++) {
            unsigned int number = j;
            uint64_t cr4 = choose(&number, cr4_bit, CR4_BITS);
            CHECK(!control_registers_cr4_valid(&guest, cr4, 0) ||
                  control_registers_cr4_valid(&hw, cr4, 0));
        }
    }
}

static void pae_mode(void)
{
    struct control_registers pae = {.cr0 = CR0_PE | CR0_PG, .cr4 = CR4_PAE};
    CHECK(control_registers_pae(&pae));
    pae.cr4 = 0;
    CHECK(!control_registers_pae(&pae));
    pae = (struct control_registers){.cr0 = CR0_PE, .cr4 = CR4_PAE};
    CHECK(!control_registers_pae(&pae));
    pae = (struct control_registers){
        .cr0 = CR0_PE | CR0_PG, .cr4 = CR4_PAE, .efer = EFER_LME | EFER_LMA};
    CHECK(!control_registers_pae(&pae));
}

static const uint64_t gprs[16] = {[3] = 0x1122334455667788UL, [9] = 0xfedcba9876543210UL};
#define GUEST_CR0 (CR0_PE | CR0_PG | CR0_TS)

struct decoded {
    const char *name;
    uint8_t bytes[8];
    enum insn_mode mode;
    enum exit_kind kind;
    enum cr_code outcome;
    uint8_t cr;
    uint8_t gpr, size; /* of a read */
    uint64_t value;    /* of a write */
};

/* clang-format off */
static const struct decoded table[] = {
    {"mov %rbx, %cr3", {0x0f, 0x22, 0xdb}, INSN_MODE_64, EXIT_CR_WRITE, CR_CODE_DECODED, .cr = 3,
     .value = 0x1122334455667788UL},
    {"mov %ebx, %cr3", {0x0f, 0x22, 0xdb}, INSN_MODE_32, EXIT_CR_WRITE, CR_CODE_DECODED, .cr = 3,
     .value = 0x55667788UL},
    {"mov %r9, %cr0", {0x41, 0x0f, 0x22, 0xc1}, INSN_MODE_64, EXIT_CR_WRITE, CR_CODE_DECODED,
     .cr = 0, .value = 0xfedcba9876543210UL},
    {"mov %cr3, %r9", {0x41, 0x0f, 0x20, 0xd9}, INSN_MODE_64, EXIT_CR_READ, CR_CODE_DECODED,
     .cr = 3, .gpr = 9, .size = 8},
    {"mov %cr4, %ebx", {0x0f, 0x20, 0xe3}, INSN_MODE_16, EXIT_CR_READ, CR_CODE_DECODED, .cr = 4,
     .gpr = 3, .size = 4},
    {"smsw %bx", {0x0f, 0x01, 0xe3}, INSN_MODE_16, EXIT_CR_READ, CR_CODE_DECODED, .cr = 0,
     .gpr = 3, .size = 2},
    {"smsw %ebx", {0x0f, 0x01, 0xe3}, INSN_MODE_32, EXIT_CR_READ, CR_CODE_DECODED, .cr = 0,
     .gpr = 3, .size = 4},
    {"smsw %rbx", {0x48, 0x0f, 0x01, 0xe3}, INSN_MODE_64, EXIT_CR_READ, CR_CODE_DECODED, .cr = 0,
     .gpr = 3, .size = 8},
    {"smsw (%rbx)", {0x0f, 0x01, 0x23}, INSN_MODE_64, EXIT_CR_READ, CR_CODE_STEP_MSW, .cr = 0},
    {"lmsw %bx", {0x0f, 0x01, 0xf3}, INSN_MODE_16, EXIT_CR_WRITE, CR_CODE_STEP_MSW, .cr = 0},
    {"lmsw (%rbx)", {0x0f, 0x01, 0x33}, INSN_MODE_64, EXIT_CR_WRITE, CR_CODE_STEP_MSW, .cr = 0},
    {"clts", {0x0f, 0x06}, INSN_MODE_64, EXIT_CR_WRITE, CR_CODE_DECODED, .cr = 0,
     .value = GUEST_CR0 & ~CR0_TS},
    /* What the guest may have put there between the exit and the look at it. */
    {"mov to another cr", {0x0f, 0x22, 0xdb}, INSN_MODE_64, EXIT_CR_WRITE, CR_CODE_OTHER, .cr = 4},
    {"mov from another cr", {0x0f, 0x20, 0xdb}, INSN_MODE_64, EXIT_CR_READ, CR_CODE_OTHER, .cr = 0},
    {"a write for a read", {0x0f, 0x22, 0xdb}, INSN_MODE_64, EXIT_CR_READ, CR_CODE_OTHER, .cr = 3},
    {"a read for a write", {0x0f, 0x20, 0xdb}, INSN_MODE_64, EXIT_CR_WRITE, CR_CODE_OTHER, .cr = 3},
    {"clts for cr4", {0x0f, 0x06}, INSN_MODE_64, EXIT_CR_WRITE, CR_CODE_OTHER, .cr = 4},
    {"lmsw for cr3", {0x0f, 0x01, 0xf3}, INSN_MODE_32, EXIT_CR_WRITE, CR_CODE_OTHER, .cr = 3},
    {"lmsw for a read", {0x0f, 0x01, 0xf3}, INSN_MODE_32, EXIT_CR_READ, CR_CODE_OTHER, .cr = 0},
    {"smsw for cr4", {0x0f, 0x01, 0xe3}, INSN_MODE_32, EXIT_CR_READ, CR_CODE_OTHER, .cr = 4},
    {"lock mov %ebx, %cr0", {0xf0, 0x0f, 0x22, 0xc3}, INSN_MODE_32, EXIT_CR_WRITE,
     CR_CODE_OTHER, .cr = 0},
    {"cpuid", {0x0f, 0xa2}, INSN_MODE_32, EXIT_CR_READ, CR_CODE_OTHER, .cr = 0},
};
/* clang-format on */

static void decodes(void)
{
    for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
        const struct decoded *row = &table[i];
        struct exit exit = {.kind = row->kind, .cr = {.cr = row->cr}};
        struct insn insn;

        CHECK_EQ(insn_decode(row->bytes, sizeof(row->bytes), row->mode, &insn), 0);
        enum cr_code outcome =
            cr_code_decode(&insn, gprs, GUEST_CR0, row->mode == INSN_MODE_64, &exit);
        if (outcome != row->outcome)
            printf("# %s\n", row->name);
        CHECK_EQ(outcome, row->outcome);
        if (outcome != CR_CODE_DECODED)
            continue;
        CHECK_EQ(exit.cr.value, row->value);
        CHECK_EQ(exit.cr.gpr, row->gpr);
        CHECK_EQ(exit.cr.size, row->size);
    }
}

int main(void)
{
    RUN(settles);
    RUN(writes_keep_states_possible);
    RUN(refuses_what_depends_on_more);
    RUN(hardware);
    RUN(no_fault_of_its_own_before_the_intercept);
    RUN(pae_mode);
    RUN(decodes);
    return unit_end();
}
