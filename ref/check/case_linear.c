/* case_linear.c - linear and its gradients: each output is one sum of products, rounded by any set in any order. */
#include "check/check.h"

void draw_parts(Case *c)
{
    Tensor y = c->op.y[0];
    if (below(c, 2)) c->op.a.scale = scale_of(c);
    c->op.bias = maybe(c, in(c, ACT, 1, 1, 1, y.c));
    c->op.row = maybe(c, in(c, ACT, y.n, 1, 1, y.c));
    c->op.res = maybe(c, in(c, ACT, y.n, y.h, y.w, y.c));
    if (c->op.res.p && below(c, 2)) c->op.y[0].p = c->op.res.p;
    for (int k = 0, segs = below(c, MAX_SEG + 1); k < segs; k++) {
        int r = one_of(c, (const double[]){ 1, 3, 4, 8, 16 }, 5), o = 1 + below(c, y.c);
        c->op.seg[k].x = in(c, ACT, y.n, y.h, y.w, r);
        c->op.seg[k].w = weight(c, o, 1, r);
        c->op.seg[k].scale = scale_of(c);
        c->op.seg[k].o0 = below(c, y.c - o + 1);
    }
}

void sum_parts(const Case *c, Sum *s)
{
    const Op *op = &c->op;
    Tensor y = op->y[0];
    for (size_t j = 0; j < tensor_count(y); j++) {
        size_t o = j % (size_t)y.c, n = j / ((size_t)y.h * (size_t)y.w * (size_t)y.c);
        if (op->bias.p) sum_mul(&s[j], at(op->bias, o), 1);
        if (op->row.p) sum_mul(&s[j], at(op->row, n * (size_t)y.c + o), 1);
        if (op->res.p) sum_mul(&s[j], at(op->res, j), 1);
        for (int k = 0; k < MAX_SEG; k++) {
            const Seg *seg = &op->seg[k];
            if (!seg->x.p || (int)o < seg->o0 || (int)o >= seg->o0 + seg->w.t.n) continue;
            int r = seg->x.c;
            sum_dot(&s[j], (double *)seg->x.p + j / (size_t)y.c * (size_t)r, (double *)seg->w.t.p + (o - (size_t)seg->o0) * (size_t)r, r, seg->scale);
        }
    }
}

/* Now and then a row that is longer than what a set may take of a narrow weight at once. */
static int draw_inputs(Case *c)
{
    if (c->given || below(c, 8)) return dim(c, 5120);
    c->left /= 4097;
    return 4097;
}

void draw_linear(Case *c)
{
    int i = draw_inputs(c), o = dim(c, 1280), w = dim(c, 600), h = dim(c, 24), n = dim(c, 4);
    Tensor x = in(c, ACT, n, h, w, i);
    c->op = op_linear(out(c, ACT, n, h, w, o), x, frozen(c, o, 1, i), NONE, NONE, NONE);
    draw_parts(c);
}

void define_linear(Case *c)
{
    Tensor y = c->op.y[0], x = c->op.x[0], w = c->op.w.t;
    Sum   *s = sums(c, y);
    long   rows = (long)(tensor_count(y) / (size_t)y.c);
#pragma omp parallel for if (rows * y.c > WORTH_THREADS)
    for (long row = 0; row < rows; row++)
        for (int o = 0; o < y.c; o++) sum_dot(&s[row * y.c + o], (double *)x.p + row * x.c, values_at(w, o, 0, 0), x.c, c->op.a.scale);
    sum_parts(c, s);
    want_sums(c, 0, s);
}

/* s (rows,i) += scale dy (rows,o) w (o,i) */
static void sum_dx(Sum *s, Tensor dy, Tensor w, double scale)
{
    long rows = (long)(tensor_count(dy) / (size_t)dy.c);
#pragma omp parallel for if (rows * w.c > WORTH_THREADS)
    for (long row = 0; row < rows; row++)
        for (int o = 0; o < dy.c; o++)
            for (int i = 0; i < w.c; i++) sum_mul(&s[row * w.c + i], scale * at(dy, (size_t)(row * dy.c + o)), values_at(w, o, 0, 0)[i]);
}

void draw_linear_dx(Case *c)
{
    int i = draw_inputs(c), o = dim(c, 1280), w = dim(c, 600), h = dim(c, 24), n = dim(c, 4), acc = below(c, 2), type = below(c, 4) ? ACT : ACC;
    double scale = scale_of(c);
    Weight weights = frozen(c, o, 1, i);
    Tensor dy = in(c, ACT, n, h, w, o);
    c->op = op_linear_dx(out_acc(c, acc, type, n, h, w, i), dy, weights, scale, acc);
    for (int k = 0, segs = below(c, MAX_SEG + 1); k < segs; k++) {
        int r = one_of(c, (const double[]){ 1, 3, 4, 8, 16 }, 5);
        c->op.seg[k].x = in(c, ACT, n, h, w, r);
        c->op.seg[k].w = weight(c, r, 1, i);
        c->op.seg[k].scale = scale_of(c);
    }
}

void define_linear_dx(Case *c)
{
    Sum *s = sums(c, c->op.y[0]);
    sum_dx(s, c->op.x[0], c->op.w.t, c->op.a.scale);
    for (int k = 0; k < MAX_SEG; k++)
        if (c->op.seg[k].x.p) sum_dx(s, c->op.seg[k].x, c->op.seg[k].w.t, c->op.seg[k].scale);
    want_sums(c, 0, s);
}

void draw_linear_dw(Case *c)
{
    int w = dim(c, 1280), i = dim(c, 513), o = dim(c, 513), h = dim(c, 24), n = dim(c, 4), acc = below(c, 2);
    Tensor dy = in(c, ACT, n, h, w, o), x = in(c, ACT, n, h, w, i);
    double scale = scale_of(c);
    c->op = op_linear_dw(out_acc(c, acc, ACC, o, 1, 1, i), dy, x, scale, acc);
}

void define_linear_dw(Case *c)
{
    Tensor dy = c->op.x[0], x = c->op.x[1];
    Sum   *s = sums(c, c->op.y[0]);
    size_t rows = tensor_count(dy) / (size_t)dy.c;
#pragma omp parallel for if (tensor_count(c->op.y[0]) > WORTH_THREADS)
    for (int o = 0; o < dy.c; o++)
        for (size_t row = 0; row < rows; row++)
            for (int i = 0; i < x.c; i++)
                sum_mul(&s[(long)o * x.c + i], c->op.a.scale * at(dy, row * (size_t)dy.c + (size_t)o), at(x, row * (size_t)x.c + (size_t)i));
    want_sums(c, 0, s);
}
