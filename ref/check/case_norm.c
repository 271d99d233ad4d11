/* case_norm.c - group and layer norm. Cancellation in x - mean and in the backward sums is what makes them delicate; Num follows it. */
#include "check/check.h"

/* Statistics of one set are taken over `count` elements at place(j); a group norm has n*g of them, a layer norm a row each. */
typedef struct {
    Tensor x;
    int    groups, sets;
    size_t count;
} Norm;

static Norm norm_of(Tensor x, int groups)
{
    size_t count = groups ? (size_t)x.h * (size_t)x.w * (size_t)(x.c / groups) : (size_t)x.c;
    return (Norm){ x, groups, (int)(tensor_count(x) / count), count };
}

static size_t norm_place(const Norm *k, int set, size_t j)
{
    if (!k->groups) return (size_t)set * k->count + j;
    size_t each = (size_t)(k->x.c / k->groups), area = (size_t)k->x.h * (size_t)k->x.w, n = (size_t)(set / k->groups), g = (size_t)(set % k->groups);
    return (n * area + j / each) * (size_t)k->x.c + g * each + j % each;
}

/* mean = sum x / N, rstd = 1 / sqrt(sum (x - mean)^2 / N + eps): the two passes that do not cancel. A sum of squares is not negative, so the root is that of
 * eps or larger: that bounds rstd where all x are equal and their mean is off by more than the root of eps. */
static void statistics(const Case *c, const Norm *k, double eps, Num *mean, Num *rstd)
{
    Num count = num((double)k->count);
    for (int s = 0; s < k->sets; s++) {
        Sum sum = { 0 }, square = { 0 };
        for (size_t j = 0; j < k->count; j++) sum_mul(&sum, at(k->x, norm_place(k, s, j)), 1);
        mean[s] = num_div(total(c, sum), count);
        for (size_t j = 0; j < k->count; j++) {
            Num d = num_sub(num(at(k->x, norm_place(k, s, j))), mean[s]);
            sum_add(&square, num_mul(d, d));
        }
        rstd[s] = num_inverse(num_sqrt(num_add(num_div(total(c, square), count), num_rounded(eps))), sqrt(eps) * (1 - 8 * NUM_U));
    }
}

static Tensor stat(Case *c, Tensor x, int groups, const Num *values)
{
    int n = x.n, h = groups ? 1 : x.h, w = groups ? 1 : x.w, k = groups ? groups : 1;
    return values ? in_values(c, ACC, n, h, w, k, values) : out(c, ACC, n, h, w, k);
}

/* Group norms, 1 to c groups, and layer norms; numbers with a mean of up to 100 deviations. */
static Tensor draw_x(Case *c, int *groups)
{
    int each = dim(c, 320);
    *groups = among(c, 0, 2) ? dim(c, 32) : 0;
    int channels = each * (*groups ? *groups : 1), n = dim(c, 3), h = dim(c, 33), w = dim(c, 33);
    Tensor x = in_range(c, ACT, n, h, w, channels, 8);
    double shift = one_of(c, (const double[]){ 0, 0, 1, -8, 100 }, 5);
    for (size_t j = 0; j < tensor_count(x); j++) ((double *)x.p)[j] = both_hold(c, ACT, ldexp(rint(ldexp(at(x, j), 8)), -8) + shift);
    return x;
}

void draw_norm(Case *c)
{
    int groups;
    c->left /= 64;
    Tensor x = draw_x(c, &groups), gamma = in_range(c, ACT, 1, 1, 1, x.c, 6), beta = in_range(c, ACT, 1, 1, 1, x.c, 6);
    double eps = one_of(c, (const double[]){ 1e-5, 1e-6, 1e-3 }, 3);
    c->op = op_norm(out(c, ACT, x.n, x.h, x.w, x.c), stat(c, x, groups, NULL), stat(c, x, groups, NULL), x, gamma, beta, groups, below(c, 2), eps);
}

void define_norm(Case *c)
{
    Tensor x = c->op.x[0], gamma = c->op.x[1], beta = c->op.x[2];
    Norm   k = norm_of(x, c->op.a.groups);
    Num   *y = want(c, 0), *mean = want(c, 1), *rstd = want(c, 2);
    statistics(c, &k, c->op.a.eps, mean, rstd);
#pragma omp parallel for if (tensor_count(x) > WORTH_THREADS)
    for (int s = 0; s < k.sets; s++)
        for (size_t j = 0; j < k.count; j++) {
            size_t p = norm_place(&k, s, j), channel = p % (size_t)x.c;
            Num z = num_mul(num_sub(num(at(x, p)), mean[s]), rstd[s]);
            z = num_add(num_mul(z, num(at(gamma, channel))), num(at(beta, channel)));
            y[p] = c->op.a.silu ? num_mul(z, num_logistic(z)) : z;
        }
}

typedef struct {
    Norm   k;
    Tensor dy, gamma, beta, mean, rstd;
    int    silu;
} Backward;

static Backward draw_backward(Case *c)
{
    Backward b;
    int groups;
    c->left /= 64;
    Tensor x = draw_x(c, &groups);
    b.k = norm_of(x, groups), b.silu = below(c, 2);
    b.dy = in_range(c, below(c, 4) ? ACT : ACC, x.n, x.h, x.w, x.c, 6);
    b.gamma = in_range(c, ACT, 1, 1, 1, x.c, 6), b.beta = in_range(c, ACT, 1, 1, 1, x.c, 6);
    Num *mean = hold(c, (size_t)b.k.sets * sizeof(Num)), *rstd = hold(c, (size_t)b.k.sets * sizeof(Num));
    statistics(c, &b.k, 1e-5, mean, rstd);
    b.mean = stat(c, x, groups, mean), b.rstd = stat(c, x, groups, rstd);
    return b;
}

static Backward backward_of(const Op *op)
{
    return (Backward){ norm_of(op->x[1], op->a.groups), op->x[0], op->x[2], op->x[3], op->x[4], op->x[5], op->a.silu };
}

/* At place p of set s: hat = (x - mean) rstd, and g = dy f'(z), z = gamma hat + beta; of SiLU f' = q (1 + z (1 - q)), q = logistic(z). */
static Num backward_at(const Backward *b, int s, size_t p, Num *hat)
{
    size_t channel = p % (size_t)b->k.x.c;
    *hat = num_mul(num_sub(num(at(b->k.x, p)), num(at(b->mean, (size_t)s))), num(at(b->rstd, (size_t)s)));
    Num g = num(at(b->dy, p));
    if (!b->silu) return g;
    Num z = num_add(num_mul(*hat, num(at(b->gamma, channel))), num(at(b->beta, channel))), q = num_logistic(z);
    return num_mul(g, num_mul(q, num_add(num(1), num_mul(z, num_sub(num(1), q)))));
}

void draw_norm_dx(Case *c)
{
    Backward b = draw_backward(c);
    Tensor x = b.k.x;
    int acc = below(c, 2);
    c->op = op_norm_dx(out_acc(c, acc, ACT, x.n, x.h, x.w, x.c), b.dy, x, b.gamma, b.beta, b.mean, b.rstd, b.k.groups, b.silu, acc);
}

/* dx = rstd (g gamma - mean(g gamma) - hat mean(g gamma hat)) */
static void define_norm_dx_of(Case *c, const Backward *b, int s, Num *dx)
{
    Sum first = { 0 }, second = { 0 };
    Num hat, count = num((double)b->k.count);
    for (size_t j = 0; j < b->k.count; j++) {
        size_t p = norm_place(&b->k, s, j);
        Num g = num_mul(backward_at(b, s, p, &hat), num(at(b->gamma, p % (size_t)b->k.x.c)));
        sum_add(&first, g), sum_add(&second, num_mul(g, hat));
    }
    Num mean_g = num_div(total(c, first), count), mean_gh = num_div(total(c, second), count);
    for (size_t j = 0; j < b->k.count; j++) {
        size_t p = norm_place(&b->k, s, j);
        Num g = num_mul(backward_at(b, s, p, &hat), num(at(b->gamma, p % (size_t)b->k.x.c)));
        dx[p] = accumulate(c, 0, p, num_mul(num(at(b->rstd, (size_t)s)), num_sub(num_sub(g, mean_g), num_mul(hat, mean_gh))));
    }
}

void define_norm_dx(Case *c)
{
    Backward b = backward_of(&c->op);
    Num     *dx = want(c, 0);
#pragma omp parallel for if (tensor_count(b.k.x) > WORTH_THREADS)
    for (int s = 0; s < b.k.sets; s++) define_norm_dx_of(c, &b, s, dx);
}

void draw_norm_dw(Case *c)
{
    Backward b = draw_backward(c);
    Tensor x = b.k.x;
    int acc = below(c, 2);
    Tensor to_gamma = out_acc(c, acc, ACC, 1, 1, 1, x.c), to_beta = out_acc(c, acc, ACC, 1, 1, 1, x.c);
    c->op = op_norm_dw(to_gamma, to_beta, b.dy, x, b.gamma, b.beta, b.mean, b.rstd, b.k.groups, b.silu, acc);
}

/* dgamma = sum g hat, dbeta = sum g, over all places of a channel */
void define_norm_dw(Case *c)
{
    Backward b = backward_of(&c->op);
    Sum *dgamma = sums(c, c->op.y[0]), *dbeta = sums(c, c->op.y[1]);
    for (int s = 0; s < b.k.sets; s++)
        for (size_t j = 0; j < b.k.count; j++) {
            size_t p = norm_place(&b.k, s, j), channel = p % (size_t)b.k.x.c;
            Num hat, g = backward_at(&b, s, p, &hat);
            sum_add(&dgamma[channel], num_mul(g, hat)), sum_add(&dbeta[channel], g);
        }
    want_sums(c, 0, dgamma), want_sums(c, 1, dbeta);
}
