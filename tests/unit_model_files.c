/* Layouts: a single file made of a folder's tensors under the names that diffusers' converters know (golden/ldm) is the same model; and so is whatever is
 * written of it, in either layout. Models that are something else are refused by name. */
#include "base/err.h"
#include "diffusion/pipeline.h"
#include "tmp.h"
#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>

enum { MOST = 2048 };

static const char *const part_file[MODEL_PARTS] = { "text_encoder/model.safetensors", "unet/diffusion_pytorch_model.safetensors",
                                                    "vae/diffusion_pytorch_model.safetensors" };
static const char *const part_dir[MODEL_PARTS] = { "text_encoder/", "unet/", "vae/" };

/* ---- a single file, by the golden list ---- */

typedef struct {
    SafetensorsEntry e[MOST];
    int              n;
    Safetensors     *file[MODEL_PARTS];
    char            *config[CONFIGS];
    SafetensorsPair  pair[CONFIGS];
    void            *made[MOST];
    int              mades;
} Single;

static const SafetensorsEntry *find_part(Single *s, const char *where)
{
    char text[256];
    for (int p = 0; p < MODEL_PARTS; p++) {
        size_t n = strlen(part_dir[p]);
        if (strncmp(where, part_dir[p], n)) continue;
        snprintf(text, sizeof text, "%.*s", (int)strcspn(where + n, "["), where + n);
        const SafetensorsEntry *e = safetensors_find(s->file[p], text);
        return e || p != MODEL_TEXT ? e : safetensors_find(s->file[p], text + strlen("text_model."));
    }
    return NULL;
}

/* A third of a fused tensor: the rows of all three of them lie below one another. */
static void add_third(Single *s, const char *to, const SafetensorsEntry *e, int third)
{
    SafetensorsEntry *fused = NULL;
    for (int i = 0; i < s->n; i++)
        if (strcmp(s->e[i].name, to) == 0) fused = &s->e[i];
    if (!fused) {
        fused = &s->e[s->n++];
        *fused = *e, fused->name = strdup(to), fused->shape[0] *= 3, fused->count *= 3, fused->bytes *= 3;
        fused->data = s->made[s->mades++] = malloc(fused->bytes);
    }
    memcpy((char *)fused->data + (size_t)third * e->bytes, e->data, e->bytes);
}

static void single_open(Single *s, const char *key)
{
    char line[512], from[256], to[256];
    *s = (Single){ .n = 0 };
    for (int p = 0; p < MODEL_PARTS; p++)
        if (!(s->file[p] = safetensors_open(name("golden/parity/%s/model/%s", key, part_file[p]).s))) fail_msg("%s", err_text());
    FILE *list = fopen(name("golden/ldm/%s.txt", key).s, "r");
    assert_non_null(list);
    while (fgets(line, sizeof line, list)) {
        assert_int_equal(sscanf(line, "%255[^\t]\t%255[^\n]", to, from), 2);
        const SafetensorsEntry *e = find_part(s, from);
        if (!e || s->n == MOST) fail_msg("no %s", from);
        if (strchr(from, '[')) {
            add_third(s, to, e, atoi(strchr(from, '[') + 1));
            continue;
        }
        SafetensorsEntry *single = &s->e[s->n++];
        *single = *e, single->name = strdup(to);
        if (strstr(to, ".mid.attn_1.") && e->rank == 2) single->rank = 4, single->shape[2] = single->shape[3] = 1;
    }
    fclose(list);
    for (int i = 0; i < CONFIGS; i++) {
        s->config[i] = file_read(name("golden/parity/%s/model/%s", key, config_files[i]).s, 1 << 20, NULL);
        s->pair[i] = (SafetensorsPair){ config_files[i], s->config[i] };
    }
}

static void single_write(const Single *s, const char *path)
{
    if (safetensors_write(path, s->e, s->n, s->pair, CONFIGS)) fail_msg("%s", err_text());
}

static void single_close(Single *s)
{
    for (int i = 0; i < s->n; i++) free((char *)s->e[i].name);
    for (int i = 0; i < s->mades; i++) free(s->made[i]);
    for (int i = 0; i < CONFIGS; i++) free(s->config[i]);
    for (int p = 0; p < MODEL_PARTS; p++) safetensors_close(s->file[p]);
}

/* ---- comparing ---- */

static ModelFiles *open_files(ModelSource source)
{
    ModelFiles *f = model_files_open(&source);
    if (!f) fail_msg("%s", err_text());
    return f;
}

static void same_parts(const ModelFiles *a, const ModelFiles *b)
{
    for (int p = 0; p < MODEL_PARTS; p++) {
        assert_non_null(a->part[p]);
        assert_non_null(b->part[p]);
        assert_int_equal(a->part[p]->count, b->part[p]->count);
        for (int i = 0; i < a->part[p]->count; i++) {
            const SafetensorsEntry *x = &a->part[p]->entry[i], *y = &b->part[p]->entry[i];
            assert_string_equal(x->name, y->name);
            assert_int_equal(x->count, y->count);
            assert_int_equal(x->type, y->type);
            assert_int_equal(x->shape[0], y->shape[0]);
            assert_memory_equal(x->data, y->data, x->bytes);
        }
    }
}

static void same_config(const ModelConfig *a, const ModelConfig *b)
{
    assert_memory_equal(&a->clip, &b->clip, sizeof a->clip);
    assert_memory_equal(&a->unet, &b->unet, sizeof a->unet);
    assert_memory_equal(&a->vae, &b->vae, sizeof a->vae);
    assert_memory_equal(&a->scheduler, &b->scheduler, sizeof a->scheduler);
    assert_true(a->native_w == b->native_w && a->native_h == b->native_h && a->pad == b->pad);
}

/* Both give the same model, to the bit. */
static void same_model(ModelSource x, ModelSource y)
{
    Checkpoint a, b;
    Set       *set = set_open("ref");
    if (checkpoint_open_source(&a, &x, set) || checkpoint_open_source(&b, &y, set)) fail_msg("%s", err_text());
    const Weights *wa[] = { &a.clip.weights, &a.unet.weights, &a.vae.weights }, *wb[] = { &b.clip.weights, &b.unet.weights, &b.vae.weights };
    for (int p = 0; p < MODEL_PARTS; p++) {
        assert_int_equal(wa[p]->slots, wb[p]->slots);
        for (int i = 0; i < wa[p]->slots; i++) {
            Tensor s = wa[p]->slot[i].dst, t = wb[p]->slot[i].dst;
            assert_int_equal(s.type, t.type);
            assert_memory_equal(s.p, t.p, tensor_count(s) * type_size(s.type));
        }
    }
    checkpoint_close(&a);
    checkpoint_close(&b);
}

/* ---- there and back ---- */

static void round_trip(const char *key)
{
    Single      s;
    Name        folder = name("golden/parity/%s/model", key), back = name("%s/%s", tmp_dir, key);
    const char *single = tmp_path("model.safetensors"), *again = tmp_path("again.safetensors");
    single_open(&s, key);
    single_write(&s, single);
    ModelSource from_file = { .path = single }, from_folder = { .path = folder.s, .tokenizer = NULL };
    ModelFiles     *a = open_files(from_folder), *b = open_files(from_file);
    assert_true(a->layout == MODEL_FOLDER && b->layout == MODEL_FILE);
    assert_int_equal(b->rest->count, 0);
    same_parts(a, b);
    same_config(&a->config, &b->config);
    same_model(from_folder, from_file);

    if (model_files_convert(back.s, MODEL_FOLDER, T_COUNT, &from_file)) fail_msg("%s", err_text());        /* file -> folder */
    ModelFiles *c = open_files((ModelSource){ .path = back.s });
    same_parts(a, c);
    same_config(&a->config, &c->config);
    if (model_files_convert(again, MODEL_FILE, T_COUNT, &from_folder)) fail_msg("%s", err_text());         /* folder -> file: the list's names, no others */
    Safetensors *f = safetensors_open(again);
    assert_non_null(f);
    assert_int_equal(f->count, s.n);
    for (int i = 0; i < s.n; i++) {
        const SafetensorsEntry *e = safetensors_find(f, s.e[i].name);
        if (!e) fail_msg("no %s", s.e[i].name);
        assert_int_equal(e->rank, s.e[i].rank);
        assert_memory_equal(e->shape, s.e[i].shape, (size_t)e->rank * sizeof *e->shape);
        assert_memory_equal(e->data, s.e[i].data, e->bytes);
    }
    safetensors_close(f);
    model_files_close(a), model_files_close(b), model_files_close(c);
    single_close(&s);
}

static void test_round_trip(void **state)
{
    (void)state;
    round_trip("b");
    round_trip("c");                                    /* OpenCLIP's text encoder */
}

/* Every number is rounded once, whatever way it goes: f16 through f32 is itself, f16 to bf16 is what type_convert says. */
static void test_types(void **state)
{
    const char *const wide = tmp_path("wide.safetensors"), *const narrow = tmp_path("narrow.safetensors");
    ModelSource       source = { .path = "golden/parity/b/model" };
    (void)state;
    if (model_files_convert(wide, MODEL_FILE, T_F32, &source) || model_files_convert(tmp_path("f16"), MODEL_FOLDER, T_F16, &(ModelSource){ .path = wide }) ||
        model_files_convert(narrow, MODEL_FILE, T_BF16, &source))
        fail_msg("%s", err_text());
    ModelFiles *a = open_files(source), *b = open_files((ModelSource){ .path = tmp_path("f16") }), *c = open_files((ModelSource){ .path = narrow });
    same_parts(a, b);
    const SafetensorsEntry *x = safetensors_find(a->part[MODEL_UNET], "conv_in.weight"), *y = safetensors_find(c->part[MODEL_UNET], "conv_in.weight");
    assert_int_equal(y->type, T_BF16);
    for (size_t i = 0; i < x->count; i++) {
        uint16_t h[2];
        memcpy(&h[0], (const char *)x->data + 2 * i, 2), memcpy(&h[1], (const char *)y->data + 2 * i, 2);
        assert_int_equal(f32_to_bf16(f16_to_f32(h[0])), h[1]);
    }
    model_files_close(a), model_files_close(b), model_files_close(c);
}

/* ---- variants of single files ---- */

static Single whole;

static int open_whole(void **state)
{
    (void)state;
    single_open(&whole, "b");
    return 0;
}

static int close_whole(void **state)
{
    (void)state;
    single_close(&whole);
    return 0;
}

static const char *written(void)
{
    const char *path = tmp_path("variant.safetensors");
    single_write(&whole, path);
    return path;
}

/* What old and merged files have besides and instead: schedules, position ids of any type, text names without text_model, attention as later programs say. */
static void test_variants(void **state)
{
    static const float   numbers[16];
    static const int64_t shape[1] = { 16 };
    static const char *const extra[] = { "alphas_cumprod", "cond_stage_model.transformer.text_model.embeddings.position_ids", "model_ema.decay",
                                         "first_stage_model.loss.logvar" };
    (void)state;
    for (size_t i = 0; i < sizeof extra / sizeof *extra; i++) {
        whole.e[whole.n] = (SafetensorsEntry){ .name = strdup(extra[i]), .type = T_F32, .rank = 1, .data = numbers };
        whole.e[whole.n++].shape[0] = shape[0];
    }
    for (int i = 0; i < whole.n; i++) {
        char *text = (char *)whole.e[i].name, *at = strstr(text, "transformer.text_model.");
        if (at && !strstr(text, "position_ids")) memmove(at + 12, at + 23, strlen(at + 23) + 1);
        if ((at = strstr(text, "decoder.mid.attn_1.q."))) {
            whole.e[i].name = strdup(name("%.*sto_q.%s", (int)(at - text) + 19, text, at + 21).s);
            whole.e[i].rank = whole.e[i].rank == 4 ? 2 : whole.e[i].rank;
            free(text);
        }
    }
    const char *path = written();
    ModelFiles     *f = open_files((ModelSource){ .path = path });
    assert_int_equal(f->rest->count, 4);
    assert_int_equal(f->ema, 1);
    assert_string_equal(f->rest->entry[0].name, "alphas_cumprod");
    model_files_close(f);
    same_model((ModelSource){ .path = path }, (ModelSource){ .path = "golden/parity/b/model" });
}

/* An averaged copy of each tensor of the U-Net: its negative, so that which is taken shows. */
static void test_ema(void **state)
{
    static const char prefix[] = "model.diffusion_model.";
    int               n = whole.n;
    (void)state;
    ModelSource plain = { .path = written() }, ema = { .path = plain.path, .ema = 1 };
    assert_null(model_files_open(&ema));
    assert_non_null(strstr(err_text(), "no averaged copy (model_ema.) of it, as --ema asks for"));
    for (int i = 0; i < n; i++) {
        char text[256] = "model_ema.";
        if (strncmp(whole.e[i].name, prefix, sizeof prefix - 1)) continue;
        for (const char *c = whole.e[i].name + strlen("model."); *c; c++)
            if (*c != '.') strncat(text, c, 1);
        assert_true(whole.n < MOST && whole.e[i].type == T_F16);
        SafetensorsEntry *e = &whole.e[whole.n++];
        *e = whole.e[i], e->name = strdup(text);
        uint8_t *copy = whole.made[whole.mades++] = malloc(e->bytes);
        memcpy(copy, whole.e[i].data, e->bytes);
        for (size_t k = 1; k < e->bytes; k += 2) copy[k] ^= 0x80;
        e->data = copy;
    }
    plain.path = ema.path = written();
    ModelFiles *a = open_files(plain), *b = open_files(ema);
    assert_int_equal(a->ema, whole.n - n);
    const SafetensorsEntry *x = safetensors_find(a->part[MODEL_UNET], "conv_in.weight"), *y = safetensors_find(b->part[MODEL_UNET], "conv_in.weight");
    for (size_t k = 0; k < x->bytes; k++) assert_int_equal(((const uint8_t *)x->data)[k] ^ (k % 2 ? 0x80 : 0), ((const uint8_t *)y->data)[k]);
    model_files_close(a), model_files_close(b);
}

/* A model without autoencoder, and that from elsewhere: a folder, a model's folder, a file of it alone, a whole file. */
static void test_elsewhere(void **state)
{
    static Single without, alone;
    const char   *plain = "golden/parity/b/model";
    (void)state;
    without = whole, alone = whole, without.n = alone.n = 0;
    for (int i = 0; i < whole.n; i++) {
        const char *text = whole.e[i].name;
        if (strncmp(text, "first_stage_model.", 18)) without.e[without.n++] = whole.e[i];
        else alone.e[alone.n] = whole.e[i], alone.e[alone.n++].name = text + 18;
    }
    ModelSource no_vae = { .path = tmp_path("without.safetensors") };
    single_write(&without, no_vae.path);
    Name vae = name("%s/vae.safetensors", tmp_dir);
    if (safetensors_write(vae.s, alone.e, alone.n, NULL, 0)) fail_msg("%s", err_text());
    Checkpoint m;
    assert_int_equal(checkpoint_open_source(&m, &no_vae, set_open("ref")), -1);
    assert_string_equal(err_text(), name("%s: there is no autoencoder in it: give --vae", no_vae.path).s);
    const char *const from[] = { "golden/parity/b/model/vae", plain, vae.s, "golden/parity/b/model/vae/diffusion_pytorch_model.safetensors", written() };
    for (size_t i = 0; i < sizeof from / sizeof *from; i++) same_model((ModelSource){ .path = no_vae.path, .vae = from[i] }, (ModelSource){ .path = plain });
    const char *const text[] = { "golden/parity/b/model/text_encoder", plain, "golden/parity/b/model/text_encoder/model.safetensors" };
    for (size_t i = 0; i < sizeof text / sizeof *text; i++)
        same_model((ModelSource){ .path = plain, .text_encoder = text[i] }, (ModelSource){ .path = plain });
    assert_int_equal(checkpoint_open_source(&m, &(ModelSource){ .path = plain, .text_encoder = "golden/parity/c/model" }, set_open("ref")), -1);
    assert_non_null(strstr(err_text(), "golden/parity/c/model: cross_attention_dim: expected the text encoder's width 14, found 10"));
}

/* ---- folders ---- */

static void copy(const char *to, const char *from)
{
    size_t size;
    char   dir[PATH_SIZE], *data = file_read(from, 1 << 24, &size);
    snprintf(dir, sizeof dir, "%s", to);
    *strrchr(dir, '/') = 0;
    if (!data || dir_make(dir) || file_write(to, data, size)) fail_msg("%s", err_text());
    free(data);
}

/* .fp16. files, and shards with an index. */
static void test_folder_forms(void **state)
{
    char        index[1 << 16], folder[PATH_SIZE];
    const char *plain = "golden/parity/b/model";
    (void)state;
    snprintf(folder, sizeof folder, "%s/forms", tmp_dir);
    for (int i = 0; i < CONFIGS; i++) copy(name("%s/%s", folder, config_files[i]).s, name("%s/%s", plain, config_files[i]).s);
    copy(name("%s/text_encoder/model.fp16.safetensors", folder).s, name("%s/%s", plain, part_file[MODEL_TEXT]).s);
    copy(name("%s/vae/diffusion_pytorch_model.fp16.safetensors", folder).s, name("%s/%s", plain, part_file[MODEL_VAE]).s);
    const Safetensors *unet = whole.file[MODEL_UNET];
    Name               shard[2] = { name("diffusion_pytorch_model-00001-of-00002.safetensors"), name("diffusion_pytorch_model-00002-of-00002.safetensors") };
    int                at = snprintf(index, sizeof index, "{\"metadata\": {\"total_size\": 1}, \"weight_map\": {");
    for (int i = 0; i < unet->count; i++)
        at += snprintf(index + at, sizeof index - (size_t)at, "%s\"%s\": \"%s\"", i ? ", " : "", unet->entry[i].name, shard[i >= unet->count / 2].s);
    at += snprintf(index + at, sizeof index - (size_t)at, "}}");
    Name index_path = name("%s/unet/diffusion_pytorch_model.safetensors.index.json", folder);
    for (int k = 0, first = 0; k < 2; k++, first = unet->count / 2)
        if (safetensors_write(name("%s/unet/%s", folder, shard[k].s).s, unet->entry + first, k ? unet->count - first : unet->count / 2, NULL, 0))
            fail_msg("%s", err_text());
    if (file_write(index_path.s, index, (size_t)at)) fail_msg("%s", err_text());
    same_model((ModelSource){ .path = folder }, (ModelSource){ .path = plain });

    Checkpoint m;                                       /* a shard that is not there; one from elsewhere */
    unlink(name("%s/unet/%s", folder, shard[1].s).s);
    assert_int_equal(checkpoint_open(&m, folder, set_open("ref")), -1);
    assert_non_null(strstr(err_text(), "diffusion_pytorch_model-00002-of-00002.safetensors: No such file"));
    static const char bad[] = "{\"weight_map\": {\"conv_in.weight\": \"../vae/x.safetensors\"}}";
    if (file_write(index_path.s, bad, sizeof bad - 1)) fail_msg("%s", err_text());
    assert_int_equal(checkpoint_open(&m, folder, set_open("ref")), -1);
    assert_non_null(strstr(err_text(), "index.json: weight_map: expected the name of a file beside it, found ../vae/x.safetensors"));
}

/* ---- what it is not ---- */

static void expect_foreign(const SafetensorsEntry *e, int n, const char *part)
{
    const char *path = tmp_path("foreign.safetensors");
    if (safetensors_write(path, e, n, NULL, 0)) fail_msg("%s", err_text());
    assert_null(model_files_open(&(ModelSource){ .path = path }));
    if (strncmp(err_text(), path, strlen(path)) || !strstr(err_text(), part) || strchr(err_text(), '\n')) fail_msg("wanted \"%s\" in: %s", part, err_text());
}

static void test_foreign(void **state)
{
    static const float numbers[4096];
    static const struct {
        const char *name, *what;
    } file[] = {
        { "conditioner.embedders.0.transformer.text_model.final_layer_norm.bias", "this is a Stable Diffusion XL model; sdlora knows" },
        { "model.diffusion_model.joint_blocks.0.context_block.attn.qkv.bias", "a Stable Diffusion 3 model" },
        { "model.diffusion_model.double_blocks.0.img_attn.qkv.bias", "a Flux model" },
        { "double_blocks.0.img_attn.qkv.bias", "a Flux model" },
        { "control_model.input_blocks.0.0.bias", "a ControlNet" },
        { "lora_unet_down_blocks_0_attentions_0_proj_in.alpha", "a LoRA, which goes with --lora" },
        { "something.else",
          "not a Stable Diffusion model: model.diffusion_model.input_blocks.1.1" },
    };
    (void)state;
    for (size_t i = 0; i < sizeof file / sizeof *file; i++)
        expect_foreign(&(SafetensorsEntry){ .name = file[i].name, .type = T_F32, .rank = 1, .shape = { 4 }, .data = numbers }, 1, file[i].what);
    static const int channels[] = { 9, 8, 5, 7 };
    static const char *const what[] = { "an inpainting model (9 input channels)", "an instruct-pix2pix model (8 input channels)", "a depth-to-image model",
                                        "an upscaler" };
    for (int i = 0; i < 4; i++)
        expect_foreign(&(SafetensorsEntry){ .name = "model.diffusion_model.input_blocks.0.0.weight", .type = T_F32, .rank = 4, .data = numbers,
                                            .shape = { 4, channels[i], 3, 3 } }, 1, what[i]);
    SafetensorsEntry cross = { .name = "model.diffusion_model.input_blocks.1.1.transformer_blocks.0.attn2.to_k.weight", .type = T_F32, .rank = 2,
                               .shape = { 2, 1024 }, .data = numbers };
    expect_foreign(&cross, 1, "does not say what it predicts: give --v2");
    cross.shape[1] = 640;
    expect_foreign(&cross, 1, "expected text states of 768 channels (SD 1.x) or 1024 (SD 2.x), found 640");

    static const char *const pipeline[][2] = { { "StableDiffusionXLPipeline", "a Stable Diffusion XL model" }, { "FluxPipeline", "a Flux model" },
                                               { "StableDiffusion3Pipeline", "a Stable Diffusion 3 model" },
                                               { "StableDiffusionInpaintPipeline", "an inpainting model" },
                                               { "StableDiffusionInstructPix2PixPipeline", "an instruct-pix2pix model" } };
    for (size_t i = 0; i < sizeof pipeline / sizeof *pipeline; i++) {
        Name text = name("{\"_class_name\": \"%s\"}", pipeline[i][0]);
        if (dir_make(tmp_path("other")) || file_write(tmp_path("other/model_index.json"), text.s, strlen(text.s))) fail_msg("%s", err_text());
        assert_null(model_files_open(&(ModelSource){ .path = tmp_path("other") }));
        if (!strstr(err_text(), pipeline[i][1])) fail_msg("wanted \"%s\" in: %s", pipeline[i][1], err_text());
    }
}

/* What shapes tell, and the command line adds. */
static void test_versions(void **state)
{
    static const float numbers[2 * 1024];
    static const struct {
        int         width, v2, v;
        const char *name, *part;
    } want[] = {
        { 768, 0, 0, "sd15", NULL },      { 768, 0, 1, NULL, NULL },     { 768, 1, 0, NULL, "--v2: this is Stable Diffusion 1.x" },
        { 1024, 1, 0, "sd21-base", NULL }, { 1024, 1, 1, "sd21", NULL }, { 1024, 0, 1, "sd21", NULL },
    };
    (void)state;
    for (size_t i = 0; i < sizeof want / sizeof *want; i++) {
        SafetensorsEntry cross = { .name = "model.diffusion_model.input_blocks.1.1.transformer_blocks.0.attn2.to_k.weight", .type = T_F32, .rank = 2,
                                   .shape = { 2, want[i].width }, .data = numbers };
        const char *path = tmp_path("version.safetensors");
        if (safetensors_write(path, &cross, 1, NULL, 0)) fail_msg("%s", err_text());
        ModelFiles *f = model_files_open(&(ModelSource){ .path = path, .v2 = want[i].v2, .v_parameterization = want[i].v });
        if (want[i].part) {
            assert_null(f);
            assert_non_null(strstr(err_text(), want[i].part));
            continue;
        }
        if (!f) fail_msg("%s", err_text());
        if (want[i].name) assert_string_equal(model_config_name(&f->config), want[i].name);
        assert_int_equal(f->config.scheduler.v_prediction, want[i].v);
        model_files_close(f);
    }
}

/* ---- tokenizers ---- */

static void expect_tokenizer(ModelSource source, const char *want)
{
    ModelFiles *f = open_files(source);
    assert_string_equal(f->tokenizer, want);
    model_files_close(f);
}

/* As told, before what lies beside the file; a folder has its own. */
static void test_tokenizer_place(void **state)
{
    static const char folder[] = "golden/parity/b/model";
    (void)state;
    if (dir_make(tmp_path("lone"))) fail_msg("%s", err_text());
    Name file = name("%s/lone/model.safetensors", tmp_dir), beside = name("%s/lone", tmp_dir), inner = name("%s/lone/tokenizer", tmp_dir);
    single_write(&whole, file.s);
    copy(name("%s/vocab.json", beside.s).s, "golden/parity/b/model/tokenizer/vocab.json");
    expect_tokenizer((ModelSource){ .path = file.s }, beside.s);
    copy(name("%s/vocab.json", inner.s).s, "golden/parity/b/model/tokenizer/vocab.json");
    expect_tokenizer((ModelSource){ .path = file.s }, inner.s);
    expect_tokenizer((ModelSource){ .path = file.s, .tokenizer = "elsewhere" }, "elsewhere");
    expect_tokenizer((ModelSource){ .path = folder }, "golden/parity/b/model/tokenizer");
    expect_tokenizer((ModelSource){ .path = folder, .tokenizer = "elsewhere" }, "elsewhere");
}

/* Stable Diffusion 2.x fills prompts up with token 0, whatever the tokenizer's files say; where there are none, it is said how to get them. */
static void test_padding(void **state)
{
    Pipeline p = { .model = { .pad = 0, .clip = { .config = { .length = 77, .vocab = 49408 } }, .tokenizer = "golden/parity/a/model/tokenizer" } };
    int32_t  ids[77], own;
    (void)state;
    assert_int_equal(pipeline_open_tokenizer(&p), 0);
    assert_true(p.tokenizer.length == 77 && tokenizer_pad(&p.tokenizer, "the cat", ids) == 0);
    assert_true(ids[76] == 0 && ids[0] == p.tokenizer.bos && ids[3] == p.tokenizer.eos && ids[4] == 0);
    tokenizer_close(&p.tokenizer);
    p.model.pad = -1;
    assert_int_equal(pipeline_open_tokenizer(&p), 0);
    own = p.tokenizer.pad;
    assert_true(tokenizer_pad(&p.tokenizer, "the cat", ids) == 0 && ids[76] == own && own != 0);
    tokenizer_close(&p.tokenizer);
    *p.model.tokenizer = 0;
    assert_int_equal(pipeline_open_tokenizer(&p), -1);
    assert_non_null(strstr(err_text(), "give --tokenizer DIR (vocab.json, merges.txt), or fetch CLIP's by `make clip-vocab`"));
    assert_true(model_config_named("sd21")->pad == 0 && model_config_named("sd15")->pad == 49407);
}

/* A folder's own tokenizer says what fills prompts up; one from elsewhere does not, though its folder's name begins like the model's. */
static void test_padding_of_folder(void **state)
{
    static const struct { const char *tokenizer; int pad; } as[] = { { "sd21/tokenizer", -1 }, { "sd21", -1 }, { "sd21-words", 0 }, { "words", 0 } };
    char folder[PATH_SIZE], path[PATH_SIZE], tokenizer[PATH_SIZE];
    (void)state;
    strcpy(folder, tmp_path("sd21"));
    for (ConfigFile file = 0; file < CONFIGS; file++) {
        char *text = model_config_text(model_config_named("sd21"), file);
        assert_int_equal(path_join(path, folder, config_files[file]), 0);
        path[path_name(path) - path] = 0;
        assert_int_equal(dir_make(path), 0);
        assert_int_equal(path_join(path, folder, config_files[file]), 0);
        assert_true(text && file_write(path, text, strlen(text)) == 0);
        free(text);
    }
    for (size_t i = 0; i < sizeof as / sizeof *as; i++) {
        strcpy(tokenizer, tmp_path(as[i].tokenizer));
        ModelFiles *f = model_files_open(&(ModelSource){ .path = folder, .tokenizer = tokenizer });
        if (!f) fail_msg("%s", err_text());
        if (f->config.pad != as[i].pad) fail_msg("%s: padding %d, expected %d", as[i].tokenizer, f->config.pad, as[i].pad);
        model_files_close(f);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_round_trip),
        cmocka_unit_test(test_types),
        cmocka_unit_test_setup_teardown(test_variants, open_whole, close_whole),
        cmocka_unit_test_setup_teardown(test_ema, open_whole, close_whole),
        cmocka_unit_test_setup_teardown(test_elsewhere, open_whole, close_whole),
        cmocka_unit_test_setup_teardown(test_folder_forms, open_whole, close_whole),
        cmocka_unit_test(test_foreign),
        cmocka_unit_test(test_versions),
        cmocka_unit_test_setup_teardown(test_tokenizer_place, open_whole, close_whole),
        cmocka_unit_test(test_padding),
        cmocka_unit_test(test_padding_of_folder),
    };
    return cmocka_run_group_tests(tests, tmp_open, tmp_close);
}
