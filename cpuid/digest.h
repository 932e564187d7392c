/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * SHA-256 (FIPS 180-4), by gnulib's implementation, over models. What is digested is what
 * model_equal() compares, and nothing of it depends on the machine: two machines with the same
 * digest show their guests the same CPUs.
 */
#ifndef LATCH_CPUID_DIGEST_H
#define LATCH_CPUID_DIGEST_H

#include "cpuid/seal.h"

#define DIGEST_BYTES 32U
#define DIGEST_TEXT  (2U * DIGEST_BYTES + 1U) /* in hexadecimal, with its NUL */

/* The digest of `size` bytes. */
void digest_bytes(const void *bytes, size_t size, uint8_t digest[DIGEST_BYTES]);

/* The digest of one finished model: its leaves in their order, and its paging properties. */
void digest_model(const struct model *m, uint8_t digest[DIGEST_BYTES]);

/*
 * The digest of the models of all vCPUs, in the vCPUs' order; -EINVAL if one has none. APIC ids,
 * the generation and how the models are stored do not enter it.
 */
int digest_seal(const struct seal *s, uint8_t digest[DIGEST_BYTES]);

/* The digest as text. */
void digest_text(const uint8_t digest[DIGEST_BYTES], char text[DIGEST_TEXT]);

#endif
