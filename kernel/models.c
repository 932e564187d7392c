/* SPDX-License-Identifier: BSD-2-Clause */
#include "kernel/models.h"
#include "cpuid/capture.h"
#include "cpuid/digest.h"
#include "cpuid/policy.h"
#include "cpuid/seal.h"
#include "cpuid/spec.h"
#include "cpuid/text.h"
#include "kernel/apic.h"
#include "kernel/console.h"
#include "kernel/machine.h"
#include "kernel/memory.h"
#include "kernel/smp.h"
#include "kernel/vm.h"
#include "kernel/x86.h"
#include "mmu/reserved.h"
#include <errno.h>
#include <stdio.h>
#include <string.h>

#define MODEL_PAGES 2U
#define SETS        2U

#define MSR_ARCH_CAPABILITIES 0x10aU
#define ARCH_TSX_CTRL         (1UL << 7)
#define LEAF1_HYPERVISOR      (1U << 31) /* ECX */

static hpa_t storage; /* of the sealed models, read-only while they are sealed */
static unsigned int storage_pages;
static const struct model *made[SETS]; /* for each vCPU, as they are to be sealed */
static bool foreign[SETS][CPUS_MAX];
static struct policy_set running[SETS][CPUS_MAX]; /* what is hidden there and runs all the same */
static bool no_tsx_ctrl[CPUS_MAX]; /* RTM and HLE came before the MSR that hides them */
static unsigned int sets;

/* Too large for a stack; the vCPUs are served one after the other. */
static struct model raw, host, wanted; /* the CPU, what it offers, what the spec makes of that */
static uint64_t host_capabilities;     /* IA32_ARCH_CAPABILITIES, 0 where there is none */

static void cpuid_here(void *ctx, uint32_t leaf, uint32_t subleaf, struct cpuid_regs *regs)
{
    (void)ctx;
    cpuid_raw(leaf, subleaf, &regs->eax, &regs->ebx, &regs->ecx, &regs->edx);
}

static int capture_here(void *model)
{
    if (rdmsr_safe(MSR_ARCH_CAPABILITIES, &host_capabilities) != 0)
        host_capabilities = 0;
    return model_capture(model, cpuid_here, NULL);
}

/* What the host offers a guest on the vCPU's own CPU. */
static int capture_host(struct vcpu *v, struct refusal *why)
{
    const struct policy_input input = {
        .emulator = machine_emulated(),
        .no_monitor = !machine_keeps_mwait() && vm.vcpu_count > 1,
    };
    int error = smp_call(v->cpu, capture_here, &raw);
    model_copy(&host, &raw);
    if (error == 0)
        error = policy_apply(&host, &input);
    return error == 0 ? 0
                      : refuse(why, -error,
                               "model: wanted at most %u CPUID answers, the host of "
                               "vcpu %u has more; shorten the model",
                               MODEL_MAX_LEAVES, v->index);
}

static const char *first_given(const char *own, const char *all, const char *otherwise)
{
    if (own[0] != '\0')
        return own;
    return all[0] != '\0' ? all : otherwise;
}

/* A vCPU's own spec goes before that of all, and what is said of every second generation before what
 * is said of all of them. */
static const char *spec_of(const struct vcpu *v, unsigned int set)
{
    const struct config *c = vm.config;
    const char *spec = first_given(c->cpu_model[v->index], c->model, "");
    return set == 0 ? spec : first_given(c->cpu_generation2[v->index], c->generation2, spec);
}

/* Two if every second generation has a model of its own, for any vCPU. */
static unsigned int count_sets(void)
{
    bool second = vm.config->generation2[0] != '\0';
    for (unsigned int i = 0; i < vm.vcpu_count; i++)
        second = second || vm.config->cpu_generation2[i][0] != '\0';
    return second ? 2 : 1;
}

/* The model file of the spec's name, or for `file` the first. */
static const struct boot_module *find_file(const struct boot_info *info, const char *spec)
{
    bool is_host;
    size_t length = spec_base(spec, &is_host);
    if (length == 4 && memcmp(spec, "file", 4) == 0)
        return boot_find_module(info, MODULE_MODEL);
    for (unsigned int i = 0; i < info->module_count; i++) {
        const struct boot_module *module = &info->module[i];
        if (module->role == MODULE_MODEL && strlen(module->args) == length &&
            memcmp(module->args, spec, length) == 0)
            return module;
    }
    return NULL;
}

static int read_file(const struct boot_info *info, const struct vcpu *v, const char *spec,
                     struct refusal *why)
{
    const struct boot_module *file = find_file(info, spec);
    struct text_error wrong;
    if (file == NULL)
        return refuse(why, ENOENT,
                      "model: '%s' wants a module of role 'model' of this name, found none; load "
                      "one, or name the first 'file'",
                      spec);
    const char *text = memory_at(hpa(file->start));
    size_t size = file->end - file->start;
    int error = text_parse(&wanted, text, size, v->index, &wrong);
    if (error != 0 && v->index != 0 && wrong.line == 0) /* a file of one CPU serves all */
        error = text_parse(&wanted, text, size, 0, &wrong);
    if (error != 0)
        return refuse(why, -error, "model file '%s', line %u: %s, found '%s'; mend the file",
                      file->args, wrong.line, wrong.why, wrong.found);
    return 0;
}

/* Bits of the guest's highest memory address. */
static unsigned int memory_bits(const struct boot_info *info)
{
    uint64_t last = UINT32_MAX;
    for (unsigned int i = 0; i < info->map.count; i++) {
        const struct memory_range *range = &info->map.range[i];
        if (range->type != MEMORY_RESERVED && range->type != MEMORY_BAD && range->end - 1 > last)
            last = range->end - 1;
    }
    return 64U - (unsigned int)__builtin_clzl(last);
}

static bool other_vendor(const struct model *a, const struct model *b)
{
    struct cpuid_regs x = model_get(a, 0, 0), y = model_get(b, 0, 0);
    return x.ebx != y.ebx || x.ecx != y.ecx || x.edx != y.edx;
}

/* vCPUs without a model of their own have the first one's lines. */
static bool has_lines(const struct vcpu *v)
{
    return v->index == 0 || vm.config->cpu_model[v->index][0] != '\0' ||
           vm.config->cpu_generation2[v->index][0] != '\0';
}

static void say_change(void *ctx, const char *line)
{
    const struct vcpu *v = ctx;
    if (has_lines(v))
        console_line("model of vcpu %u: %s", v->index, line);
}

/* What the vCPU's CPU has, to compare with: it closes `host`. */
static int keep_host(struct vcpu *v)
{
    struct cpu_rules rules;
    int error = model_finish(&host);
    if (error != 0)
        return error;
    rules_derive(&rules, &host);
    v->host = rules.paging;
    v->host_lam = policy_has(&raw, policy_find("lam", 3));
    v->host_spec_ctrl = rules.spec_ctrl;
    v->host_pred_cmd = rules.pred_cmd;
    no_tsx_ctrl[v->index] = !(host_capabilities & ARCH_TSX_CTRL);
    struct cpuid_regs states = model_get(&raw, 0xd, 0);
    v->host_xcr0 = (uint64_t)states.edx << 32 | states.eax;
    v->host_instructions = 0;
    for (size_t i = 0; i < policy_feature_count; i++) {
        if (policy_has(&raw, &policy_features[i]))
            v->host_instructions |= policy_features[i].instructions;
    }
    return 0;
}

/* Make the model of one vCPU in a set in `wanted`, finished. */
static int make_model(struct vcpu *v, unsigned int set, const struct boot_info *info,
                      struct refusal *why)
{
    const struct enforceable can = {.memory_bits = memory_bits(info), .say = say_change, .ctx = v};
    const char *spec = spec_of(v, set);
    bool is_host;
    char message[REFUSAL_TEXT];
    int error = capture_host(v, why);
    (void)spec_base(spec, &is_host);
    if (error == 0 && is_host)
        model_copy(&wanted, &host);
    else if (error == 0)
        error = read_file(info, v, spec, why);
    if (error != 0)
        return error;
    error = spec_apply(spec, &wanted, &host, &can, message, sizeof(message));
    if (error != 0)
        return refuse(why, -error, "model of vcpu %u: %s", v->index, message);
    foreign[set][v->index] = other_vendor(&wanted, &host);
    policy_unenforced(&wanted, &raw, &running[set][v->index]);
    error = keep_host(v);
    if (error == 0)
        error = model_finish(&wanted);
    return error == 0 ? 0
                      : refuse(why, -error,
                               "model of vcpu %u: wanted a complete CPUID table, found "
                               "one that cannot be sealed (error %d); mend it",
                               v->index, -error);
}

/* All models of all generations are made at launch: a bad one is refused then, and not in the
 * middle of a run. They are kept read-only, as the sealed ones are. */
static int make_sets(const struct boot_info *info, struct refusal *why)
{
    sets = count_sets();
    for (unsigned int set = 0; set < sets; set++) {
        hpa_t first;
        unsigned int pages = MODEL_PAGES * vm.vcpu_count;
        if (memory_alloc_pages(pages, &first) != 0)
            return refuse(why, ENOMEM, "models: no memory for %u pages; set pool= to more MiB",
                          pages);
        struct model *models = memory_at(first);
        for (unsigned int i = 0; i < vm.vcpu_count; i++) {
            int error = make_model(vm.vcpu[i], set, info, why);
            if (error != 0)
                return error;
            model_copy(&models[i], &wanted);
        }
        if (memory_protect(first, pages, false) != 0)
            return refuse(why, ENOMEM,
                          "models: no memory to make them read-only; set pool= higher");
        made[set] = models;
    }
    return 0;
}

static void derive(struct vcpu *v, unsigned int set)
{
    const struct seal_vcpu *sealed = &vm.seal.vcpu[v->index];
    v->model = sealed->model;
    v->foreign = foreign[set][v->index];
    rules_derive(&v->rules, v->model);
    if (no_tsx_ctrl[v->index])
        v->rules.msr_groups &= ~(1U << MSR_GROUP_TSX_CTRL);
    v->props = v->rules.paging;
    v->cr3_reserved = cr3_reserved_mask(MODE_4LEVEL, &v->props);
    v->unenforced = (struct unenforced){.features = running[set][v->index]};
    cpuid_dynamic_reset(&v->dynamic, v->model, v->apic_id);
    v->dynamic.apic_base = rdmsr(MSR_APIC_BASE);
    v->dynamic.core_id = sealed->core_id;
    v->dynamic.node_id = sealed->node_id;
}

static void print_line(void *ctx, const char *line)
{
    (void)ctx;
    console_verdict_line("%s", line);
}

/* Undated, so that what stands on the console is a model file; then what such a file says of each
 * machine without a hypervisor. */
static void print_model(const struct vcpu *v)
{
    text_print_as(v->model, &v->dynamic, v->index, print_line, NULL);
    if (!(model_get(v->model, 1, 0).ecx & LEAF1_HYPERVISOR))
        console_line("model: vcpu %u: with this file give -hypervisor", v->index);
}

static int check_x2apic(struct refusal *why)
{
    for (unsigned int i = 0; i < vm.vcpu_count; i++) {
        if (apic_is_x2apic() && !(vm.vcpu[i]->rules.msr_groups >> MSR_GROUP_X2APIC & 1))
            return refuse(why, ENOTSUP,
                          "model of vcpu %u: wanted x2apic in it, as firmware has left x2APIC mode "
                          "on; turn that off in firmware, or x2apic on in the model",
                          i);
    }
    return 0;
}

bool models_stay(void)
{
    return sets == 1;
}

/* Where nobody may write: the sealed models, and those that each generation's are copied from. */
static unsigned int sealed_frames(struct table_frames frames[1 + SETS])
{
    const uint64_t size = (uint64_t)storage_pages * PAGE_SIZE;
    frames[0] = (struct table_frames){.first = storage, .size = size};
    for (unsigned int set = 0; set < sets; set++)
        frames[1 + set] =
            (struct table_frames){.first = memory_address_of(made[set]), .size = size};
    return 1 + sets;
}

static int check_no_alias(struct refusal *why)
{
    struct table_frames frames[1 + SETS];
    uint64_t bad;
    if (memory_check_read_only(frames, sealed_frames(frames), &bad) == 0)
        return 0;
    return refuse(why, EPERM,
                  "models: wanted no way to write to their pages, found Latch's mapping at 0x%lx "
                  "writable; something changed its page tables: reset the machine",
                  bad);
}

int models_try_write(uint64_t page)
{
    struct table_frames frames[1 + SETS];
    const unsigned int count = sealed_frames(frames);
    if (page >= (uint64_t)count * storage_pages)
        return -EINVAL;
    volatile uint8_t *byte =
        memory_at(hpa(frames[page / storage_pages].first.raw + page % storage_pages * PAGE_SIZE));
    return write_safe(byte, *byte);
}

/* Computed anew each time, so that it is of the models as they are now. */
static int digest_now(char text[DIGEST_TEXT])
{
    uint8_t digest[DIGEST_BYTES];
    int error = digest_seal(&vm.seal, digest);
    if (error == 0)
        digest_text(digest, text);
    return error;
}

void models_print_digest(void)
{
    char text[DIGEST_TEXT];
    if (digest_now(text) == 0)
        console_line("model: at the end: generation %lu, digest %s", vm.seal.generation, text);
}

bool models_answer_as_sealed(void)
{
    bool all = true;
    for (unsigned int i = 0; i < vm.vcpu_count; i++) {
        const struct vcpu *v = vm.vcpu[i];
        const bool runs = v->status == VCPU_RUNNING && v != vm.ender;
        if (runs || cpuid_dynamic_is_settled(&v->dynamic, v->model))
            continue;
        console_line("model: vcpu %u: its CPUID does not answer what is sealed", i);
        all = false;
    }
    return all;
}

/* Seal the set that this generation has. */
static int seal_set(struct refusal *why)
{
    const unsigned int set = (unsigned int)(vm.seal.generation - 1) % sets;
    char text[DIGEST_TEXT];
    int error = 0;
    for (unsigned int i = 0; i < vm.vcpu_count && error == 0; i++)
        error = seal_set_model(&vm.seal, i, &made[set][i]);
    if (error == 0)
        error = seal_close(&vm.seal);
    if (error == 0)
        error = memory_protect(storage, storage_pages, false);
    if (error == 0)
        error = digest_now(text);
    if (error != 0)
        return refuse(why, -error,
                      "models: sealing them failed with error %d; set pool= to more MiB", -error);
    for (unsigned int i = 0; i < vm.vcpu_count; i++)
        derive(vm.vcpu[i], set);
    console_line("model: %s, sealed: %u vCPUs, %u distinct, generation %lu",
                 first_given(set == 1 ? vm.config->generation2 : "", vm.config->model, ""),
                 vm.vcpu_count, seal_models(&vm.seal), vm.seal.generation);
    console_line("model: digest %s", text);
    for (unsigned int i = 0; i < vm.vcpu_count && vm.config->print_model == SWITCH_ON; i++)
        print_model(vm.vcpu[i]);
    return check_x2apic(why);
}

int models_seal(const struct boot_info *info, struct refusal *why)
{
    int error = make_sets(info, why);
    if (error != 0)
        return error;
    storage_pages = MODEL_PAGES * vm.vcpu_count;
    error = memory_alloc_pages(storage_pages, &storage);
    if (error == 0)
        error =
            seal_init(&vm.seal, memory_at(storage),
                      (uint32_t)(storage_pages * PAGE_SIZE / sizeof(struct model)), vm.vcpu_count);
    if (error != 0)
        return refuse(why, ENOMEM, "models: no memory for %u pages; set pool= to more MiB",
                      storage_pages);
    error = seal_set(why);
    /* Nothing is mapped after launch that leads there: memory_map_mmio() sees to it. */
    return error != 0 ? error : check_no_alias(why);
}

int models_seal_next(struct refusal *why)
{
    int error = memory_protect(storage, storage_pages, true);
    if (error == 0)
        error = seal_open_next(&vm.seal);
    if (error != 0)
        return refuse(why, -error, "models: opening the seal failed with error %d", -error);
    return seal_set(why);
}
