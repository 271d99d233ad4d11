/* --dry_run: the plan equals what a trainer then does, every problem is said at once, nothing is written. */
#include "train/dry_run.h"
#include "train/run.h"
#include "train/trainer.h"
#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>
#include "job.h"

/* @/data: square, wide and tall pictures, 18 samples; one caption is long, one has two lines. */
static int open_folder(void **state)
{
    static char words[2000];
    if (tmp_open(state)) return -1;
    for (int i = 0; i < 3; i++) job_picture("data/2_a", i, 16, 16);
    for (int i = 0; i < 4; i++) job_picture("data/3_b", i, i % 2 ? 12 : 32, i % 2 ? 24 : 9);
    for (int i = 0; i < 300; i++) strcat(words, "red, ");
    JOB_CHECK(file_write(tmp_path("data/2_a/001.txt"), words, strlen(words)) == 0 && file_write(tmp_path("data/3_b/002.txt"), "wide\r\ntoo\r\n", 11) == 0);
    return 0;
}

static void put_text(const char *name, const char *text) { JOB_CHECK(file_write(tmp_path(name), text, strlen(text)) == 0); }

/* What a dry run with these options prints, to be freed; its status must be `status`. */
static char *dry(const char *options, int status)
{
    char        args[4096], *text = NULL;
    size_t      size;
    TrainConfig config = job_train(args, options);
    FILE       *out = open_memstream(&text, &size);
    assert_non_null(out);
    int got = dry_run(&config, out);
    fclose(out);
    if (got != status) fail_msg("%s: status %d: %s\n%s", options, got, err_text(), text);
    return text;
}

static void has(const char *text, const char *part)
{
    if (!strstr(text, part)) fail_msg("\"%s\" is not in:\n%s", part, text);
}

static void tells_the_plan(void **state)
{
    static const char options[] = "--resolution 16 --enable_bucket --train_batch_size 4 --max_train_epochs 2 --network_dim 4 --network_alpha 2 "
                                  "--conv_dim 2 --conv_alpha 1 --lr_scheduler cosine --lr_warmup_steps 3 --save_every_n_steps 5 --save_precision fp16 "
                                  "--alpha_background 1,2,3";
    char    line[200], args[4096], *text = dry(options, 0);
    Trainer t;
    (void)state;
    TrainConfig config = job_train(args, options);
    assert_int_equal(config.alpha_background, 0x010203);
    assert_int_equal(trainer_open(&t, &config), 0);

    has(text, "2_a             3         2         6         3         0\n");
    has(text, "3_b             4         3        12         4         0\n");
    has(text, "7 pictures, 18 samples in an epoch\n");
    has(text, "captions of more than one line, of which the first is used: 1, as that of ");
    has(text, "too long: 1; only the beginning of these is read:\n");
    snprintf(line, sizeof line, "%s/data/2_a/001.png: ", tmp_dir);
    has(text, line);
    has(text, "16x16               3         6         2       0.0%       0.0%         0\n");
    has(text, "3 of these end an epoch with a batch of fewer pictures\n");
    snprintf(line, sizeof line, "%d modules: ", t.lora.modules);
    has(text, line);
    has(text, "linear, rank 4, alpha 2: what they learn counts 0.5 times\n");
    has(text, "convolutions, rank 2, alpha 1: 0.5 times\n");
    size_t numbers = 0;
    for (int i = 0; i < t.lora.modules; i++) numbers += tensor_count(t.lora.module[i].adapter.a.t) + tensor_count(t.lora.module[i].adapter.b.t);
    snprintf(line, sizeof line, "%zu trainable numbers, %.3g MB as f16\n", numbers, 2e-6 * (double)numbers);
    has(text, line);
    snprintf(line, sizeof line, "18 samples in %d batches of up to 4: %d steps\n", t.epoch_batches, t.epoch_steps);
    has(text, line);
    snprintf(line, sizeof line, "the run      %d steps: 2 epochs\n", t.steps);
    has(text, line);
    has(text, "cosine to 0 after 3 steps of warm-up\n");
    snprintf(line, sizeof line, "lora-stepNNNNNNNN.safetensors every 5 steps: %d\n", (t.steps - 1) / 5);
    has(text, line);
    has(text, "\nno problems\n");
    assert_false(is_dir(tmp_path("out")));
    trainer_close(&t);
    free(text);
}

/* Four pictures and captions, the model, the folder of the results, a file that is not there: seven lines, and the plan of what is left. */
static void tells_all_problems(void **state)
{
    char *text;
    (void)state;
    job_picture("bad/1_x", 0, 16, 16);
    job_picture("bad/1_x", 1, 40, 2);
    put_text("bad/1_x/002.png", "no picture");
    put_text("bad/1_x/003.webp", "RIFF....WEBP");
    job_picture("bad/1_x", 4, 16, 16);
    put_text("bad/1_x/004.txt", "\xff\xfe" "a");
    put_text("file", "not a folder");
    text = dry("--train_data_dir @/bad --resolution 16 --enable_bucket --bucket_no_upscale --output_dir @/file/out --network_weights @/none.safetensors", -1);
    has(text, "002.png: not a picture");
    has(text, "003.webp: ");
    has(text, "004.txt: this is UTF-16");
    has(text, "001.png: 40x2 leaves a side shorter than");
    has(text, "none.safetensors: ");
    has(text, "file is a file, not a folder");
    has(text, "1 picture, 1 sample in an epoch\n");
    has(text, "\n16x16");
    assert_string_equal(err_text(), "6 problems");
    free(text);

    text = dry("--train_data_dir @/bad --resolution 13 --model @/none", -1);
    has(text, "none: no such model, neither a folder nor a file");
    assert_string_equal(err_text(), "4 problems");
    free(text);
    text = dry("--resolution 13", -1);
    has(text, "resolution: expected multiples of");
    assert_string_equal(err_text(), "1 problem");
    free(text);
    put_text("sizes.txt", "thing --w 16\nthing, red --w 20 --h 17\n");
    text = dry("--sample_prompts @/sizes.txt --sample_every_n_epochs 1", -1);
    has(text, "sizes.txt: \"thing, red\": width and height must be multiples of 4 for this model, not 17");
    assert_string_equal(err_text(), "1 problem");
    free(text);
    put_text("steps.txt", "thing --s 1000\n");
    text = dry("--sample_prompts @/steps.txt --sample_every_n_epochs 1 --sample_sampler ddim", -1);
    has(text, "steps.txt: \"thing\": steps: DDIM's 1000 steps");
    free(text);
    put_text("tags.txt", "[thing:red:0.5] AND (red:1.2), BREAK\nthing --n red <lora:x:1>\n");
    text = dry("--sample_prompts @/tags.txt --sample_every_n_epochs 1", -1);
    has(text, "tags.txt:2: <lora:x:1>: `sdlora sample` takes LoRAs as --lora FILE:WEIGHT");
    assert_string_equal(err_text(), "1 problem");
    free(text);
    text = dry("--set none --train_data_dir @/nowhere", -1);
    has(text, "nowhere: no such folder");
    has(text, "none: no such kernel set");
    assert_string_equal(err_text(), "2 problems");
    free(text);
}

/* A model folder with nothing in it: each file that should be there is named. */
static void tells_missing_files(void **state)
{
    char *text;
    (void)state;
    assert_int_equal(dir_make(tmp_path("model/unet")), 0);
    put_text("model/unet/diffusion_pytorch_model.safetensors", "cut");
    text = dry("--model @/model", -1);
    has(text, "/model: files of the model are missing: model_index.json, scheduler/scheduler_config.json, ");
    has(text, "unet/config.json");
    has(text, "unet/diffusion_pytorch_model.safetensors: ");
    assert_string_equal(err_text(), "2 problems");
    free(text);
}

/* A run says the same before it reads a weight: here none of the weights could be read. */
static void stops_a_run(void **state)
{
    char args[4096];
    (void)state;
    job_picture("run/1_x", 0, 16, 16);
    put_text("run/1_x/1.gif", "GIF89a");
    TrainConfig config = job_train(args, "--train_data_dir @/run --resolution 16");
    assert_int_equal(train_run(&config), -1);
    has(err_text(), "1.gif: a GIF picture");
    assert_false(is_dir(tmp_path("out")));
    config = job_train(args, "--resolution 16 --dry_run");
    assert_int_equal(train_run(&config), 0);
    assert_false(is_dir(tmp_path("out")));
}

static void reads_colours(void **state)
{
    static const struct { const char *text; int colour; } cases[] = {
        { "white", 0xffffff }, { "black", 0 }, { "grey", 0x808080 }, { "0,0,0", 0 }, { "255,128,1", 0xff8001 }, { "red", -1 }, { "1,2", -1 },
        { "1,2,256", -1 },     { "1,2,3,4", -1 }, { "1,,2", -1 },     { "", -1 },     { "-1,0,0", -1 },
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        TrainConfig config;
        char       *argv[] = { "--model", "m", "--train_data_dir", "d", "--alpha_background", (char *)cases[i].text };
        int         status = options_parse(&train_command, &config, 6, argv);
        if (cases[i].colour < 0) assert_int_equal(status, -1), has(err_text(), "white, black, grey, or R,G,B");
        else assert_true(status == 0 && config.alpha_background == cases[i].colour);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(reads_colours), cmocka_unit_test(tells_the_plan), cmocka_unit_test(tells_all_problems),
                                        cmocka_unit_test(tells_missing_files), cmocka_unit_test(stops_a_run) };
    return cmocka_run_group_tests(tests, open_folder, tmp_close);
}
