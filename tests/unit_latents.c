/* Pictures as the autoencoder sees them: each for itself, at its bucket's size; and draws from what it says. */
#include "data/latents.h"
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>
#include "job.h"

/* Pictures of concepts, brought to their buckets, encoded. */
typedef struct {
    Pipeline  pipeline;
    Concepts  concepts;
    Buckets   buckets;
    BucketFit fit[16];
    Latents   latents;
} Encoded;

static ModelSource source = { .path = JOB_MODEL };
static LatentRules rules_of_test = { NULL, &source, 0, 0xffffff, 1 };

static int try_encode(Encoded *e, const char *folder, BucketRules rules)
{
    *e = (Encoded){ 0 };
    if (pipeline_open(&e->pipeline, &source, "ref") || concepts_open(&e->concepts, tmp_path(folder), NULL, NULL) || buckets_open(&e->buckets, &rules))
        fail_msg("%s", err_text());
    for (int i = 0; i < e->concepts.pictures; i++) {
        const Picture *p = &e->concepts.picture[i];
        assert_int_equal(buckets_fit(&e->fit[i], &e->buckets, p->path, p->w, p->h), 0);
    }
    return latents_open(&e->latents, &e->pipeline, &e->concepts, &e->buckets, e->fit, &rules_of_test);
}

static void encode(Encoded *e, const char *folder, BucketRules rules)
{
    if (try_encode(e, folder, rules)) fail_msg("%s", err_text());
    assert_int_equal(e->latents.count, e->concepts.pictures);
}

static void encoded_close(Encoded *e)
{
    latents_close(&e->latents);
    buckets_close(&e->buckets);
    concepts_close(&e->concepts);
    pipeline_close(&e->pipeline);
}

static const BucketRules one_size = { .w = 16, .h = 16, .step = 4 }, sizes = { .w = 16, .h = 16, .many = 1, .step = 4 };
static const BucketRules no_upscale = { .w = 16, .h = 16, .many = 1, .no_upscale = 1, .step = 4 };

/* A picture's latent is the same to the bit alone and among others of other sizes. */
static void each_for_itself(void **state)
{
    (void)state;
    static const struct { int w, h; } size[] = { { 16, 16 }, { 40, 13 }, { 9, 30 }, { 16, 16 }, { 100, 100 }, { 5, 4 } };
    Encoded all, one;
    char    folder[32];
    for (int i = 0; i < 6; i++) {
        snprintf(folder, sizeof folder, "one%d/1_x", i);
        job_picture("all/1_x", i, size[i].w, size[i].h);
        job_picture(folder, i, size[i].w, size[i].h);
    }
    for (int mode = 0; mode < 3; mode++) {
        const BucketRules rules = mode == 0 ? one_size : mode == 1 ? sizes : no_upscale;
        encode(&all, "all", rules);
        for (int i = 0; i < 6; i++) {
            snprintf(folder, sizeof folder, "one%d", i);
            encode(&one, folder, rules);
            const Latent *a = &all.latents.latent[i], *b = &one.latents.latent[0];
            const BucketSize s = all.buckets.size[all.fit[i].bucket];
            assert_true(a->w == s.w / 2 && a->h == s.h / 2 && a->c == 4 && b->w == a->w && b->h == a->h && b->c == a->c);
            if (mode == 0) assert_true(s.w == 16 && s.h == 16);
            if (mode == 2) assert_true(s.w <= size[i].w && s.h <= size[i].h && s.w * s.h <= 256);
            assert_memory_equal(a->moments[0], b->moments[0], (size_t)a->w * (size_t)a->h * 8 * sizeof(float));
            encoded_close(&one);
        }
        if (mode == 0) assert_int_equal(all.buckets.count, 1);
        else assert_true(all.buckets.count > 1);
        encoded_close(&all);
    }
}

/* The same picture, cut out of a wider one by the bucket's rule, has the same latent: 24x16 loses four columns on each side. */
static void cut_around_the_centre(void **state)
{
    (void)state;
    Image   wide, middle;
    Encoded e;
    job_picture("cut/1_x", 0, 24, 16);
    assert_int_equal(image_load(&wide, tmp_path("cut/1_x/000.png"), 0xffffff), 0);
    assert_int_equal(image_new(&middle, 16, 16), 0);
    for (int y = 0; y < 16; y++) memcpy(middle.rgb + y * 16 * 3, wide.rgb + (y * 24 + 4) * 3, 16 * 3);
    assert_int_equal(image_save(tmp_path("cut/1_x/001.png"), &middle, NULL), 0);
    encode(&e, "cut", one_size);
    assert_memory_equal(e.latents.latent[0].moments[0], e.latents.latent[1].moments[0], 8 * 8 * 8 * sizeof(float));
    encoded_close(&e);
    image_free(&wide), image_free(&middle);
}

static void a_damaged_picture_is_named(void **state)
{
    (void)state;
    Encoded e;
    size_t  size;
    job_picture("bad/1_x", 0, 16, 16);
    job_picture("bad/1_x", 1, 16, 16);
    char *png = file_read(tmp_path("bad/1_x/001.png"), 1 << 20, &size);
    assert_non_null(png);
    assert_int_equal(file_write(tmp_path("bad/1_x/001.png"), png, size / 2), 0);    /* the header, which concepts reads, is whole */
    free(png);
    assert_int_equal(try_encode(&e, "bad", one_size), -1);
    assert_non_null(strstr(err_text(), "1_x/001.png"));
    encoded_close(&e);
}

/* x = scaling (mean + e^(logvar/2) n): 40000 draws of each element have that mean and deviation, within five standard errors; and no two streams are alike. */
static void draws(void **state)
{
    (void)state;
    enum { DRAWS = 40000, ELEMENTS = 6 };
    float   moments[2 * ELEMENTS] = { 0.5f, -3, 0, -2,      10, 0, 2, -30,      1, 1, -1, 0.5f };      /* (3,1,4): two means, two log-variances */
    Latent  latent = { 3, 1, 2, { moments, NULL } };
    Latents l = { &latent, 1, 0, 0.18215 };
    double  x[ELEMENTS], sum[ELEMENTS] = { 0 }, square[ELEMENTS] = { 0 }, cross = 0;
    for (uint32_t k = 0; k < DRAWS; k++) {
        Rng rng = rng_open(9, RNG_LATENT, 0, k);
        latent_draw(x, &l, 0, 0, &rng);
        for (int j = 0; j < ELEMENTS; j++) {
            const float *m = moments + j / 2 * 4 + j % 2;
            double       n = (x[j] / 0.18215 - m[0]) / exp(0.5 * m[2]);
            sum[j] += n, square[j] += n * n;
            if (j == 4) cross += n * ((x[5] / 0.18215 - moments[9]) / exp(0.5 * moments[11]));
        }
    }
    for (int j = 0; j < ELEMENTS; j++) {
        if (!(fabs(sum[j]) <= 5 * sqrt(DRAWS))) fail_msg("element %d: mean %g", j, sum[j] / DRAWS);
        if (!(fabs(square[j] - DRAWS) <= 5 * sqrt(2.0 * DRAWS))) fail_msg("element %d: variance %g", j, square[j] / DRAWS);
    }
    if (!(fabs(cross) <= 5 * sqrt(DRAWS))) fail_msg("elements 4 and 5: correlation %g", cross / DRAWS);

    Rng    rng = rng_open(9, RNG_LATENT, 1, 0), same = rng;
    double y[ELEMENTS];
    latent_draw(x, &l, 0, 0, &rng);
    latent_draw(y, &l, 0, 0, &same);
    assert_memory_equal(x, y, sizeof x);
    latent_draw(y, &l, 0, 0, &rng);
    assert_true(x[0] != y[0]);
    assert_true(fabs(x[3] - 0.18215 * 0) <= 0.18215 * exp(-15) * 10);                   /* log-variance -30: the mean */
}

/* The mirror image of a picture is the picture of the mirrored file; latents come back from disk to the bit; a damaged file is made again. */
static void mirror_and_cache(void **state)
{
    (void)state;
    Encoded made, found;
    Image   image;
    char    cache[PATH_SIZE];
    Names   names;
    job_picture("flip/1_x", 0, 16, 16);
    assert_int_equal(image_load(&image, tmp_path("flip/1_x/000.png"), 0xffffff), 0);
    for (int y = 0; y < 16; y++)
        for (int a = 0, b = 15; a < b; a++, b--)
            for (int c = 0; c < 3; c++) {
                uint8_t *p = image.rgb + 48 * y + 3 * a + c, *q = image.rgb + 48 * y + 3 * b + c, keep = *p;
                *p = *q, *q = keep;
            }
    assert_int_equal(image_save(tmp_path("flip/1_x/001.png"), &image, NULL), 0);
    image_free(&image);
    snprintf(cache, sizeof cache, "%s", tmp_path("cache"));
    rules_of_test.cache_dir = cache, rules_of_test.flip = 1;
    encode(&made, "flip", one_size);
    assert_int_equal(made.latents.reused, 2);                                   /* each is the other's mirror image, found by its pixels */
    assert_memory_equal(made.latents.latent[0].moments[1], made.latents.latent[1].moments[0], 8 * 8 * 8 * sizeof(float));
    assert_memory_not_equal(made.latents.latent[0].moments[0], made.latents.latent[0].moments[1], 8 * 8 * 8 * sizeof(float));
    for (int damage = 0; damage < 2; damage++) {
        assert_int_equal(dir_list(&names, cache), 0);
        assert_int_equal(names.count, 2);
        char file[PATH_SIZE];
        assert_int_equal(path_join(file, cache, names.name[0]), 0);
        names_free(&names);
        if (damage) assert_int_equal(file_write(file, "no tensors", 10), 0);
        encode(&found, "flip", one_size);
        assert_int_equal(found.latents.reused, damage ? 3 : 4);
        for (int flip = 0; flip < 2; flip++)
            assert_memory_equal(made.latents.latent[0].moments[flip], found.latents.latent[0].moments[flip], 8 * 8 * 8 * sizeof(float));
        encoded_close(&found);
    }
    rules_of_test.cache_dir = NULL, rules_of_test.flip = 0;
    encoded_close(&made);
}

/* A latent is known by the autoencoder that made it, wherever that comes from: another one by --vae has others, the same one in a single file has these. */
static void the_cache_knows_the_autoencoder(void **state)
{
    (void)state;
    Encoded e;
    char    cache[PATH_SIZE], file[PATH_SIZE], vae[PATH_SIZE];
    snprintf(cache, sizeof cache, "%s", tmp_path("known"));
    snprintf(file, sizeof file, "%s", tmp_path("one.safetensors"));
    snprintf(vae, sizeof vae, "%s", tmp_path("other-vae"));
    job_part(vae, "vae", "diffusion_pytorch_model.safetensors", "encoder.conv_in.weight", 0.3);
    if (model_files_convert(file, MODEL_FILE, T_COUNT, &source)) fail_msg("%s", err_text());
    job_picture("known-data/1_x", 0, 16, 16);
    job_picture("known-data/1_x", 1, 16, 16);
    rules_of_test.cache_dir = cache;
    const struct { ModelSource source; int reused; } run[] = {
        { { .path = JOB_MODEL }, 0 }, { { .path = JOB_MODEL, .vae = vae }, 0 }, { { .path = file, .tokenizer = JOB_MODEL "/tokenizer" }, 2 },
        { { .path = file, .vae = vae, .tokenizer = JOB_MODEL "/tokenizer" }, 2 }, { { .path = JOB_MODEL, .vae = JOB_MODEL }, 2 },
    };
    for (size_t k = 0; k < sizeof run / sizeof *run; k++) {
        source = run[k].source;
        encode(&e, "known-data", one_size);
        assert_int_equal(e.latents.reused, run[k].reused);
        encoded_close(&e);
    }
    source = (ModelSource){ .path = JOB_MODEL }, rules_of_test.cache_dir = NULL;
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(each_for_itself), cmocka_unit_test(cut_around_the_centre),
                                        cmocka_unit_test(a_damaged_picture_is_named), cmocka_unit_test(draws), cmocka_unit_test(mirror_and_cache),
                                        cmocka_unit_test(the_cache_knows_the_autoencoder) };
    return cmocka_run_group_tests(tests, tmp_open, tmp_close);
}
