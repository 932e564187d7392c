/* SPDX-License-Identifier: BSD-2-Clause */
#include "kernel/vm.h"
#include "kernel/apic.h"
#include "kernel/backend.h"
#include "kernel/console.h"
#include "kernel/memory.h"
#include "kernel/smp.h"
#include "kernel/tsc.h"
#include "kernel/x86.h"
#include <errno.h>
#include <string.h>

#define FOUR_GIB         0x100000000UL
#define DESCRIPTOR_PAGES 8U
#define ANSWER_US        10000000U

struct vm vm;

void vm_call(struct vcpu *v, bool (*waiting)(const struct vcpu *v))
{
    for (uint64_t begin = tsc_microseconds(); waiting(v);) {
        uint64_t now = tsc_microseconds();
        if (now - begin > ANSWER_US) {
            console_line("guest: vcpu %u does not answer Latch: did it turn its local APIC off, or "
                         "change its id?",
                         v->index);
            end_run(VERDICT_ERROR);
        }
        smp_kick(v->cpu);
        while (waiting(v) && tsc_microseconds() - now < KICK_AGAIN_US)
            cpu_pause();
    }
}

/* A vCPU has let go of old translations when it has flushed, or is in Latch and will. */
static bool not_flushed(const struct vcpu *v)
{
    return v != vm.ender && v->status == VCPU_RUNNING && v->flush && !v->at_lock;
}

static void env_flush(void *ctx)
{
    (void)ctx;
    for (unsigned int i = 0; i < vm.vcpu_count; i++) {
        vm.vcpu[i]->at_lock = false;
        vm.vcpu[i]->flush = true;
    }
    for (unsigned int i = 0; i < vm.vcpu_count; i++) {
        if (vm.vcpu[i] != this_cpu()->vcpu)
            vm_call(vm.vcpu[i], not_flushed);
    }
}

void vm_lock(struct vcpu *v)
{
    if (!atomic_flag_test_and_set_explicit(&vm.lock.held, memory_order_acquire))
        return;
    uint64_t begin = rdtsc();
    do {
        v->at_lock = true;
        cpu_pause();
    } while (atomic_flag_test_and_set_explicit(&vm.lock.held, memory_order_acquire));
    v->at_lock = false;
    xen_stolen(v, rdtsc() - begin);
}

void vm_unlock(struct vcpu *v)
{
    (void)v;
    unlock(&vm.lock);
}

static void read_mtrrs(struct mtrr_state *mtrr)
{
    uint32_t a, b, c, d;
    memset(mtrr, 0, sizeof(*mtrr));
    cpuid_raw(1, 0, &a, &b, &c, &d);
    if (!(d >> 12 & 1)) {
        mtrr->def_type = MTRR_DEF_ENABLE | CACHE_WB; /* no MTRRs: the PAT alone decides */
        return;
    }
    mtrr->cap = rdmsr(MSR_MTRRCAP);
    mtrr->def_type = rdmsr(MSR_MTRR_DEF_TYPE);
    if (mtrr->cap & MTRRCAP_FIXED) {
        for (unsigned int i = 0; i < MTRR_FIXED; i++)
            mtrr->fixed[i] = rdmsr(mtrr_fixed_msr(i));
    }
    for (unsigned int i = 0; i < (mtrr->cap & MTRRCAP_COUNT) && i < MTRR_VARIABLE_MAX; i++) {
        mtrr->variable[i].base = rdmsr(MSR_MTRR_PHYSBASE0 + 2 * i);
        mtrr->variable[i].mask = rdmsr(MSR_MTRR_PHYSBASE0 + 2 * i + 1);
    }
}

static int build_guest_map(void)
{
    int error = guest_map_set(&vm.guest_map, gpa(0), GUEST_MAP_END, hpa(0), GUEST_PASS);
    if (error == 0)
        error = guest_map_set(&vm.guest_map, gpa(latch_range.start),
                              latch_range.end - latch_range.start, hpa(0), GUEST_ABSENT);
    if (error == 0 && vm.icr_trapped)
        error = guest_map_set(&vm.guest_map, gpa(apic_page()), PAGE_SIZE, hpa(apic_page()),
                              GUEST_READ_ONLY);
    return error;
}

static uint64_t end_of_ram(void)
{
    uint64_t end = FOUR_GIB;
    for (unsigned int i = 0; i < vm.map.count; i++) {
        if (vm.map.range[i].type == MEMORY_RAM && vm.map.range[i].end > end)
            end = vm.map.range[i].end;
    }
    return (end + PAGE_OFFSET_MASK) & ~PAGE_OFFSET_MASK;
}

static int build_root(struct vcpu *v, const struct role_context *context)
{
    const struct paging_state state = {.cr0 = CR0_ET, .props = &v->props};
    int error = direct_root(&vm.direct, role_from_state(&state, context, vm.direct.format.levels),
                            &v->root);
    if (error == 0)
        error = direct_build(&vm.direct, v->root, gpa(vm.filled));
    return error;
}

int vm_build_memory(void)
{
    struct backend_caps caps = {.format = NULL};
    struct table_format format;
    hpa_t descriptors;
    backend_caps(&caps);
    vm.env = (struct mmu_env){.alloc_page = memory_env_alloc,
                              .free_page = memory_env_free,
                              .map = memory_env_map,
                              .flush = env_flush};
    enum page_format id = strcmp(caps.format, "EPT") == 0 ? FORMAT_EPT : FORMAT_NPT;
    int error = format_init(&format, id, 4, caps.page_1g ? 3 : 2, caps.execute_only);
    if (error == 0)
        error = memory_alloc_pages(DESCRIPTOR_PAGES, &descriptors);
    if (error == 0) {
        table_cache_init(&vm.cache, &vm.env, memory_at(descriptors),
                         DESCRIPTOR_PAGES * PAGE_SIZE / sizeof(struct table_page));
        read_mtrrs(&vm.mtrr);
        vm.filled = end_of_ram();
        error = build_guest_map();
    }
    direct_init(&vm.direct, &vm.env, &vm.cache, &format, &vm.guest_map, &vm.mtrr);
    const struct role_context context = {
        .format = id, .direct = true, .execute_only = caps.execute_only};
    for (unsigned int i = 0; i < vm.vcpu_count && error == 0; i++)
        error = build_root(vm.vcpu[i], &context);
    return error;
}

/* NPT leaves the types to the hardware's MTRRs; EPT entries carry them. The new tables are filled at
 * once, so that nothing exits later on. */
void vm_follow_mtrrs(void)
{
    struct mtrr_state now;
    read_mtrrs(&now);
    if (!(now.def_type & MTRR_DEF_ENABLE) || vm.direct.format.id != FORMAT_EPT ||
        memcmp(&now, &vm.mtrr, sizeof(now)) == 0)
        return;
    vm.mtrr = now;
    direct_rebuild(&vm.direct);
    for (unsigned int i = 0; i < vm.vcpu_count; i++)
        (void)direct_build(&vm.direct, vm.vcpu[i]->root, gpa(vm.filled)); /* else on demand */
}

void *vm_memory(const struct vm *of, gpa_t address, uint64_t size)
{
    if (size == 0 || address.raw + size < address.raw ||
        !memory_map_is_ram(&of->map, address.raw, address.raw + size))
        return NULL;
    return memory_at(hpa(address.raw)); /* guest- and host-physical are the same */
}

unsigned int vm_read(const struct vm *from, gpa_t address, void *buffer, unsigned int size)
{
    unsigned int done = 0;
    while (done < size) {
        gpa_t at = gpa(address.raw + done);
        unsigned int part = (unsigned int)(PAGE_SIZE - (at.raw & PAGE_OFFSET_MASK));
        if (part > size - done)
            part = size - done;
        const void *memory = vm_memory(from, at, part);
        if (memory == NULL)
            break;
        memcpy((uint8_t *)buffer + done, memory, part);
        done += part;
    }
    return done;
}

bool vm_read_entry(const struct vm *from, gpa_t address, unsigned int size, uint64_t *value)
{
    const void *memory = vm_memory(from, address, size);
    *value = size == 8 ? UINT64_MAX : UINT32_MAX;
    if (memory == NULL)
        return false;
    *value = size == 8 ? *(const volatile uint64_t *)memory : *(const volatile uint32_t *)memory;
    return true;
}
