#include "base/err.h"
#include "ops/ops.h"
#include <limits.h>

/* What an op expects of a field stands at its constructor in ops.h. want() compares; the first difference is the message. */
typedef struct {
    const Set *set;
    const Op  *op;
    Type       act, acc;
} Check;

static int want(const Check *k, const char *field, Tensor t, Type type, int n, int h, int w, int c)
{
    const char *op = op_name(k->op->kind);
    if (n < 1 || h < 1 || w < 1 || c < 1) return err("%s: %s: cannot be (%d,%d,%d,%d)", op, field, n, h, w, c);
    if (!t.p) return err("%s: %s: expected %s (%d,%d,%d,%d), found none", op, field, type_name(type), n, h, w, c);
    if (t.type != type || t.n != n || t.h != h || t.w != w || t.c != c)
        return err("%s: %s: expected %s (%d,%d,%d,%d), found %s (%d,%d,%d,%d)", op, field, type_name(type), n, h, w, c,
                   (unsigned)t.type < T_COUNT ? type_name(t.type) : "no type", t.n, t.h, t.w, t.c);
    if (t.ld < (size_t)c || t.ld > INT_MAX) return err("%s: %s: rows of %d channels lie %zu apart", op, field, c, t.ld);
    if (n > 1 && t.img < ((size_t)h * (size_t)w - 1) * t.ld + (size_t)c)
        return err("%s: %s: images of (%d,%d,%d), rows %zu apart, lie %zu apart", op, field, h, w, c, t.ld, t.img);
    return 0;
}

static int want_like(const Check *k, const char *field, Tensor t, Type type, Tensor like) { return want(k, field, t, type, like.n, like.h, like.w, like.c); }

static int want_if(const Check *k, const char *field, Tensor t, Type type, int n, int h, int w, int c)
{
    return t.p ? want(k, field, t, type, n, h, w, c) : 0;
}

/* A matrix of o rows, or o kernels, each without gaps. */
static int want_weight(const Check *k, const char *field, Tensor t, Type type, int o, int kernel, int i)
{
    if (want(k, field, t, type, o, kernel, kernel, i)) return -1;
    if (t.img > INT_MAX) return err("%s: %s: rows lie %zu apart", op_name(k->op->kind), field, t.img);
    if (kernel > 1 && t.ld != (size_t)i) return err("%s: %s: a kernel is contiguous, but its taps of %d lie %zu apart", op_name(k->op->kind), field, i, t.ld);
    return 0;
}

static Type either(const Check *k, Tensor t) { return t.type == k->acc ? k->acc : k->act; }

Type op_weight_type(const Set *set, Type stored)
{
    return (stored == T_F16 || stored == T_BF16) && type_size(stored) < type_size(set->act) ? stored : set->act;
}
static Type frozen(const Check *k, Tensor t) { return op_weight_type(k->set, t.type); }
static int  wrong(const Check *k, const char *what, double found) { return err("%s: %s, found %g", op_name(k->op->kind), what, found); }

/* ---- linear, conv ---- */

static int check_epilogue(const Check *k)
{
    const Op *op = k->op;
    Tensor    y = op->y[0];
    if (want_if(k, "bias", op->bias, k->act, 1, 1, 1, y.c) || want_if(k, "row", op->row, k->act, y.n, 1, 1, y.c)) return -1;
    return want_if(k, "res", op->res, k->act, y.n, y.h, y.w, y.c);
}

/* The x of a segment has the place of `rows`; a forward segment adds to a range of y's channels, a gradient's to all of them. */
static int check_segments(const Check *k, Tensor rows, int forward, int kernel)
{
    Tensor y = k->op->y[0];
    for (int s = 0; s < MAX_SEG; s++) {
        const Seg *seg = &k->op->seg[s];
        Tensor     w = seg->w.t;
        if (!seg->x.p) continue;
        if (want(k, "segment's x", seg->x, k->act, rows.n, rows.h, rows.w, seg->x.c)) return -1;
        if (want_weight(k, "segment's w", w, k->act, forward ? w.n : seg->x.c, kernel, forward ? seg->x.c : y.c)) return -1;
        if (seg->o0 < 0 || (forward ? seg->o0 > y.c - w.n : seg->o0 != 0))
            return err("%s: segment of %d outputs starts at %d of %d", op_name(k->op->kind), w.n, seg->o0, y.c);
    }
    return 0;
}

static int check_linear(const Check *k)
{
    const Op *op = k->op;
    Tensor    y = op->y[0], x = op->x[0];
    if (want(k, "x", x, k->act, x.n, x.h, x.w, x.c) || want(k, "y", y, k->act, x.n, x.h, x.w, y.c)) return -1;
    if (want_weight(k, "w", op->w.t, frozen(k, op->w.t), y.c, 1, x.c)) return -1;
    return check_epilogue(k) || check_segments(k, y, 1, 1) ? -1 : 0;
}

static int check_linear_dx(const Check *k)
{
    const Op *op = k->op;
    Tensor    dx = op->y[0], dy = op->x[0];
    if (want(k, "dy", dy, k->act, dy.n, dy.h, dy.w, dy.c) || want(k, "dx", dx, either(k, dx), dy.n, dy.h, dy.w, dx.c)) return -1;
    return want_weight(k, "w", op->w.t, frozen(k, op->w.t), dy.c, 1, dx.c) || check_segments(k, dx, 0, 1) ? -1 : 0;
}

static int check_linear_dw(const Check *k)
{
    Tensor dy = k->op->x[0], x = k->op->x[1];
    if (want(k, "x", x, k->act, x.n, x.h, x.w, x.c) || want(k, "dy", dy, k->act, x.n, x.h, x.w, dy.c)) return -1;
    return want_weight(k, "dw", k->op->y[0], k->acc, dy.c, 1, x.c);
}

/* in (n,h,w,i) and out (n,ho,wo,o) of the convolution, whichever of them is the op's output. */
static int check_geometry(const Check *k, const char *in_name, Tensor in, const char *out_name, Tensor out)
{
    const Attr *a = &k->op->a;
    if (a->kernel < 1) return wrong(k, "kernel: expected 1 or more", a->kernel);
    if (a->stride < 1) return wrong(k, "stride: expected 1 or more", a->stride);
    for (int s = 0; s < 4; s++)
        if (a->pad[s] < 0) return wrong(k, "pad: expected 0 or more", a->pad[s]);
    if (want(k, in_name, in, k->act, in.n, in.h, in.w, in.c)) return -1;
    int h = in.h + a->pad[0] + a->pad[1] - a->kernel, w = in.w + a->pad[2] + a->pad[3] - a->kernel;
    if (h < 0 || w < 0)
        return err("%s: a kernel of %d is larger than %s with its padding, %d x %d", op_name(k->op->kind), a->kernel, in_name, h + a->kernel, w + a->kernel);
    return want(k, out_name, out, k->act, in.n, h / a->stride + 1, w / a->stride + 1, out.c);
}

static int check_conv(const Check *k)
{
    const Op *op = k->op;
    Tensor    y = op->y[0], x = op->x[0];
    if (check_geometry(k, "x", x, "y", y) || want_weight(k, "w", op->w.t, frozen(k, op->w.t), y.c, op->a.kernel, x.c)) return -1;
    return check_epilogue(k) || check_segments(k, y, 1, 1) ? -1 : 0;
}

static int check_conv_dx(const Check *k)
{
    const Op *op = k->op;
    Tensor    dx = op->y[0], dy = op->x[0];
    if (check_geometry(k, "dx", dx, "dy", dy) || want_weight(k, "w", op->w.t, frozen(k, op->w.t), dy.c, op->a.kernel, dx.c)) return -1;
    return check_segments(k, dy, 0, op->a.kernel);
}

static int check_conv_dw(const Check *k)
{
    Tensor dy = k->op->x[0], x = k->op->x[1];
    return check_geometry(k, "x", x, "dy", dy) || want_weight(k, "dw", k->op->y[0], k->acc, dy.c, k->op->a.kernel, x.c) ? -1 : 0;
}

/* ---- norm ---- */

static int check_statistics(const Check *k, Tensor x, Tensor mean, Tensor rstd)
{
    int groups = k->op->a.groups;
    if (groups < 0 || (groups > 0 && x.c % groups)) return err("%s: groups: %d channels are not %d equal groups", op_name(k->op->kind), x.c, groups);
    Tensor like = groups ? tensor_of(NULL, k->acc, x.n, 1, 1, groups) : tensor_of(NULL, k->acc, x.n, x.h, x.w, 1);
    return want_like(k, "mean", mean, k->acc, like) || want_like(k, "rstd", rstd, k->acc, like) ? -1 : 0;
}

static int check_norm(const Check *k)
{
    const Op *op = k->op;
    Tensor    x = op->x[0];
    if (want_like(k, "x", x, k->act, x) || want_like(k, "y", op->y[0], k->act, x)) return -1;
    if (want(k, "gamma", op->x[1], k->act, 1, 1, 1, x.c) || want(k, "beta", op->x[2], k->act, 1, 1, 1, x.c)) return -1;
    if (!(op->a.eps >= 0)) return wrong(k, "eps: expected 0 or more", op->a.eps);
    return check_statistics(k, x, op->y[1], op->y[2]);
}

static int check_norm_inputs(const Check *k)
{
    const Op *op = k->op;
    Tensor    x = op->x[1];
    if (want_like(k, "x", x, k->act, x) || want_like(k, "dy", op->x[0], either(k, op->x[0]), x)) return -1;
    if (want(k, "gamma", op->x[2], k->act, 1, 1, 1, x.c) || want(k, "beta", op->x[3], k->act, 1, 1, 1, x.c)) return -1;
    return check_statistics(k, x, op->x[4], op->x[5]);
}

static int check_norm_dx(const Check *k) { return check_norm_inputs(k) || want_like(k, "dx", k->op->y[0], k->act, k->op->x[1]) ? -1 : 0; }

static int check_norm_dw(const Check *k)
{
    int c = k->op->x[1].c;
    return check_norm_inputs(k) || want(k, "dgamma", k->op->y[0], k->acc, 1, 1, 1, c) || want(k, "dbeta", k->op->y[1], k->acc, 1, 1, 1, c) ? -1 : 0;
}

/* ---- attention ---- */

static int check_heads(const Check *k, Tensor q, Tensor keys, Tensor v)
{
    const Attr *a = &k->op->a;
    if (want(k, "q", q, k->act, q.n, 1, q.w, q.c) || want(k, "k", keys, k->act, q.n, 1, keys.w, q.c) || want_like(k, "v", v, k->act, keys)) return -1;
    if (a->heads < 1 || q.c % a->heads) return err("%s: heads: %d channels are not %d equal heads", op_name(k->op->kind), q.c, a->heads);
    if (a->causal && q.w != keys.w) return err("%s: causal: %d queries, %d keys", op_name(k->op->kind), q.w, keys.w);
    return 0;
}

static int check_attn(const Check *k)
{
    const Op *op = k->op;
    Tensor    q = op->x[0];
    if (check_heads(k, q, op->x[1], op->x[2]) || want_like(k, "y", op->y[0], k->act, q)) return -1;
    return want(k, "lse", op->y[1], k->acc, q.n, 1, q.w, op->a.heads);
}

static int check_attn_dx(const Check *k)
{
    const Op *op = k->op;
    Tensor    q = op->x[1], keys = op->x[2];
    if (check_heads(k, q, keys, op->x[3]) || want_like(k, "dy", op->x[0], k->act, q) || want_like(k, "y", op->x[4], k->act, q)) return -1;
    if (want(k, "lse", op->x[5], k->acc, q.n, 1, q.w, op->a.heads) || want_like(k, "dq", op->y[0], k->act, q)) return -1;
    return want_like(k, "dk", op->y[1], k->act, keys) || want_like(k, "dv", op->y[2], k->act, keys) ? -1 : 0;
}

/* ---- elementwise, moves ---- */

static int check_kind(const Check *k, int count) { return k->op->a.kind < 0 || k->op->a.kind >= count ? wrong(k, "kind: not one there is", k->op->a.kind) : 0; }

static int check_act(const Check *k)
{
    Tensor x = k->op->x[0];
    return check_kind(k, ACT_QUICK_GELU + 1) || want_like(k, "x", x, k->act, x) || want_like(k, "y", k->op->y[0], k->act, x) ? -1 : 0;
}

static int check_act_dx(const Check *k)
{
    Tensor x = k->op->x[1];
    if (check_kind(k, ACT_QUICK_GELU + 1) || want_like(k, "x", x, k->act, x)) return -1;
    return want_like(k, "dy", k->op->x[0], k->act, x) || want_like(k, "dx", k->op->y[0], k->act, x) ? -1 : 0;
}

static int check_geglu(const Check *k)
{
    Tensor y = k->op->y[0];
    return want_like(k, "y", y, k->act, y) || want(k, "x", k->op->x[0], k->act, y.n, y.h, y.w, 2 * y.c) ? -1 : 0;
}

static int check_geglu_dx(const Check *k)
{
    Tensor dy = k->op->x[0], x = k->op->x[1];
    if (want_like(k, "dy", dy, k->act, dy) || want(k, "x", x, k->act, dy.n, dy.h, dy.w, 2 * dy.c)) return -1;
    return want_like(k, "dx", k->op->y[0], k->act, x);
}

static int check_up2(const Check *k)
{
    int    forward = k->op->kind == OP_UP2;
    Tensor small = forward ? k->op->x[0] : k->op->y[0], large = forward ? k->op->y[0] : k->op->x[0];
    if (want_like(k, forward ? "x" : "dx", small, k->act, small)) return -1;
    return want(k, forward ? "y" : "dy", large, k->act, small.n, 2 * small.h, 2 * small.w, small.c);
}

static int check_embed(const Check *k)
{
    const Op *op = k->op;
    Tensor    y = op->y[0], table = op->x[1], extra = op->x[2], position = op->x[3];
    if (want(k, "y", y, k->act, y.n, 1, y.w, y.c) || want(k, "ids", op->x[0], T_I32, y.n, 1, y.w, 1)) return -1;
    if (want(k, "table", table, frozen(k, table), table.n, 1, 1, y.c) || want_if(k, "extra", extra, k->acc, extra.n, 1, 1, y.c)) return -1;
    return want_if(k, "position", position, frozen(k, position), 1, 1, y.w, y.c);
}

static int check_embed_dw(const Check *k)
{
    Tensor dextra = k->op->y[0], dy = k->op->x[0];
    if (want(k, "dy", dy, k->act, dy.n, 1, dy.w, dy.c) || want(k, "ids", k->op->x[1], T_I32, dy.n, 1, dy.w, 1)) return -1;
    return want(k, "dextra", dextra, k->acc, dextra.n, 1, 1, dy.c);
}

static int check_copy(const Check *k)
{
    Tensor y = k->op->y[0], x = k->op->x[0];
    return want_like(k, "x", x, either(k, x), x) || want_like(k, "y", y, either(k, y), x) ? -1 : 0;
}

static int check_combine(const Check *k)
{
    Tensor y = k->op->y[0], b = k->op->x[1];
    if (want_like(k, "y", y, k->act, y) || want_like(k, "a", k->op->x[0], k->act, y)) return -1;
    return want(k, "b", b, k->act, b.n == 1 ? 1 : y.n, b.h == 1 ? 1 : y.h, b.w == 1 ? 1 : y.w, b.c == 1 ? 1 : y.c);
}

static int check_sum(const Check *k)
{
    Tensor x = k->op->x[0], y = k->op->y[0];
    return want_like(k, "x", x, k->act, x) || want(k, "y", y, either(k, y), k->op->a.each ? x.n : 1, 1, 1, x.c) ? -1 : 0;
}

static int check_dropout(const Check *k)
{
    Tensor x = k->op->x[0];
    if (!(k->op->a.p >= 0 && k->op->a.p < 1)) return wrong(k, "p: expected 0 to less than 1", k->op->a.p);
    return want_like(k, "x", x, k->act, x) || want_like(k, "y", k->op->y[0], k->act, x) ? -1 : 0;
}

static int check_fill(const Check *k) { return want_like(k, "y", k->op->y[0], either(k, k->op->y[0]), k->op->y[0]); }

/* ---- loss, update ---- */

static int check_loss(const Check *k)
{
    const Op *op = k->op;
    Tensor    pred = op->x[0], c = op->x[3];
    if (check_kind(k, LOSS_SMOOTH_L1 + 1) || want_like(k, "pred", pred, k->act, pred) || want_like(k, "dpred", op->y[1], k->act, pred)) return -1;
    if (want_like(k, "target", op->x[1], k->acc, pred) || want(k, "loss", op->y[0], k->acc, pred.n, 1, 1, 1)) return -1;
    if (want(k, "weight", op->x[2], k->acc, pred.n, 1, 1, 1) || want_if(k, "mask", op->x[4], k->acc, pred.n, pred.h, pred.w, 1)) return -1;
    if ((c.p || op->a.kind == LOSS_HUBER || op->a.kind == LOSS_SMOOTH_L1) && want(k, "c", c, k->acc, pred.n, 1, 1, 1)) return -1;
    return want(k, "ctl", op->x[5], k->acc, 1, 1, 1, CTL_COUNT);
}

static int check_sumsq(const Check *k)
{
    Tensor g = k->op->x[0];
    return want(k, "g", g, k->acc, 1, 1, 1, g.c) || want(k, "ctl", k->op->y[0], k->acc, 1, 1, 1, CTL_COUNT) ? -1 : 0;
}

static int check_update(const Check *k)
{
    const Op *op = k->op;
    int       count = op->y[0].c;
    if (check_kind(k, UPDATE_SGD + 1) || want(k, "w", op->y[0], k->acc, 1, 1, 1, count) || want(k, "m", op->y[1], k->acc, 1, 1, 1, count)) return -1;
    if (op->a.kind == UPDATE_ADAMW && want(k, "v", op->y[2], k->acc, 1, 1, 1, count)) return -1;
    if (want_if(k, "work", op->y[3], k->act, 1, 1, 1, count) || want(k, "g", op->x[0], k->acc, 1, 1, 1, count)) return -1;
    if (op->a.base < 0 || op->a.base >= CTL_COUNT - CTL_LR) return wrong(k, "group: not one there is", op->a.base);
    return want(k, "ctl", op->x[1], k->acc, 1, 1, 1, CTL_COUNT);
}

static const struct {
    int (*check)(const Check *);
    int acc;                                            /* has the constructor the argument? */
} table[OP_COUNT] = {
    [OP_LINEAR] = { check_linear, 0 },         [OP_LINEAR_DX] = { check_linear_dx, 1 }, [OP_LINEAR_DW] = { check_linear_dw, 1 },
    [OP_CONV] = { check_conv, 0 },             [OP_CONV_DX] = { check_conv_dx, 1 },     [OP_CONV_DW] = { check_conv_dw, 1 },
    [OP_SUM] = { check_sum, 1 },               [OP_NORM] = { check_norm, 0 },           [OP_NORM_DX] = { check_norm_dx, 1 },
    [OP_NORM_DW] = { check_norm_dw, 1 },       [OP_ATTN] = { check_attn, 0 },           [OP_ATTN_DX] = { check_attn_dx, 0 },
    [OP_ACT] = { check_act, 0 },               [OP_ACT_DX] = { check_act_dx, 1 },       [OP_GEGLU] = { check_geglu, 0 },
    [OP_GEGLU_DX] = { check_geglu_dx, 1 },     [OP_UP2] = { check_up2, 0 },             [OP_UP2_DX] = { check_up2, 1 },
    [OP_EMBED] = { check_embed, 0 },           [OP_EMBED_DW] = { check_embed_dw, 1 },   [OP_COPY] = { check_copy, 1 },
    [OP_ADD] = { check_combine, 0 },           [OP_MUL] = { check_combine, 0 },         [OP_DROPOUT] = { check_dropout, 0 },
    [OP_LOSS] = { check_loss, 0 },             [OP_SUMSQ] = { check_sumsq, 0 },         [OP_UPDATE] = { check_update, 0 },
    [OP_FILL] = { check_fill, 0 },
};

int op_check(const Set *set, const Op *op)
{
    if ((unsigned)op->kind >= OP_COUNT) return err("op %d: there is none", (int)op->kind);
    if (op->acc != 0 && (op->acc != 1 || !table[op->kind].acc))
        return err("%s: acc: expected %s, found %d", op_name(op->kind), table[op->kind].acc ? "0 or 1" : "0", op->acc);
    return table[op->kind].check(&(Check){ set, op, set->act, set->acc });
}
