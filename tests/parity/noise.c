#include "noise.h"
#include "base/rng.h"
#include <float.h>

static struct {
    Set  set;                                           /* first: a Set * is a pointer to all of it */
    Set *exact;
    Rng  rng;
    double act, acc;                                    /* unit roundoffs */
} noise;

/* Is output k of this op of type acc? Those that may be either are taken for act, but for the gradients of parameters. */
static int is_acc(OpKind kind, int k)
{
    switch (kind) {
    case OP_LINEAR_DW: case OP_CONV_DW: case OP_NORM_DW: case OP_EMBED_DW: case OP_SUMSQ: case OP_FILL: return 1;
    case OP_NORM: case OP_ATTN: return k > 0;
    case OP_LOSS: return k == 0;
    case OP_UPDATE: return k < 3;
    default: return 0;
    }
}

static void move(Tensor t, double u)
{
    if (!t.p || t.type != T_F64) return;
    for (int n = 0; n < t.n; n++)
        for (size_t r = 0; r < (size_t)t.h * (size_t)t.w; r++) {
            double *x = tensor_at(t, (size_t)n * t.img + r * t.ld);
            for (int c = 0; c < t.c; c++) x[c] *= 1 + u * (2 * rng_uniform(&noise.rng) - 1);
        }
}

static int run(Set *set, const Op *op)
{
    (void)set;
    if (noise.exact->run(noise.exact, op)) return -1;
    for (int i = 0; i < 4; i++) move(op->y[i], is_acc(op->kind, i) ? noise.acc : noise.act);
    return 0;
}

static int upload(Set *set, Tensor dst, Tensor host)
{
    (void)set;
    if (noise.exact->upload(noise.exact, dst, host)) return -1;
    move(dst, noise.act);
    return 0;
}

static double unit_roundoff(Type type) { return type == T_F16 ? 0x1p-11 : FLT_EPSILON / 2; }

Set *noise_open(const Set *like, uint64_t seed)
{
    noise.exact = set_open("ref64");
    if (!noise.exact) return NULL;
    noise.set = *noise.exact;
    noise.set.name = "noise", noise.set.run = run, noise.set.upload = upload;
    noise.act = unit_roundoff(like->act), noise.acc = unit_roundoff(like->acc);
    noise.rng = rng_open(seed, RNG_TEST, 0, 0);
    return &noise.set;
}
