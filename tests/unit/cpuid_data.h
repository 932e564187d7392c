/* SPDX-License-Identifier: BSD-2-Clause */
/* Models for the tests of cpuid/: dumps under tests/unit/data, from the repository's top. */
#ifndef LATCH_TESTS_UNIT_CPUID_DATA_H
#define LATCH_TESTS_UNIT_CPUID_DATA_H

#include "cpuid/policy.h"
#include "cpuid/text.h"

#include <stdio.h>
#include <stdlib.h>

#define DUMPS 3
static const char *const dumps[DUMPS] = {"epyc-kvm", "skylake-server", "zen3"};

/* Reads a file whole; the program ends if it is not there. */
static inline size_t load_text(const char *name, char *text, size_t size)
{
    char path[128];
    snprintf(path, sizeof(path), "tests/unit/data/%s.cpuid", name);
    FILE *f = fopen(path, "r");
    if (!f) {
        printf("FAIL cannot open %s: run from the repository's top\n", path);
        exit(1);
    }
    size_t length = fread(text, 1, size, f);
    fclose(f);
    return length;
}

static inline void load_model(struct model *m, const char *name, unsigned int cpu)
{
    static char text[65536];
    struct text_error error;
    size_t length = load_text(name, text, sizeof(text));
    if (text_parse(m, text, length, cpu, &error)) {
        printf("FAIL %s: line %u: '%s': %s\n", name, error.line, error.found, error.why);
        exit(1);
    }
}

/* A dump as a host that the policy has cut. */
static inline void load_host(struct model *m, const char *name)
{
    const struct policy_input input = {.emulator = false};
    load_model(m, name, 0);
    if (policy_apply(m, &input))
        exit(1);
}

/* 80000008H:EAX as it is without those of long mode and five-level paging that the model lacks. */
static inline uint32_t narrowed(uint32_t eax, const struct model *m)
{
    if (!policy_has(m, policy_find("lm", 2)))
        return (eax & ~0xff00U) | 32 << 8;
    return policy_has(m, policy_find("la57", 4)) ? eax : (eax & ~0xff00U) | 48 << 8;
}

#endif
