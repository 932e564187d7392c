/* SPDX-License-Identifier: BSD-2-Clause */
#include "kernel/hypercall.h"
#include "cpuid/digest.h"
#include "kernel/backend.h"
#include "kernel/console.h"
#include "kernel/memory.h"
#include "kernel/models.h"
#include "kernel/quick.h"
#include "kernel/tsc.h"
#include "kernel/vm.h"
#include "kernel/x86.h"
#include <errno.h>
#include <string.h>

#define CONSOLE_MAX 200U
#define REPORT_US   1000000U

/* One line a second at most, so that a guest cannot flood the console with it. */
static void report_refused(uint64_t index)
{
    static _Atomic uint64_t next;
    uint64_t now = tsc_microseconds(), due = next;
    if (now >= due && atomic_compare_exchange_strong(&next, &due, now + REPORT_US))
        console_line(
            "model: vcpu %lu: refused to set another model: it is sealed until the guest's "
            "next reset",
            index);
}

static int64_t set_model(struct vcpu *v, uint64_t index, uint64_t address, uint64_t count)
{
    static struct model model; /* under the VM's lock: waiting for another would hold up a flush */
    if (v->vm->config->test_hypercalls != SWITCH_ON)
        return -ENOSYS;
    if (index >= v->vm->vcpu_count || count == 0 || count > MODEL_MAX_LEAVES)
        return -EINVAL;
    const struct hypercall_leaf *leaves =
        vm_memory(v->vm, gpa(address), count * sizeof(struct hypercall_leaf));
    if (leaves == NULL)
        return -EFAULT;
    vm_lock(v);
    model_init(&model);
    int error = 0;
    for (uint64_t i = 0; i < count && error == 0; i++) {
        struct hypercall_leaf leaf = leaves[i]; /* the guest may be writing to it */
        const struct cpuid_regs regs = {
            .eax = leaf.eax, .ebx = leaf.ebx, .ecx = leaf.ecx, .edx = leaf.edx};
        error = model_set(&model, leaf.leaf, leaf.subleaf, &regs);
    }
    model.paging_vendor = v->vm->vcpu[index]->model->paging.vendor; /* no leaf says it */
    if (error == 0)
        error = model_finish(&model);
    if (error == 0)
        error = seal_set_model(&v->vm->seal, (unsigned int)index, &model);
    vm_unlock(v);
    if (error == -EBUSY)
        report_refused(index);
    return error;
}

/* As the vCPU reads it after RESET, its APIC id among it. */
static void answer_of(const struct cpuid_leaf *row, const struct cpuid_dynamic *reset,
                      struct hypercall_leaf *answer)
{
    struct cpuid_regs regs = row->regs;
    if (row->dynamic && row->subleaf != MODEL_SUBLEAF_REST)
        cpuid_overlay(row->leaf, row->subleaf, &regs, reset);
    *answer = (struct hypercall_leaf){
        .leaf = row->leaf,
        .subleaf = row->subleaf,
        .eax = regs.eax,
        .ebx = regs.ebx,
        .ecx = regs.ecx,
        .edx = regs.edx,
    };
}

static int64_t get_model(struct vcpu *v, uint64_t index, uint64_t address, uint64_t capacity)
{
    if (index >= v->vm->vcpu_count)
        return -EINVAL;
    const struct model *model = v->vm->vcpu[index]->model;
    if (capacity < model->count)
        return -ENOSPC;
    const struct seal_vcpu *sealed = &v->vm->seal.vcpu[index];
    struct cpuid_dynamic reset;
    cpuid_dynamic_reset(&reset, model, sealed->apic_id);
    reset.core_id = sealed->core_id;
    reset.node_id = sealed->node_id;
    vm_lock(v);
    struct hypercall_leaf *leaves =
        vm_memory_for_write(v->vm, gpa(address), model->count * sizeof(struct hypercall_leaf));
    for (uint32_t i = 0; leaves != NULL && i < model->count; i++)
        answer_of(&model->leaves[i], &reset, &leaves[i]);
    vm_unlock(v);
    return leaves != NULL ? (int64_t)model->count : -EFAULT;
}

static int64_t console(struct vcpu *v, uint64_t address, uint64_t length)
{
    char text[CONSOLE_MAX + 1];
    if (length > CONSOLE_MAX)
        return -EINVAL;
    if (vm_read(v->vm, gpa(address), text, (unsigned int)length) != length)
        return -EFAULT;
    for (uint64_t i = 0; i < length; i++) {
        if (text[i] < ' ' || text[i] > '~')
            text[i] = '?';
    }
    text[length] = '\0';
    console_line("guest: vcpu %u: %s", v->index, text);
    return 0;
}

/* By Latch's one writable view of physical memory, if it had one of that page. */
static int64_t test_seal(const struct vcpu *v, uint64_t page)
{
    return v->vm->config->test_hypercalls == SWITCH_ON ? models_try_write(page) : -ENOSYS;
}

static int64_t count_pool(void)
{
    unsigned int total, unused;
    memory_count(&total, &unused);
    return unused;
}

static int64_t get_digest(struct vcpu *v, uint64_t address)
{
    uint8_t digest[DIGEST_BYTES];
    if (address % sizeof(uint64_t) != 0)
        return -EINVAL;
    int error = digest_seal(&v->vm->seal, digest);
    if (error != 0)
        return error;
    vm_lock(v);
    uint8_t *to = vm_memory_for_write(v->vm, gpa(address), sizeof(digest));
    if (to != NULL)
        memcpy(to, digest, sizeof(digest));
    vm_unlock(v);
    return to != NULL ? 0 : -EFAULT;
}

enum exit_action hypercall(struct vcpu *v, struct exit *exit)
{
    bool long_mode = backend_in_64bit_code(v);
    uint64_t mask = long_mode ? UINT64_MAX : UINT32_MAX;
    uint64_t a = v->regs.rdi & mask, b = v->regs.rsi & mask, c = v->regs.rdx & mask;
    int64_t result = -ENOSYS;
    (void)exit;
    if (backend_cpl(v) != 0) {
        v->regs.rax = (uint64_t)-EPERM & mask;
        return EXIT_NEXT;
    }
    uint64_t number = v->regs.rax & mask, value;
    if (quick_hypercall(v, number, &value)) {
        v->regs.rax = value & mask;
        return EXIT_NEXT;
    }
    switch (number) {
    case HYPERCALL_VERDICT:
        if (a <= VERDICT_FAILURE)
            return vm_end(v, (enum verdict)a);
        result = -EINVAL;
        break;
    case HYPERCALL_EXITS:
        result =
            a < EXIT_KINDS && b < v->vm->vcpu_count ? (int64_t)v->vm->vcpu[b]->exits[a] : -EINVAL;
        break;
    case HYPERCALL_MODEL_SET:
        result = set_model(v, a, b, c);
        break;
    case HYPERCALL_MODEL_GET:
        result = get_model(v, a, b, c);
        break;
    case HYPERCALL_CONSOLE:
        result = console(v, a, b);
        break;
    case HYPERCALL_LATCH_RANGE:
        result = a == 0 ? (int64_t)latch_range.start : a == 1 ? (int64_t)latch_range.end : -EINVAL;
        break;
    case HYPERCALL_DIGEST:
        result = get_digest(v, a);
        break;
    case HYPERCALL_VCPU_OP:
        result = xen_vcpu_op(v, a, b, c, long_mode);
        break;
    case HYPERCALL_SEAL_TEST:
        result = test_seal(v, a);
        break;
    case HYPERCALL_POOL:
        result = count_pool();
        break;
    default:
        break;
    }
    v->regs.rax = (uint64_t)result & mask;
    return EXIT_NEXT;
}
