/* SPDX-License-Identifier: BSD-2-Clause */
#include "kernel/vm.h"
#include "mmu/walk.h"
#include "svm/internal.h"
#include <errno.h>

#define ENTRIES (sizeof(((struct svm_code *)0)->entry) / sizeof(((struct svm_code *)0)->entry[0]))

static struct svm_code *code_of(void *ctx)
{
    return &svm_of(ctx)->code;
}

static int read_and_remember(void *ctx, gpa_t address, unsigned int size, uint64_t *value)
{
    const struct vcpu *v = ctx;
    struct svm_code *code = code_of(ctx);
    const uint64_t *at = vm_memory(v->vm, address, size);

    if (!at || size != sizeof(*at) || code->entries == ENTRIES)
        return -EIO;
    *value = __atomic_load_n(at, __ATOMIC_RELAXED);
    code->entry[code->entries].at = at;
    code->entry[code->entries++].value = *value;
    return 0;
}

void svm_remember_code(struct vcpu *v, const struct vcpu_state *state)
{
    const struct walk_env env = {.ctx = v, .read = read_and_remember};
    struct svm_code *code = code_of(v);
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
    if (!svm_in_64_bit_mode(vmcb_of(v)))
        return;
    vcpu_paging_state(v, state, &paging);
    if (guest_walk(&env, &paging, gla(code->page << PAGE_SHIFT), access, &result) == 0)
        code->bytes = vm_memory(v->vm, result.address, PAGE_SIZE);
    if (!code->bytes)
        code->entries = 0;
}
