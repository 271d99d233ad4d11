/* Dumps: the order of a value's numbers, what is in a dump of a step and of a batch of pictures, and that looking changes nothing. */
#include "diffusion/gallery.h"
#include "diffusion/guidance.h"
#include "io/hash.h"
#include "nn/dump.h"
#include "train/run.h"
#include <float.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>
#include "job.h"

static int open_folder(void **state)
{
    if (tmp_open(state)) return -1;
    for (int i = 0; i < 5; i++) job_picture("data/2_a", i, 16, 16);
    setenv("SOURCE_DATE_EPOCH", "1700000000", 1);
    return 0;
}

static int close_folder(void **state)
{
    unsetenv("SOURCE_DATE_EPOCH");
    return tmp_close(state);
}

/* ---- values ---- */

typedef struct {
    Safetensors *file;
    double      *x[512];                                /* values read so far, freed together */
    int          count;
} File;

static File file_open(const char *path)
{
    File f = { .file = safetensors_open(path) };
    if (!f.file) fail_msg("%s", err_text());
    return f;
}

static void file_close(File *f)
{
    while (f->count) free(f->x[--f->count]);
    safetensors_close(f->file);
}

static const SafetensorsEntry *entry_of(const File *f, const char *name)
{
    const SafetensorsEntry *e = safetensors_find(f->file, name);
    if (!e) fail_msg("%s: no %s", f->file->path, name);
    return e;
}

static const double *values_of(File *f, const char *name)
{
    const SafetensorsEntry *e = entry_of(f, name);
    double                 *x = malloc(e->count * sizeof *x);
    assert_non_null(x);
    assert_true(f->count < 512);
    assert_int_equal(safetensors_read(f->file, e, T_F64, x), 0);
    return f->x[f->count++] = x;
}

static void expect_shape(const File *f, const char *name, int rank, int64_t a, int64_t b, int64_t c, int64_t d)
{
    const SafetensorsEntry *e = entry_of(f, name);
    const int64_t           want[4] = { a, b, c, d };
    assert_int_equal(e->rank, rank);
    for (int i = 0; i < rank; i++) assert_int_equal(e->shape[i], want[i]);
}

/* ---- the order of numbers ---- */

static void test_order(void **state)
{
    Set   *set = set_open("ref");
    Dump   d;
    double x[2 * 3 * 4 * 5];
    float  wide[2 * 3 * 7];
    (void)state;
    for (int i = 0; i < 120; i++) x[i] = i;
    for (int i = 0; i < 42; i++) wide[i] = (float)i;
    dump_put(NULL, NONE, 1, "nothing");                 /* without a dump nothing happens */
    dump_host(NULL, NONE, 1, "nothing");
    dump_note(NULL, "nothing", "happens");

    dump_open(&d, set);
    dump_note(&d, "format", "%s-%d", "test", 1);
    dump_host(&d, tensor_of(x, T_F64, 2, 3, 4, 5), 4, "image.%d", 7);
    dump_host(&d, tensor_of(x, T_F64, 2, 1, 12, 5), 3, "tokens");
    dump_host(&d, tensor_of(x, T_F64, 2, 3, 4, 5), 2, "rows");
    dump_prefix(&d, "batch.%d.", 3);
    dump_host(&d, tensor_of(x, T_F64, 1, 1, 1, 1), 0, "scalar");
    dump_put(&d, tensor_channels(tensor_of(wide, T_F32, 2, 1, 3, 7), 2, 4), 3, "slice");
    assert_int_equal(dump_write(&d, tmp_path("order.safetensors")), 0);
    assert_null(d.entry);

    File          f = file_open(tmp_path("order.safetensors"));
    const double *image = values_of(&f, "image.7"), *slice = values_of(&f, "batch.3.slice");
    expect_shape(&f, "image.7", 4, 2, 5, 3, 4);
    expect_shape(&f, "tokens", 3, 2, 12, 5, 0);
    expect_shape(&f, "rows", 2, 2, 60, 0, 0);
    expect_shape(&f, "batch.3.scalar", 0, 0, 0, 0, 0);
    expect_shape(&f, "batch.3.slice", 3, 2, 3, 4, 0);
    for (int n = 0; n < 2; n++)
        for (int c = 0; c < 5; c++)
            for (int h = 0; h < 3; h++)
                for (int w = 0; w < 4; w++) assert_true(image[((n * 5 + c) * 3 + h) * 4 + w] == x[((n * 3 + h) * 4 + w) * 5 + c]);
    for (int k = 0; k < 24; k++) assert_true(slice[k] == (double)(k / 4 * 7 + 2 + k % 4));
    assert_memory_equal(values_of(&f, "tokens"), x, sizeof x);
    assert_string_equal(safetensors_meta(f.file, "format"), "test-1");
    file_close(&f);
}

static void test_no_folder(void **state)
{
    Dump   d;
    double x = 1;
    (void)state;
    dump_open(&d, set_open("ref"));
    dump_host(&d, tensor_of(&x, T_F64, 1, 1, 1, 1), 1, "x");
    assert_int_equal(dump_write(&d, tmp_path("none/x.safetensors")), -1);
    assert_non_null(strstr(err_text(), "none/x.safetensors"));
}

/* ---- training ---- */

static void train(const char *options)
{
    char        line[1024], text[4096];
    snprintf(line, sizeof line, "--network_dim 2 --conv_dim 2 --train_batch_size 2 --max_train_steps 3 --save_state --no_report --seed 7 %s", options);
    TrainConfig config = job_train(text, line);
    if (train_run(&config)) fail_msg("%s: %s", options, err_text());
}

static void expect_same(const char *a, const char *b)
{
    char x[HASH_SIZE], y[HASH_SIZE];
    assert_int_equal(hash_file(x, tmp_path(a)), 0);
    assert_int_equal(hash_file(y, tmp_path(b)), 0);
    if (strcmp(x, y)) fail_msg("%s and %s differ", a, b);
}

/* Weights, moments and metadata are the same to the last bit, on both ways of running a block. */
static void test_train_same(void **state)
{
    static const char *const ways[] = { "", "--gradient_accumulation_steps 2", "--gradient_checkpointing", "--network_train_unet_only --set ref64" };
    char                     options[256];
    (void)state;
    for (size_t i = 0; i < sizeof ways / sizeof *ways; i++) {
        snprintf(options, sizeof options, "%s --output_dir @/plain", ways[i]);
        train(options);
        snprintf(options, sizeof options, "%s --output_dir @/seen --dump @/dump --dump_steps 2", ways[i]);
        train(options);
        expect_same("plain/lora.safetensors", "seen/lora.safetensors");
        expect_same("plain/lora-state/state.safetensors", "seen/lora-state/state.safetensors");
        assert_true(is_file(tmp_path("dump/step-00000002.safetensors")) && !is_file(tmp_path("dump/step-00000003.safetensors")));
        tmp_remove(tmp_path("plain")), tmp_remove(tmp_path("seen")), tmp_remove(tmp_path("dump"));
    }
}

/* x_t, the loss and the gradient's length follow from the other values of the file; `prefix` names a batch. The model's output is rounded to float once, the
 * rest is double: sums of n terms, u n relative. The norm's square is kept as a float. */
static double check_batch(File *f, const char *prefix, int images, int one)
{
    char name[64];
#define VALUE(key) (snprintf(name, sizeof name, "%s%s", prefix, key), values_of(f, name))
    const double *t = VALUE("in.t"), *x0 = VALUE("in.latents"), *e = VALUE("in.noise"), *noisy = VALUE("train.noisy"), *target = VALUE("train.target");
    const double *weight = VALUE("train.weight"), *out = VALUE("unet.out"), *each = VALUE("train.loss_each"), *ac = values_of(f, "schedule.alphas_cumprod");
    double        sum = 0;
#undef VALUE
    for (int n = 0; n < images; n++) {
        double squares = 0, a = ac[(int)t[n]];
        for (int k = n * one; k < (n + 1) * one; k++) {
            assert_true(noisy[k] == sqrt(a) * x0[k] + sqrt(1 - a) * e[k] && target[k] == e[k]);
            squares += (out[k] - (double)(float)target[k]) * (out[k] - (double)(float)target[k]);
        }
        double want = weight[n] * squares / one, bound = (4 + one) * (double)FLT_EPSILON * want;
        if (!(fabs(each[n] - want) <= bound)) fail_msg("%simage %d: loss %g, want %g", prefix, n, each[n], want);
        sum += each[n] / images;
    }
    return sum;
}

static double squared_gradient(File *f)
{
    double sum = 0;
    for (int i = 0; i < f->file->count; i++) {
        const SafetensorsEntry *e = &f->file->entry[i];
        if (strncmp(e->name, "grad.", 5)) continue;
        const double *g = values_of(f, e->name);
        for (size_t k = 0; k < e->count; k++) sum += g[k] * g[k];
    }
    return sum;
}

static void test_train_values(void **state)
{
    (void)state;
    train("--output_dir @/out --dump @/values --dump_steps 2 --min_snr_gamma 5");
    File f = file_open(tmp_path("values/step-00000001.safetensors"));
    expect_shape(&f, "in.ids", 2, 2, 77, 0, 0);
    expect_shape(&f, "text.hidden", 3, 2, 77, 12, 0);
    expect_shape(&f, "text.layer.1", 3, 2, 77, 12, 0);
    expect_shape(&f, "time.emb", 2, 2, 32, 0, 0);
    expect_shape(&f, "unet.conv_in", 4, 2, 8, 8, 8);
    expect_shape(&f, "unet.mid_block", 4, 2, 16, 4, 4);
    expect_shape(&f, "grad.lora_unet_mid_block_resnets_0_conv1.lora_down.weight", 4, 2, 16, 3, 3);
    expect_shape(&f, "grad.lora_te_text_model_encoder_layers_0_mlp_fc1.lora_up.weight", 2, 48, 2, 0, 0);
    double loss = check_batch(&f, "", 2, 4 * 8 * 8), norm = sqrt(squared_gradient(&f));
    assert_true(fabs(loss - *values_of(&f, "train.loss")) <= 8 * DBL_EPSILON * loss);
    if (!(fabs(norm - atof(safetensors_meta(f.file, "norm"))) <= FLT_EPSILON * norm)) fail_msg("norm %.9g, want %s", norm, safetensors_meta(f.file, "norm"));
    assert_string_equal(safetensors_meta(f.file, "step"), "1");
    assert_non_null(strstr(safetensors_meta(f.file, "caption.1"), "thing, tag "));

    /* Step 1's weights after are step 2's before, and the update has changed them. */
    static const char module[] = "lora_unet_mid_block_attentions_0_proj_in.lora_up.weight";
    char              before[128], after[128];
    snprintf(before, sizeof before, "step0.%s", module), snprintf(after, sizeof after, "step1.%s", module);
    File   g = file_open(tmp_path("values/step-00000002.safetensors"));
    size_t bytes = entry_of(&f, after)->count * sizeof(double);
    assert_memory_equal(values_of(&f, after), values_of(&g, after), bytes);
    assert_memory_not_equal(values_of(&f, after), values_of(&f, before), bytes);
    file_close(&f);
    file_close(&g);
}

static void test_accumulation(void **state)
{
    (void)state;
    train("--output_dir @/out2 --dump @/many --gradient_accumulation_steps 2");
    File   f = file_open(tmp_path("many/step-00000001.safetensors"));
    double loss = 0.5 * (check_batch(&f, "batch.0.", 2, 4 * 8 * 8) + check_batch(&f, "batch.1.", 2, 4 * 8 * 8));
    assert_true(fabs(loss - *values_of(&f, "train.loss")) <= 8 * DBL_EPSILON * loss);
    assert_non_null(safetensors_meta(f.file, "batch.1.picture.0"));
    assert_null(safetensors_find(f.file, "in.t"));
    file_close(&f);
}

/* ---- sampling ---- */

static void draw(const char *options)
{
    char         line[1024], text[4096], *argv[JOB_WORDS];
    SampleConfig config;
    snprintf(line, sizeof line, JOB_MODEL " --prompt thing,red --lora golden/parity/a/lora.safetensors --seed 5 --n_iter 2 --batch_size 2 --steps 3 %s",
             options);
    int words = job_words(argv, text, line);
    if (options_parse(&sample_command, &config, words, argv) || sample_config_check(&config) || gallery_run(&config)) fail_msg("%s", err_text());
}

static void test_sample(void **state)
{
    enum { ALL = 2 * 4 * 8 * 8, STEPS = 3 };
    char   name[64];
    double mixed[ALL], at[ALL];
    (void)state;
    draw("--sampler Euler --cfg_scale 3 --scheduler karras --output_dir @/plain");
    draw("--sampler Euler --cfg_scale 3 --scheduler karras --output_dir @/seen --dump @/drawn --compare");
    expect_same("plain/00000.png", "seen/00000.png");
    expect_same("plain/00001.png", "seen/00001.png");
    assert_true(is_file(tmp_path("drawn/without/00000.safetensors")));

    File          f = file_open(tmp_path("drawn/00000.safetensors"));
    const double *sigma = values_of(&f, "sample.sigmas"), *noise = values_of(&f, "in.sample.noise");
    expect_shape(&f, "in.sample.ids", 2, 2, 77, 0, 0);
    expect_shape(&f, "in.sample.uncond", 2, 2, 77, 0, 0);
    expect_shape(&f, "text.hidden", 3, 4, 77, 12, 0);
    expect_shape(&f, "sample.timesteps", 1, STEPS, 0, 0, 0);
    expect_shape(&f, "vae.decoded.1", 4, 1, 3, 16, 16);
    for (int k = 0; k < ALL; k++) at[k] = sigma[0] * noise[k];

    /* Each step as its formulas have it, from what the step before has left. */
    for (int i = 0; i < STEPS; i++) {
#define VALUE(key) (snprintf(name, sizeof name, "sample.%d%s", i, key), values_of(&f, name))
        const double *input = VALUE(".input"), *uncond = VALUE(".uncond"), *cond = VALUE(".cond"), *output = VALUE(".output"), *denoised = VALUE(".denoised");
        const double *x = VALUE("");
#undef VALUE
        guidance_mix(mixed, uncond, cond, 3, ALL);
        assert_memory_equal(mixed, output, sizeof mixed);
        for (int k = 0; k < ALL; k++) {
            double size = fabs(at[k]) + sigma[i] * fabs(output[k]), next = at[k] + (sigma[i + 1] - sigma[i]) * output[k];
            assert_true(fabs(input[k] - at[k] / sqrt(1 + sigma[i] * sigma[i])) <= 8 * DBL_EPSILON * size);
            assert_true(fabs(denoised[k] - (at[k] - sigma[i] * output[k])) <= 8 * DBL_EPSILON * size);
            assert_true(fabs(x[k] - next) <= 16 * DBL_EPSILON * size);
        }
        memcpy(at, x, sizeof at);
    }
    const double *latent = values_of(&f, "vae.latent");
    for (int k = 0; k < ALL; k++) assert_true(fabs(latent[k] * 0.18215 - at[k]) <= 8 * DBL_EPSILON * fabs(at[k]));
    file_close(&f);
}

static void test_ancestral(void **state)
{
    (void)state;
    draw("--sampler Euler_a --cfg_scale 1 --output_dir @/ancestral --dump @/a");
    File f = file_open(tmp_path("a/00000.safetensors"));
    expect_shape(&f, "in.sample.ancestral.1", 4, 2, 4, 8, 8);
    assert_null(safetensors_find(f.file, "in.sample.ancestral.2"));         /* the last step adds none */
    assert_null(safetensors_find(f.file, "in.sample.uncond"));
    expect_shape(&f, "text.hidden", 3, 2, 77, 12, 0);
    assert_string_equal(safetensors_meta(f.file, "sampler"), "Euler a");
    file_close(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_order),        cmocka_unit_test(test_no_folder),    cmocka_unit_test(test_train_same), cmocka_unit_test(test_train_values),
        cmocka_unit_test(test_accumulation), cmocka_unit_test(test_sample),       cmocka_unit_test(test_ancestral),
    };
    return cmocka_run_group_tests(tests, open_folder, close_folder);
}
