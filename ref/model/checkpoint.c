#include "model/checkpoint.h"
#include "base/err.h"
#include "io/file.h"
#include <string.h>

/* The part's numbers, from NAME.safetensors or, where only that is there, NAME.fp16.safetensors. */
static int load(Weights *w, const char *folder, const char *stem, const char *optional)
{
    char path[PATH_SIZE], half[PATH_SIZE];
    if (path_join(path, folder, name("%s.safetensors", stem).s) || path_join(half, folder, name("%s.fp16.safetensors", stem).s)) return -1;
    if (!is_file(path) && is_file(half)) strcpy(path, half);
    Safetensors *s = safetensors_open(path);
    if (!s) return -1;
    int status = weights_load(w, s, optional);
    safetensors_close(s);
    return status;
}

static int load_parts(Checkpoint *m, const char *folder)
{
    return load(&m->clip.weights, folder, "text_encoder/model", "text_model.") || load(&m->unet.weights, folder, "unet/diffusion_pytorch_model", NULL) ||
                   load(&m->vae.weights, folder, "vae/diffusion_pytorch_model", NULL)
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

static int describe_folder(Checkpoint *m, const char *path, Set *set)
{
    ModelConfig config;
    if (is_file(path))
        return err("%s: expected the folder of a model in the diffusers layout (model_index.json, unet/, vae/, text_encoder/), found a file", path);
    if (!is_dir(path)) return err("%s: no such model folder (nothing is downloaded: a hub's name is not enough)", path);
    if (model_config_read(&config, path) || checkpoint_describe_config(m, &config, set)) return -1;
    return path_join(m->tokenizer, path, "tokenizer");
}

int checkpoint_open(Checkpoint *m, const char *path, Set *set)
{
    if (describe_folder(m, path, set)) return -1;
    if (load_parts(m, path) == 0) return 0;
    checkpoint_close(m);
    return -1;
}

int checkpoint_describe(Checkpoint *m, const char *path, Set *set)
{
    const ModelConfig *named = is_dir(path) ? NULL : model_config_named(path);
    return named ? checkpoint_describe_config(m, named, set) : describe_folder(m, path, set);
}

void checkpoint_close(Checkpoint *m)
{
    clip_close(&m->clip);
    unet_close(&m->unet);
    vae_close(&m->vae);
}

int checkpoint_step(const Checkpoint *m) { return vae_factor(&m->vae.config) * unet_step(&m->unet.config); }
