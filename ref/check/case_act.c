/* case_act.c - elementwise functions, far into their tails. */
#include "check/check.h"

/* Half the cases reach to where exponentials under- and overflow. */
static Tensor draw_x(Case *c, int n, int h, int w, int channels)
{
    Tensor x = in_range(c, ACT, n, h, w, channels, 6);
    double stretch = one_of(c, (const double[]){ 1, 4, 32, 256 }, 4);
    for (size_t j = 0; j < tensor_count(x); j++) ((double *)x.p)[j] = at(x, j) * stretch;
    return x;
}

/* Phi(x) = (1 + erf(x / sqrt 2)) / 2, as any set may compute it: for x < 0 it cancels. */
static Num normal_below(Num x)
{
    Num r = num_fun(erf, num_mul(x, num_rounded(0.70710678118654752440)));
    return num_mul(num(0.5), num_add(num(1), r));
}

static Num act(Act kind, Num x)
{
    if (kind == ACT_GELU) return num_mul(x, normal_below(x));
    return num_mul(x, num_logistic(kind == ACT_SILU ? x : num_mul(num_rounded(1.702), x)));
}

/* x s(bx): s + b x s (1 - s).  x Phi(x): Phi(x) + x phi(x), phi(x) = exp(-x^2/2) / sqrt(2 pi). */
static Num act_slope(Act kind, Num x)
{
    if (kind == ACT_GELU) {
        Num density = num_mul(num_exp(num_mul(num(-0.5), num_mul(x, x))), num_rounded(0.39894228040143267794));
        return num_add(normal_below(x), num_mul(x, density));
    }
    Num z = kind == ACT_SILU ? x : num_mul(num_rounded(1.702), x), s = num_logistic(z);
    return num_add(s, num_mul(z, num_mul(s, num_sub(num(1), s))));
}

void draw_act(Case *c)
{
    c->left /= 64;
    int channels = dim(c, 1280), w = dim(c, 512), h = dim(c, 64), n = dim(c, 4);
    Act kind = (Act)below(c, 3);
    Tensor x = draw_x(c, n, h, w, channels), y = below(c, 2) ? x : out(c, ACT, n, h, w, channels);
    c->op = op_act(y, x, kind);
}

void define_act(Case *c)
{
    Tensor x = c->op.x[0];
    Num   *y = want(c, 0);
    for (size_t j = 0; j < tensor_count(x); j++) y[j] = act((Act)c->op.a.kind, num(at(x, j)));
}

void draw_act_dx(Case *c)
{
    c->left /= 64;
    int channels = dim(c, 1280), w = dim(c, 512), h = dim(c, 64), n = dim(c, 4), acc = below(c, 2);
    Act kind = (Act)below(c, 3);
    Tensor x = draw_x(c, n, h, w, channels), dy = in(c, ACT, n, h, w, channels);
    c->op = op_act_dx(out_acc(c, acc, ACT, n, h, w, channels), dy, x, kind, acc);
}

void define_act_dx(Case *c)
{
    Tensor dy = c->op.x[0], x = c->op.x[1];
    Num   *dx = want(c, 0);
    for (size_t j = 0; j < tensor_count(x); j++) dx[j] = accumulate(c, 0, j, num_mul(num(at(dy, j)), act_slope((Act)c->op.a.kind, num(at(x, j)))));
}

void draw_geglu(Case *c)
{
    c->left /= 64;
    int channels = dim(c, 1280), w = dim(c, 512), h = dim(c, 64), n = dim(c, 4);
    Tensor x = draw_x(c, n, h, w, 2 * channels);
    c->op = op_geglu(out(c, ACT, n, h, w, channels), x);
}

void define_geglu(Case *c)
{
    Tensor x = c->op.x[0];
    size_t channels = (size_t)x.c / 2;
    Num   *y = want(c, 0);
    for (size_t j = 0; j < tensor_count(c->op.y[0]); j++) {
        size_t a = j / channels * 2 * channels + j % channels;
        y[j] = num_mul(num(at(x, a)), act(ACT_GELU, num(at(x, a + channels))));
    }
}

void draw_geglu_dx(Case *c)
{
    c->left /= 64;
    int channels = dim(c, 1280), w = dim(c, 512), h = dim(c, 64), n = dim(c, 4), acc = below(c, 2);
    Tensor x = draw_x(c, n, h, w, 2 * channels), dy = in(c, ACT, n, h, w, channels);
    c->op = op_geglu_dx(out_acc(c, acc, ACT, n, h, w, 2 * channels), dy, x, acc);
}

void define_geglu_dx(Case *c)
{
    Tensor dy = c->op.x[0], x = c->op.x[1];
    size_t channels = (size_t)dy.c;
    Num   *dx = want(c, 0);
    for (size_t j = 0; j < tensor_count(dy); j++) {
        size_t a = j / channels * 2 * channels + j % channels, b = a + channels;
        Num g = num(at(dy, j)), u = num(at(x, a)), v = num(at(x, b));
        dx[a] = accumulate(c, 0, a, num_mul(g, act(ACT_GELU, v)));
        dx[b] = accumulate(c, 0, b, num_mul(g, num_mul(u, act_slope(ACT_GELU, v))));
    }
}
