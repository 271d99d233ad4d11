/* vec.h - W floats side by side: the arithmetic of the compiler's vector extension (+ - * / and comparisons), and here what it has no words for.
 * Loads and stores need no alignment. A `part` is the first n of a vector, n from 0 to W: nothing behind them is read or written, the rest is 0. */
#ifndef CPU_VEC_H
#define CPU_VEC_H
#include "isa.h"
#include <math.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#if defined ISA_AVX512 || defined ISA_AVX2
#include <immintrin.h>
#elif defined ISA_NEON
#include <arm_neon.h>
#endif

typedef float   V __attribute__((vector_size(4 * W)));
typedef int32_t I __attribute__((vector_size(4 * W)));
typedef V       UnalignedV __attribute__((aligned(4), may_alias));
typedef I       UnalignedI __attribute__((aligned(4), may_alias));

#define INLINE static inline __attribute__((always_inline))
#define UNROLL _Pragma("GCC unroll 32")

INLINE V    splat(float x) { return x - (V){ 0 }; }
INLINE I    splat_bits(uint32_t x) { return (int32_t)x - (I){ 0 }; }
INLINE V    load(const float *p) { return *(const UnalignedV *)p; }
INLINE void store(float *p, V x) { *(UnalignedV *)p = x; }

/* madd: a b + c, rounded once where the machine can.  largest, least: the second operand where one is NaN.  below: all bits where a < b.
 * times_power: p 2^n for n = -300..300, n whole, without overflow on the way; on AVX-512 for any n, rounded down. */
#if defined ISA_AVX512
INLINE V    madd(V a, V b, V c) { return _mm512_fmadd_ps(a, b, c); }
INLINE V    largest(V a, V b) { return _mm512_max_ps(a, b); }
INLINE V    least(V a, V b) { return _mm512_min_ps(a, b); }
INLINE V    root(V x) { return _mm512_sqrt_ps(x); }
INLINE V    times_power(V p, V n) { return _mm512_scalef_ps(p, n); }
INLINE V    pick(I if_bits, V a, V b) { return _mm512_mask_blend_ps(_mm512_movepi32_mask((__m512i)if_bits), b, a); }
INLINE V    load_part(const float *p, int n) { return _mm512_maskz_loadu_ps((__mmask16)((1u << n) - 1), p); }
INLINE void store_part(float *p, V x, int n) { _mm512_mask_storeu_ps(p, (__mmask16)((1u << n) - 1), x); }
INLINE V    load_f16(const uint16_t *p) { return _mm512_cvtph_ps(_mm256_loadu_si256((const void *)p)); }
INLINE I    load_u16(const uint16_t *p) { return (I)_mm512_cvtepu16_epi32(_mm256_loadu_si256((const void *)p)); }
#elif defined ISA_AVX2
INLINE V    madd(V a, V b, V c) { return _mm256_fmadd_ps(a, b, c); }
INLINE V    largest(V a, V b) { return _mm256_max_ps(a, b); }
INLINE V    least(V a, V b) { return _mm256_min_ps(a, b); }
INLINE V    root(V x) { return _mm256_sqrt_ps(x); }
INLINE V    pick(I if_bits, V a, V b) { return _mm256_blendv_ps(b, a, (V)if_bits); }
INLINE __m256i first(int n) { return _mm256_cmpgt_epi32(_mm256_set1_epi32(n), _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7)); }
INLINE V    load_part(const float *p, int n) { return _mm256_maskload_ps(p, first(n)); }
INLINE void store_part(float *p, V x, int n) { _mm256_maskstore_ps(p, first(n), x); }
INLINE V    load_f16(const uint16_t *p) { return _mm256_cvtph_ps(_mm_loadu_si128((const void *)p)); }
INLINE I    load_u16(const uint16_t *p) { return (I)_mm256_cvtepu16_epi32(_mm_loadu_si128((const void *)p)); }
#else
INLINE V pick(I if_bits, V a, V b) { return (V)((if_bits & (I)a) | (~if_bits & (I)b)); }
#ifdef ISA_NEON
INLINE V madd(V a, V b, V c) { return vfmaq_f32(c, a, b); }
INLINE V root(V x) { return vsqrtq_f32(x); }
#else
INLINE V madd(V a, V b, V c) { return a * b + c; }
INLINE V root(V x)
{
    UNROLL for (int j = 0; j < W; j++) x[j] = sqrtf(x[j]);
    return x;
}
#endif
INLINE V largest(V a, V b) { return pick(a > b, a, b); }
INLINE V least(V a, V b) { return pick(a < b, a, b); }
INLINE V load_part(const float *p, int n)
{
    V x = { 0 };
    memcpy(&x, p, (size_t)n * sizeof *p);
    return x;
}
INLINE void store_part(float *p, V x, int n) { memcpy(p, &x, (size_t)n * sizeof *p); }
INLINE I    load_u16(const uint16_t *p) { return (I){ p[0], p[1], p[2], p[3] }; }
/* Shifted into place the bits of a half are a float 2^-112 as large, subnormals too; infinity and NaN need the exponent of theirs. */
INLINE V load_f16(const uint16_t *p)
{
    I h = load_u16(p), sign = (h & 0x8000) << 16, rest = h & 0x7fff;
    V x = (V)(rest << 13) * 0x1p112f;
    return (V)((I)pick(rest >= 0x7c00, (V)((rest << 13) | 0x7f800000), x) | sign);
}
#endif

/* n floats, mostly a whole vector. */
INLINE V    take(const float *p, int n) { return n == W ? load(p) : load_part(p, n); }
INLINE void put(float *p, V x, int n)
{
    if (n == W) store(p, x);
    else store_part(p, x, n);
}

INLINE V load_bf16(const uint16_t *p) { return (V)(load_u16(p) << 16); }

#ifndef ISA_AVX512
INLINE V times_power(V p, V n)
{
    I m = __builtin_convertvector(n, I) + 254, half = m >> 1;        /* two factors, for 2^128 and 2^-149 are not normal floats */
    return p * (V)(half << 23) * (V)((m - half) << 23);
}
#endif

INLINE V magnitude(V x) { return (V)((I)x & 0x7fffffff); }

INLINE float largest_of(V x)
{
    float most = x[0];
    UNROLL for (int j = 1; j < W; j++) most = x[j] > most ? x[j] : most;
    return most;
}
INLINE double sum_of(V x)
{
    double s = 0;
    UNROLL for (int j = 0; j < W; j++) s += (double)x[j];
    return s;
}

/* e^x and 2^x, within 1 ulp and a half, right to 0, infinity and NaN. n is a whole number near x, or near x / ln2, and 2^n is exact.
 *
 * e^x: the sum with 1.5 2^23 drops what is behind the point; ln2 comes in two parts, and n times the first is exact (Cody & Waite 1980); e^r, |r| <= ln2/2, is
 * its Taylor series (what is left out: 5e-9). Beyond e^104 and e^-104 the results are infinity and 0: cut there, n stays small.
 * 2^x: n is the next lower number, which AVX-512 takes off by itself; 2^r, 0 <= r <= 1, is a polynomial fitted for the least largest relative error (2e-9). */
INLINE V whole(V x) { return (x + 0x1.8p23f) - 0x1.8p23f; }

INLINE V exp_v(V x)
{
    x = least(splat(104), largest(splat(-104), x));
    V n = whole(x * 0x1.715476p0f), r = madd(n, splat(0x1.bd0106p-13f), madd(n, splat(-0x1.63p-1f), x)), p = splat(1.0f / 5040);
    p = madd(p, r, splat(1.0f / 720)), p = madd(p, r, splat(1.0f / 120)), p = madd(p, r, splat(1.0f / 24));
    p = madd(p, r, splat(1.0f / 6)), p = madd(p, r, splat(0.5f));
    return times_power(madd(p * r, r, r) + 1, n);
}

INLINE V exp2_v(V x)
{
#ifdef ISA_AVX512
    V n = x, r = _mm512_reduce_ps(x, _MM_FROUND_TO_NEG_INF);
#else
    x = least(splat(151), largest(splat(-151), x));
    V n = whole(x - 0.5f), r = x - n;
#endif
    V p = splat(0.000217022675f);
    p = madd(p, r, splat(0.00124396843f)), p = madd(p, r, splat(0.00967884139f)), p = madd(p, r, splat(0.0554833418f));
    p = madd(p, r, splat(0.240229836f)), p = madd(p, r, splat(0.693146984f));
    return times_power(madd(p, r, splat(1)), n);
}

/* Rows to columns. Stage s = 1, 2, 4, ... swaps, in each pair of rows s apart, the lanes of one whose number has the bit s with the lanes of the other that
 * lack it. */
#define LOWER(j, s) (((j) & (s)) ? W + (j) - (s) : (j))
#define UPPER(j, s) (((j) & (s)) ? W + (j) : (j) + (s))
#if defined ISA_AVX512
#define LANES(f, s)                                                                                                                                            \
    f(0, s), f(1, s), f(2, s), f(3, s), f(4, s), f(5, s), f(6, s), f(7, s), f(8, s), f(9, s), f(10, s), f(11, s), f(12, s), f(13, s), f(14, s), f(15, s)
#elif defined ISA_AVX2
#define LANES(f, s) f(0, s), f(1, s), f(2, s), f(3, s), f(4, s), f(5, s), f(6, s), f(7, s)
#else
#define LANES(f, s) f(0, s), f(1, s), f(2, s), f(3, s)
#endif
#ifdef __clang__
#define SHUFFLE(a, b, f, s) __builtin_shufflevector(a, b, LANES(f, s))
#else
#define SHUFFLE(a, b, f, s) __builtin_shuffle(a, b, (I){ LANES(f, s) })
#endif
#define STAGE(r, s)                                                                                                                                            \
    UNROLL for (int j = 0; j < W; j++)                                                                                                                         \
        if (!(j & (s))) {                                                                                                                                      \
            V a = r[j], b = r[j + (s)];                                                                                                                        \
            r[j] = SHUFFLE(a, b, LOWER, s), r[j + (s)] = SHUFFLE(a, b, UPPER, s);                                                                              \
        }
INLINE void transpose(V r[W])
{
    STAGE(r, 1)
    STAGE(r, 2)
#if defined ISA_AVX512 || defined ISA_AVX2
    STAGE(r, 4)
#endif
#ifdef ISA_AVX512
    STAGE(r, 8)
#endif
}

INLINE V logistic(V x) { return 1 / (1 + exp_v(-x)); }
#endif
