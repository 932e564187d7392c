/* SPDX-License-Identifier: BSD-2-Clause */
#include "kernel/vm.h"
#include "kernel/apic.h"
#include "kernel/backend.h"
#include "kernel/machine.h"
#include "kernel/memory.h"
#include "kernel/mmio.h"
#include "kernel/x86.h"
#include <errno.h>
#include <string.h>

#define FOUR_GIB 0x100000000UL

struct vm vm;

int vm_walk_read(void *ctx, gpa_t address, unsigned int size, uint64_t *value)
{
    (void)vm_read_entry(ctx, address, size, value);
    return 0;
}

static const void *walk_ram(void *ctx, gfn_t frame)
{
    return vm_memory(ctx, gpa_of(frame), PAGE_SIZE);
}

/* What is not the guest's RAM takes no A and D bits, as ROM would not. */
static int walk_compare_exchange(void *ctx, gpa_t address, unsigned int size, uint64_t expected,
                                 uint64_t value)
{
    void *entry = vm_memory(ctx, address, size);
    bool done = true;
    if (entry != NULL && size == 8) {
        done = __atomic_compare_exchange_n((uint64_t *)entry, &expected, value, false,
                                           __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST);
    } else if (entry != NULL) {
        uint32_t old = (uint32_t)expected;
        done = __atomic_compare_exchange_n((uint32_t *)entry, &old, (uint32_t)value, false,
                                           __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST);
    }
    return done ? 0 : -EAGAIN;
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
    int error = guest_map_set(&vm.guest_map, gpa(0), encryption_reach(&memory_encryption), hpa(0),
                              GUEST_PASS);
    if (error == 0)
        error = guest_map_set(&vm.guest_map, gpa(latch_range.start),
                              latch_range.end - latch_range.start, hpa(0), GUEST_ABSENT);
    if (error == 0 && vm.icr_trapped)
        error = guest_map_set(&vm.guest_map, gpa(apic_page()), PAGE_SIZE, hpa(apic_page()),
                              GUEST_READ_ONLY);
    const uint64_t reset = mmio_watch_reset();
    if (error == 0 && reset != 0)
        error = guest_map_set(&vm.guest_map, gpa(reset), PAGE_SIZE, hpa(reset), GUEST_READ_ONLY);
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

static struct memory_range find_main_ram(void)
{
    struct memory_range found = {.start = 0};
    for (unsigned int i = 0; i < vm.map.count; i++) {
        const struct memory_range *range = &vm.map.range[i];
        if (range->type == MEMORY_RAM && range->end - range->start > found.end - found.start)
            found = *range;
    }
    return found;
}

static int build_root(struct vcpu *v, const struct role_context *context, struct table_page **root)
{
    const struct paging_state state = {.cr0 = CR0_ET, .props = &v->props};
    const unsigned int roots = vm.direct.roots;
    int error =
        direct_root(&vm.direct, role_from_state(&state, context, vm.direct.format.levels), root);
    if (error == 0 && vm.direct.roots != roots)
        error = direct_build(&vm.direct, *root, gpa(vm.filled));
    return error;
}

static unsigned int count_shadowed(void)
{
    unsigned int count = 0;
    for (unsigned int i = 0; i < vm.vcpu_count; i++)
        count += vm.vcpu[i]->paging == PAGED_SHADOW;
    return count;
}

/* Next to vCPUs whose tables the hardware walks none are tracked: it would fault at its own A and D
 * bits. */
static int init_shadow(void)
{
    const uint64_t count = (latch_range.home - latch_range.start) / PAGE_SIZE;
    const uint64_t size = count * sizeof(struct shadow_page);
    const uint64_t windows = vm.vcpu_count * SHADOW_WINDOW; /* at Latch's other addresses */
    hpa_t descriptors;
    int error =
        count == 0 || windows > latch_range.end - latch_range.home
            ? -ENOMEM
            : memory_alloc_pages((unsigned int)((size + PAGE_SIZE - 1) / PAGE_SIZE), &descriptors);
    if (error == 0)
        shadow_init(&vm.shadow, &vm.env, &vm.walk, &vm.direct, hpa(latch_range.start),
                    (unsigned int)count, vm.vcpu_count, memory_at(descriptors),
                    count_shadowed() == vm.vcpu_count);
    return error;
}

static int build_shadow(struct vcpu *v, struct role_context context)
{
    hpa_t page;
    _Static_assert(sizeof(struct shadow_cpu) <= PAGE_SIZE, "it comes from a page");
    int error = v->shadow != NULL ? 0 : memory_alloc_page(&page);
    if (error != 0)
        return error;
    if (v->shadow == NULL)
        v->shadow = memory_at(page);
    error = shadow_cpu_init(&vm.shadow, v->shadow, &v->props, &context);
    context.tables = true;
    return error != 0 ? error : build_root(v, &context, &v->shadow_root);
}

static int build_tables(void)
{
    const struct role_context context = {.format = vm.direct.format.id,
                                         .direct = true,
                                         .execute_only = vm.direct.format.execute_only};
    int error = count_shadowed() != 0 && vm.shadow.count == 0 ? init_shadow() : 0;
    for (unsigned int i = 0; i < vm.vcpu_count && error == 0; i++) {
        struct vcpu *v = vm.vcpu[i];
        error = build_root(v, &context, &v->root);
        if (error == 0 && v->paging == PAGED_SHADOW)
            error = build_shadow(v, context);
    }
    return error;
}

/* Room to remember as many table pages as the pool has pages. */
static int init_cache(void)
{
    unsigned int pages, unused;
    hpa_t descriptors;
    memory_count(&pages, &unused);
    const uint64_t size = (uint64_t)pages * sizeof(struct table_page);
    int error =
        memory_alloc_pages((unsigned int)((size + PAGE_SIZE - 1) / PAGE_SIZE), &descriptors);
    if (error == 0)
        table_cache_init(&vm.cache, &vm.env, memory_at(descriptors), pages);
    return error;
}

int vm_build_memory(void)
{
    struct backend_caps caps = {.format = NULL};
    struct table_format format;
    backend_caps(&caps);
    vm.init_exits = caps.init_exits;
    vm.env = (struct mmu_env){.alloc_page = memory_env_alloc,
                              .free_page = memory_env_free,
                              .map = memory_env_map,
                              .flush = vm_flush};
    vm.walk = (struct walk_env){.ctx = &vm,
                                .read = vm_walk_read,
                                .compare_exchange = walk_compare_exchange,
                                .ram = walk_ram};
    enum page_format id = strcmp(caps.format, "EPT") == 0 ? FORMAT_EPT : FORMAT_NPT;
    int error = format_init(&format, id, caps.levels, caps.page_1g ? 3 : 2, caps.execute_only);
    format.encryption = &memory_encryption;
    if (error == 0)
        error = init_cache();
    if (error == 0) {
        read_mtrrs(&vm.mtrr);
        vm.filled = end_of_ram();
        vm.main_ram = find_main_ram();
        error = build_guest_map();
    }
    direct_init(&vm.direct, &vm.env, &vm.cache, &format, &vm.guest_map, &vm.mtrr);
    return error == 0 ? build_tables() : error;
}

/* Of the nested tables only what a new model needs is added. Of the shadow tables all go, with paging
 * off as well as on: an INIT leaves the guest's tables as they are, so that what was made of them can
 * serve again, but a RESET comes with memory cleared. */
int vm_renew_memory(void)
{
    for (unsigned int i = 0; i < vm.vcpu_count; i++) {
        struct shadow_cpu *cpu = vm.vcpu[i]->shadow;
        if (cpu == NULL)
            continue;
        cpu->state.cr0 &= ~CR0_PG;
        shadow_unload(&vm.shadow, cpu);
    }
    if (vm.shadow.count != 0) {
        shadow_clear(&vm.shadow);
        vm.shadow.track = count_shadowed() == vm.vcpu_count;
    }
    int error = build_tables();
    if (error == -ENOMEM) { /* the last generation has used it all */
        direct_rebuild(&vm.direct);
        error = build_tables();
    }
    if (error == 0 && vm.icr_trapped)
        error = direct_set_kind(&vm.direct, gpa(apic_page()), PAGE_SIZE, GUEST_READ_ONLY);
    return error == 0 && vm_pool_left() < DIRECT_PAGES_MIN ? -ENOMEM : error;
}

unsigned int vm_pool_left(void)
{
    unsigned int total, unused;
    memory_count(&total, &unused);
    return unused + vm.cache.pages - vm.direct.roots;
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
    for (unsigned int i = 0; i < vm.direct.roots; i++)
        (void)direct_build(&vm.direct, vm.direct.root[i], gpa(vm.filled)); /* else on demand */
}

void *vm_memory(const struct vm *of, gpa_t address, uint64_t size)
{
    uint64_t offset = address.raw - of->main_ram.start,
             length = of->main_ram.end - of->main_ram.start;
    if (size - 1 < length && offset <= length - size)
        return memory_at(hpa(address.raw));
    if (size == 0 || address.raw + size < address.raw ||
        !memory_map_is_ram(&of->map, address.raw, address.raw + size))
        return NULL;
    return memory_at(hpa(address.raw)); /* guest- and host-physical are the same */
}

void *vm_memory_for_write(struct vm *of, gpa_t address, uint64_t size)
{
    void *memory = vm_memory(of, address, size);
    if (memory == NULL)
        return NULL;
    for (uint64_t frame = address.raw >> PAGE_SHIFT; frame << PAGE_SHIFT < address.raw + size;
         frame++)
        (void)shadow_write(&of->shadow, gfn(frame));
    return memory;
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
    if (memory == NULL) {
        uint64_t ones = size == 8 ? UINT64_MAX : UINT32_MAX;
        *value = machine_reads_zeros() ? 0 : ones;
        return false;
    }
    *value = size == 8 ? *(const volatile uint64_t *)memory : *(const volatile uint32_t *)memory;
    return true;
}
