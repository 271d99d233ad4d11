/* What a LoRA file holds: norms against numpy's, layouts, what is wrong with a file; facts as text. */
#include "base/err.h"
#include "cli/info_files.h"
#include "cli/outline.h"
#include "lora/info.h"
#include "model/model_files.h"
#include "tmp.h"
#include <float.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>

static Safetensors *open_file(const char *path)
{
    Safetensors *file = safetensors_open(path);
    if (!file) fail_msg("%s", err_text());
    return file;
}

static const InfoModule *module_of(const LoraInfo *info, const char *key)
{
    for (int i = 0; i < info->file.modules; i++)
        if (strcmp(info->module[i].file->key, key) == 0) return &info->module[i];
    fail_msg("no module %s", key);
    return NULL;
}

/* Frobenius norm of an entry. */
static double length_of(const Safetensors *file, const SafetensorsEntry *e)
{
    double sum = 0, *x = malloc(e->count * sizeof *x);
    assert_non_null(x);
    assert_int_equal(safetensors_read(file, e, T_F64, x), 0);
    for (size_t i = 0; i < e->count; i++) sum += x[i] * x[i];
    free(x);
    return sqrt(sum);
}

/* Relative error of the norm's square: it is a sum over r^2 products of sums over i and o, of magnitudes no larger than (s |A| |B|)^2 together; of ours and
 * numpy's. The largest singular value, too, ends where a round adds less than 1e-14 of it, and each round leaves (second/largest)^4 of what is missing. */
static double bound_of(const Safetensors *file, const InfoModule *m)
{
    const LoraFileModule   *f = m->file;
    const SafetensorsEntry *down = f->part[LORA_DOWN], *up = f->part[LORA_UP];
    double                  terms = (double)f->rank * f->rank + (double)(down->count + up->count) / f->rank;
    double                  whole = f->scale * length_of(file, down) * length_of(file, up) / m->norm;
    return 2 * terms * DBL_EPSILON * whole * whole;
}

static void test_norms(void **state)
{
    LoraInfo     info = { 0 };
    Safetensors *file = NULL;
    FILE        *golden = fopen("golden/metadata.txt", "r");
    char         line[1024], letter[2], last[2] = "", key[256], path[64];
    double       norm, largest, second;
    int          seen = 0;
    (void)state;
    assert_non_null(golden);
    while (fgets(line, sizeof line, golden)) {
        if (sscanf(line, "module %1s %255s %lf %lf %lf", letter, key, &norm, &largest, &second) != 5) continue;
        if (strcmp(letter, last)) {
            lora_info_close(&info);
            safetensors_close(file);
            snprintf(path, sizeof path, "golden/parity/%s/lora.safetensors", letter);
            file = open_file(path);
            assert_int_equal(lora_info_open(&info, file), 0);
            assert_int_equal(info.file.layout, LORA_KOHYA);
            assert_int_equal(info.file.others, 0);
            strcpy(last, letter);
        }
        const InfoModule *m = module_of(&info, key);
        double            bound = bound_of(file, m), rest = 1e-14 / (1 - pow(second / largest, 4));
        if (!(fabs(m->norm - norm) <= bound * norm)) fail_msg("%s: norm %.17g, want %.17g", key, m->norm, norm);
        if (!(fabs(m->largest - largest) <= (bound + rest) * largest)) fail_msg("%s: largest %.17g, want %.17g", key, m->largest, largest);
        assert_false(m->dead || m->bad);
        seen++;
    }
    assert_true(seen > 100);
    lora_info_close(&info);
    safetensors_close(file);
    fclose(golden);
}

/* ---- layouts ---- */

static float down[6] = { 1, 2, 3, 4, 5, 6 }, up[8] = { 1, 0, 0, 1, 1, 1, 2, 0 };

static SafetensorsEntry matrix(const char *name, const float *data, int rows, int cols)
{
    return (SafetensorsEntry){ .name = name, .type = T_F32, .rank = 2, .shape = { rows, cols }, .data = data };
}

static void write_file(const char *path, const SafetensorsEntry *e, int count)
{
    if (safetensors_write(path, e, count, NULL, 0)) fail_msg("%s", err_text());
}

static void test_layouts(void **state)
{
    static const struct {
        LoraLayout  layout;
        ModuleKind  kind;
        const char *down, *up;
    } want[] = {
        { LORA_KOHYA, KIND_TEXT, "lora_te_text_model_encoder_layers_0_mlp_fc1.lora_down.weight",
          "lora_te_text_model_encoder_layers_0_mlp_fc1.lora_up.weight" },
        { LORA_PEFT, KIND_ATTENTION, "unet.mid_block.attentions.0.transformer_blocks.0.attn1.to_k.lora_A.weight",
          "unet.mid_block.attentions.0.transformer_blocks.0.attn1.to_k.lora_B.weight" },
        { LORA_DIFFUSERS, KIND_FEED_FORWARD, "unet.a.ff.net.2.lora.down.weight", "unet.a.ff.net.2.lora.up.weight" },
        { LORA_DIFFUSERS, KIND_ATTENTION, "a.attn1.processor.to_q_lora.down.weight", "a.attn1.processor.to_q_lora.up.weight" },
        { LORA_DIFFUSERS, KIND_TEXT, "text_encoder.a.q_proj.lora_linear_layer.down.weight", "text_encoder.a.q_proj.lora_linear_layer.up.weight" },
        { LORA_CLONEOFSIMO, KIND_OTHER, "unet:0:down", "unet:0:up" },
        { LORA_KOHYA, KIND_CONV, "lora_unet_down_blocks_0_resnets_0_conv1.lora_down.weight", "lora_unet_down_blocks_0_resnets_0_conv1.lora_up.weight" },
    };
    LoraInfo info;
    (void)state;
    for (size_t i = 0; i < sizeof want / sizeof *want; i++) {
        SafetensorsEntry e[2] = { matrix(want[i].down, down, 2, 3), matrix(want[i].up, up, 4, 2) };
        write_file(tmp_path("l.safetensors"), e, 2);
        Safetensors *file = open_file(tmp_path("l.safetensors"));
        assert_int_equal(lora_info_open(&info, file), 0);
        assert_int_equal(info.file.layout, want[i].layout);
        assert_int_equal(info.file.modules, 1);
        assert_int_equal(info.module[0].kind, want[i].kind);
        assert_int_equal(info.module[0].file->rank, 2);
        assert_true(info.module[0].file->scale == 1 && !info.module[0].file->part[LORA_ALPHA]);
        /* B A has the rows (1,2,3) (4,5,6) (5,7,9) (2,4,6) */
        assert_true(fabs(info.module[0].norm - sqrt(14 + 77 + 155 + 56)) < 1e-12 * info.module[0].norm);
        lora_info_close(&info);
        safetensors_close(file);
    }
}

/* ---- what may be wrong ---- */

static void expect_refused(const SafetensorsEntry *e, int count, const char *words)
{
    LoraInfo info;
    write_file(tmp_path("bad.safetensors"), e, count);
    Safetensors *file = open_file(tmp_path("bad.safetensors"));
    assert_int_equal(lora_info_open(&info, file), -1);
    if (!strstr(err_text(), words)) fail_msg("\"%s\" does not say \"%s\"", err_text(), words);
    safetensors_close(file);
}

static void test_wrong(void **state)
{
    SafetensorsEntry half = matrix("lora_unet_a.lora_down.weight", down, 2, 3), misfit[2] = { half, matrix("lora_unet_a.lora_up.weight", up, 2, 4) };
    (void)state;
    expect_refused(&half, 1, "lora_unet_a.lora_up.weight: this tensor is missing");
    expect_refused(misfit, 2, "do not fit each other");

    float            zero[8] = { 0 }, nan[6] = { 1, NAN, INFINITY, 1, 1, 1 }, three = 3;
    SafetensorsEntry e[] = { matrix("lora_unet_a.lora_down.weight", down, 2, 3),
                             matrix("lora_unet_a.lora_up.weight", zero, 4, 2),
                             matrix("lora_unet_b.lora_down.weight", nan, 2, 3),
                             matrix("lora_unet_b.lora_up.weight", up, 4, 2),
                             { .name = "lora_unet_b.alpha", .type = T_F32, .rank = 0, .data = &three },
                             { .name = "stray.alpha", .type = T_F32, .rank = 0, .data = &three } };
    LoraInfo         info;
    write_file(tmp_path("odd.safetensors"), e, sizeof e / sizeof *e);
    Safetensors *file = open_file(tmp_path("odd.safetensors"));
    assert_int_equal(lora_info_open(&info, file), 0);
    assert_int_equal(info.file.modules, 2);
    assert_int_equal(info.file.others, 1);
    assert_string_equal(info.file.other->name, "stray.alpha");
    assert_true(info.module[0].dead && info.module[0].norm == 0 && info.module[0].largest == 0 && !info.module[0].bad);
    assert_true(info.module[1].bad == 2 && isnan(info.module[1].norm) && isnan(info.module[1].largest) && info.module[1].file->scale == 1.5);
    lora_info_close(&info);
    safetensors_close(file);

    cJSON *o = info_of(tmp_path("odd.safetensors"));
    assert_non_null(o);
    assert_int_equal(cJSON_GetArraySize(cJSON_GetObjectItemCaseSensitive(o, "problems")), 3);
    cJSON_Delete(o);
}

/* ---- files ---- */

static const char *text_of(const cJSON *o, const char *key)
{
    const cJSON *item = cJSON_GetObjectItemCaseSensitive(o, key);
    return cJSON_IsString(item) ? item->valuestring : "";
}

static void test_files(void **state)
{
    static const struct { const char *path, *kind; } want[] = {
        { "golden/tiny-sd", "Stable Diffusion model, diffusers folder" }, { "golden/parity/b/lora.safetensors", "LoRA" },
        { "golden/tiny-sd/text_encoder/model.safetensors", "tensors" },   { "golden/demo/10_face/000.png", "picture" },
        { "golden/lora/list.pt", "LoRA" },                                { "golden/torch/list.pt", "tensors" },
        { "golden/embeddings/gal.pt", "textual inversion" },              { "golden/words/kohya.safetensors", "LoRA" },
        { "Makefile", "none that sdlora knows" },                         { "golden", "folder, neither" },
    };
    (void)state;
    for (size_t i = 0; i < sizeof want / sizeof *want; i++) {
        cJSON *o = info_of(want[i].path);
        if (!o) fail_msg("%s", err_text());
        if (strncmp(text_of(o, "kind"), want[i].kind, strlen(want[i].kind))) fail_msg("%s: %s", want[i].path, text_of(o, "kind"));
        cJSON_Delete(o);
    }
    assert_null(info_of("golden/none"));
    assert_non_null(strstr(err_text(), "golden/none: no such file"));

    cJSON *o = info_of("golden/tiny-sd");
    assert_int_equal((int)cJSON_GetNumberValue(cJSON_GetObjectItemCaseSensitive(o, "parameters")), 4672267);
    cJSON_Delete(o);
}

static void test_embedding(void **state)
{
    static const struct { const char *file, *layout, *word, *inside, *model; int vectors, width; } want[] = {
        { "Cat.pt", "web UI", "Cat", "inside", "no text encoder known", 2, 12 },
        { "bad-hands-5.safetensors", "kohya", "bad-hands-5", "", "no text encoder known", 3, 12 },
        { "learned_embeds.bin", "diffusers", "learned_embeds", "<toy>", "no text encoder known", 1, 12 },
        { "two.safetensors", "kohya", "two", "", "Stable Diffusion 2.x", 1, 1024 },
        { "xl.safetensors", "SDXL", "xl", "", "SDXL", 1, 1280 },
    };
    char path[256];
    (void)state;
    for (size_t i = 0; i < sizeof want / sizeof *want; i++) {
        snprintf(path, sizeof path, "golden/embeddings/dir/%s", want[i].file);
        cJSON *o = info_of(path);
        if (!o) fail_msg("%s", err_text());
        assert_string_equal(text_of(o, "kind"), "textual inversion");
        assert_string_equal(text_of(o, "layout"), want[i].layout);
        assert_string_equal(text_of(o, "word"), want[i].word);
        assert_string_equal(text_of(o, "word_inside"), want[i].inside);
        assert_string_equal(text_of(o, "for"), want[i].model);
        assert_string_equal(text_of(o, "steps"), i ? "" : "4200");
        assert_int_equal((int)cJSON_GetNumberValue(cJSON_GetObjectItemCaseSensitive(o, "vectors")), want[i].vectors);
        assert_int_equal((int)cJSON_GetNumberValue(cJSON_GetObjectItemCaseSensitive(o, "width")), want[i].width);
        const cJSON *hashes = cJSON_GetObjectItemCaseSensitive(o, "hashes");
        assert_true(strlen(text_of(hashes, "ti_hash")) == 12 && strncmp(text_of(hashes, "sha256"), text_of(hashes, "ti_hash"), 12) == 0);
        cJSON_Delete(o);
    }
}

/* Tensors of a single file that belong to no part: averaged copies are counted for themselves, and no example of the others. */
static void test_rest(void **state)
{
    enum { MOST = 2000 };
    const ModelSource source = { .path = "golden/parity/b/model" };
    char              path[256];
    float             zero = 0;
    SafetensorsEntry *e = calloc(MOST, sizeof *e);
    (void)state;
    snprintf(path, sizeof path, "%s", tmp_path("model.safetensors"));
    if (model_files_convert(path, MODEL_FILE, T_COUNT, &source)) fail_msg("%s", err_text());
    Safetensors *file = open_file(path);
    int          n = file->count;
    assert_true(e && n < MOST - 2);
    for (int i = 0; i < n; i++) e[i] = file->entry[i];
    e[n++] = (SafetensorsEntry){ .name = "model_ema.decay", .type = T_F32, .data = &zero };
    e[n++] = (SafetensorsEntry){ .name = "posterior_variance", .type = T_F32, .data = &zero };
    if (safetensors_write(tmp_path("rest.safetensors"), e, n, file->pair, file->pairs)) fail_msg("%s", err_text());
    safetensors_close(file);
    free(e);
    cJSON *o = info_of(tmp_path("rest.safetensors"));
    if (!o) fail_msg("%s", err_text());
    assert_string_equal(text_of(o, "averaged copies"), "1 tensors (model_ema.), taken with --ema");
    assert_string_equal(text_of(o, "further tensors"), "1, as posterior_variance");
    cJSON_Delete(o);
}

/* Folders' counts are added up, and the most frequent tag comes first. */
static void test_tags(void **state)
{
    SafetensorsEntry e[2] = { matrix("lora_unet_a.lora_down.weight", down, 2, 3), matrix("lora_unet_a.lora_up.weight", up, 4, 2) };
    SafetensorsPair  pair = { "ss_tag_frequency", "{\"1_a\": {\"x\": 2, \"y\": 4}, \"2_b\": {\"x\": 3, \"z\": 4, \"odd\": \"text\"}}" };
    (void)state;
    if (safetensors_write(tmp_path("tags.safetensors"), e, 2, &pair, 1)) fail_msg("%s", err_text());
    cJSON       *o = info_of(tmp_path("tags.safetensors"));
    const cJSON *tags = cJSON_GetObjectItemCaseSensitive(o, "tags");
    const char  *names[] = { "x", "y", "z" };
    const int    counts[] = { 5, 4, 4 };
    assert_int_equal(cJSON_GetArraySize(tags), 3);
    for (int i = 0; i < 3; i++) {
        assert_string_equal(text_of(cJSON_GetArrayItem(tags, i), "tag"), names[i]);
        assert_int_equal((int)cJSON_GetNumberValue(cJSON_GetObjectItemCaseSensitive(cJSON_GetArrayItem(tags, i), "count")), counts[i]);
    }
    cJSON_Delete(o);
}

/* ---- text ---- */

static void test_outline(void **state)
{
    static const char json[] = "{\"name\": \"a\\u001b[31mb\", \"long_name\": 1234567, \"x\": 0.000125, \"in\": {\"k\": \"first\\nsecond\", \"no\": false},"
                               "\"rows\": [{\"kind\": \"\\u00fc\", \"n\": 1}, {\"kind\": \"long\", \"n\": 1000}], \"empty\": []}";
    static const char want[] = "name        a?[31mb\n"
                               "long_name   1,234,567\n"
                               "x           0.000125\n"
                               "\n"
                               "in\n"
                               "  k    first\n"
                               "       second\n"
                               "  no   no\n"
                               "\n"
                               "rows\n"
                               "  kind       n\n"
                               "  \303\274          1\n"
                               "  long   1,000\n";
    char  *text = NULL;
    size_t size;
    FILE  *out = open_memstream(&text, &size);
    cJSON *o = cJSON_Parse(json);
    (void)state;
    assert_true(out && o);
    outline_print(out, o, 0);
    fclose(out);
    assert_string_equal(text, want);
    free(text);
    cJSON_Delete(o);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_norms), cmocka_unit_test(test_layouts), cmocka_unit_test(test_wrong), cmocka_unit_test(test_files),
        cmocka_unit_test(test_embedding), cmocka_unit_test(test_rest), cmocka_unit_test(test_tags), cmocka_unit_test(test_outline),
    };
    return cmocka_run_group_tests(tests, tmp_open, tmp_close);
}
