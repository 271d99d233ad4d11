#include "product_dw.h"
#include "winograd.h"
#include <string.h>

/* ---- with transforms or without ---- */

/* The terms but the first, to be added to what is there: they are of low rank, so the plain sum serves. */
static Product segments_of(const Product *p, Op *rest)
{
    Product segments = *p;
    *rest = *p->op;
    rest->acc = 1, rest->bias = rest->row = rest->res = NONE;
    segments.op = rest, segments.terms--;
    memmove(segments.term, segments.term + 1, (size_t)segments.terms * sizeof *segments.term);
    return segments;
}

static void run(Product p, int plain)
{
    Op      rest;
    Product segments = segments_of(&p, &rest);
    if (plain || !NAME(winograd_of)(&p)) {
        NAME(product)(&p);
        return;
    }
    NAME(winograd)(&p);
    if (segments.terms) NAME(product)(&segments);
}

static size_t need(Product p, int plain)
{
    Op      rest;
    Product segments = segments_of(&p, &rest);
    if (plain || !NAME(winograd_of)(&p)) return NAME(product_need)(&p);
    return at_least(NAME(winograd_need)(&p), segments.terms ? NAME(product_need)(&segments) : 0);
}

/* ---- conv: y[p,q,o] = sum over taps (u,v) and i of x[p stride - top + u, q stride - left + v, i] w[o,u,v,i] ----
 * A segment is a matrix on the output's pixels. */

static const Taps here = { 1, 0, 1, 0, 1 };

static Product conv_product(const Op *op)
{
    const Attr *a = &op->a;
    Taps        down = { a->kernel, -a->pad[0], 1, 0, 1 }, across = { a->kernel, -a->pad[2], 1, 0, 1 };
    Product     p = { .op = op, .h = op->y[0].h, .w = op->y[0].w, .step = 1, .terms = 1 };
    p.term[0] = (Term){ op->x[0], op->w.t, 1, a->stride, down, across, (float)a->scale, 0, op->y[0].c };
    for (int s = 0; s < MAX_SEG; s++) {
        const Seg *seg = &op->seg[s];
        if (seg->x.p) p.term[p.terms++] = (Term){ seg->x, seg->w.t, 1, 1, here, here, (float)seg->scale, seg->o0, seg->w.t.n };
    }
    return p;
}

int    NAME(conv)(const Op *op) { return run(conv_product(op), 0), 0; }
int    NAME(conv_plain)(const Op *op) { return run(conv_product(op), 1), 0; }
size_t NAME(conv_need)(const Op *op) { return need(conv_product(op), 0); }
size_t NAME(conv_plain_need)(const Op *op) { return need(conv_product(op), 1); }
int    NAME(conv_transform)(const Op *op) { Product p = conv_product(op); return NAME(winograd_of)(&p); }

/* ---- conv_dx: dx[h,w,i] = sum over the outputs (p,q) and taps with p stride = h + top - u, q stride = w + left - v, over o, of dy[p,q,o] w[o,u,v,i] ----
 * The pixels of dx fall into stride^2 phases. For h = stride p' + a those taps count whose u is a + top but for multiples of the stride: u = u0, u0 + stride,
 * ..., u0 = (a + top) mod stride, of which the j-th reads dy at p' + (a + top - u0)/stride - j. Taken from the last to the first, a phase is a convolution
 * of step 1 with some of the taps. */

static Taps taps_of_phase(const Attr *a, int phase, int before)
{
    int at = phase + before, first = at % a->stride, count = first < a->kernel ? (a->kernel - first - 1) / a->stride + 1 : 0;
    return (Taps){ count, at / a->stride - (count - 1), 1, first + (count - 1) * a->stride, -a->stride };
}

static Product phase_product(const Op *op, int h0, int w0)
{
    const Attr *a = &op->a;
    Tensor      dx = op->y[0];
    Taps        down = taps_of_phase(a, h0, a->pad[0]), across = taps_of_phase(a, w0, a->pad[2]);
    Product     p = { .op = op, .step = a->stride, .h0 = h0, .w0 = w0 };
    p.h = (dx.h - h0 + a->stride - 1) / a->stride, p.w = (dx.w - w0 + a->stride - 1) / a->stride;
    p.term[p.terms++] = (Term){ op->x[0], op->w.t, 0, 1, down, across, (float)a->scale, 0, dx.c };
    for (int s = 0; s < MAX_SEG; s++)
        if (op->seg[s].x.p) p.term[p.terms++] = (Term){ op->seg[s].x, op->seg[s].w.t, 0, 1, down, across, (float)op->seg[s].scale, 0, dx.c };
    return p;
}

static int run_phases(const Op *op, int plain)
{
    for (int h0 = 0; h0 < smaller(op->a.stride, op->y[0].h); h0++)
        for (int w0 = 0; w0 < smaller(op->a.stride, op->y[0].w); w0++) run(phase_product(op, h0, w0), plain);
    return 0;
}

/* The first phase is the largest; a transform is for step 1, which has no other. */
int    NAME(conv_dx)(const Op *op) { return run_phases(op, 0); }
int    NAME(conv_dx_plain)(const Op *op) { return run_phases(op, 1); }
size_t NAME(conv_dx_need)(const Op *op) { return need(phase_product(op, 0, 0), 0); }
size_t NAME(conv_dx_plain_need)(const Op *op) { return need(phase_product(op, 0, 0), 1); }
int    NAME(conv_dx_transform)(const Op *op) { Product p = phase_product(op, 0, 0); return NAME(winograd_of)(&p); }

/* ---- conv_dw: dw[o,u,v,i] = sum over the outputs r = (p,q) of dy[r,o] x[p stride - top + u, q stride - left + v, i]: a product for each tap ---- */

size_t NAME(conv_dw_need)(const Op *op) { return NAME(product_dw_need)(op->x[0].c, op->x[1].c, row_count(op->x[0]), op->a.kernel); }

int NAME(conv_dw)(const Op *op)
{
    const Attr *a = &op->a;
    Tensor      dw = op->y[0];
    NAME(product_dw)(&(ProductDw){ data(dw), dw.img, dw.ld, op->x[0], op->x[1], a->kernel, a->stride, -a->pad[0], -a->pad[2], (float)a->scale, op->acc,
                                   op->scratch });
    return 0;
}
