#include "base/type.h"
#include "base/err.h"
#include <math.h>
#include <string.h>

static const struct {
    const char *name;
    size_t size;
} types[T_COUNT] = { [T_F32] = { "f32", 4 },  [T_F64] = { "f64", 8 },   [T_F16] = { "f16", 2 }, [T_BF16] = { "bf16", 2 },
                     [T_I32] = { "i32", 4 },  [T_I64] = { "i64", 8 },   [T_U8] = { "u8", 1 } };

size_t      type_size(Type type) { return types[type].size; }
const char *type_name(Type type) { return types[type].name; }

static uint32_t bits_of(float x) { uint32_t u; memcpy(&u, &x, 4); return u; }
static float    float_of(uint32_t u) { float x; memcpy(&x, &u, 4); return x; }

float f16_to_f32(uint16_t h)
{
    uint32_t sign = (uint32_t)(h & 0x8000) << 16, exponent = (h >> 10) & 31, mantissa = h & 0x3ff;
    if (exponent == 31) return float_of(sign | 0x7f800000u | mantissa << 13);
    if (exponent == 0) return float_of(sign | bits_of((float)mantissa * 0x1p-24f));
    return float_of(sign | (exponent + 112) << 23 | mantissa << 13);
}

/* x scaled so that the last bit kept is the unit of rint: correct to nearest even in the default rounding mode, subnormals included. */
static uint16_t narrow_f16(double x)
{
    double   a = fabs(x);
    uint16_t sign = signbit(x) ? 0x8000 : 0;
    if (isnan(x)) return sign | 0x7e00;
    if (a >= 65520.0) return sign | 0x7c00;
    if (a < 0x1p-14) return (uint16_t)(sign | (uint16_t)rint(a * 0x1p24));
    int      e = ilogb(a);
    uint16_t m = (uint16_t)rint(ldexp(a, 10 - e));      /* 1024..2048; 2048 carries into the exponent */
    return (uint16_t)(sign | (((e + 15) << 10) + (m - 1024)));
}

uint16_t f32_to_f16(float x) { return narrow_f16(x); }
float    bf16_to_f32(uint16_t h) { return float_of((uint32_t)h << 16); }

uint16_t f32_to_bf16(float x)
{
    uint32_t u = bits_of(x);
    if ((u & 0x7fffffffu) > 0x7f800000u) return (uint16_t)(u >> 16 | 0x40);
    return (uint16_t)((u + 0x7fff + (u >> 16 & 1)) >> 16);
}

/* A double goes to bfloat16 through the float that rounds to odd, so that the two roundings are one. */
static uint16_t narrow_bf16(double x)
{
    float f = (float)x;
    if (isfinite(f) && (double)f != x) {
        uint32_t u = bits_of(f);
        if (fabs((double)f) > fabs(x)) u--;
        f = float_of(u | 1);
    }
    return f32_to_bf16(f);
}

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

void type_set(Type type, void *array, size_t i, double value)
{
    switch (type) {
    case T_F32: ((float *)array)[i] = (float)value; break;
    case T_F64: ((double *)array)[i] = value; break;
    case T_F16: ((uint16_t *)array)[i] = narrow_f16(value); break;
    case T_BF16: ((uint16_t *)array)[i] = narrow_bf16(value); break;
    case T_I32: ((int32_t *)array)[i] = (int32_t)value; break;
    case T_I64: ((int64_t *)array)[i] = (int64_t)value; break;
    case T_U8: ((uint8_t *)array)[i] = (uint8_t)value; break;
    default: CHECK(0, "type %d", (int)type);
    }
}

void type_convert(Type dst_type, void *dst, Type src_type, const void *src, size_t count)
{
    if (dst_type == src_type) {
        memcpy(dst, src, count * types[src_type].size);
        return;
    }
    for (size_t i = 0; i < count; i++) type_set(dst_type, dst, i, type_get(src_type, src, i));
}
