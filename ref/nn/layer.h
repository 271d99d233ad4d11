/* layer.h - a linear or a convolution as a model holds it: frozen weight, bias, and the low-rank adapters that it carries.
 *
 * Several modules of a checkpoint that read the same input (to_q, to_k, to_v) are one Layer, one GEMM: each is a Part, a range of its output channels, and
 * carries its own adapter.  With s = alpha / rank, A the "down" and B the "up" matrix (Hu et al. 2021):
 *
 *     y = x W^T + bias + row + res + s (x A^T) B^T         a convolution: A has W's kernel and stride, B is 1x1 */
#ifndef NN_LAYER_H
#define NN_LAYER_H
#include "nn/param.h"
#include "nn/tape.h"

typedef struct {
    int    rank;
    double alpha;
    int    group;                                       /* of the learning rate */
    int    down, up;                                    /* their places in the block of parameters */
    Weight a, b;                                        /* (r,k,k,i), (o,1,1,r) */
    Tensor da, db;
} Adapter;

typedef struct {
    char    *name;                                      /* the module's path in a diffusers checkpoint: "down_blocks.0.attentions.0.proj_in" */
    int      o0, o;                                     /* its output channels */
    Adapter *adapter;                                   /* not owned; NULL: none */
} Part;

typedef struct {
    Weight w;                                           /* (o,k,k,i) */
    Tensor bias;                                        /* (1,1,1,o), or absent */
    Attr   geometry;                                    /* kernel 1, stride 1, no pad: a linear */
    int    conv;                                        /* files hold it as a convolution, (o,i,k,k), even where k is 1 */
    Part   part[MAX_SEG];
    int    parts;
} Layer;

int layer_is_linear(const Layer *l);

/* y = the layer at x, in a new Var, or in y where the caller has one. row (n,1,1,o) and res (shape of y) may be NULL. */
Var *nn_layer(Tape *t, const Layer *l, Var *x, Var *y, Var *row, Var *res);
#endif
