#include "cpu.h"
#include "vec.h"

/* Each kind is y = x s(x) with its own s, and dy/dx = s + x s'.
 *
 *   SiLU        s = 1 / (1 + e^-x)          s' = s (1-s)
 *   quick GELU  s = 1 / (1 + e^-ax)         s' = a s (1-s), a = 1.702                       (Hendrycks & Gimpel 2016, section 2)
 *   GELU        s = (1 + erf(x/sqrt 2))/2   s' = e^(-x^2/2) / sqrt(2 pi): the normal distribution and its density */

typedef struct {
    V value, slope;
} Share;                                                /* s and s + x s' */

/* The normal distribution, of which two formulas are computed and one is taken:
 *   a = |x| < 1.25:  1/2 + x R(x^2);      else the tail e g(a), or 1 less it, where g(a) = s P(s), s = 1 / (1 + 0.4 a), is smooth down to s = 0.
 * R and P are fitted for the least largest relative error: 1e-8, and 7e-8 of a tail that is under 0.11. */
INLINE Share normal_share(V x)
{
    V e = exp_v(x * x * -0.5f), a = magnitude(x), s = 1 / madd(splat(0.4f), a, splat(1)), w = x * x, p = splat(0.0685661455f), r = splat(-6.80949185e-06f);
    p = madd(p, s, splat(-0.187552682f)), p = madd(p, s, splat(0.106501698f)), p = madd(p, s, splat(0.054952408f)), p = madd(p, s, splat(0.139165139f));
    p = madd(p, s, splat(0.159077173f)), p = madd(p, s, splat(0.159597044f));
    r = madd(r, w, splat(0.000111041128f)), r = madd(r, w, splat(-0.00118383716f)), r = madd(r, w, splat(0.00997228273f));
    r = madd(r, w, splat(-0.0664902079f)), r = madd(r, w, splat(0.398942277f));
    V tail = e * (s * p), share = pick(a < splat(1.25f), madd(x, r, splat(0.5f)), pick(x < splat(0), tail, 1 - tail));
    return (Share){ share, madd(x * 0.39894228040143267794f, e, share) };
}

INLINE Share logistic_share(V x, float a)
{
    V s = logistic(x * a);
    return (Share){ s, s * (1 + x * a * (1 - s)) };
}

INLINE Share share_of(V x, int kind)
{
    return kind == ACT_SILU ? logistic_share(x, 1) : kind == ACT_GELU ? normal_share(x) : logistic_share(x, 1.702f);
}

/* ---- y = f(x), dx (+)= dy f'(x) ---- */

INLINE void act_as(int kind, float *y, const float *x, int count)
{
    for (int j = 0; j < count; j += W) {
        int n = smaller(W, count - j);
        V   from = take(x + j, n);
        put(y + j, from * share_of(from, kind).value, n);
    }
}

INLINE void act_dx_as(int kind, float *dx, const float *dy, const float *x, int count, int acc)
{
    for (int j = 0; j < count; j += W) {
        int n = smaller(W, count - j);
        V   to = take(dy + j, n) * share_of(take(x + j, n), kind).slope;
        if (acc) to += take(dx + j, n);
        put(dx + j, to, n);
    }
}

int NAME(act)(const Op *op)
{
    Tensor y = op->y[0], x = op->x[0];
    Spans  s = spans_of(y, is_dense(y) && is_dense(x));
#pragma omp parallel for schedule(static) if (s.count > PARALLEL_FROM)
    for (size_t i = 0; i < s.spans; i++) {
        float *to = span_at(s, y, i), *from = span_at(s, x, i);
        int    count = span_length(s, i);
        switch (op->a.kind) {
        case ACT_SILU: act_as(ACT_SILU, to, from, count); break;
        case ACT_GELU: act_as(ACT_GELU, to, from, count); break;
        default: act_as(ACT_QUICK_GELU, to, from, count);
        }
    }
    return 0;
}

int NAME(act_dx)(const Op *op)
{
    Tensor dx = op->y[0], dy = op->x[0], x = op->x[1];
    Spans  s = spans_of(dx, is_dense(dx) && is_dense(dy) && is_dense(x));
#pragma omp parallel for schedule(static) if (s.count > PARALLEL_FROM)
    for (size_t i = 0; i < s.spans; i++) {
        float *to = span_at(s, dx, i), *g = span_at(s, dy, i), *from = span_at(s, x, i);
        int    count = span_length(s, i);
        switch (op->a.kind) {
        case ACT_SILU: act_dx_as(ACT_SILU, to, g, from, count, op->acc); break;
        case ACT_GELU: act_dx_as(ACT_GELU, to, g, from, count, op->acc); break;
        default: act_dx_as(ACT_QUICK_GELU, to, g, from, count, op->acc);
        }
    }
    return 0;
}

/* ---- y = a gelu(b), x = (a, b) along the channels: da = dy gelu(b), db = dy a gelu'(b) ---- */

int NAME(geglu)(const Op *op)
{
    Tensor y = op->y[0], x = op->x[0];
#pragma omp parallel for schedule(static) if (tensor_count(y) > PARALLEL_FROM)
    for (size_t r = 0; r < row_count(y); r++) {
        float *to = row_at(y, r), *a = row_at(x, r), *b = a + y.c;
        for (int j = 0; j < y.c; j += W) {
            int n = smaller(W, y.c - j);
            V   gate = take(b + j, n);
            put(to + j, take(a + j, n) * gate * normal_share(gate).value, n);
        }
    }
    return 0;
}

int NAME(geglu_dx)(const Op *op)
{
    Tensor dx = op->y[0], dy = op->x[0], x = op->x[1];
#pragma omp parallel for schedule(static) if (tensor_count(x) > PARALLEL_FROM)
    for (size_t r = 0; r < row_count(x); r++) {
        float *da = row_at(dx, r), *db = da + dy.c, *a = row_at(x, r), *b = a + dy.c, *g = row_at(dy, r);
        for (int j = 0; j < dy.c; j += W) {
            int   n = smaller(W, dy.c - j);
            V     gate = take(b + j, n), from = take(g + j, n), of_a, of_b;
            Share s = normal_share(gate);
            of_a = from * (gate * s.value), of_b = from * take(a + j, n) * s.slope;
            if (op->acc) of_a += take(da + j, n), of_b += take(db + j, n);
            put(da + j, of_a, n), put(db + j, of_b, n);
        }
    }
    return 0;
}
