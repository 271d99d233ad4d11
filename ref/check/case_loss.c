/* case_loss.c - the loss of each image and its gradient. */
#include "check/check.h"

/* f(d) and f'(d) of the four kinds, b the width of the round bottom. sqrt(d^2 + b^2) - b cancels where |d| < b; so may any set. */
static Num loss_value(Loss kind, Num d, Num b)
{
    if (kind == LOSS_L2) return num_mul(d, d);
    if (kind == LOSS_L1) return d.v < 0 ? num_neg(d) : d;
    Num root = num_sub(num_sqrt(num_add(num_mul(d, d), num_mul(b, b))), b);
    return num_mul(num(2), kind == LOSS_HUBER ? num_mul(b, root) : root);
}

static Num loss_slope(Loss kind, Num d, Num b)
{
    if (kind == LOSS_L2) return num_mul(num(2), d);
    if (kind == LOSS_L1) return num(d.v > 0 ? 1 : d.v < 0 ? -1 : 0);
    Num slope = num_mul(num(2), num_div(d, num_sqrt(num_add(num_mul(d, d), num_mul(b, b)))));
    return kind == LOSS_HUBER ? num_mul(b, slope) : slope;
}

void draw_loss(Case *c)
{
    c->left /= 64;
    int channels = dim(c, 16), w = dim(c, 96), h = dim(c, 64), n = dim(c, 4), masked = below(c, 2);
    Loss kind = (Loss)below(c, 4);
    Tensor pred = in_range(c, ACT, n, h, w, channels, 8), target = in_range(c, ACC, n, h, w, channels, 8), ctl = in_positive(c, ACC, 1, 1, 1, CTL_COUNT, 6);
    Tensor share = in_positive(c, ACC, n, 1, 1, 1, 3), width = kind >= LOSS_HUBER ? in_positive(c, ACC, n, 1, 1, 1, 3) : NONE;
    Tensor mask = masked ? in_positive(c, ACC, n, h, w, 1, 2) : NONE;
    for (size_t j = 1; masked && j < tensor_count(mask); j += 3) ((double *)mask.p)[j] = 0;
    c->op = op_loss(out(c, ACC, n, 1, 1, 1), out(c, ACT, n, h, w, channels), pred, target, share, width, mask, ctl, kind, scale_of(c));
}

void define_loss(Case *c)
{
    Tensor pred = c->op.x[0], target = c->op.x[1], weight = c->op.x[2], width = c->op.x[3], mask = c->op.x[4], ctl = c->op.x[5];
    Loss   kind = (Loss)c->op.a.kind;
    Num   *loss = want(c, 0), *dpred = want(c, 1), scale = num_mul(num_rounded(c->op.a.scale), num(at(ctl, CTL_SCALE)));
    size_t count = tensor_count(pred) / (size_t)pred.n;
    for (size_t j = 0; j < (size_t)pred.n; j++) {
        Sum sum = { 0 };
        Num each = num_div(num(at(weight, j)), num((double)count)), b = num(width.p ? at(width, j) : 0);
        for (size_t k = 0; k < count; k++) {
            size_t p = j * count + k;
            Num m = num(mask.p ? at(mask, p / (size_t)pred.c) : 1), d = num_sub(num(at(pred, p)), num(at(target, p)));
            sum_add(&sum, num_mul(m, loss_value(kind, d, b)));
            dpred[p] = num_mul(num_mul(scale, each), num_mul(m, loss_slope(kind, d, b)));
        }
        loss[j] = num_mul(each, total(c, sum));
    }
}
