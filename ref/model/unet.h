/* unet.h - the denoising U-Net of Stable Diffusion (Rombach et al. 2022; diffusers' UNet2DConditionModel), of any size.
 *
 * Levels from fine to coarse; each has residual blocks, on some levels each followed by a transformer that looks at the text. On the way down the state
 * before, between and behind the blocks is kept; on the way up each block reads it beside its own input. The state is written straight into the concatenation
 * that the later block will read: nothing is copied. */
#ifndef MODEL_UNET_H
#define MODEL_UNET_H
#include "io/json.h"
#include "model/resnet.h"

enum { UNET_LEVELS = 8, UNET_LAYERS = 4, UNET_CHANNELS = 1 << 16 };    /* most levels; most residual blocks a level, on the way down; most channels */

typedef struct {
    int    in, out, levels, layers, cross, groups, time;            /* channels; residual blocks a level; width of the text; channels of the embedding */
    int    channels[UNET_LEVELS], heads[UNET_LEVELS], attention[UNET_LEVELS];
    double eps;
    int    linear_projection;                           /* SD 2.x: a transformer's projections are matrices in files, not 1x1 convolutions */
    int    flip_sin_to_cos;                             /* cosines first, as in every SD 1.x */
    double freq_shift;
    int    sample;                                      /* sample_size: latent side at which it was trained */
} UnetConfig;

typedef struct {
    Norm  norm, norm1, norm2, norm3;
    Layer proj_in, qkv, out1, q, kv, out2, ff1, ff2, proj_out;
    int   heads;
} Transformer;

typedef struct {
    Resnet      resnet[UNET_LAYERS + 1];
    Transformer transformer[UNET_LAYERS + 1];
    Layer       resample;                               /* down: stride 2; up: after nearest x2 */
    int         has_resample;
} UnetLevel;

typedef struct {
    UnetConfig  config;
    Weights     weights;
    Layer       conv_in, conv_out, time1, time2;
    UnetLevel  *down, *up;                              /* up: from coarse to fine, as diffusers counts */
    Resnet      mid1, mid2;
    Transformer mid;
    Norm        norm_out;
} Unet;

int  unet_config(UnetConfig *config, Json *j);          /* from unet/config.json. j is closed. 0, or -1 and err() */

/* Describes the layers; their numbers are weights_load's (nn/weights.h). 0, or -1 and err(); to be closed either way. */
int  unet_open(Unet *unet, const UnetConfig *config, Set *set);
void unet_close(Unet *unet);

/* Sides of a latent must be multiples of this: 2^(levels-1). */
int unet_step(const UnetConfig *config);

/* out (channels[0]) = the sines of time t, which need not be whole (Vaswani et al. 2017). */
void unet_time(const UnetConfig *config, double t, double *out);

/* The model's output (n,h,w,out) for latents x (n,h,w,in), sines (n,1,1,channels[0]) and text states (n,1,t,cross). */
Var *unet_forward(Tape *t, const Unet *unet, Var *x, Var *sines, Var *text);
#endif
