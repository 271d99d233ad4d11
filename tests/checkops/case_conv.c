/* case_conv.c - conv and its gradients. All three are one relation, y[n,ho,wo,o] = sum x[n, ho stride - top + kh, wo stride - left + kw, i] w[o,kh,kw,i],
 * read in three directions: the same walk over (output place, tap, o) serves each. */
#include "check.h"

typedef struct {
    Attr a;
    int  h, w, ho, wo;
} Geometry;

/* The convolutions of SD, or any kernel to 5, stride to 3 and padding below the kernel; x is h x w, small enough for the budget. */
static Geometry draw_geometry(Case *c)
{
    static const Attr known[] = {
        { .kernel = 3, .stride = 1, .pad = { 1, 1, 1, 1 } }, { .kernel = 3, .stride = 2, .pad = { 1, 1, 1, 1 } },
        { .kernel = 3, .stride = 2, .pad = { 0, 1, 0, 1 } }, { .kernel = 1, .stride = 1 },
    };
    Geometry g = { 0 };
    int k = below(c, 6);
    if (k < 4) {
        g.a = known[k];
    } else {
        g.a.kernel = 1 + below(c, 5), g.a.stride = 1 + below(c, 3);
        for (int j = 0; j < 4; j++) g.a.pad[j] = below(c, g.a.kernel);
    }
    c->left /= g.a.kernel * g.a.kernel;
    double left = c->left;
    do c->left = left, g.h = dim(c, 33), g.w = dim(c, 33);
    while (g.h + g.a.pad[0] + g.a.pad[1] < g.a.kernel || g.w + g.a.pad[2] + g.a.pad[3] < g.a.kernel);
    g.ho = (g.h + g.a.pad[0] + g.a.pad[1] - g.a.kernel) / g.a.stride + 1, g.wo = (g.w + g.a.pad[2] + g.a.pad[3] - g.a.kernel) / g.a.stride + 1;
    return g;
}

/* The walk: for every output place, channel o and tap that does not fall on padding, the i products of that tap are added to what is summed. */
typedef struct {
    Sum          *sum;
    const double *x, *y, *w;                            /* NULL: what is summed */
    double        scale;
    int           n, i, o;
} Walk;

static void walk(const Walk *k, const Geometry *g)
{
    int size = g->a.kernel;
    for (int n = 0; n < k->n; n++)
        for (int ho = 0; ho < g->ho; ho++)
            for (int wo = 0; wo < g->wo; wo++)
                for (int o = 0; o < k->o; o++)
                    for (int kh = 0; kh < size; kh++)
                        for (int kw = 0; kw < size; kw++) {
                            int h = ho * g->a.stride - g->a.pad[0] + kh, w = wo * g->a.stride - g->a.pad[2] + kw;
                            if (h < 0 || h >= g->h || w < 0 || w >= g->w) continue;
                            size_t x = (size_t)((n * g->h + h) * g->w + w) * (size_t)k->i, weight = (size_t)((o * size + kh) * size + kw) * (size_t)k->i;
                            size_t y = (size_t)((n * g->ho + ho) * g->wo + wo) * (size_t)k->o + (size_t)o;
                            if (!k->y) sum_dot(&k->sum[y], k->x + x, k->w + weight, k->i, k->scale);
                            for (int i = 0; k->y && i < k->i; i++) {
                                if (k->w) sum_mul(&k->sum[x + (size_t)i], k->scale * k->y[y], k->w[weight + (size_t)i]);
                                else sum_mul(&k->sum[weight + (size_t)i], k->scale * k->y[y], k->x[x + (size_t)i]);
                            }
                        }
}

void case_conv(Case *c)
{
    Geometry g = draw_geometry(c);
    int i = dim(c, 320), o = dim(c, 320), n = dim(c, 3);
    Tensor x = in(c, ACT, n, g.h, g.w, i);
    c->op = op_conv(out(c, ACT, n, g.ho, g.wo, o), x, weight(c, o, g.a.kernel, i), NONE, NONE, NONE, g.a);
    draw_parts(c);
    Sum *s = sums(c, c->op.y[0]);
    walk(&(Walk){ s, x.p, NULL, c->op.w.t.p, c->op.a.scale, n, i, o }, &g);
    sum_parts(c, s);
    want_sums(c, 0, s);
}

void case_conv_dx(Case *c)
{
    Geometry g = draw_geometry(c);
    int i = dim(c, 320), o = dim(c, 320), n = dim(c, 3), acc = below(c, 2);
    Tensor dy = in(c, ACT, n, g.ho, g.wo, o);
    c->op = op_conv_dx(out_acc(c, acc, ACT, n, g.h, g.w, i), dy, weight(c, o, g.a.kernel, i), g.a, scale_of(c), acc);
    Sum *s = sums(c, c->op.y[0]);
    walk(&(Walk){ s, NULL, dy.p, c->op.w.t.p, c->op.a.scale, n, i, o }, &g);
    for (int k = 0, segs = below(c, MAX_SEG + 1); k < segs; k++) {
        int r = one_of(c, (const double[]){ 1, 3, 4, 8 }, 4);
        Seg seg = { in(c, ACT, n, g.ho, g.wo, r), weight(c, r, g.a.kernel, i), scale_of(c), 0 };
        c->op.seg[k] = seg;
        walk(&(Walk){ s, NULL, seg.x.p, seg.w.t.p, seg.scale, n, i, r }, &g);
    }
    want_sums(c, 0, s);
}

void case_conv_dw(Case *c)
{
    Geometry g = draw_geometry(c);
    int i = dim(c, 128), o = dim(c, 128), n = dim(c, 3), acc = below(c, 2);
    Tensor dy = in(c, ACT, n, g.ho, g.wo, o), x = in(c, ACT, n, g.h, g.w, i);
    c->op = op_conv_dw(out_acc(c, acc, ACC, o, g.a.kernel, g.a.kernel, i), dy, x, g.a, scale_of(c), acc);
    Sum *s = sums(c, c->op.y[0]);
    walk(&(Walk){ s, x.p, dy.p, NULL, c->op.a.scale, n, i, o }, &g);
    want_sums(c, 0, s);
}
