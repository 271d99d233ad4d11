#include "ops/ref.h"

/* ---- sum of squares and the search for what is not finite ---- */

static Chunks chunks_to_square(const Op *op) { return chunks_of((size_t)op->x[0].c, 1); }

size_t NAME(sumsq_need)(const Op *op) { return (size_t)chunks_to_square(op).count * 2 * sizeof(double); }

/* An element that is not finite fails the comparison; the sum of squares alone would not tell it from one that overflows. */
int NAME(sumsq)(const Op *op)
{
    real   *ctl = data(op->y[0]), *g = data(op->x[0]);
    Chunks  chunks = chunks_to_square(op);
    double *part = op->scratch, *bad = part + chunks.count, sum = 0;
#pragma omp parallel for schedule(static) if (chunks.rows > PARALLEL_FROM)
    for (int t = 0; t < chunks.count; t++) {
        double s = 0;
        int    wild = 0;
        for (size_t j = chunk_from(chunks, t); j < chunk_end(chunks, t); j++) {
            s += (double)g[j] * (double)g[j];
            wild |= !(ABS(g[j]) <= REAL_MAX);
        }
        part[t] = s, bad[t] = wild;
    }
    for (int t = 0; t < chunks.count; t++) {
        sum += part[t];
        if (bad[t] > 0) ctl[CTL_BAD] = 1;
    }
    ctl[CTL_SUMSQ] = (real)((double)ctl[CTL_SUMSQ] + sum);
    return 0;
}

/* ---- one optimizer step ---- */

typedef struct {
    real scale, keep, lr, b1, c1, b2, c2, bias1, root_bias2, eps; /* g' = scale g, w' = keep w; c1 = 1 - b1, c2 = 1 - b2 */
} Rates;

static void adamw(real *restrict w, real *restrict m, real *restrict v, const real *restrict g, size_t count, Rates r)
{
    for (size_t j = 0; j < count; j++) {
        real h = r.scale * g[j];
        m[j] = r.b1 * m[j] + r.c1 * h;
        v[j] = r.b2 * v[j] + r.c2 * h * h;
        w[j] = r.keep * w[j] - r.lr * (m[j] / r.bias1) / (SQRT(v[j]) / r.root_bias2 + r.eps);
    }
}

static void lion(real *restrict w, real *restrict m, const real *restrict g, size_t count, Rates r)
{
    for (size_t j = 0; j < count; j++) {
        real h = r.scale * g[j], u = r.b1 * m[j] + r.c1 * h;
        w[j] = r.keep * w[j] - r.lr * (real)((u > 0) - (u < 0));
        m[j] = r.b2 * m[j] + r.c2 * h;
    }
}

static void sgd(real *restrict w, real *restrict m, const real *restrict g, size_t count, Rates r)
{
    for (size_t j = 0; j < count; j++) {
        m[j] = r.b1 * m[j] + r.scale * g[j];
        w[j] = r.keep * w[j] - r.lr * m[j];
    }
}

static Rates rates_of(const Op *op)
{
    const real *ctl = data(op->x[1]);
    double      scale = 1 / (double)ctl[CTL_SCALE], clip = (double)ctl[CTL_CLIP], lr = (double)ctl[CTL_LR + op->a.base];
    double      norm = sqrt((double)ctl[CTL_SUMSQ]) * scale, bias2 = (double)ctl[CTL_BIAS2];
    if (clip > 0 && clip < norm + 1e-6) scale *= clip / (norm + 1e-6);
    return (Rates){ .scale = (real)scale,
                    .keep = (real)(1 - lr * op->a.decay),
                    .lr = (real)lr,
                    .b1 = (real)op->a.beta1,
                    .c1 = (real)(1 - op->a.beta1),
                    .b2 = (real)op->a.beta2,
                    .c2 = (real)(1 - op->a.beta2),
                    .bias1 = ctl[CTL_BIAS1],
                    .root_bias2 = (real)sqrt(bias2),
                    .eps = (real)op->a.eps };
}

int NAME(update)(const Op *op)
{
    Tensor w = op->y[0], g = op->x[0];
    if (data(op->x[1])[CTL_BAD] != 0) return 0;
    Rates rates = rates_of(op);
    Spans s = spans_of(w, 1);
#pragma omp parallel for schedule(static) if (s.count > PARALLEL_FROM)
    for (size_t i = 0; i < s.spans; i++) {
        size_t count = span_length(s, i);
        real  *m = span_at(s, op->y[1], i), *from = span_at(s, g, i), *to = span_at(s, w, i);
        switch (op->a.kind) {
        case UPDATE_ADAMW: adamw(to, m, span_at(s, op->y[2], i), from, count, rates); break;
        case UPDATE_LION: lion(to, m, from, count, rates); break;
        default: sgd(to, m, from, count, rates);
        }
        if (op->y[3].p) memcpy(span_at(s, op->y[3], i), to, count * sizeof *to);
    }
    return 0;
}
