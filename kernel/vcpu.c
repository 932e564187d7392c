/* SPDX-License-Identifier: BSD-2-Clause */
#include "kernel/vcpu.h"
#include "kernel/apic.h"
#include "kernel/backend.h"
#include "kernel/insn.h"
#include "kernel/interrupts.h"
#include "kernel/machine.h"
#include "kernel/memory.h"
#include "kernel/paging.h"
#include "kernel/relaunch.h"
#include "kernel/vm.h"
#include "kernel/x86.h"
#include "mmu/walk.h"
#include <errno.h>
#include <stdio.h>
#include <string.h>

#define PAT_RESET    0x0007040600070406UL
#define DR6_RESET    0xffff0ff0UL
#define DR7_RESET    0x400UL
#define SEGMENT_DATA 0x93U /* present, accessed, writable data */
#define SEGMENT_LDT  0x82U
#define SEGMENT_TSS  0x8bU

void vcpu_reset_state(struct vcpu_state *state)
{
    *state = (struct vcpu_state){.cr0 = CR0_CD | CR0_NW, .pat = PAT_RESET};
}

void vcpu_init_state(struct vcpu *v, struct vcpu_state *state, uint8_t sipi_vector)
{
    memset(&v->regs, 0, sizeof(v->regs));
    v->regs.rdx = v->model == NULL ? 0 : model_get(v->model, 1, 0).eax;
    *state = (struct vcpu_state){
        .rflags = RFLAGS_FIXED1,
        .cr0 = CR0_ET | (state->cr0 & (CR0_CD | CR0_NW)),
        .dr6 = DR6_RESET,
        .dr7 = DR7_RESET,
        .pat = state->pat,
        .sysenter_cs = state->sysenter_cs,
        .sysenter_esp = state->sysenter_esp,
        .sysenter_eip = state->sysenter_eip,
        .star = state->star,
        .lstar = state->lstar,
        .cstar = state->cstar,
        .sfmask = state->sfmask,
        .kernel_gs_base = state->kernel_gs_base,
        .gdtr.limit = 0xffff,
        .idtr.limit = 0xffff,
    };
    for (unsigned int i = 0; i < SEGMENTS; i++)
        state->segment[i] = (struct segment){.attributes = SEGMENT_DATA, .limit = 0xffff};
    state->segment[SEG_CS] = (struct segment){
        .selector = (uint16_t)(sipi_vector << 8),
        .attributes = SEGMENT_DATA, /* real mode writes through CS too */
        .limit = 0xffff,
        .base = (uint64_t)sipi_vector << 12,
    };
    state->segment[SEG_LDTR].attributes = SEGMENT_LDT;
    state->segment[SEG_TR].attributes = SEGMENT_TSS;
}

/* Take out the accessed bits that the machine has put where a walk by the manuals would fault. */
static void unmark_pdptes(const struct vcpu *v, struct paging_state *paging)
{
    const uint64_t accessed = 1UL << 5;
    if (paging_mode(paging) != MODE_PAE)
        return;
    for (unsigned int i = 0; i < 4; i++) {
        (void)vm_read_entry(v->vm, gpa((paging->cr3 & 0xffffffe0U) + 8UL * i), 8,
                            &paging->pdpte[i]);
        paging->pdpte[i] &= ~accessed;
    }
    paging->pdpte_held = true;
}

void vcpu_paging_state(const struct vcpu *v, const struct vcpu_state *state,
                       struct paging_state *paging)
{
    *paging = (struct paging_state){
        .cr0 = state->cr0,
        .cr3 = state->cr3,
        .cr4 = state->cr4,
        .efer = state->efer,
        .ac = state->rflags & RFLAGS_AC,
        .props = &v->props,
    };
    if ((v->paging == PAGED_NARROW || /* that CPU holds them, whosever rules the model has */
         (v->paging == PAGED_SHADOW && v->props.vendor == PAGING_INTEL)) &&
        paging_mode(paging) == MODE_PAE) {
        memcpy(paging->pdpte, v->pdpte, sizeof(paging->pdpte));
        paging->pdpte_held = true;
    }
    if (v->paging != PAGED_SHADOW && machine_marks_pdptes())
        unmark_pdptes(v, paging);
}

unsigned int vcpu_fetch(struct vcpu *v, const struct vcpu_state *state, uint64_t linear,
                        void *buffer, unsigned int size)
{
    const struct walk_env env = {
        .ctx = v->vm,
        .read = vm_walk_read,
        .reserved = v->shadow != NULL && v->shadow->root != NULL ? v->shadow->reserved : NULL};
    const unsigned int access =
        ACCESS_EXECUTE | ((state->segment[SEG_SS].attributes >> 5 & 3) == 3 ? ACCESS_USER : 0);
    struct paging_state paging;
    unsigned int done = 0;
    vcpu_paging_state(v, state, &paging);
    while (done < size) {
        struct walk_result result;
        uint64_t at = linear + done;
        if (!(state->efer & EFER_LMA) || !(state->segment[SEG_CS].attributes & SEGMENT_L))
            at &= UINT32_MAX;
        unsigned int part = (unsigned int)(PAGE_SIZE - (at & PAGE_OFFSET_MASK));
        if (part > size - done)
            part = size - done;
        if (guest_walk(&env, &paging, gla(at), access, &result) != 0)
            break;
        unsigned int got = vm_read(v->vm, result.address, (uint8_t *)buffer + done, part);
        done += got;
        if (got < part)
            break;
    }
    return done;
}

int vcpu_translate(struct vcpu *v, uint64_t linear, unsigned int access, gpa_t *address)
{
    const struct walk_env env = {.ctx = v->vm, .read = vm_walk_read};
    struct vcpu_state state;
    struct paging_state paging;
    struct walk_result result;
    backend_get_state(v, &state);
    vcpu_paging_state(v, &state, &paging);
    int error = guest_walk(&env, &paging, gla(linear), access, &result);
    *address = result.address;
    return error;
}

static enum insn_mode code_mode(const struct vcpu_state *state)
{
    uint16_t attributes = state->segment[SEG_CS].attributes;
    if ((state->efer & EFER_LMA) && (attributes & SEGMENT_L))
        return INSN_MODE_64;
    /* In real and virtual-8086 mode D/B is as the segment was loaded, so it holds there too. */
    return attributes & SEGMENT_DB ? INSN_MODE_32 : INSN_MODE_16;
}

unsigned int vcpu_decode(struct vcpu *v, const struct vcpu_state *state, struct insn *out)
{
    uint8_t bytes[INSN_LENGTH_MAX];
    struct insn insn;
    enum insn_mode mode = code_mode(state);
    uint64_t base = mode == INSN_MODE_64 ? 0 : state->segment[SEG_CS].base;
    unsigned int size = vcpu_fetch(v, state, base + state->rip, bytes, sizeof(bytes));
    if (insn_decode(bytes, size, mode, &insn) != 0)
        return 0;
    if (out != NULL)
        *out = insn;
    return insn.length;
}

void vcpu_dump_walk(struct vcpu *v, const struct vcpu_state *state, uint64_t linear,
                    void (*line)(const char *text))
{
    const struct walk_env env = {.ctx = v->vm, .read = vm_walk_read};
    struct paging_state paging;
    struct walk_result result = {.level = 0};
    char text[120];
    vcpu_paging_state(v, state, &paging);
    int error = guest_walk(&env, &paging, gla(linear), ACCESS_EXECUTE, &result);
    if (error == 0)
        snprintf(text, sizeof(text),
                 "walk: linear %016lx is guest-physical %016lx, page of %lu KiB", linear,
                 result.address.raw, result.page_size >> 10);
    else if (error == -EFAULT)
        snprintf(text, sizeof(text),
                 "walk: linear %016lx gives #PF error code 0x%x at level %u, entry %016lx", linear,
                 result.error_code, result.level, result.entry);
    else
        snprintf(text, sizeof(text), "walk: linear %016lx is not canonical", linear);
    line(text);
}

/* False if the run ends before a SIPI comes. */
static bool wait_for_sipi(struct vcpu *v)
{
    v->status = VCPU_WAIT_FOR_SIPI;
    v->init_pending = false; /* now the sender goes on, and a SIPI is not lost any more */
    while (v->sipi_vector < 0 && v->vm->ender == NULL) {
        wait_for_nmi(&v->wake);
        v->wake = false;
        atomic_thread_fence(memory_order_seq_cst); /* before looking at what it woke for */
    }
    return v->vm->ender == NULL;
}

/* INIT leaves the TLBs alone (SDM vol. 3 table 10-1), but that it turns paging off drops what came of
 * it. Where paging was off nothing is dropped. */
static void start_at_sipi(struct vcpu *v)
{
    struct vcpu_state state;
    if (v->ran)
        backend_get_state(v, &state);
    else
        vcpu_reset_state(&state);
    if (state.cr0 & CR0_PG)
        backend_flush_linear(v);
    v->cpu->nmis = 0; /* INIT drops what waits, and then nothing but a SIPI comes */
    vcpu_init_state(v, &state, (uint8_t)atomic_exchange(&v->sipi_vector, -1));
    backend_set_state(v, &state);
    paging_follow(v);
}

/* What an INIT does to the CPU besides the registers that the back end keeps. */
static void take_init(struct vcpu *v)
{
    nmis_open();
    apic_reset();
    v->apic_ldr = 0;
    v->apic_dfr = UINT32_MAX;
    write_dr0(0);
    write_dr1(0);
    write_dr2(0);
    write_dr3(0);
}

static void enter_xen_state(struct vcpu *v, enum xen_runstate state)
{
    vm_lock(v);
    xen_enter_state(v, state);
    vm_unlock(v);
}

/* Into the guest, if the lock on the models lets it. */
static bool enter_guest(struct vcpu *v)
{
    vm_lock(v);
    int error = life_step(&v->vm->seal.life, v->index, LIFE_RUN);
    vm_unlock(v);
    return error == 0;
}

/* When the run ends for good, whoever ends it may hold the lock, and the models are of no more
 * interest. */
static void leave_guest(struct vcpu *v)
{
    if (v->vm->ender != NULL && !v->vm->relaunching)
        return;
    vm_lock(v);
    (void)life_leave(&v->vm->seal.life, v->index);
    vm_unlock(v);
}

static void run_generation(struct vcpu *v)
{
    while (v->vm->ender == NULL) {
        if (v->index != 0 || v->ran) {
            if (v->ran)
                take_init(v);
            enter_xen_state(v, XEN_OFFLINE);
            if (!wait_for_sipi(v))
                break;
            start_at_sipi(v);
        }
        if (!v->ran)
            v->vm->started++;
        v->ran = true;
        v->status = VCPU_RUNNING;
        enter_xen_state(v, XEN_RUNNING);
        if (v->vm->ender == NULL && enter_guest(v)) {
            backend_run(v);
            leave_guest(v);
        }
    }
}

int vcpu_main(void *vcpu)
{
    struct vcpu *v = vcpu;
    v->cpu->nmis = 0;      /* those until now were Latch's calls */
    write_cr3(read_cr3()); /* rights that Latch's own tables lost since this CPU last loaded it */
    do
        run_generation(v);
    while (relaunch_join(v));
    v->status = VCPU_STOPPED;
    for (;;)
        __asm__ volatile("cli; hlt");
}
