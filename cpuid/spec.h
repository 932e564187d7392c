/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The text that names a model: `host` or a file's name, then changes, each after a comma:
 *
 *   host,maxphyaddr=40,gbpages=off,-fsrm,+avx
 *
 *   maxphyaddr=32..52  gbpages= nx= pse36= pat= la57= on|off  vendor=intel|amd (paging rules)
 *   cbit=0|32..51  addr-reduction=0..16  cpuid-vendor=<12 letters>  +feature  -feature  trim
 */
#ifndef LATCH_CPUID_SPEC_H
#define LATCH_CPUID_SPEC_H

#include "cpuid/policy.h"

/* What the guest that a model is for asks of it. */
struct enforceable {
    unsigned int memory_bits; /* of its highest memory address, 32 at least */
    policy_note_fn *say; /* takes a line on each thing that is dropped or changed; may be NULL */
    void *ctx;           /* for `say` */
};

/* How many characters of the spec are its base; *is_host says whether that is `host`. */
size_t spec_base(const char *spec, bool *is_host);

/*
 * Applies the changes of `spec` (its base is skipped) to *m, an open copy of the base: `host` as
 * policy_apply() left it, or a file as text_parse() read it; then checks that the whole can be
 * kept on `host` for the guest that `can` describes. Returns 0, or
 * -EINVAL for a text that is not understood, -ENOTSUP for what the host has not or cannot be kept,
 * -E2BIG for a full table; then `message` (at most `size` bytes with its NUL, one line) says what
 * was wanted, what was found and what to do.
 */
int spec_apply(const char *spec, struct model *m, const struct model *host,
               const struct enforceable *can, char *message, size_t size);

/*
 * The last step of spec_apply() alone: -ENOTSUP with `message` filled if the model's paging
 * properties are beyond what `host` has, or contradict each other or the guest's memory, else 0.
 */
int spec_check(const struct model *m, const struct model *host, const struct enforceable *can,
               char *message, size_t size);

#endif
