#include "data/latent_cache.h"
#include "base/err.h"
#include "io/safetensors.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int hash_part(char hex[HASH_SIZE], const char *model, const char *file)
{
    char vae[PATH_SIZE], path[PATH_SIZE];
    return path_join(vae, model, "vae") || path_join(path, vae, file) || hash_file(hex, path) ? -1 : 0;
}

int latent_cache_open(LatentCache *c, const char *dir, const char *model, const char *set)
{
    char numbers[HASH_SIZE], config[HASH_SIZE];
    *c = (LatentCache){ "", "" };
    if (!dir) return 0;
    if (path_join(c->dir, dir, "") || dir_make(dir) || hash_part(config, model, "config.json")) return -1;
    if (hash_part(numbers, model, "diffusion_pytorch_model.safetensors") && hash_part(numbers, model, "diffusion_pytorch_model.fp16.safetensors")) return -1;
    snprintf(c->origin, sizeof c->origin, "sdlora-latent-1 %s %s %s", set, config, numbers);
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
