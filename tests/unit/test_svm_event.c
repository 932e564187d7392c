/* SPDX-License-Identifier: BSD-2-Clause */
/* SVM's form of events: injection, delivery again, and what two of them make together. */
#include "svm/event_code.h"
#include "tests/unit/unit.h"

#define VALID 0x80000000UL
#define ERROR 0x800UL

static uint64_t exception(unsigned int vector)
{
    return VALID | 0x300 | vector;
}

static void injects(void)
{
    struct event gp = {
        .type = EVENT_EXCEPTION, .vector = 13, .has_error_code = true, .error_code = 0xabcd};
    struct event interrupt = {.type = EVENT_INTERRUPT, .vector = 0xfb};
    struct event nmi = {.type = EVENT_NMI};
    struct event ud = {.type = EVENT_EXCEPTION, .vector = 6};
    struct event none = {.type = EVENT_NONE, .vector = 6};

    CHECK_EQ(event_code(&gp, true), 0x0000abcd80000b0dUL);
    CHECK_EQ(event_code(&gp, false), 0x8000030dUL);
    CHECK_EQ(event_code(&interrupt, true), 0x800000fbUL);
    CHECK_EQ(event_code(&nmi, true), 0x80000202UL);
    CHECK_EQ(event_code(&ud, true), 0x80000306UL);
    CHECK_EQ(event_code(&none, true), 0);
}

/* Every value of the low 12 bits: what is valid in EVENTINJ, or nothing. */
static void delivers_again(void)
{
    for (uint64_t low = 0; low < 0x1000; low++) {
        uint64_t info = 0x12345678UL << 32 | VALID | low;
        unsigned int vector = low & 0xff, type = low >> 8 & 7;
        uint64_t again = event_code_again(info);
        uint64_t wanted = 0;

        if (type == 0 || (type == 3 && vector >= 32))
            wanted = VALID | vector;
        else if (type == 2 || (type == 3 && vector == 2))
            wanted = VALID | 0x202;
        else if (type == 3 && vector != 3 && vector != 4)
            wanted = (low & ERROR ? info : exception(vector));
        CHECK_EQ(again, wanted);
        CHECK_EQ(event_code_again(info & ~VALID), 0);
    }
}

/* A #PF of long ago must not come again behind INT n, which is not told; all else told is so. */
static void finds_what_is_untold(void)
{
    for (unsigned int vector = 0; vector < 32; vector++) {
        CHECK_EQ(event_code_untold(exception(vector), false, 0), exception(vector));
        CHECK_EQ(event_code_untold(exception(vector), true, 0),
                 vector == 14 ? 0 : exception(vector));
        CHECK_EQ(event_code_untold(exception(vector), true, 0xfb), VALID | 0xfb);
    }
    CHECK_EQ(event_code_untold(0, true, 0), 0);
    CHECK_EQ(event_code_untold(0, false, 0x20), VALID | 0x20);
    CHECK_EQ(event_code_untold(VALID | 0x202, true, 0), VALID | 0x202);
    CHECK_EQ(event_code_untold(VALID | 0xe, true, 0), VALID | 0xe); /* an interrupt, not a #PF */
}

/* APM vol. 2 §8.2.9, as its table groups the vectors. */
static void combines(void)
{
    for (unsigned int first = 0; first < 32; first++)
        for (unsigned int second = 0; second < 32; second++) {
            const unsigned long contributory_set = 1UL << 0 | 0xfUL << 10 | 1UL << 21;
            int hard1 = contributory_set >> first & 1, hard2 = contributory_set >> second & 1;
            int page2 = second == 14;
            uint64_t code = 1;
            bool fine = event_code_combine(exception(first), exception(second), &code);

            if (first == 8 && (hard2 || page2)) {
                CHECK(!fine);
                CHECK_EQ(code, 0);
            } else if ((hard1 && hard2) || (first == 14 && (hard2 || page2))) {
                CHECK(fine);
                CHECK_EQ(code, VALID | ERROR | 0x308);
            } else {
                CHECK(fine);
                CHECK_EQ(code, exception(second));
            }
        }
}

static void combines_with_others(void)
{
    uint64_t code;

    CHECK(event_code_combine(0, exception(13), &code));
    CHECK_EQ(code, exception(13));
    CHECK(event_code_combine(VALID | 0xe, exception(14), &code)); /* an interrupt before a #PF */
    CHECK_EQ(code, exception(14));
    CHECK(event_code_combine(exception(14), VALID | 0x202, &code));
    CHECK_EQ(code, VALID | 0x202);
}

int main(void)
{
    RUN(injects);
    RUN(delivers_again);
    RUN(finds_what_is_untold);
    RUN(combines);
    RUN(combines_with_others);
    return unit_end();
}
