#include "data/latents.h"
#include "base/err.h"
#include "data/resample.h"
#include <math.h>
#include <stdlib.h>

/* The picture at its bucket's size, as (H,W,3) in -1..1. */
static int load_picture(double *x, const Picture *picture, const BucketFit *fit, BucketSize size)
{
    Image raw, resized = { 0 }, cut = { 0 };
    if (image_load(&raw, picture->path)) return -1;
    int status =
        image_new(&resized, fit->w, fit->h) || image_new(&cut, size.w, size.h) || resample(resized.rgb, fit->w, fit->h, raw.rgb, raw.w, raw.h) ? -1 : 0;
    if (!status) {
        resample_crop(cut.rgb, size.w, size.h, resized.rgb, fit->w, fit->h, fit->x, fit->y);
        for (size_t k = 0; k < (size_t)size.w * (size_t)size.h * 3; k++) x[k] = cut.rgb[k] / 127.5 - 1;
    }
    image_free(&raw);
    image_free(&resized);
    image_free(&cut);
    return status;
}

static int encode(Latent *l, Pipeline *p, const double *x, const Picture *picture, BucketSize size)
{
    Tape *t = &p->tape;
    int   factor = vae_factor(&p->model.vae.config), c = p->model.vae.config.latent;
    *l = (Latent){ size.w / factor, size.h / factor, c, NULL };
    size_t count = (size_t)l->w * (size_t)l->h * 2 * (size_t)c;
    if (!(l->moments = malloc(count * sizeof *l->moments))) return err("%s: out of memory for its latent", picture->path);
    tape_reset(t, TAPE_INFER);
    Var *y = vae_encode(t, &p->model.vae, tape_constant(t, p->set->act, tensor_of((void *)x, T_F64, 1, size.h, size.w, 3)));
    if (tape_status(t) || p->set->download(p->set, tensor_of(l->moments, T_F32, 1, l->h, l->w, 2 * c), y->t) || p->set->sync(p->set)) return -1;
    for (size_t k = 0; k < count; k++) {
        float *m = &l->moments[k];
        if (!isfinite(*m)) return err("%s: its latent is not finite: is the autoencoder damaged?", picture->path);
        if (k % (2 * (size_t)c) >= (size_t)c) *m = *m < -30 ? -30 : *m > 20 ? 20 : *m;
    }
    return 0;
}

int latents_open(Latents *l, Pipeline *p, const Concepts *concepts, const Buckets *buckets, const BucketFit *fit, int quiet)
{
    Progress progress = progress_open("encode pictures", 0, concepts->pictures);
    size_t   largest = 0;
    for (int i = 0; i < buckets->count; i++) {
        size_t pixels = (size_t)buckets->size[i].w * (size_t)buckets->size[i].h;
        if (pixels > largest) largest = pixels;
    }
    double *x = malloc(largest * 3 * sizeof *x);
    *l = (Latents){ calloc((size_t)concepts->pictures, sizeof *l->latent), concepts->pictures, p->model.vae.config.scaling };
    int status = x && l->latent ? 0 : err("out of memory for %d latents", concepts->pictures);
    for (int i = 0; i < concepts->pictures && !status; i++) {
        BucketSize size = buckets->size[fit[i].bucket];
        status = load_picture(x, &concepts->picture[i], &fit[i], size) || encode(&l->latent[i], p, x, &concepts->picture[i], size) ? -1 : 0;
        if (!quiet) progress_update(&progress, i + 1, "%s", "");
    }
    if (!quiet) progress_close(&progress);
    free(x);
    if (status) latents_close(l);
    return status;
}

void latents_close(Latents *l)
{
    for (int i = 0; l->latent && i < l->count; i++) free(l->latent[i].moments);
    free(l->latent);
    *l = (Latents){ 0 };
}

void latent_draw(double *x, const Latents *l, int picture, Rng *rng)
{
    const Latent *z = &l->latent[picture];
    for (size_t at = 0, c = (size_t)z->c; at < (size_t)z->w * (size_t)z->h; at++)
        for (size_t k = 0; k < c; k++) {
            const float *m = z->moments + at * 2 * c;
            x[at * c + k] = l->scaling * (m[k] + exp(0.5 * m[c + k]) * rng_normal(rng));
        }
}
