/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What of the host's CPU a guest may see: one table, a line per feature (policy_table.c), with the
 * reason and with what follows from the feature. What the table does not name is hidden.
 */
#ifndef LATCH_CPUID_POLICY_H
#define LATCH_CPUID_POLICY_H

#include "cpuid/model.h"

enum cpuid_register {
    CPUID_EAX,
    CPUID_EBX,
    CPUID_ECX,
    CPUID_EDX,
};

enum disposition {
    FEATURE_PASSED,    /* the guest has it where the host has it */
    FEATURE_HIDDEN,    /* the guest never sees it */
    FEATURE_EMULATED,  /* the guest has it whatever the host has: Latch provides it */
    FEATURE_HOST_ONLY, /* Latch uses it itself; the guest never sees it */
    FEATURE_DYNAMIC,   /* follows the vCPU's registers: dynamic.h lays it over */
};

/* Machines on which a feature that is passed elsewhere does not work. */
enum machine_limit {
    LIMIT_NONE,
    LIMIT_EMULATOR, /* hidden where policy_input.emulator is set */
    LIMIT_MONITOR,  /* hidden where policy_input.no_monitor is set */
};

struct policy_feature {
    const char *name; /* as Linux and cpuid call it, in lower case */
    const char *reason;
    uint32_t leaf;
    uint8_t subleaf;
    uint8_t reg; /* enum cpuid_register */
    uint8_t bit;
    uint8_t disposition;   /* enum disposition */
    uint8_t limit;         /* enum machine_limit */
    bool runs;             /* hidden, it is there: instructions run, or an older way is gone */
    uint32_t cr4, efer;    /* bits that are reserved without the feature */
    uint32_t xcr0, xss;    /* state components that are not there without it */
    uint32_t msrs;         /* 1 << enum msr_group */
    uint32_t instructions; /* 1 << enum instruction_group */
    uint32_t spec_ctrl;    /* bits of IA32_SPEC_CTRL that are reserved without it */
    uint32_t pred_cmd;     /* bits of IA32_PRED_CMD that are reserved without it */
};

/*
 * Registers, or fields of them, that are numbers, and the leaves that say more of a feature which
 * has its line elsewhere.
 */
struct policy_data {
    uint32_t leaf;
    uint32_t subleaf; /* MODEL_SUBLEAF_REST: each that has no line of its own */
    struct cpuid_regs mask;
    uint8_t disposition; /* enum disposition: of what is in the mask */
    const char *reason;
};

/* A bit for each line of policy_features. */
#define POLICY_WORDS 32U
struct policy_set {
    uint32_t word[POLICY_WORDS];
};

static inline void policy_set_add(struct policy_set *set, size_t line)
{
    set->word[line / 32] |= 1U << line % 32;
}

static inline bool policy_set_has(const struct policy_set *set, size_t line)
{
    return set->word[line / 32] >> line % 32 & 1;
}

/* Features that have no meaning without another. */
struct policy_dependency {
    const char *needs;    /* a feature's name */
    const char *features; /* names with blanks between them: each needs it */
    const char *reason;
};

/* A feature that a model has without another that it needs. */
struct policy_broken {
    const struct policy_feature *feature, *needs;
    const char *reason;
};

/* What the caller knows of the machine. */
struct policy_input {
    bool emulator;   /* a software emulator whose fast-string hint leads guests astray */
    bool no_monitor; /* MONITOR and MWAIT lose wake-ups there between several CPUs */
};

extern const struct policy_feature policy_features[];
extern const size_t policy_feature_count;
/* What AMD's CPUs say of leaf 1's EDX again, in 80000001H:EDX (APM vol. 3 §E.4.2). */
#define POLICY_REPEATED 0x0183f3ffU

extern const struct policy_data policy_data[];
extern const size_t policy_data_count;
extern const struct policy_dependency policy_dependencies[];
extern const size_t policy_dependency_count;

/*
 * Makes a captured host (open) into the most that a guest may see on it: passes what the table
 * passes, hides the rest, and puts Latch's own leaves at 40000000H. -E2BIG if the table is full.
 */
int policy_apply(struct model *m, const struct policy_input *input);

/*
 * Puts Latch's own leaves and the emulated features into an open model, instead of whatever other
 * hypervisor left its own there: the signature at 40000000H, the hypercalls' version in
 * 40000001H:EAX. -E2BIG if the table is full.
 */
int policy_own(struct model *m);

/*
 * Makes an open model agree with its own features: the XSAVE components, their largest size, the
 * leaves of MONITOR, AMX, AVX10, TopologyExtensions and Latch itself, the linear width, and AMD's
 * second copy of leaf 1 go where the features that they belong to went. Where the model has a
 * feature and not what belongs to it, that is taken from `host`, if it is not NULL. -E2BIG if the
 * table is full.
 */
int policy_settle(struct model *m, const struct model *host);

/* Takes a line on a thing that a model asks for and the host does not have, or on what it gets. */
typedef void policy_note_fn(void *ctx, const char *line);

/*
 * Compares an open model, from a file, with the most that a guest may see on this host. With
 * `trim` what goes beyond is dropped; `note`, which may be NULL, gets a line for each. Topology is
 * the host's in any case; `adopted`, which may be NULL, gets a line if the file had another. Returns
 * how many things went beyond, or -E2BIG. Leaves of the hypervisor range are policy_own()'s.
 */
int policy_fit(struct model *m, const struct model *allowed, bool trim, policy_note_fn *note,
               policy_note_fn *adopted, void *ctx);

/*
 * True if the open model breaks a dependency, the first of which *broken then names. What the host
 * itself has without what it needs, as emulators do, is no fault of the model.
 */
bool policy_find_broken(const struct model *m, const struct model *host,
                        struct policy_broken *broken);

/*
 * The features that the model hides though the CPU has them and nothing makes their instructions
 * fault: they work all the same, for a guest that does not ask. `cpu` is what was captured, open and
 * before policy_apply(), so that what the policy hides from everybody is among them. What has
 * `instructions` is for a back end to tell.
 */
void policy_unenforced(const struct model *m, const struct model *cpu, struct policy_set *found);

/* The feature of a name that ends after `length` characters, or NULL. */
const struct policy_feature *policy_find(const char *name, size_t length);

/*
 * True if the feature's bit is set in the model; sets it there, with the leaf and subleaf in reach
 * of the highest ones, or clears it (-E2BIG if the table is full, -EROFS if it is finished).
 */
bool policy_has(const struct model *m, const struct policy_feature *f);
int policy_set(struct model *m, const struct policy_feature *f, bool on);

/* What of one answer's registers are numbers that a guest may see, and not features. */
struct cpuid_regs policy_data_mask(uint32_t leaf, uint32_t subleaf);

/* The register of *regs that `reg` (enum cpuid_register) names. */
uint32_t *cpuid_register(struct cpuid_regs *regs, unsigned int reg);

#endif
