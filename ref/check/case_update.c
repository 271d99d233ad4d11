/* case_update.c - gradient norm and optimizer steps. What must not change (after a bad gradient; the rest of ctl) is exact. */
#include "check/check.h"

void draw_sumsq(Case *c)
{
    c->left /= 64;
    int columns = dim(c, 1280), count = columns * dim(c, 64), bad = below(c, 3) == 0;
    Tensor g = in_range(c, ACC, 1, 1, 1, count, 12), ctl = in_positive(c, ACC, 1, 1, 1, CTL_COUNT, 3);
    ((double *)ctl.p)[CTL_BAD] = below(c, 4) == 0;
    if (bad) {
        double *spoiled = (double *)g.p + below(c, count);
        *spoiled = one_of(c, (const double[]){ INFINITY, -INFINITY, NAN }, 3);
    }
    c->op = op_sumsq(ctl, g);
}

void define_sumsq(Case *c)
{
    Tensor ctl = c->op.y[0], g = c->op.x[0];
    Num   *y = want(c, 0);
    int    bad = 0;
    for (int j = 0; j < CTL_COUNT; j++) y[j] = num(at(ctl, (size_t)j));
    Sum s = { 0 };
    sum_mul(&s, at(ctl, CTL_SUMSQ), 1);
    for (size_t j = 0; j < tensor_count(g); j++) sum_mul(&s, at(g, j), at(g, j)), bad |= !isfinite(at(g, j));
    y[CTL_SUMSQ] = bad ? num_any() : total(c, s);
    if (bad) y[CTL_BAD] = num(1);
}

typedef struct {
    Num lr, decay, b1, rest1, b2, rest2, eps, bias1, bias2, factor;     /* rest = 1 - b; factor: of the gradient, 1/s and clipping */
} Rule;

/* The factor of the gradient is min(1, clip / (norm + 1e-6)) / s, norm = sqrt(sumsq) / s. */
static Rule rule_of(const Op *op)
{
    Tensor ctl = op->x[1];
    Rule r = { .lr = num(at(ctl, (size_t)(CTL_LR + op->a.base))), .bias1 = num(at(ctl, CTL_BIAS1)), .bias2 = num(at(ctl, CTL_BIAS2)),
               .b1 = num_rounded(op->a.beta1), .b2 = num_rounded(op->a.beta2), .eps = num_rounded(op->a.eps), .decay = num_rounded(op->a.decay) };
    Num s = num(at(ctl, CTL_SCALE)), clip = num(at(ctl, CTL_CLIP)), norm = num_div(num_sqrt(num(at(ctl, CTL_SUMSQ))), s), ratio = num(1);
    r.rest1 = num_sub(num(1), r.b1), r.rest2 = num_sub(num(1), r.b2);
    if (clip.v > 0) ratio = num_div(clip, num_add(norm, num_rounded(1e-6)));
    r.factor = num_div(ratio.v < 1 ? ratio : num(1), s);
    return r;
}

/* w (1 - lr decay) - lr step */
static Num stepped(const Rule *r, Num w, Num step) { return num_sub(num_mul(w, num_sub(num(1), num_mul(r->lr, r->decay))), num_mul(r->lr, step)); }
static Num average(Num b, Num rest, Num old, Num new) { return num_add(num_mul(b, old), num_mul(rest, new)); }

static void adamw(const Rule *r, Num *w, Num *m, Num *v, Num g)
{
    *m = average(r->b1, r->rest1, *m, g), *v = average(r->b2, r->rest2, *v, num_mul(g, g));
    *w = stepped(r, *w, num_div(num_div(*m, r->bias1), num_add(num_sqrt(num_div(*v, r->bias2)), r->eps)));
}

/* Where b1 m + (1-b1) g is zero within its error, its sign may be any; of zeros alone it is 0. */
static void lion(const Rule *r, Num *w, Num *m, Num g)
{
    Num c = average(r->b1, r->rest1, *m, g);
    int unsure = fabs(c.v) <= c.e * NUM_U && (m->v != 0 || g.v != 0);
    *w = unsure ? num_any() : stepped(r, *w, num(c.v > 0 ? 1 : c.v < 0 ? -1 : 0));
    *m = average(r->b2, r->rest2, *m, g);
}

static void sgd(const Rule *r, Num *w, Num *m, Num g)
{
    *m = num_add(num_mul(r->b1, *m), g);
    *w = stepped(r, *w, *m);
}

void draw_update(Case *c)
{
    c->left /= 256;
    int columns = dim(c, 1280), count = columns * dim(c, 16), group = below(c, CTL_COUNT - CTL_LR), bad = below(c, 5) == 0;
    Update kind = (Update)below(c, 3);
    Tensor w = in_range(c, ACC, 1, 1, 1, count, 6), m = in_range(c, ACC, 1, 1, 1, count, 6);
    Tensor v = kind == UPDATE_ADAMW ? in_positive(c, ACC, 1, 1, 1, count, 6) : NONE;
    Tensor g = in_range(c, ACC, 1, 1, 1, count, 6), ctl = in_positive(c, ACC, 1, 1, 1, CTL_COUNT, 3), work = out(c, WORK, 1, 1, 1, count);
    double *k = ctl.p;
    k[CTL_BAD] = bad, k[CTL_BIAS1] = 0.25, k[CTL_BIAS2] = 0.0625;
    if (below(c, 3) == 0) k[CTL_CLIP] = 0;
    for (int j = below(c, 5); j < count; j += 5) ((double *)m.p)[j] = ((double *)g.p)[j] = 0;           /* weights that nothing has moved */
    if (bad)
        for (int j = 0; j < count; j++) ((double *)work.p)[j] = 0.5;
    c->op = op_update(w, m, v, work, g, ctl, kind, group, 0.9, 0.99, 1e-8, below(c, 2) ? 0.01 : 0);
}

void define_update(Case *c)
{
    Tensor w = c->op.y[0], m = c->op.y[1], v = c->op.y[2], work = c->op.y[3], g = c->op.x[0];
    Update kind = (Update)c->op.a.kind;
    int    bad = at(c->op.x[1], CTL_BAD) != 0;
    Rule   r = rule_of(&c->op);
    Num *want_w = want(c, 0), *want_m = want(c, 1), *want_v = v.p ? want(c, 2) : NULL, *want_work = want(c, 3), none;
    for (size_t j = 0; j < tensor_count(w); j++) {
        want_w[j] = num(at(w, j)), want_m[j] = num(at(m, j));
        if (want_v) want_v[j] = num(at(v, j));
        want_work[j] = num(at(work, j));
        if (bad) continue;
        Num scaled = num_mul(num(at(g, j)), r.factor), *at_v = want_v ? &want_v[j] : &none;
        if (kind == UPDATE_ADAMW) adamw(&r, &want_w[j], &want_m[j], at_v, scaled);
        else if (kind == UPDATE_LION) lion(&r, &want_w[j], &want_m[j], scaled);
        else sgd(&r, &want_w[j], &want_m[j], scaled);
        want_work[j] = want_w[j];
    }
}
