#include "data/latents.h"
#include "base/err.h"
#include "data/resample.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>

/* The picture at its bucket's size. */
static int load_picture(Image *cut, const Picture *picture, const BucketFit *fit, BucketSize size, int background)
{
    Image raw, resized = { 0 };
    *cut = (Image){ 0 };
    if (image_load(&raw, picture->path, background)) return -1;
    int status =
        image_new(&resized, fit->w, fit->h) || image_new(cut, size.w, size.h) || resample(resized.rgb, fit->w, fit->h, raw.rgb, raw.w, raw.h) ? -1 : 0;
    if (!status) resample_crop(cut->rgb, size.w, size.h, resized.rgb, fit->w, fit->h, fit->x, fit->y);
    image_free(&raw);
    image_free(&resized);
    if (status) image_free(cut);
    return status;
}

static void mirror(Image *image)
{
    for (int y = 0; y < image->h; y++)
        for (int a = 0, b = image->w - 1; a < b; a++, b--) {
            uint8_t *left = image->rgb + 3 * ((size_t)y * (size_t)image->w + (size_t)a), *right = left + 3 * (b - a), keep[3];
            memcpy(keep, left, 3), memcpy(left, right, 3), memcpy(right, keep, 3);
        }
}

/* moments (h,w,2c) of the picture, by the autoencoder. */
static int encode(float *moments, const Latent *l, Pipeline *p, const Image *image, const char *path)
{
    Tape  *t = &p->tape;
    size_t pixels = (size_t)image->w * (size_t)image->h * 3, c = (size_t)l->c, count = (size_t)l->w * (size_t)l->h * 2 * c;
    float *x = malloc(pixels * sizeof *x);
    if (!x) return err("%s: out of memory for its pixels", path);
    for (size_t k = 0; k < pixels; k++) x[k] = (float)(image->rgb[k] / 127.5 - 1);
    tape_reset(t, TAPE_INFER);
    Var *y = vae_encode(t, &p->model.vae, tape_constant(t, p->set->act, tensor_of(x, T_F32, 1, image->h, image->w, 3)));
    free(x);
    if (tape_status(t) || p->set->download(p->set, tensor_of(moments, T_F32, 1, l->h, l->w, 2 * l->c), y->t) || p->set->sync(p->set)) return -1;
    for (size_t k = 0; k < count; k++) {
        if (!isfinite(moments[k])) return err("%s: its latent is not finite: is the autoencoder damaged?", path);
        if (k % (2 * c) >= c) moments[k] = moments[k] < -30 ? -30 : moments[k] > 20 ? 20 : moments[k];
    }
    return 0;
}

/* The same from the cache, or into it. */
static int obtain(Latents *all, Latent *l, int flip, Pipeline *p, const LatentCache *cache, const Image *image, const char *path)
{
    char file[PATH_SIZE] = "";
    if (!(l->moments[flip] = malloc((size_t)l->w * (size_t)l->h * 2 * (size_t)l->c * sizeof(float)))) return err("%s: out of memory for its latent", path);
    if (*cache->dir && latent_cache_path(file, cache, image)) return -1;
    if (*file && latent_cache_get(l->moments[flip], l->h, l->w, 2 * l->c, file)) return all->reused++, 0;
    if (encode(l->moments[flip], l, p, image, path)) return -1;
    return *file ? latent_cache_put(l->moments[flip], l->h, l->w, 2 * l->c, file) : 0;
}

static int add_picture(Latents *all, int i, Pipeline *p, const LatentCache *cache, const Picture *picture, const BucketFit *fit, BucketSize size,
                       const LatentRules *rules)
{
    Latent *l = &all->latent[i];
    Image   image;
    int     factor = vae_factor(&p->model.vae.config);
    *l = (Latent){ size.w / factor, size.h / factor, p->model.vae.config.latent, { NULL, NULL } };
    if (load_picture(&image, picture, fit, size, rules->background)) return -1;
    int status = obtain(all, l, 0, p, cache, &image, picture->path);
    if (!status && rules->flip) {
        mirror(&image);
        status = obtain(all, l, 1, p, cache, &image, picture->path);
    }
    image_free(&image);
    return status;
}

int latents_open(Latents *l, Pipeline *p, const Concepts *concepts, const Buckets *buckets, const BucketFit *fit, const LatentRules *rules)
{
    Progress    progress = progress_open("encode", "picture", 0, concepts->pictures);
    LatentCache cache;
    *l = (Latents){ calloc((size_t)concepts->pictures, sizeof *l->latent), concepts->pictures, 0, p->model.vae.config.scaling };
    int status = l->latent ? latent_cache_open(&cache, rules->cache_dir, &p->model.vae, rules->source, p->set->name)
                           : err("out of memory for %d latents", concepts->pictures);
    for (int i = 0; i < concepts->pictures && !status; i++) {
        status = add_picture(l, i, p, &cache, &concepts->picture[i], &fit[i], buckets->size[fit[i].bucket], rules);
        if (!status && !rules->quiet) progress_update(&progress, i + 1, "%d from the cache", l->reused);
    }
    progress_close(&progress);
    if (status) latents_close(l);
    return status;
}

void latents_close(Latents *l)
{
    for (int i = 0; l->latent && i < l->count; i++) free(l->latent[i].moments[0]), free(l->latent[i].moments[1]);
    free(l->latent);
    *l = (Latents){ 0 };
}

void latent_draw(double *x, const Latents *l, int picture, int flip, Rng *rng)
{
    const Latent *z = &l->latent[picture];
    for (size_t at = 0, c = (size_t)z->c; at < (size_t)z->w * (size_t)z->h; at++)
        for (size_t k = 0; k < c; k++) {
            const float *m = z->moments[flip] + at * 2 * c;
            x[at * c + k] = l->scaling * (m[k] + exp(0.5 * m[c + k]) * rng_normal(rng));
        }
}
