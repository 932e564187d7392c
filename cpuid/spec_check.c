/* SPDX-License-Identifier: BSD-2-Clause */
/* What of a model's paging the host has, and whether its parts agree with each other. */
#include "cpuid/refuse.h"
#include "cpuid/rules.h"
#include "cpuid/spec.h"

#include <errno.h>

#define WIDTHS_LEAF      0x80000008U
#define ENCRYPTION_LEAF  0x8000001fU
#define ENCRYPTION_KINDS 3U /* EAX: SME, SEV; EBX then has the C-bit's position */

struct check {
    const struct model *m;
    struct paging_props model, host;
    unsigned int memory_bits;
    struct refusal to;
};

static int check_switch(const struct check *c, const char *name, bool model, bool host)
{
    if (model && !host)
        return refuse(&c->to, -ENOTSUP, "model: %s=on: this host does not have it; leave it out",
                      name);
    return 0;
}

/* The numbers that a file can have and no CPU has. What it shows must be what is enforced, and a width
 * of 0 would be another's. */
static int check_numbers(const struct check *c)
{
    bool has_widths = rules_has_leaf(c->m, WIDTHS_LEAF);
    bool encrypts = rules_has_leaf(c->m, ENCRYPTION_LEAF) &&
                    model_get(c->m, ENCRYPTION_LEAF, 0).eax & ENCRYPTION_KINDS;

    if (has_widths && (model_get(c->m, WIDTHS_LEAF, 0).eax & 0xff) == 0)
        return refuse(&c->to, -ENOTSUP,
                      "model: leaf 0x80000008: wanted the width of physical addresses, found "
                      "physical addresses of 0 bits: give maxphyaddr=%u, or another",
                      c->host.maxphyaddr);
    if (encrypts && c->model.cbit == 0 && c->model.reduction == 0)
        return refuse(&c->to, -ENOTSUP,
                      "model: leaf 0x8000001f: wanted a C-bit above addresses, found SME with the "
                      "C-bit at position 0: give cbit= its position, or cbit=0 for no SME");
    return 0;
}

static int check_width(const struct check *c)
{
    unsigned int model = c->model.maxphyaddr;
    unsigned int host = c->host.maxphyaddr;

    if (model > host)
        return refuse(&c->to, -ENOTSUP,
                      "model: maxphyaddr=%u: the host has %u bits, and no CPU can go beyond its "
                      "own: give maxphyaddr=%u or less",
                      model, host, host);
    if (model < c->memory_bits)
        return refuse(&c->to, -ENOTSUP,
                      "model: maxphyaddr=%u: the guest's memory has addresses of %u bits: give "
                      "maxphyaddr=%u or more, or the machine less memory",
                      model, c->memory_bits, c->memory_bits);
    return 0;
}

/* APM vol. 2 §7.10.1: the C-bit is one of the width, and none of the address. */
static int check_cbit(const struct check *c)
{
    unsigned int width = c->model.maxphyaddr;
    unsigned int cbit = c->model.cbit;
    unsigned int reduction = c->model.reduction;

    if (cbit == 0 && reduction != 0)
        return refuse(&c->to, -ENOTSUP,
                      "model: addr-reduction=%u: wanted a C-bit with it, found none: give cbit= "
                      "too, or addr-reduction=0",
                      reduction);
    if (cbit == 0)
        return 0;
    if (cbit >= width || cbit < c->memory_bits)
        return refuse(&c->to, -ENOTSUP,
                      "model: cbit=%u: wanted one above the %u bits of the guest's memory and "
                      "below maxphyaddr=%u: give cbit=%u to %u, or another maxphyaddr",
                      cbit, c->memory_bits, width, c->memory_bits, width - 1U);
    if (reduction > width - c->memory_bits)
        return refuse(&c->to, -ENOTSUP,
                      "model: addr-reduction=%u: of maxphyaddr=%u it leaves less than the %u bits "
                      "of the guest's memory: give %u or less",
                      reduction, width, c->memory_bits, width - c->memory_bits);
    return 0;
}

int spec_check(const struct model *m, const struct model *host, const struct enforceable *can,
               char *message, size_t size)
{
    struct check c = {.m = m,
                      .model = rules_paging(m),
                      .host = rules_paging(host),
                      .memory_bits = can->memory_bits,
                      .to = {.message = message, .size = size}};
    int error = check_numbers(&c);

    if (!error)
        error = check_width(&c);
    if (!error)
        error = check_switch(&c, "gbpages", c.model.gbpages, c.host.gbpages);
    if (!error)
        error = check_switch(&c, "nx", c.model.nx, c.host.nx);
    if (!error)
        error = check_switch(&c, "pse36", c.model.pse36, c.host.pse36);
    if (!error)
        error = check_switch(&c, "pat", c.model.pat, c.host.pat);
    if (!error)
        error = check_switch(&c, "la57", c.model.la57, c.host.la57);
    return error ? error : check_cbit(&c);
}
