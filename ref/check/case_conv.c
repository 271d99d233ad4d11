/* case_conv.c - conv and its gradients. All three are one relation, y[n,ho,wo,o] = sum x[n, ho stride - top + kh, wo stride - left + kw, i] w[o,kh,kw,i],
 * read in three directions: the same walk over (output place, tap, o) serves each. */
#include "check/check.h"

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
    int k = among(c, 0, 5);
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

/* The walk: for every output place, channel o and tap that does not fall on padding, the i products of that tap are added to what is summed. Where a
 * gradient is, a thread walks everything for a range of i: its own sums. */
typedef struct {
    Sum          *sum;
    const double *x, *y, *w;                            /* NULL: what is summed */
    double        scale;
    Tensor        in, out;                              /* shapes of x and y */
    const Attr   *a;
} Walk;

static void walk_line(const Walk *k, int n, int ho, int i0, int i1)
{
    int size = k->a->kernel, i = k->in.c;
    for (int wo = 0; wo < k->out.w; wo++)
        for (int o = 0; o < k->out.c; o++)
            for (int tap = 0; tap < size * size; tap++) {
                int h = ho * k->a->stride - k->a->pad[0] + tap / size, w = wo * k->a->stride - k->a->pad[2] + tap % size;
                if (h < 0 || h >= k->in.h || w < 0 || w >= k->in.w) continue;
                size_t x = place_of(k->in, n, h, w, 0), y = place_of(k->out, n, ho, wo, o), weight = (size_t)(o * size * size + tap) * (size_t)i;
                if (!k->y) sum_dot(&k->sum[y], k->x + x, k->w + weight, i, k->scale);
                for (int j = i0; k->y && j < i1; j++) {
                    if (k->w) sum_mul(&k->sum[x + (size_t)j], k->scale * k->y[y], k->w[weight + (size_t)j]);
                    else sum_mul(&k->sum[weight + (size_t)j], k->scale * k->y[y], k->x[x + (size_t)j]);
                }
            }
}

static void walk(const Walk *k)
{
    int lines = k->out.n * k->out.h, parts = k->in.c < 16 ? 1 : 8, i = k->in.c, shared = tensor_count(k->out) > WORTH_THREADS;
    if (!k->y) {
#pragma omp parallel for if (shared)
        for (int line = 0; line < lines; line++) walk_line(k, line / k->out.h, line % k->out.h, 0, i);
    } else {
#pragma omp parallel for if (shared)
        for (int part = 0; part < parts; part++)
            for (int line = 0; line < lines; line++) walk_line(k, line / k->out.h, line % k->out.h, i * part / parts, i * (part + 1) / parts);
    }
}

void draw_conv(Case *c)
{
    Geometry g = draw_geometry(c);
    int i = dim(c, 320), o = dim(c, 320), n = dim(c, 3);
    Tensor x = in(c, ACT, n, g.h, g.w, i);
    c->op = op_conv(out(c, ACT, n, g.ho, g.wo, o), x, frozen(c, o, g.a.kernel, i), NONE, NONE, NONE, g.a);
    draw_parts(c);
}

void define_conv(Case *c)
{
    Tensor y = c->op.y[0], x = c->op.x[0];
    Sum   *s = sums(c, y);
    walk(&(Walk){ s, x.p, NULL, c->op.w.t.p, c->op.a.scale, x, y, &c->op.a });
    sum_parts(c, s);
    want_sums(c, 0, s);
}

void draw_conv_dx(Case *c)
{
    Geometry g = draw_geometry(c);
    int i = dim(c, 320), o = dim(c, 320), n = dim(c, 3), acc = below(c, 2);
    Tensor dy = in(c, ACT, n, g.ho, g.wo, o);
    double scale = scale_of(c);
    Weight w = frozen(c, o, g.a.kernel, i);
    c->op = op_conv_dx(out_acc(c, acc, ACT, n, g.h, g.w, i), dy, w, g.a, scale, acc);
    for (int k = 0, segs = below(c, MAX_SEG + 1); k < segs; k++) {
        int r = one_of(c, (const double[]){ 1, 3, 4, 8 }, 4);
        c->op.seg[k].x = in(c, ACT, n, g.ho, g.wo, r);
        c->op.seg[k].w = weight(c, r, g.a.kernel, i);
        c->op.seg[k].scale = scale_of(c);
    }
}

void define_conv_dx(Case *c)
{
    Tensor dx = c->op.y[0], dy = c->op.x[0];
    Sum   *s = sums(c, dx);
    walk(&(Walk){ s, NULL, dy.p, c->op.w.t.p, c->op.a.scale, dx, dy, &c->op.a });
    for (int k = 0; k < MAX_SEG; k++) {
        const Seg *seg = &c->op.seg[k];
        if (seg->x.p) walk(&(Walk){ s, NULL, seg->x.p, seg->w.t.p, seg->scale, dx, seg->x, &c->op.a });
    }
    want_sums(c, 0, s);
}

void draw_conv_dw(Case *c)
{
    Geometry g = draw_geometry(c);
    int i = dim(c, 128), o = dim(c, 128), n = dim(c, 3), acc = below(c, 2);
    Tensor dy = in(c, ACT, n, g.ho, g.wo, o), x = in(c, ACT, n, g.h, g.w, i);
    double scale = scale_of(c);
    c->op = op_conv_dw(out_acc(c, acc, ACC, o, g.a.kernel, g.a.kernel, i), dy, x, g.a, scale, acc);
}

void define_conv_dw(Case *c)
{
    Tensor dy = c->op.x[0], x = c->op.x[1];
    Sum   *s = sums(c, c->op.y[0]);
    walk(&(Walk){ s, x.p, dy.p, NULL, c->op.a.scale, x, dy, &c->op.a });
    want_sums(c, 0, s);
}
