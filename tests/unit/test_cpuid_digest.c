/* SPDX-License-Identifier: BSD-2-Clause */
#include "cpuid/digest.h"
#include "cpuid/spec.h"
#include "tests/unit/cpuid_data.h"
#include "tests/unit/unit.h"

#include <errno.h>
#include <string.h>

static struct model storage[3];

static void bytes_have_their_known_digests(void)
{
    static const struct {
        const char *bytes, *digest;
    } known[] = {
        /* FIPS 180-4's examples, and the empty text. */
        {"", "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"},
        {"abc", "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"},
        {"abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq",
         "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1"},
    };
    static char many[1000000];
    uint8_t digest[DIGEST_BYTES];
    char text[DIGEST_TEXT];
    for (size_t i = 0; i < sizeof(known) / sizeof(known[0]); i++) {
        digest_bytes(known[i].bytes, strlen(known[i].bytes), digest);
        digest_text(digest, text);
        CHECK_EQ(strcmp(text, known[i].digest), 0);
    }
    memset(many, 'a', sizeof(many));
    digest_bytes(many, sizeof(many), digest);
    digest_text(digest, text);
    CHECK_EQ(strcmp(text, "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0"), 0);
}

static void finished(struct model *m, const char *name, unsigned int cpu)
{
    load_model(m, name, cpu);
    CHECK_EQ(model_finish(m), 0);
}

static void sealed(struct seal *s, const struct model *first, const struct model *second)
{
    CHECK_EQ(seal_init(s, storage, 3, 2), 0);
    CHECK_EQ(seal_set_model(s, 0, first), 0);
    CHECK_EQ(seal_set_model(s, 1, second), 0);
    CHECK_EQ(seal_close(s), 0);
}

/* CPUs of one package differ in their ids, and the same model is stored in many ways. */
static void equal_models_have_equal_digests(void)
{
    struct model a, b;
    uint8_t one[DIGEST_BYTES], other[DIGEST_BYTES];
    for (size_t i = 0; i < DUMPS; i++) {
        finished(&a, dumps[i], 0);
        finished(&b, dumps[i], 1);
        CHECK(a.apic_id != b.apic_id);
        digest_model(&a, one);
        digest_model(&b, other);
        CHECK_EQ(memcmp(one, other, DIGEST_BYTES), 0);
        b.paging_vendor = b.paging.vendor;
        memset(b.sub, 0x55, sizeof(b.sub));
        digest_model(&b, other);
        CHECK_EQ(memcmp(one, other, DIGEST_BYTES), 0);
    }
}

/* The seal's digest is one of the models in the vCPUs' order, and of nothing else. */
static void a_seal_is_its_models_in_their_order(void)
{
    struct seal s;
    struct model a, b;
    uint8_t ab[DIGEST_BYTES], other[DIGEST_BYTES];
    finished(&a, "zen3", 0);
    finished(&b, "skylake-server", 0);
    sealed(&s, &a, &b);
    CHECK_EQ(digest_seal(&s, ab), 0);
    s.generation += 7;
    CHECK_EQ(digest_seal(&s, other), 0);
    CHECK_EQ(memcmp(ab, other, DIGEST_BYTES), 0);
    sealed(&s, &b, &a);
    CHECK_EQ(digest_seal(&s, other), 0);
    CHECK(memcmp(ab, other, DIGEST_BYTES) != 0);
    sealed(&s, &a, &a);
    CHECK_EQ(digest_seal(&s, other), 0);
    CHECK(memcmp(ab, other, DIGEST_BYTES) != 0);
    s.vcpus = 1;
    CHECK_EQ(digest_seal(&s, ab), 0);
    CHECK(memcmp(ab, other, DIGEST_BYTES) != 0);
    finished(&b, "zen3", 1);
    sealed(&s, &b, &b);
    CHECK_EQ(digest_seal(&s, ab), 0);
    CHECK_EQ(memcmp(ab, other, DIGEST_BYTES), 0);
    CHECK_EQ(seal_init(&s, storage, 3, 2), 0);
    CHECK_EQ(seal_set_model(&s, 0, &a), 0);
    CHECK_EQ(digest_seal(&s, ab), -EINVAL);
}

/*
 * The file that tests/boot/test_model.py gives to machines of both vendors, on a host that has as much:
 * what is printed here is what their consoles are to show.
 */
static void a_file_has_one_digest(void)
{
    const struct enforceable can = {.memory_bits = 32};
    struct seal s;
    struct model host, m;
    uint8_t digest[DIGEST_BYTES];
    char text[DIGEST_TEXT];
    load_host(&host, "small");
    load_model(&m, "small", 0);
    CHECK_EQ(spec_apply("file", &m, &host, &can, text, sizeof(text)), 0);
    CHECK_EQ(model_finish(&m), 0);
    sealed(&s, &m, &m);
    CHECK_EQ(digest_seal(&s, digest), 0);
    digest_text(digest, text);
    printf("# small.cpuid, 2 vCPUs: %s\n", text);
}

/* Any bit of any leaf, and any paging property. */
static void one_bit_changes_the_digest(void)
{
    struct model m;
    uint8_t before[DIGEST_BYTES], after[DIGEST_BYTES];
    finished(&m, "epyc-kvm", 0);
    digest_model(&m, before);
    for (uint32_t i = 0; i < m.count; i++)
        for (unsigned int bit = 0; bit < 128; bit++) {
            uint32_t *reg = cpuid_register(&m.leaves[i].regs, bit / 32);
            *reg ^= 1U << bit % 32;
            digest_model(&m, after);
            *reg ^= 1U << bit % 32;
            CHECK(memcmp(before, after, DIGEST_BYTES) != 0);
        }
    for (uint32_t i = 0; i < m.count; i++) {
        m.leaves[i].subleaf ^= 1;
        digest_model(&m, after);
        m.leaves[i].subleaf ^= 1;
        CHECK(memcmp(before, after, DIGEST_BYTES) != 0);
    }
    for (size_t i = 0; i < sizeof(m.paging); i++) {
        struct paging_props kept = m.paging;
        uint8_t bytes[sizeof(kept)];
        memcpy(bytes, &kept, sizeof(kept));
        bytes[i] ^= 1;
        memcpy(&m.paging, bytes, sizeof(kept));
        digest_model(&m, after);
        m.paging = kept;
        CHECK(memcmp(before, after, DIGEST_BYTES) != 0);
    }
    m.count--;
    digest_model(&m, after);
    CHECK(memcmp(before, after, DIGEST_BYTES) != 0);
}

int main(void)
{
    RUN(bytes_have_their_known_digests);
    RUN(equal_models_have_equal_digests);
    RUN(a_seal_is_its_models_in_their_order);
    RUN(a_file_has_one_digest);
    RUN(one_bit_changes_the_digest);
    return unit_end();
}
