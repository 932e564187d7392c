/* SPDX-License-Identifier: BSD-2-Clause */
#include "tests/guest/lib/runtime.h"
#include "tests/guest/paging/paging.h"

#include <string.h>

#define LEGACY_BASE      0x30000UL
#define VECTOR_DONE      0x80U
#define LEGACY_USER_CODE 0x23U
#define LEGACY_USER_DATA 0x2bU
#define STUB_STEP        16U /* from one access's code to the next's */
#define STUB_PORT        0x80U
#define CALL_LENGTH      5U
#define SELECTOR_LDT     (SELECTOR_TSS + 16U * (PROCESSORS_MAX - 1U)) /* the last processor's */
#define STACK_SIZE       4096U

extern uint8_t legacy_blob[], legacy_entry[], legacy_stub[], legacy_blob_end[];
void attempt_enter(const uint64_t frame[5], uint64_t linear, uint64_t value, uint64_t *saved);

/* The beginning of legacy_blob. */
struct area {
    uint32_t switch_only, first_cr3, cr0, cr3, cr4, efer;
    uint32_t frame[5]; /* EIP, CS, EFLAGS, ESP, SS */
    uint32_t edi, esi;
    uint32_t pdpte_place, pdpte[2], change_cr4, change[2], invalidate;
    uint32_t vector, error, cr2, eax;
    uint32_t seen_cr0, seen_cr4;
    uint32_t back_cr0, back_cr3, back_cr4, back_efer;
};

static uint8_t stacks[PROCESSORS_MAX][STACK_SIZE] __attribute__((aligned(16)));
static uint32_t value_read[PROCESSORS_MAX];
static uint32_t runtime_efer; /* as RDMSR and WRMSR exit, it is read once */

/* INT 80H of the code that accessed: the value that it read is in EAX. */
static void done(struct frame *frame)
{
    struct processor *here = this_processor();
    value_read[here->index] = (uint32_t)frame->rax;
    ring3_leave(&here->ring3_saved);
}

void attempt_init(void)
{
    memcpy(at(LEGACY_BASE), legacy_blob, (size_t)(legacy_blob_end - legacy_blob));
    set_handler(VECTOR_DONE, done);
    runtime_efer = (uint32_t)(rdmsr(MSR_EFER) & ~EFER_LMA);
}

uint64_t stub_page(void)
{
    return LEGACY_BASE + (uint64_t)(legacy_stub - legacy_blob);
}

/* The offset of the code that makes such an access; a fetch goes to the address itself. */
static uint64_t stub_offset(enum form form, unsigned int access)
{
    if (form != FORM_MOV)
        return (1UL + form) * STUB_STEP;
    return access & REFERENCE_WRITE ? STUB_STEP : 0;
}

uint32_t attempt_stores(enum form form, uint32_t value)
{
    if (form == FORM_CALL)
        return (uint32_t)(STUB_LINEAR_LONG + stub_offset(form, 0) + CALL_LENGTH);
    if (form == FORM_INS)
        __asm__ volatile("inl %w1, %0" : "=a"(value) : "d"(STUB_PORT));
    if (form == FORM_DS)
        return DATA_DPL3 | DESCRIPTOR_A;
    return value;
}

/* An LDT at a linear address, or none at 0. SDM vol. 3 §3.5.2. */
static void load_ldt(uint64_t base)
{
    struct {
        uint16_t limit;
        uint64_t base;
    } __attribute__((packed)) gdt;
    __asm__ volatile("sgdt %0" : "=m"(gdt));
    volatile uint64_t *descriptor = at(gdt.base + SELECTOR_LDT);
    descriptor[0] = 15UL | (base & 0xffffffUL) << 16 | 0x82UL << 40 | (base >> 24 & 0xffUL) << 56;
    descriptor[1] = base >> 32;
    __asm__ volatile("lldt %w0" : : "r"(base != 0 ? SELECTOR_LDT : 0) : "memory");
}

static bool uses_ldt(enum form form)
{
    return form == FORM_LAR || form == FORM_DS;
}

struct request {
    enum form form;
    const struct reference_cpu *cpu;
    uint64_t linear;
    unsigned int access;
    uint32_t value;
};

static void enter(void *argument)
{
    const struct request *r = argument;
    struct processor *here = this_processor();
    bool user = (r->access & REFERENCE_USER) || uses_ldt(r->form);
    bool pushes = r->form == FORM_PUSH || r->form == FORM_CALL;
    uint64_t stub = (user ? STUB_LINEAR_LONG : stub_page()) + stub_offset(r->form, r->access);
    uint64_t stack = pushes ? r->linear + 8U : (uint64_t)stacks[here->index] + STACK_SIZE;
    const uint64_t frame[5] = {
        r->access & REFERENCE_FETCH ? r->linear : stub, user ? SELECTOR_USER_CODE : SELECTOR_CODE64,
        RFLAGS_FIXED1 | (r->cpu->ac ? RFLAGS_AC : 0),   stack,
        user ? SELECTOR_USER_DATA : SELECTOR_DATA,
    };
    attempt_enter(frame, r->linear, r->value, &here->ring3_saved);
}

struct outcome attempt_by(enum form form, const struct reference_cpu *cpu, uint64_t linear,
                          unsigned int access, uint32_t value)
{
    struct request request = {form, cpu, linear, access, value};
    struct outcome found = {.error_code = 0, .cr2 = 0};
    if (form == FORM_MOVS)
        *(volatile uint32_t *)at(stub_page() + STUB_DATA) = value;
    if (uses_ldt(form))
        load_ldt(linear & ~7UL);
    found.vector = fault_of(enter, &request, &found.error_code, &found.cr2);
    if (found.vector == NO_FAULT && (access & REFERENCE_READ))
        found.value = value_read[this_processor()->index];
    if (uses_ldt(form))
        load_ldt(0);
    if (found.vector != VECTOR_PF)
        found.cr2 = 0;
    return found;
}

struct outcome attempt(const struct reference_cpu *cpu, uint64_t linear, unsigned int access,
                       uint32_t value)
{
    return attempt_by(FORM_MOV, cpu, linear, access, value);
}

static void run_legacy(void)
{
    uint64_t entry = LEGACY_BASE + (uint64_t)(legacy_entry - legacy_blob);
    ((void (*)(void))at(entry))();
    processor_load_tables(0);
}

static struct area *prepare(void)
{
    struct area *area = at(LEGACY_BASE);
    area->back_cr0 = (uint32_t)read_cr0();
    area->back_cr3 = (uint32_t)read_cr3();
    area->back_cr4 = (uint32_t)read_cr4();
    area->back_efer = runtime_efer;
    return area;
}

/* The area's words for it; and none if NULL. */
static void put_change(struct area *area, const struct pdpte_change *change)
{
    area->pdpte_place = 0;
    if (!change)
        return;
    area->pdpte_place = (uint32_t)change->pdpte_place;
    memcpy(area->pdpte, &change->pdpte, sizeof(area->pdpte));
    area->change_cr4 = change->cr == 4;
    area->change[0] = (uint32_t)change->value[0];
    area->change[1] = (uint32_t)change->value[1];
    area->invalidate = change->invalidate;
}

struct outcome attempt_legacy(const struct reference_cpu *cpu, uint64_t first_cr3, uint64_t linear,
                              unsigned int access, uint32_t value,
                              const struct pdpte_change *change)
{
    bool user = access & REFERENCE_USER;
    uint64_t stub = (user ? STUB_LINEAR_LEGACY : stub_page()) + stub_offset(FORM_MOV, access);
    struct area *area = prepare();
    area->switch_only = 0;
    area->first_cr3 = (uint32_t)first_cr3;
    area->cr0 = (uint32_t)cpu->cr0;
    area->cr3 = (uint32_t)cpu->cr3;
    area->cr4 = (uint32_t)cpu->cr4;
    area->efer = (uint32_t)cpu->efer;
    area->frame[0] = (uint32_t)(access & REFERENCE_FETCH ? linear : stub);
    area->frame[1] = user ? LEGACY_USER_CODE : SELECTOR_CODE32;
    area->frame[2] = (uint32_t)(RFLAGS_FIXED1 | (cpu->ac ? RFLAGS_AC : 0));
    area->frame[3] = 0;
    area->frame[4] = LEGACY_USER_DATA;
    area->edi = (uint32_t)linear;
    area->esi = value;
    put_change(area, change);
    run_legacy();
    struct outcome found = {.vector = area->vector, .cr0 = area->seen_cr0, .cr4 = area->seen_cr4};
    if (area->vector == VECTOR_DONE) {
        found.vector = NO_FAULT;
        found.value = access & REFERENCE_READ ? area->eax : 0;
        return found;
    }
    found.error_code = area->error;
    found.cr2 = area->vector == VECTOR_PF ? area->cr2 : 0;
    return found;
}

/* CR4.LA57 changes outside long mode only. */
static void change_levels(const struct reference_cpu *cpu)
{
    struct area *area = prepare();
    area->switch_only = 1;
    area->back_cr0 = (uint32_t)cpu->cr0;
    area->back_cr3 = (uint32_t)cpu->cr3;
    area->back_cr4 = (uint32_t)cpu->cr4;
    area->back_efer = (uint32_t)(cpu->efer & ~EFER_LMA);
    run_legacy();
}

/* SMEP and SMAP only when the tables are right for them: the runtime's own are the users' too. */
void enter_long(const struct reference_cpu *cpu)
{
    write_cr4(read_cr4() & ~(CR4_SMEP | CR4_SMAP));
    if ((cpu->cr4 ^ read_cr4()) & CR4_LA57)
        change_levels(cpu);
    wrmsr(MSR_EFER, cpu->efer);
    write_cr3(cpu->cr3);
    write_cr4(cpu->cr4);
    write_cr0(cpu->cr0);
    write_cr3(cpu->cr3);
}

void read_registers(struct reference_cpu *cpu)
{
    cpu->cr0 = read_cr0();
    cpu->cr3 = read_cr3();
    cpu->cr4 = read_cr4();
    cpu->efer = rdmsr(MSR_EFER);
}

struct outcome expected(const struct reference_cpu *cpu, uint64_t linear, unsigned int access,
                        struct reference_result *walk)
{
    struct outcome wanted = {.vector = NO_FAULT};
    reference_walk(cpu, &physical_memory, linear, access, walk);
    if (walk->outcome == REFERENCE_NON_CANONICAL)
        wanted.vector = VECTOR_GP;
    if (walk->outcome == REFERENCE_PAGE_FAULT) {
        wanted.vector = VECTOR_PF;
        wanted.error_code = walk->error_code;
        wanted.cr2 = linear;
    }
    return wanted;
}
