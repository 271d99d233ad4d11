/* vae.h - the autoencoder between pictures and latents (Kingma & Welling 2014; Rombach et al. 2022; diffusers' AutoencoderKL), of any factor.
 *
 * Pictures (n,H,W,3) in -1..1, H and W multiples of the factor; moments (n,H/f,W/f,2z): mean and log-variance, the latter not yet clamped to -30..20;
 * latents unscaled: the denoiser sees them times config.scaling. Inference only: nothing is ever recorded. */
#ifndef MODEL_VAE_H
#define MODEL_VAE_H
#include "io/json.h"
#include "model/resnet.h"

enum { VAE_LEVELS = 8, VAE_LAYERS = 4 };

typedef struct {
    int    levels, layers, latent, groups;              /* residual blocks a level on the way down, one more on the way up; latent channels */
    int    channels[VAE_LEVELS];
    int    attention, quant, post_quant;                /* in the middle; the 1x1 convolutions around the latent */
    double scaling;
} VaeConfig;

typedef struct {
    Resnet resnet[VAE_LAYERS + 1];
    Layer  resample;
    int    resnets, has_resample;
} VaeLevel;

typedef struct {
    Resnet first, second;
    Norm   norm;
    Layer  qkv, out;
    int    attention;
} VaeMiddle;

typedef struct {
    Layer     conv_in, conv_out, quant;                 /* quant: behind the encoder, before the decoder */
    VaeLevel  level[VAE_LEVELS];                        /* in the order in which they run */
    VaeMiddle middle;
    Norm      norm_out;
} VaeHalf;

typedef struct {
    VaeConfig config;
    Weights   weights;
    VaeHalf  *encoder, *decoder;
} Vae;

int  vae_config(VaeConfig *config, Json *j);            /* from vae/config.json. j is closed. 0, or -1 and err() */

/* Describes the layers; their numbers are weights_load's (nn/weights.h). 0, or -1 and err(); to be closed either way. */
int  vae_open(Vae *vae, const VaeConfig *config, Set *set);
void vae_close(Vae *vae);
int  vae_factor(const VaeConfig *config);               /* pixels a latent: 2^(levels-1) */

Var *vae_encode(Tape *t, const Vae *vae, Var *picture);
Var *vae_decode(Tape *t, const Vae *vae, Var *latent);
#endif
