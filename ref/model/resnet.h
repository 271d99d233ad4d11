/* resnet.h - the residual block that U-Net and VAE share (He et al. 2016; with a time embedding, Ho et al. 2020). */
#ifndef MODEL_RESNET_H
#define MODEL_RESNET_H
#include "nn/weights.h"

typedef struct {
    Norm  norm1, norm2;                                 /* each with SiLU */
    Layer conv1, conv2, time, shortcut;
    int   has_time, has_shortcut;                       /* shortcut: a 1x1 convolution where the channels change */
} Resnet;

void resnet_open(Weights *w, Resnet *r, const char *name, int in, int out, int time, int groups, double eps);   /* time: channels of the embedding; 0: none */

/* y (n,h,w,out) = conv2(silu norm2(conv1(silu norm1 x) + time(emb))) + shortcut x. x (n,h,w,in), emb (n,1,1,time) after its SiLU, or NULL. A unit. */
void resnet_forward(Tape *t, const Resnet *r, Var *x, Var *emb, Var *y);
#endif
