/* latent_cache.h - latents that outlive a run: a folder of files, each under the hash of all that it was computed from.
 *
 * The key is SHA-256 of the autoencoder's weights, the kernel set, and the pixels that went in, after decoding, resizing, cutting and mirroring: a changed
 * picture, bucket or model has another key, so nothing here can be out of date, and nothing needs to be removed but to save space. */
#ifndef DATA_LATENT_CACHE_H
#define DATA_LATENT_CACHE_H
#include "io/file.h"
#include "io/hash.h"
#include "io/image.h"
#include "model/model_files.h"
#include "model/vae.h"

typedef struct {
    char dir[PATH_SIZE];                                /* "": no cache */
    char origin[HASH_SIZE + 64];                        /* what all its keys share */
} LatentCache;

/* dir is made; NULL: no cache. vae: what encodes, loaded from `source`; set: the name of the set that it runs on. 0, or -1 and err(). */
int latent_cache_open(LatentCache *c, const char *dir, const Vae *vae, const ModelSource *source, const char *set);

/* path = the file of the latent of this picture, as it goes into the autoencoder. */
int latent_cache_path(char path[PATH_SIZE], const LatentCache *c, const Image *picture);

/* 1: moments (h,w,c2) read; 0: not there, or not whole, which is said on stderr; put: 0, or -1 and err(). */
int latent_cache_get(float *moments, int h, int w, int c2, const char *path);
int latent_cache_put(const float *moments, int h, int w, int c2, const char *path);
#endif
