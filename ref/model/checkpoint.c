#include "model/checkpoint.h"
#include "base/err.h"
#include "io/file.h"
#include <string.h>

/* The part's numbers, from NAME.safetensors or, where only that is there, NAME.fp16.safetensors; with_numbers 0: their types, where a file is there. */
static int load(Weights *w, const char *folder, const char *stem, const char *optional, int with_numbers)
{
    char path[PATH_SIZE], half[PATH_SIZE];
    if (path_join(path, folder, name("%s.safetensors", stem).s) || path_join(half, folder, name("%s.fp16.safetensors", stem).s)) return -1;
    if (!is_file(path) && is_file(half)) strcpy(path, half);
    if (!with_numbers && !is_file(path)) return 0;
    Safetensors *s = safetensors_open(path);
    if (!s) return -1;
    int status = 0;
    if (with_numbers) status = weights_load(w, s, optional);
    else weights_types(w, s, optional);
    safetensors_close(s);
    return status;
}

static int load_parts(Checkpoint *m, const char *folder, int with_numbers)
{
    return load(&m->clip.weights, folder, "text_encoder/model", "text_model.", with_numbers) ||
                   load(&m->unet.weights, folder, "unet/diffusion_pytorch_model", NULL, with_numbers) ||
                   load(&m->vae.weights, folder, "vae/diffusion_pytorch_model", NULL, with_numbers)
               ? -1
               : 0;
}

int checkpoint_describe_config(Checkpoint *m, const ModelConfig *c, Set *set)
{
    *m = (Checkpoint){ .scheduler = c->scheduler, .native_w = c->native_w, .native_h = c->native_h, .pad = c->pad };
    if (!clip_open(&m->clip, &c->clip, set) && !unet_open(&m->unet, &c->unet, set) && !vae_open(&m->vae, &c->vae, set)) return 0;
    checkpoint_close(m);
    return -1;
}

static int open_folder(Checkpoint *m, const char *path, Set *set, int with_numbers)
{
    ModelConfig config;
    if (is_file(path))
        return err("%s: expected the folder of a model in the diffusers layout (model_index.json, unet/, vae/, text_encoder/), found a file", path);
    if (!is_dir(path)) return err("%s: no such model folder (nothing is downloaded: a hub's name is not enough)", path);
    if (model_config_read(&config, path) || checkpoint_describe_config(m, &config, set)) return -1;
    if (path_join(m->tokenizer, path, "tokenizer") == 0 && load_parts(m, path, with_numbers) == 0) return 0;
    checkpoint_close(m);
    return -1;
}

int checkpoint_open(Checkpoint *m, const char *path, Set *set) { return open_folder(m, path, set, 1); }

/* A built-in model is one that people have in f16. */
static int describe_named(Checkpoint *m, const ModelConfig *c, Set *set)
{
    if (checkpoint_describe_config(m, c, set)) return -1;
    weights_assume(&m->clip.weights, T_F16), weights_assume(&m->unet.weights, T_F16), weights_assume(&m->vae.weights, T_F16);
    return 0;
}

int checkpoint_describe(Checkpoint *m, const char *path, Set *set)
{
    const ModelConfig *named = is_dir(path) ? NULL : model_config_named(path);
    return named ? describe_named(m, named, set) : open_folder(m, path, set, 0);
}

void checkpoint_close(Checkpoint *m)
{
    clip_close(&m->clip);
    unet_close(&m->unet);
    vae_close(&m->vae);
}

int checkpoint_step(const Checkpoint *m) { return vae_factor(&m->vae.config) * unet_step(&m->unet.config); }
