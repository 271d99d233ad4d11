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

size_t NAME(linear_dw_need)(const Op *op) { return NAME(product_dw_need)(op->x[0].c, op->x[1].c, row_count(op->x[0]), 1); }

int NAME(linear_dw)(const Op *op)
{
    Tensor dw = op->y[0];
    NAME(product_dw)(&(ProductDw){ data(dw), dw.img, 0, op->x[0], op->x[1], 1, 1, 0, 0, (float)op->a.scale, op->acc, op->scratch });
    return 0;
}
