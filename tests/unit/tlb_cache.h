/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef LATCH_TESTS_UNIT_TLB_CACHE_H
#define LATCH_TESTS_UNIT_TLB_CACHE_H
/*
 * What a CPU may hold of page tables, as greedily as the manuals allow (SDM vol. 3 §4.10, §29.4; APM
 * vol. 2 §5.5, §15.16): every page and every link to a table that it could have read since
 * something dropped it. Nothing is pushed out, and each link is followed again at each crawl, so
 * what a forgotten flush leaves behind is there, and not only with luck.
 */
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#define CACHE_LINKS  4096U
#define CACHE_LEAVES 2048U /* 1 << 11 */

/* A page or a link. Pages are held in parts of 4 KiB, since a CPU may do so. */
struct held {
    bool valid, global;
    unsigned int level;   /* link: of the table that it leads to */
    unsigned int rights;  /* what is left of them */
    uint64_t tag;         /* EP4TA or PCID */
    uint64_t first;       /* leaf: of the part; link: first address that it covers */
    uint64_t start, size; /* what the entry covers */
    uint64_t to;
};

struct cache {
    unsigned int links, leaves;
    struct held link[CACHE_LINKS];
    struct held leaf[CACHE_LEAVES];
    uint16_t slot[CACHE_LEAVES]; /* where each is by its address: its number and one, or 0 */
};

/* One entry of one table. */
struct step {
    bool leaf, global;
    unsigned int rights; /* that it leaves */
    uint64_t size;       /* that it covers */
    uint64_t to;         /* first byte of the page or of the table */
};

struct tables {
    /* False: nothing that a CPU may hold. */
    bool (*step)(void *ctx, uint64_t table, unsigned int level, uint64_t address,
                 struct step *step);
    void *ctx;
};

static inline void cache_drop(struct cache *c)
{
    c->links = 0;
    if (c->leaves != 0)
        memset(c->slot, 0, sizeof(c->slot));
    c->leaves = 0;
}

static inline bool held_equal(const struct held *a, const struct held *b)
{
    return a->level == b->level && a->rights == b->rights && a->tag == b->tag &&
           a->global == b->global && a->first == b->first && a->start == b->start &&
           a->size == b->size && a->to == b->to;
}

static inline void add_link(struct cache *c, const struct held *new)
{
    for (unsigned int i = 0; i < c->links; i++)
        if (held_equal(&c->link[i], new))
            return;
    if (c->links == CACHE_LINKS)
        abort();
    c->link[c->links++] = *new;
}

static inline uint64_t leaf_slot(uint64_t first)
{
    return (first >> 12) * 0x9e3779b97f4a7c15UL >> 53;
}

/* One that was dropped is used again. */
static inline void add_leaf(struct cache *c, const struct held *new)
{
    uint64_t slot = leaf_slot(new->first);

    for (; c->slot[slot] != 0; slot = (slot + 1) % CACHE_LEAVES) {
        struct held *old = &c->leaf[c->slot[slot] - 1U];

        if (!held_equal(old, new))
            continue;
        old->valid = true;
        return;
    }
    if (c->leaves == CACHE_LEAVES - 1U)
        abort();
    c->leaf[c->leaves++] = *new;
    c->slot[slot] = (uint16_t)c->leaves;
}

/* Forget leaves that were dropped one by one. */
static inline void cache_compact(struct cache *c)
{
    const unsigned int leaves = c->leaves;

    memset(c->slot, 0, sizeof(c->slot));
    c->leaves = 0;
    for (unsigned int i = 0; i < leaves; i++) {
        const struct held leaf = c->leaf[i];

        if (leaf.valid)
            add_leaf(c, &leaf);
    }
}

static inline void cache_drop_links(struct cache *c, uint64_t tag)
{
    unsigned int kept = 0;

    for (unsigned int i = 0; i < c->links; i++)
        if (c->link[i].tag != tag)
            c->link[kept++] = c->link[i];
    c->links = kept;
}

/* INVLPG: the address' page, of whatever size, global or of this PCID, and all links of the PCID
 * (SDM vol. 3 §4.10.4.1). INVPCID of an address: the same without global pages. */
static inline void cache_drop_page(struct cache *c, uint64_t tag, uint64_t address, bool globals)
{
    cache_drop_links(c, tag);
    for (unsigned int i = 0; i < c->leaves; i++)
        if (address - c->leaf[i].start < c->leaf[i].size &&
            (c->leaf[i].global ? globals : c->leaf[i].tag == tag))
            c->leaf[i].valid = false;
}

/* A #PF: what would be used for its address, of this PCID, but of a large page its part alone. */
static inline void cache_drop_fault(struct cache *c, uint64_t tag, uint64_t address)
{
    unsigned int kept = 0;

    for (unsigned int i = 0; i < c->links; i++)
        if (address - c->link[i].start >= c->link[i].size || c->link[i].tag != tag)
            c->link[kept++] = c->link[i];
    c->links = kept;
    for (unsigned int i = 0; i < c->leaves; i++)
        if (c->leaf[i].first == (address & ~0xfffUL) &&
            (c->leaf[i].global || c->leaf[i].tag == tag))
            c->leaf[i].valid = false;
}

/* MOV to CR3, and INVPCID of one PCID: global pages stay. */
static inline void cache_drop_tag(struct cache *c, uint64_t tag)
{
    cache_drop_links(c, tag);
    for (unsigned int i = 0; i < c->leaves; i++)
        if (!c->leaf[i].global && c->leaf[i].tag == tag)
            c->leaf[i].valid = false;
    cache_compact(c);
}

/* INVVPID "retaining globals", TLB_CONTROL 7, INVPCID of all but globals. */
static inline void cache_drop_local(struct cache *c)
{
    c->links = 0;
    for (unsigned int i = 0; i < c->leaves; i++)
        if (!c->leaf[i].global)
            c->leaf[i].valid = false;
    cache_compact(c);
}

/* INVVPID and INVLPGA of one address: no manual promises more than its part of a large page, and
 * the links on the way to it. */
static inline void cache_drop_part(struct cache *c, uint64_t address)
{
    unsigned int kept = 0;

    for (unsigned int i = 0; i < c->links; i++)
        if (address - c->link[i].start >= c->link[i].size)
            c->link[kept++] = c->link[i];
    c->links = kept;
    for (unsigned int i = 0; i < c->leaves; i++)
        if (c->leaf[i].first == (address & ~0xfffUL))
            c->leaf[i].valid = false;
}

static inline void cache_follow(struct cache *c, const struct tables *t, const struct held *from,
                                uint64_t address)
{
    struct held at = *from;
    bool global;

    for (;;) {
        struct step step;

        if (!t->step(t->ctx, at.to, at.level, address, &step))
            return;
        at.rights &= step.rights;
        at.start = at.first = address & ~(step.size - 1U);
        at.size = step.size;
        at.to = step.to;
        global = step.global;
        if (step.leaf)
            break;
        at.level--;
        add_link(c, &at);
    }
    at.level = 0;
    at.first = address & ~0xfffUL;
    at.global = global;
    at.to += at.first - at.start;
    add_leaf(c, &at);
}

/* Hold all that there is on the way to an address: from the root (of this level), and from each
 * link that is held under this tag. */
static inline void cache_crawl(struct cache *c, const struct tables *t, uint64_t tag,
                               uint64_t table, unsigned int level, uint64_t address)
{
    const struct held top = {.valid = true, .level = level, .rights = ~0U, .tag = tag, .to = table};
    unsigned int links = c->links;

    if (level != 0)
        cache_follow(c, t, &top, address);
    for (unsigned int i = 0; i < links; i++)
        if (c->link[i].tag == tag && address - c->link[i].start < c->link[i].size)
            cache_follow(c, t, &c->link[i], address);
}

#endif
