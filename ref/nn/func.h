/* func.h - the functions between layers: norms, attention, activations, moves and the loss. Each records its own backward step.
 *
 * y is the result; where the caller passes a Var for it, it is written there (a slice of a concatenation), else y is new. */
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

Var *nn_norm(Tape *t, const Norm *norm, Var *x);
Var *nn_attn(Tape *t, Var *q, Var *k, Var *v, int heads, int causal);              /* scale 1 / sqrt(channels of a head) */
Var *nn_act(Tape *t, Var *x, Act kind);
Var *nn_geglu(Tape *t, Var *x);
Var *nn_up2(Tape *t, Var *x);
Var *nn_embed(Tape *t, const Var *ids, Tensor table, Tensor extra, Tensor position);

/* loss (n,1,1,1) = weight[n] * mean over h, w, c of f(pred - target); starts the backward pass: the gradient of pred is share times the sum over n. */
Var *nn_loss(Tape *t, Var *pred, const Var *target, const Var *weight, Tensor ctl, Loss kind, double share);
#endif
