#include "model/model_config.h"
#include "base/err.h"
#include "base/text.h"
#include "io/file.h"
#include "io/json.h"
#include "model/foreign.h"
#include <stdio.h>
#include <stdlib.h>
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

/* CLIP ViT-L/14, all its layers; prompts are filled up with the token that ends them. OpenCLIP ViT-H/14 less the last of its 24, and token 0. */
#define CLIP_L { .vocab = 49408, .width = 768, .layers = 12, .heads = 12, .hidden = 3072, .length = 77, .act = ACT_QUICK_GELU, .eps = 1e-5 }
#define CLIP_H { .vocab = 49408, .width = 1024, .layers = 23, .heads = 16, .hidden = 4096, .length = 77, .act = ACT_GELU, .eps = 1e-5 }

#define SD1 { CLIP_L, UNET(768, 0, 512, { 8, 8, 8, 8 }), VAE_KL_F8, SCHEDULER(0), 512, 512, 49407 }
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

/* ---- from files ---- */

const char *const config_files[CONFIGS] = { "model_index.json", "scheduler/scheduler_config.json", "text_encoder/config.json", "unet/config.json",
                                            "vae/config.json" };

static int scheduler_config(SchedulerConfig *s, Json *j)
{
    *s = (SchedulerConfig){ json_double(j, "beta_start", 0.00085), json_double(j, "beta_end", 0.012), 1, json_int(j, "num_train_timesteps", 1000), 0,
                            json_int(j, "steps_offset", 1) };
    const char *betas = json_string(j, "beta_schedule", "scaled_linear"), *prediction = json_string(j, "prediction_type", "epsilon");
    s->scaled_linear = strcmp(betas, "scaled_linear") == 0;
    s->v_prediction = strcmp(prediction, "v_prediction") == 0;
    if (!s->scaled_linear && strcmp(betas, "linear")) json_fail(j, "beta_schedule", "expected scaled_linear or linear, found %s", betas);
    if (!s->v_prediction && strcmp(prediction, "epsilon")) json_fail(j, "prediction_type", "expected epsilon or v_prediction, found %s", prediction);
    return json_close(j);
}

static int check_pipeline(Json *j)
{
    const char *what = foreign_pipeline(json_string(j, "_class_name", ""));
    if (what) json_fail(j, "_class_name", "this is %s; sdlora knows the models of Stable Diffusion 1.x and 2.x", what);
    return json_close(j);
}

/* Only our own models say native_size; the others were trained at sample_size latents, square. */
static int native_size(ModelConfig *c, Json *j)
{
    int side = c->unet.sample * vae_factor(&c->vae), size[2] = { side, side }, step = vae_factor(&c->vae) * unet_step(&c->unet);
    int n = json_ints(j, "native_size", size, 2);
    if (n == 1 || size[0] < 1 || size[1] < 1 || size[0] % step || size[1] % step)
        json_fail(j, "native_size", "expected width and height, multiples of %d, found %d numbers, %dx%d", step, n, size[0], size[1]);
    c->native_w = size[0], c->native_h = size[1];
    return json_close(j);
}

int model_config_check(const ModelConfig *c, const char *where)
{
    if (c->unet.cross != c->clip.width)
        return err("%s: cross_attention_dim: expected the text encoder's width %d, found %d", where, c->clip.width, c->unet.cross);
    if (c->unet.in != c->vae.latent) return err("%s: in_channels: expected the autoencoder's %d latent channels, found %d", where, c->vae.latent, c->unet.in);
    return 0;
}

/* Where the texts come from: a folder, or what another file holds. */
typedef struct {
    const char        *folder;
    const char *const *text;
} ConfigTexts;

static Json *open_config(const ConfigTexts *from, ConfigFile file, char path[PATH_SIZE])
{
    if (path_join(path, from->folder, config_files[file])) return NULL;
    if (!from->text && file == CONFIG_INDEX && !is_file(path))
        return err("%s: No such file: this is not a model's folder in diffusers' layout; of a model that is one file, give the file", path), NULL;
    return from->text ? json_parse(from->text[file], path) : json_open(path);
}

static int read_all(ModelConfig *c, const ConfigTexts *from)
{
    char  path[PATH_SIZE];
    Json *j;
    *c = (ModelConfig){ .pad = -1 };
    if (!(j = open_config(from, CONFIG_INDEX, path)) || check_pipeline(j)) return -1;
    if (!(j = open_config(from, CONFIG_SCHEDULER, path)) || scheduler_config(&c->scheduler, j)) return -1;
    if (!(j = open_config(from, CONFIG_TEXT, path)) || clip_config(&c->clip, j)) return -1;
    if (!(j = open_config(from, CONFIG_VAE, path)) || vae_config(&c->vae, j)) return -1;
    if (!(j = open_config(from, CONFIG_UNET, path)) || unet_config(&c->unet, j) || model_config_check(c, path)) return -1;
    if (!(j = open_config(from, CONFIG_INDEX, path)) || native_size(c, j)) return -1;
    return 0;
}

int model_config_read(ModelConfig *c, const char *folder) { return read_all(c, &(ConfigTexts){ folder, NULL }); }
int model_config_parse(ModelConfig *c, const char *const text[CONFIGS], const char *path) { return read_all(c, &(ConfigTexts){ path, text }); }

/* ---- as files ---- */

static void put_ints(FILE *f, const char *key, const int *value, int n)
{
    fprintf(f, "  \"%s\": [", key);
    for (int i = 0; i < n; i++) fprintf(f, "%s%d", i ? ", " : "", value[i]);
    fprintf(f, "],\n");
}

/* A name a level, from fine to coarse or the other way. */
static void put_blocks(FILE *f, const char *key, const int *attention, int levels, int reversed, const char *with, const char *without)
{
    fprintf(f, "  \"%s\": [", key);
    for (int i = 0; i < levels; i++) fprintf(f, "%s\"%s\"", i ? ", " : "", !attention || attention[reversed ? levels - 1 - i : i] ? with : without);
    fprintf(f, "],\n");
}

static const char *truth(int value) { return value ? "true" : "false"; }

static void put_unet(FILE *f, const UnetConfig *c)
{
    fprintf(f, "{\n  \"_class_name\": \"UNet2DConditionModel\",\n  \"act_fn\": \"silu\",\n");
    put_ints(f, "attention_head_dim", c->heads, c->levels);
    put_ints(f, "block_out_channels", c->channels, c->levels);
    put_blocks(f, "down_block_types", c->attention, c->levels, 0, "CrossAttnDownBlock2D", "DownBlock2D");
    put_blocks(f, "up_block_types", c->attention, c->levels, 1, "CrossAttnUpBlock2D", "UpBlock2D");
    fprintf(f, "  \"center_input_sample\": false,\n  \"cross_attention_dim\": %d,\n  \"downsample_padding\": 1,\n  \"flip_sin_to_cos\": %s,\n", c->cross,
            truth(c->flip_sin_to_cos));
    fprintf(f, "  \"freq_shift\": %g,\n  \"in_channels\": %d,\n  \"layers_per_block\": %d,\n", c->freq_shift, c->in, c->layers);
    fprintf(f, "  \"mid_block_scale_factor\": 1,\n  \"norm_eps\": %.17g,\n  \"norm_num_groups\": %d,\n  \"out_channels\": %d,\n", c->eps, c->groups, c->out);
    fprintf(f, "  \"sample_size\": %d,\n  \"use_linear_projection\": %s\n}\n", c->sample, truth(c->linear_projection));
}

static void put_vae(FILE *f, const VaeConfig *c)
{
    fprintf(f, "{\n  \"_class_name\": \"AutoencoderKL\",\n  \"act_fn\": \"silu\",\n");
    put_ints(f, "block_out_channels", c->channels, c->levels);
    put_blocks(f, "down_block_types", NULL, c->levels, 0, "DownEncoderBlock2D", "");
    put_blocks(f, "up_block_types", NULL, c->levels, 0, "UpDecoderBlock2D", "");
    fprintf(f, "  \"in_channels\": 3,\n  \"latent_channels\": %d,\n  \"layers_per_block\": %d,\n  \"mid_block_add_attention\": %s,\n", c->latent, c->layers,
            truth(c->attention));
    fprintf(f, "  \"norm_num_groups\": %d,\n  \"out_channels\": 3,\n  \"scaling_factor\": %.17g,\n", c->groups, c->scaling);
    fprintf(f, "  \"use_post_quant_conv\": %s,\n  \"use_quant_conv\": %s\n}\n", truth(c->post_quant), truth(c->quant));
}

static void put_text(FILE *f, const ClipConfig *c)
{
    fprintf(f, "{\n  \"architectures\": [\"CLIPTextModel\"],\n  \"attention_dropout\": 0.0,\n  \"bos_token_id\": %d,\n  \"eos_token_id\": %d,\n", c->vocab - 2,
            c->vocab - 1);
    fprintf(f, "  \"hidden_act\": \"%s\",\n  \"hidden_size\": %d,\n  \"intermediate_size\": %d,\n  \"layer_norm_eps\": %.17g,\n",
            c->act == ACT_GELU ? "gelu" : "quick_gelu", c->width, c->hidden, c->eps);
    fprintf(f, "  \"max_position_embeddings\": %d,\n  \"model_type\": \"clip_text_model\",\n  \"num_attention_heads\": %d,\n  \"num_hidden_layers\": %d,\n",
            c->length, c->heads, c->layers);
    fprintf(f, "  \"projection_dim\": %d,\n  \"vocab_size\": %d\n}\n", c->width, c->vocab);
}

static void put_scheduler(FILE *f, const SchedulerConfig *c)
{
    fprintf(f, "{\n  \"_class_name\": \"DDIMScheduler\",\n  \"beta_end\": %.17g,\n  \"beta_schedule\": \"%s\",\n  \"beta_start\": %.17g,\n", c->beta_end,
            c->scaled_linear ? "scaled_linear" : "linear", c->beta_start);
    fprintf(f, "  \"clip_sample\": false,\n  \"num_train_timesteps\": %d,\n  \"prediction_type\": \"%s\",\n  \"set_alpha_to_one\": false,\n", c->timesteps,
            c->v_prediction ? "v_prediction" : "epsilon");
    fprintf(f, "  \"steps_offset\": %d\n}\n", c->steps_offset);
}

static void put_index(FILE *f, const ModelConfig *c)
{
    int side = c->unet.sample * vae_factor(&c->vae);
    fprintf(f, "{\n  \"_class_name\": \"StableDiffusionPipeline\",\n");
    if (c->native_w != side || c->native_h != side) fprintf(f, "  \"native_size\": [%d, %d],\n", c->native_w, c->native_h);
    fprintf(f, "  \"feature_extractor\": [null, null],\n  \"requires_safety_checker\": false,\n  \"safety_checker\": [null, null],\n");
    fprintf(f, "  \"scheduler\": [\"diffusers\", \"DDIMScheduler\"],\n  \"text_encoder\": [\"transformers\", \"CLIPTextModel\"],\n");
    fprintf(f, "  \"tokenizer\": [\"transformers\", \"CLIPTokenizer\"],\n  \"unet\": [\"diffusers\", \"UNet2DConditionModel\"],\n");
    fprintf(f, "  \"vae\": [\"diffusers\", \"AutoencoderKL\"]\n}\n");
}

char *model_config_text(const ModelConfig *c, ConfigFile file)
{
    Text  text;
    FILE *f = text_open(&text);
    if (!f) return err("no memory for %s", config_files[file]), text_close(&text);
    switch (file) {
    case CONFIG_INDEX: put_index(f, c); break;
    case CONFIG_SCHEDULER: put_scheduler(f, &c->scheduler); break;
    case CONFIG_TEXT: put_text(f, &c->clip); break;
    case CONFIG_UNET: put_unet(f, &c->unet); break;
    default: put_vae(f, &c->vae); break;
    }
    if (!text_close(&text)) err("no memory for %s", config_files[file]);
    return text.s;
}
