/* SPDX-License-Identifier: BSD-2-Clause */
#include "cpuid/digest.h"

#include <errno.h>
#include <sha256.h>

_Static_assert(DIGEST_BYTES == SHA256_DIGEST_SIZE, "the length that the library writes");
_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "numbers are digested as they lie");

void digest_bytes(const void *bytes, size_t size, uint8_t digest[DIGEST_BYTES])
{
    sha256_buffer(bytes, size, digest);
}

static void add_row(struct sha256_ctx *sha, const struct cpuid_leaf *row)
{
    const uint32_t words[] = {row->leaf,     row->subleaf,  row->regs.eax,
                              row->regs.ebx, row->regs.ecx, row->regs.edx};

    sha256_process_bytes(words, sizeof(words), sha);
}

void digest_model(const struct model *m, uint8_t digest[DIGEST_BYTES])
{
    const struct paging_props *p = &m->paging;
    const uint8_t paging[] = {p->maxphyaddr, p->cbit,  p->reduction, p->vendor, p->gbpages,
                              p->nx,         p->pse36, p->pat,       p->la57};
    struct sha256_ctx sha;

    _Static_assert(sizeof(paging) == sizeof(*p), "each property enters the digest");
    sha256_init_ctx(&sha);
    sha256_process_bytes(paging, sizeof(paging), &sha);
    for (uint32_t i = 0; i < m->count; i++)
        add_row(&sha, &m->leaves[i]);
    sha256_finish_ctx(&sha, digest);
}

int digest_seal(const struct seal *s, uint8_t digest[DIGEST_BYTES])
{
    uint8_t one[DIGEST_BYTES];
    struct sha256_ctx sha;

    sha256_init_ctx(&sha);
    for (unsigned int i = 0; i < s->vcpus; i++) {
        const struct model *m = s->vcpu[i].model;
        if (!m)
            return -EINVAL;
        if (i == 0 || m != s->vcpu[i - 1].model)
            digest_model(m, one);
        sha256_process_bytes(one, sizeof(one), &sha);
    }
    sha256_finish_ctx(&sha, digest);
    return 0;
}

void digest_text(const uint8_t digest[DIGEST_BYTES], char text[DIGEST_TEXT])
{
    static const char letter[] = "0123456789abcdef";

    for (size_t i = 0; i < DIGEST_BYTES; i++) {
        text[2 * i] = letter[digest[i] >> 4];
        text[2 * i + 1] = letter[digest[i] & 15];
    }
    text[DIGEST_TEXT - 1] = '\0';
}
