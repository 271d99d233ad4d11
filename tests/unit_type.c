/* Element types: every value of the narrow floats, and rounding to them by its definition. */
#include "base/type.h"
#include "io/hash.h"
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

enum { DRAWS = 400000 };

static float widen(Type type, int h)
{
    uint16_t bits = (uint16_t)h;
    return type == T_F16 ? f16_to_f32(bits) : bf16_to_f32(bits);
}

/* golden/type.txt holds what numpy and torch say. */
static void test_all_values(void **state)
{
    char name[8], want[HASH_SIZE], got[HASH_SIZE];
    static float value[65536];
    const uint32_t nan_bits = 0x7fc00000;
    int tried = 0;
    FILE *golden = fopen("golden/type.txt", "r");
    (void)state;
    assert_non_null(golden);
    while (fscanf(golden, "%7s %64s", name, want) == 2) {
        for (int h = 0; h < 65536; h++) {
            value[h] = widen(strcmp(name, "f16") == 0 ? T_F16 : T_BF16, h);
            if (isnan(value[h])) memcpy(&value[h], &nan_bits, 4);
        }
        hash_data(got, value, sizeof value);
        if (strcmp(got, want) != 0) fail_msg("%s: the values are not numpy's or torch's", name);
        tried++;
    }
    fclose(golden);
    assert_int_equal(tried, 2);
}

/* Every value survives the way to a wider type and back; NaN stays NaN. */
static void test_round_trip(void **state)
{
    (void)state;
    for (int h = 0; h < 65536; h++)
        for (Type type = T_F16; type <= T_BF16; type++) {
            uint16_t bits = (uint16_t)h, back, direct = type == T_F16 ? f32_to_f16(widen(type, h)) : f32_to_bf16(widen(type, h));
            type_set(type, &back, 0, type_get(type, &bits, 0));
            if (isnan(widen(type, h)) ? !isnan(widen(type, back)) || !isnan(widen(type, direct)) : back != h || direct != h)
                fail_msg("%s %04x came back as %04x and %04x", type_name(type), h, back, direct);
        }
}

static uint64_t draw(void)
{
    static uint64_t s = 1;
    uint64_t z = s += 0x9e3779b97f4a7c15u;              /* splitmix64 (Steele et al. 2014) */
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
    z = (z ^ z >> 27) * 0x94d049bb133111ebu;
    return z ^ z >> 31;
}

/* The definition of rounding to nearest even, on positive patterns, which are ordered like their values: no neighbour is nearer, and of two that are as near
 * the even one is taken. What follows the largest finite number counts as the next power of two, and is infinity. */
static int is_nearest(Type type, double x, int h)
{
    int infinity = type == T_F16 ? 0x7c00 : 0x7f80;
    if (signbit(x) != (h >> 15)) return 0;
    h &= 0x7fff, x = fabs(x);
    if (h > infinity) return 0;
    long double below = h > 0 ? widen(type, h - 1) : -1, here = widen(type, h), above = h < infinity ? widen(type, h + 1) : 0;
    if (h == infinity) here = ldexpl(1, type == T_F16 ? 16 : 128);
    if (h == infinity - 1) above = ldexpl(1, type == T_F16 ? 16 : 128);
    if (h > 0 && !(h % 2 ? x - below > here - x : x - below >= here - x)) return 0;
    return h == infinity || (h % 2 ? above - x > x - here : above - x >= x - here);
}

/* Magnitudes over the type's whole range and beyond, and midpoints of neighbours, exactly and one unit of a double (or float) off. */
static double sample(Type type, int as_float)
{
    uint64_t r = draw();
    int      infinity = type == T_F16 ? 0x7c00 : 0x7f80, h = (int)((r >> 8) % (uint64_t)infinity);
    double   low = widen(type, h), high = h + 1 < infinity ? widen(type, h + 1) : ldexp(1, type == T_F16 ? 16 : 128), middle = (low + high) / 2;
    double   wide = ldexp(1 + (double)(r >> 24) * 0x1p-40, (int)(draw() % (type == T_F16 ? 50u : 300u)) - (type == T_F16 ? 30 : 160));
    double   x = r % 4 == 0 ? wide : middle;
    double   away = r % 4 == 2 ? INFINITY : -INFINITY;
    if (r % 4 >= 2) x = as_float ? (double)nextafterf((float)x, (float)away) : nextafter(x, away);
    if (as_float) x = (float)x;
    return r & 128 ? -x : x;
}

static void test_rounding(void **state)
{
    (void)state;
    for (Type type = T_F16; type <= T_BF16; type++)
        for (int i = 0; i < DRAWS; i++) {
            uint16_t h;
            double   x = sample(type, 0);
            type_set(type, &h, 0, x);
            if (!is_nearest(type, x, h)) fail_msg("%s: draw %d: %a became %04x", type_name(type), i, x, h);
            float f = (float)sample(type, 1);
            h = type == T_F16 ? f32_to_f16(f) : f32_to_bf16(f);
            if (isfinite(f) && !is_nearest(type, f, h)) fail_msg("%s: draw %d: float %a became %04x", type_name(type), i, (double)f, h);
        }
}

static void test_extremes(void **state)
{
    static const double values[] = { INFINITY, 1e300, 65536, 65520, 65519.99, 0x1p-25, 0x1.0000001p-25, 5e-324, 0.0, 0x1.ffp127, 0x1.fep127, 0x1.fe0001p127 };
    uint16_t h;
    (void)state;
    for (size_t i = 0; i < sizeof values / sizeof *values; i++)
        for (Type type = T_F16; type <= T_BF16; type++)
            for (int negative = 0; negative < 2; negative++) {
                double x = negative ? -values[i] : values[i];
                type_set(type, &h, 0, x);
                int good = isinf(x) ? isinf(widen(type, h)) && signbit(x) == (h >> 15) : is_nearest(type, x, h);
                if (!good) fail_msg("%s: %a became %04x", type_name(type), x, h);
            }
    for (Type type = T_F16; type <= T_BF16; type++) {
        type_set(type, &h, 0, NAN);
        assert_true(isnan(widen(type, h)));
    }
}

static void test_convert(void **state)
{
    static const double values[] = { 0, 1, 2, 100, 127 };                   /* every type holds them */
    enum { N = sizeof values / sizeof *values };
    double from[N], to[N];
    (void)state;
    for (Type a = 0; a < T_COUNT; a++)
        for (Type b = 0; b < T_COUNT; b++) {
            for (size_t i = 0; i < N; i++) type_set(a, from, i, values[i]);
            memset(to, 0xee, sizeof to);
            type_convert(b, to, a, from, N);
            for (size_t i = 0; i < N; i++) assert_true(type_get(b, to, i) == values[i]);
            for (size_t i = N * type_size(b); i < sizeof to; i++) assert_int_equal(((uint8_t *)to)[i], 0xee);
        }
}

/* Arrays: each element as it is converted alone, whatever its neighbours are. */
static void test_arrays(void **state)
{
    enum { N = 65536 };
    static uint16_t narrow[N], back[N];
    static float    single[N];
    static double   wide[N];
    (void)state;
    for (Type type = T_F16; type <= T_BF16; type++) {
        for (int h = 0; h < N; h++) narrow[h] = (uint16_t)(h * 40503);          /* every pattern, neighbours far apart */
        type_convert(T_F32, single, type, narrow, N);
        type_convert(T_F64, wide, type, narrow, N);
        for (int i = 0; i < N; i++) {
            float want = widen(type, narrow[i]);
            if (memcmp(&single[i], &want, 4) || (isnan(want) ? !isnan(wide[i]) : wide[i] != (double)want))
                fail_msg("%s %04x: %a, and %a or %a in an array", type_name(type), narrow[i], (double)want, (double)single[i], wide[i]);
        }
        for (int i = 0; i < N; i++) wide[i] = sample(type, i % 2), single[i] = (float)wide[i];
        for (int as_float = 0; as_float < 2; as_float++) {
            if (as_float) type_convert(type, back, T_F32, single, N);
            else type_convert(type, back, T_F64, wide, N);
            for (int i = 0; i < N; i++) {
                double x = as_float ? (double)single[i] : wide[i];
                type_set(type, &narrow[i], 0, x);
                if (narrow[i] != back[i]) fail_msg("%s: %a became %04x, and %04x in an array", type_name(type), x, narrow[i], back[i]);
            }
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_all_values), cmocka_unit_test(test_round_trip), cmocka_unit_test(test_rounding),
        cmocka_unit_test(test_extremes),   cmocka_unit_test(test_convert),   cmocka_unit_test(test_arrays),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
