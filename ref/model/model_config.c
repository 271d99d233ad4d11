#include "model/model_config.h"
#include "base/err.h"
#include "io/file.h"
#include "io/json.h"
#include <string.h>

/* ---- built in ---- */

#define VAE_KL_F8                                                                                                                                              \
    {                                                                                                                                                          \
        .levels = 4, .layers = 2, .latent = 4, .groups = 32, .channels = { 128, 256, 512, 512 }, .attention = 1, .quant = 1, .post_quant = 1,                  \
        .scaling = 0.18215                                                                                                                                     \
    }
#define UNET(width, linear, side, ...)                                                                                                                         \
    {                                                                                                                                                          \
        .in = 4, .out = 4, .levels = 4, .layers = 2, .cross = width, .groups = 32, .time = 1280, .channels = { 320, 640, 1280, 1280 }, .heads = __VA_ARGS__,   \
        .attention = { 1, 1, 1, 0 }, .eps = 1e-5, .linear_projection = linear, .flip_sin_to_cos = 1, .freq_shift = 0, .sample = (side) / 8                     \
    }
#define SCHEDULER(v) { .beta_start = 0.00085, .beta_end = 0.012, .scaled_linear = 1, .timesteps = 1000, .v_prediction = v, .steps_offset = 1 }

/* CLIP ViT-L/14, all its layers. OpenCLIP ViT-H/14 less the last of its 24; it was trained on prompts filled up with token 0. */
#define CLIP_L { .vocab = 49408, .width = 768, .layers = 12, .heads = 12, .hidden = 3072, .length = 77, .act = ACT_QUICK_GELU, .eps = 1e-5 }
#define CLIP_H { .vocab = 49408, .width = 1024, .layers = 23, .heads = 16, .hidden = 4096, .length = 77, .act = ACT_GELU, .eps = 1e-5 }

#define SD1 { CLIP_L, UNET(768, 0, 512, { 8, 8, 8, 8 }), VAE_KL_F8, SCHEDULER(0), 512, 512, -1 }
#define SD2(v, side) { CLIP_H, UNET(1024, 1, side, { 5, 10, 20, 20 }), VAE_KL_F8, SCHEDULER(v), side, side, 0 }

static const struct {
    const char *name;
    ModelConfig config;
} builtin[] = { { "sd15", SD1 }, { "sd21-base", SD2(0, 512) }, { "sd21", SD2(1, 768) }, { "sd20-base", SD2(0, 512) }, { "sd20", SD2(1, 768) } };
enum { BUILTINS = sizeof builtin / sizeof *builtin };

const ModelConfig *model_config_named(const char *name)
{
    for (int i = 0; i < BUILTINS; i++)
        if (strcmp(builtin[i].name, name) == 0) return &builtin[i].config;
    return NULL;
}

static int same_unet(const UnetConfig *a, const UnetConfig *b)
{
    return a->in == b->in && a->out == b->out && a->levels == b->levels && a->layers == b->layers && a->cross == b->cross &&
           a->linear_projection == b->linear_projection && !memcmp(a->channels, b->channels, sizeof a->channels) &&
           !memcmp(a->heads, b->heads, (size_t)a->levels * sizeof *a->heads) && !memcmp(a->attention, b->attention, sizeof a->attention);
}

const char *model_config_name(const ModelConfig *c)
{
    for (int i = 0; i < BUILTINS; i++) {
        const ModelConfig *b = &builtin[i].config;
        if (same_unet(&c->unet, &b->unet) && c->clip.layers == b->clip.layers && c->clip.width == b->clip.width && c->clip.act == b->clip.act &&
            c->scheduler.v_prediction == b->scheduler.v_prediction)
            return builtin[i].name;
    }
    return NULL;
}

/* ---- from a folder ---- */

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
static int native_size(ModelConfig *c, const char *path)
{
    int   side = c->unet.sample * vae_factor(&c->vae), size[2] = { side, side }, step = model_config_step(c);
    Json *j = json_open(path);
    if (!j) return -1;
    int n = json_ints(j, "native_size", size, 2);
    if (n == 1 || size[0] < 1 || size[1] < 1 || size[0] % step || size[1] % step)
        json_fail(j, "native_size", "expected width and height, multiples of %d, found %d numbers, %dx%d", step, n, size[0], size[1]);
    c->native_w = size[0], c->native_h = size[1];
    return json_close(j);
}

int model_config_read(ModelConfig *c, const char *folder)
{
    char text[PATH_SIZE], unet[PATH_SIZE], vae[PATH_SIZE], scheduler[PATH_SIZE], index[PATH_SIZE];
    *c = (ModelConfig){ .pad = -1 };
    if (path_join(text, folder, "text_encoder/config.json") || path_join(unet, folder, "unet/config.json") || path_join(vae, folder, "vae/config.json") ||
        path_join(scheduler, folder, "scheduler/scheduler_config.json") || path_join(index, folder, "model_index.json"))
        return -1;
    if (clip_config(&c->clip, text) || unet_config(&c->unet, unet) || vae_config(&c->vae, vae) || scheduler_config(&c->scheduler, scheduler)) return -1;
    if (c->unet.cross != c->clip.width)
        return err("%s: cross_attention_dim: expected the text encoder's width %d, found %d", unet, c->clip.width, c->unet.cross);
    if (c->unet.in != c->vae.latent) return err("%s: in_channels: expected the autoencoder's %d latent channels, found %d", unet, c->vae.latent, c->unet.in);
    return native_size(c, index);
}

int model_config_step(const ModelConfig *c) { return vae_factor(&c->vae) * unet_step(&c->unet); }
