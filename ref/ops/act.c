#include "ops/ref.h"

/* Each kind is y = x s(x) with its own s, and dy/dx = s + x s'.
 *
 *   SiLU        s = 1 / (1 + e^-x)          s' = s (1-s)
 *   quick GELU  s = 1 / (1 + e^-ax)         s' = a s (1-s), a = 1.702                       (Hendrycks & Gimpel 2016, section 2)
 *   GELU        s = (1 + erf(x/sqrt 2))/2   s' = e^(-x^2/2) / sqrt(2 pi): the normal distribution and its density */

static const real QUICK = (real)1.702, DENSITY_0 = (real)0.39894228040143267794;

/* The normal distribution at x, given e = e^(-x^2/2). */
#if REAL == 64
static inline real normal(real x, real e) { return (void)e, (1 + erf(x * 0.70710678118654752440)) / 2; }
#else
/* erff is a call and has branches; here both of two formulas are computed and one is taken, on the bits, so that loops over it become vector code.
 *   a = |x| < 1.25:  1/2 + x R(x^2);      else the tail e g(a), or 1 less it, where g(a) = s P(s), s = 1 / (1 + 0.4 a), is smooth down to s = 0.
 * R and P are fitted for the least largest relative error: 1e-8, and 7e-8 of a tail that is under 0.11. */
static inline real normal(real x, real e)
{
    real s = 1 / (1 + 0.4f * ABS(x)), w = x * x, p = 0.0685661455f, r = -6.80949185e-06f;
    p = p * s - 0.187552682f, p = p * s + 0.106501698f, p = p * s + 0.054952408f, p = p * s + 0.139165139f, p = p * s + 0.159077173f, p = p * s + 0.159597044f;
    r = r * w + 0.000111041128f, r = r * w - 0.00118383716f, r = r * w + 0.00997228273f, r = r * w - 0.0664902079f, r = r * w + 0.398942277f;
    real     tail = e * (s * p);
    uint32_t below = 0u - (bits_of(x) >> 31), inner = 0u - (uint32_t)((int32_t)(bits_of(x) & 0x7fffffff) < (int32_t)bits_of(1.25f));
    uint32_t outer = (bits_of(tail) & below) | (bits_of(1 - tail) & ~below);
    return float_of((bits_of(0.5f + x * r) & inner) | (outer & ~inner));
}
#endif

static inline real gelu(real x) { return x * normal(x, EXP(-x * x / 2)); }
static inline real gelu_slope(real x)
{
    real e = EXP(-x * x / 2);
    return normal(x, e) + x * e * DENSITY_0;
}

static inline real quick_gelu(real x) { return x * logistic(QUICK * x); }
static inline real quick_gelu_slope(real x)
{
    real s = logistic(QUICK * x);
    return s * (1 + QUICK * x * (1 - s));
}

/* ---- y = f(x), dx (+)= dy f'(x) ---- */

static void act_span(real *y, const real *x, size_t count, int kind)
{
    if (kind == ACT_SILU)
        for (size_t j = 0; j < count; j++) y[j] = silu(x[j]);
    else if (kind == ACT_GELU)
        for (size_t j = 0; j < count; j++) y[j] = gelu(x[j]);
    else
        for (size_t j = 0; j < count; j++) y[j] = quick_gelu(x[j]);
}

static void act_dx_span(real *dx, const real *dy, const real *x, size_t count, int kind, int acc)
{
    if (kind == ACT_SILU)
        for (size_t j = 0; j < count; j++) dx[j] = dy[j] * silu_slope(x[j]) + (acc ? dx[j] : 0);
    else if (kind == ACT_GELU)
        for (size_t j = 0; j < count; j++) dx[j] = dy[j] * gelu_slope(x[j]) + (acc ? dx[j] : 0);
    else
        for (size_t j = 0; j < count; j++) dx[j] = dy[j] * quick_gelu_slope(x[j]) + (acc ? dx[j] : 0);
}

int NAME(act)(const Op *op)
{
    Tensor y = op->y[0], x = op->x[0];
    Spans  s = spans_of(y, is_dense(y) && is_dense(x));
#pragma omp parallel for schedule(static) if (s.count > PARALLEL_FROM)
    for (size_t i = 0; i < s.spans; i++) act_span(span_at(s, y, i), span_at(s, x, i), span_length(s, i), op->a.kind);
    return 0;
}

int NAME(act_dx)(const Op *op)
{
    Tensor dx = op->y[0], dy = op->x[0], x = op->x[1];
    Spans  s = spans_of(dx, is_dense(dx) && is_dense(dy) && is_dense(x));
#pragma omp parallel for schedule(static) if (s.count > PARALLEL_FROM)
    for (size_t i = 0; i < s.spans; i++) act_dx_span(span_at(s, dx, i), span_at(s, dy, i), span_at(s, x, i), span_length(s, i), op->a.kind, op->acc);
    return 0;
}

/* ---- y = a gelu(b), x = (a, b) along the channels: da = dy gelu(b), db = dy a gelu'(b) ---- */

int NAME(geglu)(const Op *op)
{
    Tensor y = op->y[0], x = op->x[0];
#pragma omp parallel for schedule(static) if (tensor_count(y) > PARALLEL_FROM)
    for (size_t r = 0; r < row_count(y); r++) {
        real *to = row_at(y, r), *a = row_at(x, r), *b = a + y.c;
        for (int j = 0; j < y.c; j++) to[j] = a[j] * gelu(b[j]);
    }
    return 0;
}

static void geglu_dx_row(real *restrict da, real *restrict db, const real *restrict dy, const real *restrict a, const real *restrict b, int c)
{
    for (int j = 0; j < c; j++) {
        real e = EXP(-b[j] * b[j] / 2), share = normal(b[j], e);
        da[j] = dy[j] * b[j] * share;
        db[j] = dy[j] * a[j] * (share + b[j] * e * DENSITY_0);
    }
}

int NAME(geglu_dx)(const Op *op)
{
    Tensor dx = op->y[0], dy = op->x[0], x = op->x[1];
    enum { PIECE = 128 };
#pragma omp parallel for schedule(static) if (tensor_count(x) > PARALLEL_FROM)
    for (size_t r = 0; r < row_count(x); r++) {
        real *to = row_at(dx, r), *from = row_at(x, r), *g = row_at(dy, r), da[PIECE], db[PIECE];
        for (int j0 = 0; j0 < dy.c; j0 += PIECE) {
            int count = dy.c - j0 < PIECE ? dy.c - j0 : PIECE;
            geglu_dx_row(da, db, g + j0, from + j0, from + dy.c + j0, count);
            for (int j = 0; j < count; j++) {
                to[j0 + j] = da[j] + (op->acc ? to[j0 + j] : 0);
                to[dy.c + j0 + j] = db[j] + (op->acc ? to[dy.c + j0 + j] : 0);
            }
        }
    }
    return 0;
}
