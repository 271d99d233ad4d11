#include "nn/func.h"
#include "base/err.h"
#include <math.h>

/* Runs the op that computes y from x[0..n), and records how to go back through it. */
static Var *run(Tape *t, Op op, void (*back)(Tape *, Node *), Var *y, Var *const *x, int n)
{
    tape_run(t, op);
    Node *node = tape_record(t, back, y, x, n, 0);
    if (node) node->op = op;
    return y;
}

/* ---- norm ---- */

static void norm_back(Tape *t, Node *node)
{
    int       acc;
    const Op *f = &node->op;
    Tensor    dy = tape_dy(node->y), dx = tape_grad(t, node->x[0], &acc);
    tape_run(t, op_norm_dx(dx, dy, f->x[0], f->x[1], f->x[2], f->y[1], f->y[2], f->a.groups, f->a.silu, acc));
}

Var *nn_norm(Tape *t, const Norm *norm, Var *x)
{
    Var   *y = tape_like(t, x, x->t.c);
    int    g = norm->groups, h = g ? 1 : x->t.h, w = g ? 1 : x->t.w, c = g ? g : 1;
    Tensor mean = tape_temp(t, t->set->acc, x->t.n, h, w, c), rstd = tape_temp(t, t->set->acc, x->t.n, h, w, c);
    tape_module(t, norm->name);
    return run(t, op_norm(y->t, mean, rstd, x->t, norm->gamma, norm->beta, g, norm->silu, norm->eps), norm_back, y, &x, 1);
}

/* ---- attention ---- */

static void attn_back(Tape *t, Node *node)
{
    int       acc[3];
    const Op *f = &node->op;
    Tensor    dy = tape_dy(node->y), d[3];
    for (int i = 0; i < 3; i++) {
        d[i] = tape_grad(t, node->x[i], &acc[i]);
        CHECK(!acc[i], "q, k and v each feed one attention; input %d has a gradient already", i);
    }
    tape_run(t, op_attn_dx(d[0], d[1], d[2], dy, f->x[0], f->x[1], f->x[2], f->y[0], f->y[1], f->a.heads, f->a.causal, f->a.scale));
}

Var *nn_attn(Tape *t, Var *q, Var *k, Var *v, int heads, int causal)
{
    Var   *y = tape_like(t, q, q->t.c);
    Tensor lse = tape_temp(t, t->set->acc, q->t.n, q->t.h, q->t.w, heads);
    return run(t, op_attn(y->t, lse, q->t, k->t, v->t, heads, causal, 1 / sqrt((double)q->t.c / heads)), attn_back, y, (Var *[]){ q, k, v }, 3);
}

/* ---- activations ---- */

static void act_back(Tape *t, Node *node)
{
    int    acc;
    Tensor dy = tape_dy(node->y), dx = tape_grad(t, node->x[0], &acc);
    tape_run(t, op_act_dx(dx, dy, node->op.x[0], (Act)node->op.a.kind, acc));
}

Var *nn_act(Tape *t, Var *x, Act kind)
{
    Var *y = tape_like(t, x, x->t.c);
    return run(t, op_act(y->t, x->t, kind), act_back, y, &x, 1);
}

static void geglu_back(Tape *t, Node *node)
{
    int    acc;
    Tensor dy = tape_dy(node->y), dx = tape_grad(t, node->x[0], &acc);
    tape_run(t, op_geglu_dx(dx, dy, node->op.x[0], acc));
}

Var *nn_geglu(Tape *t, Var *x)
{
    Var *y = tape_like(t, x, x->t.c / 2);
    return run(t, op_geglu(y->t, x->t), geglu_back, y, &x, 1);
}

/* ---- moves ---- */

static void up2_back(Tape *t, Node *node)
{
    int    acc;
    Tensor dy = tape_dy(node->y), dx = tape_grad(t, node->x[0], &acc);
    tape_run(t, op_up2_dx(dx, dy, acc));
}

Var *nn_up2(Tape *t, Var *x)
{
    Var *y = tape_new(t, t->set->act, x->t.n, 2 * x->t.h, 2 * x->t.w, x->t.c);
    return run(t, op_up2(y->t, x->t), up2_back, y, &x, 1);
}

/* The tables are frozen: nothing goes back. */
Var *nn_embed(Tape *t, const Var *ids, Tensor table, Tensor extra, Tensor position)
{
    Var *y = tape_new(t, t->set->act, ids->t.n, ids->t.h, ids->t.w, table.c);
    tape_run(t, op_embed(y->t, ids->t, table, extra, position));
    return y;
}

/* ---- chunks of text ---- */

/* Chunk i of k: what is kept of it, x (n k,1,t,c), and where that stands in the row, y. The first keeps its BOS, the last its EOS. */
static void chunk_views(Tensor *y, Tensor *x, int i, int k)
{
    int from = i > 0, count = x->w - from - (i < k - 1), to = from + i * (x->w - 2);
    x->p = tensor_at(*x, (size_t)i * x->img + (size_t)from * x->ld), x->n /= k, x->w = count, x->img *= (size_t)k;
    y->p = tensor_at(*y, (size_t)to * y->ld), y->w = count;
}

/* What is left out has no gradient. */
static void chunks_back(Tape *t, Node *node)
{
    int    acc, k = node->x[0]->t.n / node->y->t.n;
    Tensor dy = tape_dy(node->y), dx = tape_grad(t, node->x[0], &acc);
    if (!acc) tape_run(t, op_fill(dx, 0));
    for (int i = 0; i < k; i++) {
        Tensor row = dy, chunk = dx;
        chunk_views(&row, &chunk, i, k);
        tape_run(t, op_copy(chunk, row, 1, acc));
    }
}

Var *nn_chunks(Tape *t, Var *x, int k)
{
    CHECK(x->t.h == 1 && x->t.n % k == 0, "%d rows of text in chunks of %d", x->t.n, k);
    if (k == 1) return x;
    Var *y = tape_new(t, t->set->act, x->t.n / k, 1, chunk_tokens(x->t.w, k), x->t.c);
    y->wide = x->wide;
    for (int i = 0; i < k; i++) {
        Tensor row = y->t, chunk = x->t;
        chunk_views(&row, &chunk, i, k);
        tape_run(t, op_copy(row, chunk, 1, 0));
    }
    tape_record(t, chunks_back, y, &x, 1, 0);
    return y;
}

/* ---- loss ---- */

Var *nn_loss(Tape *t, Var *pred, const Var *target, const Var *weight, Tensor ctl, Loss kind, double share)
{
    int    acc;
    Var   *y = tape_new(t, t->set->acc, pred->t.n, 1, 1, 1);
    Tensor dpred = tape_grad(t, pred, &acc);
    tape_part(t, "loss");
    CHECK(!acc, "one loss on one prediction, %d channels", pred->t.c);
    tape_run(t, op_loss(y->t, dpred, pred->t, target->t, weight->t, NONE, NONE, ctl, kind, share));
    return y;
}
