/* half.h - IEEE binary16 as CUDA's half and half2. Products and sums are worked out in float, which is wide enough for them to round as one operation would. */
#ifndef EMU_HALF_H
#define EMU_HALF_H

struct alignas(2) __half { uint16_t x; };
struct alignas(4) __half2 { __half x, y; };
typedef __half  half;
typedef __half2 half2;

/* The bits of a half, moved to a float's place and scaled by 2^112, the difference of the exponents' biases: subnormals come out right as well. */
static inline float __half2float(half h)
{
    uint32_t bits = (uint32_t)(h.x & 0x7fff) << 13, sign = (uint32_t)(h.x & 0x8000) << 16;
    float    x;
    memcpy(&x, &bits, 4);
    x *= 0x1p112f;
    memcpy(&bits, &x, 4);
    bits |= sign | ((h.x & 0x7c00) == 0x7c00 ? 0x7f800000 : 0);
    memcpy(&x, &bits, 4);
    return x;
}

/* To nearest, ties to even. A subnormal result is rounded by adding 1/2, whose last place is that of the smallest half. */
static inline half __float2half(float x)
{
    uint32_t bits;
    memcpy(&bits, &x, 4);
    uint32_t sign = bits >> 16 & 0x8000, size = bits & 0x7fffffff;
    if (size > 0x7f800000) return { (uint16_t)(sign | 0x7e00) };
    if (size >= 0x47800000) return { (uint16_t)(sign | 0x7c00) };
    if (size < 0x38800000) {
        float shifted;
        memcpy(&shifted, &size, 4);
        shifted += 0.5f;
        memcpy(&size, &shifted, 4);
        return { (uint16_t)(sign | (size - 0x3f000000)) };
    }
    return { (uint16_t)(sign | ((size + 0xc8000fff + (size >> 13 & 1)) >> 13)) };
}

/* Rounded once: the float on the way is rounded to odd, so that no second rounding can err (Boldo & Melquiond 2008). */
static inline half emu_half_of(double x)
{
    float f = (float)x;
    if ((double)f != x && x - x == 0 && f - f == 0) {
        uint32_t bits;
        memcpy(&bits, &f, 4);
        if (fabs((double)f) > fabs(x)) bits--;
        bits |= 1;
        memcpy(&f, &bits, 4);
    }
    return __float2half(f);
}

static inline half   __float2half_rn(float x) { return __float2half(x); }
static inline half   __double2half(double x) { return emu_half_of(x); }
static inline half   __ushort_as_half(unsigned short x) { return { x }; }
static inline unsigned short __half_as_ushort(half h) { return h.x; }
static inline half2  __halves2half2(half a, half b) { return { a, b }; }
static inline half2  __half2half2(half a) { return { a, a }; }
static inline half2  __floats2half2_rn(float a, float b) { return { __float2half(a), __float2half(b) }; }
static inline half2  __float22half2_rn(float2 a) { return { __float2half(a.x), __float2half(a.y) }; }
static inline float2 __half22float2(half2 h) { return { __half2float(h.x), __half2float(h.y) }; }
static inline half   __low2half(half2 h) { return h.x; }
static inline half   __high2half(half2 h) { return h.y; }
static inline float  __low2float(half2 h) { return __half2float(h.x); }
static inline float  __high2float(half2 h) { return __half2float(h.y); }

static inline half  __hadd(half a, half b) { return __float2half(__half2float(a) + __half2float(b)); }
static inline half  __hsub(half a, half b) { return __float2half(__half2float(a) - __half2float(b)); }
static inline half  __hmul(half a, half b) { return __float2half(__half2float(a) * __half2float(b)); }
static inline half  __hneg(half a) { return { (uint16_t)(a.x ^ 0x8000) }; }
static inline half  __hfma(half a, half b, half c) { return emu_half_of((double)__half2float(a) * __half2float(b) + __half2float(c)); }
static inline half2 __hadd2(half2 a, half2 b) { return { __hadd(a.x, b.x), __hadd(a.y, b.y) }; }
static inline half2 __hsub2(half2 a, half2 b) { return { __hsub(a.x, b.x), __hsub(a.y, b.y) }; }
static inline half2 __hmul2(half2 a, half2 b) { return { __hmul(a.x, b.x), __hmul(a.y, b.y) }; }
static inline half2 __hfma2(half2 a, half2 b, half2 c) { return { __hfma(a.x, b.x, c.x), __hfma(a.y, b.y, c.y) }; }
static inline bool  __hisnan(half a) { return (a.x & 0x7fff) > 0x7c00; }
static inline int   __hisinf(half a) { return a.x == 0x7c00 ? 1 : a.x == 0xfc00 ? -1 : 0; }
#endif
