/* Checkpoints: the tiny model loads; folders that are broken are refused, with file, key and what was expected; and the shapes of Stable Diffusion 1.5, whose
 * numbers of parameters, tensors and LoRA modules are facts of diffusers, transformers and kohya. */
#include "base/err.h"
#include "lora/lora.h"
#include "tmp.h"
#include <float.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>

/* ---- folders to break ---- */

static const char *const files[] = {
    "model_index.json", "scheduler/scheduler_config.json", "text_encoder/config.json", "text_encoder/model.safetensors",
    "unet/config.json", "unet/diffusion_pytorch_model.safetensors", "vae/config.json", "vae/diffusion_pytorch_model.safetensors",
};
enum { FILES = sizeof files / sizeof *files };

static void folder_of(char dir[PATH_SIZE], const char *path)
{
    snprintf(dir, PATH_SIZE, "%s", path);
    *strrchr(dir, '/') = 0;
}

static void put(const char *path, const char *text, size_t size)
{
    char dir[PATH_SIZE];
    folder_of(dir, path);
    if (dir_make(dir) || file_write(path, text, size)) fail_msg("%s", err_text());
}

static char *get(const char *path, size_t *size)
{
    char *text = file_read(path, 64 << 20, size);
    if (!text) fail_msg("%s", err_text());
    return text;
}

static const char *at(const char *file) { return tmp_path(name("model/%s", file).s); }

static void copy_model(void)
{
    for (int i = 0; i < FILES; i++) {
        size_t size;
        char  *text = get(name("golden/tiny-sd/%s", files[i]).s, &size);
        put(at(files[i]), text, size);
        free(text);
    }
}

static void restore(const char *file)
{
    size_t size;
    char  *text = get(name("golden/tiny-sd/%s", file).s, &size);
    put(at(file), text, size);
    free(text);
}

/* The first `from` in a text file of the copy becomes `to`. */
static void edit(const char *file, const char *from, const char *to)
{
    size_t size;
    char  *text = get(at(file), &size), *place = strstr(text, from), *changed = malloc(size + strlen(to) + 1);
    if (!place || !changed) fail_msg("%s: no %s", file, from);
    sprintf(changed, "%.*s%s%s", (int)(place - text), text, to, place + strlen(from));
    put(at(file), changed, strlen(changed));
    free(text);
    free(changed);
}

/* Opening the copy fails, with one line that begins with the path of `file` and contains `part`. */
static void expect_refusal(const char *file, const char *part)
{
    Checkpoint  m;
    const char *path = *file ? at(file) : tmp_path("model");
    if (checkpoint_open(&m, tmp_path("model"), set_open("ref")) != -1) fail_msg("opened; wanted \"%s\" of %s", part, file);
    if (strncmp(err_text(), path, strlen(path)) != 0 || !strstr(err_text(), part) || strchr(err_text(), '\n'))
        fail_msg("wanted %s: \"%s\" in: %s", path, part, err_text());
}

static void open_model(Checkpoint *m, const char *path)
{
    if (checkpoint_open(m, path, set_open("ref"))) fail_msg("%s", err_text());
}

static int start(void **state)
{
    if (tmp_open(state)) return -1;
    copy_model();
    return 0;
}

/* ---- loading ---- */

/* The numbers of the slot called `text` are the tensor's of the file: (o,i,k,k) as (o,k,k,i). */
static void expect_slot(const Weights *w, const char *file, const char *text)
{
    Safetensors            *s = safetensors_open(file);
    const SafetensorsEntry *e = s ? safetensors_find(s, text) : NULL;
    int                     k = 0;
    while (k < w->slots && strcmp(w->slot[k].name, text)) k++;
    if (!e || k == w->slots) fail_msg("%s: no %s", file, text);
    Tensor t = w->slot[k].dst;
    assert_int_equal(tensor_count(t), e->count);
    size_t plane = (size_t)t.h * (size_t)t.w, n = 0;
    float *want = malloc(e->count * sizeof *want);
    const uint8_t *got = t.p;                           /* contiguous: ref's memory is the host's */
    assert_non_null(want);
    assert_int_equal(safetensors_read(s, e, T_F32, want), 0);
    for (size_t o = 0; o < (size_t)t.n; o++)
        for (size_t i = 0; i < (size_t)t.c; i++)
            for (size_t p = 0; p < plane; p++, n++)
                if ((double)want[n] != type_get(t.type, got, (o * plane + p) * (size_t)t.c + i)) fail_msg("%s: element %zu", text, n);
    free(want);
    safetensors_close(s);
}

static void test_tiny(void **state)
{
    Checkpoint m;
    (void)state;
    open_model(&m, "golden/tiny-sd");
    assert_int_equal(m.unet.weights.count, 3221572);
    assert_int_equal(m.unet.weights.slots, 326);
    assert_int_equal(m.clip.weights.count, 496128);
    assert_int_equal(m.clip.weights.slots, 36);
    assert_int_equal(m.vae.weights.count, 954567);
    assert_int_equal(m.vae.weights.slots, 152);
    assert_true(m.native_w == 64 && m.native_h == 96 && checkpoint_step(&m) == 16);
    assert_true(m.scheduler.scaled_linear && !m.scheduler.v_prediction && m.scheduler.timesteps == 1000 && m.scheduler.steps_offset == 1);
    assert_true(m.scheduler.beta_start == 0.00085 && m.scheduler.beta_end == 0.012 && m.vae.config.scaling == 0.37314);
    assert_string_equal(m.tokenizer, "golden/tiny-sd/tokenizer");
    const char *unet = "golden/tiny-sd/unet/diffusion_pytorch_model.safetensors";
    expect_slot(&m.unet.weights, unet, "conv_in.weight");
    expect_slot(&m.unet.weights, unet, "down_blocks.1.resnets.0.conv1.weight");
    expect_slot(&m.unet.weights, unet, "mid_block.attentions.0.transformer_blocks.0.attn1.to_v.weight");        /* the last part of a fused layer */
    expect_slot(&m.unet.weights, unet, "mid_block.attentions.0.transformer_blocks.0.attn2.to_k.weight");
    expect_slot(&m.clip.weights, "golden/tiny-sd/text_encoder/model.safetensors", "text_model.embeddings.position_embedding.weight");
    expect_slot(&m.clip.weights, "golden/tiny-sd/text_encoder/model.safetensors", "text_model.encoder.layers.1.self_attn.k_proj.bias");
    expect_slot(&m.vae.weights, "golden/tiny-sd/vae/diffusion_pytorch_model.safetensors", "quant_conv.weight");
    checkpoint_close(&m);
}

/* ---- other names and shapes of the same tensors ---- */

typedef struct {
    SafetensorsEntry e[512];
    int              n;
} Edit;

static SafetensorsEntry *entry(Edit *f, const char *text)
{
    for (int i = 0; i < f->n; i++)
        if (strcmp(f->e[i].name, text) == 0) return &f->e[i];
    fail_msg("no %s", text);
    return NULL;
}

static void rewrite(const char *file, void (*change)(Edit *))
{
    static Edit  f;
    Safetensors *s = safetensors_open(name("golden/tiny-sd/%s", file).s);
    assert_non_null(s);
    assert_true(s->count <= 512);
    memcpy(f.e, s->entry, (size_t)s->count * sizeof *f.e);
    f.n = s->count;
    change(&f);
    if (safetensors_write(at(file), f.e, f.n, NULL, 0)) fail_msg("%s", err_text());
    safetensors_close(s);
}

static void without_prefix(Edit *f)                     /* as transformers 5 writes a text encoder */
{
    for (int i = 0; i < f->n; i++) {
        assert_int_equal(strncmp(f->e[i].name, "text_model.", 11), 0);
        f->e[i].name += 11;
    }
}

static void as_matrices(Edit *f)                        /* a 1x1 convolution as (o,i) */
{
    SafetensorsEntry *e = entry(f, "mid_block.attentions.0.proj_in.weight");
    assert_true(e->rank == 4 && e->shape[2] == 1);
    e->rank = 2;
}

static void test_other_forms(void **state)
{
    Checkpoint m, plain;
    (void)state;
    rewrite("text_encoder/model.safetensors", without_prefix);
    rewrite("unet/diffusion_pytorch_model.safetensors", as_matrices);
    open_model(&plain, "golden/tiny-sd");
    open_model(&m, tmp_path("model"));
    const Weights *a[] = { &m.clip.weights, &m.unet.weights }, *b[] = { &plain.clip.weights, &plain.unet.weights };
    for (int k = 0; k < 2; k++)
        for (int i = 0; i < a[k]->slots; i++) {
            Tensor x = a[k]->slot[i].dst, y = b[k]->slot[i].dst;
            assert_int_equal(x.type, y.type);
            assert_memory_equal(x.p, y.p, tensor_count(x) * type_size(x.type));
        }
    checkpoint_close(&m);
    checkpoint_close(&plain);
    restore("text_encoder/model.safetensors");
    restore("unet/diffusion_pytorch_model.safetensors");
}

/* ---- types ---- */

/* One tensor of each kind in another type. */
static void retype(Edit *f, const char *text, Type type)
{
    SafetensorsEntry *e = entry(f, text);
    void             *data = malloc(e->count * type_size(type));
    assert_non_null(data);
    type_convert(type, data, e->type, e->data, e->count);
    e->type = type, e->data = data;
}

static const char conv[] = "down_blocks.0.resnets.0.conv1.weight", linear[] = "mid_block.attentions.0.transformer_blocks.0.attn1.to_out.0.weight",
                  part_q[] = "mid_block.attentions.0.transformer_blocks.0.attn1.to_q.weight",
                  part_k[] = "mid_block.attentions.0.transformer_blocks.0.attn1.to_k.weight", bias[] = "conv_in.bias";
static void *retyped[4];

static void mixed(Edit *f)
{
    retype(f, conv, T_BF16), retype(f, linear, T_F64), retype(f, part_k, T_BF16), retype(f, bias, T_BF16);
    const char *const text[] = { conv, linear, part_k, bias };
    for (int i = 0; i < 4; i++) retyped[i] = (void *)entry(f, text[i])->data;
}

static Type slot_type(const Weights *w, const char *text)
{
    for (int i = 0; i < w->slots; i++)
        if (strcmp(w->slot[i].name, text) == 0) return w->slot[i].dst.type;
    fail_msg("no %s", text);
    return T_COUNT;
}

/* What the file has in f16 or bf16 stays so, where a layer's parts agree and it is no bias or norm; and a plan counts the same bytes. */
static void test_types(void **state)
{
    static const char unet[] = "unet/diffusion_pytorch_model.safetensors";
    Checkpoint m, plan;
    Set       *null = set_null(set_open("ref"));
    (void)state;
    rewrite(unet, mixed);
    open_model(&m, tmp_path("model"));
    Weights *w = &m.unet.weights;
    assert_int_equal(slot_type(w, "conv_out.weight"), T_F16);
    assert_int_equal(slot_type(&m.clip.weights, "text_model.embeddings.token_embedding.weight"), T_F16);
    assert_int_equal(slot_type(w, conv), T_BF16);
    assert_int_equal(slot_type(w, linear), T_F32);
    assert_int_equal(slot_type(w, part_q), T_F32);
    assert_int_equal(slot_type(w, part_k), T_F32);
    assert_int_equal(slot_type(w, bias), T_F32);
    assert_int_equal(slot_type(w, "conv_norm_out.weight"), T_F32);
    const char *const text[] = { conv, linear, part_q, part_k, bias, "mid_block.attentions.0.transformer_blocks.0.attn1.to_v.weight", "conv_in.weight" };
    for (size_t i = 0; i < sizeof text / sizeof *text; i++) expect_slot(w, at(unet), text[i]);
    if (checkpoint_describe(&plan, tmp_path("model"), null)) fail_msg("%s", err_text());
    size_t bytes = weights_bytes(w), all = w->count * 4;
    assert_int_equal(weights_bytes(&plan.unet.weights), bytes);
    assert_true(bytes > all / 2 && bytes < all);
    for (int i = 0; i < w->sites; i++) assert_int_equal(weights_widen(w, w->site[i].layer), 0);
    assert_int_equal(weights_bytes(w), all);
    for (size_t i = 0; i < sizeof text / sizeof *text; i++) expect_slot(w, at(unet), text[i]);
    checkpoint_close(&m);
    checkpoint_close(&plan);
    free(null);
    for (int i = 0; i < 4; i++) free(retyped[i]);
    restore(unet);
}

/* ---- refusals ---- */

static void drop_one(Edit *f) { *entry(f, "up_blocks.1.resnets.0.conv2.bias") = f->e[f->n - 1], f->n--; }
static void drop_text(Edit *f) { *entry(f, "text_model.final_layer_norm.weight") = f->e[f->n - 1], f->n--; }
static void narrow(Edit *f) { entry(f, "conv_in.weight")->shape[1]--; }
static void deep(Edit *f)
{
    SafetensorsEntry *e = entry(f, "conv_norm_out.weight");
    e->rank = 2, e->shape[1] = 1;
}
static void as_row(Edit *f)
{
    SafetensorsEntry *e = entry(f, "encoder.conv_in.weight");
    e->rank = 2, e->shape[1] *= 9;
}
static const int64_t integers[64];
static void longer(Edit *f)
{
    SafetensorsEntry *e = entry(f, "decoder.conv_out.bias");
    e->shape[0] = 4, e->data = integers;
}

static void test_bad_tensors(void **state)
{
    static const char unet[] = "unet/diffusion_pytorch_model.safetensors", text[] = "text_encoder/model.safetensors",
                      vae[] = "vae/diffusion_pytorch_model.safetensors";
    static const struct {
        const char *file;
        void (*change)(Edit *);
        const char *part;
    } bad[] = {
        { unet, drop_one, "up_blocks.1.resnets.0.conv2.bias: this tensor is missing" },
        { text, drop_text, "text_model.final_layer_norm.weight: this tensor is missing" },
        { unet, narrow, "conv_in.weight: expected shape (32,4,3,3), found (32,3,3,3)" },
        { unet, deep, "conv_norm_out.weight: expected shape (32), found (32,1)" },
        { vae, as_row, "encoder.conv_in.weight: expected shape (32,3,3,3), found (32,27)" },
        { vae, longer, "decoder.conv_out.bias: expected shape (3), found (4)" },
    };
    (void)state;
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        rewrite(bad[i].file, bad[i].change);
        expect_refusal(bad[i].file, bad[i].part);
        restore(bad[i].file);
    }
    put(at(unet), "cut short", 9);
    expect_refusal(unet, "");
    restore(unet);
}

static void test_bad_configs(void **state)
{
    static const char unet[] = "unet/config.json", text[] = "text_encoder/config.json", vae[] = "vae/config.json",
                      scheduler[] = "scheduler/scheduler_config.json", index[] = "model_index.json";
    static const struct {
        const char *file, *from, *to, *part;
    } bad[] = {
        { unet, "\"cross_attention_dim\"", "\"other\"", "cross_attention_dim" },
        { unet, "\"cross_attention_dim\": 128", "\"cross_attention_dim\": 96", "cross_attention_dim: expected the text encoder's width 128, found 96" },
        { unet, "\"in_channels\": 4", "\"in_channels\": 9", "in_channels: expected 4 latent channels" },
        { unet, "\"act_fn\": \"silu\"", "\"act_fn\": \"gelu\"", "act_fn: only silu is known" },
        { unet, "\"attention_head_dim\": 2", "\"attention_head_dim\": 3", "attention_head_dim: 32 channels cannot be divided among 3 heads" },
        { unet, "\"attention_head_dim\": 2", "\"attention_head_dim\": [2, 2]", "attention_head_dim: expected one number or 3, found 2" },
        { unet, "\"norm_num_groups\": 16", "\"norm_num_groups\": 5", "norm_num_groups" },
        { unet, "\"layers_per_block\": 1", "\"layers_per_block\": 0", "layers_per_block: expected a number from 1 to 4" },
        { unet, "\"CrossAttnDownBlock2D\"", "\"AttnDownBlock2D\"", "down_block_types: expected CrossAttnDownBlock2D or DownBlock2D, found AttnDownBlock2D" },
        { unet, "\"UpBlock2D\"", "\"CrossAttnUpBlock2D\"", "up_block_types: attention on the way up must mirror that on the way down" },
        { unet, "\"time_embedding_type\": \"positional\"", "\"time_embedding_type\": \"fourier\"", "time_embedding_type" },
        { unet, "\"freq_shift\": 0", "\"freq_shift\": 16", "freq_shift: expected less than half the channels of the first level" },
        { unet, "\"addition_embed_type\": null", "\"addition_embed_type\": \"text_time\"", "addition_embed_type" },
        { text, "\"hidden_size\"", "\"other\"", "hidden_size" },
        { text, "\"quick_gelu\"", "\"relu\"", "hidden_act: expected quick_gelu or gelu, found relu" },
        { text, "\"num_attention_heads\": 4", "\"num_attention_heads\": 5", "num_attention_heads: 128 channels cannot be divided among 5 heads" },
        { text, "\"num_attention_heads\": 4", "\"num_attention_heads\": 0", "num_attention_heads: expected a number from 1 to 65536, found 0" },
        { text, "\"vocab_size\": 699", "\"vocab_size\": -1", "vocab_size: expected a number from 1 to 16777216, found -1" },
        { text, "\"num_hidden_layers\": 2", "\"num_hidden_layers\": 2000", "num_hidden_layers: expected a number from 1 to 1024, found 2000" },
        { text, "\"hidden_size\": 128", "\"hidden_size\": \"wide\"", "hidden_size" },
        { vae, "\"latent_channels\": 4", "\"latent_channels\": 8", "in_channels: expected the autoencoder's 8 latent channels, found 4" },
        { vae, "\"shift_factor\": null", "\"shift_factor\": 0.1", "shift_factor: expected none" },
        { vae, "\"scaling_factor\": 0.37314", "\"scaling_factor\": 0", "scaling_factor: expected a positive number, found 0" },
        { vae, "\"norm_num_groups\": 16", "\"norm_num_groups\": 0", "norm_num_groups: 32 channels cannot be divided into 0 groups" },
        { vae, "\"norm_num_groups\": 16", "\"norm_num_groups\": 5", "norm_num_groups: 32 channels cannot be divided into 5 groups" },
        { scheduler, "\"scaled_linear\"", "\"cosine\"", "beta_schedule: expected scaled_linear or linear, found cosine" },
        { scheduler, "\"epsilon\"", "\"sample\"", "prediction_type: expected epsilon or v_prediction, found sample" },
        { index, "64,", "60,", "native_size: expected width and height, multiples of 16" },
        { index, "64,", "", "native_size: expected width and height" },
        { index, "64,", "-64,", "native_size: expected width and height" },
        { index, "{", "[", "" },
    };
    (void)state;
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        const char *reporter = strstr(bad[i].part, "autoencoder's") ? unet : bad[i].file;          /* two files that contradict each other */
        edit(bad[i].file, bad[i].from, bad[i].to);
        expect_refusal(reporter, bad[i].part);
        restore(bad[i].file);
    }
}

static void test_bad_folders(void **state)
{
    Checkpoint m;
    (void)state;
    for (int i = 0; i < FILES; i++) {
        unlink(at(files[i]));
        expect_refusal(files[i], strstr(files[i], ".json") ? "No such file" : " are missing: expected this file, its .fp16. form");
        restore(files[i]);
    }
    assert_int_equal(checkpoint_open(&m, "golden/none", set_open("ref")), -1);
    assert_string_equal(err_text(), "golden/none: no such model, neither a folder nor a file (nothing is downloaded: a hub's name is not enough)");
    assert_int_equal(checkpoint_open(&m, "golden/tiny-sd/model_index.json", set_open("ref")), -1);
    assert_non_null(strstr(err_text(), "golden/tiny-sd/model_index.json: "));
    open_model(&m, tmp_path("model"));                  /* the copy itself is sound */
    checkpoint_close(&m);
}

/* ---- Stable Diffusion 1.5 and 2.1 ---- */

/* Only described: memory is reserved, no page of it touched. The text encoder of 2.1 is counted as diffusers stores it: 23 layers. */
static void test_builtin(void **state)
{
    static const struct {
        const char *name;
        size_t      unet, text;
        int         text_slots, v, side, pad, modules, modules_unet, modules_conv;
    } want[] = {
        { "sd15", 859520964, 123060480, 196, 0, 512, 49407, 264, 192, 350 },
        { "sd21-base", 865910724, 340387840, 372, 0, 512, 0, 330, 192, 416 },
        { "sd21", 865910724, 340387840, 372, 1, 768, 0, 330, 192, 416 },
    };
    Set *set = set_open("ref");
    (void)state;
    for (size_t i = 0; i < sizeof want / sizeof *want; i++) {
        LoraRules  rules[] = { { .dim = 16, .alpha = 16, .unet = 1, .text = 1 }, { .dim = 16, .alpha = 16, .unet = 1 },
                               { .dim = 16, .alpha = 16, .conv_dim = 8, .conv_alpha = 8, .unet = 1, .text = 1 } };
        int        modules[] = { want[i].modules, want[i].modules_unet, want[i].modules_conv };
        Checkpoint m;
        Lora       lora;
        if (checkpoint_describe(&m, want[i].name, set)) fail_msg("%s", err_text());
        assert_int_equal(m.unet.weights.count, want[i].unet);
        assert_int_equal(m.unet.weights.slots, 686);
        assert_int_equal(m.clip.weights.count, want[i].text);
        assert_int_equal(m.clip.weights.slots, want[i].text_slots);
        assert_int_equal(m.vae.weights.count, 83653863);
        assert_int_equal(m.vae.weights.slots, 248);
        assert_true(weights_bytes(&m.unet.weights) > 2 * m.unet.weights.count && weights_bytes(&m.unet.weights) < 2.01 * (double)m.unet.weights.count);
        assert_true(checkpoint_step(&m) == 64 && m.vae.config.scaling == 0.18215 && vae_factor(&m.vae.config) == 8 && m.unet.config.time == 1280);
        assert_true(m.scheduler.v_prediction == want[i].v && m.native_w == want[i].side && m.native_h == want[i].side && m.pad == want[i].pad);
        assert_true(m.unet.config.sample * 8 == want[i].side && m.tokenizer[0] == 0);
        for (int k = 0; k < 3; k++) {
            if (lora_attach(&lora, &m, &rules[k])) fail_msg("%s", err_text());
            assert_int_equal(lora.modules, modules[k]);
            lora_detach(&lora);
        }
        checkpoint_close(&m);
        assert_string_equal(model_config_name(model_config_named(want[i].name)), want[i].name);
    }
    assert_null(model_config_named("sdxl"));
    Checkpoint m;
    assert_int_equal(checkpoint_describe(&m, "sdxl", set), -1);
}

/* As diffusers' get_timestep_embedding: cosines, sines, and, where the number of channels is odd, a 0. An angle of up to t is off by a few of its units. */
static void test_time(void **state)
{
    const double     t = 3, want[] = { cos(t), cos(t / 100), sin(t), sin(t / 100), 0 };
    const UnetConfig c = { .channels = { 5 }, .flip_sin_to_cos = 1 };
    double           got[] = { NAN, NAN, NAN, NAN, NAN };
    (void)state;
    unet_time(&c, t, got);
    for (int k = 0; k < 5; k++)
        if (!(fabs(got[k] - want[k]) <= 8 * t * DBL_EPSILON)) fail_msg("channel %d: %.17g, expected %.17g", k, got[k], want[k]);
}

/* The numbers that no shape tells: as in the configuration files that diffusers and transformers publish for 1.5, of which these are the relevant lines. */
static void test_builtin_as_folder(void **state)
{
    static const char unet[] = "{\"in_channels\": 4, \"out_channels\": 4, \"sample_size\": 64, \"layers_per_block\": 2, \"cross_attention_dim\": 768,"
                               "\"attention_head_dim\": 8, \"norm_num_groups\": 32, \"block_out_channels\": [320, 640, 1280, 1280], \"down_block_types\": "
                               "[\"CrossAttnDownBlock2D\", \"CrossAttnDownBlock2D\", \"CrossAttnDownBlock2D\", \"DownBlock2D\"], \"up_block_types\": "
                               "[\"UpBlock2D\", \"CrossAttnUpBlock2D\", \"CrossAttnUpBlock2D\", \"CrossAttnUpBlock2D\"]}";
    static const char text[] = "{\"vocab_size\": 49408, \"hidden_size\": 768, \"num_hidden_layers\": 12, \"num_attention_heads\": 12,"
                               "\"intermediate_size\": 3072, \"max_position_embeddings\": 77, \"hidden_act\": \"quick_gelu\"}";
    static const char vae[] = "{\"block_out_channels\": [128, 256, 512, 512], \"layers_per_block\": 2, \"latent_channels\": 4, \"norm_num_groups\": 32}";
    ModelConfig c;
    (void)state;
    put(tmp_path("sd15/unet/config.json"), unet, sizeof unet - 1);
    put(tmp_path("sd15/text_encoder/config.json"), text, sizeof text - 1);
    put(tmp_path("sd15/vae/config.json"), vae, sizeof vae - 1);
    put(tmp_path("sd15/scheduler/scheduler_config.json"), "{}", 2);
    put(tmp_path("sd15/model_index.json"), "{}", 2);
    if (model_config_read(&c, tmp_path("sd15"))) fail_msg("%s", err_text());
    const ModelConfig *b = model_config_named("sd15");
    assert_memory_equal(&c.clip, &b->clip, sizeof c.clip);
    assert_memory_equal(c.unet.heads, b->unet.heads, 4 * sizeof *c.unet.heads);
    assert_true(c.unet.eps == b->unet.eps && c.unet.groups == b->unet.groups && c.unet.time == b->unet.time && c.unet.sample == b->unet.sample);
    assert_true(c.native_w == b->native_w && c.native_h == b->native_h && c.scheduler.beta_end == b->scheduler.beta_end && c.pad == -1);
    assert_string_equal(model_config_name(&c), "sd15");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_tiny),        cmocka_unit_test(test_other_forms), cmocka_unit_test(test_types),   cmocka_unit_test(test_bad_tensors),
        cmocka_unit_test(test_bad_configs), cmocka_unit_test(test_bad_folders), cmocka_unit_test(test_builtin),
        cmocka_unit_test(test_time),        cmocka_unit_test(test_builtin_as_folder),
    };
    return cmocka_run_group_tests(tests, start, tmp_close);
}
