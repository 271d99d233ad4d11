#include "base/type.h"
#include "base/err.h"
#include <math.h>
#include <string.h>
#ifdef __x86_64__
#include <immintrin.h>
#endif

static const struct {
    const char *name;
    size_t size;
} types[T_COUNT] = { [T_F32] = { "f32", 4 },  [T_F64] = { "f64", 8 },   [T_F16] = { "f16", 2 }, [T_BF16] = { "bf16", 2 },
                     [T_I32] = { "i32", 4 },  [T_I64] = { "i64", 8 },   [T_U8] = { "u8", 1 } };

size_t      type_size(Type type) { return types[type].size; }
const char *type_name(Type type) { return types[type].name; }

static inline uint32_t bits_of(float x) { uint32_t u; memcpy(&u, &x, 4); return u; }
static inline float    float_of(uint32_t u) { float x; memcpy(&x, &u, 4); return x; }

/* The four conversions below have no branch and no call, so that a loop over one becomes vector code: each case is computed, and its
 * bits are chosen with a mask. */
static inline uint32_t choose(int yes, uint32_t a, uint32_t b) { return b ^ ((a ^ b) & -(uint32_t)yes); }

/* With the bits moved to their places the exponent is 112 too low. A subnormal m 2^-24 is (2^-14 + m 2^-24) - 2^-14: the mantissa is that of 2^-14 already.
 * Infinity and NaN get all bits of the exponent, and NaN is made quiet, as processors make it. */
static inline float widen_f16(uint16_t h)
{
    int32_t  low = h & 0x7fff;
    uint32_t subnormal = -(uint32_t)(low < 0x400), special = -(uint32_t)(low >= 0x7c00), quiet = (uint32_t)(low > 0x7c00) << 22;
    float    x = float_of(((uint32_t)low << 13) + (112u << 23) + (subnormal & 1u << 23)) - float_of(subnormal & 113u << 23);
    return float_of((uint32_t)(h & 0x8000) << 16 | bits_of(x) | (special & 0x7f800000) | quiet);
}
static inline float widen_bf16(uint16_t h) { return float_of((uint32_t)h << 16); }

/* To nearest even: half a unit less one, plus the last bit that stays, carries where it should, into the exponent too. A subnormal is rounded by adding 0.5,
 * whose unit is 2^-24. */
static inline uint16_t narrow_f16(float x)
{
    int32_t  u = (int32_t)(bits_of(x) & 0x7fffffff);
    uint32_t sign = bits_of(x) >> 16 & 0x8000, normal = ((uint32_t)u - (112u << 23) + 0xfff + ((uint32_t)u >> 13 & 1)) >> 13;
    uint32_t small = bits_of(float_of((uint32_t)u) + 0.5f) - bits_of(0.5f), h = choose(u < 0x38800000, small, normal);
    h = choose(u >= 0x477ff000, 0x7c00, h);             /* 65520 and more */
    return (uint16_t)(sign | choose(u > 0x7f800000, 0x7e00, h));
}
static inline uint16_t narrow_bf16(float x)
{
    uint32_t u = bits_of(x);
    return (uint16_t)choose((int32_t)(u & 0x7fffffff) > 0x7f800000, u >> 16 | 0x40, (u + 0x7fff + (u >> 16 & 1)) >> 16);
}

/* A double on its way to a narrow type: the float that is rounded to odd, so that two roundings are one (Boldo & Melquiond 2008). */
static inline float odd_float(double x)
{
    float    f = (float)x;
    uint32_t u = bits_of(f), inexact = (double)f != x, above = fabs((double)f) > fabs(x);
    return float_of((u - above) | inexact);
}

float    f16_to_f32(uint16_t h) { return widen_f16(h); }
float    bf16_to_f32(uint16_t h) { return widen_bf16(h); }
uint16_t f32_to_f16(float x) { return narrow_f16(x); }
uint16_t f32_to_bf16(float x) { return narrow_bf16(x); }

double type_get(Type type, const void *array, size_t i)
{
    switch (type) {
    case T_F32: return ((const float *)array)[i];
    case T_F64: return ((const double *)array)[i];
    case T_F16: return f16_to_f32(((const uint16_t *)array)[i]);
    case T_BF16: return bf16_to_f32(((const uint16_t *)array)[i]);
    case T_I32: return ((const int32_t *)array)[i];
    case T_I64: return (double)((const int64_t *)array)[i];
    case T_U8: return ((const uint8_t *)array)[i];
    default: CHECK(0, "type %d", (int)type);
    }
}

/* To a whole number: what is beyond its range is the end of it, and NaN is 0. */
static double within(double x, double low, double high) { return x <= low ? low : x >= high ? high : x == x ? x : 0; }

void type_set(Type type, void *array, size_t i, double value)
{
    switch (type) {
    case T_F32: ((float *)array)[i] = (float)value; break;
    case T_F64: ((double *)array)[i] = value; break;
    case T_F16: ((uint16_t *)array)[i] = narrow_f16(odd_float(value)); break;
    case T_BF16: ((uint16_t *)array)[i] = narrow_bf16(odd_float(value)); break;
    case T_I32: ((int32_t *)array)[i] = (int32_t)within(value, INT32_MIN, INT32_MAX); break;
    case T_I64: ((int64_t *)array)[i] = (int64_t)within(value, -0x1p63, 0x1.fffffffffffffp62); break;
    case T_U8: ((uint8_t *)array)[i] = (uint8_t)within(value, 0, UINT8_MAX); break;
    default: CHECK(0, "type %d", (int)type);
    }
}

/* The conversions between floating types, a loop each, which restrict lets become vector code. */
#define LOOP(name, to_type, from_type, value)                                                                                                                  \
    static void name(void *restrict dst, const void *restrict src, size_t count)                                                                              \
    {                                                                                                                                                          \
        to_type         *to = dst;                                                                                                                             \
        const from_type *from = src;                                                                                                                           \
        for (size_t i = 0; i < count; i++) to[i] = (to_type)(value);                                                                                           \
    }
LOOP(f32_from_f64, float, double, from[i])
LOOP(f32_from_f16, float, uint16_t, widen_f16(from[i]))
LOOP(f32_from_bf16, float, uint16_t, widen_bf16(from[i]))
LOOP(f64_from_f32, double, float, from[i])
LOOP(f64_from_f16, double, uint16_t, widen_f16(from[i]))
LOOP(f64_from_bf16, double, uint16_t, widen_bf16(from[i]))
LOOP(f16_from_f32, uint16_t, float, narrow_f16(from[i]))
LOOP(f16_from_f64, uint16_t, double, narrow_f16(odd_float(from[i])))
LOOP(f16_from_bf16, uint16_t, uint16_t, narrow_f16(widen_bf16(from[i])))
LOOP(bf16_from_f32, uint16_t, float, narrow_bf16(from[i]))
LOOP(bf16_from_f64, uint16_t, double, narrow_bf16(odd_float(from[i])))
LOOP(bf16_from_f16, uint16_t, uint16_t, narrow_bf16(widen_f16(from[i])))
#undef LOOP

/* Weights kept in f16 are widened at every use, so this one is worth the processor's own instruction: the same bits in a third of the time. */
#ifdef __x86_64__
__attribute__((target("avx2,f16c"))) static void f32_from_f16_avx2(float *to, const uint16_t *from, size_t count)
{
    size_t i = 0;
    for (; i + 8 <= count; i += 8) _mm256_storeu_ps(to + i, _mm256_cvtph_ps(_mm_loadu_si128((const __m128i *)(from + i))));
    f32_from_f16(to + i, from + i, count - i);
}
static void f32_from_f16_here(void *restrict dst, const void *restrict src, size_t count)
{
    if (__builtin_cpu_supports("avx2")) f32_from_f16_avx2(dst, src, count);
    else f32_from_f16(dst, src, count);
}
#else
#define f32_from_f16_here f32_from_f16
#endif

typedef void Convert(void *restrict dst, const void *restrict src, size_t count);
static Convert *const convert[T_COUNT][T_COUNT] = {     /* [to][from] */
    [T_F32] = { [T_F64] = f32_from_f64, [T_F16] = f32_from_f16_here, [T_BF16] = f32_from_bf16 },
    [T_F64] = { [T_F32] = f64_from_f32, [T_F16] = f64_from_f16, [T_BF16] = f64_from_bf16 },
    [T_F16] = { [T_F32] = f16_from_f32, [T_F64] = f16_from_f64, [T_BF16] = f16_from_bf16 },
    [T_BF16] = { [T_F32] = bf16_from_f32, [T_F64] = bf16_from_f64, [T_F16] = bf16_from_f16 },
};

void type_convert(Type dst_type, void *dst, Type src_type, const void *src, size_t count)
{
    if (dst_type == src_type) memcpy(dst, src, count * types[src_type].size);
    else if (convert[dst_type][src_type]) convert[dst_type][src_type](dst, src, count);
    else
        for (size_t i = 0; i < count; i++) type_set(dst_type, dst, i, type_get(src_type, src, i));
}
