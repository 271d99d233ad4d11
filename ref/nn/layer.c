#include "nn/layer.h"
#include <string.h>

int layer_is_linear(const Layer *l)
{
    const Attr *g = &l->geometry;
    return g->kernel == 1 && g->stride == 1 && !g->pad[0] && !g->pad[1] && !g->pad[2] && !g->pad[3];
}

static double scale_of(const Adapter *a) { return a->alpha / a->rank; }

static void at_adapter(Tape *t, const Part *part)
{
    tape_module(t, part->name);
    t->at.detail = "LoRA";
}

/* The chain rule of y = x W^T + bias + row + res + s u B^T with u = x A^T, part by part, dy' the part's channels of dy:
 *   dres = dy     drow = sum of dy over h, w     du = s dy' B     dB = s dy'^T u     dA = du^T x     dx = dy W + sum of du A
 * The same with convolutions for W and A. The sum for dx is one op. */
static void layer_back(Tape *t, Node *node)
{
    const Layer *l = node->self;
    Tensor       dy = tape_dy(node->y), x = node->x[0]->t;
    int          linear = layer_is_linear(l), acc, segs = 0;
    Seg          seg[MAX_SEG] = { 0 };                  /* of dx */
    if (node->x[1] && node->x[1]->needs_grad) {
        Tensor drow = tape_grad(t, node->x[1], &acc);
        tape_run(t, op_sum(drow, dy, 1, acc));
    }
    if (node->x[2] && node->x[2]->needs_grad) {
        Tensor dres = tape_grad(t, node->x[2], &acc);
        tape_run(t, op_copy(dres, dy, 1, acc));
    }
    for (int j = 0; j < l->parts; j++) {
        const Part    *part = &l->part[j];
        const Adapter *a = part->adapter;
        if (!a) continue;
        Tensor dpart = tensor_channels(dy, part->o0, part->o), u = node->op.seg[segs].x;
        Tensor du = tape_temp(t, t->set->act, u.n, u.h, u.w, u.c);
        at_adapter(t, part);
        tape_run(t, op_linear_dx(du, dpart, a->b, scale_of(a), 0));
        tape_run(t, op_linear_dw(a->db, dpart, u, scale_of(a), 1));
        tape_run(t, linear ? op_linear_dw(a->da, du, x, 1, 1) : op_conv_dw(a->da, du, x, l->geometry, 1, 1));
        seg[segs++] = (Seg){ .x = du, .w = a->a, .scale = 1 };
    }
    if (!node->x[0]->needs_grad) return;
    t->at = node->at;
    Tensor to = tape_grad(t, node->x[0], &acc);
    Op     op = linear ? op_linear_dx(to, dy, l->w, 1, acc) : op_conv_dx(to, dy, l->w, l->geometry, 1, acc);
    memcpy(op.seg, seg, sizeof seg);
    tape_run(t, op);
}

static int out_size(int in, int before, int after, const Attr *g) { return (in + before + after - g->kernel) / g->stride + 1; }

Var *nn_layer(Tape *t, const Layer *l, Var *x, Var *y, Var *row, Var *res)
{
    const Attr *g = &l->geometry;
    int         linear = layer_is_linear(l), segs = 0;
    int         h = out_size(x->t.h, g->pad[0], g->pad[1], g), w = out_size(x->t.w, g->pad[2], g->pad[3], g);
    Type        act = t->set->act;
    if (!y) y = tape_new(t, act, x->t.n, h, w, l->w.t.n);
    Tensor row_t = row ? row->t : NONE, res_t = res ? res->t : NONE;
    Op     op = linear ? op_linear(y->t, x->t, l->w, l->bias, row_t, res_t) : op_conv(y->t, x->t, l->w, l->bias, row_t, res_t, *g);
    for (int j = 0; j < l->parts; j++) {
        const Part    *part = &l->part[j];
        const Adapter *a = part->adapter;
        if (!a) continue;
        Tensor u = tape_temp(t, act, x->t.n, h, w, a->rank);
        at_adapter(t, part);
        tape_run(t, linear ? op_linear(u, x->t, a->a, NONE, NONE, NONE) : op_conv(u, x->t, a->a, NONE, NONE, NONE, *g));
        op.seg[segs++] = (Seg){ .x = u, .w = a->b, .scale = scale_of(a), .o0 = part->o0 };
    }
    tape_module(t, l->part[0].name);
    tape_run(t, op);
    Node *node = tape_record(t, layer_back, y, (Var *[]){ x, row, res }, 3, segs > 0);
    if (node) node->self = l, node->op = op;
    return y;
}
