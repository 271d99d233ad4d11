/* gradcheck - every backward op of a set, ref64 unless said otherwise, against differences of ref64's forward op.
 *
 *   gradcheck [--set S] [--seed N] [--only NAME]
 *
 * Let phi(t) = sum dy f(x + t r), dy and the direction r random. The backward op gives g with g.r = phi'(0), which four values of phi give too:
 *     D(h) = (8 (phi(h) - phi(-h)) - (phi(2h) - phi(-2h))) / 12h = phi' - phi5 h^4/30 + O(h^6)
 * What D(h) may be off by is worked out, not typed:
 *   truncation  D(h/2) differs from D(h) by 15/16 of the h^4 term, so |D(h) - D(h/2)| is, but for h^6, the truncation of D(h) and 16 times that of D(h/2),
 *               which is the one used;
 *   rounding    an input off by u moves phi by u |g x|, a term of the sum off by u moves it by u |dy f|: each phi is off by about (8 + sqrt k) u M, with
 *               M = sum |dy f| + sum |g x| and k the number of terms. The weights 8 8 1 1 over 12 h/2 make at most 3 / h of one such error;
 *   the op      g.r itself, (8 + sqrt k) u sum |g r|.
 * h is u^(1/5), near where truncation and rounding balance.
 *
 * Another set S gets numbers that it can hold and runs forward and backward by itself (through.h). What its g.r may be off by besides is measured on ref64:
 *   S           (8 + sqrt k) times what g.r is off by, root mean square over RUNS runs, when each input and each output of each op is moved by a random part
 *               of itself, up to the unit roundoff of S (tests/parity/noise.h) */
#include "../parity/noise.h"
#include "base/err.h"
#include "base/rng.h"
#include "ops/ops.h"
#include <float.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "through.h"

enum { MAX_PAIRS = 8, MAX_CALLS = 8, MAX_HELD = 64, RUNS = 32 };

/* A function as calls of the forward ops, its gradient as calls of the backward ops, and which gradient belongs to which input. */
typedef struct {
    Set *set, *judged;                                  /* ref64; the one whose gradients are looked at, seen as a set of doubles */
    Rng  rng;
    Op   forward[MAX_CALLS], backward[MAX_CALLS];
    int  forwards, backwards;
    Tensor y, dy;                                       /* output; its gradient, random */
    struct { const char *name; Tensor x, dx; double *moved; } pair[MAX_PAIRS];              /* moved: dx of each of RUNS, less dx of ref64; NULL: none */
    int    pairs;
    Tensor held[MAX_HELD];
    int    holds;
} Check;

static Tensor empty(Check *k, Type type, int n, int h, int w, int c)
{
    Tensor t = tensor_of(NULL, type, n, h, w, c);
    CHECK(k->holds < MAX_HELD, "more than %d tensors", MAX_HELD);
    t.p = k->set->alloc(k->set, tensor_count(t) * type_size(type));
    CHECK(t.p, "%s", err_text());
    return k->held[k->holds++] = t;
}
static Tensor zeros(Check *k, int n, int h, int w, int c) { return empty(k, T_F64, n, h, w, c); }

static Tensor randoms(Check *k, int n, int h, int w, int c)
{
    Tensor t = zeros(k, n, h, w, c);
    for (size_t j = 0; j < tensor_count(t); j++) ((double *)t.p)[j] = rng_normal(&k->rng);
    return t;
}
static Tensor like(Check *k, Tensor t) { return randoms(k, t.n, t.h, t.w, t.c); }
static Weight weight(Check *k, int o, int size, int i) { return (Weight){ .t = randoms(k, o, size, size, i) }; }

static Tensor ids(Check *k, int n, int t, int count)
{
    Tensor x = empty(k, T_I32, n, 1, t, 1);
    for (size_t j = 0; j < tensor_count(x); j++) ((int32_t *)x.p)[j] = (int32_t)rng_below(&k->rng, (uint32_t)count);
    return x;
}

static void add_call(Check *k, Op *list, int *count, Op op)
{
    CHECK(*count < MAX_CALLS, "more than %d calls", MAX_CALLS);
    Weight *w[] = { &op.w, &op.seg[0].w, &op.seg[1].w, &op.seg[2].w };
    for (int j = 0; j < 4; j++) CHECK(!w[j]->t.p || !k->set->pack(k->set, w[j], NULL), "%s packs weights: differences would repeat it", k->set->name);
    size_t need = k->set->need(k->set, &op);
    if (need) op.scratch = empty(k, T_U8, 1, 1, 1, (int)need).p;
    list[(*count)++] = op;
}
static void forward(Check *k, Op op) { add_call(k, k->forward, &k->forwards, op); }
static void backward(Check *k, Op op) { add_call(k, k->backward, &k->backwards, op); }

/* dx, a tensor that the backward calls shall fill, is the gradient of x. */
static Tensor gradient(Check *k, const char *name, Tensor x)
{
    CHECK(k->pairs < MAX_PAIRS, "more than %d gradients", MAX_PAIRS);
    k->pair[k->pairs].name = name, k->pair[k->pairs].x = x;
    return k->pair[k->pairs++].dx = like(k, x);
}

/* ---- the functions: forward and backward calls of each op ---- */

static void linear(Check *k)
{
    Tensor x = randoms(k, 2, 3, 5, 7);
    Weight w = weight(k, 6, 1, 7);
    k->y = zeros(k, 2, 3, 5, 6), k->dy = like(k, k->y);
    Tensor bias = randoms(k, 1, 1, 1, 6), row = randoms(k, 2, 1, 1, 6);
    forward(k, op_linear(k->y, x, w, bias, row, NONE));
    backward(k, op_linear_dx(gradient(k, "x", x), k->dy, w, 1, 0));
    backward(k, op_linear_dw(gradient(k, "w", w.t), k->dy, x, 1, 0));
    backward(k, op_sum(gradient(k, "bias", bias), k->dy, 0, 0));
    backward(k, op_sum(gradient(k, "row", row), k->dy, 1, 0));
}

/* y[1..5) += s (x a^T) b^T: the segments of a LoRA on a range of rows, forward and backward. */
static void linear_lora(Check *k)
{
    const double s = 0.75;
    Tensor x = randoms(k, 2, 1, 5, 7), hidden = zeros(k, 2, 1, 5, 3), dhidden = zeros(k, 2, 1, 5, 3);
    Weight w = weight(k, 6, 1, 7), a = weight(k, 3, 1, 7), b = weight(k, 4, 1, 3);
    k->y = zeros(k, 2, 1, 5, 6), k->dy = like(k, k->y);
    Op main = op_linear(k->y, x, w, NONE, NONE, NONE);
    main.seg[0] = (Seg){ hidden, b, s, 1 };
    forward(k, op_linear(hidden, x, a, NONE, NONE, NONE)), forward(k, main);

    Tensor dy = tensor_channels(k->dy, 1, 4);
    Op dx = op_linear_dx(gradient(k, "x", x), k->dy, w, 1, 0);
    dx.seg[0] = (Seg){ dhidden, a, 1, 0 };
    backward(k, op_linear_dx(dhidden, dy, b, s, 0)), backward(k, dx);
    backward(k, op_linear_dw(gradient(k, "a", a.t), dhidden, x, 1, 0));
    backward(k, op_linear_dw(gradient(k, "b", b.t), dy, hidden, s, 0));
}

static void conv_of(Check *k, Attr a, int h, int w)
{
    int ho = (h + a.pad[0] + a.pad[1] - a.kernel) / a.stride + 1, wo = (w + a.pad[2] + a.pad[3] - a.kernel) / a.stride + 1;
    Tensor x = randoms(k, 2, h, w, 3), hidden = zeros(k, 2, ho, wo, 2), dhidden = zeros(k, 2, ho, wo, 2), bias = randoms(k, 1, 1, 1, 5);
    Weight weights = weight(k, 5, a.kernel, 3), down = weight(k, 2, a.kernel, 3), up = weight(k, 5, 1, 2);
    k->y = zeros(k, 2, ho, wo, 5), k->dy = like(k, k->y);
    Op main = op_conv(k->y, x, weights, bias, NONE, NONE, a);
    main.seg[0] = (Seg){ hidden, up, 0.75, 0 };
    forward(k, op_conv(hidden, x, down, NONE, NONE, NONE, a)), forward(k, main);

    Op dx = op_conv_dx(gradient(k, "x", x), k->dy, weights, a, 1, 0);
    dx.seg[0] = (Seg){ dhidden, down, 1, 0 };
    backward(k, op_linear_dx(dhidden, k->dy, up, 0.75, 0)), backward(k, dx);
    backward(k, op_conv_dw(gradient(k, "w", weights.t), k->dy, x, a, 1, 0));
    backward(k, op_conv_dw(gradient(k, "down", down.t), dhidden, x, a, 1, 0));
    backward(k, op_linear_dw(gradient(k, "up", up.t), k->dy, hidden, 0.75, 0));
    backward(k, op_sum(gradient(k, "bias", bias), k->dy, 0, 0));
}
static void conv_same(Check *k) { conv_of(k, (Attr){ .kernel = 3, .stride = 1, .pad = { 1, 1, 1, 1 } }, 4, 7); }
static void conv_down(Check *k) { conv_of(k, (Attr){ .kernel = 3, .stride = 2, .pad = { 1, 1, 1, 1 } }, 5, 6); }
static void conv_down_vae(Check *k) { conv_of(k, (Attr){ .kernel = 3, .stride = 2, .pad = { 0, 1, 0, 1 } }, 6, 8); }
static void conv_1x1(Check *k) { conv_of(k, (Attr){ .kernel = 1, .stride = 1 }, 3, 5); }

static void norm_of(Check *k, int groups, int silu)
{
    Tensor x = randoms(k, 2, 3, 5, 6), gamma = randoms(k, 1, 1, 1, 6), beta = randoms(k, 1, 1, 1, 6);
    Tensor mean = groups ? zeros(k, 2, 1, 1, groups) : zeros(k, 2, 3, 5, 1), rstd = groups ? zeros(k, 2, 1, 1, groups) : zeros(k, 2, 3, 5, 1);
    k->y = zeros(k, 2, 3, 5, 6), k->dy = like(k, k->y);
    forward(k, op_norm(k->y, mean, rstd, x, gamma, beta, groups, silu, 1e-5));
    backward(k, op_norm_dx(gradient(k, "x", x), k->dy, x, gamma, beta, mean, rstd, groups, silu, 0));
    Tensor dgamma = gradient(k, "gamma", gamma), dbeta = gradient(k, "beta", beta);
    backward(k, op_norm_dw(dgamma, dbeta, k->dy, x, gamma, beta, mean, rstd, groups, silu, 0));
}
static void norm_group(Check *k) { norm_of(k, 3, 0); }
static void norm_group_silu(Check *k) { norm_of(k, 2, 1); }
static void norm_layer(Check *k) { norm_of(k, 0, 0); }
static void norm_layer_silu(Check *k) { norm_of(k, 0, 1); }

static void attn_of(Check *k, int tq, int tk, int causal)
{
    const int heads = 2, d = 3;
    Tensor q = randoms(k, 2, 1, tq, heads * d), keys = randoms(k, 2, 1, tk, heads * d), v = randoms(k, 2, 1, tk, heads * d), lse = zeros(k, 2, 1, tq, heads);
    k->y = zeros(k, 2, 1, tq, heads * d), k->dy = like(k, k->y);
    forward(k, op_attn(k->y, lse, q, keys, v, heads, causal, 0.6));
    Tensor dq = gradient(k, "q", q), dk = gradient(k, "k", keys), dv = gradient(k, "v", v);
    backward(k, op_attn_dx(dq, dk, dv, k->dy, q, keys, v, k->y, lse, heads, causal, 0.6));
}
static void attn(Check *k) { attn_of(k, 5, 5, 0); }
static void attn_cross(Check *k) { attn_of(k, 7, 4, 0); }
static void attn_causal(Check *k) { attn_of(k, 6, 6, 1); }

static void act_of(Check *k, Act kind)
{
    Tensor x = randoms(k, 2, 3, 5, 4);
    k->y = zeros(k, 2, 3, 5, 4), k->dy = like(k, x);
    forward(k, op_act(k->y, x, kind));
    backward(k, op_act_dx(gradient(k, "x", x), k->dy, x, kind, 0));
}
static void act_silu(Check *k) { act_of(k, ACT_SILU); }
static void act_gelu(Check *k) { act_of(k, ACT_GELU); }
static void act_quick_gelu(Check *k) { act_of(k, ACT_QUICK_GELU); }

static void geglu(Check *k)
{
    Tensor x = randoms(k, 2, 1, 5, 8);
    k->y = zeros(k, 2, 1, 5, 4), k->dy = like(k, k->y);
    forward(k, op_geglu(k->y, x));
    backward(k, op_geglu_dx(gradient(k, "x", x), k->dy, x, 0));
}

static void up2(Check *k)
{
    Tensor x = randoms(k, 2, 3, 5, 4);
    k->y = zeros(k, 2, 6, 10, 4), k->dy = like(k, k->y);
    forward(k, op_up2(k->y, x));
    backward(k, op_up2_dx(gradient(k, "x", x), k->dy, 0));
}

static void embed(Check *k)
{
    Tensor words = ids(k, 2, 9, 7), table = randoms(k, 4, 1, 1, 5), extra = randoms(k, 3, 1, 1, 5), position = randoms(k, 1, 1, 9, 5);
    k->y = zeros(k, 2, 1, 9, 5), k->dy = like(k, k->y);
    forward(k, op_embed(k->y, words, table, extra, position));
    backward(k, op_embed_dw(gradient(k, "extra", extra), k->dy, words, 4, 0));
}

static void dropout(Check *k)
{
    Tensor x = randoms(k, 2, 3, 5, 4);
    k->y = zeros(k, 2, 3, 5, 4), k->dy = like(k, x);
    forward(k, op_dropout(k->y, x, 0.3, 0, 77));
    backward(k, op_dropout(gradient(k, "x", x), k->dy, 0.3, 0, 77));
}

/* y is loss[n]; a dy of 1 and a ctl scale of 1 make dpred its gradient. l1 is smooth away from pred = target, so these are kept apart by more than 2 steps. */
static void loss_of(Check *k, Loss kind)
{
    Tensor pred = randoms(k, 2, 3, 5, 4), target = like(k, pred), share = randoms(k, 2, 1, 1, 1), width = randoms(k, 2, 1, 1, 1);
    Tensor mask = randoms(k, 2, 3, 5, 1), ctl = zeros(k, 1, 1, 1, CTL_COUNT);
    for (int n = 0; n < 2; n++) ((double *)width.p)[n] = 0.25 + fabs(((double *)width.p)[n]);
    for (size_t j = 0; j < tensor_count(pred); j++) {
        double *p = (double *)pred.p + j, gap = *p - ((double *)target.p)[j];
        if (fabs(gap) < 0.1) *p += gap < 0 ? -0.1 : 0.1;
    }
    ((double *)ctl.p)[CTL_SCALE] = 1;
    k->y = zeros(k, 2, 1, 1, 1), k->dy = zeros(k, 2, 1, 1, 1);
    for (int n = 0; n < 2; n++) ((double *)k->dy.p)[n] = 1;
    Op op = op_loss(k->y, gradient(k, "pred", pred), pred, target, share, kind >= LOSS_HUBER ? width : NONE, mask, ctl, kind, 1);
    forward(k, op), backward(k, op);
    k->forward[0].y[1] = like(k, pred);
}
static void loss_l2(Check *k) { loss_of(k, LOSS_L2); }
static void loss_l1(Check *k) { loss_of(k, LOSS_L1); }
static void loss_huber(Check *k) { loss_of(k, LOSS_HUBER); }
static void loss_smooth_l1(Check *k) { loss_of(k, LOSS_SMOOTH_L1); }

/* A transformer block in small: norm, q k v from one linear, causal attention, the residual, GEGLU. Gradients of x come by two ways and add up. */
static void block(Check *k)
{
    const int c = 6, t = 5;
    Tensor x = randoms(k, 2, 1, t, c), gamma = randoms(k, 1, 1, 1, c), beta = randoms(k, 1, 1, 1, c);
    Tensor mean = zeros(k, 2, 1, t, 1), rstd = zeros(k, 2, 1, t, 1), lse = zeros(k, 2, 1, t, 2), sum = zeros(k, 2, 1, t, c);
    Tensor z = zeros(k, 2, 1, t, c), qkv = zeros(k, 2, 1, t, 3 * c), a = zeros(k, 2, 1, t, c);
    Tensor dz = zeros(k, 2, 1, t, c), dqkv = zeros(k, 2, 1, t, 3 * c), da = zeros(k, 2, 1, t, c);
    Weight w = weight(k, 3 * c, 1, c), wo = weight(k, c, 1, c);
    k->y = zeros(k, 2, 1, t, c / 2), k->dy = like(k, k->y);
    Tensor q = tensor_channels(qkv, 0, c), keys = tensor_channels(qkv, c, c), v = tensor_channels(qkv, 2 * c, c);
    forward(k, op_norm(z, mean, rstd, x, gamma, beta, 0, 0, 1e-5));
    forward(k, op_linear(qkv, z, w, NONE, NONE, NONE));
    forward(k, op_attn(a, lse, q, keys, v, 2, 1, 0.6));
    forward(k, op_linear(sum, a, wo, NONE, NONE, x));
    forward(k, op_geglu(k->y, sum));

    Tensor dx = gradient(k, "x", x), dw = gradient(k, "w", w.t), dwo = gradient(k, "wo", wo.t);
    backward(k, op_geglu_dx(dx, k->dy, sum, 0));
    backward(k, op_linear_dx(da, dx, wo, 1, 0));
    backward(k, op_linear_dw(dwo, dx, a, 1, 0));
    backward(k, op_attn_dx(tensor_channels(dqkv, 0, c), tensor_channels(dqkv, c, c), tensor_channels(dqkv, 2 * c, c), da, q, keys, v, a, lse, 2, 1, 0.6));
    backward(k, op_linear_dx(dz, dqkv, w, 1, 0));
    backward(k, op_linear_dw(dw, dqkv, z, 1, 0));
    backward(k, op_norm_dx(dx, dz, x, gamma, beta, mean, rstd, 0, 0, 1));
}

/* ---- the check ---- */

static int run_all(Set *set, const Op *list, int count)
{
    for (int j = 0; j < count; j++)
        if (set->run(set, &list[j])) return -1;
    return set->sync(set);
}
static int run_both(Set *set, const Check *k) { return run_all(set, k->forward, k->forwards) || run_all(set, k->backward, k->backwards); }

/* phi at the present inputs, and sum |dy y|. */
static double phi(Check *k, double *size)
{
    CHECK(run_all(k->set, k->forward, k->forwards) == 0, "%s", err_text());
    const double *y = k->y.p, *dy = k->dy.p;
    double sum = 0;
    *size = 0;
    for (size_t j = 0; j < tensor_count(k->y); j++) sum += dy[j] * y[j], *size += fabs(dy[j] * y[j]);
    return sum;
}

static double phi_at(Check *k, Tensor x, const double *start, const double *r, double t, double *size)
{
    for (size_t j = 0; j < tensor_count(x); j++) ((double *)x.p)[j] = start[j] + t * r[j];
    double value = phi(k, size);
    memcpy(x.p, start, tensor_count(x) * sizeof(double));
    return value;
}

static double difference(Check *k, Tensor x, const double *start, const double *r, double h, double *size)
{
    double far = phi_at(k, x, start, r, 2 * h, size) - phi_at(k, x, start, r, -2 * h, size);
    return (8 * (phi_at(k, x, start, r, h, size) - phi_at(k, x, start, r, -h, size)) - far) / (12 * h);
}

static double dot(const double *a, const double *b, size_t count)
{
    double sum = 0;
    for (size_t j = 0; j < count; j++) sum += a[j] * b[j];
    return sum;
}

/* Gradient `g` of input x along one random direction; `moved`: see Check. */
static int check_direction(Check *k, const char *name, Tensor x, const double *g, const double *moved)
{
    const double u = DBL_EPSILON / 2, h = pow(u, 0.2);
    size_t count = tensor_count(x);
    double *start = malloc(2 * count * sizeof(double)), *r = start + count, size = 0, slopes = 0, inputs = 0, squares = 0;
    CHECK(start, "no memory for %zu numbers", count);
    memcpy(start, x.p, count * sizeof(double));
    for (size_t j = 0; j < count; j++) {
        r[j] = rng_normal(&k->rng);
        slopes += fabs(g[j] * r[j]), inputs += fabs(g[j] * start[j]);
    }
    for (int run = 0; moved && run < RUNS; run++) squares += pow(dot(moved + (size_t)run * count, r, count), 2) / RUNS;
    double slope = dot(g, r, count);
    double wide = difference(k, x, start, r, h, &size), want = difference(k, x, start, r, h / 2, &size);
    double chain = 8 + sqrt((double)count + (double)tensor_count(k->y));
    double limit = fabs(wide - want) + chain * u * (3 / h * (size + inputs) + slopes) + chain * sqrt(squares);
    free(start);
    return fabs(slope - want) <= limit ? 0 : err("d%s along a direction is %.15g, differences say %.15g +- %.2g", name, slope, want, limit);
}

static Tensor at_place(Tensor t, void *p) { return t.p = p, t; }

/* Rounds all numbers to what the judged set can hold, and works out pair[].moved. */
static void move_inputs(Check *k, const Set *like, uint64_t seed)
{
    double *kept[MAX_HELD];
    for (int j = 0; j < k->holds; j++) {
        double *x = k->held[j].p;
        size_t  count = k->held[j].type == T_F64 ? tensor_count(k->held[j]) : 0;
        for (size_t i = 0; i < count; i++) x[i] = (double)(float)x[i];
        kept[j] = malloc(count * sizeof(double) + 1);
        CHECK(kept[j], "no memory for %zu numbers", count);
        memcpy(kept[j], x, count * sizeof(double));
    }
    for (int run = -1; run < RUNS; run++) {             /* the first is ref64's own */
        Set *set = run < 0 ? k->set : noise_open(like, seed + (uint64_t)run);
        for (int j = 0; j < k->holds; j++)
            if (k->held[j].type == T_F64) CHECK(set->upload(set, k->held[j], at_place(k->held[j], kept[j])) == 0, "%s", err_text());
        CHECK(run_both(set, k) == 0, "%s", err_text());
        for (int j = 0; j < k->pairs; j++) {
            const double *dx = k->pair[j].dx.p;
            size_t        count = tensor_count(k->pair[j].dx);
            double       *to = k->pair[j].moved ? k->pair[j].moved : calloc((RUNS + 1) * count, sizeof *to), *exact = to + RUNS * count;
            CHECK(to, "no memory for %zu numbers", count);
            k->pair[j].moved = to;
            for (size_t i = 0; i < count; i++)
                if (run < 0) exact[i] = dx[i];
                else to[(size_t)run * count + i] = dx[i] - exact[i];
        }
    }
    for (int j = 0; j < k->holds; j++) {
        if (k->held[j].type == T_F64) memcpy(k->held[j].p, kept[j], tensor_count(k->held[j]) * sizeof(double));
        free(kept[j]);
    }
}

static int check(Check *k)
{
    if (run_both(k->judged, k)) return -1;
    if (k->pairs == 0) return err("no gradient was checked");
    for (int j = 0; j < k->pairs; j++)
        for (int direction = 0; direction < 3; direction++)
            if (check_direction(k, k->pair[j].name, k->pair[j].x, k->pair[j].dx.p, k->pair[j].moved)) return -1;
    return 0;
}

#define ENTRY(name) { #name, name }
static const struct { const char *name; void (*build)(Check *); } entries[] = {
    ENTRY(linear), ENTRY(linear_lora), ENTRY(conv_same), ENTRY(conv_down), ENTRY(conv_down_vae), ENTRY(conv_1x1),
    ENTRY(norm_group), ENTRY(norm_group_silu), ENTRY(norm_layer), ENTRY(norm_layer_silu), ENTRY(attn), ENTRY(attn_cross), ENTRY(attn_causal),
    ENTRY(act_silu), ENTRY(act_gelu), ENTRY(act_quick_gelu), ENTRY(geglu), ENTRY(up2), ENTRY(embed), ENTRY(dropout),
    ENTRY(loss_l2), ENTRY(loss_l1), ENTRY(loss_huber), ENTRY(loss_smooth_l1), ENTRY(block),
};
enum { ENTRIES = sizeof entries / sizeof *entries };

/* The ops that are gradients: each must have been called. */
static const OpKind gradients[] = { OP_LINEAR_DX, OP_LINEAR_DW, OP_CONV_DX, OP_CONV_DW, OP_SUM,      OP_NORM_DX, OP_NORM_DW,
                                    OP_ATTN_DX,   OP_ACT_DX,    OP_GEGLU_DX, OP_UP2_DX, OP_EMBED_DW, OP_DROPOUT, OP_LOSS };

int main(int argc, char **argv)
{
    int seed = 1, tests = 0, failures = 0, called[OP_COUNT] = { 0 };
    const char *only = NULL, *name = "ref64";
    for (int j = 1; j + 1 < argc; j += 2) {
        if (!strcmp(argv[j], "--seed")) seed = atoi(argv[j + 1]);
        if (!strcmp(argv[j], "--only")) only = argv[j + 1];
        if (!strcmp(argv[j], "--set")) name = argv[j + 1];
    }
    Set *set = set_open("ref64"), *other = set_open(name), *judged = other == set ? set : through_open(other);
    CHECK(set && judged, "%s", err_text());
    for (int e = 0; e < ENTRIES; e++) {
        if (only && strcmp(only, entries[e].name)) continue;
        Check k = { .set = set, .judged = judged, .rng = rng_open((uint64_t)seed, RNG_TEST, (uint32_t)e, 0) };
        entries[e].build(&k);
        if (other != set) move_inputs(&k, other, (uint64_t)seed);
        int failed = check(&k);
        printf("%s %d - gradcheck: %s: %s\n", failed ? "not ok" : "ok", ++tests, name, entries[e].name);
        if (failed) printf("# %s; repeat with: gradcheck --set %s --seed %d --only %s\n", err_text(), name, seed, entries[e].name), failures++;
        for (int j = 0; j < k.backwards; j++) called[k.backward[j].kind] = 1;
        for (int j = 0; j < k.holds; j++) set->release(set, k.held[j].p, tensor_count(k.held[j]) * type_size(k.held[j].type));
        for (int j = 0; j < k.pairs; j++) free(k.pair[j].moved);
    }
    for (size_t j = 0; !only && j < sizeof gradients / sizeof *gradients; j++)
        if (!called[gradients[j]]) printf("not ok %d - gradcheck: %s was not called\n", ++tests, op_name(gradients[j])), failures++;
    printf("1..%d\n", tests);
    return failures > 0 || tests == 0;
}
