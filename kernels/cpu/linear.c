#include "product.h"
#include "product_dw.h"

/* ---- linear: y[r,o] = sum_i x[r,i] w[o,i] ----
 *   dL/dx[r,i] = sum_o dy[r,o] w[o,i],  so dx = dy w;
 *   dL/dw[o,i] = sum_r dy[r,o] x[r,i],  so dw = dy^T x. */

static const Taps at_once = { 1, 0, 0, 0, 0 };

static Term term_of(Tensor x, Tensor w, int transposed, double scale, int c0)
{
    return (Term){ x, w, transposed, 1, at_once, at_once, (float)scale, c0, transposed ? w.n : w.c };
}

static Product linear_product(const Op *op, int forward)
{
    Product p = { .op = op, .h = op->y[0].h, .w = op->y[0].w, .step = 1, .terms = 1, .term = { term_of(op->x[0], op->w.t, forward, op->a.scale, 0) } };
    for (int s = 0; s < MAX_SEG; s++)
        if (op->seg[s].x.p) p.term[p.terms++] = term_of(op->seg[s].x, op->seg[s].w.t, forward, op->seg[s].scale, op->seg[s].o0);
    return p;
}

static int    run(Product p) { return NAME(product)(&p), 0; }
static size_t need(Product p) { return NAME(product_need)(&p); }

int    NAME(linear)(const Op *op) { return run(linear_product(op, 1)); }
int    NAME(linear_dx)(const Op *op) { return run(linear_product(op, 0)); }
size_t NAME(linear_need)(const Op *op) { return need(linear_product(op, 1)); }
size_t NAME(linear_dx_need)(const Op *op) { return need(linear_product(op, 0)); }

size_t NAME(linear_dw_need)(const Op *op) { return NAME(product_dw_need)(op->x[0].c, op->x[1].c, row_count(op->x[0])); }

int NAME(linear_dw)(const Op *op)
{
    Tensor dw = op->y[0];
    NAME(product_dw)(&(ProductDw){ data(dw), dw.img, op->x[0], op->x[1], 1, 0, 0, (float)op->a.scale, op->acc, op->scratch });
    return 0;
}

/* ---- conv: y[p,q,o] = sum over taps (u,v) and i of x[p stride - top + u, q stride - left + v, i] w[o,u,v,i] ----
 * A segment is a matrix on the output's pixels. */

static Product conv_product(const Op *op)
{
    const Attr *a = &op->a;
    Taps        down = { a->kernel, -a->pad[0], 1, 0, 1 }, across = { a->kernel, -a->pad[2], 1, 0, 1 };
    Product     p = { .op = op, .h = op->y[0].h, .w = op->y[0].w, .step = 1, .terms = 1 };
    p.term[0] = (Term){ op->x[0], op->w.t, 1, a->stride, down, across, (float)a->scale, 0, op->y[0].c };
    for (int s = 0; s < MAX_SEG; s++)
        if (op->seg[s].x.p) p.term[p.terms++] = term_of(op->seg[s].x, op->seg[s].w.t, 1, op->seg[s].scale, op->seg[s].o0);
    return p;
}

int    NAME(conv)(const Op *op) { return run(conv_product(op)); }
size_t NAME(conv_need)(const Op *op) { return need(conv_product(op)); }

/* ---- conv_dx: dx[h,w,i] = sum over the outputs (p,q) and taps with p stride = h + top - u, q stride = w + left - v, over o, of dy[p,q,o] w[o,u,v,i] ----
 * The pixels of dx fall into stride^2 phases. For h = stride p' + a those taps count whose u is a + top but for multiples of the stride: u = u0, u0 + stride,
 * ..., u0 = (a + top) mod stride; tap j reads dy at p' + (a + top - u0)/stride - j. So a phase is a convolution of step 1 with some of the taps. */

static Taps taps_of_phase(const Attr *a, int phase, int before)
{
    int at = phase + before, first = at % a->stride;
    return (Taps){ first < a->kernel ? (a->kernel - first - 1) / a->stride + 1 : 0, at / a->stride, -1, first, a->stride };
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

int NAME(conv_dx)(const Op *op)
{
    for (int h0 = 0; h0 < smaller(op->a.stride, op->y[0].h); h0++)
        for (int w0 = 0; w0 < smaller(op->a.stride, op->y[0].w); w0++) run(phase_product(op, h0, w0));
    return 0;
}

size_t NAME(conv_dx_need)(const Op *op) { return need(phase_product(op, 0, 0)); }       /* the first is the largest */

/* ---- conv_dw: dw[o,u,v,i] = sum over the outputs r = (p,q) of dy[r,o] x[p stride - top + u, q stride - left + v, i]: a product for each tap ---- */

size_t NAME(conv_dw_need)(const Op *op) { return NAME(product_dw_need)(op->x[0].c, op->x[1].c, row_count(op->x[0])); }

int NAME(conv_dw)(const Op *op)
{
    const Attr *a = &op->a;
    Tensor      dw = op->y[0];
    for (int tap = 0; tap < a->kernel * a->kernel; tap++) {
        int    u = tap / a->kernel, v = tap % a->kernel;
        float *to = data(dw) + (size_t)tap * dw.ld;
        NAME(product_dw)(&(ProductDw){ to, dw.img, op->x[0], op->x[1], a->stride, u - a->pad[0], v - a->pad[2], (float)a->scale, op->acc, op->scratch });
    }
    return 0;
}
