/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef LATCH_TESTS_UNIT_TLB_NEW_H
#define LATCH_TESTS_UNIT_TLB_NEW_H
/* A new machine of tlb_machine.h: its models, modes and sizes follow from a seed. */
#include "mmu/shadow_pool.h"
#include "tests/unit/tlb_machine.h"

static void set_range(uint64_t start, uint64_t end, enum guest_kind kind)
{
    hpa_t base = hpa(kind == GUEST_ABSENT ? 0 : start + RAM_HOST);

    CHECK_EQ(guest_map_set(&m.map, gpa(start), end - start, base, kind), 0);
}

/* Unlike models: in some machines pages of 1 GiB and the vendors' uppermost entries alone tell them
 * apart, so that they share most; in others what is an address bit to one is the C-bit to the next,
 * and reserved to the last. */
static struct paging_props model(unsigned int index)
{
    const bool second = m.unlike && index == 1;
    struct paging_props props = {.maxphyaddr = WIDTH,
                                 .gbpages = !m.unlike || second,
                                 .nx = true,
                                 .pse36 = true,
                                 .pat = true,
                                 .vendor = m.intel != second ? PAGING_INTEL : PAGING_AMD};

    if (!m.unlike || (m.mode == MODE_4LEVEL && m.cpus == 2))
        return props;
    props.maxphyaddr = (uint8_t)(WIDTH - 4U * index);
    props.cbit = second ? CBIT : 0;
    return props;
}

static void add_cpu(struct vcpu *c)
{
    static const struct role_context context = {.format = FORMAT_SHADOW_LONG};

    c->props = model((unsigned int)(c - m.cpu));
    /* A limit, so that the plain roots of the two differ at the top and share what is below. */
    if (!m.unlike && c != m.cpu)
        c->props.maxphyaddr--;
    for (unsigned int tables = 0; tables < 2; tables++) {
        struct paging_state state = {.props = &c->props};
        struct role_context nested = {
            .format = m.direct.format.id, .direct = true, .tables = tables};

        CHECK_EQ(direct_root(&m.direct, role_from_state(&state, &nested, m.direct.format.levels),
                             &c->root[tables]),
                 0);
    }
    if (!m.unlike)
        c->props.maxphyaddr = WIDTH;
    CHECK_EQ(shadow_cpu_init(&m.shadow, &c->shadow, &c->props, &context), 0);
    c->shadow.state.efer = is_narrow() ? 0 : EFER_NXE;
    c->active = c->root[0];
    cache_drop(&c->nested);
    cache_drop(&c->linear);
    cache_drop(&c->guest);
}

static void machine_new(uint64_t seed)
{
    static const enum paging_mode modes[] = {MODE_4LEVEL, MODE_PAE, MODE_32BIT_PSE, MODE_5LEVEL,
                                             MODE_32BIT};
    struct table_format format;

    m.env = memory_env(&m.memory);
    m.env.map = machine_map;
    m.env.flush = machine_flush;
    m.env.free_page = machine_free;
    m.guest =
        (struct walk_env){.read = guest_read, .compare_exchange = guest_mark, .ram = guest_ram};
    m.intel = seed & 1U;
    m.mode = modes[seed / 2 % COUNT(modes)];
    m.second = seed / 20 & 1U ? 1 : 100;
    m.unlike = seed / 20 >= 2;
    m.pcids = long_mode() && (seed / 20 & 1U);
    m.third_off = seed / 10 & 1U;
    m.cpus = seed / 20 % 4 == 3 ? 3 : 2;
    m.shadow_pages = (m.cpus + 1U) * SHADOW_PAGES_PER_CPU;
    m.seed = (seed + 1U) * 0x9e3779b97f4a7c15UL | 1U;
    m.stale = NULL;
    m.in_latch = &m.cpu[0];
    CHECK_EQ(format_init(&format, m.intel ? FORMAT_EPT : FORMAT_NPT, 4, 3, false), 0);
    table_cache_init(&m.cache, &m.env, m.nested_pages, NESTED_MAX);
    m.map = (struct guest_map){.count = 0};
    m.mtrr = (struct mtrr_state){.def_type = MTRR_DEF_ENABLE | CACHE_WB};
    set_range(0, GUEST_SIZE, GUEST_PASS);
    set_range(TABLES, TABLES + m.shadow_pages * PAGE_SIZE + CPUS * SHADOW_WINDOW, GUEST_ABSENT);
    direct_init(&m.direct, &m.env, &m.cache, &format, &m.map, &m.mtrr);
    shadow_init(&m.shadow, &m.env, &m.guest, &m.direct, hpa(TABLES), m.shadow_pages, CPUS, m.pages,
                true);
    memset(m.ram, 0, sizeof(m.ram));
    memset(m.pool, 0, sizeof(m.pool));
    for (unsigned int i = 0; i < m.cpus; i++)
        add_cpu(&m.cpu[i]);
    m.in_latch = NULL;
}

#endif
