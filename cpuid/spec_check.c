/* SPDX-License-Identifier: BSD-2-Clause */
/* What of a model's paging and vendor the host has, and what of the rest can be enforced. */
#include "cpuid/refuse.h"
#include "cpuid/rules.h"
#include "cpuid/spec.h"

#include <errno.h>

struct check {
    const struct model *m;
    const struct model *host;
    const struct enforceable *can;
    struct refusal to;
};

static int check_switch(const struct check *c, const char *name, bool model, bool host, bool can)
{
    if (model && !host)
        return refuse(&c->to, -ENOTSUP, "model: %s=on: this host does not have it; leave it out",
                      name);
    if (!model && host && !can)
        return refuse(&c->to, -ENOTSUP,
                      "model: %s=off: the host has it on and would go on using it; this version "
                      "cannot enforce off: leave it out",
                      name);
    return 0;
}

static int check_width(const struct check *c, unsigned int model, unsigned int host, bool can)
{
    if (model > host)
        return refuse(&c->to, -ENOTSUP,
                      "model: maxphyaddr=%u: the host has %u bits, and no CPU can go beyond its "
                      "own: give maxphyaddr=%u or less",
                      model, host, host);
    if (model < host && !can)
        return refuse(&c->to, -ENOTSUP,
                      "model: maxphyaddr=%u: the host has %u bits and would allow them; this "
                      "version cannot enforce fewer: give maxphyaddr=%u",
                      model, host, host);
    return 0;
}

static const char *vendor_name(uint8_t vendor)
{
    return vendor == PAGING_AMD ? "amd" : "intel";
}

static int check_vendor(const struct check *c)
{
    struct cpuid_regs model = model_get(c->m, 0, 0);
    struct cpuid_regs host = model_get(c->host, 0, 0);
    bool same = model.ebx == host.ebx && model.ecx == host.ecx && model.edx == host.edx;

    if (!same && !c->can->cpuid_vendor)
        return refuse(&c->to, -ENOTSUP,
                      "model: cpuid-vendor: leaf 0 has another vendor than the host, whose "
                      "instructions differ; this version cannot enforce it: leave it out");
    return 0;
}

/* Refuses by name what of the model's paging the host or the caller cannot keep. */
static int check_paging(const struct check *c)
{
    const struct enforceable *can = c->can;
    struct paging_props model = rules_paging(c->m);
    struct paging_props host = rules_paging(c->host);
    int error = check_width(c, model.maxphyaddr, host.maxphyaddr, can->maxphyaddr);

    if (!error)
        error = check_switch(c, "gbpages", model.gbpages, host.gbpages, can->gbpages);
    if (!error)
        error = check_switch(c, "nx", model.nx, host.nx, can->nx);
    if (!error)
        error = check_switch(c, "pse36", model.pse36, host.pse36, can->pse36);
    if (!error)
        error = check_switch(c, "pat", model.pat, host.pat, can->pat);
    if (!error)
        error = check_switch(c, "la57", model.la57, host.la57, can->la57);
    if (!error && model.vendor != host.vendor && !can->vendor)
        error = refuse(&c->to, -ENOTSUP,
                       "model: vendor=%s: the host's page tables follow %s's rules; this version "
                       "cannot enforce others: leave it out",
                       vendor_name(model.vendor), vendor_name(host.vendor));
    if (!error && model.cbit != host.cbit && !can->cbit)
        error = refuse(&c->to, -ENOTSUP,
                       "model: cbit=%u: the host has cbit=%u; this version cannot enforce "
                       "another: leave it out",
                       model.cbit, host.cbit);
    if (!error && model.reduction != host.reduction && !can->reduction)
        error = refuse(&c->to, -ENOTSUP,
                       "model: addr-reduction=%u: the host has %u; this version cannot enforce "
                       "another: leave it out",
                       model.reduction, host.reduction);
    return error;
}

int spec_check(const struct model *m, const struct model *host, const struct enforceable *can,
               char *message, size_t size)
{
    struct check c = {.m = m, .host = host, .can = can, .to = {.message = message, .size = size}};
    int error = check_vendor(&c);

    return error ? error : check_paging(&c);
}
