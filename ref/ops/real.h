/* real.h - the number type of one compilation. Every arithmetic file of this room is compiled twice, with -DREAL=32 and with -DREAL=64: `real` is then
 * float or double, and NAME(linear) is linear_f32 or linear_f64. Sums are accumulated in double in both. */
#ifndef OPS_REAL_H
#define OPS_REAL_H
#include <float.h>
#include <math.h>
#include <stdint.h>
#include <string.h>

#if REAL == 32
typedef float real;
#define T_REAL     T_F32
#define NAME(stem) stem##_f32
#define EXP        exp_f32
#define SQRT       sqrtf
#define ABS        fabsf
#define REAL_MAX   FLT_MAX
#elif REAL == 64
typedef double real;
#define T_REAL     T_F64
#define NAME(stem) stem##_f64
#define EXP        exp
#define SQRT       sqrt
#define ABS        fabs
#define REAL_MAX   DBL_MAX
#else
#error "compile with -DREAL=32 or -DREAL=64"
#endif

static inline uint32_t bits_of(float x) { uint32_t u; memcpy(&u, &x, 4); return u; }
static inline float    float_of(uint32_t u) { float x; memcpy(&x, &u, 4); return x; }

/* e^x for float without a branch or a call, so that loops over it become vector code: within 1 ulp, right to 0, infinity and NaN.
 * x = n ln2 + r, |r| <= ln2/2 (Cody & Waite 1980: ln2 in two parts, n times the first is exact); e^r by its Taylor series; times 2^n in two
 * factors, for 2^128 and 2^-149 are not normal floats. Adding 1.5 2^23 leaves n, rounded, in the low bits of the sum. |x| is first cut to 104, where the
 * result is 0 or infinity, on the bits: comparing floats might trap, so a compiler keeps it as a branch. */
static inline float exp_f32(float x)
{
    const float big = 0x1.8p23f;
    int32_t     bits = (int32_t)(bits_of(x) & 0x7fffffff), end = (int32_t)bits_of(104.0f);
    int         cut = (bits > end) & (bits <= (int32_t)bits_of(INFINITY));
    x = float_of((bits_of(x) & 0x80000000) | (uint32_t)(cut ? end : bits));
    float    z = x * 0x1.715476p0f + big, n = z - big;
    float    r = (x - n * 0x1.63p-1f) - n * -0x1.bd0106p-13f;
    uint32_t m = bits_of(z) - bits_of(big) + 256, half = m / 2;
    float    p = 1.0f / 5040;
    p = p * r + 1.0f / 720, p = p * r + 1.0f / 120, p = p * r + 1.0f / 24, p = p * r + 1.0f / 6, p = p * r + 0.5f;
    p = p * r * r + r + 1;
    return p * float_of((half - 1) << 23) * float_of((m - half - 1) << 23);
}
#endif
