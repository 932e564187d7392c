/* SPDX-License-Identifier: BSD-2-Clause */
#include "kernel/insn.h"
#include "kernel/vm.h"
#include "mmu/walk.h"
#include "svm/internal.h"
#include <errno.h>

#define ENTRIES (sizeof(((struct svm_code *)0)->entry) / sizeof(((struct svm_code *)0)->entry[0]))

struct walk {
    const struct vcpu *v;
    struct svm_code *code;
};

static int read_and_remember(void *ctx, gpa_t address, unsigned int size, uint64_t *value)
{
    const struct walk *walk = ctx;
    struct svm_code *code = walk->code;
    const uint64_t *at = vm_memory(walk->v->vm, address, size);

    if (!at || size != sizeof(*at) || code->entries == ENTRIES)
        return -EIO;
    *value = __atomic_load_n(at, __ATOMIC_RELAXED);
    code->entry[code->entries].at = at;
    code->entry[code->entries++].value = *value;
    return 0;
}

/* Walk to the page at RIP; forgets the one before. */
static void remember(struct vcpu *v, const struct vcpu_state *state, struct svm_code *code)
{
    struct walk walk = {.v = v, .code = code};
    const struct walk_env env = {.ctx = &walk, .read = read_and_remember};
    const uint8_t cpl = vmcb_of(v)->save.cpl;
    const unsigned int access = ACCESS_EXECUTE | (cpl == 3 ? ACCESS_USER : 0);
    struct paging_state paging;
    struct walk_result result;

    *code = (struct svm_code){.cpl = cpl,
                              .page = state->rip >> PAGE_SHIFT,
                              .cr0 = state->cr0,
                              .cr3 = state->cr3,
                              .cr4 = state->cr4,
                              .efer = state->efer};
    vcpu_paging_state(v, state, &paging);
    if (guest_walk(&env, &paging, gla(code->page << PAGE_SHIFT), access, &result) == 0)
        code->bytes = vm_memory(v->vm, result.address, PAGE_SIZE);
    if (!code->bytes)
        code->entries = 0;
}

/* From the page that is remembered. */
static unsigned int decode_there(const struct svm_code *code, uint64_t offset, struct insn *insn)
{
    uint8_t bytes[INSN_LENGTH_MAX];
    for (unsigned int i = 0; i < sizeof(bytes); i++)
        bytes[i] = code->bytes[offset + i];
    return insn_decode(bytes, sizeof(bytes), INSN_MODE_64, insn) == 0 ? insn->length : 0;
}

static struct svm_code *code_for(struct svm_vcpu *svm, bool stays)
{
    if (stays)
        return &svm->code;
    svm->turn = !svm->turn;
    return &svm->way[svm->turn];
}

unsigned int svm_decode(struct vcpu *v, bool stays, struct insn *insn)
{
    struct svm_vcpu *svm = svm_of(v);
    struct svm_code *code = code_for(svm, stays);
    const uint64_t offset = svm->vmcb->save.rip & PAGE_OFFSET_MASK;
    const bool within_page = svm_in_64_bit_mode(svm->vmcb) && offset <= PAGE_SIZE - INSN_LENGTH_MAX;
    struct vcpu_state state;

    if (within_page && svm_code_stands(v, svm, code))
        return decode_there(code, offset, insn);
    svm_get_state(v, &state);
    if (within_page) {
        remember(v, &state, code);
        if (code->entries)
            return decode_there(code, offset, insn);
    }
    return vcpu_decode(v, &state, insn);
}
