#include "cpu.h"
#include "vec.h"

/* ---- sum of squares and the search for what is not finite ---- */

enum { PART = 1 << 14 };                                /* elements of a partial sum */

size_t NAME(sumsq_need)(const Op *op) { return parts_of((size_t)op->x[0].c, PART) * 2 * sizeof(double); }

/* In double, for the squares of floats may be too large for floats. An element that is not finite fails the comparison. */
static void sum_part(double *sum, double *bad, const float *g, size_t count)
{
    double lane[8] = { 0 };
    int    wild = 0;
    size_t j = 0;
    for (; j + 8 <= count; j += 8)
        for (size_t l = 0; l < 8; l++) lane[l] += (double)g[j + l] * (double)g[j + l], wild |= !(fabsf(g[j + l]) <= 0x1.fffffep127f);
    for (; j < count; j++) lane[0] += (double)g[j] * (double)g[j], wild |= !(fabsf(g[j]) <= 0x1.fffffep127f);
    *sum = ((lane[0] + lane[1]) + (lane[2] + lane[3])) + ((lane[4] + lane[5]) + (lane[6] + lane[7]));
    *bad = wild;
}

int NAME(sumsq)(const Op *op)
{
    float  *ctl = data(op->y[0]), *g = data(op->x[0]);
    size_t  count = (size_t)op->x[0].c, parts = parts_of(count, PART);
    double *part = op->scratch, *bad = part + parts, sum = 0;
#pragma omp parallel for schedule(static) if (count > PARALLEL_FROM)
    for (size_t t = 0; t < parts; t++) sum_part(&part[t], &bad[t], g + t * PART, at_most(PART, count - t * PART));
    for (size_t t = 0; t < parts; t++) {
        sum += part[t];
        if (bad[t] > 0) ctl[CTL_BAD] = 1;
    }
    ctl[CTL_SUMSQ] = (float)((double)ctl[CTL_SUMSQ] + sum);
    return 0;
}

/* ---- one optimizer step ---- */

typedef struct {
    float scale, keep, lr, b1, c1, b2, c2, bias1, root_bias2, eps;   /* g' = scale g, w' = keep w; c1 = 1 - b1, c2 = 1 - b2 */
} Rates;

static void adamw(float *w, float *m, float *v, const float *g, int count, Rates r)
{
    for (int j = 0; j < count; j += W) {
        int n = smaller(W, count - j);
        V   h = take(g + j, n) * r.scale, m1 = take(m + j, n) * r.b1 + h * r.c1, v1 = take(v + j, n) * r.b2 + h * r.c2 * h;
        put(m + j, m1, n), put(v + j, v1, n);
        put(w + j, take(w + j, n) * r.keep - (m1 / r.bias1) / (root(v1) / r.root_bias2 + r.eps) * r.lr, n);
    }
}

static void lion(float *w, float *m, const float *g, int count, Rates r)
{
    for (int j = 0; j < count; j += W) {
        int n = smaller(W, count - j);
        V   h = take(g + j, n) * r.scale, m0 = take(m + j, n), u = m0 * r.b1 + h * r.c1, lr = splat(r.lr), zero = { 0 };
        put(w + j, take(w + j, n) * r.keep - (pick(u > zero, lr, zero) - pick(u < zero, lr, zero)), n);
        put(m + j, m0 * r.b2 + h * r.c2, n);
    }
}

static void sgd(float *w, float *m, const float *g, int count, Rates r)
{
    for (int j = 0; j < count; j += W) {
        int n = smaller(W, count - j);
        V   m1 = take(m + j, n) * r.b1 + take(g + j, n) * r.scale;
        put(m + j, m1, n);
        put(w + j, take(w + j, n) * r.keep - m1 * r.lr, n);
    }
}

static Rates rates_of(const Op *op)
{
    const float *ctl = data(op->x[1]);
    double       scale = 1 / (double)ctl[CTL_SCALE], clip = (double)ctl[CTL_CLIP], lr = (double)ctl[CTL_LR + op->a.base];
    double       norm = sqrt((double)ctl[CTL_SUMSQ]) * scale;
    if (clip > 0 && clip < norm + 1e-6) scale *= clip / (norm + 1e-6);
    return (Rates){ .scale = (float)scale,
                    .keep = (float)(1 - lr * op->a.decay),
                    .lr = (float)lr,
                    .b1 = (float)op->a.beta1,
                    .c1 = (float)(1 - op->a.beta1),
                    .b2 = (float)op->a.beta2,
                    .c2 = (float)(1 - op->a.beta2),
                    .bias1 = ctl[CTL_BIAS1],
                    .root_bias2 = (float)sqrt((double)ctl[CTL_BIAS2]),
                    .eps = (float)op->a.eps };
}

int NAME(update)(const Op *op)
{
    Tensor w = op->y[0], g = op->x[0];
    if (data(op->x[1])[CTL_BAD] != 0) return 0;
    Rates rates = rates_of(op);
    Spans s = spans_of(w, 1);
#pragma omp parallel for schedule(static) if (s.count > PARALLEL_FROM)
    for (size_t i = 0; i < s.spans; i++) {
        int    count = span_length(s, i);
        float *m = span_at(s, op->y[1], i), *from = span_at(s, g, i), *to = span_at(s, w, i);
        switch (op->a.kind) {
        case UPDATE_ADAMW: adamw(to, m, span_at(s, op->y[2], i), from, count, rates); break;
        case UPDATE_LION: lion(to, m, from, count, rates); break;
        default: sgd(to, m, from, count, rates);
        }
        if (op->y[3].p) memcpy(span_at(s, op->y[3], i), to, (size_t)count * sizeof *to);
    }
    return 0;
}
