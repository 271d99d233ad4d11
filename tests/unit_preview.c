/* Pictures while training: which are drawn when and under which name, that they show the adapters as they are, and that they leave the run as it was. */
#include "diffusion/gallery.h"
#include "io/file.h"
#include "io/png_text.h"
#include "io/safetensors.h"
#include "train/preview.h"
#include "train/run.h"
#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>
#include "job.h"

#define PROMPTS "# two\nthing, red --d 7 --s 4 --l 2\nthing --n round --s 2 --w 8 --h 20\n"

static int open_folder(void **state)
{
    if (tmp_open(state)) return -1;
    for (int i = 0; i < 3; i++) job_picture("data/2_a", i, 16, 16);     /* 6 samples, 3 steps of 2 an epoch */
    return file_write(tmp_path("prompts.txt"), PROMPTS, sizeof PROMPTS - 1);
}

static void train(const char *options)
{
    char        text[4096];
    TrainConfig config = job_train(text, options);
    if (train_run(&config)) fail_msg("%s: %s", options, err_text());
}

/* @/out/sample holds these files, apart by blanks and in order, and no others. */
static void check_files(const char *dir, const char *expected)
{
    Names names;
    char  found[1024] = "";
    assert_int_equal(dir_list(&names, tmp_path(dir)), 0);
    for (int i = 0; i < names.count; i++) strcat(strcat(found, i ? " " : ""), names.name[i]);
    names_free(&names);
    assert_string_equal(found, expected);
}

static void drawn_when_due(void **state)
{
    (void)state;
    train("--train_batch_size 2 --max_train_steps 6 --seed 5 --sample_prompts @/prompts.txt --sample_every_n_epochs 1 --sample_at_first --output_dir @/epochs");
    check_files("epochs/sample", "lora_e000000_00_7.png lora_e000000_01_6.png lora_e000001_00_7.png lora_e000001_01_6.png lora_e000002_00_7.png "
                                 "lora_e000002_01_6.png");
    train("--train_batch_size 2 --max_train_steps 6 --seed 5 --sample_prompts @/prompts.txt --sample_every_n_steps 2 --sample_every_n_epochs 2 "
          "--output_name a_b --output_dir @/steps");
    check_files("steps/sample", "a_b_000002_00_7.png a_b_000002_01_6.png a_b_000004_00_7.png a_b_000004_01_6.png a_b_e000002_00_7.png a_b_e000002_01_6.png");

    Image image;
    assert_int_equal(image_load(&image, tmp_path("steps/sample/a_b_000002_01_6.png"), IMAGE_WHITE), 0);
    assert_true(image.w == 8 && image.h == 20);
    image_free(&image);
    size_t   size;
    uint8_t *png = file_read(tmp_path("steps/sample/a_b_000002_01_6.png"), 1 << 20, &size);
    char    *text;
    assert_non_null(png);
    assert_int_equal(png_text_find(&text, png, size, "parameters"), 0);
    assert_string_equal(text, "thing <lora:a_b:1>\nNegative prompt: round\nSteps: 2, Sampler: DDIM, CFG scale: 7.5, Seed: 6, Size: 8x20, Model: model, "
                              "RNG: CPU, Version: sdlora");
    free(text), free(png);
}

/* The numbers of a LoRA file: all bytes behind its header. */
static void same_numbers(const char *a, const char *b)
{
    Safetensors *x = safetensors_open(tmp_path(a)), *y = safetensors_open(tmp_path(b));
    assert_non_null(x), assert_non_null(y);
    assert_true(x->bytes > 1000);
    assert_int_equal(x->bytes, y->bytes);
    assert_memory_equal(x->data, y->data, x->bytes);
    safetensors_close(x), safetensors_close(y);
}

static void leaves_the_run_alone(void **state)
{
    (void)state;
    const char *run = "--train_batch_size 2 --max_train_steps 7 --seed 5 --learning_rate 1e-2 --shuffle_caption --caption_dropout_rate 0.3";
    char        line[512];
    snprintf(line, sizeof line, "%s --no_report --output_dir @/plain", run);
    train(line);
    snprintf(line, sizeof line, "%s --output_dir @/drawn --logging_dir @/logs --sample_prompts @/prompts.txt --sample_every_n_steps 1 --sample_at_first", run);
    train(line);
    same_numbers("plain/lora.safetensors", "drawn/lora.safetensors");
    assert_false(is_file(tmp_path("plain/report.html")));
    assert_true(is_file(tmp_path("drawn/report.html")));
}

/* What `sdlora sample` draws of the first prompt, with the LoRA or without. */
static Image drawn_by_sample(const char *folder, const char *lora)
{
    char         text[4096], line[512], *argv[JOB_WORDS];
    SampleConfig config;
    snprintf(line, sizeof line, "--model " JOB_MODEL " --set ref64 --prompt thing,red --seed 7 --steps 4 --cfg_scale 2 --sampler_name DDIM "
                                "--output_dir @/%s %s", folder, lora);
    int words = job_words(argv, text, line);
    for (int i = 0; i < words; i++)
        if (!strcmp(argv[i], "thing,red")) argv[i] = "thing, red";
    JOB_CHECK(options_parse(&sample_command, &config, words, argv) == 0 && gallery_run(&config) == 0);
    Image image;
    char  name[32];
    snprintf(name, sizeof name, "%.20s/00000.png", folder);
    JOB_CHECK(image_load(&image, tmp_path(name), IMAGE_WHITE) == 0);
    return image;
}

/* The largest difference of a byte. */
static int apart(const Image *image, const char *path)
{
    Image other;
    int   most = 0;
    assert_int_equal(image_load(&other, tmp_path(path), IMAGE_WHITE), 0);
    assert_true(image->w == other.w && image->h == other.h);
    for (int k = 0; k < 3 * image->w * image->h; k++) {
        int d = abs(image->rgb[k] - other.rgb[k]);
        if (d > most) most = d;
    }
    image_free(&other);
    return most;
}

/* Before training it is the model itself; after it, the file that was written: A and B apart here, B A added to the weights there, in double. */
static void shows_the_adapters(void **state)
{
    (void)state;
    train("--set ref64 --max_train_steps 6 --train_batch_size 2 --learning_rate 3e-2 --sample_prompts @/prompts.txt --sample_every_n_epochs 2 "
          "--sample_at_first --output_dir @/live");
    Image before = drawn_by_sample("without", ""), after = drawn_by_sample("with", "--lora @/live/lora.safetensors");
    assert_int_equal(apart(&before, "live/sample/lora_e000000_00_7.png"), 0);
    assert_true(apart(&after, "live/sample/lora_e000002_00_7.png") <= 1);       /* a value at the edge between two bytes */
    assert_true(apart(&before, "live/sample/lora_e000002_00_7.png") > 8);
    image_free(&before), image_free(&after);
}

static void refuses(const char *prompts, const char *first, const char *second)
{
    char        text[4096];
    TrainConfig config = job_train(text, "--max_train_steps 2 --output_dir @/never --sample_prompts @/bad.txt --sample_at_first");
    assert_int_equal(file_write(tmp_path("bad.txt"), prompts, strlen(prompts)), 0);
    assert_int_equal(train_run(&config), -1);
    if (!strstr(err_text(), first) || !strstr(err_text(), second)) fail_msg("\"%s\" does not say \"%s\" and \"%s\"", err_text(), first, second);
    assert_false(is_file(tmp_path("never/log.csv")));
}

static void says_what_is_wrong(void **state)
{
    (void)state;
    refuses("# nothing\n\n", "bad.txt", "expected a prompt");
    refuses("thing\nthing --w 9\n", "bad.txt: \"thing\"", "multiples of 4 for this model, not 9");
    refuses("thing\nthing --q 9\n", "bad.txt:2", "--q");
    refuses("thing\n\xff\xfe\n", "prompt 2", "UTF-8");
    TrainConfig config;
    char *asks[] = { "--model", "m", "--train_data_dir", "d", "--sample_every_n_steps", "5" }, *idle[] = { "--model", "m", "--train_data_dir", "d",
                                                                                                           "--sample_prompts", "p.txt" };
    assert_int_equal(options_parse(&train_command, &config, 6, asks), 0);
    assert_int_equal(train_config_check(&config), -1), assert_non_null(strstr(err_text(), "--sample_prompts: a file"));
    assert_int_equal(options_parse(&train_command, &config, 6, idle), 0);
    assert_int_equal(train_config_check(&config), 0), assert_null(config.sample_prompts);       /* kohya's GUI writes it into every file of settings */
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(drawn_when_due), cmocka_unit_test(leaves_the_run_alone), cmocka_unit_test(shows_the_adapters),
                                        cmocka_unit_test(says_what_is_wrong) };
    return cmocka_run_group_tests(tests, open_folder, tmp_close);
}
