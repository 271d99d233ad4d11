/* Random numbers: Philox against its published vectors, the distributions made of it, and torch's generator against golden/rng.txt. */
#include "base/rng.h"
#include "base/torch_rng.h"
#include "crc32.h"
#include <inttypes.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

/* Random123, kat_vectors: philox4x32 10. */
static void philox_known_answers(void **state)
{
    static const struct { uint32_t counter[4], key[2], out[4]; } cases[] = {
        { { 0, 0, 0, 0 }, { 0, 0 }, { 0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8 } },
        { { ~0u, ~0u, ~0u, ~0u }, { ~0u, ~0u }, { 0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd } },
        { { 0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344 }, { 0xa4093822, 0x299f31d0 }, { 0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1 } },
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        uint32_t out[4];
        philox4x32(out, cases[i].counter, cases[i].key);
        assert_memory_equal(out, cases[i].out, sizeof out);
    }
}

/* The words of a stream are the blocks in order, and every part of its name matters. */
static void streams_are_named(void **state)
{
    (void)state;
    Rng      rng = rng_open(0x0123456789abcdef, RNG_NOISE, 7, 9);
    uint32_t key[2] = { 0x89abcdef, 0x01234567 }, counter[4] = { 0, RNG_NOISE, 7, 9 }, block[4];
    for (; counter[0] < 3; counter[0]++) {
        philox4x32(block, counter, key);
        for (int k = 0; k < 4; k++) assert_int_equal(rng_u32(&rng), block[k]);
    }
    Rng others[] = { rng_open(1, RNG_INIT, 0, 0),  rng_open(1ull << 32, RNG_INIT, 0, 0), rng_open(0, RNG_ORDER, 0, 0),
                     rng_open(0, RNG_INIT, 1, 0), rng_open(0, RNG_INIT, 0, 1),          rng_open(0, RNG_INIT, 0, 0) };
    uint32_t first[6];
    for (int i = 0; i < 6; i++) {
        first[i] = rng_u32(others + i);
        for (int j = 0; j < i; j++) assert_int_not_equal(first[i], first[j]);
    }
}

/* Means of n draws lie within five standard deviations of the truth: the chance of a false alarm is below 1e-6, and the seed is fixed. */
static void moments(void **state)
{
    (void)state;
    enum { N = 100000 };
    Rng    rng = rng_open(1, RNG_TEST, 0, 0);
    double u1 = 0, u2 = 0, z1 = 0, z2 = 0, z4 = 0;
    for (int i = 0; i < N; i++) {
        double u = rng_uniform(&rng), z = rng_normal(&rng);
        assert_true(u >= 0 && u < 1);
        u1 += u, u2 += u * u, z1 += z, z2 += z * z, z4 += z * z * z * z;
    }
    assert_true(fabs(u1 / N - 1 / 2.0) < 5 * sqrt(1 / 12.0 / N));
    assert_true(fabs(u2 / N - 1 / 3.0) < 5 * sqrt(4 / 45.0 / N));
    assert_true(fabs(z1 / N) < 5 * sqrt(1.0 / N));
    assert_true(fabs(z2 / N - 1) < 5 * sqrt(2.0 / N));
    assert_true(fabs(z4 / N - 3) < 5 * sqrt(96.0 / N));
}

static void below_covers_evenly(void **state)
{
    (void)state;
    enum { N = 70000 };
    Rng rng = rng_open(2, RNG_TEST, 0, 0);
    int count[7] = { 0 };
    for (int i = 0; i < N; i++) {
        uint32_t x = rng_below(&rng, 7);
        assert_true(x < 7);
        count[x]++;
    }
    for (int k = 0; k < 7; k++) assert_true(fabs(count[k] - N / 7.0) < 5 * sqrt(N * 6 / 49.0));
    for (int i = 0; i < 100; i++) assert_int_equal(rng_below(&rng, 1), 0);
    int high = 0;                                       /* of 3 * 2^30 values a third lies above 2^31; plain modulo would give a quarter */
    for (int i = 0; i < N; i++) high += rng_below(&rng, 3u << 30) >= 2u << 30;
    assert_true(fabs(high - N / 3.0) < 5 * sqrt(N * 2 / 9.0));
}

/* All 24 orders of 4 come up, about equally often. */
static void shuffle_is_uniform(void **state)
{
    (void)state;
    enum { N = 24000 };
    Rng rng = rng_open(3, RNG_TEST, 0, 0);
    int count[256] = { 0 }, orders = 0;
    for (int i = 0; i < N; i++) {
        int a[4] = { 0, 1, 2, 3 };
        rng_shuffle(&rng, a, 4);
        count[a[0] | a[1] << 2 | a[2] << 4 | a[3] << 6]++;
    }
    for (int i = 0; i < 256; i++) {
        if (!count[i]) continue;
        orders++;
        assert_true(fabs(count[i] - N / 24.0) < 5 * sqrt(N / 24.0));
    }
    assert_int_equal(orders, 24);
}

static int read_call(FILE *f, TorchRng *rng, uint32_t *crc)
{
    size_t n;
    if (fscanf(f, "%zu", &n) != 1) return -1;
    float *out = malloc(n * sizeof *out);
    if (!out) return -1;
    torch_rng_normal(rng, out, n);
    *crc = crc32_more(*crc, out, n * sizeof *out);
    free(out);
    return 0;
}

static void torch_goldens(void **state)
{
    (void)state;
    FILE    *f = fopen("golden/rng.txt", "r");
    uint64_t seed;
    int      calls, lines = 0;
    assert_non_null(f);
    while (fscanf(f, "%" SCNu64 " %d", &seed, &calls) == 2) {
        TorchRng rng = torch_rng_open(seed);
        uint32_t got = 0, want;
        for (int i = 0; i < calls; i++) assert_int_equal(read_call(f, &rng, &got), 0);
        assert_int_equal(fscanf(f, "%" SCNx32, &want), 1);
        if (got != want) fail_msg("golden/rng.txt, line %d: seed %" PRIu64 " gives other bits", lines + 1, seed);
        lines++;
    }
    fclose(f);
    assert_int_equal(lines, 70);
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(philox_known_answers), cmocka_unit_test(streams_are_named),   cmocka_unit_test(moments),
                                        cmocka_unit_test(below_covers_evenly),  cmocka_unit_test(shuffle_is_uniform), cmocka_unit_test(torch_goldens) };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
