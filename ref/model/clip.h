/* clip.h - CLIP's text encoder (Radford et al. 2021): a causal transformer with the norm before each sublayer (transformers' CLIPTextModel). */
#ifndef MODEL_CLIP_H
#define MODEL_CLIP_H
#include "io/json.h"
#include "nn/weights.h"

typedef struct {
    int    vocab, width, layers, heads, hidden, length; /* hidden: of the MLP; length: positions */
    Act    act;
    double eps;
} ClipConfig;

typedef struct {
    Norm  norm1, norm2;
    Layer qkv, out, fc1, fc2;
    int   heads;
    Act   act;
} ClipLayer;

typedef struct {
    ClipConfig config;
    Weights    weights;
    Tensor     token, position;                         /* (vocab,1,1,c), (length,1,1,c) */
    Tensor     learned;                                 /* (e,1,1,c), type acc: ids from vocab on, of clip_learn; else NONE */
    ClipLayer *layer;
    int        run;                                     /* how many of them clip_forward runs: all, but for clip_skip */
    Norm       final;
} Clip;

int  clip_config(ClipConfig *config, Json *j);          /* from text_encoder/config.json. j is closed. 0, or -1 and err() */

/* Describes the layers; their numbers are weights_load's (nn/weights.h). 0, or -1 and err(); to be closed either way. */
int  clip_open(Clip *clip, const ClipConfig *config, Set *set);
void clip_close(Clip *clip);

/* Clip skip as the web UI and kohya's scripts count it: states are read skip - 1 layers before the last; the final norm follows in any case. 1 is all layers,
 * and so is 0, for "not given". 0, or -1 and err(): the model has fewer. */
int clip_skip(Clip *clip, int skip);
int clip_runs(const Clip *clip, const Layer *layer);    /* does clip_forward come to this layer of its own? */

/* Adds n vectors (n,c) to what ids can mean. The first one's id, or -1 and err(). */
int clip_learn(Clip *clip, const double *vectors, int n);

/* Text states (n,1,t,c) after the final norm, from ids (n,1,t,1), t <= length. */
Var *clip_forward(Tape *t, const Clip *clip, const Var *ids);
#endif
