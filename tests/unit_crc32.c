/* CRC-32 by tables: the value that every catalogue of CRCs gives for "123456789", and the definition, a bit at a time. */
#include "io/crc32.h"
#include "base/rng.h"
#include "crc32.h"
#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>

static void test_catalogue(void **state)
{
    Crc32 c;
    (void)state;
    crc32_open(&c);
    assert_int_equal(crc32_add(&c, 0, "123456789", 9), 0xcbf43926);
    assert_int_equal(crc32_add(&c, 0, "", 0), 0);
}

/* Any size from any byte on, in one piece or in two. */
static void test_definition(void **state)
{
    enum { MOST = 70, OFFSETS = 17 };
    Crc32   c;
    uint8_t data[MOST + OFFSETS];
    Rng     rng = rng_open(1, RNG_TEST, 0, 0);
    (void)state;
    crc32_open(&c);
    for (size_t i = 0; i < sizeof data; i++) data[i] = (uint8_t)rng_below(&rng, 256);
    for (size_t from = 0; from < OFFSETS; from++)
        for (size_t size = 0; size <= MOST; size++) {
            uint32_t want = crc32_more(0, data + from, size), cut = rng_below(&rng, (uint32_t)size + 1);
            assert_int_equal(crc32_add(&c, 0, data + from, size), want);
            assert_int_equal(crc32_add(&c, crc32_add(&c, 0, data + from, cut), data + from + cut, size - cut), want);
        }
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(test_catalogue), cmocka_unit_test(test_definition) };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
