/* `sdlora sample` from its options to its files: which noise each picture has, what LoRAs change, and what a picture says of itself. */
#include "diffusion/gallery.h"
#include "io/hash.h"
#include "io/png_text.h"
#include <math.h>
#include <omp.h>
#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>
#include "job.h"

#define LORA "golden/parity/a/lora.safetensors"

/* `sdlora sample` with these options; of JOB_MODEL, to @/out, three steps, unless they say otherwise. */
static int draw(const char *options)
{
    char         line[2048], text[4096], *argv[JOB_WORDS];
    SampleConfig config;
    const char *steps = strstr(options, "--steps") ? "" : "--steps 3", *dir = strstr(options, "--output_dir") ? "" : "--output_dir @/out";
    const char *prompt = strstr(options, "--prompt") || strstr(options, "--from_file") ? "" : "--prompt thing,red";
    snprintf(line, sizeof line, JOB_MODEL " %s %s %s %s", steps, dir, prompt, options);
    int words = job_words(argv, text, line);
    if (options_parse(&sample_command, &config, words, argv) || sample_config_check(&config)) return -1;
    return gallery_run(&config);
}

static void draw_well(const char *options)
{
    if (draw(options)) fail_msg("%s: %s", options, err_text());
}

static Image picture(const char *name)
{
    Image image;
    if (image_load(&image, tmp_path(name), 0xffffff)) fail_msg("%s", err_text());
    return image;
}

/* The largest difference of any byte of two pictures, which are of one size. */
static int difference(const char *a, const char *b)
{
    Image x = picture(a), y = picture(b);
    int   most = 0;
    assert_true(x.w == y.w && x.h == y.h);
    for (int k = 0; k < 3 * x.w * x.h; k++)
        if (abs(x.rgb[k] - y.rgb[k]) > most) most = abs(x.rgb[k] - y.rgb[k]);
    image_free(&x), image_free(&y);
    return most;
}

static void check_text(const char *name, const char *want)
{
    size_t size;
    char  *png = file_read(tmp_path(name), 1 << 20, &size), *text;
    assert_non_null(png);
    assert_int_equal(png_text_find(&text, (uint8_t *)png, size, "parameters"), 0);
    assert_non_null(text);
    assert_string_equal(text, want);
    free(text), free(png);
}

/* Numbers that are not finite make no picture, neither a black one; the others of the batch and of the run are there, and the line says which is not. */
static void not_finite(void **state)
{
    (void)state;
    char want[PATH_SIZE];
    Image grid = { 0 };
    job_part(tmp_path("nan"), "text_encoder", "model.safetensors", "text_model.embeddings.token_embedding.weight", NAN); /* "!", as a word begins */
    assert_int_equal(file_write(tmp_path("prompts.txt"), "thing,red\nthing !#\nthing,round\nthing,red\n", 42), 0);
    draw_well("--output_dir @/well --from_file @/prompts.txt --seed 5");
    assert_int_equal(draw("--output_dir @/some --from_file @/prompts.txt --seed 5 --batch_size 3 --text_encoder @/nan --grid @/grids/some.png"), -1);
    snprintf(want, sizeof want, "%s: seed 6: the numbers of the latent are not finite: ", tmp_path("some/00001.png"));
    assert_true(strncmp(err_text(), want, strlen(want)) == 0 && strstr(err_text(), "of 4 pictures 1 is not made"));
    assert_false(is_file(tmp_path("some/00001.png")));
    assert_int_equal(difference("well/00000.png", "some/00000.png"), 0);
    assert_int_equal(difference("well/00002.png", "some/00002.png"), 0);
    assert_int_equal(difference("well/00003.png", "some/00003.png"), 0);
    grid = picture("grids/some.png");
    image_free(&grid);

    job_part(tmp_path("vae"), "vae", "diffusion_pytorch_model.safetensors", "decoder.conv_out.bias", INFINITY);
    assert_int_equal(draw("--output_dir @/none --seed 5 --n_iter 2 --vae @/vae"), -1);
    assert_non_null(strstr(err_text(), "none/00000.png: seed 5: the numbers of the decoded picture are not finite: "));
    assert_non_null(strstr(err_text(), "of 2 pictures 2 are not made"));
}

static void put_prompts(const char *text) { assert_int_equal(file_write(tmp_path("prompts.txt"), text, strlen(text)), 0); }

/* ---- noise ---- */

/* The pictures of a prompt have seeds one after the other, the next prompt goes on from there, and a line's own --d begins anew. */
static void seeds_follow_on(void **state)
{
    (void)state;
    static const char *const seed[] = { "5", "6", "7", "8", "100", "101" };
    char line[256], many[64], one[64];
    put_prompts("# three prompts\nthing,red\n\n  thing,red  \nthing,red --d 100\n");
    draw_well("--output_dir @/many --from_file @/prompts.txt --seed 5 --n_iter 2");
    for (int k = 0; k < 6; k++) {
        snprintf(line, sizeof line, "--output_dir @/one --seed %s", seed[k]);
        draw_well(line);                                /* its number is the next one */
        snprintf(many, sizeof many, "many/%05d.png", k), snprintf(one, sizeof one, "one/%05d.png", k);
        assert_int_equal(difference(many, one), 0);
    }
    assert_false(is_file(tmp_path("many/00006.png")));
    snprintf(one, sizeof one, "many/%05d.png", 1);
    assert_true(difference("many/00000.png", one) > 0);
}

/* What is there stays, whoever made it, and with --compare a pair has one number. */
static void numbers_go_on(void **state)
{
    (void)state;
    draw_well("--seed 5 --n_iter 2");
    assert_int_equal(file_write(tmp_path("out/00041.png"), "mine", 4), 0);
    assert_int_equal(file_write(tmp_path("out/00099.txt"), "mine", 4), 0);
    assert_int_equal(file_write(tmp_path("out/123456789.png"), "mine", 4), 0);
    draw_well("--seed 6");
    assert_int_equal(difference("out/00001.png", "out/00042.png"), 0);
    assert_int_equal(dir_make(tmp_path("out/without")), 0);
    assert_int_equal(file_write(tmp_path("out/without/00070.png"), "mine", 4), 0);
    draw_well("--seed 5 --lora " LORA);
    assert_true(is_file(tmp_path("out/00043.png")));
    draw_well("--seed 5 --lora " LORA " --compare");
    assert_int_equal(difference("out/00071.png", "out/00043.png"), 0);
    assert_int_equal(difference("out/without/00071.png", "out/00000.png"), 0);
}

static void a_new_seed_each_time(void **state)
{
    (void)state;
    draw_well("--output_dir @/first");
    draw_well("--output_dir @/second");
    assert_true(difference("first/00000.png", "second/00000.png") > 0);
}

static void threads_change_nothing(void **state)
{
    (void)state;
    static const int threads[] = { 1, 2, 5 };
    static const char *const dir[] = { "t1", "t2", "t5" };
    int before = omp_get_max_threads();
    for (int k = 0; k < 3; k++) {
        char line[128];
        snprintf(line, sizeof line, "--output_dir @/%s --seed 5 --n_iter 2 --batch_size 2 --width 32 --height 20", dir[k]);
        omp_set_num_threads(threads[k]);
        draw_well(line);
    }
    omp_set_num_threads(before);
    for (int k = 1; k < 3; k++) {
        char name[2][32];
        for (int i = 0; i < 2; i++) {
            snprintf(name[0], sizeof name[0], "t1/%05d.png", i), snprintf(name[1], sizeof name[1], "%s/%05d.png", dir[k], i);
            assert_int_equal(difference(name[0], name[1]), 0);
        }
    }
}

/* Batches hold what shares its settings, in the order asked for. */
static void a_batch_holds_what_fits_together(void **state)
{
    (void)state;
    char name[2][32];
    put_prompts("thing\nthing,red\nround --w 32\nround,red --w 32 --s 2\nthing --l 1\nred --l 1\n");
    draw_well("--output_dir @/apart --from_file @/prompts.txt --seed 1 --sampler Euler-a");
    draw_well("--output_dir @/three --from_file @/prompts.txt --seed 1 --sampler Euler-a --batch_size 3");
    for (int k = 0; k < 6; k++) {
        snprintf(name[0], sizeof name[0], "apart/%05d.png", k), snprintf(name[1], sizeof name[1], "three/%05d.png", k);
        if (difference(name[0], name[1]) > 1) fail_msg("picture %d: alone and among others %d levels apart", k, difference(name[0], name[1]));
    }
    Image wide = picture("three/00002.png");
    assert_true(wide.w == 32 && wide.h == 16);
    image_free(&wide);
}

/* ---- words ---- */

#define EMBEDDINGS "--embeddings-dir golden/embeddings/dir"

/* A picture names the words that it was made with, those of its prompt first, as the web UI does; without one it says nothing of them. */
static void words_change_pictures_and_are_told(void **state)
{
    (void)state;
    char want[1024], hash[2][HASH_SIZE];
    assert_int_equal(hash_file(hash[0], "golden/embeddings/dir/Cat.pt"), 0);
    assert_int_equal(hash_file(hash[1], "golden/embeddings/dir/bad-hands-5.safetensors"), 0);
    put_prompts("a cat --n bad-hands-5\nthing,red --n (bad-hands-5:1.2), [big:CAT:1]\nthing,red\na cat\n");
    draw_well(EMBEDDINGS " --output_dir @/words --from_file @/prompts.txt --seed 3");
    draw_well("--output_dir @/plain --from_file @/prompts.txt --seed 3");
    const char *const text[] = { "a cat\nNegative prompt: bad-hands-5\n", "thing,red\nNegative prompt: (bad-hands-5:1.2), [big:CAT:1]\n",
                                 "thing,red\n", "a cat\n" };
    char words[4][128] = { "" };
    snprintf(words[0], sizeof words[0], ", TI hashes: \"Cat: %.12s, bad-hands-5: %.12s\"", hash[0], hash[1]);
    snprintf(words[1], sizeof words[1], ", TI hashes: \"bad-hands-5: %.12s, Cat: %.12s\"", hash[1], hash[0]);
    snprintf(words[3], sizeof words[3], ", TI hashes: \"Cat: %.12s\"", hash[0]);
    for (int k = 0; k < 4; k++) {
        char name[2][32];
        snprintf(name[0], sizeof name[0], "words/%05d.png", k), snprintf(name[1], sizeof name[1], "plain/%05d.png", k);
        snprintf(want, sizeof want, "%sSteps: 3, Sampler: DPM++ 2M, Schedule type: Automatic, CFG scale: 7, Seed: %d, Size: 16x16, Model: model, RNG: CPU%s, "
                 "Version: sdlora", text[k], 3 + k, words[k]);
        check_text(name[0], want);
        assert_true((difference(name[0], name[1]) > 0) == (k != 2));
    }
    assert_int_equal(draw(EMBEDDINGS " --prompt two"), -1);
    assert_non_null(strstr(err_text(), "two.safetensors: expected vectors of this model's text encoder, 12 wide, found 1024"));
}

/* ---- guidance and samplers ---- */

/* At scale 1 the negative prompt does not count; beside 1 nearly the same comes of both prompts, and at 0 the negative prompt alone counts. */
static void scale_one_is_the_prompt_alone(void **state)
{
    (void)state;
    draw_well("--output_dir @/one --seed 3 --cfg_scale 1");
    draw_well("--output_dir @/negative --seed 3 --cfg_scale 1 --negative_prompt blue");
    draw_well("--output_dir @/beside --seed 3 --cfg_scale 1.0000001 --negative_prompt blue");
    draw_well("--output_dir @/seven --seed 3 --cfg_scale 7 --negative_prompt blue");
    draw_well("--output_dir @/none --seed 3 --cfg_scale 0 --negative_prompt blue");
    draw_well("--output_dir @/blue --seed 3 --cfg_scale 1 --prompt blue");
    assert_int_equal(difference("one/00000.png", "negative/00000.png"), 0);
    assert_true(difference("one/00000.png", "beside/00000.png") <= 1);
    assert_true(difference("one/00000.png", "seven/00000.png") > 0);
    assert_true(difference("none/00000.png", "blue/00000.png") <= 1);
}

static void every_sampler_draws(void **state)
{
    (void)state;
    static const struct { const char *sampler, *scheduler, *words; } cases[] = {
        { "DDIM", "automatic", "DDIM" },
        { "Euler", "automatic", "Euler, Schedule type: Automatic" },
        { "Euler-a", "automatic", "Euler a, Schedule type: Automatic" },
        { "DPM++_2M", "automatic", "DPM++ 2M, Schedule type: Automatic" },
        { "dpmpp2m", "uniform", "DPM++ 2M, Schedule type: Uniform" },
        { "Euler", "karras", "Euler, Schedule type: Karras" },
        { "euler", "exponential", "Euler, Schedule type: Exponential" },
    };
    enum { CASES = sizeof cases / sizeof *cases };
    char line[256], want[512], name[CASES][32];
    for (int k = 0; k < CASES; k++) {
        snprintf(line, sizeof line, "--output_dir @/sampler%d --seed 3 --steps 4 --sampler %s --scheduler %s", k, cases[k].sampler, cases[k].scheduler);
        draw_well(line);
        snprintf(name[k], sizeof name[k], "sampler%d/00000.png", k);
        snprintf(want, sizeof want, "thing,red\nSteps: 4, Sampler: %s, CFG scale: 7, Seed: 3, Size: 16x16, Model: model, RNG: CPU, Version: sdlora",
                 cases[k].words);
        check_text(name[k], want);
        for (int j = 0; j < k; j++)
            if (difference(name[j], name[k]) == 0) fail_msg("\"%s\" draws what \"%s\" draws", cases[k].words, cases[j].words);
    }
    draw_well("--output_dir @/sampler --seed 3 --steps 4 --scheduler karras");   /* what automatic is for DPM++ 2M */
    assert_int_equal(difference("sampler/00000.png", name[3]), 0);
}

/* A weight changes the picture, and in another way without its norm. The mode is told where there are brackets, as in the web UI. */
static void emphasis_is_told(void **state)
{
    (void)state;
    const char *plain = "\nSteps: 3, Sampler: DPM++ 2M, Schedule type: Automatic, CFG scale: 7, Seed: 3, Size: 16x16, Model: model, RNG: CPU";
    char        want[256];
    draw_well("--output_dir @/plain --seed 3 --emphasis no_norm");
    draw_well("--output_dir @/ignore --seed 3 --prompt (thing:2),red --emphasis ignore");
    draw_well("--output_dir @/weight --seed 3 --prompt (thing:2),red");
    draw_well("--output_dir @/norm --seed 3 --prompt (thing:2),red --emphasis no_norm");
    draw_well("--output_dir @/none --seed 3 --prompt (thing:2),red<lora:x:1> --emphasis none");
    check_text("plain/00000.png", strcat(strcat(strcpy(want, "thing,red"), plain), ", Version: sdlora"));
    check_text("weight/00000.png", strcat(strcat(strcpy(want, "(thing:2),red"), plain), ", Version: sdlora"));
    check_text("norm/00000.png", strcat(strcat(strcpy(want, "(thing:2),red"), plain), ", Emphasis: No norm, Version: sdlora"));
    check_text("none/00000.png", strcat(strcat(strcpy(want, "(thing:2),red<lora:x:1>"), plain), ", Emphasis: None, Version: sdlora"));
    assert_int_equal(difference("ignore/00000.png", "plain/00000.png"), 0);
    assert_true(difference("weight/00000.png", "plain/00000.png") > 0 && difference("weight/00000.png", "norm/00000.png") > 0);
    assert_true(difference("none/00000.png", "plain/00000.png") > 0);
}

/* What the web UI reads again: it says nothing of 1. */
static void clip_skip_is_told(void **state)
{
    (void)state;
    draw_well("--output_dir @/skip --seed 3 --clip_skip 2");
    draw_well("--output_dir @/last --seed 3 --clip_skip 1");
    draw_well("--output_dir @/default --seed 3");
    check_text("skip/00000.png", "thing,red\nSteps: 3, Sampler: DPM++ 2M, Schedule type: Automatic, CFG scale: 7, Seed: 3, Size: 16x16, Model: model, "
                                 "Clip skip: 2, RNG: CPU, Version: sdlora");
    check_text("last/00000.png", "thing,red\nSteps: 3, Sampler: DPM++ 2M, Schedule type: Automatic, CFG scale: 7, Seed: 3, Size: 16x16, Model: model, "
                                 "RNG: CPU, Version: sdlora");
    assert_true(difference("skip/00000.png", "last/00000.png") > 0);
    assert_int_equal(difference("last/00000.png", "default/00000.png"), 0);
}

/* ---- LoRAs ---- */

static void loras(void **state)
{
    (void)state;
    draw_well("--output_dir @/none --seed 3");
    draw_well("--output_dir @/zero --seed 3 --lora " LORA ":0");
    draw_well("--output_dir @/full --seed 3 --lora " LORA);
    draw_well("--output_dir @/one --seed 3 --lora " LORA ":1.0");
    draw_well("--output_dir @/half --seed 3 --lora " LORA ":0.5");
    draw_well("--output_dir @/halves --seed 3 --lora " LORA ":0.5 --lora " LORA ":.5");
    draw_well("--output_dir @/gone --seed 3 --lora " LORA ":1 --lora " LORA ":-1");
    assert_int_equal(difference("none/00000.png", "zero/00000.png"), 0);
    assert_int_equal(difference("full/00000.png", "one/00000.png"), 0);
    assert_true(difference("none/00000.png", "full/00000.png") > 3 && difference("half/00000.png", "full/00000.png") > 1);
    assert_true(difference("halves/00000.png", "full/00000.png") <= 1);        /* two sums are rounded where one was */
    assert_true(difference("gone/00000.png", "none/00000.png") <= 1);
    check_text("halves/00000.png", "thing,red <lora:lora:0.5> <lora:lora:0.5>\nSteps: 3, Sampler: DPM++ 2M, Schedule type: Automatic, CFG scale: 7, Seed: 3, "
                                   "Size: 16x16, Model: model, RNG: CPU, Version: sdlora");
}

static void before_and_after(void **state)
{
    (void)state;
    put_prompts("thing\nred --n blue, big\nround\n");
    draw_well("--output_dir @/plain --seed 3 --n_iter 2 --from_file @/prompts.txt");
    draw_well("--output_dir @/lora --seed 3 --n_iter 2 --from_file @/prompts.txt --lora " LORA);
    draw_well("--output_dir @/both --seed 3 --n_iter 2 --from_file @/prompts.txt --lora " LORA " --compare --grid @/grid.png");
    for (int k = 0; k < 6; k++) {
        char name[4][32];
        snprintf(name[0], sizeof name[0], "plain/%05d.png", k), snprintf(name[1], sizeof name[1], "both/without/%05d.png", k);
        snprintf(name[2], sizeof name[2], "lora/%05d.png", k), snprintf(name[3], sizeof name[3], "both/%05d.png", k);
        assert_int_equal(difference(name[0], name[1]), 0);
        assert_int_equal(difference(name[2], name[3]), 0);
    }
    check_text("both/00002.png", "red <lora:lora:1>\nNegative prompt: blue, big\nSteps: 3, Sampler: DPM++ 2M, Schedule type: Automatic, CFG scale: 7, Seed: 5, "
                                 "Size: 16x16, Model: model, RNG: CPU, Version: sdlora");
    check_text("both/without/00002.png", "red\nNegative prompt: blue, big\nSteps: 3, Sampler: DPM++ 2M, Schedule type: Automatic, CFG scale: 7, Seed: 5, "
                                         "Size: 16x16, Model: model, RNG: CPU, Version: sdlora");
    Image all = picture("grid.png");
    draw_well("--output_dir @/both --seed 3 --n_iter 2 --from_file @/prompts.txt --lora " LORA " --compare --grid @/grid.png --grid_rows 2");
    Image two = picture("grid.png");
    assert_true(all.w == two.w && all.w > 4 * 32 && all.h > two.h && two.h > 2 * 32);       /* small pictures are shown twice as large */
    image_free(&all), image_free(&two);
}

/* ---- what is refused ---- */

/* Refused before the first step: no picture is there. */
static void refusals(void **state)
{
    (void)state;
    static const struct { const char *options, *text; } cases[] = {
        { "--width 18", "18x16: width and height must be multiples of 4" },
        { "--height 17", "16x17: width and height must be multiples of 4" },
        { "--from_file @/sizes.txt", "18x16: width and height must be multiples of 4" },
        { "--from_file @/nothing.txt", "nothing.txt" },
        { "--from_file @/empty.txt", "expected a prompt a line" },
        { "--from_file @/wrong.txt", "wrong.txt:2: --s" },
        { "--from_file @/latin.txt", "UTF-8" },
        { "--lora @/nothing.safetensors --compare", "nothing.safetensors: no such file" },
        { "--lora golden/parity/b/model/vae/diffusion_pytorch_model.safetensors", "diffusion_pytorch_model.safetensors" },
        { "--sampler Eular", "Euler" },
        { "--scheduler karas", "karras" },
        { "--output_dir @/empty.txt", "empty.txt" },
        { "--steps 0", "--steps" },
        { "--prompt a<lora:x:1>", "--prompt: <lora:x:1>: `sdlora sample` takes LoRAs as --lora FILE:WEIGHT" },
        { "--negative_prompt [x:1.3]", "--negative_prompt: [x:1.3]: " },
        { "--from_file @/tags.txt", "tags.txt:2: (...:1.2.3): a number was expected" },
        { "--emphasis some", "no_norm" },
        { "--from_file @/many.txt --sampler_name ddim", "many.txt: \"thing\": steps: DDIM's 1000 steps" },
        { "--grid @/grid.jpg", "grid.jpg: a name that ends in .png" },
        { "--grid @/empty.txt/grid.png", "empty.txt: the folder cannot be made" },
        { "--lora @/empty.txt:x", "empty.txt:x: no such file; a weight is the number" },
        { "--compare", "--lora" },
        { "--prompt a --from_file @/sizes.txt", "--from_file" },
    };
    assert_int_equal(file_write(tmp_path("empty.txt"), "# none\n", 7), 0);
    assert_int_equal(file_write(tmp_path("sizes.txt"), "thing\nthing --w 18\n", 19), 0);
    assert_int_equal(file_write(tmp_path("tags.txt"), "thing\nthing --n (a:1.2.3)\n", 26), 0);
    assert_int_equal(file_write(tmp_path("many.txt"), "red\nthing --s 1000\n", 19), 0);
    assert_int_equal(file_write(tmp_path("wrong.txt"), "thing\nthing --s none\n", 21), 0);
    assert_int_equal(file_write(tmp_path("latin.txt"), "\xe9t\xe9\n", 4), 0);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char line[256];
        snprintf(line, sizeof line, "%s%s", strstr(cases[i].options, "--output_dir") ? "" : "--output_dir @/refused ", cases[i].options);
        assert_int_equal(draw(line), -1);
        int says = strstr(err_text(), cases[i].text) && !strchr(err_text(), '\n');
        if (!says) fail_msg("%s: \"%s\" does not say \"%s\"", cases[i].options, err_text(), cases[i].text);
        assert_false(is_file(tmp_path("refused/00000.png")));
    }
}

/* Each test in a folder of its own. */
#define ALONE(test) cmocka_unit_test_setup_teardown(test, tmp_open, tmp_close)

int main(void)
{
    const struct CMUnitTest tests[] = {
        ALONE(seeds_follow_on),
        ALONE(numbers_go_on),
        ALONE(a_new_seed_each_time),
        ALONE(threads_change_nothing),
        ALONE(a_batch_holds_what_fits_together),
        ALONE(words_change_pictures_and_are_told),
        ALONE(scale_one_is_the_prompt_alone),
        ALONE(emphasis_is_told),
        ALONE(every_sampler_draws),
        ALONE(clip_skip_is_told),
        ALONE(loras),
        ALONE(before_and_after),
        ALONE(not_finite),
        ALONE(refusals),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
