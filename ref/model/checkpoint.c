#include "model/checkpoint.h"
#include "base/err.h"
#include "io/file.h"
#include "io/json.h"
#include <stdio.h>
#include <string.h>

/* A file of one part: path = folder/part/file. */
static int part_path(char path[PATH_SIZE], const char *folder, const char *part, const char *file)
{
    char inner[PATH_SIZE];
    return path_join(inner, folder, part) || path_join(path, inner, file) ? -1 : 0;
}

static int scheduler_config(SchedulerConfig *s, const char *path)
{
    Json *j = json_open(path);
    if (!j) return -1;
    *s = (SchedulerConfig){ json_double(j, "beta_start", 0.00085), json_double(j, "beta_end", 0.012), 1, json_int(j, "num_train_timesteps", 1000), 0,
                            json_int(j, "steps_offset", 1) };
    const char *betas = json_string(j, "beta_schedule", "scaled_linear"), *prediction = json_string(j, "prediction_type", "epsilon");
    s->scaled_linear = strcmp(betas, "scaled_linear") == 0;
    s->v_prediction = strcmp(prediction, "v_prediction") == 0;
    if (!s->scaled_linear && strcmp(betas, "linear")) json_fail(j, "beta_schedule", "expected scaled_linear or linear, found %s", betas);
    if (!s->v_prediction && strcmp(prediction, "epsilon")) json_fail(j, "prediction_type", "expected epsilon or v_prediction, found %s", prediction);
    return json_close(j);
}

/* Only our own models say native_size; the others were trained at sample_size latents, square. */
static int native_size(Checkpoint *m, const char *path)
{
    int   side = m->unet.config.sample * vae_factor(&m->vae.config), size[2] = { side, side }, step = checkpoint_step(m);
    Json *j = json_open(path);
    if (!j) return -1;
    int n = json_ints(j, "native_size", size, 2);
    if (n == 1 || size[0] < 1 || size[1] < 1 || size[0] % step || size[1] % step)
        json_fail(j, "native_size", "expected width and height, multiples of %d, found %d numbers, %dx%d", step, n, size[0], size[1]);
    m->native_w = size[0], m->native_h = size[1];
    return json_close(j);
}

/* The part's numbers, from NAME.safetensors or, where only that is there, NAME.fp16.safetensors. */
static int load(Weights *w, const char *folder, const char *part, const char *file, const char *optional)
{
    char path[PATH_SIZE], half[PATH_SIZE];
    if (part_path(path, folder, part, name("%s.safetensors", file).s) || part_path(half, folder, part, name("%s.fp16.safetensors", file).s)) return -1;
    if (!is_file(path) && is_file(half)) strcpy(path, half);
    Safetensors *s = safetensors_open(path);
    if (!s) return -1;
    int status = weights_load(w, s, optional);
    safetensors_close(s);
    return status;
}

static int describe_parts(Checkpoint *m, const char *folder, Set *set)
{
    char       text[PATH_SIZE], unet[PATH_SIZE], vae[PATH_SIZE], scheduler[PATH_SIZE], index[PATH_SIZE];
    ClipConfig clip_c;
    UnetConfig unet_c;
    VaeConfig  vae_c;
    if (part_path(text, folder, "text_encoder", "config.json") || part_path(unet, folder, "unet", "config.json") ||
        part_path(vae, folder, "vae", "config.json") || part_path(scheduler, folder, "scheduler", "scheduler_config.json") ||
        path_join(index, folder, "model_index.json") || path_join(m->tokenizer, folder, "tokenizer"))
        return -1;
    if (clip_config(&clip_c, text) || unet_config(&unet_c, unet) || vae_config(&vae_c, vae) || scheduler_config(&m->scheduler, scheduler)) return -1;
    if (unet_c.cross != clip_c.width) return err("%s: cross_attention_dim: expected the text encoder's width %d, found %d", unet, clip_c.width, unet_c.cross);
    if (unet_c.in != vae_c.latent) return err("%s: in_channels: expected the autoencoder's %d latent channels, found %d", unet, vae_c.latent, unet_c.in);
    if (clip_open(&m->clip, &clip_c, set) || unet_open(&m->unet, &unet_c, set) || vae_open(&m->vae, &vae_c, set) || native_size(m, index)) return -1;
    return 0;
}

static int load_parts(Checkpoint *m, const char *folder)
{
    return load(&m->clip.weights, folder, "text_encoder", "model", "text_model.") ||
                   load(&m->unet.weights, folder, "unet", "diffusion_pytorch_model", NULL) ||
                   load(&m->vae.weights, folder, "vae", "diffusion_pytorch_model", NULL)
               ? -1
               : 0;
}

static int open_folder(Checkpoint *m, const char *path, Set *set, int with_numbers)
{
    *m = (Checkpoint){ .native_w = 0 };
    if (is_file(path))
        return err("%s: expected the folder of a model in the diffusers layout (model_index.json, unet/, vae/, text_encoder/), found a file", path);
    if (!is_dir(path)) return err("%s: no such model folder (nothing is downloaded: a hub's name is not enough)", path);
    if (describe_parts(m, path, set) == 0 && (!with_numbers || load_parts(m, path) == 0)) return 0;
    checkpoint_close(m);
    return -1;
}

int checkpoint_open(Checkpoint *m, const char *path, Set *set) { return open_folder(m, path, set, 1); }
int checkpoint_describe(Checkpoint *m, const char *path, Set *set) { return open_folder(m, path, set, 0); }

void checkpoint_close(Checkpoint *m)
{
    clip_close(&m->clip);
    unet_close(&m->unet);
    vae_close(&m->vae);
}

int checkpoint_step(const Checkpoint *m) { return vae_factor(&m->vae.config) * unet_step(&m->unet.config); }
