#include "base/torch_rng.h"
#include <math.h>
#include <string.h>

enum { WORDS = 624, SHIFT = 397 };

TorchRng torch_rng_open(uint64_t seed)
{
    TorchRng rng = { .used = WORDS };
    rng.state[0] = (uint32_t)seed;
    for (uint32_t j = 1; j < WORDS; j++) rng.state[j] = 1812433253u * (rng.state[j - 1] ^ rng.state[j - 1] >> 30) + j;
    return rng;
}

static void twist(uint32_t *s)
{
    for (int k = 0; k < WORDS; k++) {
        uint32_t y = (s[k] & 0x80000000u) | (s[(k + 1) % WORDS] & 0x7fffffffu);
        s[k] = s[(k + SHIFT) % WORDS] ^ y >> 1 ^ (y & 1 ? 0x9908b0dfu : 0);
    }
}

static uint32_t next32(TorchRng *rng)
{
    if (rng->used == WORDS) twist(rng->state), rng->used = 0;
    uint32_t y = rng->state[rng->used++];
    y ^= y >> 11;
    y ^= y << 7 & 0x9d2c5680u;
    y ^= y << 15 & 0xefc60000u;
    return y ^ y >> 18;
}

static float uniform24(TorchRng *rng) { return (float)(next32(rng) & 0xffffff) * 0x1p-24f; }

static double uniform53(TorchRng *rng)
{
    uint64_t high = next32(rng), bits = high << 32 | next32(rng);
    return (double)(bits & ((1ull << 53) - 1)) * 0x1p-53;
}

/* torch's path for fewer than 16 normals: Box-Muller in double, one value now and one kept. */
static double normal53(TorchRng *rng)
{
    if (rng->has_next) {
        rng->has_next = 0;
        return rng->next;
    }
    double u = uniform53(rng), v = uniform53(rng), radius = sqrt(-2 * log1p(-v)), angle = 2 * 3.14159265358979323846 * u;
    rng->next = radius * sin(angle), rng->has_next = 1;
    return radius * cos(angle);
}

/* The vector path. Its logarithm, sine and cosine are the Cephes library's single precision polynomials (Moshier), evaluated with fused multiply-adds; the
 * bits depend on the order of every operation below. */

/* log x = log m + e log 2, m in [sqrt 1/2, sqrt 2); log 2 in two parts, of which e times the first is exact. x normal and positive. */
static float log_cephes(float x)
{
    static const float p[] = { 7.0376836292e-2f, -1.1514610310e-1f, 1.1676998740e-1f, -1.2420140846e-1f, 1.4249322787e-1f,
                               -1.6668057665e-1f, 2.0000714765e-1f, -2.4999993993e-1f, 3.3333331174e-1f };
    uint32_t bits;
    memcpy(&bits, &x, 4);
    float e = (float)((int)(bits >> 23) - 126), m;      /* x = m 2^e, m in [1/2, 1) */
    bits = (bits & 0x7fffffu) | 0x3f000000u;
    memcpy(&m, &bits, 4);
    if (m < 0.707106781186547524f) e -= 1, m = (m - 1) + m;
    else m -= 1;
    float z = m * m, y = p[0];
    for (int k = 1; k < 9; k++) y = fmaf(y, m, p[k]);
    y *= m;
    y = fmaf(y, z, e * -2.12194440e-4f);
    y = fmaf(-0.5f, z, y);
    return (m + y) + e * 0.693359375f;
}

/* x in [0, 2 pi], less the nearest even multiple j of pi/4 (in three parts): then one of two polynomials each, and signs by the octant j. */
static void sincos_cephes(float *sine, float *cosine, float x)
{
    int   j = ((int)(x * 1.27323954473516f) + 1) & ~1;
    float q = (float)j;
    x = fmaf(q, -0.78515625f, x), x = fmaf(q, -2.4187564849853515625e-4f, x), x = fmaf(q, -3.77489497744594108e-8f, x);
    float z = x * x;
    float c = fmaf(fmaf(2.443315711809948e-5f, z, -1.388731625493765e-3f), z, 4.166664568298827e-2f) * z;
    float s = fmaf(fmaf(-1.9515295891e-4f, z, 8.3321608736e-3f), z, -1.6666654611e-1f) * z;
    c = fmaf(c, z, -(0.5f * z)) + 1;
    s = fmaf(s, x, x);
    float a = j & 2 ? c : s, b = j & 2 ? s : c;
    *sine = j & 4 ? -a : a;
    *cosine = (j - 2) & 4 ? b : -b;
}

/* 16 uniforms -> 16 normals, in place: cosines in the first half, sines in the second. */
static void normal_block(float *d)
{
    for (int j = 0; j < 8; j++) {
        float radius = sqrtf(-2 * log_cephes(1 - d[j])), s, c;
        sincos_cephes(&s, &c, 6.283185307179586f * d[j + 8]);
        d[j] = radius * c, d[j + 8] = radius * s;
    }
}

/* A ragged tail is filled by one more block of fresh draws over the last 16 places, which overwrites values that were finished. */
void torch_rng_normal(TorchRng *rng, float *out, size_t n)
{
    if (n < 16) {
        for (size_t i = 0; i < n; i++) out[i] = (float)normal53(rng);
        return;
    }
    for (size_t i = 0; i < n; i++) out[i] = uniform24(rng);
    for (size_t i = 0; i + 16 <= n; i += 16) normal_block(out + i);
    if (n % 16 == 0) return;
    out += n - 16;
    for (int i = 0; i < 16; i++) out[i] = uniform24(rng);
    normal_block(out);
}
