#include "data/latent_cache.h"
#include "base/err.h"
#include "io/safetensors.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* The hash of the autoencoder as a safetensors file of its own, whatever files it comes from: its weights by their names, and what they do not show. Layouts
 * differ in shapes, a matrix or a 1x1 kernel: only counts go in. */
static int hash_vae(char hex[HASH_SIZE], const Vae *vae, const ModelSource *source)
{
    char              groups[16];
    SafetensorsPair   pair = { "groups", groups };
    ModelFiles       *files = model_files_open(source);
    SafetensorsEntry *entry = calloc((size_t)vae->weights.slots + 1, sizeof *entry);
    int               count = 0, status = files && model_files_need(files, MODEL_VAE) == 0 ? 0 : -1;
    if (!entry) status = err("%s: out of memory for %d tensors", source->path, vae->weights.slots);
    for (int i = 0; i < vae->weights.slots && !status; i++) {
        const SafetensorsEntry *e = safetensors_find(files->part[MODEL_VAE], vae->weights.slot[i].name);
        if (!e) status = err("%s: %s: no such tensor", files->part[MODEL_VAE]->path, vae->weights.slot[i].name);
        else entry[count] = *e, entry[count].rank = 1, entry[count++].shape[0] = (int64_t)e->count;
    }
    snprintf(groups, sizeof groups, "%d", vae->config.groups);
    if (!status) status = safetensors_hash_range(hex, entry, count, &pair, 1, 0, UINT64_MAX);
    free(entry);
    model_files_close(files);
    return status;
}

int latent_cache_open(LatentCache *c, const char *dir, const Vae *vae, const ModelSource *source, const char *set)
{
    char hash[HASH_SIZE];
    *c = (LatentCache){ "", "" };
    if (!dir) return 0;
    if (path_join(c->dir, dir, "") || dir_make(dir) || hash_vae(hash, vae, source)) return -1;
    snprintf(c->origin, sizeof c->origin, "sdlora-latent-2 %s %s", set, hash);
    return 0;
}

int latent_cache_path(char path[PATH_SIZE], const LatentCache *c, const Image *picture)
{
    size_t pixels = (size_t)picture->w * (size_t)picture->h * 3, head = strlen(c->origin) + 32;
    char   key[HASH_SIZE], file[HASH_SIZE + 16], *all = malloc(head + pixels);
    if (!all) return err("%s: out of memory for a key", c->dir);
    size_t used = (size_t)snprintf(all, head, "%s %dx%d ", c->origin, picture->w, picture->h);
    memcpy(all + used, picture->rgb, pixels);
    hash_data(key, all, used + pixels);
    free(all);
    snprintf(file, sizeof file, "%.32s.safetensors", key);
    return path_join(path, c->dir, file);
}

int latent_cache_get(float *moments, int h, int w, int c2, const char *path)
{
    if (!is_file(path)) return 0;
    Safetensors            *file = safetensors_open(path);
    const SafetensorsEntry *e = file ? safetensors_find(file, "moments") : NULL;
    int                     fits = e && e->type == T_F32 && e->rank == 3 && e->shape[0] == h && e->shape[1] == w && e->shape[2] == c2;
    int                     found = fits && safetensors_read(file, e, T_F32, moments) == 0;
    if (file && !fits) err("%s: expected moments f32 (%d,%d,%d), found another", path, h, w, c2);
    if (!found) fprintf(stderr, "latent cache: %s; it is made again\n", err_text());
    safetensors_close(file);
    return found;
}

int latent_cache_put(const float *moments, int h, int w, int c2, const char *path)
{
    SafetensorsEntry e = { .name = "moments", .type = T_F32, .rank = 3, .shape = { h, w, c2 }, .data = moments };
    return safetensors_write(path, &e, 1, NULL, 0);
}
