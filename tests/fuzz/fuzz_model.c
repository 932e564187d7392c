/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Hostile model files and specs. The input is a spec up to its first newline, then a file. Whatever
 * they hold: every refusal says why in one line, what is accepted answers every leaf, fits the
 * host, and comes back the same through its own text.
 */
#include "cpuid/dynamic.h"
#include "cpuid/rules.h"
#include "cpuid/spec.h"
#include "tests/unit/cpuid_data.h"

#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void require(bool condition)
{
    if (!condition)
        abort();
}

struct text {
    char bytes[32768];
    size_t length;
};

static void collect(void *ctx, const char *line)
{
    struct text *t = ctx;
    int written = snprintf(t->bytes + t->length, sizeof(t->bytes) - t->length, "%s\n", line);
    t->length += (size_t)written;
    require(t->length < sizeof(t->bytes));
}

static void check_finished(const struct model *m)
{
    static struct text t;
    struct model again;
    struct text_error error;
    struct cpuid_dynamic d;
    struct cpuid_regs r;
    struct cpu_rules rules;

    cpuid_dynamic_reset(&d, m, m->apic_id);
    for (uint32_t i = 0; i < 0x400; i++)
        model_query(m, &d, (i << 30) + (i >> 2) % 0x48, i >> 4, &r);
    model_query(m, &d, UINT32_MAX, UINT32_MAX, &r);
    rules_derive(&rules, m);
    require(!(rules.cr4_allowed & CPU_CR4_VMXE) && !(rules.efer_allowed & CPU_EFER_SVME));
    t.length = 0;
    text_print(m, 0, collect, &t);
    require(text_parse(&again, t.bytes, t.length, 0, &error) == 0);
    require(model_finish(&again) == 0 && model_equal(m, &again));
}

/* None that the host has not; but a C-bit of the guest's own comes as SME without its kin. */
static void check_features(const struct model *m, const struct model *host)
{
    const bool own_cbit = model_get(m, 0x8000001f, 0).eax == 1;

    for (size_t i = 0; i < policy_feature_count; i++) {
        const struct policy_feature *f = &policy_features[i];
        require(!policy_has(m, f) || policy_has(host, f) || (own_cbit && f->leaf == 0x8000001f));
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const struct enforceable guest = {.memory_bits = 34};
    static struct model host;
    struct model m;
    struct text_error error = {.why = NULL};
    char spec[256];
    char message[160];
    bool is_host;

    if (host.count == 0)
        load_host(&host, "zen3");
    const uint8_t *newline = size ? memchr(data, '\n', size) : NULL;
    size_t length = newline ? (size_t)(newline - data) : size;
    if (length >= sizeof(spec))
        return 0;
    memcpy(spec, data, length);
    spec[length] = '\0';
    const char *file = (const char *)data + length + (newline != NULL);
    size_t left = size - length - (newline != NULL);

    (void)spec_base(spec, &is_host);
    if (is_host) {
        model_copy(&m, &host);
    } else if (text_parse(&m, file, left, 0, &error)) {
        require(error.why && error.why[0] && strlen(error.found) < sizeof(error.found));
        return 0;
    } else {
        struct model alone;
        model_copy(&alone, &m);
        if (model_finish(&alone) == 0)
            check_finished(&alone);
    }
    if (spec_apply(spec, &m, &host, &guest, message, sizeof(message))) {
        require(message[0] != '\0' && !strchr(message, '\n') && strlen(message) < sizeof(message));
        return 0;
    }
    check_features(&m, &host);
    require(rules_paging(&m).maxphyaddr <= rules_paging(&host).maxphyaddr);
    if (model_finish(&m) == 0)
        check_finished(&m);
    return 0;
}
