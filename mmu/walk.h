/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef LATCH_MMU_WALK_H
#define LATCH_MMU_WALK_H
/*
 * A walk of the guest's own page tables, exactly as the modelled CPU would make it: SDM vol. 3
 * §4.3 to §4.7, APM vol. 2 §5.2 to §5.6. The tables are hostile memory: at most five entries are
 * read, each once, wherever they point.
 */
#include "mmu/mmu.h"

struct walk_env {
    void *ctx;
    /* Read an entry of `size` (4 or 8) bytes, naturally aligned, in one access. 0, also for an
     * address without memory, which reads as all ones; or an error to end the walk with. */
    int (*read)(void *ctx, gpa_t address, unsigned int size, uint64_t *value);
    /* Replace an entry in one access if it is still `expected`. 0, -EAGAIN if it is not, or an
     * error to end the walk with. NULL: A and D bits stay as they are. */
    int (*compare_exchange)(void *ctx, gpa_t address, unsigned int size, uint64_t expected,
                            uint64_t value);
    /* The RAM of a whole frame, in which entries can be read directly, or NULL. Shadow tables only. */
    const void *(*ram)(void *ctx, gfn_t frame);
    /* What reserved_mask() says of the state, by level and leaf; NULL: to be asked each time. */
    const uint64_t (*reserved)[2];
};

/* What the CPU wants to do: ACCESS_READ, ACCESS_WRITE or ACCESS_EXECUTE, with ACCESS_USER at CPL 3,
 * or with WALK_IMPLICIT for its own accesses to descriptors and the like (SDM vol. 3 §4.6). */
#define WALK_IMPLICIT 16U

struct walk_result {
    gpa_t address;       /* that the linear address means */
    uint64_t page_size;  /* of the guest's page: 4 KiB, 2 MiB, 4 MiB, 1 GiB; paging off: 4 KiB */
    unsigned int rights; /* enum access with USER: what the entries grant, keys left aside */
    bool without_wp;     /* after 0: a write that is allowed only as CR0.WP is 0 */
    uint32_t error_code; /* of the #PF, after -EFAULT */
    unsigned int level;  /* of the last entry read; 0 with paging off */
    uint64_t entry;      /* the last entry read */
};

/*
 * Returns 0; -EFAULT for a #PF with result->error_code (CR2 is `address`); -EINVAL if the address
 * is not canonical in long mode (#GP or #SS, the caller's to choose); -EAGAIN if entries changed
 * under A/D updates again and again; or an error of the environment.
 */
int guest_walk(const struct walk_env *env, const struct paging_state *state, gla_t address,
               unsigned int access, struct walk_result *result);

#endif
