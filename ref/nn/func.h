/* func.h - the functions between layers: norms, attention, activations, moves and the loss. Each records its own backward step.
 *
 * Each returns a new Var, of type act but for the loss. What it computes stands at the op of its name (ops/ops.h). */
#ifndef NN_FUNC_H
#define NN_FUNC_H
#include "nn/tape.h"

typedef struct {
    Tensor gamma, beta;                                 /* (1,1,1,c) */
    int    groups;                                      /* 0: layer norm */
    int    silu;
    double eps;
    const char *name;                                   /* of gamma in the file; may be NULL */
} Norm;

Var *nn_norm(Tape *t, const Norm *norm, Var *x);                                   /* of x's shape */
Var *nn_attn(Tape *t, Var *q, Var *k, Var *v, int heads, int causal);              /* of q's shape; scale 1 / sqrt(channels of a head) */
Var *nn_act(Tape *t, Var *x, Act kind);                                            /* of x's shape */
Var *nn_geglu(Tape *t, Var *x);                                                    /* (n,h,w,2c) to (n,h,w,c) */
Var *nn_up2(Tape *t, Var *x);                                                      /* (n,h,w,c) to (n,2h,2w,c) */
Var *nn_embed(Tape *t, const Var *ids, Tensor table, Tensor extra, Tensor position);           /* ids (n,1,t,1) to (n,1,t,c); no gradient goes back */

/* x (n k,1,t,c), k chunks of text an image, to (n,1,k (t - 2) + 2,c): BOS of the first, what lies between BOS and EOS in each, EOS of the last. k = 1: x */
Var *nn_chunks(Tape *t, Var *x, int k);
static inline int chunk_tokens(int t, int k) { return k * (t - 2) + 2; }

/* loss (n,1,1,1) = weight[n] * mean over h, w, c of f(pred - target); starts the backward pass: the gradient of pred is share times the sum over n. */
Var *nn_loss(Tape *t, Var *pred, const Var *target, const Var *weight, Tensor ctl, Loss kind, double share);
#endif
