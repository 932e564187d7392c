/* SPDX-License-Identifier: BSD-2-Clause */
#include "cpuid/spec.h"
#include "cpuid/policy.h"
#include "cpuid/refuse.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#define ENCRYPTION_LEAF 0x8000001fU
#define WIDTHS_LEAF     0x80000008U
#define ITEM_SHOWN      48

#define NO_ROOM                                                                                    \
    "model: with Latch's own leaves and those that only this host can tell the file has more "     \
    "than "                                                                                        \
    "a model holds; give a shorter one"

struct spec {
    struct model *m;
    const struct model *host;
    const struct enforceable *can;
    struct refusal to;
    uint32_t keys_seen;
    struct policy_set features_seen;
    bool trim;
    bool noted;
};

/* Features first, so that a file can be made to fit; the numbers then stand as they are given. */
enum pass {
    PASS_FEATURES,
    PASS_NUMBERS,
};

/* A stretch of the spec between two commas, or a part of it. */
struct item {
    const char *text;
    size_t length;
};

/* A key, and what its value does to the model; `feature` for those that are on or off. */
struct key {
    const char *name;
    const char *feature;
    int (*set)(struct spec *s, struct item value, struct item whole);
};

/* A printable copy of what stands in the spec, cut to what a message can hold. */
struct shown {
    char text[ITEM_SHOWN];
};

static struct shown show(struct item item)
{
    struct shown shown;
    size_t length = 0;

    while (length < item.length && length < sizeof(shown.text) - 1) {
        char c = item.text[length];
        shown.text[length++] = c >= ' ' && c <= '~' ? c : '?';
    }
    shown.text[length] = '\0';
    return shown;
}

static bool item_is(struct item item, const char *word)
{
    return strlen(word) == item.length && memcmp(item.text, word, item.length) == 0;
}

static int bad_value(const struct spec *s, struct item whole, const char *wanted)
{
    return refuse(&s->to, -EINVAL, "model: '%s': expected %s", show(whole).text, wanted);
}

static int no_room(const struct spec *s, struct item whole)
{
    return refuse(&s->to, -E2BIG, "model: '%s': the model has no place for another leaf",
                  show(whole).text);
}

static bool parse_number(struct item item, uint32_t low, uint32_t high, uint32_t *value)
{
    *value = 0;
    if (item.length == 0 || item.length > 3)
        return false;
    for (size_t i = 0; i < item.length; i++) {
        if (item.text[i] < '0' || item.text[i] > '9')
            return false;
        *value = *value * 10 + (uint32_t)(item.text[i] - '0');
    }
    return *value >= low && *value <= high;
}

static int set_leaf(const struct spec *s, struct item whole, uint32_t leaf,
                    const struct cpuid_regs *regs)
{
    struct cpuid_regs top = model_get(s->m, CPUID_EXTENDED, 0);
    int error = model_set(s->m, leaf, 0, regs);

    if (!error && leaf > CPUID_EXTENDED && top.eax < leaf) {
        top.eax = leaf;
        error = model_set(s->m, CPUID_EXTENDED, 0, &top);
    }
    return error ? no_room(s, whole) : 0;
}

#define WANTED_MAXPHYADDR   "maxphyaddr=32 to 52"
#define WANTED_CBIT         "cbit=0 (none) or 32 to 51"
#define WANTED_REDUCTION    "addr-reduction=0 to 16"
#define WANTED_VENDOR       "vendor=intel or vendor=amd"
#define WANTED_CPUID_VENDOR "cpuid-vendor= and 12 printable characters"

static int set_maxphyaddr(struct spec *s, struct item value, struct item whole)
{
    struct cpuid_regs widths = model_get(s->m, WIDTHS_LEAF, 0);
    uint32_t bits;

    if (!parse_number(value, 32, 52, &bits))
        return bad_value(s, whole, WANTED_MAXPHYADDR);
    if (widths.eax == 0)
        widths.eax = 48U << 8; /* the leaf is new: the linear width that all long-mode CPUs have */
    widths.eax = (widths.eax & ~0xffU) | bits;
    return set_leaf(s, whole, WIDTHS_LEAF, &widths);
}

static int set_vendor(struct spec *s, struct item value, struct item whole)
{
    if (item_is(value, "intel"))
        s->m->paging_vendor = PAGING_INTEL;
    else if (item_is(value, "amd"))
        s->m->paging_vendor = PAGING_AMD;
    else
        return bad_value(s, whole, WANTED_VENDOR);
    return 0;
}

static int set_cbit(struct spec *s, struct item value, struct item whole)
{
    struct cpuid_regs r = model_get(s->m, ENCRYPTION_LEAF, 0);
    uint32_t bit;

    if (!parse_number(value, 0, 51, &bit) || (bit != 0 && bit < 32))
        return bad_value(s, whole, WANTED_CBIT);
    if (bit == 0) {
        model_remove(s->m, ENCRYPTION_LEAF, 0);
        return 0;
    }
    r.eax |= 1; /* SME: without it the position has no meaning (APM vol. 3 §E.4.17) */
    r.ebx = (r.ebx & ~0x3fU) | bit;
    return set_leaf(s, whole, ENCRYPTION_LEAF, &r);
}

static int set_reduction(struct spec *s, struct item value, struct item whole)
{
    struct cpuid_regs r = model_get(s->m, ENCRYPTION_LEAF, 0);
    uint32_t bits;

    if (!parse_number(value, 0, 16, &bits))
        return bad_value(s, whole, WANTED_REDUCTION);
    if (bits == 0 && r.eax == 0)
        return 0;
    r.eax |= 1;
    r.ebx = (r.ebx & ~0xfc0U) | bits << 6;
    return set_leaf(s, whole, ENCRYPTION_LEAF, &r);
}

static int set_cpuid_vendor(struct spec *s, struct item value, struct item whole)
{
    struct cpuid_regs r = model_get(s->m, 0, 0);

    if (value.length != 12)
        return bad_value(s, whole, WANTED_CPUID_VENDOR);
    for (size_t i = 0; i < value.length; i++)
        if (value.text[i] < ' ' || value.text[i] > '~')
            return bad_value(s, whole, WANTED_CPUID_VENDOR);
    memcpy(&r.ebx, value.text, 4);
    memcpy(&r.edx, value.text + 4, 4);
    memcpy(&r.ecx, value.text + 8, 4);
    int error = model_set(s->m, 0, 0, &r);
    if (error)
        return no_room(s, whole);
    struct cpuid_leaf *extended = model_find(s->m, CPUID_EXTENDED, 0);
    if (extended && model_is_amd(s->m)) /* AMD repeats it there, Intel has zeros */
        extended->regs = (struct cpuid_regs){
            .eax = extended->regs.eax, .ebx = r.ebx, .ecx = r.ecx, .edx = r.edx};
    else if (extended)
        extended->regs = (struct cpuid_regs){.eax = extended->regs.eax};
    return 0;
}

static const struct key keys[] = {
    {.name = "maxphyaddr", .set = set_maxphyaddr},
    {.name = "gbpages", .feature = "pdpe1gb"},
    {.name = "nx", .feature = "nx"},
    {.name = "pse36", .feature = "pse36"},
    {.name = "pat", .feature = "pat"},
    {.name = "la57", .feature = "la57"},
    {.name = "vendor", .set = set_vendor},
    {.name = "cbit", .set = set_cbit},
    {.name = "addr-reduction", .set = set_reduction},
    {.name = "cpuid-vendor", .set = set_cpuid_vendor},
};

/* A feature that AMD's CPUs say twice, if this one does. */
static void repeat(struct spec *s, const struct policy_feature *f)
{
    struct cpuid_leaf *again = model_find(s->m, 0x80000001U, 0);

    if (again && model_is_amd(s->m) && f->leaf == 1 && f->reg == CPUID_EDX)
        again->regs.edx |= 1U << f->bit & POLICY_REPEATED & model_get(s->host, 0x80000001U, 0).edx;
}

static int set_feature(struct spec *s, const struct policy_feature *f, bool on, struct item whole)
{
    size_t index = (size_t)(f - policy_features);

    if (policy_set_has(&s->features_seen, index))
        return refuse(&s->to, -EINVAL, "model: '%s': %s is given twice; say it once",
                      show(whole).text, f->name);
    policy_set_add(&s->features_seen, index);
    if (f->disposition == FEATURE_DYNAMIC)
        return refuse(&s->to, -EINVAL, "model: '%s': %s %s; leave it out", show(whole).text,
                      f->name, f->reason);
    if (on && !policy_has(s->host, f)) {
        bool hidden = f->disposition != FEATURE_PASSED && f->disposition != FEATURE_EMULATED;
        return refuse(&s->to, -ENOTSUP, "model: '%s': wanted %s, but %s%s; leave it out",
                      show(whole).text, f->name, hidden ? "guests cannot have it: " : "",
                      hidden ? f->reason : "this host does not have it");
    }
    if (on)
        repeat(s, f);
    return policy_set(s->m, f, on) ? no_room(s, whole) : 0;
}

static int apply_sign(struct spec *s, struct item whole)
{
    const struct policy_feature *f = policy_find(whole.text + 1, whole.length - 1);

    if (!f)
        return refuse(&s->to, -EINVAL,
                      "model: '%s': no feature has this name; names are as in "
                      "/proc/cpuinfo",
                      show(whole).text);
    return set_feature(s, f, whole.text[0] == '+', whole);
}

static int apply_switch(struct spec *s, const struct key *key, struct item value, struct item whole)
{
    const struct policy_feature *f = policy_find(key->feature, strlen(key->feature));
    bool on = item_is(value, "on");

    if (!on && !item_is(value, "off"))
        return refuse(&s->to, -EINVAL, "model: '%s': expected %s=on or %s=off", show(whole).text,
                      key->name, key->name);
    return set_feature(s, f, on, whole);
}

static int apply_key(struct spec *s, struct item whole, enum pass pass)
{
    const char *equals = memchr(whole.text, '=', whole.length);
    struct item name = {.text = whole.text, .length = whole.length};
    struct item value = {.text = whole.text + whole.length, .length = 0};

    if (equals) {
        name.length = (size_t)(equals - whole.text);
        value = (struct item){.text = equals + 1, .length = whole.length - name.length - 1};
    }
    for (size_t i = 0; equals && i < sizeof(keys) / sizeof(keys[0]); i++) {
        if (!item_is(name, keys[i].name))
            continue;
        if ((keys[i].feature ? PASS_FEATURES : PASS_NUMBERS) != pass)
            return 0;
        if (s->keys_seen >> i & 1)
            return refuse(&s->to, -EINVAL, "model: '%s': %s is given twice; say it once",
                          show(whole).text, keys[i].name);
        s->keys_seen |= 1U << i;
        return keys[i].feature ? apply_switch(s, &keys[i], value, whole)
                               : keys[i].set(s, value, whole);
    }
    return refuse(&s->to, -EINVAL,
                  "model: '%s': expected +feature, -feature, trim, or a value for maxphyaddr, "
                  "gbpages, nx, pse36, pat, la57, vendor, cbit, addr-reduction or cpuid-vendor",
                  show(whole).text);
}

static int apply_item(struct spec *s, struct item whole, enum pass pass)
{
    bool sign = whole.length > 1 && (whole.text[0] == '+' || whole.text[0] == '-');

    if (sign)
        return pass == PASS_FEATURES ? apply_sign(s, whole) : 0;
    if (item_is(whole, "trim")) {
        if (pass != PASS_FEATURES)
            return 0;
        if (s->trim)
            return refuse(&s->to, -EINVAL, "model: 'trim' is given twice; say it once");
        s->trim = true;
        return 0;
    }
    return apply_key(s, whole, pass);
}

static int apply_items(struct spec *s, const char *at, enum pass pass)
{
    while (*at == ',') {
        struct item item = {.text = at + 1, .length = strcspn(at + 1, ",")};
        int error = apply_item(s, item, pass);
        if (error)
            return error;
        at = item.text + item.length;
    }
    return 0;
}

static void say(void *ctx, const char *line)
{
    const struct spec *s = ctx;

    if (s->can->say)
        s->can->say(s->can->ctx, line);
}

static void say_dropped(struct spec *s, const char *what)
{
    char line[192];

    (void)snprintf(line, sizeof(line), "dropped: %s", what);
    say(s, line);
}

/* The first thing that does not fit becomes the message; with trim each is said. */
static void note_misfit(void *ctx, const char *line)
{
    struct spec *s = ctx;

    if (s->trim)
        say_dropped(s, line);
    else if (!s->noted)
        (void)refuse(&s->to, 0, "model: %s; take it out with -, or all such with trim", line);
    s->noted = true;
}

/* A file may ask for more than this host lets a guest see. */
static int fit_file(struct spec *s)
{
    int beyond = policy_fit(s->m, s->host, s->trim, note_misfit, say, s);

    if (beyond < 0)
        return refuse(&s->to, beyond, NO_ROOM);
    return beyond > 0 && !s->trim ? -ENOTSUP : 0;
}

/*
 * A model whose features contradict one another is none. With trim those go that cannot stand,
 * unless the spec itself asks for them.
 */
static int check_dependencies(struct spec *s)
{
    struct policy_broken broken;
    char line[160];

    while (policy_find_broken(s->m, s->host, &broken)) {
        size_t index = (size_t)(broken.feature - policy_features);
        bool asked = policy_set_has(&s->features_seen, index);
        if (!s->trim || asked)
            return refuse(&s->to, -EINVAL,
                          "model: it has %s without %s, which that needs: %s; add -%s, or drop all "
                          "such with trim",
                          broken.feature->name, broken.needs->name, broken.reason,
                          broken.feature->name);
        (void)snprintf(line, sizeof(line), "feature %s needs %s, which is not there: %s",
                       broken.feature->name, broken.needs->name, broken.reason);
        say_dropped(s, line);
        (void)policy_set(s->m, broken.feature, false); /* clearing takes no place */
        (void)policy_settle(s->m, NULL);
    }
    return 0;
}

size_t spec_base(const char *spec, bool *is_host)
{
    size_t length = strcspn(spec, ",");

    *is_host = length == 4 && memcmp(spec, "host", 4) == 0;
    return length;
}

/* The leaves by which a guest knows its hypervisor. */
static int own_file(struct spec *s)
{
    const struct cpuid_regs before = model_get(s->m, CPUID_HYPERVISOR, 0);
    const bool had = model_find_const(s->m, CPUID_HYPERVISOR, 0) != NULL;
    const int error = policy_own(s->m);
    const struct cpuid_regs after = model_get(s->m, CPUID_HYPERVISOR, 0);

    if (had && memcmp(&before, &after, sizeof(before)) != 0)
        say(s, "the leaves from 0x40000000 on are Latch's own, not the file's hypervisor's");
    return error;
}

int spec_apply(const char *spec, struct model *m, const struct model *host,
               const struct enforceable *can, char *message, size_t size)
{
    struct spec s = {.m = m, .host = host, .can = can, .to = {.message = message, .size = size}};
    bool is_host;
    const char *changes = spec + spec_base(spec, &is_host);

    if (size > 0)
        message[0] = '\0';
    if (changes == spec)
        return refuse(&s.to, -EINVAL, "model: the text is empty: give host or a file's name");
    int error = is_host ? 0 : own_file(&s);
    if (error)
        return refuse(&s.to, error, NO_ROOM);
    error = apply_items(&s, changes, PASS_FEATURES);
    if (!error && !is_host)
        error = fit_file(&s);
    if (!error)
        error = apply_items(&s, changes, PASS_NUMBERS);
    if (error)
        return error;
    if (is_host && *changes == '\0') /* and so it has what its features need, as far as the host */
        return spec_check(m, host, can, message, size);
    error = policy_settle(m, host);
    if (error)
        return refuse(&s.to, error, NO_ROOM);
    error = check_dependencies(&s);
    return error ? error : spec_check(m, host, can, message, size);
}
