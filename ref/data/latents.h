/* latents.h - every training picture as the autoencoder sees it: computed once, as mean and log-variance, and drawn anew each time it is used. */
#ifndef DATA_LATENTS_H
#define DATA_LATENTS_H
#include "base/rng.h"
#include "data/bucket.h"
#include "data/concepts.h"
#include "data/latent_cache.h"
#include "diffusion/pipeline.h"

typedef struct {
    int    w, h, c;                                     /* of the latent */
    float *moments[2];                                  /* (h,w,2c): mean, then log-variance clamped to -30..20; of the picture; of its mirror image, or NULL */
} Latent;

typedef struct {
    Latent *latent;                                     /* one a picture */
    int     count, reused;                              /* reused: how many were found on disk */
    double  scaling;                                    /* the denoiser sees latents times this */
} Latents;

/* How they are made. */
typedef struct {
    const char        *cache_dir;                       /* kept there between runs (latent_cache.h); NULL: not */
    const ModelSource *source;                          /* that the pipeline was opened from */
    int                flip;                            /* mirror images, too */
    int                background;                      /* behind what is transparent, 0xRRGGBB */
    int                quiet;
} LatentRules;

/* Loads, resizes and cuts each picture as fit says and encodes it. 0, or -1 and err(): the picture and what is wrong with it. */
int  latents_open(Latents *l, Pipeline *p, const Concepts *concepts, const Buckets *buckets, const BucketFit *fit, const LatentRules *rules);
void latents_close(Latents *l);

/* x (h,w,c) = scaling (mean + exp(logvar/2) e), e drawn from rng in order; flip: of the mirror image. */
void latent_draw(double *x, const Latents *l, int picture, int flip, Rng *rng);
#endif
