/* case_attn.c - attention by its definition, the whole tq x tk matrix of a head at a time. An error of a logit is a relative error of its probability. */
#include "check/check.h"

typedef struct {
    Tensor q, k, v;
    int    heads, d, causal;
    double scale;
} Attn;

/* q, k, v of a case, of heads * d channels each; hostile logits stay below about a thousand. */
static Attn draw_heads(Case *c)
{
    enum { RANGE = 3 };
    Attn a = { .heads = among(c, 1, 8) };
    a.causal = among(c, 0, 3) == 1;
    c->left /= 4 * a.heads;
    a.d = dim(c, 512);
    int tq = dim(c, 384), tk = a.causal ? tq : dim(c, 384), n = among(c, 1, 2);
    a.scale = below(c, 2) ? 1 / sqrt(a.d) : one_of(c, (const double[]){ 1, 0.125, 0.3 }, 3);
    a.q = in_range(c, ACT, n, 1, tq, a.heads * a.d, RANGE), a.k = in_range(c, ACT, n, 1, tk, a.heads * a.d, RANGE), a.v = in(c, ACT, n, 1, tk, a.heads * a.d);
    return a;
}

static Attn heads_of(const Op *op, int first)           /* q is x[first] */
{
    return (Attn){ op->x[first], op->x[first + 1], op->x[first + 2], op->a.heads, op->x[first].c / op->a.heads, op->a.causal, op->a.scale };
}

static const double *head_of(Tensor t, int n, int row, int head, int d) { return values_at(t, n, 0, row) + head * d; }
static int seen(const Attn *a, int row) { return a->causal ? row + 1 : a->k.w; }

/* s_j = scale q.k_j for the columns that a row sees */
static void logits(const Case *c, const Attn *a, int n, int row, int head, Num *s)
{
    for (int j = 0; j < seen(a, row); j++) {
        Sum sum = { 0 };
        sum_dot(&sum, head_of(a->q, n, row, head, a->d), head_of(a->k, n, j, head, a->d), a->d, 1);
        s[j] = num_mul(num_rounded(a->scale), total(c, sum));
    }
}

/* y = sum_j p_j v_j / l, p_j = exp(s_j - max s), l = sum p_j; lse = max s + log l. */
static void forward_row(Case *c, const Attn *a, int n, int row, int head, Num *s, Num *y, Num *lse)
{
    logits(c, a, n, row, head, s);
    int count = seen(a, row);
    Num top = s[0];
    for (int j = 1; j < count; j++)
        if (s[j].v > top.v) top = s[j];
    Sum sum = { 0 };
    for (int j = 0; j < count; j++) s[j] = num_exp(num_sub(s[j], top)), sum_add(&sum, s[j]);
    Num l = total(c, sum);
    *lse = num_add(top, num_fun(log, l));
    for (int j = 0; y && j < a->d; j++) {
        Sum mix = { 0 };
        for (int t = 0; t < count; t++) sum_add(&mix, num_mul(s[t], num(head_of(a->v, n, t, head, a->d)[j])));
        y[j] = num_div(total(c, mix), l);
    }
}

static void forward(Case *c, const Attn *a, Num *y, Num *lse)
{
    int heads = a->q.n * a->heads;
    Num *scores = hold(c, (size_t)heads * (size_t)a->k.w * sizeof(Num));
#pragma omp parallel for if (tensor_count(a->q) > WORTH_THREADS)
    for (int k = 0; k < heads; k++)
        for (int row = 0; row < a->q.w; row++) {
            size_t place = ((size_t)(k / a->heads) * (size_t)a->q.w + (size_t)row) * (size_t)a->heads + (size_t)(k % a->heads);
            forward_row(c, a, k / a->heads, row, k % a->heads, scores + (size_t)k * (size_t)a->k.w, y + place * (size_t)a->d, lse + place);
        }
}

void draw_attn(Case *c)
{
    Attn a = draw_heads(c);
    c->op = op_attn(out(c, ACT, a.q.n, 1, a.q.w, a.q.c), out(c, ACC, a.q.n, 1, a.q.w, a.heads), a.q, a.k, a.v, a.heads, a.causal, a.scale);
}

void define_attn(Case *c)
{
    Attn a = heads_of(&c->op, 0);
    Num *y = want(c, 0), *lse = want(c, 1);
    forward(c, &a, y, lse);
}

/* With P = exp(s - lse) and D = dy.y of a row:  dv_j += P_j dy;  dP_j = dy.v_j;  dS_j = P_j (dP_j - D);  dq += scale dS_j k_j;  dk_j += scale dS_j q.
 * y and lse are what the forward pass rounded and saved; a set may also work them out again, so they count as rounded. */
static void backward_row(Case *c, const Attn *a, int n, int row, int head, Num *s, Sum *dq, Sum *dk, Sum *dv)
{
    const double *dy = head_of(c->op.x[0], n, row, head, a->d), *y = head_of(c->op.x[4], n, row, head, a->d), *q = head_of(a->q, n, row, head, a->d);
    Num lse = num_rounded(values_at(c->op.x[5], n, 0, row)[head]), scale = num_rounded(a->scale);
    Sum both = { 0 };
    for (int i = 0; i < a->d; i++) sum_add(&both, num_mul(num(dy[i]), num_rounded(y[i])));
    Num both_dot = total(c, both);
    logits(c, a, n, row, head, s);
    size_t at_q = place_of(a->q, n, 0, row, head * a->d);
    for (int j = 0; j < seen(a, row); j++) {
        const double *k = head_of(a->k, n, j, head, a->d), *v = head_of(a->v, n, j, head, a->d);
        size_t at_k = place_of(a->k, n, 0, j, head * a->d);
        Sum dp = { 0 };
        sum_dot(&dp, dy, v, a->d, 1);
        Num p = num_exp(num_sub(s[j], lse)), ds = num_mul(scale, num_mul(p, num_sub(total(c, dp), both_dot)));
        for (size_t i = 0; i < (size_t)a->d; i++) {
            sum_add(&dq[at_q + i], num_mul(ds, num(k[i])));
            sum_add(&dk[at_k + i], num_mul(ds, num(q[i])));
            sum_add(&dv[at_k + i], num_mul(p, num(dy[i])));
        }
    }
}

void draw_attn_dx(Case *c)
{
    Attn a = draw_heads(c);
    int n = a.q.n, tq = a.q.w, tk = a.k.w;
    Num *y = hold(c, tensor_count(a.q) * sizeof(Num)), *lse = hold(c, tensor_count(a.q) / (size_t)a.d * sizeof(Num));
    forward(c, &a, y, lse);
    Tensor saved_y = in_values(c, ACT, n, 1, tq, a.q.c, y), saved_lse = in_values(c, ACC, n, 1, tq, a.heads, lse);
    Tensor dq = out(c, ACT, n, 1, tq, a.q.c), dk = out(c, ACT, n, 1, tk, a.q.c), dv = out(c, ACT, n, 1, tk, a.q.c), dy = in(c, ACT, n, 1, tq, a.q.c);
    c->op = op_attn_dx(dq, dk, dv, dy, a.q, a.k, a.v, saved_y, saved_lse, a.heads, a.causal, a.scale);
}

void define_attn_dx(Case *c)
{
    Attn a = heads_of(&c->op, 1);
    int heads = a.q.n * a.heads;
    Sum *dq = sums(c, c->op.y[0]), *dk = sums(c, c->op.y[1]), *dv = sums(c, c->op.y[2]);
    Num *scores = hold(c, (size_t)heads * (size_t)a.k.w * sizeof(Num));
#pragma omp parallel for if (tensor_count(a.q) > WORTH_THREADS)
    for (int k = 0; k < heads; k++)
        for (int row = 0; row < a.q.w; row++) backward_row(c, &a, k / a.heads, row, k % a.heads, scores + (size_t)k * (size_t)a.k.w, dq, dk, dv);
    want_sums(c, 0, dq), want_sums(c, 1, dk), want_sums(c, 2, dv);
}
