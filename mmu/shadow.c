/* SPDX-License-Identifier: BSD-2-Clause */
#include "mmu/shadow.h"
#include "mmu/registers.h"
#include "mmu/reserved.h"
#include "mmu/shadow_private.h"
#include "mmu/shadow_root.h"
#include <errno.h>
#include <stddef.h>
#include <string.h>

#define PATIENCE_MAX 32U

static bool tracked_frames(const void *ctx, gfn_t first, uint64_t count)
{
    return shadow_is_tracked(ctx, first, count);
}

void shadow_init(struct shadow *s, const struct mmu_env *env, const struct walk_env *guest,
                 struct direct *direct, hpa_t first, unsigned int count, unsigned int cpus,
                 struct shadow_page *descriptors, bool track)
{
    *s = (struct shadow){.env = env,
                         .guest = guest,
                         .direct = direct,
                         .pages = descriptors,
                         .first = first,
                         .tables = env->map(env->ctx, first),
                         .count = count,
                         .track = track};
    pool_clear(s);
    direct_set_tables(direct, first, count * PAGE_SIZE, cpus * SHADOW_WINDOW);
    direct->tracked = tracked_frames;
    direct->tracked_ctx = s;
}

/* The vCPU's place in the list; or its end, and how many there are. */
static struct shadow_cpu **find_cpu(struct shadow *s, const struct shadow_cpu *cpu,
                                    unsigned int *count)
{
    struct shadow_cpu **link = &s->cpus;

    for (*count = 0; *link && *link != cpu; ++*count)
        link = &(*link)->next;
    return link;
}

int shadow_cpu_init(struct shadow *s, struct shadow_cpu *cpu, const struct paging_props *props,
                    const struct role_context *context)
{
    unsigned int cpus;
    struct shadow_cpu **link = find_cpu(s, cpu, &cpus);
    struct shadow_page *root = *link ? cpu->pae_root : NULL;
    struct shadow_cpu *next = *link ? cpu->next : NULL;

    if (!*link) {
        if (s->count < SHADOW_PAGES_PER_CPU * (cpus + 2U))
            return -ENOMEM;
        if (s->fresh != s->kept)
            return -EBUSY;
        root = pool_take(s);
        s->kept = s->fresh;
        root->users = 1;
        root->role = (union page_role){.level = 3, .format = FORMAT_SHADOW_PAE, .direct = 1};
    }
    memset(shadow_table(s, root), 0, PAGE_SIZE);
    *cpu = (struct shadow_cpu){
        .context = *context, .pae_root = root, .next = next, .state = {.props = props}};
    cpu->context.direct = cpu->context.tables = false;
    *link = cpu;
    return 0;
}

/* The rules by which the guest's tables are read now. */
static void set_reserved(struct shadow_cpu *cpu, enum paging_mode mode)
{
    for (unsigned int level = 1; level <= paging_levels(mode); level++)
        for (unsigned int leaf = 0; leaf < 2; leaf++)
            cpu->reserved[level][leaf] =
                reserved_mask(mode, level, leaf, cpu->state.props, cpu->role.nxe);
}

static bool is_long(union page_role role)
{
    return role.mode == MODE_4LEVEL || role.mode == MODE_5LEVEL;
}

static struct shadow_stay *stay_of(struct shadow_cpu *cpu, uint64_t pcid)
{
    return &cpu->stay[(pcid ^ pcid >> 8) % SHADOW_STAYS];
}

void shadow_forget_pcid(struct shadow_cpu *cpu, uint64_t pcid)
{
    stay_of(cpu, pcid)->end = 0;
}

/* The end of the last stay with this CR3; 0 if nothing is known of it. */
static uint64_t begin_stay(struct shadow *s, struct shadow_cpu *cpu)
{
    const uint64_t old = cpu->stay_cr3, new = cpu->state.cr3;
    const struct shadow_stay *stay = stay_of(cpu, cpu->state.cr3 & CR3_PCID);

    *stay_of(cpu, old & CR3_PCID) = (struct shadow_stay){.cr3 = old, .end = ++s->clock};
    cpu->stay_cr3 = new;
    return stay->cr3 == new && stay->end > cpu->forgotten ? stay->end : 0;
}

static void forget_stays(const struct shadow *s, struct shadow_cpu *cpu)
{
    cpu->forgotten = s->clock;
    cpu->stay_cr3 = cpu->state.cr3;
}

static void load(struct shadow *s, struct shadow_cpu *cpu, uint64_t since)
{
    private_leave(s, cpu);
    shadow_reserve(s, 4);
    if (is_long(cpu->role))
        root_load_long(s, cpu);
    else
        root_load_pae(s, cpu);
    shadow_sync_below(s, cpu->root, since);
    shadow_track_candidates(s);
    shadow_reap(s);
    cpu->cr3 = shadow_address(s, cpu->root);
    cpu->unlinked = s->unlinked;
    cpu->changed = true;
}

void shadow_load_cr3(struct shadow *s, struct shadow_cpu *cpu, bool flush)
{
    uint64_t since = 0;

    if (cpu->private.on) /* what the guest invalidated meanwhile was not looked at */
        forget_stays(s, cpu);
    else if (cpu->state.cr4 & CR4_PCIDE)
        since = begin_stay(s, cpu);
    load(s, cpu, flush ? 0 : since);
}

void shadow_flush(struct shadow *s, struct shadow_cpu *cpu)
{
    forget_stays(s, cpu);
    load(s, cpu, 0);
}

void shadow_load(struct shadow *s, struct shadow_cpu *cpu)
{
    enum paging_mode mode = paging_mode(&cpu->state);
    bool long_mode = mode == MODE_4LEVEL || mode == MODE_5LEVEL;
    union page_role old = cpu->role;

    if (mode == MODE_OFF)
        return;
    cpu->context.format = long_mode ? FORMAT_SHADOW_LONG : FORMAT_SHADOW_PAE;
    cpu->role = role_from_state(&cpu->state, &cpu->context, long_mode ? paging_levels(mode) : 3U);
    if (cpu->role.mode != old.mode || cpu->role.nxe != old.nxe)
        set_reserved(cpu, mode);
    forget_stays(s, cpu);
    if (long_mode)
        cpu->root_role = role_at_level(cpu->role, cpu->role.level, gfn(0));
    load(s, cpu, 0);
}

void shadow_unload(struct shadow *s, struct shadow_cpu *cpu)
{
    private_leave(s, cpu);
    root_leave(s, cpu);
    forget_stays(s, cpu);
    cpu->changed = true;
}

/* Look at the one entry that a leaf table has for an address. */
static void sync_leaf(struct shadow *s, struct shadow_cpu *cpu, gla_t address)
{
    struct shadow_page *page = cpu->root;

    while (page && page->role.level > 1)
        page = shadow_child(s, page, shadow_table(s, page)[shadow_index(page, address)]);
    if (page && !page->role.direct && !page->tracked)
        shadow_sync_entry(s, page, shadow_index(page, address));
}

void shadow_invalidate(struct shadow *s, struct shadow_cpu *cpu, gla_t address)
{
    bool linked = false;

    if (!cpu->root)
        return;
    if (cpu->private.on) {
        private_drop(s, cpu, address);
        return;
    }
    if (cpu->role.mode == MODE_PAE && !cpu->state.pdpte_held) {
        shadow_reserve(s, 4);
        linked = root_load_pae(s, cpu);
    }
    if (linked)
        shadow_sync_below(s, cpu->root, 0);
    else
        shadow_sync_upper(s, cpu->root);
    sync_leaf(s, cpu, address);
    shadow_track_candidates(s);
    shadow_reap(s);
    /* The CPU may still hold a link that was dropped, for whatever address, or another part of a
     * large page: the guest's may be larger than the hardware's. */
    shadow_flush_unlinked(s, cpu);
}

bool shadow_write(struct shadow *s, gfn_t frame)
{
    bool found = false;

    for (struct shadow_page *page = shadow_of_frame(s, frame); page;
         page = shadow_next_of_frame(page)) {
        if (!page->tracked)
            continue;
        found = true;
        shadow_set_unsynced(s, page);
        if (page->patience < PATIENCE_MAX)
            page->patience *= 2U;
    }
    if (found)
        direct_protect(s->direct, frame, true);
    return found;
}

static bool frame_is_tracked(const struct shadow *s, gfn_t frame)
{
    const struct shadow_page *page = shadow_of_frame(s, frame);

    return page && page->tracked;
}

bool shadow_is_tracked(const struct shadow *s, gfn_t first, uint64_t count)
{
    if (s->tracked == 0)
        return false;
    if (count <= 64) {
        for (uint64_t i = 0; i < count; i++)
            if (frame_is_tracked(s, gfn(first.raw + i)))
                return true;
        return false;
    }
    for (const struct shadow_link *link = s->tracked_pages.next; link != &s->tracked_pages;
         link = link->next)
        if (page_of_sync((struct shadow_link *)link)->frame.raw - first.raw < count)
            return true;
    return false;
}

/* Only what the nested tables have read-only is looked at. */
void shadow_clear(struct shadow *s)
{
    while (!link_empty(&s->tracked_pages)) {
        struct shadow_page *page = page_of_sync(s->tracked_pages.next);

        link_remove(&page->sync);
        page->tracked = false;
        direct_protect(s->direct, page->frame, true);
    }
    pool_clear(s);
}
